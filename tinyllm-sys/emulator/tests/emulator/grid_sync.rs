//! Blocks of a cooperative launch that wait for each other: what `grid_group::sync` of cooperative groups does, with the word that the
//! driver names in `%envreg1` and `%envreg2`.

use tinyllm_emulator::Emulator;
use tinyllm_sys::{DriverApi, DriverError, LaunchConfig, StreamHandle};

use crate::{corpus::check, program::Program};

const BLOCKS: u32 = 40;
const THREADS: u32 = 64;

/// Each thread stores its number, the blocks meet, and each reads what another block's thread stored. The first thread of a
/// block adds to the word; the first block adds what makes its highest bit change once all have come.
fn kernel(sync: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 pa, .param .u64 pb) {{
        .reg .pred %p<4>; .reg .b32 %r<20>; .reg .b64 %rd<12>;
        ld.param.u64 %rd1, [pa]; ld.param.u64 %rd2, [pb];
        mov.u32 %r1, %envreg2; mov.u32 %r2, %envreg1; mov.b64 %rd3, {{%r1, %r2}};
        setp.ne.u64 %p1, %rd3, 0; @%p1 bra begin; trap; begin:
        mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x; mov.u32 %r6, %nctaid.x;
        mad.lo.u32 %r7, %r3, %r4, %r5; mul.wide.u32 %rd4, %r7, 4; add.u64 %rd5, %rd1, %rd4; st.global.u32 [%rd5], %r7;
        {sync}
        mul.lo.u32 %r8, %r6, %r4; sub.u32 %r8, %r8, 1; sub.u32 %r8, %r8, %r7; mul.wide.u32 %rd6, %r8, 4;
        add.u64 %rd7, %rd1, %rd6; ld.global.u32 %r9, [%rd7]; add.u64 %rd8, %rd2, %rd4; st.global.u32 [%rd8], %r9; ret; }}"
    )
}

const SYNC: &str = "barrier.sync 0; setp.ne.u32 %p2, %r5, 0; @%p2 bra met;
    setp.eq.u32 %p3, %r3, 0; mov.u32 %r10, 0x80000001; sub.u32 %r10, %r10, %r6; selp.u32 %r10, %r10, 1, %p3;
    atom.add.release.gpu.u32 %r11, [%rd3+4], %r10;
    spin: ld.acquire.gpu.u32 %r12, [%rd3+4]; xor.b32 %r12, %r12, %r11; setp.gt.s32 %p3, %r12, -1; @%p3 bra spin;
    met: barrier.sync 0;";

fn run(driver: &Program<Emulator>, text: &str, cooperative: bool) -> Result<Vec<u32>, DriverError> {
    let count = (BLOCKS * THREADS) as usize;
    let function = driver.kernel(text, "k");
    let (a, b) = (driver.upload(&vec![0u32; count]), driver.upload(&vec![0u32; count]));
    let config = LaunchConfig { cooperative, ..LaunchConfig::new([BLOCKS, 1, 1], [THREADS, 1, 1]) };
    driver.launch_on(StreamHandle::LEGACY, function, config, &mut [a.0, b.0])?;
    driver.try_download(b, count)
}

#[test]
fn blocks_meet() {
    let program = Program::new(Emulator::builder());
    let free = program.driver.mem_get_info().unwrap().0;
    // Twice: the word is the launch's own.
    let twice = kernel(&format!("{SYNC} {}", SYNC.replace("met", "met2").replace("spin", "spin2")));
    for text in [kernel(SYNC), twice] {
        let left = run(&program, &text, true).unwrap();
        let expected: Vec<u32> = (0..BLOCKS * THREADS).rev().collect();
        assert_eq!(left, expected);
    }
    check("grid sync", &program.driver.findings(), &[]);
    // No memory of the program's: four buffers are.
    let buffers = 4 * u64::from(BLOCKS * THREADS * 4);
    assert_eq!(free - program.driver.mem_get_info().unwrap().0, buffers);
}

#[test]
fn blocks_that_do_not_meet_race() {
    let program = Program::new(Emulator::builder());
    run(&program, &kernel(""), true).unwrap();
    let findings = program.driver.findings();
    assert!(
        findings.iter().any(|finding| finding.to_string().starts_with("race between blocks")),
        "{findings:?}"
    );
}

/// Cooperative groups look at the address, and trap where there is none.
#[test]
fn another_launch_has_no_word_to_meet_at() {
    let program = Program::new(Emulator::builder());
    assert_eq!(run(&program, &kernel(SYNC), false).unwrap_err().name, "CUDA_ERROR_LAUNCH_FAILED");
    check(
        "no grid",
        &program.driver.findings(),
        &[&["trap: kernel k on the default stream: the kernel ends itself\n", ": trap)"]],
    );
}
