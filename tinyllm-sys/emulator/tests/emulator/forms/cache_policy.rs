//! Every form of `createpolicy` makes what `.L2::cache_hint` takes, and what the manual does not allow is found.

use std::fmt::Write;

use tinyllm_emulator::{Emulator, report::Kind};
use tinyllm_sys::DriverApi;

use super::{
    harness::{HEADER, POLICY},
    names,
};
use crate::program::{Program, on_each};

/// A kernel that loads and stores a word with each policy that `instructions` put into `%d1`.
fn kernel(instructions: &[String]) -> String {
    let mut text = format!(
        "{HEADER}.visible .entry k(.param .u64 pa) {{ .reg .b64 %a, %d<4>; .reg .b32 %r<4>; .reg .f32 %f<4>;\n\
         ld.param.u64 %a, [pa]; mov.u64 %d2, {POLICY}; mov.f32 %f1, 0f3f000000; mov.f32 %f2, 0f40000000; mov.f32 %f3, 0f00000000;\n"
    );
    for instruction in instructions {
        let _ = writeln!(
            text,
            "{instruction} ld.global.L2::cache_hint.u32 %r1, [%a], %d1; add.u32 %r1, %r1, 1; st.global.L2::cache_hint.u32 [%a], %r1, %d1;"
        );
    }
    text + "ret; }\n"
}

#[test]
fn every_policy_is_one_that_accesses_take() {
    let mut instructions = Vec::new();
    for name in names("Memory").iter().filter(|name| name.starts_with("createpolicy")) {
        let all: &[&str] = match name {
            name if name.contains(".range") => &["%d1, [%a], 64, 128", "%d1, [%a], 128, 128"],
            name if name.contains(".cvt") => &["%d1, %d2"],
            _ => &["%d1", "%d1, 1.0", "%d1, %f1"],
        };
        instructions.extend(all.iter().map(|operands| format!("{name} {operands};")));
    }
    assert!(instructions.len() > 60, "{}", instructions.len());
    let left = on_each(Emulator::builder(), |program| {
        let word = program.upload(&[0u32; 32]);
        program.launch(program.kernel(&kernel(&instructions), "k"), 1, 1, &mut [word.0]);
        program.download::<u32>(word, 1)[0]
    });
    assert!(left.iter().all(|left| *left == instructions.len() as u32), "{left:?}");
}

#[test]
fn fractions_and_ranges_are_checked() {
    for (instruction, note) in [
        (
            "createpolicy.fractional.L2::evict_last.b64 %d1, %f2;",
            "a fraction of 2; it has to be above 0 and at most 1",
        ),
        ("createpolicy.fractional.L2::evict_first.b64 %d1, %f3;", "a fraction of 0; "),
        (
            "createpolicy.range.L2::evict_last.b64 %d1, [%a], 256, 128;",
            "256 bytes of first priority, of 128 in all",
        ),
    ] {
        let program = Program::new(Emulator::builder());
        let word = program.upload(&[0u32; 32]);
        program.launch(program.kernel(&kernel(&[instruction.to_owned()]), "k"), 1, 1, &mut [word.0]);
        program.driver.context_synchronize().unwrap();
        let findings = program.driver.findings();
        assert_eq!(findings.len(), 1, "{instruction}");
        assert_eq!(findings[0].kind, Kind::InvalidOperand);
        assert!(findings[0].note.starts_with(note), "{}", findings[0]);
        let site = findings[0].site.as_ref().unwrap();
        assert_eq!(site.instruction, instruction.trim_end_matches(';'));
    }
}
