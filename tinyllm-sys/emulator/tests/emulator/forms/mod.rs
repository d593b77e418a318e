//! Every form of instruction that is a function of registers, in PTX, against what the manual says it computes: on integers of
//! any width, and on the processor's own floating point. The list of forms becomes `docs/ptx-forms.md`.

mod accesses;
mod cache_policy;
mod comparisons;
mod control;
mod conversions;
mod exact;
mod floats;
mod harness;
mod integers;
mod logic;
mod matrices;
mod mbarriers;
mod memory;
mod ptxas;
mod table;
mod tiny;
mod video;
mod warp_matrices;
mod warps;

use std::collections::BTreeSet;

use harness::Form;
pub(crate) use harness::HEADER;
use tinyllm_emulator::forms::SECTIONS;

/// The forms of the table that are functions of registers, by section: each with what it is held against.
fn all() -> Vec<(&'static str, Vec<Form>)> {
    let named = |title: &str| names(title).into_iter();
    let moves = |name: &String| name.starts_with("cvt.");
    vec![
        ("Integer arithmetic", integers::forms()),
        ("Video", names("Video").iter().flat_map(|name| video::reference(name)).collect()),
        ("Logic, shifts and fields", logic::forms()),
        ("Floating point", named("Floating point").map(|name| floats::reference(&name)).collect()),
        (
            "Comparison and selection",
            named("Comparison and selection").flat_map(|name| comparisons::reference(&name)).collect(),
        ),
        (
            "Moves and conversions",
            conversions::moves()
                .into_iter()
                .chain(named("Moves and conversions").filter(moves).map(|name| conversions::reference(&name)))
                .collect(),
        ),
    ]
}

/// Every instruction of a section of the table.
fn names(title: &str) -> Vec<String> {
    let section = SECTIONS.iter().find(|section| section.title == title).unwrap();
    section.forms.iter().flat_map(|form| form.spelled()).collect()
}

#[test]
fn every_form_of_the_table_is_held_against_something() {
    for (title, forms) in all() {
        let tested: BTreeSet<String> = forms.into_iter().map(|form| form.name).collect();
        // Addresses between spaces are tested with the memory that they are of.
        let addresses = |name: &String| name.starts_with("cvta.") || name.starts_with("isspacep.");
        let known: BTreeSet<String> = names(title).into_iter().filter(|name| !addresses(name)).collect();
        let untested: Vec<&String> = known.difference(&tested).collect();
        let unknown: Vec<&String> = tested.difference(&known).collect();
        assert!(
            untested.is_empty() && unknown.is_empty(),
            "{title}: without a test {untested:?}, not in the table {unknown:?}"
        );
    }
}

#[test]
fn every_form_computes_what_the_manual_says() {
    use proptest::test_runner::{Config, TestRunner};
    let config = Config { cases: 2, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&proptest::prelude::any::<u64>(), |seed| {
            let wrong: Vec<String> =
                all().iter().flat_map(|(_, forms)| harness::wrong_on_any(forms, seed)).collect();
            proptest::prop_assert!(wrong.is_empty(), "{}", wrong.join("\n"));
            Ok(())
        })
        .unwrap();
}
