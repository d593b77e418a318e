//! Loads and stores of every width, extended to every register, in every space; atomics.

use tinyllm_emulator::Emulator;

use super::harness::HEADER;
use crate::program::same_on_each;

/// Runs one thread with 64 bytes at `%in`, `%shared` and `%local`, and gives 8 words that it left.
fn run(body: &str, input: [u64; 8]) -> Vec<u64> {
    let text = format!(
        "{HEADER}.const .align 8 .u64 constants[2] = {{0x1122334455667788, 0x99}};\n.visible .entry k(.param .u64 pin, .param .u64 pout) {{\n\
         .reg .b64 %in, %out, %local, %rd<8>; .reg .b32 %shared, %r<8>; .reg .b16 %h<8>; .reg .f32 %f<8>; .reg .pred %p<4>;\n\
         .shared .align 16 .b8 tile[64]; .local .align 16 .b8 stack[64];\n\
         ld.param.u64 %in, [pin]; ld.param.u64 %out, [pout]; mov.u32 %shared, tile; mov.u64 %local, stack;\n{body}\nret;\n}}"
    );
    same_on_each(Emulator::builder(), body, |program| {
        let kernel = program.kernel(&text, "k");
        let (source, out) = (program.upload(&input), program.upload(&[0u64; 8]));
        program.launch(kernel, 1, 1, &mut [source.0, out.0]);
        program.download(out, 8)
    })
}

#[test]
fn narrow_numbers_are_extended_to_their_registers() {
    let value = 0xfedc_ba98_8796_85f4u64;
    for (ty, bits, signed) in [
        ("u8", 8, false),
        ("s8", 8, true),
        ("b8", 8, false),
        ("u16", 16, false),
        ("s16", 16, true),
        ("u32", 32, false),
        ("s32", 32, true),
        ("u64", 64, false),
    ] {
        let extended = match signed {
            true => ((value << (64 - bits)) as i64 >> (64 - bits)) as u64,
            false => value << (64 - bits) >> (64 - bits),
        };
        for space in
            ["global", "shared", "local", "generic", "global.nc", "volatile.global", "relaxed.gpu.global"]
        {
            let (base, prepare) = match space {
                "shared" => ("%shared", "ld.global.u64 %rd1, [%in]; st.shared.u64 [%shared], %rd1;"),
                "local" => ("%local", "ld.global.u64 %rd1, [%in]; st.local.u64 [%local], %rd1;"),
                _ => ("%in", ""),
            };
            let dotted = if space == "generic" { String::new() } else { format!(".{space}") };
            let left = run(
                &format!("{prepare} ld{}.{ty} %rd2, [{base}]; st.global.u64 [%out], %rd2;", dotted),
                [value; 8],
            );
            assert_eq!(left[0], extended, "ld.{space}.{ty}");
            if bits <= 32 {
                let left = run(
                    &format!("{prepare} ld{dotted}.{ty} %r2, [{base}]; st.global.u32 [%out], %r2;"),
                    [value; 8],
                );
                assert_eq!(left[0], extended & 0xffff_ffff, "ld.{space}.{ty}");
            }
        }
        let left = run(&format!("ld.global.u64 %rd1, [%in]; st.global.{ty} [%out], %rd1;"), [value; 8]);
        assert_eq!(left[0], value << (64 - bits) >> (64 - bits), "st.{ty}");
    }
}

#[test]
fn vectors_and_constants() {
    let input = [1, 2, 3, 4, 5, 6, 7, 8];
    let left = run("ld.global.v2.u64 {%rd1, %rd2}, [%in+16]; st.global.v2.u64 [%out], {%rd2, %rd1};", input);
    assert_eq!(left[..2], [4, 3]);
    let left = run(
        "ld.global.v4.u16 {%h1, _, %h3, %h4}, [%in+8]; st.global.v4.u16 [%out], {%h4, %h3, %h3, %h1};",
        input,
    );
    assert_eq!(left[0], 2 << 48);
    let left = run(
        "ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%in]; st.global.v4.f32 [%out+16], {%f3, %f4, %f1, %f2};",
        input,
    );
    assert_eq!(left[2..4], [2, 1]);
    let left = run(
        "ld.const.u32 %r1, [constants+4]; ld.const.u64 %rd1, [constants+8]; st.global.u32 [%out], %r1; st.global.u64 [%out+8], %rd1;",
        input,
    );
    assert_eq!(left[..2], [0x1122_3344, 0x99]);
}

