//! `wmma`: matrices in memory, multiplied, and back in memory. Which lane holds which element is not specified, so what
//! is held against the manual is the product, and the bytes that are read and written: those of the matrix, not those
//! between its rows.

use tinyllm_emulator::{Emulator, report::Kind};
use tinyllm_sys::{DriverApi, LaunchConfig, StreamHandle};

use super::{
    harness::{HEADER, Random},
    matrices::{Matrix, addends, encoded, has_type, matrix, product, range},
    names,
};
use crate::program::{Program, same_on_each};

/// The words of a form after its name.
fn words(name: &str) -> Vec<&str> {
    name.split('.').collect()
}

fn shape(name: &str) -> [usize; 3] {
    let is_shape = |word: &&str| word.starts_with('m') && word.contains('k');
    let word = words(name).into_iter().find(is_shape).unwrap().to_owned();
    let sizes: Vec<usize> = word.split(['m', 'n', 'k']).filter_map(|size| size.parse().ok()).collect();
    sizes.try_into().unwrap()
}

fn layouts(name: &str) -> Vec<&str> {
    words(name).into_iter().filter(|word| matches!(*word, "row" | "col")).collect()
}

/// Types of D, A, B and C of a product, or of a fragment.
fn types(name: &str) -> Vec<&str> {
    let types: Vec<&str> = words(name).into_iter().filter(|word| has_type(word)).collect();
    match types[..] {
        [d, c] => vec![d, "f16", "f16", c],
        _ => types,
    }
}

/// Registers of a fragment, as the manual's tables list them: A and B of f16 have 8, with elements twice or more.
fn registers(which: char, [m, n, k]: [usize; 3], ty: &str) -> usize {
    let (rows, columns) = match which {
        'a' => (m, k),
        'b' => (k, n),
        _ => (m, n),
    };
    let (_, bits) = encoded(ty, 0);
    if ty == "f16" && "ab".contains(which) { 8 } else { rows * columns / 32 * bits / bits.max(32) }
}

/// How a matrix lies in memory.
struct Stored {
    which: char,
    /// The instruction that loads or stores it.
    name: String,
    rows: usize,
    columns: usize,
    ty: String,
    stride: usize,
    stride_operand: &'static str,
}

impl Stored {
    /// `variant` chooses how the stride is given.
    fn new(name: &str, variant: usize) -> Self {
        let [m, n, k] = shape(name);
        let which = words(name)[2].chars().next().unwrap();
        let (rows, columns) = match which {
            'a' => (m, k),
            'b' => (k, n),
            _ => (m, n),
        };
        let ty = types(name)[0].to_owned();
        let leading = if layouts(name) == ["row"] { columns } else { rows };
        let (_, bits) = encoded(&ty, 0);
        // Rows begin at multiples of 32 bytes, which no fragment needs more of.
        let apart = (leading * bits).next_multiple_of(256) / bits + 256 / bits;
        let (stride, stride_operand) = match variant % 3 {
            0 => (apart, ", %stride"),
            1 => (apart, ", STRIDE"),
            _ => (leading, ""),
        };
        Stored { which, name: name.to_owned(), rows, columns, ty, stride, stride_operand }
    }

    fn by_row(&self) -> bool {
        layouts(&self.name) == ["row"]
    }

    fn bits(&self) -> usize {
        encoded(&self.ty, 0).1
    }

    /// Bytes from the first to the last element.
    fn bytes(&self) -> usize {
        let (lines, leading) =
            if self.by_row() { (self.rows, self.columns) } else { (self.columns, self.rows) };
        ((lines - 1) * self.stride + leading) * self.bits() / 8
    }

