//! Kernels of a block whose warps meet at `mbarrier` objects: without a mistake, where nothing is found, and with one each.

use crate::corpus::{Case, check, check_all, run};

/// What it is called, its threads, its body, and what each thread leaves.
type Correct = (&'static str, u32, &'static str, fn(usize) -> u32);

/// `tile` from byte 512 on is two objects; `%word` of thread `t` is `4 t`.
const CORRECT: &[Correct] = &[
    (
        "two stages between two warps, each told full and empty by parity",
        64,
        // Warp 0 stores t + turn for warp 1, which reads its mirrored lane's and sums.
        "setp.eq.u32 %p1, %t, 0; @%p1 mbarrier.init.shared.b64 [tile+512], 32; @%p1 mbarrier.init.shared.b64 [tile+520], 32; bar.sync 0;
            and.b32 %r8, %t, 31; mov.u32 %r1, tile; shl.b32 %r2, %r8, 2; mov.u32 %r5, 0; mov.u32 %r6, 0; setp.ge.u32 %p2, %t, 32; @%p2 bra consumer;
            producer: setp.eq.u32 %p3, %r5, 0; @%p3 bra empty; xor.b32 %r7, %r5, 1; and.b32 %r7, %r7, 1;
            wait0: mbarrier.test_wait.parity.shared.b64 %p3, [tile+520], %r7; @!%p3 bra wait0;
            empty: add.u32 %r4, %r1, %r2; add.u32 %r3, %t, %r5; st.shared.u32 [%r4], %r3; mbarrier.arrive.shared.b64 _, [tile+512];
            add.u32 %r5, %r5, 1; setp.lt.u32 %p3, %r5, 4; @%p3 bra producer; bra done;
            consumer: and.b32 %r7, %r5, 1; wait1: mbarrier.test_wait.parity.shared.b64 %p3, [tile+512], %r7; @!%p3 bra wait1;
            xor.b32 %r4, %r2, 124; add.u32 %r4, %r4, %r1; ld.shared.u32 %r3, [%r4]; add.u32 %r6, %r6, %r3;
            mbarrier.arrive.shared.b64 _, [tile+520]; add.u32 %r5, %r5, 1; setp.lt.u32 %p3, %r5, 4; @%p3 bra consumer;
            st.global.u32 [%b+-128], %r6; done:",
        |word| 4 * (31 - word as u32) + 6,
    ),
    (
        "lanes of a warp that wait for others of it",
        32,
        "setp.eq.u32 %p1, %t, 0; @%p1 mbarrier.init.shared.b64 [tile+512], 32; bar.warp.sync -1; mov.u32 %r1, tile; add.u32 %r2, %r1, %word;
            setp.lt.u32 %p2, %t, 16; @!%p2 bra late;
            st.shared.u32 [%r2], %t; mbarrier.arrive.shared.b64 %rd1, [tile+512];
            early: mbarrier.test_wait.shared.b64 %p3, [tile+512], %rd1; @!%p3 bra early; bra read;
            late: st.shared.u32 [%r2], %t; mbarrier.arrive.shared.b64 %rd1, [tile+512];
            again: mbarrier.test_wait.shared.b64 %p3, [tile+512], %rd1; @!%p3 bra again;
            read: xor.b32 %r3, %word, 64; add.u32 %r3, %r3, %r1; ld.shared.u32 %r4, [%r3]; st.global.u32 [%b], %r4;",
        |word| word as u32 ^ 16,
    ),
    (
        "copies of two stages, begun ahead and waited for one after the other",
        32,
        "setp.eq.u32 %p1, %t, 0; @%p1 mbarrier.init.shared.b64 [tile+512], 32; @%p1 mbarrier.init.shared.b64 [tile+520], 32; bar.sync 0;
            mov.u32 %r1, tile; add.u32 %r2, %r1, %word; xor.b32 %r3, %word, 124; add.u32 %r3, %r3, %r1;
            cp.async.ca.shared.global [%r2], [%a], 4; cp.async.mbarrier.arrive.noinc.shared.b64 [tile+512];
            cp.async.ca.shared.global [%r2+128], [%a], 4; cp.async.mbarrier.arrive.shared.b64 [tile+520]; mbarrier.arrive.shared.b64 _, [tile+520];
            one: mbarrier.test_wait.parity.shared.b64 %p2, [tile+512], 0; @!%p2 bra one; ld.shared.u32 %r4, [%r3];
            two: mbarrier.test_wait.parity.shared.b64 %p2, [tile+520], 0; @!%p2 bra two; ld.shared.u32 %r5, [%r3+128];
            add.u32 %r4, %r4, %r5; st.global.u32 [%b], %r4;",
        |word| 2 * (31 - word as u32),
    ),
    (
        "copies that are waited for as a group as well",
        32,
        "setp.eq.u32 %p1, %t, 0; @%p1 mbarrier.init.shared.b64 [tile+512], 32; bar.sync 0; mov.u32 %r1, tile; add.u32 %r2, %r1, %word;
            cp.async.ca.shared.global [%r2], [%a], 4; cp.async.mbarrier.arrive.noinc.shared.b64 [tile+512]; cp.async.wait_all;
            ld.shared.u32 %r4, [%r2]; one: mbarrier.test_wait.parity.shared.b64 %p2, [tile+512], 0; @!%p2 bra one;
            xor.b32 %r3, %word, 4; add.u32 %r3, %r3, %r1; ld.shared.u32 %r5, [%r3]; mad.lo.u32 %r4, %r5, 100, %r4; st.global.u32 [%b], %r4;",
        |word| (word as u32 ^ 1) * 100 + word as u32,
    ),
    (
        "an object where another was, and then data",
        32,
        "setp.eq.u32 %p1, %t, 0; @!%p1 bra met; mbarrier.init.shared.b64 [tile], 2; mbarrier.inval.shared.b64 [tile];
            mbarrier.init.shared.b64 [tile], 32; met: bar.warp.sync -1; mbarrier.arrive.shared.b64 %rd1, [tile];
            one: mbarrier.test_wait.shared.b64 %p2, [tile], %rd1; @!%p2 bra one; bar.warp.sync -1;
            @%p1 mbarrier.inval.shared.b64 [tile]; @%p1 st.shared.u32 [tile], 7; bar.warp.sync -1; ld.shared.u32 %r1, [tile]; st.global.u32 [%b], %r1;",
        |_| 7,
    ),
];

