//! Runs forms on the emulator: operands from memory to registers, one instruction, its result back to memory.

use std::fmt::Write;

use tinyllm_emulator::Emulator;
use tinyllm_sys::DriverApi;

use crate::program::{Program, on_each};

/// What an operand or a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An integer of so many bits.
    I16,
    I32,
    I64,
    F16,
    Bf16,
    F16x2,
    Bf16x2,
    F32,
    F64,
    Pred,
}

/// Whether a result is right: inputs, then the result's bits.
type Check = Box<dyn Fn([u64; 3], u64) -> bool>;

/// A form: its instruction with `{d}`, `{a}`, `{b}`, `{c}` for operands.
pub(crate) struct Form {
    /// What it is a test of, as `add.rn.f32`.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) d: Kind,
    pub(crate) inputs: Vec<Kind>,
    pub(crate) check: Check,
}

/// A form whose result is a function of its inputs.
pub(crate) fn form(
    text: impl Into<String>,
    d: Kind,
    inputs: &[Kind],
    expected: impl Fn([u64; 3]) -> u64 + 'static,
) -> Form {
    form_within(text, d, inputs, move |inputs, got| expected(inputs) == got)
}

/// A form whose result is known within bounds.
pub(crate) fn form_within(
    text: impl Into<String>,
    d: Kind,
    inputs: &[Kind],
    check: impl Fn([u64; 3], u64) -> bool + 'static,
) -> Form {
    let text = text.into();
    let name = text.split([' ', ';']).next().unwrap_or_default().to_owned();
    Form { name, text, d, inputs: inputs.to_vec(), check: Box::new(check) }
}

impl Form {
    /// The same, where the instruction in question is not the first.
    pub(crate) fn named(self, name: impl Into<String>) -> Form {
        Form { name: name.into(), ..self }
    }
}

impl Kind {
    pub(crate) fn bits(self) -> u32 {
        match self {
            Kind::Pred => 1,
            Kind::I16 | Kind::F16 | Kind::Bf16 => 16,
            Kind::I32 | Kind::F16x2 | Kind::Bf16x2 | Kind::F32 => 32,
            Kind::I64 | Kind::F64 => 64,
        }
    }

    /// Numbers where something may go wrong.
    fn special(self) -> Vec<u64> {
        match self {
            Kind::Pred => vec![0, 1],
            Kind::I16 => vec![0, 1, 2, 15, 16, 17, 0x7fff, 0x8000, 0x8001, 0xffff],
            Kind::I32 => {
                vec![0, 1, 2, 7, 31, 32, 33, 64, 0xff, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff]
            }
            Kind::I64 => {
                vec![0, 1, 2, 63, 64, 65, 1 << 31, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX, u64::MAX - 1]
            }
            Kind::F32 => [
                0x0000_0000,
                0x8000_0000,
                0x0000_0001,
                0x807f_ffff,
                0x0080_0000,
                0x3f80_0000,
                0xbf80_0000,
                0x3f00_0000,
                0x3f7f_ffff,
                0x3fc0_0000,
                0x4020_0000,
                0x4b00_0000,
                0x4f00_0000,
                0xcf00_0000,
                0x4f80_0000,
                0x5f00_0000,
                0x7f7f_ffff,
                0xff7f_ffff,
                0x7f80_0000,
                0xff80_0000,
                0x7fc0_0000,
                0xffc0_0001,
                0x7f80_0001,
                0x477f_f000,
                0x3380_0000,
                0x4300_0000,
                0x437f_0000,
            ]
            .to_vec(),
            Kind::F64 => [
                0.0,
                -0.0,
                5e-324,
                -2.2e-308,
                1.0,
                -1.0,
                0.5,
                1.5,
                2.5,
                255.5,
                4e9,
                -4e9,
                1e19,
                -1e19,
                1e300,
                f64::MAX,
            ]
            .map(f64::to_bits)
            .into_iter()
            .chain([f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(f64::to_bits))
            .collect(),
            Kind::F16 => vec![
                0, 0x8000, 1, 0x83ff, 0x400, 0x3c00, 0xbc00, 0x3800, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00,
                0xfe01,
            ],
            Kind::Bf16 => vec![
                0, 0x8000, 1, 0x807f, 0x80, 0x3f80, 0xbf80, 0x3f00, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0,
                0xffc1,
            ],
            Kind::F16x2 => {
                let halves = Kind::F16.special();
                halves.iter().zip(halves.iter().rev()).map(|(low, high)| low | high << 16).collect()
            }
            Kind::Bf16x2 => {
                let halves = Kind::Bf16.special();
                halves.iter().zip(halves.iter().rev()).map(|(low, high)| low | high << 16).collect()
            }
        }
    }

    /// The type of a register, of a load and of a store.
    fn register(self) -> &'static str {
        match self.bits() {
            16 => "b16",
            64 => "b64",
            _ => "b32",
        }
    }