    /// Puts a matrix where it lies, and leaves what is between its rows.
    fn put(&self, bytes: &mut [u8], matrix: &Matrix) {
        for (row, values) in matrix.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                let element =
                    if self.by_row() { row * self.stride + column } else { column * self.stride + row };
                let (value, bits) = encoded(&self.ty, *value);
                if bits >= 8 {
                    bytes[element * bits / 8..][..bits / 8].copy_from_slice(&value.to_le_bytes()[..bits / 8]);
                } else {
                    let (byte, at) = (&mut bytes[element * bits / 8], element * bits % 8);
                    *byte = *byte & !(((1u8 << bits) - 1) << at) | (value as u8) << at;
                }
            }
        }
    }

    fn list(&self) -> String {
        let bank = if self.ty == "f64" { "rd" } else { "r" };
        let count = registers(self.which, shape(&self.name), &self.ty);
        let list: Vec<String> = (0..count).map(|index| format!("%{bank}{}{index}", self.which)).collect();
        format!("{{{}}}", list.join(", "))
    }

    /// PTX that loads or stores it at the pointer `%p` with its letter; through shared memory where the form says so.
    fn instructions(&self) -> String {
        let Stored { which, name, stride, .. } = self;
        let operand = self.stride_operand.replace("STRIDE", &stride.to_string());
        let set = format!("mov.u32 %stride, {stride};\n");
        let shared = name.contains(".shared");
        // Without a space, by an address of either.
        let generic_shared = !shared && !name.contains(".global") && stride % 3 == 1;
        let at = if shared {
            "%s".to_owned()
        } else if generic_shared {
            "%g".to_owned()
        } else {
            format!("%p{which}")
        };
        let access = match which {
            'd' => format!("{name} [{at}], {}{operand};\n", self.list()),
            _ => format!("{name} {}, [{at}]{operand};\n", self.list()),
        };
        if !shared && !generic_shared {
            return set + &access;
        }
        let bytes = self.bytes();
        let copy = |label: &str, from: &str, to: &str| {
            format!(
                "mov.u32 %i, %tid.x;\n{label}_{which}: setp.ge.u32 %q, %i, {bytes}; @%q bra {label}_{which}_done;\n\
                 cvt.u64.u32 %x, %i; add.u64 %x, %x, %p{which}; add.u32 %y, %s, %i;\n\
                 ld.{from}.u8 %h, [{}]; st.{to}.u8 [{}], %h;\n\
                 add.u32 %i, %i, 32; bra {label}_{which};\n{label}_{which}_done: bar.sync 0;\n",
                if from == "global" { "%x" } else { "%y" },
                if to == "global" { "%x" } else { "%y" },
            )
        };
        let start = format!(
            ".shared .align 32 .b8 tile_{which}[{bytes}];\nmov.u32 %s, tile_{which}; cvt.u64.u32 %g, %s;\n\
             cvta.shared.u64 %g, %g;\n"
        );
        let back = if *which == 'd' {
            format!("bar.sync 0;\n{}", copy("out", "shared", "global"))
        } else {
            String::new()
        };
        set + &start + &copy("in", "global", "shared") + &access + &back
    }
}

/// A product, with where its matrices are.
struct Pipeline {
    product: String,
    /// A, B, C and D.
    stored: [Stored; 4],
}

impl Pipeline {
    /// Loads and stores by row of global memory, or as the product says.
    fn of(product: &str, variant: usize) -> Self {
        let is_shape = |word: &&str| word.starts_with('m') && word.contains('k');
        let shape = words(product).into_iter().find(is_shape).unwrap();
        let [d, a, b, c] = types(product)[..] else { panic!("{product}") };
        let layouts = layouts(product);
        let name = |what: &str, layout: &str, ty: &str| {
            format!("wmma.{what}.sync.aligned.{layout}.{shape}.global.{ty}")
        };
        let names = [
            name("load.a", layouts[0], a),
            name("load.b", layouts[1], b),
            name("load.c", "row", c),
            name("store.d", "row", d),
        ];
        Pipeline { product: product.to_owned(), stored: names.map(|name| Stored::new(&name, variant)) }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{HEADER}.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) {{\n"
        );
        text += ".reg .b64 %p<4>, %x, %g; .reg .b32 %s, %y, %i, %stride; .reg .b16 %h; .reg .pred %q;\n";
        for which in ["a", "b", "c", "d"] {
            text += &format!(
                ".reg .b64 %p{which}, %rd{which}<8>; .reg .b32 %r{which}<8>;\nld.param.u64 %p{which}, [{which}];\n"
            );
        }
        let [a, b, c, d] = &self.stored;
        text += &[a, b, c].map(Stored::instructions).concat();
        text += &format!("{} {}, {}, {}, {};\n", self.product, d.list(), a.list(), b.list(), c.list());
        text + &d.instructions() + "ret;\n}"
    }

