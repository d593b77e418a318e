//! `mma.sync`, `ldmatrix` and `movmatrix`, with the manual's formulas for which lane has which element. Matrices hold small
//! integers, so that every sum is exact in whatever order it is done.

use half::{bf16, f16};
use tinyllm_emulator::Emulator;

use super::{
    harness::{HEADER, Random},
    names,
};
use crate::program::same_on_each;

/// A form of `mma.sync`.
struct Shape {
    text: String,
    m: usize,
    n: usize,
    k: usize,
    a: String,
    b: String,
    c: String,
    d: String,
    /// Products that it makes at once.
    products: usize,
    /// Registers of A, B, C and D for each lane.
    registers: [usize; 4],
}

pub(super) type Matrix = Vec<Vec<i64>>;

/// Those of the table.
fn shapes() -> Vec<Shape> {
    let names = names("Matrices").into_iter().filter(|name| name.starts_with("mma."));
    names
        .map(|name| {
            let words: Vec<&str> = name.split('.').collect();
            let sizes: Vec<usize> =
                words[3].split(['m', 'n', 'k']).filter_map(|size| size.parse().ok()).collect();
            let [m, n, k] = sizes[..] else { panic!("{name}") };
            let types: Vec<&str> = words.iter().copied().filter(|word| has_type(word)).collect();
            let [d, a, b, c] = types[..] else { panic!("{name}") };
            // "4 MMA operations are done" by the quad pairs of the old shape.
            let products = if (m, k, a) == (8, 4, "f16") { 4 } else { 1 };
            let registers = |elements: usize, ty: &str| {
                let (_, bits) = encoded(ty, 0);
                products * elements / 32 * bits / if ty == "f64" { 64 } else { 32 }
            };
            Shape {
                registers: [
                    registers(m * k, a),
                    registers(k * n, b),
                    registers(m * n, c),
                    registers(m * n, d),
                ],
                a: a.to_owned(),
                b: b.to_owned(),
                c: c.to_owned(),
                d: d.to_owned(),
                text: name,
                m,
                n,
                k,
                products,
            }
        })
        .collect()
}

/// Whether a word is an element's type.
pub(super) fn has_type(word: &str) -> bool {
    ["f16", "bf16", "tf32", "f32", "f64", "s8", "u8", "s4", "u4", "b1", "s32"].contains(&word)
}

/// Row and column of the manual for the element `i` of a lane's A.
fn place_a(shape: &Shape, lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    let lower = |first: bool| if first { group } else { group + 8 };
    match (shape.a.as_str(), shape.m, shape.k) {
        ("f16", 8, 4) if shape.text.contains("k4.row") => (if lane < 16 { thread } else { thread + 4 }, i),
        ("f16", 8, 4) => (if lane < 16 { i % 4 } else { i % 4 + 4 }, thread),
        ("f16" | "bf16", _, 16) => {
            (lower(i < 2 || (4..6).contains(&i)), thread * 2 + (i & 1) + if i < 4 { 0 } else { 8 })
        }
        ("f16" | "bf16", ..) => (lower(i < 2), thread * 2 + (i & 1)),
        ("tf32", _, 8) => (lower(i == 0 || i == 2), if i < 2 { thread } else { thread + 4 }),
        ("tf32", ..) => (lower(i == 0), thread),
        ("s8" | "u8", 16, 32) => {
            (lower(i < 4 || (8..12).contains(&i)), thread * 4 + (i & 3) + if i < 8 { 0 } else { 16 })
        }
        ("s8" | "u8", 16, _) => (lower(i < 4), thread * 4 + (i & 3)),
        ("s8" | "u8", ..) => (group, thread * 4 + i),
        ("s4" | "u4", 16, 64) => {
            (lower(i < 8 || (16..24).contains(&i)), thread * 8 + (i & 7) + if i < 16 { 0 } else { 32 })
        }
        ("s4" | "u4", 16, _) => (lower(i < 8), thread * 8 + (i & 7)),
        ("s4" | "u4", ..) => (group, thread * 8 + i),
        ("b1", 16, 256) => {
            (lower(i < 32 || (64..96).contains(&i)), thread * 32 + (i & 31) + if i < 64 { 0 } else { 128 })
        }
        ("b1", 16, _) => (lower(i < 32), thread * 32 + (i & 31)),
        ("b1", ..) => (group, thread * 32 + i),
        _ => (group, thread),
    }
}

