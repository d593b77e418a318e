//! Video instructions: sums, differences and comparisons of words, halves and bytes, then a second operation or a merge with `c`.

/// What is done with two parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as PTX names them")]
pub enum VideoOperation {
    #[default]
    Add,
    Sub,
    AbsDiff,
    Min,
    Max,
    Average,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A part of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Word,
    /// `.b0` to `.b3`.
    Byte(u8),
    /// `.h0` and `.h1`.
    Half(u8),
}

/// What is done with a scalar result and `c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as PTX names them")]
pub enum Second {
    #[default]
    None,
    Add,
    Min,
    Max,
}

/// A form of a video instruction but for its registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Video {
    /// What is done.
    pub operation: VideoOperation,
    /// Whether the result, `a` and `b` are signed.
    pub signed: [bool; 3],
    /// `.sat`.
    pub saturate: bool,
    /// Of the result, `a` and `b`, of a scalar instruction.
    pub parts: [Part; 3],
    /// With `c`, of a scalar instruction.
    pub second: Second,
    /// Shifts count modulo 32.
    pub wrap: bool,
    /// Parts of the result that are set, a bit each, of a SIMD instruction.
    pub mask: u8,
    /// Whether the parts are added to `c`, of a SIMD instruction.
    pub accumulate: bool,
}

const OPERATIONS: [VideoOperation; 14] = {
    use VideoOperation::*;
    [
        Add,
        Sub,
        AbsDiff,
        Min,
        Max,
        Average,
        ShiftLeft,
        ShiftRight,
        Equal,
        NotEqual,
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
    ]
};

const PARTS: [Part; 7] =
    [Part::Word, Part::Byte(0), Part::Byte(1), Part::Byte(2), Part::Byte(3), Part::Half(0), Part::Half(1)];

const SECONDS: [Second; 4] = [Second::None, Second::Add, Second::Min, Second::Max];

impl Video {
    /// As one number.
    pub fn pack(self) -> u32 {
        let index = |part: Part| PARTS.iter().position(|other| *other == part).unwrap_or(0) as u32;
        let operation = OPERATIONS.iter().position(|other| *other == self.operation).unwrap_or(0) as u32;
        let second = SECONDS.iter().position(|other| *other == self.second).unwrap_or(0) as u32;
        let flags =
            [self.signed[0], self.signed[1], self.signed[2], self.saturate, self.wrap, self.accumulate];
        let flags = flags.into_iter().enumerate().fold(0, |all, (bit, flag)| all | u32::from(flag) << bit);
        let [d, a, b] = self.parts.map(index);
        flags | operation << 6 | second << 10 | d << 12 | a << 15 | b << 18 | u32::from(self.mask) << 21
    }

    /// From one number.
    pub fn unpack(bits: u32) -> Self {
        let flag = |bit: u32| bits >> bit & 1 == 1;
        let part = |at: u32| PARTS[(bits >> at & 7) as usize % PARTS.len()];
        Video {
            operation: OPERATIONS[(bits >> 6 & 15) as usize % OPERATIONS.len()],
            signed: [flag(0), flag(1), flag(2)],
            saturate: flag(3),
            parts: [part(12), part(15), part(18)],
            second: SECONDS[(bits >> 10 & 3) as usize],
            wrap: flag(4),
            mask: (bits >> 21 & 15) as u8,
            accumulate: flag(5),
        }
    }

    fn of_parts(self, a: i128, b: i128) -> i128 {
        use VideoOperation::*;
        match self.operation {
            Add => a + b,
            Sub => a - b,
            AbsDiff => (a - b).abs(),
            Min => a.min(b),
            Max => a.max(b),
            // Away from 0 where the sum is positive: the manual rounds up, and truncates below 0.
            Average if a + b >= 0 => (a + b + 1) >> 1,
            Average => (a + b) >> 1,
            ShiftLeft => a << self.distance(b),
            ShiftRight => a >> self.distance(b),
            Equal => i128::from(a == b),
            NotEqual => i128::from(a != b),
            Less => i128::from(a < b),
            LessOrEqual => i128::from(a <= b),
            Greater => i128::from(a > b),
            GreaterOrEqual => i128::from(a >= b),
        }
    }

    fn distance(self, b: i128) -> u32 {
        let b = b as u32;
        if self.wrap { b & 31 } else { b.min(32) }
    }
}

/// Bits of a part, and where they begin.
fn place(part: Part) -> (u32, u32) {
    match part {
        Part::Word => (32, 0),
        Part::Byte(index) => (8, 8 * u32::from(index)),
        Part::Half(index) => (16, 16 * u32::from(index)),
    }
}

/// A part, extended by its sign or with zeros.
fn extract(word: u32, part: Part, signed: bool) -> i128 {
    let (bits, start) = place(part);
    let moved = word >> start << (32 - bits);
    if signed { i128::from(moved as i32 >> (32 - bits)) } else { i128::from(moved >> (32 - bits)) }
}

