//! That ptxas takes every form of the table, for the target that the table says, where `TINYLLM_PTXAS` names one.

use std::{ffi::OsStr, fmt::Write, fs, path::Path, process::Command};

use tinyllm_emulator::forms::SECTIONS;

use super::matrices::has_type;

/// Bits of the register that holds a type.
fn register_bits(ty: &str) -> Option<u32> {
    Some(match ty {
        "pred" => 1,
        "f16" | "bf16" | "b8" | "u8" | "s8" => 16,
        "f16x2" | "bf16x2" | "tf32" => 32,
        ty => match ty.strip_prefix(['b', 'u', 's', 'f'])?.parse().ok()? {
            bits @ (16 | 32 | 64) => bits,
            _ => return None,
        },
    })
}

/// A register of so many bits.
fn register(bits: u32, index: usize) -> String {
    match bits {
        1 => format!("%p{index}"),
        16 => format!("%h{index}"),
        64 => format!("%d{index}"),
        _ => format!("%r{index}"),
    }
}

fn vector(bits: u32, count: usize) -> String {
    let registers: Vec<String> = (0..count).map(|index| register(bits, index)).collect();
    if count == 1 { registers[0].clone() } else { format!("{{{}}}", registers.join(", ")) }
}

/// An instruction of the form, with operands of its types.
fn instruction(name: &str) -> String {
    let words: Vec<&str> = name.split('.').collect();
    let has = |word: &str| words.contains(&word);
    let types: Vec<u32> = words[1..].iter().filter_map(|word| register_bits(word)).collect();
    let ty = types.first().copied().unwrap_or(32);
    let last = types.last().copied().unwrap_or(32);
    let twice = if has("wide") { ty * 2 } else { ty };
    let r = |index: usize| register(ty, index);
    let d = |bits: u32| register(bits, 0);
    let joined = has("and") || has("or") || has("xor");
    let count = if has("v2") {
        2
    } else if has("v4") {
        4
    } else {
        1
    };
    let policy = if has("L2::cache_hint") { ", %d7" } else { "" };
    let operands = match words[0] {
        "mul" => format!("{}, {}, {}", d(twice), r(1), r(2)),
        "mad" => format!("{}, {}, {}, {}", d(twice), r(1), r(2), register(twice, 3)),
        "madc" | "sad" | "mad24" | "fma" => format!("{}, {}, {}, {}", r(0), r(1), r(2), r(3)),
        "dp4a" | "dp2a" | "fns" | "prmt" | "shf" => "%r0, %r1, %r2, %r3".into(),
        "lop3" => "%r0, %r1, %r2, %r3, 0x96".into(),
        "vadd" | "vsub" | "vabsdiff" | "vmin" | "vmax" | "vshl" | "vshr" | "vset" => {
            let second = has("add") || has("min") || has("max");
            format!("%r0, %r1.h1, %r2.b3{}", if second { ", %r3" } else { "" })
        }
        "vmad" => "%r0, %r1.b2, %r2, %r3".into(),
        "vadd2" | "vsub2" | "vavrg2" | "vabsdiff2" | "vmin2" | "vmax2" | "vset2" => {
            "%r0.h1, %r1.h31, %r2.h02, %r3".into()
        }
        "vadd4" | "vsub4" | "vavrg4" | "vabsdiff4" | "vmin4" | "vmax4" | "vset4" => {
            "%r0.b31, %r1.b7654, %r2.b0123, %r3".into()
        }
        "not" | "cnot" | "abs" | "neg" | "brev" | "mov" | "sqrt" | "rcp" | "rsqrt" | "sin" | "cos"
        | "lg2" | "ex2" | "tanh" => {
            format!("{}, {}", r(0), r(1))
        }
        "popc" | "clz" | "bfind" => format!("%r0, {}", r(1)),
        "shl" | "shr" | "szext" | "bmsk" => format!("{}, {}, %r2", r(0), r(1)),
        "bfi" => format!("{}, {}, {}, %r3, %r4", r(0), r(1), r(2)),
        "bfe" => format!("{}, {}, %r2, %r3", r(0), r(1)),
        "testp" => format!("%p0, {}", r(1)),
        "setp" => format!("%p0, {}, {}{}", r(1), r(2), if joined { ", %p1" } else { "" }),
        "set" => {
            let third = if joined { ", %p1" } else { "" };
            format!("{}, {}, {}{third}", d(ty), register(last, 1), register(last, 2))
        }
        "selp" => format!("{}, {}, {}, %p1", r(0), r(1), r(2)),
        "slct" => format!("{}, {}, {}, %r3", r(0), r(1), r(2)),
        "cvt" if has("f16x2") || has("bf16x2") => "%r0, %r1, %r2".into(),
        "cvt" => format!("{}, {}", d(ty), register(last, 1)),
        "cvta" => "%d0, %d1".into(),
        "isspacep" => "%p0, %d1".into(),
        "ldmatrix" => {
            format!(
                "{{{}}}, [%r7]",
                vector(
                    32,
                    if has("x4") {
                        4
                    } else if has("x2") {
                        2
                    } else {
                        1
                    }
                )
                .trim_matches(['{', '}'])
            )
        }
        "movmatrix" => "%r0, %r1".into(),
        "mma" => matrices(&words),
        "wmma" => warp_matrices(&words),
        "ld" | "ldu" => format!("{}, [%d7]{policy}", vector(ty, count)),
        "st" => format!("[%d7], {}{policy}", vector(ty, count)),
        "atom" if has("cas") => format!("{}, [%d7], {}, {}", r(0), r(1), r(2)),
        "atom" => format!("{}, [%d7], {}", r(0), r(1)),
        "red" => format!("[%d7], {}", r(1)),
        "alloca" => format!("{}, {}, 16", r(0), r(1)),
        "stacksave" => r(0),
        "stackrestore" => r(1),
        "mbarrier" if has("init") => "[%d1], %r1".into(),
        "mbarrier" if has("inval") => "[%d1]".into(),
        "mbarrier" if has("pending_count") => "%r0, %d1".into(),
        "mbarrier" if has("parity") => "%p0, [%d1], %r1".into(),
        "mbarrier" if has("test_wait") || has("try_wait") => "%p0, [%d1], %d2".into(),
        "mbarrier" if has("noComplete") => "%d0, [%d1], %r1".into(),
        "mbarrier" => "%d0, [%d1]".into(),
        "cp" if has("mbarrier") => "[%d1]".into(),
        "cp" if has("wait_group") => "1".into(),
        "cp" if has("global") => format!("[%r1], [%d1], 16{policy}"),
        "prefetch" | "prefetchu" => "[%d1]".into(),
        "discard" | "applypriority" => "[%d1], 128".into(),
        "createpolicy" if has("fractional") => "%d0, 0.5".into(),
        "createpolicy" if has("range") => "%d0, [%d1], 128, 256".into(),
        "createpolicy" => "%d0, %d1".into(),
        "bra" => "done".into(),
        "brx" => "%r1, table".into(),
        "call" => "other".into(),
        "nanosleep" => "%r1".into(),
        "pmevent" => "1".into(),
        "bar" if has("warp") => "%r1".into(),
        "bar" | "barrier" if has("popc") => "%r0, 1, %p1".into(),
        "bar" | "barrier" if has("red") => "%p0, 1, %p1".into(),
        "bar" | "barrier" => "1, 64".into(),
        "shfl" => "%r0|%p0, %r1, %r2, %r3, %r4".into(),
        "vote" => format!("{}, %p1, %r1", d(ty)),
        "match" => format!("%r0, {}, %r2", r(1)),
        "redux" => "%r0, %r1, %r2".into(),
        "activemask" => "%r0".into(),
        "cp" | "membar" | "fence" | "ret" | "exit" | "trap" | "brkpt" => String::new(),
        _ => format!("{}, {}, {}", r(0), r(1), r(2)),
    };
    format!("{name} {operands};")
}

