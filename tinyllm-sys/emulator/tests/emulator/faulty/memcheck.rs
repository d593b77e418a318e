//! Accesses that hit nothing, hit what is gone, or are not aligned; frees that are wrong.

use tinyllm_emulator::Emulator;
use tinyllm_sys::{DevicePointer, DriverApi, StreamHandle};

use crate::{
    corpus::{Case, check, check_all, kernel},
    program::Program,
};

const CASES: &[Case] = &[
    Case {
        name: "one thread too many writes",
        blocks: 1,
        threads: 33,
        body: "st.global.u32 [%b], %t;",
        finds: &[&[
            "out of bounds: write of 4 bytes of global memory",
            "0 bytes after the end of b (128 bytes)",
            "at k case.cu:10 (PTX line 14: st.global.u32 [%b], %t)",
            "by block (0, 0, 0) thread (32, 0, 0)",
        ]],
    },
    Case {
        name: "one thread too many reads",
        blocks: 2,
        threads: 17,
        body: "ld.global.u32 %r1, [%a];",
        finds: &[&[
            "out of bounds: read of 4 bytes",
            "0 bytes after the end of a",
            "block (1, 0, 0) thread (15, 0, 0)",
        ]],
    },
    Case {
        name: "before the first",
        blocks: 1,
        threads: 1,
        body: "st.global.u32 [%rda+-4], %t;",
        finds: &[&["out of bounds: write", "4 bytes before a (128 bytes)"]],
    },
    Case {
        name: "a vector over the end",
        blocks: 1,
        threads: 1,
        body: "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rda+128];",
        finds: &[&["out of bounds: read of 16 bytes", "0 bytes after the end of a"]],
    },
    Case {
        name: "a pointer that is null",
        blocks: 1,
        threads: 1,
        body: "mov.u64 %rd1, 0; st.global.u32 [%rd1], %t;",
        finds: &[&["out of bounds: write", "at 0x0"]],
    },
    Case {
        name: "an atomic outside",
        blocks: 1,
        threads: 1,
        body: "red.global.add.u32 [%rda+256], %t;",
        finds: &[&["out of bounds: atomic of 4 bytes", "128 bytes after the end of a"]],
    },
    Case {
        name: "a word at an odd address",
        blocks: 1,
        threads: 2,
        body: "ld.global.u32 %r1, [%a+2];",
        finds: &[&["misaligned address: read of 4 bytes", "byte 2 of a", "thread (0, 0, 0)"]],
    },
    Case {
        name: "a vector at half of its size",
        blocks: 1,
        threads: 1,
        body: "ld.global.v2.u64 {%rd1, %rd2}, [%rda+8];",
        finds: &[&["misaligned address: read of 16 bytes", "byte 8 of a"]],
    },
    Case {
        name: "shared memory over its end",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; st.shared.u32 [%r1+1024], %t;",
        finds: &[&[
            "out of bounds: write of 4 bytes of shared memory",
            "0 bytes after the end of the block's shared memory (1024 bytes)",
        ]],
    },
    Case {
        name: "shared memory misaligned",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; st.shared.u64 [%r1+4], %rda;",
        finds: &[&["misaligned address: write of 8 bytes of shared memory"]],
    },
    Case {
        name: "local memory over its end",
        blocks: 1,
        threads: 1,
        body: "mov.u64 %rd1, stack; st.local.u32 [%rd1+64], %t;",
        finds: &[&[
            "out of bounds: write of 4 bytes of local memory",
            "the thread's local memory (64 bytes)",
        ]],
    },
    Case {
        name: "a generic address of shared memory over its end",
        blocks: 1,
        threads: 1,
        body: "mov.u64 %rd1, tile; cvta.shared.u64 %rd2, %rd1; st.u32 [%rd2+2048], %t;",
        finds: &[&["out of bounds: write of 4 bytes of shared memory", "1024 bytes after the end"]],
    },
    Case {
        name: "an asynchronous copy from outside",
        blocks: 1,
        threads: 1,
        body: "mov.u32 %r1, tile; cp.async.cg.shared.global [%r1], [%rda+128], 16; cp.async.wait_all;",
        finds: &[&["out of bounds: read of 16 bytes of global memory", "0 bytes after the end of a"]],
    },
    Case {
        name: "a matrix row misaligned",
        blocks: 1,
        threads: 32,
        body: "mov.u32 %r1, tile; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [%r1+8];",
        finds: &[&["misaligned address: read of 16 bytes of shared memory"]],
    },
];

#[test]
fn kernels() {
    check_all(CASES);
}

