//! Calls through a register: addresses in registers and tables, prototypes and lists, and what is no function.

use tinyllm_emulator::{Emulator, report::Kind};
use tinyllm_sys::{DriverApi, DriverError};

use crate::{
    corpus::check,
    program::{Program, same_on_each},
};

/// Functions of one word each, one of two, and one without a result; a table of the first three, one of them by another name.
const FUNCTIONS: &str = "
    .func (.param .b32 r) plus(.param .b32 x) { .reg .b32 %r<3>; ld.param.u32 %r1, [x]; add.u32 %r1, %r1, 10; st.param.b32 [r], %r1; ret; }
    .func (.param .b32 r) times(.param .b32 x) { .reg .b32 %r<3>; ld.param.u32 %r1, [x]; mul.lo.u32 %r1, %r1, 3; st.param.b32 [r], %r1; ret; }
    .func (.param .b32 r) early(.param .b32 x) { .reg .b32 %r<3>; .reg .pred %p; ld.param.u32 %r1, [x]; st.param.b32 [r], %r1;
        setp.lt.u32 %p, %r1, 8; @%p ret; mov.u32 %r1, 1000; st.param.b32 [r], %r1; ret; }
    .func (.param .b32 r) both(.param .b32 x, .param .b32 y) { .reg .b32 %r<3>; ld.param.u32 %r1, [x]; ld.param.u32 %r2, [y];
        sub.u32 %r1, %r1, %r2; st.param.b32 [r], %r1; ret; }
    .func (.param .b32 r) other_name(.param .b32 x);
    .alias other_name, early;
    .global .u64 table[3] = {plus, times, other_name};
    .global .u64 single = both;
";

fn kernel(body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n{FUNCTIONS}\n.visible .entry k(.param .u64 pb, .param .u64 pn) {{\n\
         .reg .b64 %b, %n, %at, %f, %rd<4>; .reg .b32 %t, %r<8>; .reg .pred %p<4>;\n\
         ld.param.u64 %b, [pb]; ld.param.u64 %n, [pn]; mov.u32 %t, %tid.x; mad.wide.u32 %at, %t, 4, %b; mov.u32 %r1, 0;\n\
         .param .b32 in; .param .b32 in2; .param .b32 out; st.param.b32 [in], %t; st.param.b32 [in2], 2;\n\
         one: .callprototype (.param .b32 _) _ (.param .b32 _);\n\
         two: .callprototype (.param .b32 _) _ (.param .b32 _, .param .b32 _);\n\
         none: .callprototype _ ();\n\
         listed: .calltargets plus, times, early;\n\
         {body}\nst.global.u32 [%at], %r1; ret; }}\n"
    )
}

const CALL: &str = "call (out), %f, (in), one; ld.param.b32 %r1, [out];";

fn left(body: &str) -> Vec<u32> {
    let text = kernel(body);
    same_on_each(Emulator::builder(), body, |program| {
        let b = program.upload(&[0u32; 32]);
        program.launch(program.kernel(&text, "k"), 1, 32, &mut [b.0, 1]);
        program.download(b, 32)
    })
}

fn of_threads(value: fn(u32) -> u32) -> Vec<u32> {
    (0..32).map(value).collect()
}

#[test]
fn the_function_that_a_register_holds_is_called() {
    assert_eq!(left(&format!("mov.u64 %f, times; {CALL}")), of_threads(|thread| 3 * thread));
    // Each lane's own.
    let third = "rem.u32 %r2, %t, 3; mul.wide.u32 %rd1, %r2, 8; mov.u64 %rd2, table; add.u64 %rd1, %rd1, %rd2; ld.global.u64 %f, [%rd1];";
    let expected = of_threads(|thread| match thread % 3 {
        0 => thread + 10,
        1 => 3 * thread,
        _ if thread < 8 => thread,
        _ => 1000,
    });
    assert_eq!(left(&format!("{third} {CALL}")), expected);
    assert_eq!(left(&format!("{third} call (out), %f, (in), listed; ld.param.b32 %r1, [out];")), expected);
    let two = "ld.global.u64 %f, [single]; call (out), %f, (in, in2), two; ld.param.b32 %r1, [out];";
    assert_eq!(left(two), of_threads(|thread| thread.wrapping_sub(2)));
}

#[test]
fn lanes_that_do_not_call_go_on() {
    let body = "mov.u64 %f, plus; setp.lt.u32 %p1, %t, 5; @%p1 call (out), %f, (in), one; @%p1 ld.param.b32 %r1, [out];";
    assert_eq!(left(body), of_threads(|thread| if thread < 5 { thread + 10 } else { 0 }));
}