fn place_b(shape: &Shape, lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    let row = match (shape.a.as_str(), shape.k) {
        ("f16", 4) if shape.text.contains("row.row") || shape.text.contains("col.row") => {
            return (thread, if lane < 16 { i } else { i + 4 });
        }
        ("f16", 4) => return (i, if lane < 16 { thread } else { thread + 4 }),
        ("f16" | "bf16", _) => thread * 2 + (i & 1) + if i < 2 { 0 } else { 8 },
        ("tf32", _) => {
            if i == 0 {
                thread
            } else {
                thread + 4
            }
        }
        ("s8" | "u8", _) => thread * 4 + (i & 3) + if i < 4 { 0 } else { 16 },
        ("s4" | "u4", _) => thread * 8 + (i & 7) + if i < 8 { 0 } else { 32 },
        ("b1", _) => thread * 32 + (i & 31) + if i < 32 { 0 } else { 128 },
        _ => thread,
    };
    (row, group)
}

fn place_c(shape: &Shape, ty: &str, lane: usize, i: usize) -> (usize, usize) {
    if shape.products == 1 {
        return (if i < 2 { lane >> 2 } else { (lane >> 2) + 8 }, lane % 4 * 2 + (i & 1));
    }
    if ty == "f16" {
        return (if lane < 16 { lane % 4 } else { lane % 4 + 4 }, i);
    }
    let x = (lane & 0b1) + (i & 0b10);
    (if lane < 16 { x } else { x + 4 }, (i & 0b100) + (lane & 0b10) + (i & 0b1))
}

/// Bits of a number in an element's type, and how many.
pub(super) fn encoded(ty: &str, value: i64) -> (u64, usize) {
    match ty {
        "f16" => (u64::from(f16::from_f64(value as f64).to_bits()), 16),
        "bf16" => (u64::from(bf16::from_f64(value as f64).to_bits()), 16),
        "tf32" | "f32" => (u64::from((value as f32).to_bits()), 32),
        "f64" => ((value as f64).to_bits(), 64),
        "s8" | "u8" => (value as u64 & 0xff, 8),
        "s4" | "u4" => (value as u64 & 0xf, 4),
        "b1" => (value as u64 & 1, 1),
        _ => (value as u64 & 0xffff_ffff, 32),
    }
}

/// A lane's registers: elements packed from the lowest bits up.
fn fragment(ty: &str, registers: usize, element: impl Fn(usize) -> i64) -> Vec<u64> {
    let (_, bits) = encoded(ty, 0);
    let register_bits = if ty == "f64" { 64 } else { 32 };
    let per_register = register_bits / bits;
    (0..registers)
        .map(|register| {
            (0..per_register)
                .map(|index| encoded(ty, element(register * per_register + index)).0 << (bits * index))
                .sum()
        })
        .collect()
}

/// The product that an instruction asks for.
pub(super) fn product(text: &str, a: &Matrix, b: &Matrix, c: &Matrix) -> Matrix {
    let times = |(a, b): (&i64, i64)| if text.contains(".xor") { a ^ b } else { a * b };
    let sum = |i: usize, j: usize| {
        let sum = a[i].iter().zip(b.iter().map(|row| row[j])).map(times).sum::<i64>() + c[i][j];
        // Without it, what is beyond 32 bits is cut off where the sum is encoded.
        if text.contains("satfinite") { sum.clamp(i32::MIN.into(), i32::MAX.into()) } else { sum }
    };
    (0..a.len()).map(|i| (0..b[0].len()).map(|j| sum(i, j)).collect()).collect()
}

