//! Observation through a chain of atomics, and causality through several threads.
//!
//! "A write W precedes a read R in observation order if R and W are morally strong and R reads the value written by W, or for some
//! atomic operation Z, W precedes Z and Z precedes R in observation order."

use super::{Litmus, check, litmus};

const TESTS: &[Litmus] = &[
    // W, Z, R with Z a relaxed atomic of a third thread: the release is observed through it.
    litmus(
        "a relaxed atomic between",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll atom.global.cas.b32 [%l],1,2,1;",
            "poll ld.acquire.gpu.global.u32 [%l],2; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // The same with red: atomic too.
    litmus(
        "a relaxed red between",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; red.relaxed.gpu.global.add.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],2; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // Z is a plain strong store: no atomic operation, the chain ends.
    litmus(
        "a relaxed store between",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; st.relaxed.gpu.global.u32 [%l],2; st.relaxed.gpu.global.u32 [%m],1;",
            // Waits for m, so that its only read of l is of the second store.
            "poll ld.relaxed.gpu.global.u32 [%m],1; ld.acquire.gpu.global.u32 %v,[%l]; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // The store between releases what its thread has not acquired: the poll is relaxed, so x is not in it.
    litmus(
        "a release between, after a relaxed poll",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; st.release.gpu.global.u32 [%l],2; st.relaxed.gpu.global.u32 [%m],1;",
            // Waits for m, so that its only read of l is of the second store.
            "poll ld.relaxed.gpu.global.u32 [%m],1; ld.acquire.gpu.global.u32 %v,[%l]; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // Acquired and released: base causality is transitive.
    litmus(
        "three threads, two flags",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; st.release.gpu.global.u32 [%m],1;",
            "poll ld.acquire.gpu.global.u32 [%m],1; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // The first hop does not acquire.
    litmus(
        "three threads, the second does not acquire",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; st.release.gpu.global.u32 [%m],1;",
            "poll ld.acquire.gpu.global.u32 [%m],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // The second hop does not release.
    litmus(
        "three threads, the second does not release",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; st.relaxed.gpu.global.u32 [%m],1;",
            "poll ld.acquire.gpu.global.u32 [%m],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // One fence acquires and releases: it is in both patterns.
    litmus(
        "three threads, one fence between",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [%m],1;",
            "poll ld.acquire.gpu.global.u32 [%m],1; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // Counters: each of two adds its data and then 1; the third waits for 2 and reads both, through the chain.
    litmus(
        "two producers and a counter, release",
        &[
            "st.global.u32 [%x],7; red.release.gpu.global.add.u32 [%l],1;",
            "st.global.u32 [%y],8; red.release.gpu.global.add.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],2; ld.global.u32 %w,[%x]; ld.global.u32 %w,[%y]; st.global.u32 [%l],0;",
        ],
        None,
    ),
    // One of them does not release: whichever came last, that one's data are not ordered.
    litmus(
        "two producers and a counter, one relaxed",
        &[
            "st.global.u32 [%x],7; red.relaxed.gpu.global.add.u32 [%l],1;",
            "st.global.u32 [%y],8; red.release.gpu.global.add.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],2; ld.global.u32 %w,[%x]; ld.global.u32 %w,[%y];",
        ],
        Some("x"),
    ),
    // The last block: fence, atomicAdd, and the one who gets the last number reads all after a fence.
    litmus(
        "the last block folds",
        &[
            "st.global.u32 [%x],7; membar.gl; atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; \
             @%q membar.gl; @%q ld.global.u32 %w,[%y];",
            "st.global.u32 [%y],8; membar.gl; atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; \
             @%q membar.gl; @%q ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // The same by one instruction that is both.
    litmus(
        "the last block folds, acq_rel",
        &[
            "st.global.u32 [%x],7; atom.acq_rel.gpu.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; @%q ld.global.u32 %w,[%x]; @%q ld.global.u32 %w,[%y];",
            "st.global.u32 [%y],8; atom.acq_rel.gpu.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; @%q ld.global.u32 %w,[%x]; @%q ld.global.u32 %w,[%y];",
        ],
        None,
    ),
    // Without the fence after the atomic the last block acquires nothing: a relaxed read alone.
    litmus(
        "the last block folds, no fence after",
        &[
            "st.global.u32 [%x],7; membar.gl; atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; @%q ld.global.u32 %w,[%x+4];",
            "st.global.u32 [%x+4],8; membar.gl; atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; @%q ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // Without the fence before, nothing is released.
    litmus(
        "the last block folds, no fence before",
        &[
            "st.global.u32 [%x],7; atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; @%q membar.gl; @%q ld.global.u32 %w,[%x+4];",
            "st.global.u32 [%x+4],8; atom.global.add.u32 %v,[%l],1; setp.eq.u32 %q,%v,1; @%q membar.gl; @%q ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // An atomic by a third thread on the counter after the last: observed or not, it is strong.
    litmus(
        "atomics of many threads on one word",
        &[
            "red.global.add.u32 [%l],1; atom.global.max.u32 %v,[%l],3;",
            "red.global.add.u32 [%l],1; ld.volatile.global.u32 %v,[%l];",
            "red.global.add.u32 [%l],1; atom.global.min.u32 %v,[%l],3;",
        ],
        None,
    ),
    // A compare-and-swap that fails writes nothing: it is no part of the chain, but it reads, and acquires.
    litmus(
        "a failed swap acquires",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll atom.acquire.gpu.global.cas.b32 [%l],5,6,1; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // And it releases nothing: who reads l afterwards reads the first thread's store.
    litmus(
        "a failed swap releases nothing",
        &[
            "st.relaxed.gpu.global.u32 [%l],1;",
            "st.global.u32 [%x],7; atom.release.gpu.global.cas.b32 %v,[%l],5,6; st.relaxed.gpu.global.u32 [%m],1;",
            "poll ld.relaxed.gpu.global.u32 [%m],1; poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
];

#[test]
fn chains() {
    check(TESTS);
}
