//! Weak and strong accesses to one word. "Two conflicting operations are in a data-race if they are not related in causality order
//! and they are not morally strong."

use super::{Litmus, check, litmus};

const TESTS: &[Litmus] = &[
    // Nobody writes.
    litmus(
        "weak reads",
        &["ld.global.u32 %v,[%x];", "ld.global.u32 %v,[%x]; ld.relaxed.gpu.global.u32 %v,[%x];"],
        None,
    ),
    // One weak write and a read of any kind.
    litmus(
        "a weak write and a weak read",
        &["st.global.u32 [%x],1;", "ld.global.u32 %v,[%x]; ld.relaxed.gpu.global.u32 %v,[%l];"],
        Some("x"),
    ),
    litmus(
        "a weak write and a strong read",
        &["st.global.u32 [%x],1;", "ld.relaxed.gpu.global.u32 %v,[%x];"],
        Some("x"),
    ),
    litmus(
        "a weak write and an atomic",
        &["st.global.u32 [%x],1;", "atom.global.add.u32 %v,[%x],1;"],
        Some("x"),
    ),
    litmus(
        "a weak read and an atomic",
        &["ld.global.u32 %v,[%x];", "atom.global.add.u32 %v,[%x],1;"],
        Some("x"),
    ),
    litmus(
        "two weak writes",
        &["st.global.u32 [%x],1;", "st.global.u32 [%x],1; ld.relaxed.gpu.global.u32 %v,[%l];"],
        Some("x"),
    ),
    // Strong both ways.
    litmus(
        "two strong writes",
        &[
            "st.relaxed.gpu.global.u32 [%x],1;",
            "st.volatile.global.u32 [%x],2; ld.relaxed.gpu.global.u32 %v,[%l];",
        ],
        None,
    ),
    litmus(
        "a strong write and a strong read",
        &["st.relaxed.gpu.global.u32 [%x],1;", "ld.volatile.global.u32 %v,[%x];"],
        None,
    ),
    litmus(
        "a volatile write and an atomic",
        &["st.volatile.global.u32 [%x],1;", "atom.global.add.u32 %v,[%x],1;"],
        None,
    ),
    litmus(
        "a red and a strong read",
        &["red.global.add.u32 [%x],1;", "ld.relaxed.gpu.global.u32 %v,[%x];"],
        None,
    ),
    // Nobody observes anything, only reds: unordered kernels take another way through the checker.
    litmus(
        "a red and a weak read, nothing strong read",
        &["red.global.add.u32 [%x],1;", "ld.global.u32 %v,[%x];"],
        Some("x"),
    ),
    litmus(
        "two weak writes, nothing strong read",
        &["st.global.u32 [%x],1;", "st.global.u32 [%x],1;"],
        Some("x"),
    ),
    litmus(
        "reds, nothing strong read",
        &["red.global.add.u32 [%x],1;", "red.release.gpu.global.add.u32 [%x],1;"],
        None,
    ),
    litmus(
        "reds of the block's scope, nothing strong read",
        &["red.cta.global.add.u32 [%x],1;", "red.gpu.global.add.u32 [%x],1;"],
        Some("x"),
    ),
    // Neighbouring words do not overlap.
    litmus(
        "neighbours",
        &["st.global.u32 [%x],1;", "st.global.u32 [%x+4],1; ld.relaxed.gpu.global.u32 %v,[%l];"],
        None,
    ),
    // Two bytes of one word do not either.
    litmus(
        "bytes of a word",
        &["st.global.u8 [%x],1;", "st.global.u8 [%x+1],1; ld.relaxed.gpu.global.u32 %v,[%l];"],
        None,
    ),
    // The upper half of eight bytes is the other word.
    litmus(
        "eight bytes over a word",
        &["st.global.v2.u32 [%x],{%w,%w};", "ld.global.u32 %v,[%x+4]; ld.relaxed.gpu.global.u32 %v,[%l];"],
        Some("x"),
    ),
];

#[test]
fn strengths() {
    check(TESTS);
}
