//! `.ftz` at the edge: results just below the smallest normal number, which rounding brings up to it. Those that rounding to as
//! many digits without a least exponent leaves below it count as subnormal (IEEE 754's tininess after rounding).

use std::fmt::Write;

use tinyllm_emulator::Emulator;

use super::harness::HEADER;
use crate::program::same_on_each;

/// An instruction on operands, its register's bits, and what it gives. Of a smallest normal number t of p bits the exact
/// result is t (1 - 2^-p), which has a number of p bits below t, or t less a little, which has none.
const CASES: [(&str, u32, [u64; 3], u64); 12] = [
    ("mul.rn.ftz.f32", 32, [0x3f7f_ffff, 0x0080_0000, 0], 0),
    ("mul.rn.ftz.f32", 32, [0x3f7f_f800, 0x0080_0400, 0], 0x0080_0000),
    ("fma.rn.ftz.f32", 32, [0x3f7f_ffff, 0x0080_0000, 0], 0),
    ("fma.rn.ftz.f32", 32, [0x1a00_0000, 0x9900_0000, 0x0080_0000], 0x0080_0000),
    ("mul.rp.ftz.f32", 32, [0x3f7f_f800, 0x0080_0400, 0], 0x0080_0000),
    ("div.rn.ftz.f32", 32, [0x3f7f_ffff, 0x7e80_0000, 0], 0),
    ("mul.rn.ftz.f16", 16, [0x3bff, 0x0400, 0], 0),
    ("mul.rn.ftz.f16", 16, [0x3bf0, 0x0408, 0], 0x0400),
    ("fma.rn.ftz.f16", 16, [0x3bff, 0x0400, 0], 0),
    ("fma.rn.ftz.f16", 16, [0x0400, 0x8400, 0x0400], 0x0400),
    ("cvt.rn.ftz.f32.f64", 64, [0x380f_ffff_e000_0000, 0, 0], 0),
    ("cvt.rn.ftz.f32.f64", 64, [0x380f_ffff_f800_0000, 0, 0], 0x0080_0000),
];

#[test]
fn what_is_rounded_up_to_a_normal_number() {
    let mut text = format!(
        "{HEADER}.visible .entry k(.param .u64 pin, .param .u64 pout) {{\n\
         .reg .b64 %in, %out, %d<4>; .reg .b32 %r<4>; .reg .b16 %h<4>; ld.param.u64 %in, [pin]; ld.param.u64 %out, [pout];\n"
    );
    let mut input = Vec::new();
    for (index, (name, bits, operands, _)) in CASES.iter().enumerate() {
        let prefix = ["%h", "%r", "%d"][bits.ilog2() as usize - 4];
        for (place, operand) in operands.iter().enumerate() {
            let _ = writeln!(text, "ld.global.b{bits} {prefix}{place}, [%in+{}];", 8 * input.len());
            input.push(*operand);
        }
        let operands = match &name[..3] {
            "cvt" => format!("%r0, {prefix}0"),
            "fma" => format!("{prefix}0, {prefix}0, {prefix}1, {prefix}2"),
            _ => format!("{prefix}0, {prefix}0, {prefix}1"),
        };
        let (result, result_bits) = if name.starts_with("cvt") { ("%r", 32) } else { (prefix, *bits) };
        let _ =
            writeln!(text, "{name} {operands}; st.global.b{result_bits} [%out+{}], {result}0;", 8 * index);
    }
    text += "ret;\n}\n";
    let left: Vec<u64> = same_on_each(Emulator::builder(), "tiny results", |program| {
        let kernel = program.kernel(&text, "k");
        let (source, out) = (program.upload(&input), program.upload(&[0u64; CASES.len()]));
        program.launch(kernel, 1, 1, &mut [source.0, out.0]);
        program.download(out, CASES.len())
    });
    for ((name, _, operands, expected), left) in CASES.iter().zip(left) {
        assert_eq!(left, *expected, "{name} {operands:x?}");
    }
}
