//! Values that nobody wrote, read and dropped: no mistake.

use tinyllm_emulator::Emulator;

use crate::{corpus, program::Program};

/// A body, its threads, and what it stores for each thread.
struct Case {
    name: &'static str,
    threads: u32,
    body: &'static str,
    leaves: fn(u32) -> u32,
}

const CASES: &[Case] = &[
    Case {
        name: "overwritten",
        threads: 32,
        body: "ld.shared.u32 %r1, [tile]; mov.u32 %r1, 5; st.global.u32 [%b], %r1;",
        leaves: |_| 5,
    },
    Case {
        name: "global memory, added to and dropped",
        threads: 32,
        body: "ld.global.u32 %r1, [%b]; add.u32 %r2, %r1, 1; st.global.u32 [%b], %t;",
        leaves: |thread| thread,
    },
    Case {
        name: "not chosen",
        threads: 32,
        body: "ld.shared.u32 %r1, [tile]; setp.lt.u32 %p1, %t, 32; selp.u32 %r2, 7, %r1, %p1; st.global.u32 [%b], %r2;",
        leaves: |_| 7,
    },
    Case {
        name: "the half that was written",
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; cvt.u16.u32 %h1, %t; st.shared.u16 [%r1], %h1;
            ld.shared.u32 %r2, [%r1]; and.b32 %r3, %r2, 0xffff; shl.b32 %r4, %r2, 16; mov.b32 {%h2, %h3}, %r2;
            cvt.u32.u16 %r5, %h2; prmt.b32 %r6, %r2, 0, 0x4410; bfe.u32 %r7, %r2, 0, 8;
            shr.u32 %r4, %r4, 16; sub.u32 %r4, %r4, %r5; add.u32 %r3, %r3, %r4; sub.u32 %r6, %r6, %r7; add.u32 %r3, %r3, %r6;
            st.global.u32 [%b], %r3;",
        leaves: |thread| thread,
    },
    Case {
        name: "only the low bytes are stored",
        threads: 32,
        body: "ld.shared.u32 %r1, [tile]; shl.b32 %r1, %r1, 8; or.b32 %r1, %r1, %t; st.global.u32 [%b], 0; st.global.u8 [%b], %r1;",
        leaves: |thread| thread,
    },
    Case {
        name: "itself, and nothing of it",
        threads: 32,
        body: "ld.shared.u32 %r1, [tile]; xor.b32 %r2, %r1, %r1; mul.lo.u32 %r3, %r1, 0; or.b32 %r2, %r2, %r3; st.global.u32 [%b], %r2;",
        leaves: |_| 0,
    },
    Case {
        name: "a stage ahead",
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; st.shared.u32 [%r1], %t; ld.shared.u32 %r2, [%r1]; mov.u32 %r3, 0; mov.u32 %r4, 0;
            loop: ld.shared.u32 %r5, [%r1+128]; add.u32 %r4, %r4, %r2; mov.u32 %r2, %r5; add.u32 %r3, %r3, 1;
            setp.lt.u32 %p1, %r3, 1; @%p1 bra loop; st.global.u32 [%b], %r4;",
        leaves: |thread| thread,
    },
    Case {
        name: "a store that is not done",
        threads: 32,
        body: "ld.shared.u32 %r1, [tile]; setp.gt.u32 %p1, %t, 32; @%p1 st.global.u32 [%b], %r1; st.global.u32 [%b], %t;",
        leaves: |thread| thread,
    },
    Case {
        name: "a load whose guard is another thread's matter",
        threads: 32,
        body: "setp.lt.u32 %p1, %t, 8; mov.u32 %r1, 9; @!%p1 ld.shared.u32 %r1, [tile]; @!%p1 mov.u32 %r1, 3; st.global.u32 [%b], %r1;",
        leaves: |thread| if thread < 8 { 9 } else { 3 },
    },
    Case {
        name: "a copy of what nobody wrote, dropped",
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; cp.async.ca.shared.global [%r1], [%b], 4; cp.async.wait_all;
            ld.shared.u32 %r2, [%r1]; add.u32 %r2, %r2, 1; st.global.u32 [%b], %t;",
        leaves: |thread| thread,
    },
    Case {
        name: "put into shared memory, and written again",
        threads: 32,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; ld.shared.u32 %r2, [%r1+128]; st.shared.u32 [%r1], %r2;
            st.shared.u32 [%r1], %t; ld.shared.u32 %r3, [%r1]; st.global.u32 [%b], %r3;",
        leaves: |thread| thread,
    },
    Case {
        name: "local memory",
        threads: 32,
        body: "mov.u64 %rd1, stack; ld.local.u32 %r1, [%rd1]; st.local.u32 [%rd1+4], %r1; st.local.u32 [%rd1+4], %t;
            ld.local.v2.u32 {%r2, %r3}, [%rd1]; st.global.u32 [%b], %r3;",
        leaves: |thread| thread,
    },
    Case {
        name: "padding rows of a product",
        threads: 32,
        // Rows 8 to 15 of A; sixteen ones times ones in the others.
        body: "mov.u32 %r1, 0x3c003c00; ld.shared.u32 %r2, [tile]; mov.f32 %f0, 0f00000000;
            mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r1, %r2, %r1, %r2}, {%r1, %r1},
            {%f0, %f0, %f0, %f0}; mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r1, %r2, %r1, %r2},
            {%r1, %r1}, {%f1, %f2, %f3, %f4}; cvt.rzi.u32.f32 %r3, %f1; st.global.u32 [%b], %r3;",
        leaves: |_| 32,
    },
    Case {
        name: "integers that meet zeros",
        threads: 32,
        // Columns 16 to 31 of A are 0, rows 16 to 31 of B are not there.
        body: "mov.u32 %r1, 0x01010101; mov.u32 %r3, 0; ld.shared.u32 %r2, [tile];
            mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r4, %r5, %r6, %r7}, {%r1, %r1, %r3, %r3}, {%r1, %r2},
            {%r3, %r3, %r3, %r3}; st.global.u32 [%b], %r4;",
        leaves: |_| 16,
    },
    Case {
        name: "a matrix's rows that are there",
        threads: 32,
        body: "setp.lt.u32 %p1, %t, 4; shl.b32 %r1, %t, 4; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2;
            @%p1 st.shared.v4.u32 [%r1], {%t, %t, %t, %t}; bar.warp.sync -1; sub.u32 %r1, %r1, %r2; and.b32 %r1, %r1, 127; add.u32 %r1, %r1, %r2;
            ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r3}, [%r1]; setp.lt.u32 %p2, %t, 16; @!%p2 mov.u32 %r3, 9; st.global.u32 [%b], %r3;",
        leaves: |thread| if thread < 16 { thread / 4 } else { 9 },
    },
    Case {
        name: "a transposed matrix's columns that are there",
        threads: 32,
        // Row 7, of lanes 28 to 31, becomes the upper half of lanes 4 g + 3. The other elements are their lane's number.
        body: "mul.lo.u32 %r1, %t, 0x10001; setp.ge.u32 %p1, %t, 28; @%p1 ld.shared.u32 %r1, [tile];
            movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r1; and.b32 %r3, %t, 3; setp.eq.u32 %p2, %r3, 3; @%p2 and.b32 %r2, %r2, 0xffff;
            st.global.u32 [%b], %r2;",
        leaves: |thread| {
            // Element (row, column) is in lane 4 row + column / 2.
            let (row, column) = (thread % 4 * 2, thread / 4);
            let low = 4 * row + column / 2;
            if row == 6 { low } else { low | (low + 4) << 16 }
        },
    },
    Case {
        name: "between the rows of a warp's matrix",
        threads: 32,
        body: "setp.lt.u32 %p1, %t, 16; shl.b32 %r1, %t, 5; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2; mov.u32 %r3, 0x01010101; mov.u32 %r0, 0;
            @%p1 st.shared.v4.u32 [%r1], {%r3, %r3, %r3, %r3}; bar.warp.sync -1;
            wmma.load.a.sync.aligned.row.m16n16k16.shared.s8 {%r1, %r2}, [tile], 32;
            wmma.load.b.sync.aligned.col.m16n16k16.shared.s8 {%r3, %r4}, [tile], 32;
            wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.s8.s32 {%r5, %r6, %r7, %r8, %r9, %r10, %r11, %r12}, {%r1, %r2}, {%r3, %r4},
            {%r0, %r0, %r0, %r0, %r0, %r0, %r0, %r0}; add.u32 %r5, %r5, %r12; st.global.u32 [%b], %r5;",
        leaves: |_| 32,
    },
    Case {
        name: "bits that meet zeros",
        threads: 32,
        // Columns 128 to 255 of A are 0, rows 128 to 255 of B are not there.
        body: "mov.u32 %r1, 0xff; mov.u32 %r3, 0; ld.shared.u32 %r2, [tile];
            mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%r4, %r5, %r6, %r7}, {%r1, %r1, %r3, %r3}, {%r1, %r2},
            {%r3, %r3, %r3, %r3}; st.global.u32 [%b], %r4;",
        leaves: |_| 32,
    },
    Case {
        name: "a sum of a warp that is not whole",
        threads: 20,
        // Lanes below 4 add what is 16 lanes on; the others' sources are not there.
        body: "shfl.sync.down.b32 %r1, %t, 16, 31, 0xfffff; add.u32 %r2, %t, %r1; setp.lt.u32 %p1, %t, 4; @!%p1 mov.u32 %r2, %t;
            st.global.u32 [%b], %r2;",
        leaves: |thread| if thread < 4 { 2 * thread + 16 } else { thread },
    },
    Case {
        name: "a vote that others decide",
        threads: 32,
        body: "mov.u32 %r1, tile; st.shared.u32 [tile], 1; setp.eq.u32 %p3, %t, 0; @!%p3 ld.shared.u32 %r2, [%r1+4]; @%p3 mov.u32 %r2, 1;
            setp.eq.u32 %p1, %r2, 1; vote.sync.any.pred %p2, %p1, -1; selp.u32 %r3, 3, 4, %p2; st.global.u32 [%b], %r3;",
        leaves: |_| 3,
    },
    Case {
        name: "halves of a warp with their own members",
        threads: 32,
        body: "setp.lt.u32 %p1, %t, 16; selp.u32 %r1, 0xffff, 0xffff0000, %p1; bar.warp.sync %r1; and.b32 %r2, %t, 16;
            shfl.sync.idx.b32 %r3, %t, %r2, 31, %r1; vote.sync.ballot.b32 %r4, %p1, %r1; and.b32 %r4, %r4, 1; add.u32 %r3, %r3, %r4;
            st.global.u32 [%b], %r3;",
        leaves: |thread| if thread < 16 { 1 } else { 16 },
    },
    Case {
        name: "in place, from lanes that come later",
        threads: 32,
        // Lanes from 16 on are at the shuffle first, and wait for the others. Lanes 3 and 20 hold what nobody wrote, which 19 and 4 get.
        body: "ld.shared.u32 %r1, [tile]; setp.ne.u32 %p2, %t, 3; @%p2 setp.ne.u32 %p2, %t, 20; @%p2 mov.u32 %r1, %t;
            setp.lt.u32 %p1, %t, 16; @%p1 bra far;
            join: shfl.sync.bfly.b32 %r1, %r1, 16, 31, -1; setp.eq.u32 %p3, %t, 4; @!%p3 setp.eq.u32 %p3, %t, 19; @%p3 mov.u32 %r1, %t;
            st.global.u32 [%b], %r1; bra done; far: bra join; done:",
        leaves: |thread| if thread == 4 || thread == 19 { thread } else { thread ^ 16 },
    },
    Case {
        name: "a prefix sum whose last lanes have nothing",
        threads: 32,
        // What lane t gets is of lanes up to t.
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; setp.lt.u32 %p1, %t, 5; @%p1 st.shared.u32 [%r1], 1; ld.shared.u32 %r2, [%r1];
            mov.u32 %r3, 1; next: shfl.sync.up.b32 %r4|%p2, %r2, %r3, 0, -1; @%p2 add.u32 %r2, %r2, %r4; shl.b32 %r3, %r3, 1;
            setp.lt.u32 %p3, %r3, 32; @%p3 bra next; @!%p1 mov.u32 %r2, 0; st.global.u32 [%b], %r2;",
        leaves: |thread| if thread < 5 { thread + 1 } else { 0 },
    },
    Case {
        name: "an exchange sets shared memory",
        threads: 32,
        body: "atom.shared.exch.b32 %r1, [tile], 5; add.u32 %r1, %r1, 1; bar.sync 0; ld.shared.u32 %r2, [tile]; st.global.u32 [%b], %r2;",
        leaves: |_| 5,
    },
    Case {
        name: "an exchange sets global memory",
        threads: 32,
        body: "atom.global.exch.b32 %r1, [%b], %t; add.u32 %r1, %r1, 1; ld.global.u32 %r2, [%b]; st.global.u32 [%b], %r2;",
        leaves: |thread| thread,
    },
    Case {
        name: "lanes exchange one word",
        threads: 32,
        // All lanes but one take out what another put in; lane 0 is the first.
        body: "atom.global.exch.b32 %r1, [%rdb], 7; setp.eq.u32 %p1, %t, 0; @%p1 mov.u32 %r1, 7; st.global.u32 [%b], %r1;",
        leaves: |_| 7,
    },
    Case {
        name: "a sum of shared memory that nobody looks at",
        threads: 32,
        body: "ld.shared.u32 %r1, [tile+4]; red.shared.add.u32 [tile], %r1; atom.shared.add.u32 %r2, [tile+8], 1; mov.u32 %r2, %t;
            st.global.u32 [%b], %r2;",
        leaves: |thread| thread,
    },
    Case {
        name: "a strong store",
        threads: 32,
        body: "st.relaxed.gpu.global.u32 [%b], %t;",
        leaves: |thread| thread,
    },
    Case {
        name: "a comparison that another one decides",
        threads: 32,
        body: "ld.shared.u32 %r1, [tile]; ld.shared.f32 %f1, [tile+4]; setp.gt.u32 %p1, %t, 64; setp.lt.and.u32 %p2, %r1, 9, %p1;
            setp.eq.or.f32 %p3, %f1, 0f40490FDB, !%p1; selp.u32 %r2, 1, 2, %p2; selp.u32 %r3, 4, 8, %p3; add.u32 %r2, %r2, %r3;
            st.global.u32 [%b], %r2;",
        leaves: |_| 6,
    },
];

#[test]
fn kernels() {
    for case in CASES {
        let program = Program::new(Emulator::builder());
        let out = corpus::run_on(&program, case.body, 1, case.threads).unwrap();
        // `b` beyond the threads is read by the host, and nobody wrote it.
        let of_kernel: Vec<_> =
            program.driver.findings().into_iter().filter(|finding| finding.site.is_some()).collect();
        corpus::check(case.name, &of_kernel, &[]);
        let expected: Vec<u32> = (0..case.threads).map(case.leaves).collect();
        assert_eq!(out[..case.threads as usize], expected, "{}", case.name);
    }
}
