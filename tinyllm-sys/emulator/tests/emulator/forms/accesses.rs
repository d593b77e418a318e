//! Every form of load, store and atomic of the table: one thread runs each, and leaves what it found.

use std::fmt::Write;

use half::{bf16, f16};
use tinyllm_emulator::Emulator;

use super::{
    harness::{HEADER, POLICY, Random},
    integers::integer,
    names,
};
use crate::program::on_each;

/// What is loaded, and stored over.
const DATA: [u64; 2] = [0xfedc_ba98_8796_85f4, 0x8877_e655_c433_a211];

/// Words that a form may leave.
const LEFT: usize = 6;

/// Instructions that leave words at `%out`, and those words.
struct Case {
    name: String,
    body: String,
    left: Vec<u64>,
}

/// Runs cases one after the other in one thread; `%in` has [`DATA`], and so have `tile`, `stack`, `table` and the parameters.
fn run(cases: &[Case]) {
    for cases in cases.chunks(200) {
        let mut text = format!(
            "{HEADER}.const .align 16 .u64 table[2] = {{{}, {}}};\n\
             .extern .shared .align 16 .b32 asked[]; .global .align 16 .b16 kept[8];\n\
             .func (.param .align 16 .b8 back[16]) same(.param .align 16 .b8 given[16]) {{ .reg .b64 %first, %second;\n\
             ld.param.v2.u64 {{%first, %second}}, [given]; st.param.v2.u64 [back], {{%first, %second}}; ret; }}\n\
             .visible .entry k(.param .u64 pin, .param .u64 pout, .param .u64 p1, .param .align 16 .u64 p2, .param .u64 p3) {{\n\
             .reg .b64 %in, %out, %d<16>; .reg .b32 %r<16>; .reg .b16 %h<16>; .reg .pred %p<4>;\n\
             .shared .align 16 .b8 tile[16]; .local .align 16 .b8 stack[16];\n\
             ld.param.u64 %in, [pin]; ld.param.u64 %out, [pout]; ld.global.v2.u64 {{%d14, %d15}}, [%in];\n\
             st.shared.v2.u64 [tile], {{%d14, %d15}}; st.local.v2.u64 [stack], {{%d14, %d15}};\n\
             mov.u64 %d13, {POLICY};\n",
            DATA[0], DATA[1]
        );
        for case in cases {
            let _ = writeln!(
                text,
                "{{ .param .align 16 .b8 formal[16]; .param .align 16 .b8 back[16];\n{}\n}} add.s64 %out, %out, {};",
                case.body,
                8 * LEFT
            );
        }
        text.push_str("ret;\n}\n");
        let wrong = on_each(Emulator::builder(), |program| -> Vec<String> {
            let kernel = program.kernel(&text, "k");
            let (source, out) = (program.upload(&DATA), program.upload(&vec![0u64; LEFT * cases.len()]));
            program.launch(kernel, 1, 1, &mut [source.0, out.0, 0, DATA[0], DATA[1]]);
            let left: Vec<u64> = program.download(out, LEFT * cases.len());
            let wrong =
                cases.iter().zip(left.chunks(LEFT)).filter(|(case, left)| !left.starts_with(&case.left));
            wrong.map(|(case, left)| format!("{}: {} left {left:x?}", case.name, case.body)).collect()
        });
        for wrong in wrong {
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    }
}

/// Words of a form's name.
struct Access<'a> {
    words: Vec<&'a str>,
}

impl<'a> Access<'a> {
    fn of(name: &'a str) -> Self {
        Access { words: name.split('.').collect() }
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// Hints change no result: each is run with one type, and everything else without them.
    fn is_run(&self) -> bool {
        let hint = |word: &&str| {
            matches!(*word, "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt") || word.starts_with('L')
        };
        !self.words[1..].iter().any(hint) || (self.ty() == "s16" && self.count() == 1)
    }

    fn ty(&self) -> &'a str {
        self.words[self.words.len() - 1]
    }

    fn bits(&self) -> u32 {
        self.ty()[1..].parse().unwrap()
    }

    fn count(&self) -> usize {
        if self.has("v2") {
            2
        } else if self.has("v4") {
            4
        } else {
            1
        }
    }

    /// Bits and prefix of the registers.
    fn register(&self) -> (u32, &'static str) {
        match self.bits() {
            8 | 16 => (16, "%h"),
            32 => (32, "%r"),
            _ => (64, "%d"),
        }
    }

