//! Reads of bytes that nobody wrote, and where they are used.

use tinyllm_emulator::Emulator;
use tinyllm_sys::DriverApi;

use crate::{
    corpus::{Case, check, check_all},
    program::Program,
};

const CASES: &[Case] = &[
    Case {
        name: "a word of global memory",
        blocks: 1,
        threads: 4,
        body: "ld.global.u32 %r1, [%b]; st.global.u32 [%b], %r1; st.global.u32 [%rdb+64], %t;
            add.u32 %r2, %t, 4; mul.wide.u32 %rd1, %r2, 4; add.u64 %rd2, %rdb, %rd1; st.global.u32 [%rd2], %t;
            add.u64 %rd2, %rd2, 16; st.global.u32 [%rd2], %t; add.u64 %rd2, %rd2, 16; st.global.u32 [%rd2], %t;
            add.u64 %rd2, %rd2, 16; st.global.u32 [%rd2], %t; add.u64 %rd2, %rd2, 16; st.global.u32 [%rd2], %t;
            add.u64 %rd2, %rd2, 16; st.global.u32 [%rd2], %t; add.u64 %rd2, %rd2, 16; st.global.u32 [%rd2], %t;",
        finds: &[
            &["uninitialized read: read of 4 bytes of global memory", "byte 0 of b (128 bytes)", "stored to global memory", "seen 4 times"],
            // The same word has four threads' values, none of them ordered: that is another matter, and not one of this check.
        ],
    },
    Case {
        name: "the second half of a word",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; st.shared.u16 [%r1], %h1; ld.shared.u32 %r2, [%r1]; st.global.u32 [%b], %r2;",
        finds: &[&[
            "uninitialized read: read of 4 bytes of shared memory",
            "byte 2 of tile",
            "ld.shared.u32 %r2",
            "stored to global memory at k case.cu:10 (PTX line 14: st.global.u32 [%b], %r2)",
        ]],
    },
    Case {
        name: "a sum, stored twice, is found once",
        blocks: 1,
        threads: 1,
        body: "ld.shared.u32 %r1, [tile+4]; add.u32 %r2, %r1, %n; st.global.u32 [%b], %r2; st.global.u32 [%b+4], %r2;",
        finds: &[&["uninitialized read", "byte 4 of tile", "stored to global memory"]],
    },
    Case {
        name: "local memory",
        blocks: 1,
        threads: 1,
        body: "mov.u64 %rd1, stack; ld.local.u32 %r2, [%rd1+8]; st.global.u32 [%b], %r2;",
        finds: &[&[
            "uninitialized read: read of 4 bytes of local memory",
            "byte 8 of stack",
            "stored to global memory",
        ]],
    },
    Case {
        name: "an address",
        blocks: 1,
        threads: 1,
        body: "ld.shared.u32 %r1, [tile+8]; and.b32 %r1, %r1, 12; mov.u32 %r2, tile; add.u32 %r2, %r2, %r1;
            st.shared.u32 [%r2], %t;",
        finds: &[&["uninitialized read", "byte 8 of", "used as an address at k case.cu:10 (PTX line 15: st.shared"]],
    },
    Case {
        name: "a branch on one value",
        blocks: 1,
        threads: 4,
        body: "ld.shared.u32 %r1, [tile]; setp.eq.u32 %p1, %r1, 12345; @%p1 bra done; st.global.u32 [%b], %t; done:",
        finds: &[&["uninitialized read", "decides a branch", "@%p1 bra done", "seen 4 times"]],
    },
    Case {
        name: "an end",
        blocks: 1,
        threads: 1,
        body: "ld.shared.u32 %r1, [tile]; setp.lt.u32 %p1, %r1, 0; @%p1 exit; st.global.u32 [%b], %t;",
        finds: &[&["uninitialized read", "decides a branch", "@%p1 exit"]],
    },
    Case {
        name: "whether a store is done",
        blocks: 1,
        threads: 1,
        body: "ld.shared.u32 %r1, [tile]; setp.lt.u32 %p1, %r1, %n; @%p1 st.global.u32 [%b], %t;",
        finds: &[&["uninitialized read", "decides whether this is done", "@%p1 st.global.u32"]],
    },
    Case {
        name: "a choice",
        blocks: 1,
        threads: 1,
        body: "ld.shared.u32 %r1, [tile]; setp.gt.s32 %p1, %r1, 5; selp.u32 %r2, 1, 2, %p1; st.global.u32 [%b], %r2;",
        finds: &[&["uninitialized read", "stored to global memory"]],
    },
    Case {
        name: "a move that may not happen",
        blocks: 1,
        threads: 1,
        body: "ld.shared.u32 %r1, [tile]; setp.gt.s32 %p1, %r1, 5; mov.u32 %r2, 1; @%p1 mov.u32 %r2, 2; st.global.u32 [%b], %r2;",
        finds: &[&["uninitialized read", "stored to global memory"]],
    },
    Case {
        name: "an atomic's operand",
        blocks: 1,
        threads: 2,
        body: "ld.shared.u32 %r1, [tile]; red.global.add.u32 [%rda], %r1;",
        finds: &[&["uninitialized read: read of 4 bytes of shared", "given to an atomic", "seen 2 times"]],
    },
    Case {
        name: "a barrier's count",
        blocks: 1,
        threads: 32,
        body: "ld.shared.u32 %r1, [tile]; and.b32 %r1, %r1, 32; add.u32 %r1, %r1, 32; barrier.sync 1, %r1;",
        finds: &[&["uninitialized read", "given to a barrier", "seen 32 times"]],
    },
    Case {
        name: "through shared memory to another thread",
        blocks: 1,
        threads: 64,
        body: "setp.eq.u32 %p1, %t, 0; @!%p1 bra wait; ld.shared.u32 %r1, [tile+64]; st.shared.u32 [tile], %r1;
            wait: bar.sync 0; setp.eq.u32 %p1, %t, 63; @!%p1 bra done; ld.shared.u32 %r2, [tile]; st.global.u32 [%rdb], %r2; done:",
        finds: &[&[
            "uninitialized read: read of 4 bytes of shared memory at 0x0",
            "the undefined value was put there at k case.cu:10 (PTX line 14: st.shared.u32 [tile], %r1)",
            "by block (0, 0, 0) thread (63, 0, 0)",
            "stored to global memory",
        ]],
    },
    Case {
        name: "through a generic address of local memory",
        blocks: 1,
        threads: 1,
        body: "ld.shared.v2.u32 {%r1, %r2}, [tile]; mov.u64 %rd1, stack; cvta.local.u64 %rd2, %rd1; st.v2.u32 [%rd2], {%t, %r2};
            ld.v2.u32 {%r3, %r4}, [%rd2]; st.global.u32 [%b], %r3; st.global.u32 [%b+4], %r4;",
        finds: &[&["uninitialized read", "byte 4 of stack", "put there at", "st.global.u32 [%b+4], %r4"]],
    },
    Case {
        name: "a byte's sign",
        blocks: 1,
        threads: 1,
        body: "ld.shared.s8 %r1, [tile]; shr.s32 %r1, %r1, 31; st.global.u32 [%b], %r1;",
        finds: &[&["uninitialized read: read of 1 bytes of shared memory", "stored to global memory"]],
    },
    Case {
        name: "a ballot",
        blocks: 1,
        threads: 32,
        body: "setp.ge.u32 %p1, %t, 16; @%p1 bra vote; mov.u32 %r1, tile; add.u32 %r1, %r1, %word; st.shared.u32 [%r1], %t;
            vote: mov.u32 %r1, tile; add.u32 %r1, %r1, %word; ld.shared.u32 %r2, [%r1]; setp.eq.u32 %p2, %r2, 3;
            vote.sync.ballot.b32 %r3, %p2, -1; st.global.u32 [%b], %r3;",
        finds: &[&["uninitialized read", "stored to global memory", "st.global.u32 [%b], %r3", "seen 32 times"]],
    },
    Case {
        name: "from lane to lane",
        blocks: 1,
        threads: 32,
        body: "setp.ne.u32 %p1, %t, 7; @%p1 bra read; st.shared.u32 [tile+28], %t;
            read: mov.u32 %r1, tile; add.u32 %r1, %r1, %word; ld.shared.u32 %r2, [%r1]; shfl.sync.idx.b32 %r3, %r2, 9, 31, -1;
            setp.eq.u32 %p1, %t, 4; @%p1 st.global.u32 [%b], %r3;",
        finds: &[&["byte 36 of tile", "by block (0, 0, 0) thread (9, 0, 0)", "[%b], %r3) by block (0, 0, 0) thread (4, 0, 0)"]],
    },
    Case {
        name: "a row of a product that is stored",
        blocks: 1,
        threads: 32,
        // Rows 8 to 15 of A, which is 1 else; lane 4 g + t holds rows g and g + 8.
        body: "mov.u32 %r1, 0x3c003c00; ld.shared.u32 %r2, [tile]; mov.f32 %f0, 0f00000000;
            mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r1, %r2, %r1, %r2}, {%r1, %r1},
            {%f0, %f0, %f0, %f0}; st.global.f32 [%b], %f1; st.global.f32 [%b], %f3;",
        finds: &[&["uninitialized read", "st.global.f32 [%b], %f3", "seen 32 times"]],
    },
    Case {
        name: "a column of a product",
        blocks: 1,
        threads: 32,
        // Lane 12 holds column 3 of B: columns 2 and 3 are of lanes 4 g + 1.
        body: "mov.u32 %r1, 0x01010101; mov.u32 %r2, %r1; setp.ne.u32 %p1, %t, 12; @%p1 bra go; ld.shared.u32 %r2, [tile];
            go: mov.u32 %r3, 0; mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r4, %r5, %r6, %r7}, {%r1, %r1, %r1, %r1},
            {%r1, %r2}, {%r3, %r3, %r3, %r3}; st.global.u32 [%b], %r4; st.global.u32 [%b], %r5;",
        finds: &[&["thread (12, 0, 0)", "st.global.u32 [%b], %r5) by block (0, 0, 0) thread (1, 0, 0)", "seen 8 times"]],
    },
    Case {
        name: "a matrix's row",
        blocks: 1,
        threads: 32,
        // Rows of 16 bytes; the second one is not there, which lanes 4 to 7 get.
        body: "setp.eq.u32 %p1, %t, 1; @%p1 bra load; shl.b32 %r1, %t, 4; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2;
            setp.lt.u32 %p2, %t, 8; @%p2 st.shared.v4.u32 [%r1], {%t, %t, %t, %t};
            load: bar.warp.sync -1; shl.b32 %r1, %t, 4; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2; and.b32 %r1, %r1, 127;
            ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r3}, [%r1]; st.global.u32 [%b], %r3;",
        finds: &[&["read of 16 bytes of shared memory", "byte 16 of", "by block (0, 0, 0) thread (1, 0, 0)", "seen 4 times"]],
    },
    Case {
        name: "a row of a warp's matrix",
        blocks: 1,
        threads: 32,
        // Row 3 of A: each of its lanes has a sum of that row, and then one of row 11.
        body: "setp.lt.u32 %p1, %t, 16; setp.ne.and.u32 %p1, %t, 3, %p1; shl.b32 %r1, %t, 5; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2;
            mov.u32 %r3, 0x01010101; mov.u32 %r0, 0; @%p1 st.shared.v4.u32 [%r1], {%r3, %r3, %r3, %r3}; bar.warp.sync -1;
            wmma.load.a.sync.aligned.row.m16n16k16.shared.s8 {%r1, %r2}, [tile], 32;
            wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.s8.s32 {%r5, %r6, %r7, %r8, %r9, %r10, %r11, %r12}, {%r1, %r2}, {%r3, %r3},
            {%r0, %r0, %r0, %r0, %r0, %r0, %r0, %r0}; st.global.u32 [%b], %r12; st.global.u32 [%b], %r5;",
        finds: &[&["read of 4 bytes of shared memory at 0x60", "wmma.load.a", "st.global.u32 [%b], %r5", "seen 4 times"]],
    },
    Case {
        name: "bits that differ",
        blocks: 1,
        threads: 32,
        // Zeros hide bits that both would have to have, and not those that differ.
        body: "mov.u32 %r1, 0; ld.shared.u32 %r2, [tile];
            mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.and.popc {%r3, %r4}, {%r1}, {%r2}, {%r1, %r1}; st.global.u32 [%b], %r3;
            mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc {%r3, %r4}, {%r1}, {%r2}, {%r1, %r1}; st.global.u32 [%b], %r4;",
        finds: &[&["uninitialized read", "st.global.u32 [%b], %r4", "seen 32 times"]],
    },
    Case {
        name: "a copy of what nobody wrote",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; cp.async.ca.shared.global [%r1], [%rdb], 4; cp.async.wait_all; ld.shared.u32 %r2, [%r1];
            st.global.u32 [%b+4], %r2;",
        finds: &[&["uninitialized read: read of 4 bytes of shared memory", "put there at k", "cp.async.ca.shared.global"]],
    },
    Case {
        name: "an atomic on what nobody wrote",
        blocks: 1,
        threads: 32,
        body: "red.global.add.u32 [%b], %t;",
        finds: &[&["uninitialized read: atomic of 4 bytes of global memory", "byte 0 of b"]],
    },
    Case {
        name: "a copy that was not waited for",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; cp.async.ca.shared.global [%r1], [%rda], 4; cp.async.commit_group;
            ld.shared.u32 %r2, [%r1]; st.global.u32 [%b], %r2; cp.async.wait_all;",
        finds: &[
            &["race in shared memory: read", "a cp.async that has not been waited for"],
            &["uninitialized read: read of 4 bytes of shared memory"],
        ],
    },
    Case {
        name: "in place, to lanes that come later",
        blocks: 1,
        threads: 32,
        // The lanes from 16 on have nothing, and are at the shuffle first.
        body: "ld.shared.u32 %r1, [tile]; setp.lt.u32 %p1, %t, 16; @%p1 mov.u32 %r1, %t; @%p1 bra far;
            join: shfl.sync.bfly.b32 %r1, %r1, 16, 31, -1; st.global.u32 [%b], %r1; bra done; far: bra join; done:",
        finds: &[&["byte 0 of tile", "by block (0, 0, 0) thread (16, 0, 0)", "[%b], %r1) by block (0, 0, 0) thread (0, 0, 0)", "seen 16 times"]],
    },
    Case {
        name: "a sum of shared memory that does not begin with 0",
        blocks: 1,
        threads: 32,
        body: "red.shared.add.u32 [tile+12], %t; bar.sync 0; ld.shared.u32 %r1, [tile+12]; st.global.u32 [%b], %r1;",
        finds: &[&[
            "uninitialized read: read of 4 bytes of shared memory",
            "byte 12 of tile",
            "put there at k case.cu:10 (PTX line 14: red.shared.add.u32 [tile+12], %t)",
            "stored to global memory",
            "seen 32 times",
        ]],
    },
    Case {
        name: "a sum of something that nobody wrote",
        blocks: 1,
        threads: 1,
        body: "st.shared.u32 [tile], %t; ld.shared.u32 %r1, [tile+4]; atom.shared.add.u32 %r2, [tile], %r1; st.global.u32 [%b+4], %r2;
            ld.shared.u32 %r3, [tile]; st.global.u32 [%b], %r3;",
        finds: &[&["byte 0 of tile", "put there at k", "atom.shared.add.u32 %r2, [tile], %r1", "st.global.u32 [%b], %r3"]],
    },
    Case {
        name: "what an atomic gives of the lane before",
        blocks: 1,
        threads: 2,
        // Lane 1 adds to what lane 0 made of nothing.
        body: "atom.shared.add.u32 %r1, [tile+8], 1; setp.eq.u32 %p1, %t, 1; @%p1 st.global.u32 [%b], %r1;",
        finds: &[&["atomic of 4 bytes of shared memory", "byte 8 of", "st.global.u32 [%b], %r1) by block (0, 0, 0) thread (1, 0, 0)"]],
    },
    Case {
        name: "what an exchange takes out of shared memory",
        blocks: 1,
        threads: 1,
        body: "atom.shared.exch.b32 %r1, [tile], %t; st.global.u32 [%b], %r1;",
        finds: &[&["uninitialized read: atomic of 4 bytes of shared memory", "byte 0 of", "stored to global memory"]],
    },
    Case {
        name: "what an exchange takes out of global memory",
        blocks: 1,
        threads: 1,
        body: "atom.global.exch.b64 %rd1, [%b], 9; cvt.u32.u64 %r1, %rd1; st.global.u32 [%b+16], %r1;",
        finds: &[&["uninitialized read: atomic of 8 bytes of global memory", "byte 0 of b", "stored to global memory at k", "[%b+16], %r1"]],
    },
    Case {
        name: "what an exchange puts in",
        blocks: 1,
        threads: 1,
        body: "st.shared.u32 [tile], %t; ld.shared.u32 %r1, [tile+4]; atom.shared.exch.b32 %r1, [tile], %r1; st.global.u32 [%b+4], %r1;
            ld.shared.u32 %r2, [tile]; st.global.u32 [%b], %r2;",
        finds: &[&["byte 0 of tile", "put there at k", "atom.shared.exch", "st.global.u32 [%b], %r2"]],
    },
    Case {
        name: "a lock that nobody set",
        blocks: 1,
        threads: 1,
        body: "atom.shared.cas.b32 %r1, [tile], 0, 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra done; st.global.u32 [%b], %t; done:",
        finds: &[&["uninitialized read: atomic of 4 bytes of shared memory", "decides a branch"]],
    },
    Case {
        name: "a global counter that nobody set, compared",
        blocks: 1,
        threads: 1,
        body: "atom.global.cas.b32 %r1, [%b], 0, 1; add.u32 %r1, %r1, 1;",
        finds: &[&["uninitialized read: atomic of 4 bytes of global memory", "byte 0 of b"]],
    },
    Case {
        name: "equal to one number",
        blocks: 1,
        threads: 1,
        body: "ld.shared.u32 %r1, [tile]; set.eq.u32.u32 %r2, %r1, 305419896; st.global.u32 [%b], %r2;",
        finds: &[&["uninitialized read", "stored to global memory"]],
    },
    Case {
        name: "a comparison that the other does not decide",
        blocks: 1,
        threads: 1,
        body: "ld.shared.u32 %r1, [tile]; setp.lt.u32 %p1, %t, 64; setp.eq.and.u32 %p2, %r1, 305419896, %p1; selp.u32 %r2, 1, 2, %p2;
            st.global.u32 [%b], %r2;",
        finds: &[&["uninitialized read", "stored to global memory"]],
    },
    Case {
        name: "the first of two reads",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; mov.u32 %r2, 0; mov.u32 %r4, 0;
            loop: setp.eq.u32 %p2, %r2, 0; ld.shared.u32 %r3, [%r1]; @%p2 mov.u32 %r4, %r3; add.u32 %r1, %r1, 4; add.u32 %r2, %r2, 1;
            setp.lt.u32 %p1, %r2, 2; @%p1 bra loop; st.global.u32 [%b], %r4;",
        finds: &[&["byte 0 of tile", "stored to global memory"]],
    },
    Case {
        name: "a transposed matrix's row",
        blocks: 1,
        threads: 32,
        // Lane l gets rows 2 (l % 4) and the next of a column; row 1 is not there, which lanes 0, 4, 8 to 28 get in their upper halves.
        body: "setp.eq.u32 %p1, %t, 1; @%p1 bra load; shl.b32 %r1, %t, 4; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2;
            setp.lt.u32 %p2, %t, 8; @%p2 st.shared.v4.u32 [%r1], {%t, %t, %t, %t};
            load: bar.warp.sync -1; shl.b32 %r1, %t, 4; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2; and.b32 %r1, %r1, 127;
            ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r3}, [%r1]; mov.b32 {%h1, %h2}, %r3; st.global.u32 [%b], 0;
            st.global.u16 [%b], %h1; st.global.u16 [%b+2], %h2;",
        finds: &[&["byte 16 of", "by block (0, 0, 0) thread (1, 0, 0)", "st.global.u16 [%b+2], %h2", "seen 8 times"]],
    },
    Case {
        name: "a reduction over more words than there are warps",
        blocks: 1,
        threads: 64,
        // As kernels for 1,024 threads do it, launched with fewer: 30 of 32 words are not there.
        body: "and.b32 %r1, %t, 31; setp.ne.u32 %p1, %r1, 0; @%p1 bra wait; shr.u32 %r2, %t, 3; mov.u32 %r3, tile; add.u32 %r2, %r2, %r3;
            st.shared.u32 [%r2], 1; wait: bar.sync 0; setp.gt.u32 %p2, %t, 31; @%p2 bra done; mov.u32 %r3, tile; add.u32 %r2, %r3, %word;
            ld.shared.u32 %r4, [%r2]; shfl.sync.bfly.b32 %r5, %r4, 16, 31, -1; add.u32 %r4, %r4, %r5; st.global.u32 [%b], %r4; done:",
        finds: &[&["uninitialized read", "stored to global memory", "seen 32 times"]],
    },
];

