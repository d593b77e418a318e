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
        finds: &[&["barrier divergence", "lanes 0xffff0000 of the warp do not come to it", "shfl.sync"]],
    },
    Case {
        name: "a lane that is no member",
        blocks: 1,
        threads: 32,
        body: "vote.sync.ballot.b32 %r1, %p1, 0xffff;",
        finds: &[&["barrier divergence", "lanes 0xffff0000 execute it and are not among its members"]],
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
