//! `mma.sync` and `ldmatrix`, with the manual's formulas for which lane has which element. Matrices hold small integers, so
//! that every sum is exact in whatever order it is done.

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
    d: String,
    /// Registers of A, B and C for each lane.
    registers: [usize; 3],
}

/// Those of the table.
fn shapes() -> Vec<Shape> {
    let names = names("Matrices").into_iter().filter(|name| name.starts_with("mma."));
    names
        .map(|name| {
            let words: Vec<&str> = name.split('.').collect();
            let sizes: Vec<usize> =
                words[3].split(['m', 'n', 'k']).filter_map(|size| size.parse().ok()).collect();
            let [m, n, k] = sizes[..] else { panic!("{name}") };
            let [d, a, b, c] = words[words.len() - 4..] else { panic!("{name}") };
            assert_eq!(d, c);
            let registers = |elements: usize, ty: &str| {
                let (_, bits) = encoded(ty, 0);
                elements / 32 * bits / if ty == "f64" { 64 } else { 32 }
            };
            Shape {
                registers: [registers(m * k, a), registers(k * n, b), registers(m * n, d)],
                a: a.to_owned(),
                b: b.to_owned(),
                d: d.to_owned(),
                text: name,
                m,
                n,
                k,
            }
        })
        .collect()
}

/// Row and column of the manual for the element `i` of a lane's A.
fn place_a(shape: &Shape, lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    match (shape.a.as_str(), shape.m, shape.k) {
        ("f16" | "bf16", _, 16) => {
            let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
            let column = thread * 2 + (i & 1) + if i < 4 { 0 } else { 8 };
            (row, column)
        }
        ("f16" | "bf16", ..) => (if i < 2 { group } else { group + 8 }, thread * 2 + (i & 1)),
        ("tf32", _, 8) => {
            (if i == 0 || i == 2 { group } else { group + 8 }, if i < 2 { thread } else { thread + 4 })
        }
        ("tf32", ..) => (if i == 0 { group } else { group + 8 }, thread),
        ("s8" | "u8", 16, 32) => {
            let row = if i < 4 || (8..12).contains(&i) { group } else { group + 8 };
            let column = thread * 4 + (i & 3) + if i < 8 { 0 } else { 16 };
            (row, column)
        }
        ("s8" | "u8", 16, _) => (if i < 4 { group } else { group + 8 }, thread * 4 + (i & 3)),
        ("s8" | "u8", ..) => (group, thread * 4 + i),
        _ => (group, thread),
    }
}

fn place_b(shape: &Shape, lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    let row = match (shape.a.as_str(), shape.k) {
        ("f16" | "bf16", _) => thread * 2 + (i & 1) + if i < 2 { 0 } else { 8 },
        ("tf32", _) => {
            if i == 0 {
                thread
            } else {
                thread + 4
            }
        }
        ("s8" | "u8", _) => thread * 4 + (i & 3) + if i < 4 { 0 } else { 16 },
        _ => thread,
    };
    (row, group)
}

fn place_c(lane: usize, i: usize) -> (usize, usize) {
    (if i < 2 { lane >> 2 } else { (lane >> 2) + 8 }, lane % 4 * 2 + (i & 1))
}

