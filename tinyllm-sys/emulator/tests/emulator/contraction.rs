//! Sums of products that ptxas may fuse: those where neither instruction has a rounding modifier ("mul/add sequences with no rounding
//! modifiers may be optimized to use fused-multiply-add instructions", the PTX manual on `add`, `sub` and `mul`).

use tinyllm_emulator::{
    Check, Emulator,
    report::{Finding, Kind},
};
use tinyllm_sys::DriverApi;

use crate::program::Program;

/// The lines that come before those of a body.
const BEFORE: u32 = 4;

/// Runs a kernel of these lines, of which the first is line 1, twice.
fn notes(check: Check, body: &[&str]) -> Vec<Finding> {
    let text = format!(
        ".version 8.0 .target sm_80 .address_size 64\n.entry k() {{\n\
         .reg .pred %p<2>; .reg .b16 %h<6>; .reg .b32 %r<4>; .reg .f32 %f<8>; .reg .f64 %d<8>;\n\
         mov.f32 %f1, 0f40000000; mov.f32 %f2, %f1; mov.f64 %d1, 0d4000000000000000; mov.b16 %h1, 1; setp.eq.u32 %p1, 1, 1;\n\
         {}\nret; }}",
        body.join("\n")
    );
    let program = Program::new(Emulator::builder().check(check));
    let kernel = program.kernel(&text, "k");
    for _ in 0..2 {
        program.launch(kernel, 1, 32, &mut []);
    }
    program.driver.context_synchronize().unwrap();
    program.driver.findings()
}

/// The pairs of lines that the note on a kernel has.
fn pairs(body: &[&str]) -> Vec<(u32, u32)> {
    let findings = notes(Check { contraction: true, ..Check::none() }, body);
    let Some(finding) = findings.first() else { return Vec::new() };
    assert_eq!((findings.len(), finding.kind, finding.count), (1, Kind::Contraction, 1));
    assert!(finding.kind.is_note());
    let (_, lines) = finding.note.split_once("PTX lines ").unwrap();
    let line = |text: &str| text.parse::<u32>().unwrap() - BEFORE;
    let pair =
        |text: &str| text.split_once(" and ").map(|(product, sum)| (line(product), line(sum))).unwrap();
    lines.split(", ").map(pair).collect()
}

#[test]
fn products_that_are_added_without_a_modifier() {
    assert_eq!(pairs(&["mul.f32 %f3, %f1, %f2;", "add.f32 %f4, %f3, %f1;"]), [(1, 2)]);
    assert_eq!(pairs(&["mul.f32 %f3, %f1, %f2;", "sub.f32 %f4, %f1, %f3;"]), [(1, 2)]);
    assert_eq!(pairs(&["mul.f64 %d3, %d1, %d1;", "add.f64 %d4, %d1, %d3;"]), [(1, 2)]);
    assert_eq!(pairs(&["mul.f16 %h3, %h1, %h1;", "add.f16 %h4, %h3, %h1;"]), [(1, 2)]);
    assert_eq!(pairs(&["mul.ftz.f32 %f3, %f1, %f2;", "add.ftz.f32 %f4, %f3, %f1;"]), [(1, 2)]);
    // One of the two products of a sum, whichever.
    let body = ["mul.f32 %f3, %f1, %f2;", "mul.f32 %f4, %f2, %f2;", "add.f32 %f5, %f3, %f4;"];
    assert_eq!(pairs(&body), [(1, 3), (2, 3)]);
    // The product is used elsewhere too: there is the product itself, and a fused sum.
    let body = ["mul.f32 %f3, %f1, %f2;", "add.f32 %f4, %f3, %f1;", "add.f32 %f5, %f3, %f4;"];
    assert_eq!(pairs(&body), [(1, 2), (1, 3)]);
}

#[test]
fn a_modifier_on_either_side_fixes_the_bits() {
    assert_eq!(pairs(&["mul.rn.f32 %f3, %f1, %f2;", "add.f32 %f4, %f3, %f1;"]), []);
    assert_eq!(pairs(&["mul.f32 %f3, %f1, %f2;", "add.rn.f32 %f4, %f3, %f1;"]), []);
    assert_eq!(pairs(&["mul.f32 %f3, %f1, %f2;", "sub.rz.f32 %f4, %f3, %f1;"]), []);
    assert_eq!(pairs(&["fma.rn.f32 %f3, %f1, %f2, %f1;", "add.f32 %f4, %f3, %f1;"]), []);
    // Integers, and products that are stored or multiplied.
    assert_eq!(pairs(&["mul.lo.s32 %r1, %r2, %r3;", "add.s32 %r1, %r1, %r2;"]), []);
    assert_eq!(pairs(&["mul.f32 %f3, %f1, %f2;", "mul.f32 %f4, %f3, %f1;"]), []);
    // Cut off between, or of other subnormal numbers: no fused instruction does that.
    assert_eq!(pairs(&["mul.sat.f32 %f3, %f1, %f2;", "add.f32 %f4, %f3, %f1;"]), []);
    assert_eq!(pairs(&["mul.ftz.f32 %f3, %f1, %f2;", "add.f32 %f4, %f3, %f1;"]), []);
}

#[test]
fn what_a_register_held_before_is_no_product() {
    let body = ["mul.f32 %f3, %f1, %f2;", "mov.f32 %f3, %f1;", "add.f32 %f4, %f3, %f1;"];
    assert_eq!(pairs(&body), []);
    // Lanes that the guard holds back have the product still.
    let body = ["mul.f32 %f3, %f1, %f2;", "@%p1 mov.f32 %f3, %f1;", "add.f32 %f4, %f3, %f1;"];
    assert_eq!(pairs(&body), [(1, 3)]);
}

#[test]
fn products_are_followed_through_moves_signs_and_loops() {
    let body = ["mul.f32 %f3, %f1, %f2;", "neg.f32 %f4, %f3;", "mov.f32 %f5, %f4;", "add.f32 %f6, %f5, %f1;"];
    assert_eq!(pairs(&body), [(1, 4)]);
    // The sum comes first in the text, and after the product in the second turn.
    let body = [
        "mov.f32 %f3, %f1; mov.u32 %r1, 0;",
        "again: add.f32 %f4, %f3, %f1;",
        "mul.f32 %f3, %f4, %f2;",
        "add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 2;",
        "@%p1 bra again;",
    ];
    assert_eq!(pairs(&body), [(3, 2)]);
}

#[test]
fn it_is_not_looked_for_unless_it_is_asked_for() {
    let body = ["mul.f32 %f3, %f1, %f2;", "add.f32 %f4, %f3, %f1;"];
    assert_eq!(notes(Check::all(), &body), []);
    assert_eq!(notes(Check::parse("all").unwrap(), &body), []);
    let text = notes(Check::parse("all,contraction").unwrap(), &body)[0].to_string();
    assert!(
        text.starts_with("note: sums of products that may be fused: kernel k on the default stream"),
        "{text}"
    );
    assert!(text.contains("1 of its additions"), "{text}");
    assert!(text.contains("at k (PTX line 6: add.f32 %f4, %f3, %f1)"), "{text}");
}
