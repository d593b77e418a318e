//! The modifiers of a floating-point instruction: rounding, `.ftz`, `.sat`, `.relu`.

/// A rounding modifier: `.rn`, `.rz`, `.rm` and `.rp`, or their integral forms `.rni` and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the nearest value, ties to the even one (`.rn`).
    #[default]
    Nearest,
    /// Towards zero (`.rz`).
    Zero,
    /// Towards negative infinity (`.rm`).
    Down,
    /// Towards positive infinity (`.rp`).
    Up,
}

/// The modifiers of one floating-point instruction. The default is `.rn` without the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mode {
    /// How an inexact result is rounded.
    pub rounding: Rounding,
    /// `.ftz`: subnormal inputs and results become zeros of the same sign.
    pub ftz: bool,
    /// `.sat`: the result is clamped to `[0, 1]`, and NaN becomes `+0`.
    pub saturate: bool,
    /// `.relu`: a negative result becomes `+0`; NaN stays NaN. Only the half formats have it.
    pub relu: bool,
}

impl Mode {
    /// The mode as five bits: rounding in bits 0 and 1, then `.ftz`, `.sat`, `.relu`. The default mode is 0.
    #[inline(always)]
    #[must_use]
    pub const fn pack(self) -> u32 {
        self.rounding as u32 | (self.ftz as u32) << 2 | (self.saturate as u32) << 3 | (self.relu as u32) << 4
    }

    /// The mode that [`Mode::pack`] made `packed` from. Bits above the fifth are ignored.
    #[inline(always)]
    #[must_use]
    pub const fn unpack(packed: u32) -> Self {
        let rounding = match packed & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Zero,
            2 => Rounding::Down,
            _ => Rounding::Up,
        };
        Self { rounding, ftz: packed & 4 != 0, saturate: packed & 8 != 0, relu: packed & 16 != 0 }
    }

    /// Whether this is `.rn` without modifiers, the case with a fast path.
    #[inline(always)]
    pub(super) const fn is_default(self) -> bool {
        self.pack() == 0
    }
}
