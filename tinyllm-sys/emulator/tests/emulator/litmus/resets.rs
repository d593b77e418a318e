//! A flag, lock or counter that is reset by a plain store after it was seen.
//!
//! "X precedes Y in causality order if X precedes Z in observation order, and Z precedes Y in base causality order": the strong
//! write that a strong read has observed is before everything that follows the read.

use super::{Litmus, check, litmus};

const TESTS: &[Litmus] = &[
    // The red synchronizes with the load that reads it, which is before the reset.
    litmus(
        "red.release, ld.acquire, plain reset",
        &[
            "st.global.u32 [%x],7; red.release.gpu.global.add.s32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x]; st.global.u32 [%l],0;",
        ],
        None,
    ),
    // The relaxed red is after its fence: not released, but observed.
    litmus(
        "fence and red.relaxed, ld.acquire, plain reset",
        &[
            "st.global.u32 [%x],7; fence.acq_rel.gpu; red.relaxed.gpu.global.add.s32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x]; st.global.u32 [%l],0;",
        ],
        None,
    ),
    litmus(
        "threadfence and atomicAdd, volatile poll, plain reset",
        // Observed by the volatile read; x is read after the fence that follows it.
        &[
            "st.global.u32 [%x],7; membar.gl; atom.global.add.u32 %v,[%l],1;",
            "poll ld.volatile.global.u32 [%l],1; membar.gl; ld.global.u32 %w,[%x]; st.global.u32 [%l],0;",
        ],
        None,
    ),
    litmus(
        "threadfence and atomicAdd, poll by atomicAdd of 0, plain reset",
        // The polling atomics read and write l; the last one observed the other's.
        &[
            "st.global.u32 [%x],7; membar.gl; atom.global.add.u32 %v,[%l],1;",
            "poll atom.global.add.u32 [%l],0,1; membar.gl; ld.global.u32 %w,[%x]; st.global.u32 [%l],0;",
        ],
        None,
    ),
    litmus(
        "volatile store, volatile poll, plain reset",
        // Volatile is relaxed with system scope: observed.
        &[
            "st.global.u32 [%x],7; membar.gl; st.volatile.global.u32 [%l],1;",
            "poll ld.volatile.global.u32 [%l],1; membar.gl; ld.global.u32 %w,[%x]; st.global.u32 [%l],0;",
        ],
        None,
    ),
    litmus(
        "threadfence and atomicAdd, poll, reset by atomicExch",
        // Both strong: no race whether seen or not.
        &[
            "st.global.u32 [%x],7; membar.gl; atom.global.add.u32 %v,[%l],1;",
            "poll ld.volatile.global.u32 [%l],1; membar.gl; ld.global.u32 %w,[%x]; atom.global.exch.b32 %v,[%l],0;",
        ],
        None,
    ),
    // The last of three blocks: its atomicInc observes the others' through the chain of atomics.
    litmus(
        "the last block resets the counter",
        &[
            "st.global.u32 [%x],1; membar.gl; atom.global.inc.u32 %v,[%l],2; setp.eq.u32 %q,%v,2; @%q membar.gl; @%q st.global.u32 [%l],0;",
            "st.global.u32 [%y],2; membar.gl; atom.global.inc.u32 %v,[%l],2; setp.eq.u32 %q,%v,2; @%q membar.gl; @%q st.global.u32 [%l],0;",
            "st.global.u32 [%z],3; membar.gl; atom.global.inc.u32 %v,[%l],2; setp.eq.u32 %q,%v,2; @%q membar.gl; @%q st.global.u32 [%l],0;",
        ],
        None,
    ),
    // Without a fence it has still seen them all.
    litmus(
        "the last block resets the counter, no fence",
        &[
            "atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; @%q st.global.u32 [%l],0;",
            "atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; @%q st.global.u32 [%l],0;",
        ],
        None,
    ),
    // The first block resets: the other's atomic is before or after it, but nothing says which.
    litmus(
        "the first block resets the counter",
        &[
            "atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,0; @%q st.global.u32 [%l],1;",
            "atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,0; @%q st.global.u32 [%l],1;",
        ],
        Some("l"),
    ),
    // Only one of two increments is seen: 1 is there before the second, or after the first.
    litmus(
        "reset after one of two",
        &[
            "atom.global.add.u32 %v,[%l],1; poll ld.acquire.gpu.global.u32 [%m],1; atom.global.add.u32 %v,[%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; st.release.gpu.global.u32 [%m],1; st.global.u32 [%l],0;",
        ],
        Some("l"),
    ),
    // A relaxed read observes the flag's own write, not what came before it.
    litmus(
        "data after a relaxed poll",
        &[
            "st.global.u32 [%x],7; red.release.gpu.global.add.s32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; st.global.u32 [%l],0; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // The reset itself is weak: a third thread's poll races with it.
    litmus(
        "another polls what is reset",
        &[
            "red.release.gpu.global.add.s32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; st.global.u32 [%l],0;",
            "ld.acquire.gpu.global.u32 %v,[%l];",
        ],
        Some("l"),
    ),
    // The third thread's poll was released to the one who resets, over m.
    litmus(
        "another polled what is reset, and said so",
        &[
            "red.release.gpu.global.add.s32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; poll ld.acquire.gpu.global.u32 [%m],1; st.global.u32 [%l],0;",
            "poll ld.acquire.gpu.global.u32 [%l],1; st.release.gpu.global.u32 [%m],1;",
        ],
        None,
    ),
    // Observation is before what follows in base causality order: the second thread hands it on to the third, over m.
    litmus(
        "seen by one, reset by another who was told",
        &[
            "red.relaxed.gpu.global.add.s32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; st.release.gpu.global.u32 [%m],1;",
            "poll ld.acquire.gpu.global.u32 [%m],1; st.global.u32 [%l],0;",
        ],
        None,
    ),
    // The same where m is set without a release: the third thread knows nothing.
    litmus(
        "seen by one, reset by another who was not told",
        &[
            "red.relaxed.gpu.global.add.s32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; st.relaxed.gpu.global.u32 [%m],1;",
            "poll ld.acquire.gpu.global.u32 [%m],1; st.global.u32 [%l],0;",
        ],
        Some("l"),
    ),
    // The flag is prepared by a weak store that nothing orders before the other's strong one.
    litmus(
        "the reader prepares the flag",
        &[
            "st.relaxed.gpu.global.u32 [%l],1;",
            "st.global.u32 [%l+4],0; poll ld.relaxed.gpu.global.u32 [%l],1; ld.global.u32 %w,[%l+4];",
        ],
        None,
    ),
    // The flag itself, prepared by a plain store: the order with the other's store is open. (It waits for m, so that it ends.)
    litmus(
        "the flag prepared without an order",
        &[
            "poll ld.relaxed.gpu.global.u32 [%m],1; st.relaxed.gpu.global.u32 [%l],1;",
            "st.global.u32 [%l],0; st.relaxed.gpu.global.u32 [%m],1; poll ld.relaxed.gpu.global.u32 [%l],1;",
        ],
        Some("l"),
    ),
    // Prepared, and released over m: base causality.
    litmus(
        "the flag prepared and handed over",
        &[
            "poll ld.acquire.gpu.global.u32 [%m],1; st.relaxed.gpu.global.u32 [%l],1;",
            "st.global.u32 [%l],0; st.release.gpu.global.u32 [%m],1; poll ld.relaxed.gpu.global.u32 [%l],1;",
        ],
        None,
    ),
    // Who resets has acquired the red and releases the reset: base causality is transitive, for the reset and for x.
    litmus(
        "a reset that is handed on",
        &[
            "st.global.u32 [%x],7; red.release.gpu.global.add.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; st.global.u32 [%l],0; membar.gl; st.relaxed.gpu.global.u32 [%m],1;",
            "poll ld.acquire.gpu.global.u32 [%m],1; ld.acquire.gpu.global.u32 %v,[%l]; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
];

#[test]
fn resets() {
    check(TESTS);
}