/// Rows of A, columns of B, and columns of A, of a shape.
fn sizes(words: &[&str]) -> [usize; 3] {
    let sizes = words.iter().find(|word| word.starts_with('m') && word.contains('n') && word.contains('k'));
    let numbers = sizes.unwrap().split(['m', 'n', 'k']).filter_map(|size| size.parse().ok());
    numbers.collect::<Vec<usize>>().try_into().unwrap()
}

/// The types of elements.
fn element_types<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().filter(|word| has_type(word)).collect()
}

/// A list of registers for each lane's part of so many elements.
fn fragment(elements: usize, ty: &str) -> String {
    let bits: usize = ty.trim_start_matches(char::is_alphabetic).parse().unwrap();
    let (wide, bits) = if ty == "f64" { (64, 64) } else { (32, if ty == "tf32" { 32 } else { bits }) };
    let list = vector(wide as u32, elements / 32 * bits / wide);
    if list.starts_with('{') { list } else { format!("{{{list}}}") }
}

/// Registers of a product of matrices, by the sizes in its name.
fn matrices(words: &[&str]) -> String {
    let [m, n, k] = sizes(words);
    let types = element_types(words);
    // Four products at once, of the old shape.
    let products = if (m, k, types[1]) == (8, 4, "f16") { 4 } else { 1 };
    let sums = |ty: &str| fragment(products * m * n, ty);
    let (a, b) = (fragment(products * m * k, types[1]), fragment(products * n * k, types[2]));
    format!("{}, {a}, {b}, {}", sums(types[0]), sums(types[3]))
}