#[test]
fn atomics_give_the_old_value_and_leave_the_new() {
    let cases: [(&str, u64, u64, u64); 22] = [
        ("add.u32", 0xffff_ffff, 2, 1),
        ("add.s32", 5, 0xffff_fffe, 3),
        ("add.u64", 1 << 40, 7, (1 << 40) + 7),
        ("and.b32", 0b1100, 0b1010, 0b1000),
        ("or.b64", 0b1100, 0b1010, 0b1110),
        ("xor.b32", 0b1100, 0b1010, 0b0110),
        ("min.s32", 0xffff_ffff, 1, 0xffff_ffff),
        ("min.u32", 0xffff_ffff, 1, 1),
        ("max.s32", 0xffff_ffff, 1, 1),
        ("max.u64", 3, 1, 3),
        ("min.s64", u64::MAX, 0, u64::MAX),
        ("inc.u32", 7, 7, 0),
        ("inc.u32", 6, 7, 7),
        ("dec.u32", 0, 9, 9),
        ("dec.u32", 5, 9, 4),
        ("exch.b32", 1, 2, 2),
        ("exch.b64", 1, 2, 2),
        ("add.f32", 0x3f80_0000, 0x4000_0000, 0x4040_0000),
        ("add.f64", 1f64.to_bits(), 2f64.to_bits(), 3f64.to_bits()),
        ("add.noftz.f16", 0x3c00, 0x4000, 0x4200),
        ("add.noftz.f16x2", 0x3c00_3c00, 0x4000_3c00, 0x4200_4000),
        ("add.noftz.bf16x2", 0x3f80_3f80, 0x4000_3f80, 0x4040_4000),
    ];
    for (name, old, operand, new) in cases {
        let (register, width) = match name {
            name if name.ends_with("64") => ("%rd", "u64"),
            name if name.ends_with(".f16") => ("%h", "b16"),
            _ => ("%r", "u32"),
        };
        for (space, base) in [("global", "%out"), ("shared", "%shared"), ("generic", "%out")] {
            let dotted = if space == "generic" { String::new() } else { format!(".{space}") };
            let store = if space == "shared" { "shared" } else { "global" };
            let body = format!(
                "ld.global.{width} {register}1, [%in]; st.{store}.{width} [{base}], {register}1; ld.global.{width} {register}2, [%in+8];\n\
                 atom{dotted}.{name} {register}3, [{base}], {register}2; ld.{store}.{width} {register}4, [{base}];\n\
                 st.global.u64 [%out], 0; st.global.{width} [%out], {register}3; st.global.{width} [%out+8], {register}4;\n\
                 st.{store}.{width} [{base}+16], {register}1; red{dotted}.{name} [{base}+16], {register}2; ld.{store}.{width} {register}5, [{base}+16];\n\
                 st.global.u64 [%out+16], 0; st.global.{width} [%out+16], {register}5;"
            );
            let body = if name.starts_with("exch") {
                body.lines().take(3).collect::<Vec<_>>().join("\n")
            } else {
                body
            };
            let left = run(&body, [old, operand, 0, 0, 0, 0, 0, 0]);
            assert_eq!(left[..2], [old, new], "atom.{space}.{name}");
            if !name.starts_with("exch") {
                assert_eq!(left[2], new, "red.{space}.{name}");
            }
        }
    }
    for (name, old, compare, swap, new) in [
        ("b32", 5u64, 5u64, 9u64, 9u64),
        ("b32", 5, 6, 9, 5),
        ("b64", 1 << 50, 1 << 50, 2, 2),
        ("b16", 7, 7, 3, 3),
    ] {
        let register = match name {
            "b64" => "%rd",
            "b16" => "%h",
            _ => "%r",
        };
        let body = format!(
            "ld.global.{name} {register}1, [%in]; st.global.{name} [%out+8], {register}1; ld.global.{name} {register}2, [%in+8];\n\
             ld.global.{name} {register}3, [%in+16]; atom.global.cas.{name} {register}4, [%out+8], {register}2, {register}3; st.global.{name} [%out], {register}4;"
        );
        assert_eq!(run(&body, [old, compare, swap, 0, 0, 0, 0, 0])[..2], [old, new], "cas.{name}");
    }
}

#[test]
fn a_sum_of_small_numbers_is_flushed_in_global_memory_only() {
    let tiny = 0x0000_0001u64;
    let body = |space: &str, base: &str| {
        format!(
            "st.{space}.u32 [{base}], 1; mov.f32 %f1, 0f00000001; atom.{space}.add.f32 %f2, [{base}], %f1; ld.{space}.f32 %f3, [{base}]; st.global.f32 [%out+8], %f3;"
        )
    };
    assert_eq!(run(&body("global", "%out"), [tiny; 8])[1], 0);
    assert_eq!(run(&body("shared", "%shared"), [tiny; 8])[1], 2);
}
