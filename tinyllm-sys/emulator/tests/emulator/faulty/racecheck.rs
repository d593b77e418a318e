//! Threads of a block, and blocks of a kernel, that nothing orders. Blocks race for `a`, which has values before the launch:
//! whichever runs first, the race is all there is to find.

use crate::corpus::{Case, check, run};

const CASES: &[Case] = &[
    Case {
        name: "a neighbour's word without a barrier",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; st.shared.u32 [%r1], %t;
            xor.b32 %r2, %word, 128; mov.u32 %r3, tile; add.u32 %r3, %r3, %r2;
            ld.shared.u32 %r4, [%r3]; setp.lt.u32 %p1, %t, 32; @%p1 st.global.u32 [%b], %r4;",
        finds: &[
            &["race in shared memory: write", "against read by block (0, 0, 0) thread (0, 0, 0)"],
            &["race in shared memory: read", "against write by block (0, 0, 0) thread (0, 0, 0)"],
            &["uninitialized read: read of 4 bytes of shared memory", "stored to global memory", "seen 32 times"],
        ],
    },
    Case {
        name: "within a warp, without bar.warp.sync",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; st.shared.u32 [%r1], %t;
            xor.b32 %r2, %word, 4; mov.u32 %r3, tile; add.u32 %r3, %r3, %r2;
            ld.shared.u32 %r4, [%r3]; st.global.u32 [%b], %r4;",
        finds: &[&[
            "race in shared memory: read of 4 bytes",
            "against write by block (0, 0, 0)",
            "st.shared.u32 [%r1], %t",
        ]],
    },
    Case {
        name: "two values for one word",
        blocks: 1,
        threads: 32,
        body: "st.shared.u32 [tile], %t; st.global.u32 [%b], %t;",
        finds: &[&["race in shared memory: write", "against write"]],
    },
    Case {
        name: "two values for one word by two lanes",
        blocks: 1,
        threads: 32,
        body: "setp.lt.u32 %p1, %t, 2; @%p1 st.shared.u32 [tile], %t; st.global.u32 [%b], %t;",
        finds: &[&["race in shared memory: write of 4 bytes", "against write by block (0, 0, 0) thread (0, 0, 0)"]],
    },
    Case {
        name: "several warps store one value",
        blocks: 1,
        threads: 96,
        body: "st.shared.u32 [tile], 7; bar.sync 0; ld.shared.u32 %r1, [tile]; setp.lt.u32 %p1, %t, 32; @%p1 st.global.u32 [%b], %r1;",
        finds: &[&["note: equal values stored to shared memory: write of 4 bytes", "against write by block (0, 0, 0)", "seen"]],
    },
    Case {
        name: "a store between those of one value",
        blocks: 1,
        threads: 64,
        body: "setp.lt.u32 %p1, %t, 32; @%p1 st.shared.u32 [tile], 7; @!%p1 st.shared.u32 [tile], 8;",
        finds: &[&["race in shared memory: write of 4 bytes"]],
    },
    Case {
        name: "a shuffle between a read and the write of what was read",
        blocks: 1,
        threads: 32,
        body: "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [tile], 5; bar.warp.sync -1; ld.shared.u32 %r1, [tile];
            shfl.sync.bfly.b32 %r2, %r1, 16, 31, -1; @%p1 st.shared.u32 [tile], %r2;",
        finds: &[&["race in shared memory: write of 4 bytes", "shfl.sync orders no memory; __syncwarp() does", "against read", ", 4 bytes at 0x0"]],
    },
    Case {
        name: "a shuffle before both",
        blocks: 1,
        threads: 32,
        body: "shfl.sync.bfly.b32 %r2, %t, 16, 31, -1; setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [tile], 5; bar.warp.sync -1;
            shfl.sync.bfly.b32 %r2, %t, 16, 31, -1; ld.shared.u32 %r1, [tile]; @%p1 st.shared.u32 [tile], %r2;",
        finds: &[&["race in shared memory: write of 4 bytes of shared memory at 0x0, byte 0 of tile (1024 bytes)\n"]],
    },
    Case {
        name: "a barrier too few in a loop",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; mov.u32 %r5, 0; xor.b32 %r2, %word, 128;
            mov.u32 %r3, tile; add.u32 %r3, %r3, %r2;
            again: st.shared.u32 [%r1], %t; bar.sync 0; ld.shared.u32 %r4, [%r3]; add.u32 %r5, %r5, 1;
            setp.lt.u32 %p1, %r5, 2; @%p1 bra again; setp.lt.u32 %p1, %t, 32; @%p1 st.global.u32 [%b], %r4;",
        finds: &[&["race in shared memory: read", "against write"]],
    },
    Case {
        name: "an atomic and a plain read",
        blocks: 1,
        threads: 64,
        body: "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [tile], 0; bar.sync 0;
            setp.lt.u32 %p1, %t, 32; @%p1 bra reads; red.shared.add.u32 [tile], 1; bra done;
            reads: ld.shared.u32 %r1, [tile]; st.global.u32 [%b], %r1; done:",
        finds: &[&["race in shared memory: atomic", "against read"]],
    },
    Case {
        name: "copies that another warp reads without a barrier",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; setp.lt.u32 %p1, %t, 32; @!%p1 bra reads;
            cp.async.ca.shared.global [%r1], [%a], 4; cp.async.wait_all; st.global.u32 [%b], %t; bra done;
            reads: ld.shared.u32 %r4, [%r1+-128]; done:",
        finds: &[&["race in shared memory: read", "against write"]],
    },
    Case {
        name: "a copy that is waited for once, and not when it is begun again",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; mov.u32 %r2, 0;
            again: cp.async.ca.shared.global [%r1], [%rda], 16; setp.eq.u32 %p1, %r2, 1; @%p1 ld.shared.u32 %r4, [%r1+8];
            cp.async.wait_all; add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 2; @%p1 bra again;",
        finds: &[&["race in shared memory: read of 4 bytes", "a cp.async that has not been waited for"]],
    },
    Case {
        name: "a copy into what another warp reads",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; and.b32 %r2, %t, 7; shl.b32 %r2, %r2, 4; add.u32 %r1, %r1, %r2; setp.lt.u32 %p1, %t, 8;
            @%p1 st.shared.v4.u32 [%r1], {%t, %t, %t, %t}; bar.sync 0; setp.lt.u32 %p2, %t, 32; @!%p2 bra copies;
            @%p1 ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r1]; bra done;
            copies: setp.lt.u32 %p1, %t, 40; mul.wide.u32 %rd1, %r2, 1; add.u64 %rd1, %rd1, %rda;
            @%p1 cp.async.cg.shared.global [%r1], [%rd1], 16; cp.async.wait_all; done:",
        finds: &[
            &[
                "race in shared memory: write of 16 bytes",
                "thread (32, 0, 0)",
                "against read by block (0, 0, 0) thread (0, 0, 0)",
                "seen 16 times",
            ],
        ],
    },
    Case {
        name: "both warps read, and then one thread writes",
        blocks: 1,
        threads: 64,
        body: "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [tile], 5; bar.sync 0; ld.shared.u32 %r1, [tile];
            setp.eq.u32 %p1, %t, 32; @%p1 st.shared.u32 [tile], 6;",
        finds: &[&[
            "race in shared memory: write of 4 bytes",
            "thread (32, 0, 0)",
            "against read by block (0, 0, 0) thread (63, 0, 0)",
        ]],
    },
    Case {
        name: "four lanes store one half of a word",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; and.b32 %r2, %t, 28; shr.u32 %r2, %r2, 1; add.u32 %r1, %r1, %r2; cvt.u16.u32 %h1, %t; st.shared.u16 [%r1], %h1;",
        finds: &[&["race in shared memory: write of 2 bytes", "thread (1, 0, 0)", "against write by block (0, 0, 0) thread (0, 0, 0)", "seen 24 times"]],
    },
    Case {
        name: "bar.warp.sync between two warps",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; st.shared.u32 [%r1], 0; bar.sync 0; st.shared.u32 [%r1], %t;
            bar.warp.sync -1; xor.b32 %r2, %word, 128; mov.u32 %r3, tile; add.u32 %r3, %r3, %r2; ld.shared.u32 %r4, [%r3];",
        finds: &[
            &["race in shared memory: write", "thread (32, 0, 0)", "against read by block (0, 0, 0) thread (0, 0, 0)", "seen 32 times"],
            &["race in shared memory: read", "thread (32, 0, 0)", "against write by block (0, 0, 0) thread (0, 0, 0)", "seen 32 times"],
        ],
    },
    Case {
        name: "a barrier of two warps, and a third that reads",
        blocks: 1,
        threads: 96,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; st.shared.u32 [%r1], %t; bar.sync 0;
            setp.ge.u32 %p1, %t, 64; @%p1 bra third; st.shared.u32 [%r1], 7; bar.sync 1, 64; xor.b32 %r2, %word, 128;
            mov.u32 %r3, tile; add.u32 %r3, %r3, %r2; ld.shared.u32 %r4, [%r3]; bra done;
            third: ld.shared.u32 %r4, [%r1+-128]; done:",
        finds: &[&[
            "race in shared memory: read of 4 bytes",
            "thread (64, 0, 0)",
            "against write by block (0, 0, 0) thread (32, 0, 0)",
            "seen 32 times",
        ]],
    },
    Case {
        name: "an atomic on what another warp stores",
        blocks: 1,
        threads: 64,
        body: "setp.lt.u32 %p1, %t, 32; @!%p1 bra adds; mov.u32 %r1, tile; shl.b32 %r2, %t, 4; add.u32 %r1, %r1, %r2;
            st.shared.v4.u32 [%r1], {%t, %t, %t, %t}; bra done;
            adds: mov.u32 %r1, tile; add.u32 %r1, %r1, %word; red.shared.add.u32 [%r1+-124], 1; done:",
        finds: &[&[
            "race in shared memory: atomic of 4 bytes",
            "thread (32, 0, 0)",
            "against write by block (0, 0, 0) thread (0, 0, 0)",
            "seen 32 times",
        ]],
    },
    Case {
        name: "every block writes one word",
        blocks: 8,
        threads: 32,
        body: "setp.eq.u32 %p1, %cta, 0; @%p1 st.global.u32 [%b], %t; st.global.u32 [%rda], %cta;",
        finds: &[&["race between blocks: write", "byte 0 of a (128 bytes)", "block [1, 0, 0]", "against write in block [0, 0, 0]"]],
    },
    Case {
        name: "one block reads what another writes",
        blocks: 2,
        threads: 32,
        body: "setp.eq.u32 %p1, %cta, 0; @%p1 st.global.u32 [%a], %t; @!%p1 ld.global.u32 %r1, [%rda+64];",
        finds: &[&["race between blocks: read", "byte 64 of a", "against write in block [0, 0, 0]"]],
    },
    Case {
        name: "a flag without a fence",
        blocks: 2,
        threads: 1,
        body: "setp.eq.u32 %p1, %cta, 0; @!%p1 bra second;
            st.global.u32 [%rda], %n; atom.global.exch.b32 %r1, [%rda+64], 7; bra done;
            second: atom.global.add.u32 %r1, [%rda+64], 0; ld.global.u32 %r2, [%rda]; st.global.u32 [%rdb+4], %r2; done:",
        finds: &[&["race between blocks: read", "byte 0 of a", "against write in block [0, 0, 0]"]],
    },
    Case {
        name: "sums folded by the last block, without a fence",
        blocks: 8,
        threads: 1,
        body: "atom.global.add.f32 %f1, [%rda], 0f3F800000; atom.global.inc.u32 %r1, [%rda+64], 7; setp.ne.u32 %p1, %r1, 6; @%p1 bra done;
            ld.global.f32 %f2, [%rda];
            st.global.f32 [%rdb], %f2; done:",
        finds: &[&[
            "race between blocks: read of 4 bytes",
            "byte 0 of a (128 bytes): block [7, 0, 0]",
            "ld.global.f32 %f2, [%rda])",
            "against atomic in block [0, 0, 0]",
            "atom.global.add.f32 %f1, [%rda], 0f3F800000), 4 bytes at 0x",
            "seen 7 times",
        ]],
    },
    Case {
        name: "a store of eight bytes over a neighbour's word",
        blocks: 2,
        threads: 1,
        body: "setp.eq.u32 %p1, %cta, 0; @!%p1 bra second; st.global.u32 [%rda+16], 3; st.global.v2.u32 [%rda+8], {%r1, %r1}; bra done;
            second: ld.global.u32 %r2, [%rda+32]; ld.global.u32 %r1, [%rda+12]; ld.global.u32 %r3, [%rda+20]; done:",
        finds: &[&[
            "race between blocks: read of 4 bytes",
            "byte 12 of a",
            "ld.global.u32 %r1, [%rda+12])",
            "against write in block [0, 0, 0]",
            "st.global.v2.u32 [%rda+8], {%r1, %r1}), 8 bytes at 0x",
        ]],
    },
];

#[test]
fn kernels() {
    for case in CASES {
        let (out, findings) = run(case.body, case.blocks, case.threads);
        assert!(out.is_some(), "{}", case.name);
        let of_kernel: Vec<_> = findings
            .into_iter()
            .filter(|finding| finding.access.is_some() && !finding.work.starts_with("copy"))
            .collect();
        check(case.name, &of_kernel, case.finds);
    }
}
