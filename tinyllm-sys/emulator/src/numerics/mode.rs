//! How an instruction rounds, and what it does with the ends of the range.

/// Directions of rounding: `.rn`, `.rz`, `.rm`, `.rp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, ties to even.
    #[default]
    Nearest,
    /// Towards 0.
    Zero,
    /// Towards -inf.
    Down,
    /// Towards +inf.
    Up,
}

impl Rounding {
    pub(super) fn apfloat(self) -> rustc_apfloat::Round {
        match self {
            Rounding::Nearest => rustc_apfloat::Round::NearestTiesToEven,
            Rounding::Zero => rustc_apfloat::Round::TowardZero,
            Rounding::Down => rustc_apfloat::Round::TowardNegative,
            Rounding::Up => rustc_apfloat::Round::TowardPositive,
        }
    }
}

/// Rounding, and what else an instruction's modifiers ask of its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// The direction.
    pub rounding: Rounding,
    /// `.ftz`: subnormal inputs and results become 0 of their sign.
    pub ftz: bool,
    /// `.sat`: the result is brought into [0, 1], NaN becomes 0.
    pub saturate: bool,
    /// `.relu`: what is negative becomes 0, NaN stays.
    pub relu: bool,
}

impl Mode {
    /// As a number that [`Mode::unpack`] reads.
    pub const fn pack(self) -> u32 {
        self.rounding as u32 | (self.ftz as u32) << 2 | (self.saturate as u32) << 3 | (self.relu as u32) << 4
    }

    /// What [`Mode::pack`] made.
    #[inline(always)]
    pub const fn unpack(bits: u32) -> Self {
        let rounding = match bits & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Zero,
            2 => Rounding::Down,
            _ => Rounding::Up,
        };
        Mode { rounding, ftz: bits & 4 != 0, saturate: bits & 8 != 0, relu: bits & 16 != 0 }
    }
}

/// What `testp` asks of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestProperty {
    /// Neither infinite nor NaN.
    Finite,
    /// An infinity.
    Infinite,
    /// Not NaN.
    Number,
    /// NaN.
    NotANumber,
    /// Finite and neither 0 nor subnormal.
    Normal,
    /// Subnormal, or 0.
    Subnormal,
}

impl TestProperty {
    /// The property of a number, as `property as u32` gives it.
    #[inline(always)]
    pub const fn from_index(index: u32) -> Self {
        match index {
            0 => TestProperty::Finite,
            1 => TestProperty::Infinite,
            2 => TestProperty::Number,
            3 => TestProperty::NotANumber,
            4 => TestProperty::Normal,
            _ => TestProperty::Subnormal,
        }
    }
}