#[test]
fn kernels() {
    for case in CASES {
        let (out, findings) = crate::corpus::run(case.body, case.blocks, case.threads);
        assert!(out.is_some(), "{}", case.name);
        // What the host reads back of `b` that no thread wrote is found too, and expected here.
        let of_kernel: Vec<_> = findings.into_iter().filter(|finding| finding.site.is_some()).collect();
        check(case.name, &of_kernel, case.finds);
    }
    check_all(&[]);
}

#[test]
fn what_the_host_reads() {
    let program = Program::new(Emulator::builder());
    let driver = &program.driver;
    let (first, second) = (driver.mem_alloc(64).unwrap(), driver.mem_alloc(64).unwrap());
    driver.name_memory(second, 64, "logits");
    // SAFETY: inside of both; a copy of bytes that nobody wrote is no mistake until somebody looks at them.
    unsafe {
        driver.memset_d8(first, 1, 60).unwrap();
        driver.memcpy_dtod(second, first, 64).unwrap();
    }
    let _ = program.download::<u8>(second, 60);
    check("written", &driver.findings(), &[]);
    let _ = program.download::<u8>(second, 64);
    check(
        "unwritten",
        &driver.findings(),
        &[&["uninitialized read: read of 64 bytes", "byte 60 of logits (64 bytes)", "in copy to the host"]],
    );
}