/// Bits of a number in an element's type, and how many.
fn encoded(ty: &str, value: i64) -> (u64, usize) {
    match ty {
        "f16" => (u64::from(f16::from_f64(value as f64).to_bits()), 16),
        "bf16" => (u64::from(bf16::from_f64(value as f64).to_bits()), 16),
        "tf32" | "f32" => (u64::from((value as f32).to_bits()), 32),
        "f64" => ((value as f64).to_bits(), 64),
        "s8" | "u8" => (value as u64 & 0xff, 8),
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

fn product(shape: &Shape, a: &[Vec<i64>], b: &[Vec<i64>], c: &[Vec<i64>]) -> Vec<Vec<i64>> {
    (0..shape.m)
        .map(|i| {
            (0..shape.n)
                .map(|j| {
                    let sum = (0..shape.k).map(|k| a[i][k] * b[k][j]).sum::<i64>() + c[i][j];
                    // Without it, what is beyond 32 bits is cut off where the sum is encoded.
                    if shape.text.contains("satfinite") {
                        sum.clamp(i32::MIN.into(), i32::MAX.into())
                    } else {
                        sum
                    }
                })
                .collect()
        })
        .collect()
}

#[test]
fn products_of_every_shape() {
    let mut random = Random(17);
    for shape in &shapes() {
        for round in 0..4 {
            let mut matrix = |rows: usize, columns: usize, from: i64, to: i64| -> Vec<Vec<i64>> {
                let mut number = || from + (random.next() % (to - from + 1) as u64) as i64;
                (0..rows).map(|_| (0..columns).map(|_| number()).collect()).collect()
            };
            let range = |ty: &str| match ty {
                "u8" => (0, 255),
                "s8" => (-128, 127),
                _ => (-8, 8),
            };
            let ((a_from, a_to), (b_from, b_to)) = (range(&shape.a), range(&shape.b));
            let a = matrix(shape.m, shape.k, a_from, a_to);
            let b = matrix(shape.k, shape.n, b_from, b_to);
            // Near the end of the range, where sums stop or go over.
            let high = shape.d == "s32" && round % 2 == 1;
            let c = if high {
                matrix(shape.m, shape.n, 0x7fff_0000, 0x7fff_ffff)
            } else {
                matrix(shape.m, shape.n, -64, 64)
            };
            let expected = product(shape, &a, &b, &c);
            let got = run(shape, &a, &b, &c);
            assert_eq!(got.len(), 32);
            for (lane, got) in got.iter().enumerate() {
                let wanted = fragment(&shape.d, shape.registers[2], |i| {
                    let (row, column) = place_c(lane, i);
                    expected[row][column]
                });
                assert_eq!(*got, wanted, "{} lane {lane}", shape.text);
            }
        }
    }
}

fn run(shape: &Shape, a: &[Vec<i64>], b: &[Vec<i64>], c: &[Vec<i64>]) -> Vec<Vec<u64>> {
    let [a_count, b_count, c_count] = shape.registers;
    let all = a_count + b_count + c_count;
    let mut input = Vec::new();
    for lane in 0..32 {
        let pick = |matrix: &[Vec<i64>], (row, column): (usize, usize)| matrix[row][column];
        input.extend(fragment(&shape.a, a_count, |i| pick(a, place_a(shape, lane, i))));
        input.extend(fragment(&shape.b, b_count, |i| pick(b, place_b(shape, lane, i))));
        input.extend(fragment(&shape.d, c_count, |i| pick(c, place_c(lane, i))));
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
        list(all, c_count),
        list(0, a_count),
        list(a_count, b_count),
        list(a_count + b_count, c_count)
    );
    for index in 0..c_count {
        body += &format!("st.global.{ty} [%out+{}], {};\n", 8 * index, name(all + index));
    }
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 pin, .param .u64 pout) {{\n.reg .b64 %in, %out, %rd<32>; .reg .b32 %t, %r<32>;\n\
         ld.param.u64 %in, [pin]; ld.param.u64 %out, [pout]; mov.u32 %t, %tid.x; mad.wide.u32 %in, %t, {}, %in; mad.wide.u32 %out, %t, {}, %out;\n{body}ret;\n}}",
        8 * all,
        8 * c_count
    );
    let left: Vec<u64> = same_on_each(Emulator::builder(), &shape.text, |program| {
        let kernel = program.kernel(&text, "k");
        let (source, out) = (program.upload(&input), program.upload(&vec![0u64; 32 * c_count]));
        program.launch(kernel, 1, 32, &mut [source.0, out.0]);
        program.download(out, 32 * c_count)
    });
    left.chunks(c_count).map(<[u64]>::to_vec).collect()
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
