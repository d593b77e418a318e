//! Video instructions: which parts of their operands, and what is done with them.

use super::{
    Decoded,
    body::{Decoder, Width},
    modifiers::Modifiers,
    unsupported,
};
use crate::{
    kernel::{Constant, LoadError, Op},
    lanes::{Operands, Slot, lanes},
    numerics::{
        Part, PermuteMode, Second, Video, VideoOperation, VideoProduct, prmt, video, video_parts,
        video_product,
    },
    ptx::ast::{Instruction, Operand, Type},
};

const OPERATIONS: [(&str, VideoOperation); 8] = [
    ("vadd", VideoOperation::Add),
    ("vsub", VideoOperation::Sub),
    ("vabsdiff", VideoOperation::AbsDiff),
    ("vmin", VideoOperation::Min),
    ("vmax", VideoOperation::Max),
    ("vavrg", VideoOperation::Average),
    ("vshl", VideoOperation::ShiftLeft),
    ("vshr", VideoOperation::ShiftRight),
];

const COMPARISONS: [(&str, VideoOperation); 6] = [
    ("eq", VideoOperation::Equal),
    ("ne", VideoOperation::NotEqual),
    ("lt", VideoOperation::Less),
    ("le", VideoOperation::LessOrEqual),
    ("gt", VideoOperation::Greater),
    ("ge", VideoOperation::GreaterOrEqual),
];

const PARTS: [(&str, Part); 6] = [
    ("b0", Part::Byte(0)),
    ("b1", Part::Byte(1)),
    ("b2", Part::Byte(2)),
    ("b3", Part::Byte(3)),
    ("h0", Part::Half(0)),
    ("h1", Part::Half(1)),
];

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(word, _)| *word == name).map(|(_, value)| *value)
}

/// An operand without the part that is named of it, and that name.
fn split(operand: &Operand) -> (Operand, Option<&str>) {
    match operand {
        Operand::Part(name, part) => (Operand::Name(name.clone()), Some(part)),
        other => (other.clone(), None),
    }
}

/// The same of a word, and the part.
fn part_of(instruction: &Instruction, operand: &Operand) -> Result<(Operand, Part), LoadError> {
    match split(operand) {
        (operand, None) => Ok((operand, Part::Word)),
        (operand, Some(name)) => {
            let part = named(&PARTS, name);
            Ok((operand, part.ok_or_else(|| unsupported(instruction, format!("a part .{name}")))?))
        }
    }
}

