//! Fences, store buffering and the like, where only races are asked about: which values may be read is not.

use super::{Litmus, check, litmus};

const TESTS: &[Litmus] = &[
    // All accesses are strong and of a scope that has both threads: morally strong, no race.
    litmus(
        "store buffering, relaxed",
        &[
            "st.relaxed.gpu.global.u32 [%x],1; ld.relaxed.gpu.global.u32 %v,[%y];",
            "st.relaxed.gpu.global.u32 [%y],1; ld.relaxed.gpu.global.u32 %v,[%x];",
        ],
        None,
    ),
    // Fences of sequential consistency forbid that both read 0; races there are none as before.
    litmus(
        "store buffering, fence.sc",
        &[
            "st.relaxed.gpu.global.u32 [%x],1; fence.sc.gpu; ld.relaxed.gpu.global.u32 %v,[%y];",
            "st.relaxed.gpu.global.u32 [%y],1; fence.sc.gpu; ld.relaxed.gpu.global.u32 %v,[%x];",
        ],
        None,
    ),
    // Fences alone order nothing between weak accesses: nobody observes anything strong.
    litmus(
        "store buffering, weak, fence.sc",
        &[
            "st.global.u32 [%x],1; fence.sc.gpu; ld.relaxed.gpu.global.u32 %v,[%y];",
            "fence.sc.gpu; ld.global.u32 %v,[%x]; ld.relaxed.gpu.global.u32 %v,[%y];",
        ],
        Some("x"),
    ),
    // Loads and stores of one thread each on two words, all relaxed: morally strong.
    litmus(
        "load buffering, relaxed",
        &[
            "ld.relaxed.gpu.global.u32 %v,[%y]; st.relaxed.gpu.global.u32 [%x],1;",
            "ld.relaxed.gpu.global.u32 %v,[%x]; st.relaxed.gpu.global.u32 [%y],1;",
        ],
        None,
    ),
    // Fence, strong write; strong read, fence: the first fence synchronizes with the last.
    litmus(
        "fence to fence",
        &[
            "st.global.u32 [%x],7; fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; fence.acq_rel.gpu; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // Two fences with other work between are each one.
    litmus(
        "a fence, more data, another fence",
        &[
            "st.global.u32 [%x],7; fence.acq_rel.gpu; st.global.u32 [%y],8; fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; fence.acq_rel.gpu; ld.global.u32 %w,[%x]; ld.global.u32 %w,[%y];",
        ],
        None,
    ),
    // Only what is before the fence is released: y is after it.
    litmus(
        "a fence, more data, no other fence",
        &[
            "st.global.u32 [%x],7; fence.acq_rel.gpu; st.global.u32 [%y],8; st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; fence.acq_rel.gpu; ld.global.u32 %w,[%x]; ld.global.u32 %w,[%y];",
        ],
        Some("y"),
    ),
    // A fence in the poll's loop is after the read that ends it.
    litmus(
        "a fence in the loop",
        &[
            "st.global.u32 [%x],7; membar.gl; st.volatile.global.u32 [%l],1;",
            "loop: ld.volatile.global.u32 %s,[%l]; membar.gl; setp.ne.u32 %p,%s,1; @%p bra loop; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // Many fences before anything is released: the last covers all.
    litmus(
        "forty fences",
        &[
            "mov.u32 %w,0; loop: st.global.u32 [%x],%w; membar.gl; add.u32 %w,%w,1; setp.lt.u32 %p,%w,40; @%p bra loop; \
             st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // x is handed over and back ten times, each time released and acquired.
    litmus(
        "ping-pong",
        &[
            "mov.u32 %w,1; loop: st.global.u32 [%x],%w; st.release.gpu.global.u32 [%l],%w; \
             back: ld.acquire.gpu.global.u32 %s,[%m]; setp.ne.u32 %p,%s,%w; @%p bra back; \
             add.u32 %w,%w,1; setp.le.u32 %q,%w,10; @%q bra loop;",
            "mov.u32 %w,1; turn: mov.u32 %v,0; there: ld.acquire.gpu.global.u32 %s,[%l]; setp.ne.u32 %p,%s,%w; @%p bra there; \
             ld.global.u32 %v,[%x]; st.global.u32 [%x],%v; st.release.gpu.global.u32 [%m],%w; \
             add.u32 %w,%w,1; setp.le.u32 %q,%w,10; @%q bra turn;",
        ],
        None,
    ),
    // The same where the answer is given without a release: the writer's next store is not after the reader's read.
    litmus(
        "ping-pong, the answer not released",
        &[
            "mov.u32 %w,1; loop: st.global.u32 [%x],%w; st.release.gpu.global.u32 [%l],%w; \
             back: ld.acquire.gpu.global.u32 %s,[%m]; setp.ne.u32 %p,%s,%w; @%p bra back; \
             add.u32 %w,%w,1; setp.le.u32 %q,%w,10; @%q bra loop;",
            "mov.u32 %w,1; turn: mov.u32 %v,0; there: ld.acquire.gpu.global.u32 %s,[%l]; setp.ne.u32 %p,%s,%w; @%p bra there; \
             ld.global.u32 %v,[%x]; st.relaxed.gpu.global.u32 [%m],%w; \
             add.u32 %w,%w,1; setp.le.u32 %q,%w,10; @%q bra turn;",
        ],
        Some("x"),
    ),
];

#[test]
fn fences() {
    check(TESTS);
}