#[test]
fn a_fault_ends_the_context() {
    let program = Program::new(Emulator::builder());
    let function = program.kernel(&kernel("st.global.u32 [%b], %t;"), "k");
    let memory = program.upload(&[0u32]);
    program.launch(function, 1, 2, &mut [memory.0, memory.0, 0]);
    let error = program.driver.context_synchronize().unwrap_err();
    assert_eq!(error.to_string(), "cuCtxSynchronize(): CUDA_ERROR_ILLEGAL_ADDRESS (700)");
    assert_eq!(program.driver.mem_alloc(4).unwrap_err().name, "CUDA_ERROR_ILLEGAL_ADDRESS");
}

#[test]
fn memory_after_it_was_freed() {
    let program = Program::new(Emulator::builder());
    let function = program.kernel(&kernel("ld.global.u32 %r1, [%a];"), "k");
    let memory = program.upload(&[1u32, 2]);
    program.driver.name_memory(memory, 8, "the cache");
    // SAFETY: freed too early: that is the mistake.
    unsafe { program.driver.mem_free(memory) }.unwrap();
    program.launch(function, 1, 1, &mut [memory.0 + 4, memory.0, 0]);
    assert!(program.driver.context_synchronize().is_err());
    check(
        "use after free",
        &program.driver.findings(),
        &[&["use after free: read of 4 bytes", "byte 4 of the cache (8 bytes), which was freed"]],
    );
}

#[test]
fn copies_beyond_the_end_and_after_the_free() {
    let program = Program::new(Emulator::builder());
    let memory = program.upload(&[1u32, 2]);
    let error = program.try_download::<u32>(memory, 3).unwrap_err();
    assert_eq!(error.name, "CUDA_ERROR_INVALID_VALUE");
    // SAFETY: freed too early: that is the mistake.
    unsafe { program.driver.mem_free(memory) }.unwrap();
    // SAFETY: nothing is there any more.
    assert!(unsafe { program.driver.memset_d8(memory, 0, 8) }.is_err());
    check(
        "copies",
        &program.driver.findings(),
        &[
            &[
                "out of bounds: read of 12 bytes",
                "0 bytes after the end of an allocation of 8 bytes",
                "in cuMemcpyDtoH",
            ],
            &["use after free: write of 8 bytes", "in cuMemsetD8"],
        ],
    );
}

#[test]
fn frees_that_are_wrong() {
    let program = Program::new(Emulator::builder());
    let driver = &program.driver;
    let memory = program.upload(&[1u32, 2]);
    let pool = driver.mem_pool_create(0, 0).unwrap();
    // SAFETY: each wrong free is a mistake that is looked for.
    unsafe {
        let pooled = driver.mem_alloc_from_pool_async(8, pool, StreamHandle::LEGACY).unwrap();
        assert!(driver.mem_free(pooled).is_err());
        assert!(driver.mem_free(DevicePointer(memory.0 + 4)).is_err());
        driver.mem_free(memory).unwrap();
        assert!(driver.mem_free(memory).is_err());
        driver.mem_free_async(pooled, StreamHandle::LEGACY).unwrap();
        driver.context_synchronize().unwrap();
        assert!(driver.mem_free_async(pooled, StreamHandle::LEGACY).is_err());
    }
    check(
        "frees",
        &driver.findings(),
        &[
            &["invalid free: cuMemFree", "a pool's allocation of 8 bytes", "it is memory of a pool"],
            &["invalid free: cuMemFree", "byte 4 of an allocation of 8 bytes"],
            &["double free: cuMemFree", "an allocation of 8 bytes (8 bytes), which was freed"],
            &["double free: cuMemFreeAsync", "a pool's allocation of 8 bytes"],
        ],
    );
}

/// Allocations lie apart: an index beyond one does not reach the next.
#[test]
fn an_index_that_was_meant_for_a_larger_array() {
    let program = Program::new(Emulator::builder());
    let text = crate::corpus::kernel("st.global.u32 [%rda+4352], %t; ");
    let kernel = program.kernel(&text, "k");
    let (a, b) = (program.upload(&[0u32; 32]), program.upload(&[0u32; 2048]));
    program.launch(kernel, 1, 1, &mut [a.0, b.0, 1]);
    let _ = program.driver.context_synchronize();
    check(
        "beyond",
        &program.driver.findings(),
        &[&["out of bounds: write of 4 bytes", "4224 bytes after the end of"]],
    );
}

#[test]
fn large_arrays_are_as_far_apart_as_they_are_long() {
    let program = Program::new(Emulator::builder());
    let [a, b, c] = [64usize << 20, 256, 256].map(|bytes| program.driver.mem_alloc(bytes).unwrap().0);
    assert!(b - a >= 128 << 20 && c - b >= 1 << 20, "{a:#x} {b:#x} {c:#x}");
}