impl Decoder<'_> {
    pub(super) fn video(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let opcode = instruction.opcode.as_str();
        let (name, parts) = match opcode.as_bytes().last() {
            Some(b'2') => (&opcode[..opcode.len() - 1], 2),
            Some(b'4') => (&opcode[..opcode.len() - 1], 4),
            _ => (opcode, 1),
        };
        if name == "vmad" {
            return self.video_product(instruction, modifiers);
        }
        let operation = match name {
            "vset" => modifiers.one_of(&COMPARISONS),
            name => named(&OPERATIONS, name),
        };
        let Some(operation) = operation else { return Ok(None) };
        let signs: Vec<bool> = modifiers.types().iter().map(|ty| *ty == Type::S32).collect();
        let signed = match signs.as_slice() {
            [a, b] => [false, *a, *b],
            [d, a, b] => [*d, *a, *b],
            _ => return Err(unsupported(instruction, "types of another form")),
        };
        modifiers.flag("clamp");
        let form = Video {
            operation,
            signed,
            saturate: modifiers.flag("sat"),
            wrap: modifiers.flag("wrap"),
            ..Video::default()
        };
        match parts {
            1 => self.video_scalar(instruction, modifiers, form),
            parts => self.video_parts(instruction, modifiers, form, parts),
        }
    }

    fn video_scalar(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        form: Video,
    ) -> Decoded {
        let second = modifiers.one_of(&[("add", Second::Add), ("min", Second::Min), ("max", Second::Max)]);
        let second = second.unwrap_or_default();
        let (d, a, b, c) = match instruction.operands.as_slice() {
            [d, a, b] => (d, a, b, None),
            [d, a, b, c] => (d, a, b, Some(c)),
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        let (d, d_part) = part_of(instruction, d)?;
        let (a, a_part) = part_of(instruction, a)?;
        let (b, b_part) = part_of(instruction, b)?;
        if c.is_some() != (second != Second::None || d_part != Part::Word) {
            return Err(unsupported(
                instruction,
                "a third input is for a second operation or a part of the result",
            ));
        }
        let form = Video { second, parts: [d_part, a_part, b_part], ..form };
        let a = self.source(instruction, &a, Type::B32)?;
        let b = self.source(instruction, &b, Type::B32)?;
        let c = c.map_or(Ok(a), |c| self.source(instruction, c, Type::B32))?;
        let d = self.destination(instruction, &d, Type::B32)?;
        let run = lanes!([imm] a: u32, b: u32, c: u32 => u32 { video(imm, a, b, c) });
        Ok(Some(Op::lanes(run, Operands { d, a, b, c, imm: form.pack(), ..Operands::default() })))
    }

    fn video_parts(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        form: Video,
        parts: u32,
    ) -> Decoded {
        let accumulate = modifiers.flag("add");
        let [d, a, b, c] = self.operands(instruction)?;
        let (d, mask) = split(d);
        let letter = if parts == 2 { 'h' } else { 'b' };
        let wrong = |name: &str| unsupported(instruction, format!("a part .{name}"));
        // `.b31`: the parts of the result that are set.
        let mask = match mask {
            None => (1 << parts) - 1,
            Some(name) => {
                let mut digits = name.strip_prefix(letter).ok_or_else(|| wrong(name))?.chars();
                let add = |mask: u8, digit: char| Some(mask | 1 << digit.to_digit(parts)?);
                digits.try_fold(0, add).ok_or_else(|| wrong(name))?
            }
        };
        let (a, a_parts) = split(a);
        let (b, b_parts) = split(b);
        let a = self.source(instruction, &a, Type::B32)?;
        let b = self.source(instruction, &b, Type::B32)?;
        let c = self.source(instruction, c, Type::B32)?;
        let d = self.destination(instruction, &d, Type::B32)?;
        let first = self.arranged(instruction, [a, b], a, a_parts, parts)?;
        let other = self.arranged(instruction, [a, b], b, b_parts, parts)?;
        let imm = Video { mask, accumulate, ..form }.pack();
        let run = match parts {
            2 => lanes!([imm] a: u32, b: u32, c: u32 => u32 { video_parts(imm, 2, a, b, c) }),
            _ => lanes!([imm] a: u32, b: u32, c: u32 => u32 { video_parts(imm, 4, a, b, c) }),
        };
        Ok(Some(Op::lanes(run, Operands { d, a: first, b: other, c, imm, ..Operands::default() })))
    }

    /// The parts of `a` and `b` that an operand names, the first for the highest, put into one register; or the operand as it is.
    fn arranged(
        &mut self,
        instruction: &Instruction,
        [a, b]: [Slot; 2],
        whole: Slot,
        name: Option<&str>,
        parts: u32,
    ) -> Result<Slot, LoadError> {
        let Some(name) = name else { return Ok(whole) };
        let wrong = || unsupported(instruction, format!("a part .{name}"));
        let digits = name.strip_prefix(if parts == 2 { 'h' } else { 'b' }).ok_or_else(wrong)?;
        if digits.len() as u32 != parts {
            return Err(wrong());
        }
        let mut selector = 0;
        for digit in digits.chars() {
            let digit = digit.to_digit(2 * parts).ok_or_else(wrong)?;
            selector = match parts {
                2 => selector << 8 | (2 * digit + 1) << 4 | (2 * digit),
                _ => selector << 4 | digit,
            };
        }
        let d = self.slot(Width::W32);
        let c = self.constant(Constant::Narrow(selector));
        let run = lanes!(a: u32, b: u32, c: u32 => u32 { prmt(a, b, c, PermuteMode::Default) });
        self.step(instruction, run, Operands { d, a, b, c, ..Operands::default() });
        Ok(d)
    }

    fn video_product(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let [_, a_type, b_type] = *modifiers.types() else {
            return Err(unsupported(instruction, "types of another form"));
        };
        let [d, a, b, c] = self.operands(instruction)?;
        let sign = |operand: &Operand| match operand {
            Operand::Negative(operand) => ((**operand).clone(), true),
            operand => (operand.clone(), false),
        };
        let ((a, a_negated), (b, b_negated), (c, c_negated)) = (sign(a), sign(b), sign(c));
        let (a, a_part) = part_of(instruction, &a)?;
        let (b, b_part) = part_of(instruction, &b)?;
        let form = VideoProduct {
            signed: [a_type, b_type].map(|ty| ty == Type::S32),
            parts: [a_part, b_part],
            negated: a_negated != b_negated,
            c_negated,
            plus_one: modifiers.flag("po"),
            saturate: modifiers.flag("sat"),
            shift: modifiers.one_of(&[("shr7", 7), ("shr15", 15)]).unwrap_or(0),
        };
        let negations = [form.negated, c_negated, form.plus_one];
        if negations.into_iter().filter(|negation| *negation).count() > 1 {
            return Err(unsupported(instruction, "more than one of -a * b, -c and .po"));
        }
        let [a, b, c] = [&a, &b, &c].map(|operand| self.source(instruction, operand, Type::B32));
        let d = self.destination(instruction, d, Type::B32)?;
        let run = lanes!([imm] a: u32, b: u32, c: u32 => u32 { video_product(imm, a, b, c) });
        let operands = Operands { d, a: a?, b: b?, c: c?, imm: form.pack(), ..Operands::default() };
        Ok(Some(Op::lanes(run, operands)))
    }
}