/// A matrix of numbers that its type has.
pub(super) fn matrix(random: &mut Random, rows: usize, columns: usize, (from, to): (i64, i64)) -> Matrix {
    let mut number = || from + (random.next() % (to - from + 1) as u64) as i64;
    (0..rows).map(|_| (0..columns).map(|_| number()).collect()).collect()
}

/// Numbers of C. Where sums of doubles are rounded down, an exact 0 is -0: odd numbers and products of even ones have
/// no such sum.
pub(super) fn addends(
    random: &mut Random,
    rows: usize,
    columns: usize,
    ty: &str,
    range: (i64, i64),
) -> Matrix {
    let mut matrix = matrix(random, rows, columns, range);
    let odd = |number: &mut i64| *number |= i64::from(ty == "f64");
    matrix.iter_mut().flatten().for_each(odd);
    matrix
}

/// Numbers of a type of A and B; of floats those whose sums are exact.
pub(super) fn range(ty: &str) -> (i64, i64) {
    match ty {
        "u8" => (0, 255),
        "s8" => (-128, 127),
        "u4" => (0, 15),
        "s4" => (-8, 7),
        "b1" => (0, 1),
        _ => (-8, 8),
    }
}

#[test]
fn products_of_every_shape() {
    let mut random = Random(17);
    for shape in &shapes() {
        for round in 0..4 {
            let products = 0..shape.products;
            let mut several = |rows: usize, columns: usize, range: (i64, i64)| -> Vec<Matrix> {
                products.clone().map(|_| matrix(&mut random, rows, columns, range)).collect()
            };
            let mut a = several(shape.m, shape.k, range(&shape.a));
            let b = several(shape.k, shape.n, range(&shape.b));
            if shape.a == "f64" {
                a.iter_mut().flatten().flatten().for_each(|number| *number *= 2);
            }
            // Near the end of the range, where sums stop or go over.
            let high = shape.d == "s32" && round % 2 == 1;
            let of_c = if high { (0x7fff_0000, 0x7fff_ffff) } else { (-64, 64) };
            let c: Vec<Matrix> =
                products.map(|_| addends(&mut random, shape.m, shape.n, &shape.c, of_c)).collect();
            let expected: Vec<Matrix> = (0..shape.products)
                .map(|index| product(&shape.text, &a[index], &b[index], &c[index]))
                .collect();
            let got = run(shape, &a, &b, &c);
            assert_eq!(got.len(), 32);
            for (lane, got) in got.iter().enumerate() {
                let wanted = fragment(&shape.d, shape.registers[3], |i| {
                    let (row, column) = place_c(shape, &shape.d, lane, i);
                    expected[product_of(shape, lane)][row][column]
                });
                assert_eq!(*got, wanted, "{} lane {lane}", shape.text);
            }
        }
    }
}

/// The product that a lane takes part in: that of lanes 0 to 3 and 16 to 19, 4 to 7 and 20 to 23, and so on.
fn product_of(shape: &Shape, lane: usize) -> usize {
    lane % 16 / 4 % shape.products
}

