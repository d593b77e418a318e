//! `malloc` and `free` in kernels: memory that lives from launch to launch, and what goes wrong with it.

use tinyllm_emulator::{Emulator, report::Kind};
use tinyllm_sys::{DriverApi, FunctionHandle};

use crate::{corpus::check, program::Program};

/// A kernel of a body where `%b` is the address of the thread's 8 bytes of an array. `malloc N` puts memory of as many bytes into `%p`,
/// `free` frees what is in it.
fn kernel(body: &str) -> String {
    let mut text = String::new();
    for line in body.split(';').map(str::trim).filter(|line| !line.is_empty()) {
        let (guard, line) = match line.split_once(' ') {
            Some((guard, rest)) if guard.starts_with('@') => (guard, rest),
            _ => ("", line),
        };
        text += &match line.split_once(' ') {
            Some(("malloc", bytes)) => {
                format!(
                    "st.param.b64 [in], {bytes}; {guard} call.uni (out), malloc, (in); {guard} ld.param.b64 %p, [out];\n"
                )
            }
            _ if line == "free" => format!("st.param.b64 [in], %p; {guard} call.uni free, (in);\n"),
            _ if line.ends_with(':') => format!("{line}\n"),
            _ => format!("{guard} {line};\n"),
        };
    }
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n\
         .extern .func (.param .b64 result) malloc(.param .b64 bytes);\n.extern .func free(.param .b64 pointer);\n\
         .visible .entry k(.param .u64 pb) {{ .reg .b64 %b, %p, %rd<8>; .reg .b32 %t, %r<8>; .reg .pred %q;\n\
         .param .b64 in; .param .b64 out; ld.param.u64 %b, [pb]; mov.u32 %t, %tid.x; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x;\n\
         mad.lo.u32 %r1, %r1, %r2, %t; mad.wide.u32 %b, %r1, 8, %b;\n{text} ret; }}\n"
    )
}

fn load(program: &Program, body: &str) -> FunctionHandle {
    program.kernel(&kernel(body), "k")
}

#[test]
fn memory_lives_from_launch_to_launch() {
    let program = Program::new(Emulator::builder());
    let pointers = program.upload(&[0u64; 64]);
    let allocate = load(&program, "malloc 24; st.global.u64 [%b], %p; st.global.u32 [%p+20], %r1");
    let add = load(
        &program,
        "ld.global.u64 %p, [%b]; ld.u32 %r3, [%p+20]; add.u32 %r3, %r3, 100; st.u32 [%p+20], %r3",
    );
    let give_back = load(
        &program,
        "ld.global.u64 %p, [%b]; ld.global.u32 %r3, [%p+20]; free; cvt.u64.u32 %rd1, %r3; st.global.u64 [%b], %rd1",
    );
    for kernel in [allocate, add, give_back] {
        program.launch(kernel, 4, 16, &mut [pointers.0]);
    }
    assert_eq!(program.download::<u64>(pointers, 64), (100..164).collect::<Vec<_>>());
    assert_eq!(program.driver.findings(), []);
    let leaks = program.driver.finish();
    assert!(leaks.iter().all(|leak| !leak.to_string().contains("malloc")), "{leaks:?}");
}

#[test]
fn a_full_heap_gives_nothing() {
    let program = Program::new(Emulator::builder());
    program.driver.set_malloc_heap_bytes(1 << 10).unwrap();
    let out = program.upload(&[7u64; 4]);
    // 512 and 256 fit, 512 does not, and 256 does again.
    let body = "malloc 512; malloc 256; malloc 512; st.global.u64 [%b], %p; malloc 256; st.global.u64 [%b+8], %p; setp.ne.u64 %q, %p, 0; @%q free";
    program.launch(load(&program, body), 1, 1, &mut [out.0]);
    let left = program.download::<u64>(out, 2);
    assert_eq!(left[0], 0);
    assert_eq!(left[1] % 16, 0);
    assert_ne!(left[1], 0);
    let error = program.driver.set_malloc_heap_bytes(1 << 20).unwrap_err();
    assert_eq!(error.name, "CUDA_ERROR_INVALID_VALUE");
    assert_eq!(program.driver.findings(), []);
    let leaks: Vec<String> = program.driver.finish().iter().map(ToString::to_string).collect();
    assert!(
        leaks.iter().any(|leak| leak.starts_with("leak: a malloc of 512 bytes, 512 bytes at ")
            && leak.ends_with("malloc in a kernel without free")),
        "{leaks:?}"
    );
    assert!(leaks.iter().any(|leak| leak.starts_with("leak: a malloc of 256 bytes")), "{leaks:?}");
}

#[test]
fn freeing_nothing_is_no_mistake_and_what_was_freed_can_be_had_again() {
    let program = Program::new(Emulator::builder());
    program.driver.set_malloc_heap_bytes(64).unwrap();
    let out = program.upload(&[0u64; 1]);
    let body = "mov.u64 %p, 0; free; mov.u32 %r3, 0; again:; malloc 64; st.global.u64 [%p], 1; free; add.u32 %r3, %r3, 1; setp.lt.u32 %q, %r3, 100; @%q bra again; st.global.u64 [%b], 5";
    program.launch(load(&program, body), 1, 1, &mut [out.0]);
    assert_eq!(program.download::<u64>(out, 1), [5]);
    assert_eq!(program.driver.findings(), []);
}

#[test]
fn wrong_accesses_and_frees_are_found() {
    for (body, expected) in [
        (
            "malloc 24; st.global.u32 [%p+24], %t",
            &[
                "out of bounds: write of 4 bytes of global memory",
                "0 bytes after the end of a malloc of 24 bytes",
            ][..],
        ),
        ("malloc 24; st.global.u64 [%p+20], %b", &["misaligned address"]),
        (
            "malloc 24; ld.global.u32 %r3, [%p+4]; st.global.u32 [%b], %r3",
            &["uninitialized read", "byte 4 of a malloc of 24 bytes"],
        ),
        (
            "malloc 24; free; st.global.u32 [%p], %t",
            &[
                "use after free: write of 4 bytes",
                "byte 0 of a malloc of 24 bytes (24 bytes), which was freed",
            ],
        ),
        (
            "malloc 24; free; free",
            &[
                "double free: kernel k",
                "a malloc of 24 bytes (24 bytes), which was freed",
                "call.uni free, (in)",
                "thread (0, 0, 0)",
            ],
        ),
        ("malloc 24; add.u64 %p, %p, 8; free", &["invalid free: kernel k", "byte 8 of a malloc of 24 bytes"]),
        ("mov.u64 %p, %b; free", &["invalid free: kernel k", "byte 0 of an allocation of 8 bytes"]),
    ] {
        let program = Program::new(Emulator::builder());
        let out = program.upload(&[0u64; 1]);
        program.launch(load(&program, body), 1, 1, &mut [out.0]);
        let _ = program.driver.context_synchronize();
        check(body, &program.driver.findings(), &[expected]);
    }
}

#[test]
fn the_host_does_not_free_it() {
    let program = Program::new(Emulator::builder());
    let out = program.upload(&[0u64; 1]);
    program.launch(load(&program, "malloc 16; st.global.u64 [%b], %p"), 1, 1, &mut [out.0]);
    let pointer = program.download::<u64>(out, 1)[0];
    // SAFETY: it is no allocation of the driver, which says so.
    let error = unsafe { program.driver.mem_free(tinyllm_sys::DevicePointer(pointer)) }.unwrap_err();
    assert_eq!(error.name, "CUDA_ERROR_INVALID_VALUE");
    assert_eq!(program.driver.findings()[0].kind, Kind::InvalidFree);
}
