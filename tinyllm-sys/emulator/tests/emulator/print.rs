//! `printf` in a kernel: on the program's standard output, in the order of blocks.

use std::process::Command;

use tinyllm_emulator::Emulator;
use tinyllm_sys::DriverApi;

use crate::{forms::HEADER, program::Program};

/// A kernel that prints as compilers have it: a format in global memory, the values in local memory.
fn prints() {
    let text: Vec<String> = "block %d: %s, %5.2f %c%%\n\0".bytes().map(|byte| byte.to_string()).collect();
    let name: Vec<String> = "hello\0".bytes().map(|byte| byte.to_string()).collect();
    let ptx = format!(
        "{HEADER}.extern .func (.param .b32 result) vprintf (.param .b64 format, .param .b64 values);\n\
         .global .align 1 .b8 text[{}] = {{{}}};\n.global .align 1 .b8 name[6] = {{{}}};\n\
         .visible .entry k() {{\n.local .align 8 .b8 depot[32]; .reg .b64 %rd<8>; .reg .b32 %r<4>; .reg .f64 %f<3>;\n\
         mov.u64 %rd1, depot; cvta.local.u64 %rd2, %rd1; mov.u32 %r1, %ctaid.x; st.local.u32 [%rd1], %r1;\n\
         mov.u64 %rd3, name; st.local.u64 [%rd1+8], %rd3; cvt.rn.f64.u32 %f1, %r1; add.f64 %f1, %f1, 0d3FD0000000000000;\n\
         st.local.f64 [%rd1+16], %f1; mov.u32 %r2, 33; st.local.u32 [%rd1+24], %r2; mov.u64 %rd4, text;\n\
         {{ .param .b64 format; st.param.b64 [format+0], %rd4; .param .b64 values; st.param.b64 [values+0], %rd2;\n\
         .param .b32 result; call.uni (result), vprintf, (format, values); }}\nret;\n}}",
        text.len(),
        text.join(", "),
        name.join(", ")
    );
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(&ptx, "k");
    program.launch(kernel, 3, 1, &mut []);
    program.driver.context_synchronize().unwrap();
    assert_eq!(program.driver.findings(), []);
}

#[test]
#[ignore = "its output is read by printf_prints, which runs it: cargo test -p tinyllm-emulator --test emulator printf_prints"]
fn child() {
    prints();
}

#[test]
fn printf_prints() {
    let itself = std::env::current_exe().unwrap();
    let output =
        Command::new(itself).args(["--exact", "print::child", "--ignored", "--nocapture"]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("block 0: hello,  0.25 !%\nblock 1: hello,  1.25 !%\nblock 2: hello,  2.25 !%\n"),
        "{text}"
    );
}
