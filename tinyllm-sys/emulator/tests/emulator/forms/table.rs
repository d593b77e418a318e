//! `docs/ptx-forms.md`: the forms that are run against the manual, by opcode.

use std::{fmt::Write, fs, path::PathBuf};

use tinyllm_emulator::forms::{SECTIONS, sets};

fn table() -> String {
    let mut text = String::from(
        "# Forms of PTX that the emulator runs\n\n\
         Written from the emulator's own table (`tinyllm_emulator::forms`), in the notation of the PTX manual: `{.ftz}` may be \
         left out, `.{lo, hi}` is one of the two, and words in capitals are the sets below. Words may stand in any order, as ptxas \
         takes them, types in the order written. `a[5]` of an array is the address of an element where a value may be `a`, and where an \
         access may be at `[a]`. Every other form is an error when a \
         kernel is asked for, with the line, the instruction and what there is instead. The emulator's tests run each form against \
         the manual, and have the ptxas that `TINYLLM_PTXAS` names assemble it; `TINYLLM_UPDATE=1 cargo test -p tinyllm-emulator table` writes this page anew.\n\n\
         | set | words |\n| --- | --- |\n",
    );
    for (name, words) in sets() {
        let _ = writeln!(text, "| `{name}` | {} |", words.join(", "));
    }
    for section in SECTIONS {
        let _ = write!(text, "\n## {}\n\n| instruction | forms |\n| --- | --- |\n", section.title);
        let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
        for form in section.forms {
            let since = if form.target > 80 { format!(" (sm_{})", form.target) } else { String::new() };
            let notation = if form.notation.is_empty() { "as it is" } else { form.notation };
            let spelled = format!("`{notation}`{since}");
            match rows.iter_mut().find(|(opcodes, _)| *opcodes == form.opcodes) {
                Some((_, forms)) => forms.push(spelled),
                None => rows.push((form.opcodes, vec![spelled])),
            }
        }
        for (opcodes, forms) in rows {
            let opcodes: Vec<String> = opcodes.split(' ').map(|opcode| format!("`{opcode}`")).collect();
            let _ = writeln!(text, "| {} | {} |", opcodes.join(" "), forms.join("<br>"));
        }
    }
    text
}

#[test]
fn table_is_what_is_tested() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/ptx-forms.md");
    let text = table();
    if std::env::var_os("TINYLLM_UPDATE").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "docs/ptx-forms.md is not what the forms are: TINYLLM_UPDATE=1 writes it");
}

#[test]
fn what_is_not_there_is_an_error_with_its_place() {
    use tinyllm_emulator::Emulator;

    use crate::{corpus::kernel, program::Program};

    let program = Program::new(Emulator::builder());
    for (instruction, problem) in [
        ("txq.width.b32 %r1, [%rd1];", "there is no txq here"),
        (
            "tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd1, {%f1, %f2}];",
            "there is no tex here: textures and surfaces are not emulated",
        ),
        ("mov.u32 %r1, %envreg32;", "%envreg32 is not declared"),
        ("mov.u64 %rd1, pa[0];", "pa is no array"),
        ("mov.u32 %r1, %r2[0];", "%r2 is no array"),
        ("vadd.u32.u32.u32 %r1.h2, %r2, %r3, %r4;", "a part .h2"),
        ("vadd.u32.u32.u32.sat %r1, %r2, %r3, %r4;", "a third input is for a second operation"),
        ("vmad.s32.s32.s32 %r1, -%r2, %r3, -%r4;", "more than one of -a * b, -c and .po"),
        ("add.u8 %r1, %r2, %r3;", "no .u8 here; there are add.INT, add.sat.s32, "),
        ("add.rn.u32 %r1, %r2, %r3;", "no .rn here"),
        ("add.rn.rz.f32 %r1, %r2, %r3;", "no .rz here"),
        ("mul.u32 %r1, %r2, %r3;", "no .u32 here; there are mul.{lo, hi}.INT, mul.wide."),
        ("add.bf16x2 %r1, %r2, %r3;", "this form needs .target sm_90"),
        ("wgmma.fence.sync.aligned;", "there is no wgmma here"),
        ("add.u32 %rd1, %r2, %r3;", "%rd1 has 64 bits, the result 32"),
        ("add.u32 %r1, %r2, %q;", "%q is not declared"),
        ("bra nowhere;", "nowhere is no label here"),
        ("shfl.down.b32 %r1, %r2, 1, 31;", "no .down here; there are shfl.sync."),
        (
            "mma.sync.aligned.m16n8k512.row.col.s32.b1.b1.s32.and.popc {%r1}, {%r2}, {%r3}, {%r4};",
            "no .m16n8k512 here",
        ),
        ("call nothing;", "nothing has no body here"),
        ("setp.eq.f16 %p1|%p2, %h1, %h2;", "a comparison of halves gives one predicate"),
        ("ld.global.b128 %r1, [%rda];", "no .b128 here"),
        ("st.param.u32 [pa], %r1;", "a kernel's parameters are not written"),
    ] {
        let error = program.load(&kernel(instruction), "k").unwrap_err();
        assert_eq!(error.name, "CUDA_ERROR_INVALID_PTX");
        let text = instruction.trim_end_matches(';');
        let expected = format!("line 14: {text}: ");
        assert!(
            error.arguments.contains(&expected) && error.arguments.contains(problem),
            "{}",
            error.arguments
        );
    }
    // All of a kernel's at once, and those of a function that it calls; the other kernels are there.
    let text = ".version 8.0 .target sm_80 .address_size 64
        .func helper() { add.u8 %r1, %r1, %r1;
          ret; }
        .entry bad() { .reg .b32 %r<2>;
          wgmma.fence.sync.aligned;
          call helper;
          txq.width.b32 %r1, [%rd1];
          call helper;
          ret; }
        .entry good() { ret; }";
    let error = program.load(text, "bad").unwrap_err();
    for line in ["line 2: add.u8", "line 5: wgmma.fence", "line 7: txq.width"] {
        assert_eq!(error.arguments.matches(line).count(), 1, "{}", error.arguments);
    }
    assert!(program.load(text, "good").is_ok());
    let error = program.load(text, "none").unwrap_err();
    assert_eq!(error.name, "CUDA_ERROR_NOT_FOUND");
    let error = program.load("not ptx", "k").unwrap_err();
    assert!(error.arguments.contains("line 1:"), "{}", error.arguments);
}