/// The nearest number that so many bits hold.
fn saturate(value: i128, bits: u32, signed: bool) -> i128 {
    match signed {
        true => value.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => value.clamp(0, (1 << bits) - 1),
    }
}

/// `vadd` and its kin, of a packed [`Video`].
pub fn video(form: u32, a: u32, b: u32, c: u32) -> u32 {
    let form = Video::unpack(form);
    let ([d_part, a_part, b_part], [d_signed, a_signed, b_signed]) = (form.parts, form.signed);
    let mut value = form.of_parts(extract(a, a_part, a_signed), extract(b, b_part, b_signed));
    let (bits, start) = place(d_part);
    if form.saturate {
        value = saturate(value, bits, d_signed);
    }
    let result = value as u32;
    let number = |word: u32| extract(word, Part::Word, d_signed);
    match form.second {
        Second::Add => result.wrapping_add(c),
        Second::Min => number(result).min(number(c)) as u32,
        Second::Max => number(result).max(number(c)) as u32,
        Second::None if d_part == Part::Word => result,
        Second::None => {
            let mask = u32::MAX >> (32 - bits) << start;
            result << start & mask | c & !mask
        }
    }
}

/// `vadd2`, `vadd4` and their kin, of a packed [`Video`], whose parts are arranged already.
pub fn video_parts(form: u32, parts: u32, a: u32, b: u32, c: u32) -> u32 {
    let form = Video::unpack(form);
    let [d_signed, a_signed, b_signed] = form.signed;
    let bits = 32 / parts;
    let mut d = if form.accumulate { c } else { 0 };
    for index in 0..parts {
        let part = if parts == 2 { Part::Half(index as u8) } else { Part::Byte(index as u8) };
        let (bit, mask) = (form.mask >> index & 1, u32::MAX >> (32 - bits) << (bits * index));
        let mut value = form.of_parts(extract(a, part, a_signed), extract(b, part, b_signed));
        if form.saturate {
            value = saturate(value, bits, d_signed);
        }
        match (form.accumulate, bit == 1) {
            (true, true) => d = d.wrapping_add(value as u32),
            (true, false) => {}
            (false, true) => d |= (value as u32) << (bits * index) & mask,
            (false, false) => d |= c & mask,
        }
    }
    d
}

/// What `vmad` does besides multiplying and adding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoProduct {
    /// Whether `a` and `b` are signed.
    pub signed: [bool; 2],
    /// Of `a` and `b`.
    pub parts: [Part; 2],
    /// Whether the product is subtracted.
    pub negated: bool,
    /// Whether `c` is.
    pub c_negated: bool,
    /// `.po`: one more.
    pub plus_one: bool,
    /// `.sat`.
    pub saturate: bool,
    /// 0, or 7 and 15 of `.shr7` and `.shr15`.
    pub shift: u32,
}

impl VideoProduct {
    /// As one number.
    pub fn pack(self) -> u32 {
        let index = |part: Part| PARTS.iter().position(|other| *other == part).unwrap_or(0) as u32;
        let flags =
            [self.signed[0], self.signed[1], self.negated, self.c_negated, self.plus_one, self.saturate];
        let flags = flags.into_iter().enumerate().fold(0, |all, (bit, flag)| all | u32::from(flag) << bit);
        flags | index(self.parts[0]) << 6 | index(self.parts[1]) << 9 | self.shift << 12
    }

    /// From one number.
    pub fn unpack(bits: u32) -> Self {
        let flag = |bit: u32| bits >> bit & 1 == 1;
        let part = |at: u32| PARTS[(bits >> at & 7) as usize % PARTS.len()];
        VideoProduct {
            signed: [flag(0), flag(1)],
            parts: [part(6), part(9)],
            negated: flag(2),
            c_negated: flag(3),
            plus_one: flag(4),
            saturate: flag(5),
            shift: bits >> 12 & 31,
        }
    }
}

/// `vmad`, of a packed [`VideoProduct`].
pub fn video_product(form: u32, a: u32, b: u32, c: u32) -> u32 {
    let form = VideoProduct::unpack(form);
    let signed = form.signed[0] || form.signed[1] || form.negated || form.c_negated;
    let product = extract(a, form.parts[0], form.signed[0]) * extract(b, form.parts[1], form.signed[1]);
    let c = extract(c, Part::Word, signed);
    // Negation is the complement and 1, which `.po` has too.
    let sum = match form {
        VideoProduct { plus_one: true, .. } => product + c + 1,
        VideoProduct { negated: true, .. } => c - product,
        VideoProduct { c_negated: true, .. } => product - c,
        _ => product + c,
    };
    let scaled = sum >> form.shift;
    (if form.saturate { saturate(scaled, 32, signed) } else { scaled }) as u32
}