    fn registers(&self) -> String {
        let (_, prefix) = self.register();
        let list: Vec<String> = (1..=self.count()).map(|index| format!("{prefix}{index}")).collect();
        if self.count() == 1 { list[0].clone() } else { format!("{{{}}}", list.join(", ")) }
    }

    /// Where the bytes are.
    fn base(&self, store: bool) -> &'static str {
        match () {
            () if self.has("shared") || self.has("shared::cta") => "tile",
            () if self.has("local") => "stack",
            () if self.has("const") => "table",
            () if self.has("param") => {
                if store {
                    "formal"
                } else {
                    "p2"
                }
            }
            () => {
                if store {
                    "%out"
                } else {
                    "%in"
                }
            }
        }
    }

    fn policy(&self) -> &'static str {
        if self.has("L2::cache_hint") { ", %d13" } else { "" }
    }
}

/// Bits of an element of [`DATA`].
fn element(bits: u32, index: usize) -> u64 {
    let all = u128::from(DATA[0]) | u128::from(DATA[1]) << 64;
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    (all >> (bits as usize * index)) as u64 & mask
}

#[test]
fn every_load_gives_what_is_there_extended_to_its_register() {
    let mut cases = Vec::new();
    for name in names("Memory").iter().filter(|name| name.starts_with("ld")) {
        let access = Access::of(name);
        if !access.is_run() {
            continue;
        }
        let ((register_bits, prefix), bits) = (access.register(), access.bits());
        let mut body = format!("{name} {}, [{}]{};", access.registers(), access.base(false), access.policy());
        let mut left = Vec::new();
        for index in 0..access.count() {
            let _ = write!(body, " st.global.b{register_bits} [%out+{}], {prefix}{};", 8 * index, index + 1);
            let value = element(bits, index);
            let signed = access.ty().starts_with('s') && bits < register_bits;
            let extended = if signed { ((value << (64 - bits)) as i64 >> (64 - bits)) as u64 } else { value };
            left.push(extended & (u64::MAX >> (64 - register_bits)));
        }
        cases.push(Case { name: name.clone(), body, left });
    }
    assert!(cases.len() > 1500, "{}", cases.len());
    run(&cases);
}

#[test]
fn every_store_leaves_its_elements_and_nothing_else() {
    let mut cases = Vec::new();
    for name in names("Memory").iter().filter(|name| name.starts_with("st.")) {
        let access = Access::of(name);
        if !access.is_run() {
            continue;
        }
        let ((register_bits, prefix), bits) = (access.register(), access.bits());
        let (base, count) = (access.base(true), access.count());
        let space = match base {
            "tile" => "shared",
            "stack" => "local",
            "formal" => "param",
            _ => "global",
        };
        // Zeros, the elements from their registers, then all 16 bytes.
        let mut body = String::from("mov.u64 %d9, 0;");
        let _ = write!(body, " st.{space}.v2.u64 [{base}], {{%d9, %d9}};");
        for index in 0..count {
            let offset = index as u32 * bits / 8;
            let load = if bits == 8 { "u8".to_owned() } else { format!("b{register_bits}") };
            let _ = write!(body, " ld.global.{load} {prefix}{}, [%in+{offset}];", index + 1);
        }
        let _ = write!(body, " {name} [{base}], {}{};", access.registers(), access.policy());
        // What a call is given only the callee reads.
        let base = match base {
            "formal" => {
                body += " call.uni (back), same, (formal);";
                "back"
            }
            base => base,
        };
        let _ = write!(
            body,
            " ld.{space}.v2.u64 {{%d10, %d11}}, [{base}]; st.global.v2.u64 [%out], {{%d10, %d11}};"
        );
        let all =
            (0..count).map(|index| u128::from(element(bits, index)) << (bits as usize * index)).sum::<u128>();
        cases.push(Case { name: name.clone(), body, left: vec![all as u64, (all >> 64) as u64] });
    }
    assert!(cases.len() > 1200, "{}", cases.len());
    run(&cases);
}

