//! Threads of a block, and blocks of a kernel, that nothing orders.

use crate::corpus::{Case, check_all};

const CASES: &[Case] = &[
    Case {
        name: "a neighbour's word without a barrier",
        blocks: 1,
        threads: 64,
        body: "mov.u32 %r1, tile; add.u32 %r1, %r1, %word; st.shared.u32 [%r1], %t;
            xor.b32 %r2, %word, 128; mov.u32 %r3, tile; add.u32 %r3, %r3, %r2;
            ld.shared.u32 %r4, [%r3]; setp.lt.u32 %p1, %t, 32; @%p1 st.global.u32 [%b], %r4;",
        finds: &[
            &["uninitialized read: read of 4 bytes of shared memory", "seen 32 times"],
            &["race in shared memory: write", "against read by block (0, 0, 0) thread (0, 0, 0)"],
            &["race in shared memory: read", "against write by block (0, 0, 0) thread (0, 0, 0)"],
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
        body: "setp.eq.u32 %p1, %cta, 0; @%p1 st.global.u32 [%b], %t; @!%p1 ld.global.u32 %r1, [%rdb+64];",
        finds: &[&["race between blocks: read", "byte 64 of b", "against write in block [0, 0, 0]"]],
    },
    Case {
        name: "a flag without a fence",
        blocks: 2,
        threads: 1,
        body: "setp.eq.u32 %p1, %cta, 0; @!%p1 bra second;
            st.global.u32 [%rdb], %n; atom.global.exch.b32 %r1, [%rda], 7; bra done;
            second: atom.global.add.u32 %r1, [%rda], 0; ld.global.u32 %r2, [%rdb]; st.global.u32 [%rdb+4], %r2; done:",
        finds: &[&["race between blocks: read", "byte 0 of b", "against write in block [0, 0, 0]"]],
    },
];

#[test]
fn kernels() {
    for case in CASES {
        let (out, findings) = crate::corpus::run(case.body, case.blocks, case.threads);
        assert!(out.is_some(), "{}", case.name);
        let of_kernel: Vec<_> = findings
            .into_iter()
            .filter(|finding| finding.access.is_some() && !finding.work.starts_with("copy"))
            .collect();
        crate::corpus::check(case.name, &of_kernel, case.finds);
    }
    check_all(&[]);
}
