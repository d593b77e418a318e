//! Reads of bytes that nobody wrote.

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
            &["uninitialized read: read of 4 bytes of global memory", "byte 0 of b (128 bytes)", "seen 4 times"],
            // The same word has four threads' values, none of them ordered: that is another matter, and not one of this check.
        ],
    },
    Case {
        name: "the second half of a word",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; st.shared.u16 [%r1], %h1; ld.shared.u32 %r2, [%r1];",
        finds: &[&["uninitialized read: read of 4 bytes of shared memory"]],
    },
    Case {
        name: "local memory",
        blocks: 1,
        threads: 1,
        body: "mov.u64 %rd1, stack; ld.local.u32 %r2, [%rd1+8];",
        finds: &[&["uninitialized read: read of 4 bytes of local memory", "byte 8 of the thread's local memory"]],
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
            ld.shared.u32 %r2, [%r1]; cp.async.wait_all;",
        finds: &[
            &["uninitialized read: read of 4 bytes of shared memory"],
            &["race in shared memory: read", "a cp.async that has not been waited for"],
        ],
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
