//! Every form of instruction that is a function of registers, in PTX, against what the manual says it computes: on integers of
//! any width, and on the processor's own floating point. The list of forms becomes `docs/ptx-forms.md`.

mod conversions;
mod floats;
mod harness;
mod integers;
mod logic;
mod matrices;
mod memory;
mod table;
mod warps;

use harness::Form;
pub(crate) use harness::HEADER;

/// All of them, by section of the table.
fn all() -> Vec<(&'static str, Vec<Form>)> {
    vec![
        ("Integer arithmetic", integers::forms()),
        ("Logic, shifts and fields", logic::forms()),
        ("Floating point", floats::forms()),
        ("Comparison and selection", logic::comparisons()),
        ("Moves and conversions", conversions::forms()),
    ]
}

#[test]
fn every_form_computes_what_the_manual_says() {
    use proptest::test_runner::{Config, TestRunner};
    let config = Config { cases: 4, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&proptest::prelude::any::<u64>(), |seed| {
            for (_, forms) in all() {
                harness::run(&forms, seed);
            }
            Ok(())
        })
        .unwrap();
}
