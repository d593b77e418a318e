//! `alloca`, `stacksave` and `stackrestore`: memory of each thread, as long as its function runs.

use crate::corpus::{Case, check, check_all, run};

/// A name, a body of one warp, and what thread `t` leaves.
type Correct = (&'static str, &'static str, fn(u32) -> u32);

const CORRECT: &[Correct] = &[
    (
        "as many words as each thread asks for",
        "add.u32 %r1, %t, 1; mul.wide.u32 %rd1, %r1, 4; alloca.u64 %rd2, %rd1, 16; mov.u32 %r2, 0;
            fill: mul.wide.u32 %rd3, %r2, 4; add.u64 %rd3, %rd3, %rd2; st.local.u32 [%rd3], %r2; add.u32 %r2, %r2, 1;
            setp.le.u32 %p1, %r2, %t; @%p1 bra fill; cvta.local.u64 %rd4, %rd3; ld.u32 %r3, [%rd4]; st.global.u32 [%b], %r3;",
        |thread| thread,
    ),
    (
        "in registers of 32 bits, of a given alignment",
        "alloca.u32 %r1, 4; stacksave.u32 %r5; alloca.u32 %r2, 4000; stackrestore.u32 %r5; alloca.u32 %r2, 100, 128; st.local.u32 [%r1], %t; st.local.u32 [%r2], 3; rem.u32 %r3, %r2, 128;
            ld.local.u32 %r4, [%r1]; mad.lo.u32 %r3, %r3, 1000, %r4; st.global.u32 [%b], %r3;",
        |thread| thread,
    ),
    (
        "variables stay what they are while the stack grows",
        "st.local.u32 [stack], %t; alloca.u64 %rd1, 8192; st.local.u32 [%rd1+8188], 5; alloca.u64 %rd2, 65536; st.local.u32 [%rd2], 6;
            ld.local.u32 %r1, [stack]; ld.local.u32 %r2, [%rd1+8188]; mad.lo.u32 %r1, %r2, 100, %r1; st.global.u32 [%b], %r1;",
        |thread| 500 + thread,
    ),
    (
        "a loop that gives back what it takes",
        "mov.u32 %r1, 0; again: stacksave.u64 %rd1; alloca.u64 %rd2, 4096; st.local.u32 [%rd2+4092], %r1; ld.local.u32 %r2, [%rd2+4092];
            stackrestore.u64 %rd1; add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 1000; @%p1 bra again; st.global.u32 [%b], %r2;",
        |_| 999,
    ),
];

#[test]
fn threads_have_what_they_ask_for() {
    for (name, body, leaves) in CORRECT {
        let (left, findings) = run(body, 1, 32);
        check(name, &findings, &[]);
        assert_eq!(left.unwrap(), (0..32).map(leaves).collect::<Vec<_>>(), "{name}");
    }
}

/// What a function has on its stack ends when it returns: a thousand calls fit.
#[test]
fn functions_give_back_what_they_took() {
    use tinyllm_emulator::Emulator;
    use tinyllm_sys::DriverApi;

    use crate::program::Program;

    let text = "
        .version 8.0\n.target sm_80\n.address_size 64
        .func (.param .b64 r) take(.param .b32 x) { .reg .b64 %at; .reg .b32 %x; .reg .pred %p; ld.param.u32 %x, [x]; alloca.u64 %at, 4096;
            st.local.u32 [%at+4092], %x; st.param.b64 [r], %at; setp.lt.u32 %p, %x, 500; @%p ret; st.local.u32 [%at], 1; ret; }
        .visible .entry k(.param .u64 pb, .param .u32 pn) {
            .reg .b64 %b, %at, %rd; .reg .b32 %n, %i, %r; .reg .pred %p; ld.param.u64 %b, [pb]; ld.param.u32 %n, [pn]; mov.u32 %i, 0;
            .param .b32 in; .param .b64 out;
            again: st.param.b32 [in], %i; call (out), take, (in); ld.param.b64 %at, [out];
            add.u32 %i, %i, 1; setp.lt.u32 %p, %i, 1000; @%p bra again;
            st.global.u32 [%b], %i; setp.eq.u32 %p, %n, 0; @%p ret; ld.local.u32 %r, [%at]; st.global.u32 [%b], %r; ret; }";
    let program = Program::new(Emulator::builder());
    let (kernel, b) = (program.kernel(text, "k"), program.upload(&[0u32]));
    program.launch(kernel, 1, 1, &mut [b.0, 0]);
    assert_eq!(program.download::<u32>(b, 1), [1000]);
    assert_eq!(program.driver.findings(), []);
    // Its address is of no use after that.
    program.launch(kernel, 1, 1, &mut [b.0, 1]);
    assert_eq!(program.driver.context_synchronize().unwrap_err().name, "CUDA_ERROR_ILLEGAL_ADDRESS");
    check(
        "after the return",
        &program.driver.findings(),
        &[&["out of bounds: read of 4 bytes of local memory", "ld.local.u32 %r, [%at]"]],
    );
}

const FAULTY: &[Case] = &[
    Case {
        name: "over the end",
        blocks: 1,
        threads: 1,
        body: "alloca.u64 %rd1, 20; st.local.u32 [%rd1+20], %t;",
        finds: &[&[
            "out of bounds: write of 4 bytes of local memory",
            "0 bytes after the end of memory of alloca (20 bytes)",
        ]],
    },
    Case {
        name: "from one into the next",
        blocks: 1,
        threads: 1,
        body: "alloca.u64 %rd1, 16; alloca.u64 %rd2, 16; st.local.v2.u32 [%rd1+16], {%t, %t};",
        finds: &[&[
            "out of bounds: write of 8 bytes of local memory",
            "0 bytes after the end of memory of alloca (16 bytes)",
        ]],
    },
    Case {
        name: "not written",
        blocks: 1,
        threads: 1,
        body: "alloca.u64 %rd1, 16; ld.local.u32 %r1, [%rd1+8]; st.global.u32 [%b], %r1;",
        finds: &[
            &["uninitialized read: read of 4 bytes of local memory"],
            &["uninitialized read: read of 128 bytes"],
        ],
    },
    Case {
        name: "after it was given back",
        blocks: 1,
        threads: 1,
        body: "stacksave.u64 %rd2; alloca.u64 %rd1, 16; stackrestore.u64 %rd2; st.local.u32 [%rd1], %t;",
        finds: &[&["out of bounds: write of 4 bytes of local memory"]],
    },
    Case {
        name: "what was never saved",
        blocks: 1,
        threads: 1,
        body: "alloca.u64 %rd1, 16; stackrestore.u64 7;",
        finds: &[&["invalid operand", "0x7 is no saved top of this stack", "stackrestore.u64 7"]],
    },
    Case {
        name: "more than a thread may have",
        blocks: 1,
        threads: 1,
        body: "alloca.u64 %rd1, 1048576;",
        finds: &[&["invalid operand", "1048576 bytes more than the stack has"]],
    },
];

#[test]
fn wrong_uses() {
    check_all(FAULTY);
}