/// What an atomic leaves of what was there.
fn combined(operation: &str, ty: &str, old: u64, b: u64, c: u64) -> u64 {
    if let Some(ty) = integer(&ty.replace('b', "u")) {
        let (x, y) = (ty.number(old), ty.number(b));
        let number = match operation {
            "add" => x + y,
            "and" => x & y,
            "or" => x | y,
            "xor" => x ^ y,
            "min" => x.min(y),
            "max" => x.max(y),
            "inc" => {
                if x >= y {
                    0
                } else {
                    x + 1
                }
            }
            "dec" => {
                if x == 0 || x > y {
                    y
                } else {
                    x - 1
                }
            }
            "exch" => y,
            "cas" => {
                if x == y {
                    ty.number(c)
                } else {
                    x
                }
            }
            _ => panic!("no {operation}"),
        };
        return super::integers::cut(number, ty.bits);
    }
    let half = |sum: fn(u16, u16) -> u16| u64::from(sum(old as u16, b as u16));
    let halves = |sum: fn(u16, u16) -> u16| {
        u64::from(sum(old as u16, b as u16)) | u64::from(sum((old >> 16) as u16, (b >> 16) as u16)) << 16
    };
    let f16_sum = |a, b| f16::from_f32(f16::from_bits(a).to_f32() + f16::from_bits(b).to_f32()).to_bits();
    let bf16_sum = |a, b| bf16::from_f32(bf16::from_bits(a).to_f32() + bf16::from_bits(b).to_f32()).to_bits();
    match ty {
        "f32" => u64::from((f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits()),
        "f64" => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        "f16" => half(f16_sum),
        "bf16" => half(bf16_sum),
        "f16x2" => halves(f16_sum),
        _ => halves(bf16_sum),
    }
}

/// A number that may stand there, floats small enough that sums are exact.
fn operand(ty: &str, random: &mut Random) -> u64 {
    let bits = random.next();
    let small = (bits % 64) as f32;
    let f16_bits = u64::from(f16::from_f32(small).to_bits());
    let bf16_bits = u64::from(bf16::from_f32(small).to_bits());
    match ty {
        "f32" => u64::from(small.to_bits()),
        "f64" => f64::from(small).to_bits(),
        "f16" => f16_bits,
        "f16x2" => f16_bits | 0x4200 << 16,
        "bf16" => bf16_bits,
        "bf16x2" => bf16_bits | 0x4040 << 16,
        // Few different ones, so that compared ones are equal now and then, some of them below 0.
        ty => {
            let few = bits >> 62;
            (if bits & 1 == 0 { few } else { few.wrapping_neg() }) & (u64::MAX >> (64 - width(ty)))
        }
    }
}

fn width(ty: &str) -> u32 {
    match ty {
        "f16x2" | "bf16x2" => 32,
        ty => ty.trim_start_matches(char::is_alphabetic).parse().unwrap(),
    }
}

#[test]
fn every_atomic_gives_the_old_value_and_leaves_the_new() {
    let mut random = Random(11);
    let mut cases = Vec::new();
    for name in names("Memory").iter().filter(|name| name.starts_with("atom") || name.starts_with("red")) {
        let access = Access::of(name);
        let ty = access.ty();
        let operation = access.words[1..].iter().find(|word| {
            matches!(**word, "add" | "and" | "or" | "xor" | "min" | "max" | "inc" | "dec" | "exch" | "cas")
        });
        let operation = operation.unwrap();
        let bits = width(ty);
        let prefix = ["%h", "%r", "%d"][bits.ilog2() as usize - 4];
        let (base, space) =
            if access.base(true) == "tile" { ("tile", "shared") } else { ("%out+16", "global") };
        let [old, b, c] = [0; 3].map(|_| operand(ty, &mut random));
        let mut body = String::new();
        for (index, value) in [old, b, c].iter().enumerate() {
            let _ = write!(body, "mov.b{bits} {prefix}{}, {value:#x}; ", index + 1);
        }
        let returns = access.words[0] == "atom";
        let result = if returns { format!("{prefix}4, ") } else { String::new() };
        let third = if *operation == "cas" { format!(", {prefix}3") } else { String::new() };
        let _ = write!(
            body,
            "st.{space}.b{bits} [{base}], {prefix}1; {name} {result}[{base}], {prefix}2{third}; ld.{space}.b{bits} {prefix}5, [{base}]; \
             st.global.b{bits} [%out], {prefix}5;"
        );
        let mut left = vec![combined(operation, ty, old, b, c)];
        if returns {
            let _ = write!(body, " st.global.b{bits} [%out+8], {prefix}4;");
            left.push(old);
        }
        cases.push(Case { name: name.clone(), body, left });
    }
    assert!(cases.len() > 3000, "{}", cases.len());
    run(&cases);
}

/// The manual: `mov.u64 d, A[5]` is the address of A[5], `ld` and `st` take an element as their address. An element is of the array's
/// basic type, of arrays of vectors and of several dimensions too, which is how ptxas 13.0 assembles each of these.
#[test]
fn elements_of_arrays_have_addresses() {
    let mut cases = Vec::new();
    for (ty, declared, index, byte) in [
        (".b8", "[64]", 0, 0),
        (".b8", "[64]", 5, 5),
        (".b16", "[32]", 3, 6),
        (".b32", "[16]", 5, 20),
        (".b32", "[16]", -1, -4),
        (".b64", "[8]", 7, 56),
        (".v4 .f32", "[4]", 1, 4),
        (".b32", "[2][8]", 9, 36),
    ] {
        for space in ["shared", "local"] {
            let body = format!(
                ".{space} .align 16 {ty} array{declared}; mov.u64 %d1, array[{index}]; mov.u64 %d2, array; sub.s64 %d3, %d1, %d2;\n\
                 st.global.u64 [%out], %d3;"
            );
            let name = format!("mov.u64 of {space} {ty} {declared}");
            cases.push(Case { name, body, left: vec![i64::from(byte) as u64] });
        }
    }
    for (array, bytes) in [("asked", 4), ("kept", 2), ("table", 8)] {
        let body = format!(
            "mov.u64 %d1, {array}[3]; mov.u64 %d2, {array}; sub.s64 %d3, %d1, %d2; st.global.u64 [%out], %d3;"
        );
        cases.push(Case { name: format!("mov.u64 of {array}"), body, left: vec![3 * bytes] });
    }
    for space in ["shared", "local"] {
        let body = format!(
            ".{space} .align 16 .b32 array[4]; mov.u32 %r1, 77; st.{space}.u32 array[2], %r1; mov.u32 %r2, array; mov.u32 %r3, array[2];\n\
             sub.u32 %r4, %r3, %r2; ld.{space}.u32 %r5, [%r3]; ld.{space}.u32 %r6, array[2]; st.global.u32 [%out], %r4;\n\
             st.global.u32 [%out+4], %r5; st.global.u32 [%out+8], %r6;"
        );
        cases.push(Case { name: format!("{space} array[2]"), body, left: vec![77 << 32 | 8, 77] });
    }
    let body = "mov.u64 %d1, table[1]; ld.const.u64 %d2, [%d1]; ld.const.u64 %d3, table[1]; st.global.u64 [%out], %d2; \
                st.global.u64 [%out+8], %d3;";
    cases.push(Case { name: "const table[1]".into(), body: body.into(), left: vec![DATA[1]; 2] });
    run(&cases);
}

#[test]
fn addresses_go_between_spaces_and_back() {
    let symbols = [
        ("global", "%in"),
        ("shared", "tile"),
        ("shared::cta", "tile"),
        ("local", "stack"),
        ("const", "table"),
        ("param", "p2"),
    ];
    let mut cases = Vec::new();
    for (space, symbol) in symbols {
        let body = format!(
            "mov.u64 %d1, {symbol}; cvta.{space}.u64 %d2, %d1; cvta.to.{space}.u64 %d3, %d2; ld.u64 %d4, [%d2]; ld.{space}.u64 %d5, [%d3];\n\
             st.global.u64 [%out], %d4; st.global.u64 [%out+8], %d5;"
        );
        cases.push(Case { name: format!("cvta.{space}"), body, left: vec![DATA[0]; 2] });
        // The manual leaves open whether parameters are constants.
        for (other, _) in symbols.iter().filter(|(other, _)| (space, *other) != ("param", "const")) {
            let body = format!(
                "mov.u64 %d1, {symbol}; cvta.{space}.u64 %d2, %d1; isspacep.{other} %p1, %d2; selp.u32 %r1, 1, 0, %p1; st.global.u32 [%out], %r1;"
            );
            let place = |space: &'static str| space.split("::").next().unwrap_or_default();
            // The manual: parameters are within global memory.
            let same = place(space) == place(other) || (space, *other) == ("param", "global");
            cases.push(Case {
                name: format!("isspacep.{other} of {space}"),
                body,
                left: vec![u64::from(same)],
            });
        }
    }
    run(&cases);
}