    /// Runs it with matrices of chance, and holds what it stores against their product.
    fn check(&self, random: &mut Random) {
        let [a, b, c, d] = &self.stored;
        let high = d.ty == "s32" && self.product.contains("satfinite");
        let mut of = |stored: &Stored| matrix(random, stored.rows, stored.columns, range(&stored.ty));
        let (mut of_a, of_b) = (of(a), of(b));
        if a.ty == "f64" {
            of_a.iter_mut().flatten().for_each(|number| *number *= 2);
        }
        let of_c = if high { (0x7fff_0000, 0x7fff_ffff) } else { (-64, 64) };
        let matrices = [of_a, of_b, addends(random, c.rows, c.columns, &c.ty, of_c)];
        let expected = product(&self.product, &matrices[0], &matrices[1], &matrices[2]);
        let text = self.text();
        let what = format!("{} with {:?}", self.product, self.stored.each_ref().map(|stored| &stored.name));
        let left: Vec<u8> = same_on_each(Emulator::builder(), &what, |program| {
            let kernel = program.kernel(&text, "k");
            let inputs = [(a, &matrices[0]), (b, &matrices[1]), (c, &matrices[2])].map(|(stored, matrix)| {
                let mut bytes = vec![0xa5; stored.bytes()];
                stored.put(&mut bytes, matrix);
                program.upload(&bytes).0
            });
            let out = program.upload(&vec![0x5au8; d.bytes()]);
            let [a, b, c] = inputs;
            program.launch(kernel, 1, 32, &mut [a, b, c, out.0]);
            program.download(out, d.bytes())
        });
        let mut wanted = vec![0x5a; d.bytes()];
        d.put(&mut wanted, &expected);
        assert_eq!(left, wanted, "{what}");
    }
}

fn forms(start: &str) -> Vec<String> {
    names("Matrices").into_iter().filter(|name| name.starts_with(start)).collect()
}

#[test]
fn warp_products_of_every_shape() {
    let mut random = Random(23);
    for (index, product) in forms("wmma.mma").iter().enumerate() {
        Pipeline::of(product, index).check(&mut random);
    }
}

#[test]
fn warp_fragments_from_and_to_memory() {
    let mut random = Random(29);
    let products = forms("wmma.mma");
    let starts = ["wmma.load.a", "wmma.load.b", "wmma.load.c", "wmma.store.d"];
    for (place, start) in starts.iter().enumerate() {
        for (index, name) in forms(start).iter().enumerate() {
            let fits = |product: &&String| {
                let [d, a, b, c] = types(product)[..] else { panic!("{product}") };
                let layouts = layouts(product);
                // The product takes A and B as they were loaded.
                shape(product) == shape(name)
                    && [a, b, c, d][place] == types(name)[0]
                    && layouts
                        .get(place)
                        .is_none_or(|layout| place > 1 || [*layout] == self::layouts(name)[..])
            };
            let product = products.iter().find(fits).unwrap_or_else(|| panic!("{name} has no product"));
            let mut pipeline = Pipeline::of(product, index);
            pipeline.stored[place] = Stored::new(name, index / 2);
            pipeline.check(&mut random);
        }
    }
}