/// What the kernel ends with, and what was found.
fn fails(text: &str) -> (DriverError, Vec<tinyllm_emulator::report::Finding>) {
    let program = Program::new(Emulator::builder());
    let b = program.upload(&[0u32; 32]);
    program.launch(program.kernel(text, "k"), 1, 32, &mut [b.0, 1]);
    let error = program.driver.context_synchronize().unwrap_err();
    (error, program.driver.findings())
}

#[test]
fn what_is_no_function_is_found() {
    for (body, expected) in [
        (
            format!("mov.u64 %f, 4096; setp.eq.u32 %p1, %t, 7; @!%p1 mov.u64 %f, plus; {CALL}"),
            &[
                "call of no function",
                "no function of the module is at 0x1000",
                "thread (7, 0, 0)",
                "call (out), %f, (in), one",
            ][..],
        ),
        (format!("mov.u64 %f, table; {CALL}"), &["no function of the module is at 0x7"]),
        (format!("ld.global.u64 %f, [single]; {CALL}"), &["both takes or returns something else"]),
        (
            "mov.u64 %f, both; call (out), %f, (in), listed; ld.param.b32 %r1, [out];".into(),
            &["both takes or returns something else"],
        ),
        ("mov.u64 %f, plus; call %f, none;".into(), &["plus takes or returns something else"]),
    ] {
        let (error, findings) = fails(&kernel(&body));
        assert_eq!(error.name, "CUDA_ERROR_INVALID_PC", "{body}");
        check(&body, &findings, &[expected]);
        assert_eq!(findings[0].kind, Kind::InvalidCall);
    }
}

/// A function that calls what it is given is put in once for each that this may be, and not in itself.
#[test]
fn a_function_that_reaches_itself_ends_the_kernel_when_it_does() {
    let text = "
        .version 8.0\n.target sm_80\n.address_size 64
        .func (.param .b32 r) leaf(.param .b64 f, .param .b32 x) { .reg .b32 %r; ld.param.u32 %r, [x]; add.u32 %r, %r, 1; st.param.b32 [r], %r; ret; }
        .func (.param .b32 r) through(.param .b64 f, .param .b32 x) {
            .reg .b64 %f, %l; .reg .b32 %x; ld.param.u64 %f, [f]; ld.param.u32 %x, [x]; mov.u64 %l, leaf;
            .param .b64 inner; .param .b32 value; .param .b32 out; st.param.b64 [inner], %l; st.param.b32 [value], %x;
            p: .callprototype (.param .b32 _) _ (.param .b64 _, .param .b32 _);
            call (out), %f, (inner, value), p; ld.param.b32 %x, [out]; add.u32 %x, %x, 100; st.param.b32 [r], %x; ret; }
        .visible .entry k(.param .u64 pb, .param .u64 pn) {
            .reg .b64 %b, %n, %f, %g; .reg .b32 %r; .reg .pred %p; ld.param.u64 %b, [pb]; ld.param.u64 %n, [pn];
            mov.u64 %f, through; mov.u64 %g, leaf; setp.eq.u64 %p, %n, 0; @!%p mov.u64 %g, through;
            .param .b64 inner; .param .b32 value; .param .b32 out; st.param.b64 [inner], %g; st.param.b32 [value], 5;
            p: .callprototype (.param .b32 _) _ (.param .b64 _, .param .b32 _);
            call (out), %f, (inner, value), p; ld.param.b32 %r, [out]; st.global.u32 [%b], %r; ret; }";
    let program = Program::new(Emulator::builder());
    let b = program.upload(&[0u32; 32]);
    program.launch(program.kernel(text, "k"), 1, 1, &mut [b.0, 0]);
    assert_eq!(program.download::<u32>(b, 1), [106]);
    assert_eq!(program.driver.findings(), []);
    let (_, findings) = fails(text);
    check(
        "recursion",
        &findings,
        &[&["call of no function", "through calls itself through a register, which is not emulated"]],
    );
}

#[test]
fn what_cannot_be_called_is_an_error_with_its_place() {
    let program = Program::new(Emulator::builder());
    for (body, problem) in [
        (
            "mov.u64 %f, plus; call (out), %f, (in), nowhere;",
            "nowhere is neither a prototype nor a list of functions",
        ),
        ("mov.u32 %r1, plus;", "the address of plus in 32 bits"),
        ("mov.u64 %f, k;", "k is not declared"),
    ] {
        let error = program.load(&kernel(body), "k").unwrap_err();
        assert!(error.arguments.contains(problem), "{}", error.arguments);
    }
}