/// Operands of `wmma`.
fn warp_matrices(words: &[&str]) -> String {
    let [m, n, k] = sizes(words);
    let types = element_types(words);
    let input = |elements: usize, ty: &str| {
        // Those of f16 are twice there, or four times.
        if ty == "f16" { vector(32, 8) } else { fragment(elements, ty) }
    };
    match (words[1], words[2]) {
        ("load", "a") => format!("{}, [%d7], %r7", input(m * k, types[0])),
        ("load", "b") => format!("{}, [%d7], %r7", input(n * k, types[0])),
        ("load", _) => format!("{}, [%d7], %r7", fragment(m * n, types[0])),
        ("store", _) => format!("[%d7], {}, %r7", fragment(m * n, types[0])),
        _ => {
            let [d, a, b, c] = match types[..] {
                [d, c] => [d, "f16", "f16", c],
                [d, a, b, c] => [d, a, b, c],
                _ => panic!("{words:?}"),
            };
            let (a, b) = (input(m * k, a), input(n * k, b));
            format!("{}, {a}, {b}, {}", fragment(m * n, d), fragment(m * n, c))
        }
    }
}

/// Instructions of a kernel: ptxas is slow at long ones.
const KERNEL_INSTRUCTIONS: usize = 500;

#[test]
fn ptxas_takes_every_form() {
    let Some(ptxas) = std::env::var_os("TINYLLM_PTXAS") else {
        eprintln!(
            "skipped: TINYLLM_PTXAS names no ptxas; `cargo xtask kernels --ptxas` fetches one and says where it is"
        );
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let version = ptxas_version(&ptxas);
    for target in [80, 86, 90] {
        let forms = SECTIONS.iter().flat_map(|section| section.forms).filter(|form| form.target == target);
        let names: Vec<String> = forms.flat_map(|form| form.spelled()).collect();
        let (later, names): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| name.contains(".mmio."));
        assemble(&ptxas, directory.path(), target, "8.0", &names);
        if version >= (12, 2) {
            assemble(&ptxas, directory.path(), target, "8.2", &later);
        }
    }
}

/// Major and minor number of the toolkit that a ptxas is of.
fn ptxas_version(ptxas: &OsStr) -> (u32, u32) {
    let output = Command::new(ptxas).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let release = text.split("release ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let (major, minor) = release.split_once('.').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

/// Assembles an instruction of each name.
fn assemble(ptxas: &OsStr, directory: &Path, target: u32, version: &str, names: &[String]) {
    let instructions: Vec<String> = names.iter().map(|name| instruction(name)).collect();
    let mut text =
        format!(".version {version}\n.target sm_{target}\n.address_size 64\n.func other {{ ret; }}\n");
    for (index, some) in instructions.chunks(KERNEL_INSTRUCTIONS).enumerate() {
        let _ = writeln!(
            text,
            ".visible .entry k{index}() {{\n.reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<8>; .reg .b64 %d<8>;\n\
             table: .branchtargets done;\n{}\ndone: ret;\n}}",
            some.join("\n")
        );
    }
    let path = directory.join("forms.ptx");
    fs::write(&path, text).unwrap();
    let arch = format!("-arch=sm_{target}");
    let output = Command::new(ptxas).args([&arch, "-O0", "-o", "/dev/null"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "sm_{target}, PTX {version}, {} forms: {} {said}",
        instructions.len(),
        output.status
    );
}