fn run(shape: &Shape, a: &[Matrix], b: &[Matrix], c: &[Matrix]) -> Vec<Vec<u64>> {
    let [a_count, b_count, c_count, d_count] = shape.registers;
    let all = a_count + b_count + c_count;
    let mut input = Vec::new();
    for lane in 0..32 {
        let pick = |all: &[Matrix], (row, column): (usize, usize)| all[product_of(shape, lane)][row][column];
        input.extend(fragment(&shape.a, a_count, |i| pick(a, place_a(shape, lane, i))));
        input.extend(fragment(&shape.b, b_count, |i| pick(b, place_b(shape, lane, i))));
        input.extend(fragment(&shape.c, c_count, |i| pick(c, place_c(shape, &shape.c, lane, i))));
    }
    let wide = shape.a == "f64";
    let (register, ty) = if wide { ("%rd", "b64") } else { ("%r", "b32") };
    let name = |index: usize| format!("{register}{}", index + 1);
    let list = |from: usize, count: usize| {
        let names: Vec<String> = (from..from + count).map(name).collect();
        format!("{{{}}}", names.join(", "))
    };
    let mut body = String::new();
    for index in 0..all {
        body += &format!("ld.global.{ty} {}, [%in+{}];\n", name(index), 8 * index);
    }
    body += &format!(
        "{} {}, {}, {}, {};\n",
        shape.text,
        list(all, d_count),
        list(0, a_count),
        list(a_count, b_count),
        list(a_count + b_count, c_count)
    );
    for index in 0..d_count {
        body += &format!("st.global.{ty} [%out+{}], {};\n", 8 * index, name(all + index));
    }
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 pin, .param .u64 pout) {{\n.reg .b64 %in, %out, %rd<40>; .reg .b32 %t, %r<40>;\n\
         ld.param.u64 %in, [pin]; ld.param.u64 %out, [pout]; mov.u32 %t, %tid.x; mad.wide.u32 %in, %t, {}, %in; mad.wide.u32 %out, %t, {}, %out;\n{body}ret;\n}}",
        8 * all,
        8 * d_count
    );
    let left: Vec<u64> = same_on_each(Emulator::builder(), &shape.text, |program| {
        let kernel = program.kernel(&text, "k");
        let (source, out) = (program.upload(&input), program.upload(&vec![0u64; 32 * d_count]));
        program.launch(kernel, 1, 32, &mut [source.0, out.0]);
        program.download(out, 32 * d_count)
    });
    left.chunks(d_count).map(<[u64]>::to_vec).collect()
}

#[test]
fn sums_of_doubles_are_rounded_as_asked() {
    // 1 + 2^-60 is no double; the next above 1 is 1 + 2^-52, and the next below -1 is its negative.
    let above = 1.0 + f64::EPSILON;
    for (rounding, sign, expected) in [
        ("rn", 1.0f64, 1.0),
        ("rz", 1.0, 1.0),
        ("rm", 1.0, 1.0),
        ("rp", 1.0, above),
        ("rz", -1.0, -1.0),
        ("rm", -1.0, -above),
        ("rp", -1.0, -1.0),
    ] {
        let text = format!(
            "{HEADER}.visible .entry k(.param .u64 pin, .param .u64 pout) {{\n.reg .b64 %out, %a, %b, %c, %d<2>; .reg .b32 %t, %u; .reg .pred %p;\n\
             ld.param.u64 %out, [pout]; mov.u32 %t, %tid.x; mad.wide.u32 %out, %t, 16, %out;\n\
             and.b32 %u, %t, 3; setp.eq.u32 %p, %u, 0; mov.b64 %c, 0d{:016x};\n\
             selp.b64 %a, 0d{:016x}, 0, %p; selp.b64 %b, 0d3ff0000000000000, 0, %p;\n\
             mma.sync.aligned.m8n8k4.row.col.{rounding}.f64.f64.f64.f64 {{%d0, %d1}}, {{%a}}, {{%b}}, {{%c, %c}};\n\
             st.global.v2.b64 [%out], {{%d0, %d1}}; ret;\n}}",
            sign.to_bits(),
            (sign * 2f64.powi(-60)).to_bits(),
        );
        let left: Vec<f64> = same_on_each(Emulator::builder(), rounding, |program| {
            let kernel = program.kernel(&text, "k");
            let out = program.upload(&[0f64; 64]);
            program.launch(kernel, 1, 32, &mut [0, out.0]);
            program.download(out, 64)
        });
        assert_eq!(left, [expected; 64], "{rounding} {sign}");
    }
}

