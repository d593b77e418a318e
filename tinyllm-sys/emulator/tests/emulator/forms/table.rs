//! `docs/ptx-forms.md`: the forms that are run against the manual, by opcode.

use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf};

/// Forms that tests of programs run, not tests of single instructions.
const OTHERS: [(&str, &[&str]); 3] = [
    (
        "Memory",
        &[
            "ld{.weak, .volatile, .relaxed, .acquire}{.scope}{.global, .shared, .local, .param, .const}{.nc}{cache hints}{.v2, .v4}.type",
            "st{.weak, .volatile, .relaxed, .release}{.scope}{.global, .shared, .local}{cache hints}{.v2, .v4}.type",
            "atom, red{.sem}{.scope}{.global, .shared}.add.{u32, s32, u64, f32, f64, noftz.f16, noftz.f16x2, noftz.bf16, noftz.bf16x2}",
            "atom, red….{and, or, xor}.{b32, b64}, .{min, max}.{u32, s32, u64, s64}, .{inc, dec}.u32",
            "atom….exch.{b32, b64}, .cas.{b16, b32, b64}",
            "cp.async.{ca, cg}.shared.global{cache hints} with 4, 8 or 16 bytes, a source size or a predicate",
            "cp.async.{commit_group, wait_group N, wait_all}",
            "cvta{.to}.{global, shared, local, param, const}.u64, isspacep.{global, shared, local, param}",
            "prefetch, discard, applypriority (nothing to do), membar, fence",
        ],
    ),
    (
        "Control",
        &[
            "bra{.uni}, brx.idx, call{.uni} of a function in the module, of vprintf and __assertfail, ret, exit, trap",
            "bar, barrier{.cta}.{sync, arrive, red.popc, red.and, red.or}{.aligned}, bar.warp.sync",
            "nanosleep, brkpt, pmevent (nothing to do)",
        ],
    ),
    (
        "Within a warp",
        &[
            "shfl.sync.{up, down, bfly, idx}.b32, with a predicate or without",
            "vote.sync.{all, any, uni}.pred, vote.sync.ballot.b32, activemask.b32",
            "match.any.sync.{b32, b64}, match.all.sync.{b32, b64}",
            "redux.sync.{add, min, max}.{u32, s32}, redux.sync.{and, or, xor}.b32",
        ],
    ),
];

fn table() -> String {
    let mut text = String::from(
        "# Forms of PTX that the emulator runs\n\n\
         Written by the emulator's tests, which run each form of a single instruction against the manual; \
         `TINYLLM_UPDATE=1 cargo test -p tinyllm-emulator table` writes it anew. Rarer combinations of the same modifiers load too, and are \
         not tested one by one. What the emulator does not know is an error when a module is loaded, with the line and the instruction.\n",
    );
    let matrices = ("Matrices", super::matrices::names());
    let sections = super::all().into_iter().map(|(title, forms)| {
        let names =
            forms.iter().map(|form| form.text.split([' ', ';']).next().unwrap_or_default().to_owned());
        (title, names.collect::<Vec<_>>())
    });
    for (title, names) in sections.chain([matrices]) {
        let _ = write!(text, "\n## {title}\n\n| instruction | forms |\n| --- | --- |\n");
        let mut opcodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in names {
            let (opcode, rest) = name.split_once('.').unwrap_or((&name, ""));
            let forms = opcodes.entry(opcode.to_owned()).or_default();
            if !forms.contains(&rest.to_owned()) {
                forms.push(rest.to_owned());
            }
        }
        for (opcode, forms) in opcodes {
            let forms: Vec<String> = forms.iter().map(|form| format!("`.{form}`")).collect();
            let _ = writeln!(text, "| `{opcode}` | {} |", forms.join(" "));
        }
    }
    for (title, lines) in OTHERS {
        let _ = write!(text, "\n## {title}\n\n");
        for line in lines {
            let _ = writeln!(text, "- `{line}`");
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
        ("add.u8 %r1, %r2, %r3;", "there is no add here"),
        ("add.rn.u32 %r1, %r2, %r3;", ".rn here"),
        ("mul.u32 %r1, %r2, %r3;", "neither .lo, .hi nor .wide"),
        ("wgmma.fence.sync.aligned;", "there is no wgmma here"),
        ("add.u32 %rd1, %r2, %r3;", "%rd1 has 64 bits, the result 32"),
        ("add.u32 %r1, %r2, %q;", "%q is not declared"),
        ("bra nowhere;", "nowhere is no label here"),
        ("shfl.down.b32 %r1, %r2, 1, 31;", "without .sync"),
        ("mma.sync.aligned.m16n8k64.row.col.s32.s4.s4.s32 {%r1}, {%r2}, {%r3}, {%r4};", "this shape"),
        ("call nothing;", "nothing has no body here"),
        ("ld.global.b128 %r1, [%rda];", "elements of this size"),
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
    let error = program.load("not ptx", "k").unwrap_err();
    assert!(error.arguments.contains("line 1:"), "{}", error.arguments);
}
