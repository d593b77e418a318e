//! Barriers that not all threads reach.

use crate::corpus::{Case, check};

const CASES: &[Case] = &[
    Case {
        name: "half of a warp waits",
        blocks: 1,
        threads: 64,
        body: "setp.lt.u32 %p1, %t, 16; @%p1 bra inside; bra outside; inside: bar.sync 0; outside: bar.sync 0;",
        finds: &[&[
            "barrier divergence: kernel k on the default stream",
            "lanes 0xffff0000 of the warp are elsewhere",
            "bar.sync 0",
            "thread (0, 0, 0)",
        ]],
    },
    Case {
        // bar.sync is barrier.sync.aligned: "all threads in the warp must execute the same barrier instruction". What the others do next,
        // here end, which would release a barrier, makes it no better.
        name: "a barrier under a predicate that is false for half of each warp",
        blocks: 1,
        threads: 64,
        body: "and.b32 %r1, %t, 31; setp.lt.u32 %p1, %r1, 16; @%p1 bar.sync 0;",
        finds: &[&[
            "barrier divergence: kernel k on the default stream",
            "its predicate is false for lanes 0xffff0000 of the warp, which has to execute it together",
            "bar.sync 0",
            "thread (0, 0, 0)",
            "seen 2 times",
        ]],
    },
    Case {
        name: "an arrival under a predicate that differs",
        blocks: 1,
        threads: 64,
        body: "setp.ge.u32 %p1, %t, 32; @%p1 bra wait; setp.ne.u32 %p2, %t, 3; @%p2 bar.arrive 1, 63; bra done; wait: bar.sync 1, 63; done:",
        finds: &[&[
            "barrier divergence",
            "its predicate is false for lanes 0x8 of the warp",
            "bar.arrive 1, 63",
        ]],
    },
    Case {
        name: "a barrier for a number of threads, and some have ended",
        blocks: 1,
        threads: 64,
        body: "setp.ge.u32 %p1, %t, 32; @%p1 exit; bar.sync 1, 64;",
        finds: &[&["barrier divergence", "32 threads of the block have ended without coming to it"]],
    },
    Case {
        name: "two barriers, each with half of the block",
        blocks: 1,
        threads: 64,
        body: "setp.lt.u32 %p1, %t, 32; @%p1 bra first; bar.sync 1; bra done; first: bar.sync 2; done:",
        finds: &[&["barrier divergence", "32 threads never come: the block waits for ever"]],
    },
    Case {
        name: "a barrier for more threads than there are",
        blocks: 1,
        threads: 32,
        body: "bar.sync 1, 64;",
        finds: &[&["barrier divergence", "32 threads never come"]],
    },
    Case {
        name: "a shuffle without its members",
        blocks: 1,
        threads: 32,
        body: "setp.lt.u32 %p1, %t, 16; @!%p1 bra done; shfl.sync.idx.b32 %r1, %t, 0, 31, -1; done: bar.warp.sync -1;",
        finds: &[&["warp divergence", "lanes 0xffff0000 of the warp do not come to it", "shfl.sync"]],
    },
    Case {
        name: "a lane that is no member",
        blocks: 1,
        threads: 32,
        body: "vote.sync.ballot.b32 %r1, %p1, 0xffff;",
        finds: &[&["warp divergence", "lanes 0xffff0000 execute it and are not among its members"]],
    },
    Case {
        name: "a shuffle from lanes that have ended, stored",
        blocks: 1,
        threads: 32,
        body: "setp.ge.u32 %p1, %t, 20; @%p1 exit; shfl.sync.down.b32 %r1, %t, 16, 31, -1; st.global.u32 [%b], %r1;",
        // Lanes 4 to 15 read from lanes 20 to 31; from 16 on a lane would read beyond the warp, and reads its own.
        finds: &[&[
            "shuffle from an inactive lane",
            "lane 4 reads from lane 20, which has ended",
            "shfl.sync.down.b32",
            "stored to global memory at k case.cu:10",
            "st.global.u32 [%b], %r1",
            "seen 12 times",
        ]],
    },
    Case {
        // As reductions do: each warp's result goes through shared memory.
        name: "a shuffle from lanes that have ended, stored to shared memory and read there",
        blocks: 1,
        threads: 32,
        body: "setp.ge.u32 %p1, %t, 20; @%p1 exit; mov.u32 %r2, tile; add.u32 %r2, %r2, %word;
            shfl.sync.down.b32 %r1, %t, 16, 31, -1;
            st.shared.u32 [%r2], %r1;
            ld.shared.u32 %r3, [%r2];
            st.global.u32 [%b], %r3;",
        finds: &[&[
            "shuffle from an inactive lane",
            "lane 4 reads from lane 20, which has ended; the value is stored at k case.cu:10 (PTX line 16: st.shared.u32 [%r2], %r1), and read at k case.cu:10 (PTX line 17: ld.shared",
            "shfl.sync.down.b32",
            "stored to global memory at k case.cu:10 (PTX line 18",
            "seen 12 times",
        ]],
    },
    Case {
        name: "a shuffle from lanes of the other half, compared",
        blocks: 1,
        threads: 32,
        body: "setp.ge.u32 %p1, %t, 16; @%p1 bra done; shfl.sync.idx.b32 %r1, %t, 24, 31, 0xffff;
            setp.eq.u32 %p2, %r1, 24; @%p2 bra done; st.global.u32 [%b], %t; done: bar.warp.sync -1;",
        finds: &[&[
            "shuffle from an inactive lane",
            "lane 0 reads from lane 24, which does not execute it with this one",
            "decides a branch at k case.cu:10",
            "seen 16 times",
        ]],
    },
];

#[test]
fn kernels() {
    for case in CASES {
        let (_, findings) = crate::corpus::run(case.body, case.blocks, case.threads);
        let of_kernel: Vec<_> = findings.into_iter().filter(|finding| finding.site.is_some()).collect();
        check(case.name, &of_kernel, case.finds);
    }
}