#[test]
fn matrices_are_transposed_between_lanes() {
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 pin, .param .u64 pout) {{\n.reg .b64 %in, %out; .reg .b32 %t, %r<2>;\n\
         ld.param.u64 %in, [pin]; ld.param.u64 %out, [pout]; mov.u32 %t, %tid.x;\n\
         mad.wide.u32 %in, %t, 4, %in; mad.wide.u32 %out, %t, 4, %out; ld.global.b32 %r0, [%in];\n\
         movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r0;\n st.global.b32 [%out], %r1; ret;\n}}"
    );
    // Lane l has elements 2 (l % 4) and the next of row l / 4, of the matrix and of its transpose.
    let elements: Vec<u16> = (0..64).map(|element| element * 1021).collect();
    let left: Vec<u16> = same_on_each(Emulator::builder(), "movmatrix", |program| {
        let kernel = program.kernel(&text, "k");
        let (source, out) = (program.upload(&elements), program.upload(&[0u16; 64]));
        program.launch(kernel, 1, 32, &mut [source.0, out.0]);
        program.download(out, 64)
    });
    let transposed: Vec<u16> = (0..64).map(|index| elements[index % 8 * 8 + index / 8]).collect();
    assert_eq!(left, transposed);
}

#[test]
fn matrices_from_shared_memory() {
    // Four matrices of 8 x 8, each element its own number.
    let elements: Vec<u16> = (0..256).collect();
    for name in names("Matrices").iter().filter(|name| name.starts_with("ldmatrix.")) {
        let count = [1, 2, 4].into_iter().find(|count| name.contains(&format!(".x{count}"))).unwrap();
        let transposed = name.contains(".trans");
        let registers: Vec<String> = (0..count).map(|index| format!("%r{}", index + 1)).collect();
        // Without a state space, by a generic address.
        let generic = !name.contains("shared");
        let address = if generic { "%rd3" } else { "%row" };
        let mut body = String::from("cvt.u64.u32 %rd3, %row; cvta.shared.u64 %rd3, %rd3;\n");
        body += &format!("{name} {{{}}}, [{address}];\n", registers.join(", "));
        for index in 0..count {
            body += &format!("st.global.u32 [%out+{}], %r{};\n", 4 * index, index + 1);
        }
        let text = format!(
            "{HEADER}.visible .entry k(.param .u64 pin, .param .u64 pout) {{\n.reg .b64 %in, %out, %rd<4>; .reg .b32 %t, %row, %r<8>;\n\
             .shared .align 16 .b8 tile[512]; ld.param.u64 %in, [pin]; ld.param.u64 %out, [pout]; mov.u32 %t, %tid.x;\n\
             mad.wide.u32 %in, %t, 16, %in; mad.wide.u32 %out, %t, 16, %out; mov.u32 %row, tile; mad.lo.u32 %row, %t, 16, %row;\n\
             ld.global.v2.u64 {{%rd1, %rd2}}, [%in]; st.shared.v2.u64 [%row], {{%rd1, %rd2}}; bar.sync 0;\n{body}ret;\n}}"
        );
        let left: Vec<u32> = same_on_each(Emulator::builder(), name, |program| {
            let kernel = program.kernel(&text, "k");
            let (source, out) = (program.upload(&elements), program.upload(&[0u32; 128]));
            program.launch(kernel, 1, 32, &mut [source.0, out.0]);
            program.download(out, 128)
        });
        for lane in 0..32 {
            for matrix in 0..count {
                // Lane l has elements 2 (l % 4) and the next of row l / 4, or of column l / 4 where transposed.
                let element = |index: usize| {
                    let (row, column) = (lane / 4, lane % 4 * 2 + index);
                    let (row, column) = if transposed { (column, row) } else { (row, column) };
                    u32::from(elements[matrix * 64 + row * 8 + column])
                };
                assert_eq!(left[lane * 4 + matrix], element(0) | element(1) << 16, "{name} lane {lane}");
            }
        }
    }
}
