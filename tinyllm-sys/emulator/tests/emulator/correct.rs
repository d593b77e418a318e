//! Programs without a mistake: they compute what they should, and nothing is found.

use tinyllm_emulator::Emulator;

use crate::{
    corpus::{WORDS, run_on},
    program::on_each,
};

/// A kernel and what it leaves in `b`.
struct Case {
    name: &'static str,
    blocks: u32,
    threads: u32,
    body: &'static str,
    leaves: fn(usize) -> u32,
}

const CASES: &[Case] = &[
    Case {
        name: "a copy",
        blocks: 4,
        threads: 8,
        body: "ld.global.nc.u32 %r1, [%a]; st.global.u32 [%b], %r1;",
        leaves: |word| word as u32,
    },
    Case {
        name: "vectors",
        blocks: 1,
        threads: 8,
        body: "mul.wide.u32 %rd1, %t, 16; add.u64 %rd2, %rda, %rd1; add.u64 %rd3, %rdb, %rd1;
            ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd2]; st.global.v4.u32 [%rd3], {%r4, %r3, %r2, %r1};",
        leaves: |word| (word ^ 3) as u32,
    },
    Case {
        name: "a neighbour's word after a barrier",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r2, %r1, %word; st.shared.u32 [%r2], %t; bar.sync 0;
            xor.b32 %r3, %word, 124; add.u32 %r3, %r3, %r1; ld.shared.u32 %r4, [%r3]; st.global.u32 [%b], %r4;",
        leaves: |word| (word ^ 31) as u32,
    },
    Case {
        name: "a neighbour's word after bar.warp.sync",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r2, %r1, %word; st.shared.u32 [%r2], %t; bar.warp.sync -1;
            xor.b32 %r3, %word, 4; add.u32 %r3, %r3, %r1; ld.shared.u32 %r4, [%r3]; st.global.u32 [%b], %r4;",
        leaves: |word| (word ^ 1) as u32,
    },
    Case {
        name: "a loop with two barriers",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r2, %r1, %word; mov.u32 %r5, 0; xor.b32 %r3, %word, 4; add.u32 %r3, %r3, %r1;
            again: add.u32 %r6, %t, %r5; st.shared.u32 [%r2], %r6; bar.sync 0; ld.shared.u32 %r4, [%r3]; bar.sync 0;
            add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 3; @%p1 bra again; st.global.u32 [%b], %r4;",
        leaves: |word| (word ^ 1) as u32 + 2,
    },
    Case {
        name: "a barrier after a warp has ended",
        blocks: 1,
        threads: 64,
        body: "setp.ge.u32 %p1, %t, 32; @%p1 exit; mov.u32 %r1, tile; add.u32 %r2, %r1, %word; st.shared.u32 [%r2], %t; bar.sync 0;
            xor.b32 %r3, %word, 124; add.u32 %r3, %r3, %r1; ld.shared.u32 %r4, [%r3]; st.global.u32 [%b], %r4;",
        leaves: |word| (word ^ 31) as u32,
    },
    Case {
        // The barrier cannot be complete before the second warp has ended, nor the load before the barrier is.
        name: "a barrier after a warp has stored and ended",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; add.u32 %r2, %r1, %word; st.shared.u32 [%r2], %t;
            setp.ge.u32 %p1, %t, 32; @%p1 exit; bar.sync 0;
            xor.b32 %r3, %word, 128; add.u32 %r3, %r3, %r1; ld.shared.u32 %r4, [%r3]; st.global.u32 [%b], %r4;",
        leaves: |word| word as u32 + 32,
    },
    Case {
        // Each warp evaluates the condition as one, and the block's other warps are not waited for.
        name: "barriers under predicates that are the same for a whole warp",
        blocks: 1,
        threads: 64,
        body: "setp.lt.u32 %p1, %t, 32; mov.u32 %r1, tile; add.u32 %r2, %r1, %word; @%p1 st.shared.u32 [%r2], %t;
            @%p1 bar.sync 1, 32; xor.b32 %r3, %word, 124; add.u32 %r3, %r3, %r1; @%p1 ld.shared.u32 %r4, [%r3];
            @%p1 st.global.u32 [%b], %r4;",
        leaves: |word| (word ^ 31) as u32,
    },
    Case {
        // barrier.sync, without .aligned, may differ among the lanes of a warp.
        name: "a barrier that is not aligned, under a predicate",
        blocks: 1,
        threads: 32,
        body: "setp.lt.u32 %p1, %t, 16; @%p1 barrier.sync 0; @!%p1 barrier.sync 0; st.global.u32 [%b], %t;",
        leaves: |word| word as u32,
    },
    Case {
        name: "a barrier after a part of a warp has ended",
        blocks: 1,
        threads: 32,
        body: "st.global.u32 [%b], %t; setp.ge.u32 %p1, %t, 20; @%p1 exit; mov.u32 %r1, tile; add.u32 %r2, %r1, %word;
            st.shared.u32 [%r2], %t; bar.sync 0; xor.b32 %r3, %word, 4; add.u32 %r3, %r3, %r1; ld.shared.u32 %r4, [%r3];
            st.global.u32 [%b], %r4;",
        leaves: |word| if word < 20 { (word ^ 1) as u32 } else { word as u32 },
    },
    Case {
        name: "a barrier after all but one have ended, twice",
        blocks: 2,
        threads: 96,
        body: "setp.ne.u32 %p1, %t, 70; @%p1 exit; bar.sync 0; mov.u32 %r1, 0; mov.u64 %rd1, %rdb;
            again: shl.b32 %r2, %r1, 1; add.u32 %r2, %r2, %cta; mul.wide.u32 %rd1, %r2, 4; add.u64 %rd1, %rd1, %rdb;
            st.global.u32 [%rd1], %r2; barrier.sync 0; add.u32 %r1, %r1, 1; setp.lt.u32 %p2, %r1, 16; @%p2 bra again;",
        leaves: |word| word as u32,
    },
    Case {
        name: "all store one value",
        blocks: 1,
        threads: 32,
        body: "st.shared.u32 [tile], 9; bar.sync 0; ld.shared.u32 %r1, [tile]; st.global.u32 [%b], %r1;",
        leaves: |_| 9,
    },
    Case {
        name: "a sum by shuffles",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, %t; mov.u32 %r2, 16;
            again: shfl.sync.bfly.b32 %r3, %r1, %r2, 31, -1; add.u32 %r1, %r1, %r3; shr.u32 %r2, %r2, 1;
            setp.ne.u32 %p1, %r2, 0; @%p1 bra again; st.global.u32 [%b], %r1;",
        leaves: |_| 31 * 32 / 2,
    },
    Case {
        name: "loops of different lengths that meet again",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, 0; mov.u32 %r2, 0;
            again: add.u32 %r1, %r1, %r2; add.u32 %r2, %r2, 1; setp.le.u32 %p1, %r2, %t; @%p1 bra again;
            shfl.sync.idx.b32 %r3, %r1, 31, 31, -1; sub.u32 %r3, %r3, %r1; st.global.u32 [%b], %r3;",
        leaves: |word| (31 * 32 / 2 - word * (word + 1) / 2) as u32,
    },
    Case {
        name: "a histogram in shared memory",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; setp.lt.u32 %p1, %t, 32; add.u32 %r2, %r1, %word; @%p1 st.shared.u32 [%r2], 0; bar.sync 0;
            and.b32 %r3, %t, 3; shl.b32 %r3, %r3, 2; add.u32 %r3, %r3, %r1; atom.shared.add.u32 %r4, [%r3], 1; bar.sync 0;
            @%p1 ld.shared.u32 %r5, [%r2]; @%p1 st.global.u32 [%b], %r5;",
        leaves: |word| if word < 4 { 16 } else { 0 },
    },
    Case {
        name: "copies that are waited for",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r2, %r1, %word; cp.async.ca.shared.global [%r2], [%a], 4;
            cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;
            xor.b32 %r3, %word, 8; add.u32 %r3, %r3, %r1; ld.shared.u32 %r4, [%r3]; st.global.u32 [%b], %r4;",
        leaves: |word| (word ^ 2) as u32,
    },
    Case {
        name: "each lane a byte of a word",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %t; cvt.u16.u32 %h1, %t; st.shared.u8 [%r1], %h1; bar.sync 0;
            and.b32 %r2, %word, 60; mov.u32 %r1, tile; add.u32 %r1, %r1, %r2; ld.shared.u32 %r3, [%r1];
            setp.lt.u32 %p1, %t, 32; @%p1 st.global.u32 [%b], %r3;",
        leaves: |word| 0x0302_0100 + 0x0404_0404 * (word as u32 % 16),
    },
    Case {
        name: "a neighbour's word after bar.warp.sync",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r2, %r1, %word; xor.b32 %r3, %word, 20; add.u32 %r3, %r3, %r1; mov.u32 %r5, 0;
            again: add.u32 %r6, %t, %r5; st.shared.u32 [%r2], %r6; bar.warp.sync -1; ld.shared.u32 %r4, [%r3];
            bar.warp.sync -1; add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 3; @%p1 bra again; st.global.u32 [%b], %r4;",
        leaves: |word| (word ^ 5) as u32 + 2,
    },
    Case {
        name: "two halves of a block, each with its own barrier",
        blocks: 1,
        threads: 128,
        body: "mov.u32 %r1, tile; add.u32 %r2, %r1, %word; xor.b32 %r3, %word, 128; add.u32 %r3, %r3, %r1; mov.u32 %r5, 0;
            shr.u32 %r7, %t, 6; add.u32 %r7, %r7, 1;
            again: add.u32 %r6, %t, %r5; st.shared.u32 [%r2], %r6; bar.sync %r7, 64; ld.shared.u32 %r4, [%r3];
            bar.sync %r7, 64; add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 3; @%p1 bra again; bar.sync 0;
            ld.shared.u32 %r4, [%r1+256]; setp.lt.u32 %p1, %t, 32; add.u32 %r4, %r4, %t; @%p1 st.global.u32 [%b], %r4;",
        leaves: |word| 64 + 2 + word as u32,
    },
    Case {
        name: "copies of a row, the next begun while one is read",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; and.b32 %r2, %t, 7; shl.b32 %r2, %r2, 4; mul.wide.u32 %rd1, %r2, 1; add.u64 %rd1, %rd1, %rda;
            add.u32 %r3, %r1, %r2; setp.lt.u32 %p1, %t, 8; mov.u32 %r5, 0; mov.u32 %r6, 0;
            @%p1 cp.async.cg.shared.global [%r3], [%rd1], 16; cp.async.commit_group;
            again: xor.b32 %r7, %r6, 128; add.u32 %r8, %r3, %r7; @%p1 cp.async.cg.shared.global [%r8], [%rd1], 16;
            cp.async.commit_group; cp.async.wait_group 1; bar.sync 0; add.u32 %r9, %r1, %r6; xor.b32 %r10, %word, 124;
            add.u32 %r9, %r9, %r10; ld.shared.u32 %r4, [%r9]; bar.sync 0; mov.u32 %r6, %r7; add.u32 %r5, %r5, 1;
            setp.lt.u32 %p2, %r5, 4; @%p2 bra again; cp.async.wait_all; st.global.u32 [%b], %r4;",
        leaves: |word| (word ^ 31) as u32,
    },
    Case {
        name: "a copy that fills with 0",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r2, %r1, %word; and.b32 %r3, %t, 1; shl.b32 %r3, %r3, 2;
            add.u64 %rd1, %rda, 4096; setp.eq.u32 %p1, %r3, 0; selp.b64 %rd1, %rd1, %a, %p1;
            cp.async.ca.shared.global [%r2], [%rd1], 4, %r3; cp.async.wait_all;
            ld.shared.u32 %r4, [%r2]; st.global.u32 [%b], %r4;",
        leaves: |word| if word % 2 == 1 { word as u32 } else { 0 },
    },
    Case {
        name: "producer and consumer",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; and.b32 %r2, %t, 31; shl.b32 %r2, %r2, 2; add.u32 %r2, %r2, %r1;
            setp.lt.u32 %p1, %t, 32; @%p1 bra consumer;
            add.u32 %r3, %t, 5; st.shared.u32 [%r2], %r3; bar.arrive 1, 64; bra done;
            consumer: bar.sync 1, 64; ld.shared.u32 %r4, [%r2]; st.global.u32 [%b], %r4; done:",
        leaves: |word| word as u32 + 37,
    },
    Case {
        name: "the last block sums up",
        blocks: 4,
        threads: 1,
        body: "mul.wide.u32 %rd1, %cta, 4; add.u64 %rd2, %rdb, %rd1; add.u32 %r1, %cta, 100; st.global.u32 [%rd2], %r1;
            membar.gl; atom.global.add.u32 %r2, [%rda], 1; setp.ne.u32 %p1, %r2, 3; @%p1 exit; membar.gl;
            mov.u32 %r3, 0; mov.u32 %r4, 0;
            again: ld.global.u32 %r5, [%rdb]; add.u32 %r3, %r3, %r5; add.u64 %rdb, %rdb, 4; add.u32 %r4, %r4, 1;
            setp.lt.u32 %p1, %r4, 4; @%p1 bra again;
            fill: st.global.u32 [%rdb], %r3; add.u64 %rdb, %rdb, 4; add.u32 %r4, %r4, 1; setp.lt.u32 %p1, %r4, 32; @%p1 bra fill;",
        leaves: |word| if word < 4 { word as u32 + 100 } else { 406 },
    },
    Case {
        name: "all blocks wait for each other",
        blocks: 4,
        threads: 8,
        body: "add.u32 %r1, %gid, 1; st.global.u32 [%b], %r1; bar.sync 0; setp.ne.u32 %p1, %t, 0; @%p1 bra ready;
            membar.gl; atom.global.add.u32 %r2, [%rda], 1;
            wait: ld.acquire.gpu.global.u32 %r2, [%rda]; setp.lt.u32 %p2, %r2, 4; @%p2 bra wait; membar.gl;
            ready: bar.sync 0; xor.b32 %r3, %gid, 31; mul.wide.u32 %rd1, %r3, 4; add.u64 %rd2, %rdb, %rd1;
            ld.global.u32 %r4, [%rd2]; bar.sync 0; setp.ne.u32 %p1, %t, 0; @%p1 bra go;
            membar.gl; atom.global.add.u32 %r2, [%rda], 1;
            wait2: ld.acquire.gpu.global.u32 %r2, [%rda]; setp.lt.u32 %p2, %r2, 8; @%p2 bra wait2; membar.gl;
            go: bar.sync 0; st.global.u32 [%b], %r4;",
        leaves: |word| 32 - word as u32,
    },
    Case {
        name: "blocks add to one word",
        blocks: 32,
        threads: 4,
        body: "red.global.add.u32 [%rda], 1; setp.eq.u32 %p1, %t, 0; mul.wide.u32 %rd1, %cta, 4; add.u64 %rd2, %rdb, %rd1;
            @%p1 st.global.u32 [%rd2], %cta;",
        leaves: |word| word as u32,
    },
    Case {
        name: "a lock between the lanes of a warp",
        blocks: 1,
        threads: 32,
        body: "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [tile], 0; @%p1 st.shared.u32 [tile+4], 0; bar.sync 0;
            again: atom.shared.cas.b32 %r1, [tile], 0, 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra again;
            atom.shared.add.u32 %r2, [tile+4], 1; atom.shared.exch.b32 %r1, [tile], 0; bar.warp.sync -1;
            atom.shared.add.u32 %r2, [tile+4], 0; st.global.u32 [%b], %r2;",
        leaves: |_| 32,
    },
    Case {
        name: "a table of labels",
        blocks: 1,
        threads: 32,
        body: "and.b32 %r1, %t, 3; table: .branchtargets zero, one, two, three; brx.idx %r1, table;
            zero: mov.u32 %r2, 5; bra done; one: mov.u32 %r2, 6; bra done; two: mov.u32 %r2, 7; bra done;
            three: mov.u32 %r2, 8; done: st.global.u32 [%b], %r2;",
        leaves: |word| word as u32 % 4 + 5,
    },
    Case {
        name: "local memory",
        blocks: 1,
        threads: 32,
        body: "mov.u64 %rd1, stack; cvta.local.u64 %rd2, %rd1; st.u32 [%rd2+8], %t; ld.local.u32 %r1, [%rd1+8];
            st.global.u32 [%b], %r1;",
        leaves: |word| word as u32,
    },
    Case {
        name: "votes of those who are there",
        blocks: 1,
        threads: 32,
        body: "and.b32 %r1, %t, 1; setp.eq.u32 %p1, %r1, 0; @%p1 bra even;
            vote.sync.ballot.b32 %r2, %p1, 0xaaaaaaaa; activemask.b32 %r2; bra done;
            even: vote.sync.ballot.b32 %r2, %p1, 0x55555555; done: bar.warp.sync -1; st.global.u32 [%b], %r2;",
        leaves: |word| if word % 2 == 0 { 0x5555_5555 } else { 0xaaaa_aaaa },
    },
];

#[test]
fn kernels() {
    for case in CASES {
        let expected: Vec<u32> = (0..WORDS).map(case.leaves).collect();
        let run = |program: &_| run_on(program, case.body, case.blocks, case.threads).unwrap();
        for out in on_each(Emulator::builder(), run) {
            assert_eq!(out, expected, "{}", case.name);
        }
    }
}