    /// Special numbers and random ones; of floats, half of them near 1.
    fn number(self, random: &mut Random) -> u64 {
        let special = self.special();
        let bits = random.next();
        let mask = if self.bits() == 64 { u64::MAX } else { (1 << self.bits()) - 1 };
        match bits >> 62 {
            0 => special[(bits % special.len() as u64) as usize],
            1 => match self {
                Kind::F32 => bits & 0x807f_ffff | (0x3e00_0000 + (bits >> 32 & 7) * 0x80_0000),
                Kind::F64 => bits & 0x800f_ffff_ffff_ffff | (0x3fc + (bits >> 53 & 7)) << 52,
                Kind::F16 => bits & 0x83ff | (0x3000 + (bits >> 32 & 7) * 0x400),
                Kind::Bf16 => bits & 0x807f | (0x3e00 + (bits >> 32 & 7) * 0x80),
                _ => bits & 0xff & mask,
            },
            _ => random.next() & mask,
        }
    }
}

/// splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// Threads that each form is run with.
const THREADS: usize = 512;

fn kernel(index: usize, form: &Form) -> String {
    let mut text = format!(
        ".visible .entry k{index}(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u64 pd) {{\n\
         .reg .b32 %i; .reg .b64 %at, %base; .reg .pred %p<4>; .reg .b16 %h<8>; .reg .b32 %r<12>; .reg .b64 %rd<8>;\n\
         mov.u32 %i, %ctaid.x; mad.lo.u32 %i, %i, 256, 0; mov.u32 %r9, %tid.x; add.u32 %i, %i, %r9;\n"
    );
    let names = ["a", "b", "c"];
    let mut instruction = form.text.clone();
    for (name, kind) in names.iter().zip(&form.inputs) {
        let register = kind.register();
        let _ = writeln!(
            text,
            ".reg .{register} %{name}; ld.param.u64 %base, [p{name}]; mad.wide.u32 %at, %i, 8, %base;"
        );
        let _ = writeln!(text, "ld.global.{register} %{name}, [%at];");
        let operand = if *kind == Kind::Pred {
            let _ = writeln!(text, ".reg .pred %p{name}; setp.ne.u32 %p{name}, %{name}, 0;");
            format!("%p{name}")
        } else {
            format!("%{name}")
        };
        instruction = instruction.replace(&format!("{{{name}}}"), &operand);
    }
    let register = form.d.register();
    let d = if form.d == Kind::Pred { "%pd" } else { "%d" };
    let _ = writeln!(text, ".reg .{register} %d; .reg .pred %pd;");
    let _ = writeln!(text, "{}", instruction.replace("{d}", d));
    if form.d == Kind::Pred {
        text.push_str("selp.b32 %d, 1, 0, %pd;\n");
    }
    let _ = writeln!(
        text,
        "ld.param.u64 %base, [pd]; mad.wide.u32 %at, %i, 8, %base; st.global.{register} [%at], %d; ret;\n}}"
    );
    text
}

/// A cache's policy as `createpolicy` makes one: to evict as ever. A GPU does not run instructions with what is none.
pub(crate) const POLICY: u64 = 0x1000_0000_0000_0000;

pub(crate) const HEADER: &str = ".version 8.0\n.target sm_90\n.address_size 64\n";

/// Runs every form on each device, and gives what was wrong.
pub(crate) fn wrong_on_any(forms: &[Form], seed: u64) -> Vec<String> {
    on_each(Emulator::builder().threads(1), |program| wrong(program, forms, seed)).concat()
}

/// The first wrong result of each form on a device.
fn wrong(program: &Program<dyn DriverApi>, forms: &[Form], seed: u64) -> Vec<String> {
    let kernels: String = forms.iter().enumerate().map(|(index, form)| kernel(index, form)).collect();
    let (module, _) =
        program.load(&format!("{HEADER}{kernels}"), "k0").unwrap_or_else(|error| panic!("{error}"));
    let mut random = Random(seed);
    let mut failures = Vec::new();
    for (index, form) in forms.iter().enumerate() {
        let mut column = |kind: Option<&Kind>| -> Vec<u64> {
            (0..THREADS).map(|_| kind.map_or(0, |kind| kind.number(&mut random))).collect()
        };
        let inputs = [0, 1, 2].map(|input| column(form.inputs.get(input)));
        let pointers = inputs.each_ref().map(|column| program.upload(column));
        let out = program.upload(&vec![0u64; THREADS]);
        let name = std::ffi::CString::new(format!("k{index}")).unwrap();
        // SAFETY: the module lives as long as the program.
        let function = unsafe { program.driver.module_get_function(module, &name) }.unwrap();
        let mut arguments = [pointers[0].0, pointers[1].0, pointers[2].0, out.0];
        program.launch(function, THREADS as u32 / 256, 256, &mut arguments);
        let results: Vec<u64> = program.download(out, THREADS);
        failures.extend(results.into_iter().enumerate().find_map(|(thread, got)| {
            let values = inputs.each_ref().map(|column| column[thread]);
            let right = (form.check)(values, got);
            (!right).then(|| format!("{}: {values:x?} gave {got:#x}", form.text))
        }));
    }
    failures
}
