//! Locks around `x`: two threads add to it, each holding `l`.

use super::{Litmus, check, litmus};

/// Adds to `x`.
macro_rules! add {
    () => {
        "ld.global.u32 %w,[%x]; add.u32 %w,%w,1; st.global.u32 [%x],%w;"
    };
}

/// A thread that takes the lock, adds, and gives it back.
macro_rules! holder {
    ($take:literal, $give:literal) => {
        concat!($take, add!(), $give)
    };
}

const TESTS: &[Litmus] = &[
    // The swap that takes the lock acquires what the store that gave it back released.
    litmus(
        "acquire and release",
        &[
            holder!("poll atom.acquire.gpu.global.cas.b32 [%l],0,1,0;", "st.release.gpu.global.u32 [%l],0;"),
            holder!("poll atom.acquire.gpu.global.cas.b32 [%l],0,1,0;", "st.release.gpu.global.u32 [%l],0;"),
        ],
        None,
    ),
    // CUDA's lock of old: atomicCAS, __threadfence; __threadfence, atomicExch.
    litmus(
        "fences around relaxed atomics",
        &[
            holder!(
                "poll atom.global.cas.b32 [%l],0,1,0; membar.gl;",
                "membar.gl; atom.global.exch.b32 %v,[%l],0;"
            ),
            holder!(
                "poll atom.global.cas.b32 [%l],0,1,0; membar.gl;",
                "membar.gl; atom.global.exch.b32 %v,[%l],0;"
            ),
        ],
        None,
    ),
    // Without the fence at the end nothing is released.
    litmus(
        "no fence before the lock is given back",
        &[
            holder!("poll atom.global.cas.b32 [%l],0,1,0; membar.gl;", "atom.global.exch.b32 %v,[%l],0;"),
            holder!("poll atom.global.cas.b32 [%l],0,1,0; membar.gl;", "atom.global.exch.b32 %v,[%l],0;"),
        ],
        Some("x"),
    ),
    // Without the fence at the start nothing is acquired.
    litmus(
        "no fence after the lock is taken",
        &[
            holder!("poll atom.global.cas.b32 [%l],0,1,0;", "membar.gl; atom.global.exch.b32 %v,[%l],0;"),
            holder!("poll atom.global.cas.b32 [%l],0,1,0;", "membar.gl; atom.global.exch.b32 %v,[%l],0;"),
        ],
        Some("x"),
    ),
    // Two locks are no lock.
    litmus(
        "each its own lock",
        &[
            holder!("poll atom.acquire.gpu.global.cas.b32 [%l],0,1,0;", "st.release.gpu.global.u32 [%l],0;"),
            holder!("poll atom.acquire.gpu.global.cas.b32 [%m],0,1,0;", "st.release.gpu.global.u32 [%m],0;"),
        ],
        Some("x"),
    ),
    // Taken in turn: a semaphore that counts whose turn it is, as split matrix products have it. Two runs of it, by hand.
    litmus(
        "turns",
        &[
            holder!("poll ld.acquire.gpu.global.u32 [%l],0;", "red.release.gpu.global.add.u32 [%l],1;"),
            holder!("poll ld.acquire.gpu.global.u32 [%l],1;", "red.release.gpu.global.add.u32 [%l],1;"),
            // The last sets it back by a plain store: all increments are observed through the chain.
            holder!("poll ld.acquire.gpu.global.u32 [%l],2;", "st.global.u32 [%l],0;"),
        ],
        None,
    ),
    // A ticket is taken by a relaxed atomic, and waited for in another word.
    litmus(
        "tickets",
        &[
            holder!(
                "atom.global.add.u32 %v,[%l],1; t0: ld.acquire.gpu.global.u32 %s,[%m]; setp.ne.u32 %p,%s,%v; @%p bra t0;",
                "add.u32 %v,%v,1; st.release.gpu.global.u32 [%m],%v;"
            ),
            holder!(
                "atom.global.add.u32 %v,[%l],1; t1: ld.acquire.gpu.global.u32 %s,[%m]; setp.ne.u32 %p,%s,%v; @%p bra t1;",
                "add.u32 %v,%v,1; st.release.gpu.global.u32 [%m],%v;"
            ),
        ],
        None,
    ),
    // The lock is given back by a plain store: it races with the other's swap, and nothing of x is released.
    litmus(
        "given back by a plain store",
        &[
            "poll atom.acquire.gpu.global.cas.b32 [%l],0,1,0; membar.gl; st.global.u32 [%l],0;",
            "poll atom.acquire.gpu.global.cas.b32 [%l],0,1,0; membar.gl; st.global.u32 [%l],0;",
        ],
        Some("l"),
    ),
    // A lock of the block's scope does not keep another block out.
    litmus(
        "a lock of the block's scope",
        &[
            "poll atom.acquire.cta.global.cas.b32 [%l],0,1,0; st.release.cta.global.u32 [%l],0;",
            "poll atom.acquire.cta.global.cas.b32 [%l],0,1,0; st.release.cta.global.u32 [%l],0;",
        ],
        Some("l"),
    ),
];

#[test]
fn locks() {
    check(TESTS);
}