#[test]
fn warps_that_meet() {
    for (name, threads, body, leaves) in CORRECT {
        let (left, findings) = run(body, 1, *threads);
        check(name, &findings, &[]);
        assert_eq!(left.unwrap(), (0..32).map(leaves).collect::<Vec<_>>(), "{name}");
    }
}

/// Thread 0 makes an object for all 64 threads, and all see it.
macro_rules! object {
    ($body:literal) => {
        concat!(
            "setp.eq.u32 %p1, %t, 0; mov.u32 %r1, tile; add.u32 %r2, %r1, %word; xor.b32 %r3, %word, 252; add.u32 %r3, %r3, %r1;\n\
             @%p1 mbarrier.init.shared.b64 [tile+512], 64; @%p1 mbarrier.init.shared.b64 [tile+520], 64; bar.sync 0;",
            $body
        )
    };
}

const FAULTY: &[Case] = &[
    Case {
        name: "an arrival without a wait",
        blocks: 1,
        threads: 64,
        body: object!("st.shared.u32 [%r2], %t; mbarrier.arrive.shared.b64 %rd1, [tile+512]; ld.shared.u32 %r4, [%r3]; setp.lt.u32 %p3, %t, 32; @%p3 st.global.u32 [%b], %t;"),
        finds: &[&["race in shared memory", "ld.shared.u32 %r4, [%r3]", "st.shared.u32 [%r2], %t"]],
    },
    Case {
        name: "a wait for another object",
        blocks: 1,
        threads: 64,
        body: object!("mbarrier.arrive.shared.b64 %rd2, [tile+520]; st.shared.u32 [%r2], %t; mbarrier.arrive.shared.b64 %rd1, [tile+512];
            one: mbarrier.test_wait.shared.b64 %p2, [tile+520], %rd2; @!%p2 bra one; ld.shared.u32 %r4, [%r3]; setp.lt.u32 %p3, %t, 32; @%p3 st.global.u32 [%b], %t;"),
        finds: &[&["race in shared memory", "ld.shared.u32 %r4, [%r3]", "st.shared.u32 [%r2], %t"]],
    },
    Case {
        name: "an object that other warps do not see made",
        blocks: 1,
        threads: 64,
        body: "setp.eq.u32 %p1, %t, 0; @%p1 mbarrier.init.shared.b64 [tile], 64; setp.ge.u32 %p2, %t, 32; @%p2 mbarrier.arrive.shared.b64 %rd1, [tile]; setp.lt.u32 %p3, %t, 32; @%p3 st.global.u32 [%b], %t;",
        finds: &[&["race in shared memory: atomic of 8 bytes", "mbarrier.arrive", "mbarrier.init", "8 bytes at 0x0"]],
    },
    Case {
        name: "copies that are read before they have landed",
        blocks: 1,
        threads: 64,
        body: "setp.eq.u32 %p1, %t, 0; @%p1 mbarrier.init.shared.b64 [tile+512], 64; bar.sync 0; setp.lt.u32 %p2, %t, 32; @!%p2 bra done;
            mov.u32 %r1, tile; add.u32 %r2, %r1, %word; cp.async.ca.shared.global [%r2], [%a], 4;
            cp.async.mbarrier.arrive.shared.b64 [tile+512]; ld.shared.u32 %r4, [%r2]; st.global.u32 [%b], %t; done:",
        finds: &[&["race in shared memory: read of 4 bytes", "a cp.async that has not been waited for"]],
    },
    Case {
        name: "an object that nobody made",
        blocks: 1,
        threads: 32,
        body: "mbarrier.arrive.shared.b64 %rd1, [tile+8];",
        finds: &[&["wrong use of an mbarrier", "no mbarrier object is there", "thread (0, 0, 0)", "mbarrier.arrive.shared.b64 %rd1, [tile+8]"]],
    },
    Case {
        name: "an object that was ended",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile], 1; mbarrier.inval.shared.b64 [tile]; mbarrier.arrive.shared.b64 %rd1, [tile];",
        finds: &[&["wrong use of an mbarrier", "no mbarrier object is there", "mbarrier.arrive"]],
    },
    Case {
        name: "an object that a store hit",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile], 1; st.shared.u8 [tile+2], 1; mbarrier.arrive.shared.b64 %rd1, [tile];",
        finds: &[&["wrong use of an mbarrier", "written over", "mbarrier.arrive"]],
    },
    Case {
        name: "an object made twice",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile], 1; mbarrier.init.shared.b64 [tile], 1;",
        finds: &[&["wrong use of an mbarrier", "is there already", "mbarrier.init"]],
    },
    Case {
        name: "an object for nobody",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile], %t;",
        finds: &[&["wrong use of an mbarrier", "a count of 0; it has to be 1 to 1048575"]],
    },
    Case {
        name: "arrivals that must not complete the phase and do",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile], 3; mbarrier.arrive.noComplete.shared.b64 %rd1, [tile], 3;",
        finds: &[&["wrong use of an mbarrier", "completes the phase"]],
    },
    Case {
        name: "more arrivals than are waited for",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile], 3; mbarrier.arrive.noComplete.shared.b64 %rd1, [tile], 4;",
        finds: &[&["wrong use of an mbarrier", "4 arrivals where 3 are waited for"]],
    },
    Case {
        name: "an arrival after all have dropped out",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile], 1; mbarrier.arrive_drop.shared.b64 _, [tile]; mbarrier.arrive.shared.b64 _, [tile];",
        finds: &[&["wrong use of an mbarrier", "1 arrivals where 0 are waited for", "mbarrier.arrive.shared"]],
    },
    Case {
        name: "a state of two phases ago",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile], 1; mbarrier.arrive.shared.b64 %rd1, [tile]; mbarrier.arrive.shared.b64 %rd2, [tile];
            mbarrier.test_wait.shared.b64 %p2, [tile], %rd1;",
        finds: &[&["wrong use of an mbarrier", "neither this phase nor the one before", "mbarrier.test_wait"]],
    },
    Case {
        name: "an object across the end",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile+1024], 1;",
        finds: &[&["out of bounds: write of 8 bytes of shared memory at 0x400"]],
    },
    Case {
        name: "an object at a wrong address",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.shared.b64 [tile+4], 1;",
        finds: &[&["misaligned address"]],
    },
    Case {
        name: "an object in global memory",
        blocks: 1,
        threads: 1,
        body: "mbarrier.init.b64 [%rdb], 1;",
        finds: &[&["wrong use of an mbarrier", "is no address of shared memory"]],
    },
];

#[test]
fn wrong_uses() {
    check_all(FAULTY);
}