#[test]
fn a_product_whose_result_replaces_its_operands() {
    // D is held where the first registers of A were: the second product still multiplies the old ones.
    let mut pipeline = Pipeline::of("wmma.mma.sync.aligned.row.col.m32n8k16.f32.bf16.bf16.f32", 0);
    let mut random = Random(31);
    pipeline.check(&mut random);
    let text = pipeline.text();
    let replaced = ["%rd0", "%rd1", "%rd2", "%rd3", "%rd4", "%rd5", "%rd6", "%rd7"].iter().enumerate();
    let text = replaced.fold(text, |text, (index, name)| {
        text.replace(&format!("{name},"), &format!("%ra{index},"))
            .replace(&format!("{name}}}"), &format!("%ra{index}}}"))
    });
    pipeline.product = String::new();
    let [a, b, c, d] = &pipeline.stored;
    let mut of = |stored: &Stored| matrix(&mut random, stored.rows, stored.columns, (-8, 8));
    let matrices = [of(a), of(b), of(c)];
    let expected = product("", &matrices[0], &matrices[1], &matrices[2]);
    let left: Vec<u8> = same_on_each(Emulator::builder(), "replaced", |program| {
        let kernel = program.kernel(&text, "k");
        let [a, b, c] = [(a, &matrices[0]), (b, &matrices[1]), (c, &matrices[2])].map(|(stored, matrix)| {
            let mut bytes = vec![0; stored.bytes()];
            stored.put(&mut bytes, matrix);
            program.upload(&bytes).0
        });
        let out = program.upload(&vec![0u8; d.bytes()]);
        program.launch(kernel, 1, 32, &mut [a, b, c, out.0]);
        program.download(out, d.bytes())
    });
    let mut wanted = vec![0; d.bytes()];
    d.put(&mut wanted, &expected);
    assert_eq!(left, wanted);
}

/// What is found where one of the four matrices has a byte too few.
#[test]
fn warp_matrices_over_an_end() {
    for product in
        ["wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32", "wmma.mma.sync.aligned.col.row.m32n8k16.f16.f16"]
    {
        let pipeline = Pipeline::of(product, 0);
        let text = pipeline.text();
        for short in 0..4 {
            let program = Program::new(Emulator::builder());
            let kernel = program.kernel(&text, "k");
            let mut pointers = [0; 4];
            for (index, stored) in pipeline.stored.iter().enumerate() {
                let bytes = stored.bytes() - usize::from(index == short);
                pointers[index] = program.upload(&vec![0u8; bytes]).0;
            }
            let config = LaunchConfig::new([1, 1, 1], [32, 1, 1]);
            let launched = program.launch_on(StreamHandle::LEGACY, kernel, config, &mut pointers);
            let _ = launched.and_then(|()| program.driver.context_synchronize());
            let findings = program.driver.findings();
            let kinds: Vec<Kind> = findings.iter().map(|finding| finding.kind).collect();
            assert_eq!(kinds, [Kind::OutOfBounds], "{product}: matrix {short}");
            let instruction = findings[0].site.as_ref().unwrap().instruction.clone();
            assert!(
                instruction.starts_with(words(&pipeline.stored[short].name)[..3].join(".").as_str()),
                "{instruction}"
            );
        }
    }
}

/// Two warps store matrices, the second one's rows so many bytes after the first one's.
fn stores_of_two_warps(after: usize) -> Vec<Kind> {
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 p) {{\n.reg .b32 %r<8>, %w, %s; .shared .align 32 .b8 tile[2048];\n\
         mov.u32 %w, %tid.x; shr.u32 %w, %w, 5; mov.u32 %s, tile; mad.lo.u32 %s, %w, {after}, %s;\n\
         cvt.rn.f32.u32 %r0, %w; mov.b32 %r1, %r0; mov.b32 %r2, %r0; mov.b32 %r3, %r0;\n\
         wmma.store.d.sync.aligned.row.m16n16k16.shared.f16 [%s], {{%r0, %r1, %r2, %r3}}, 32;\nret;\n}}"
    );
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(&text, "k");
    program.launch(kernel, 1, 64, &mut [0]);
    program.driver.context_synchronize().unwrap();
    program.driver.findings().iter().map(|finding| finding.kind).collect()
}

#[test]
fn warp_matrices_race_where_they_overlap() {
    // Rows of 32 bytes every 64: between each two of one matrix fits a row of the other.
    assert_eq!(stores_of_two_warps(32), []);
    assert_eq!(stores_of_two_warps(1024), []);
    assert_eq!(stores_of_two_warps(16), [Kind::SharedRace]);
}
