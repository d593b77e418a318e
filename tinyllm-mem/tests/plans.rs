//! Plans of random regions: nothing that lives at once overlaps, and the arena is near its lower bound.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test ends where it fails, and shows its table

use proptest::prelude::*;
use tinyllm_mem::{Category, Plan, Region};

fn regions() -> impl Strategy<Value = Vec<Region>> {
    let region = (0usize..5000, 0u32..8, 0usize..20, 0usize..6);
    prop::collection::vec(region, 0..40).prop_map(|list| {
        let region = |(index, (bytes, align, start, span)): (usize, (usize, u32, usize, usize))| {
            let lifetime = (start, start + span);
            Region::new(format!("r{index}"), Category::Activations, bytes, 1 << align, lifetime)
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

/// Offsets by first fit in the order of a key, largest first, and the arena that they make.
fn first_fit(regions: &[Region], key: &dyn Fn(&Region) -> usize) -> usize {
    let mut order: Vec<&Region> = regions.iter().collect();
    order.sort_by_key(|region| std::cmp::Reverse(key(region)));
    let mut placed: Vec<(usize, &Region)> = Vec::new();
    for region in order {
        let is_live_beside =
            |other: &Region| other.lifetime.0 <= region.lifetime.1 && region.lifetime.0 <= other.lifetime.1;
        let mut ends: Vec<usize> =
            placed.iter().filter(|(_, o)| is_live_beside(o)).map(|(at, o)| at + o.bytes).collect();
        ends.push(0);
        ends.sort_unstable();
        let is_free = |at: usize| {
            placed
                .iter()
                .filter(|(_, o)| is_live_beside(o))
                .all(|(start, o)| at + region.bytes <= *start || start + o.bytes <= at)
        };
        let offset = ends.into_iter().find(|at| is_free(*at)).unwrap();
        placed.push((offset, region));
    }
    placed.iter().map(|(offset, region)| offset + region.bytes).max().unwrap_or(0)
}

/// Regions of the steps with the most live bytes first (greedy by breadth).
fn breadth(regions: &[Region]) -> usize {
    let live = |step: usize| regions.iter().filter(move |r| r.lifetime.0 <= step && step <= r.lifetime.1);
    let load = |step: usize| live(step).map(|region| region.bytes).sum::<usize>();
    let busiest = |region: &Region| (region.lifetime.0..=region.lifetime.1).map(load).max().unwrap_or(0);
    first_fit(regions, &|region| busiest(region) * 100_000 + region.bytes)
}

/// Ten fixed sets of forty intervals: the plan is as small as the best of the heuristics in the literature (greedy by size
/// and by breadth, Pisarchyk and Lee 2020; longest lifetime first; first-fit in order of time).
#[test]
fn ten_sets_of_intervals_pack_as_well_as_the_best_known_heuristic() {
    let mut table = String::from("set  bound     plan  size  breadth  longest  in time\n");
    for set in 0..10u64 {
        let mut state = set;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % below) as usize
        };
        let regions: Vec<Region> = (0..40)
            .map(|index| {
                let start = random(60);
                let bytes = 1 + random(1000);
                let lifetime = (start, start + random(20));
                Region::new(format!("r{index}"), Category::Activations, bytes, 1, lifetime)
            })
            .collect();
        let plan = Plan::pack(regions.clone()).unwrap();
        let others = [
            first_fit(&regions, &|region| region.bytes),
            breadth(&regions),
            first_fit(&regions, &|region| region.lifetime.1 - region.lifetime.0),
            first_fit(&regions, &|region| usize::MAX - region.lifetime.0),
        ];
        let bound = plan.lower_bound_bytes();
        let ratio = |bytes: usize| format!("{:.3}", bytes as f64 / bound as f64);
        let ratios: Vec<String> = others.iter().map(|bytes| ratio(*bytes)).collect();
        table.push_str(&format!(
            "{set:>3}  {bound:>5}  {}  {}\n",
            ratio(plan.total_bytes()),
            ratios.join("  ")
        ));
        let best = others.into_iter().min().unwrap();
        assert!(plan.total_bytes() <= best, "{table}");
    }
    println!("{table}");
}
