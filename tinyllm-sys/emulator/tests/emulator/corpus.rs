//! Small kernels around one body: what they all begin with, and what is expected to be found.

use tinyllm_emulator::{Emulator, report::Finding};
use tinyllm_sys::{DevicePointer, DriverApi, DriverError};

use crate::program::Program;

/// A kernel `k(a, b, n)`: `%a` and `%b` are the addresses of this thread's words of them, `%rda` and `%rdb` of the first,
/// `%n` the number, `%tid`, `%cta`, `%gid` the thread, the block and both, `%word` the thread's offset in `tile`.
pub(crate) fn kernel(body: &str) -> String {
    format!(
        r#".version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 pa, .param .u64 pb, .param .u32 pn) {{
    .reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<16>; .reg .f32 %f<8>; .reg .b64 %rd<16>;
    .reg .b32 %n, %t, %cta, %size, %gid, %word; .reg .b64 %rda, %rdb, %offset, %a, %b;
    .shared .align 16 .b8 tile[1024];
    .local .align 16 .b8 stack[64];
    ld.param.u64 %rda, [pa]; ld.param.u64 %rdb, [pb]; ld.param.u32 %n, [pn];
    mov.u32 %t, %tid.x; mov.u32 %cta, %ctaid.x; mov.u32 %size, %ntid.x;
    mad.lo.u32 %gid, %cta, %size, %t; mul.wide.u32 %offset, %gid, 4;
    add.u64 %a, %rda, %offset; add.u64 %b, %rdb, %offset; shl.b32 %word, %t, 2;
    .loc 1 {LINE} 1
{body}
    ret;
}}
.file 1 "case.cu"
"#
    )
}

/// The source's line that bodies begin with.
pub(crate) const LINE: u32 = 10;

/// A launch of one kernel over `a` and `b`, of 32 words each.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) blocks: u32,
    pub(crate) threads: u32,
    pub(crate) body: &'static str,
    /// What each finding's text has in it, finding by finding.
    pub(crate) finds: &'static [&'static [&'static str]],
}

/// Words of `a` and of `b`.
pub(crate) const WORDS: usize = 32;

/// Runs a kernel: `a` counts from 0, `b` is written by nobody. Gives `b` where it can be had, and what was found.
pub(crate) fn run(body: &str, blocks: u32, threads: u32) -> (Option<Vec<u32>>, Vec<Finding>) {
    let program = Program::new(Emulator::builder());
    let out = run_on(&program, body, blocks, threads).ok();
    (out, program.driver.findings())
}

/// The same on any device, which gives `b`.
pub(crate) fn run_on(
    program: &Program<dyn DriverApi>,
    body: &str,
    blocks: u32,
    threads: u32,
) -> Result<Vec<u32>, DriverError> {
    let function = program.kernel(&kernel(body), "k");
    let a = program.upload(&(0..WORDS as u32).collect::<Vec<_>>());
    let b = program.driver.mem_alloc(WORDS * 4).unwrap();
    program.driver.name_memory(a, WORDS * 4, "a");
    program.driver.name_memory(b, WORDS * 4, "b");
    program.launch(function, blocks, threads, &mut [a.0, b.0, u64::from(threads * blocks)]);
    program.driver.context_synchronize()?;
    Ok(program.download::<u32>(b, WORDS))
}

/// Every finding's text has what is expected of it, and there are as many.
pub(crate) fn check(name: &str, findings: &[Finding], expected: &[&[&str]]) {
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let all = texts.join("\n");
    assert_eq!(texts.len(), expected.len(), "{name}:\n{all}");
    for (text, parts) in texts.iter().zip(expected) {
        for part in *parts {
            assert!(text.contains(part), "{name}: {part:?} is not in\n{all}");
        }
    }
}

pub(crate) fn check_all(cases: &[Case]) {
    for case in cases {
        let (_, findings) = run(case.body, case.blocks, case.threads);
        check(case.name, &findings, case.finds);
    }
}

/// The address of a word.
pub(crate) fn word(pointer: DevicePointer, index: u64) -> DevicePointer {
    DevicePointer(pointer.0 + 4 * index)
}
