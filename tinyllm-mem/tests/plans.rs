//! Plans of random regions: nothing that lives at once overlaps, and the arena is near its lower bound.
#![allow(clippy::unwrap_used)] // a test ends where it fails

use proptest::prelude::*;
use tinyllm_mem::{Category, Plan, Region};

fn regions() -> impl Strategy<Value = Vec<Region>> {
    let region = (0usize..5000, 0u32..8, 0usize..20, 0usize..6);
    prop::collection::vec(region, 0..40).prop_map(|list| {
        let region = |(index, (bytes, align, start, span)): (usize, (usize, u32, usize, usize))| Region {
            name: format!("r{index}"),
            category: Category::Activations,
            bytes,
            align_bytes: 1 << align,
            lifetime: (start, start + span),
        };
        list.into_iter().enumerate().map(region).collect()
    })
}

/// The largest sum of bytes at any step.
fn lower_bound(regions: &[Region]) -> usize {
    let live = |step| regions.iter().filter(move |r| r.lifetime.0 <= step && step <= r.lifetime.1);
    (0..30).map(|step| live(step).map(|region| region.bytes).sum()).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_lives_at_once_is_apart(regions in regions()) {
        let plan = Plan::pack(regions.clone()).unwrap();
        prop_assert_eq!(plan.offsets().len(), regions.len());
        for (a, (first, first_offset)) in regions.iter().zip(plan.offsets()).enumerate() {
            prop_assert!(first_offset.is_multiple_of(first.align_bytes));
            prop_assert!(first_offset + first.bytes <= plan.total_bytes());
            for (second, second_offset) in regions.iter().zip(plan.offsets()).skip(a + 1) {
                let share_time = first.lifetime.0 <= second.lifetime.1 && second.lifetime.0 <= first.lifetime.1;
                let share_bytes = *first_offset < second_offset + second.bytes
                    && *second_offset < first_offset + first.bytes
                    && first.bytes > 0
                    && second.bytes > 0;
                prop_assert!(!(share_time && share_bytes), "{first:?} and {second:?}");
            }
        }
        prop_assert_eq!(plan.lower_bound_bytes(), lower_bound(&regions));
        prop_assert!(plan.total_bytes() >= plan.lower_bound_bytes());
        prop_assert_eq!(plan.parts().iter().map(|part| part.bytes).sum::<usize>(), plan.total_bytes());
        prop_assert_eq!(Plan::pack(regions).unwrap(), plan, "the same plan for the same regions");
    }
}
