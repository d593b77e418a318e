//! The formats a weight can have in memory, and the arithmetic of their groups and pieces.

use std::ops::Range;

/// How many weights along k one scale covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupSize {
    /// This many; the last group of a row may be shorter.
    Elements(usize),
    /// The whole row.
    Channel,
}

/// Longest run of products summed in one i32: 128 · 32767 · 512 < 2³¹. Longer groups are cut into pieces.
pub const MAX_PIECE: usize = 512;

/// Most pieces of a row: 131,072 inputs in pieces of 32.
pub(crate) const MAX_PIECES: usize = 4096;

impl GroupSize {
    /// Weights a scale covers in a row of `k`.
    pub fn elements(self, k: usize) -> usize {
        match self {
            GroupSize::Elements(elements) => elements.clamp(1, k.max(1)),
            GroupSize::Channel => k.max(1),
        }
    }

    /// Scales of a row of `k`.
    pub fn groups(self, k: usize) -> usize {
        k.div_ceil(self.elements(k))
    }

    /// How a row of `k` inputs is cut into pieces.
    pub fn pieces(self, k: usize) -> Pieces {
        let group = self.elements(k);
        // One group, or groups of whole pieces: each piece begins where the one before has its most.
        let begins_anew = group < k && !group.is_multiple_of(MAX_PIECE);
        Pieces { period: if begins_anew { group } else { group.min(MAX_PIECE) } }
    }

    /// Whether the kernels can run a row of `k`: groups, and so pieces, begin at even columns, because inputs are read in
    /// pairs, and there are not too many pieces.
    pub(crate) fn is_runnable(self, k: usize) -> bool {
        let group = self.elements(k);
        k > 0 && (group >= k || group.is_multiple_of(2)) && self.pieces(k).count(k) <= MAX_PIECES
    }
}

/// How a row of inputs is cut into pieces, each of which has one int16 scale and one exact i32 sum: every group of the
/// weight's scales in pieces of [`MAX_PIECE`] inputs from its first input on, the last of a group as long as it comes out.
/// Made by [`GroupSize::pieces`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pieces {
    /// Inputs after which pieces begin anew: a group, or [`MAX_PIECE`] where that divides groups. At least 1.
    period: usize,
}

impl Pieces {
    /// Inputs of a piece, the last of a period and of a row apart.
    pub fn most(self) -> usize {
        self.period.min(MAX_PIECE)
    }

    /// Pieces of a period.
    pub(crate) fn per_period(self) -> usize {
        self.period.div_ceil(MAX_PIECE)
    }

    /// Pieces of a row of `k` inputs.
    pub fn count(self, k: usize) -> usize {
        k / self.period * self.per_period() + (k % self.period).div_ceil(MAX_PIECE)
    }

    /// The first input of piece `index`; for the number of pieces, `k`.
    #[inline(always)]
    pub fn start(self, index: usize, k: usize) -> usize {
        let start = match self.per_period() {
            1 => index * self.period,
            pieces => index / pieces * self.period + index % pieces * MAX_PIECE,
        };
        start.min(k)
    }

    /// The inputs of each piece of a row of `k`, in order.
    pub fn ranges(self, k: usize) -> impl Iterator<Item = Range<usize>> {
        (0..self.count(k)).map(move |index| self.start(index, k)..self.start(index + 1, k))
    }
}

/// The type of a quantised weight's scales. This engine writes f16; files from elsewhere hold any of these, and they
/// are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaleType {
    /// IEEE half.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE single.
    F32,
}

impl ScaleType {
    /// Size of one scale in bytes.
    pub const fn size_bytes(self) -> usize {
        match self {
            ScaleType::F16 | ScaleType::Bf16 => 2,
            ScaleType::F32 => 4,
        }
    }

    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            ScaleType::F16 => "f16",
            ScaleType::Bf16 => "bf16",
            ScaleType::F32 => "f32",
        }
    }
}

/// A weight matrix's format in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// int8 with scales per group; inputs become int16 with a scale per token and piece.
    W8A16 {
        /// Weights a scale covers.
        group_size: GroupSize,
        /// Type of the scales.
        scales: ScaleType,
    },
    /// IEEE half, f32 inputs.
    F16,
    /// IEEE single, f32 inputs.
    F32,
}

impl WeightFormat {
    /// The element type in reports.
    pub const fn name(self) -> &'static str {
        match self {
            WeightFormat::W8A16 { .. } => "int8",
            WeightFormat::F16 => "f16",
            WeightFormat::F32 => "f32",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends of pieces by counting inputs one by one: a piece ends with its 512th input, with its group and with the row.
    fn counted(group: usize, k: usize) -> Vec<usize> {
        let (mut ends, mut length) = (Vec::new(), 0);
        for input in 0..k {
            length += 1;
            if length == 512 || (input + 1) % group == 0 || input + 1 == k {
                ends.push(input + 1);
                length = 0;
            }
        }
        ends
    }

    #[test]
    fn pieces_begin_anew_in_every_group() {
        for group in [1, 2, 32, 100, 510, 512, 514, 600, 768, 1000, 1024, 1026, 1536, 2000, 5000] {
            for k in [1, 2, 161, 511, 512, 513, 600, 768, 1200, 1300, 1536, 2304, 4097] {
                for group_size in [GroupSize::Elements(group), GroupSize::Channel] {
                    let pieces = group_size.pieces(k);
                    let expected = counted(group_size.elements(k), k);
                    let found: Vec<usize> = pieces.ranges(k).map(|piece| piece.end).collect();
                    assert_eq!(found, expected, "{group_size:?} of {k}");
                    assert_eq!(pieces.count(k), expected.len());
                    assert!(pieces.ranges(k).all(|piece| piece.len() <= pieces.most()));
                }
            }
        }
    }

    #[test]
    fn equal_cuts_are_equal() {
        assert_eq!(GroupSize::Elements(1024).pieces(2048), GroupSize::Channel.pieces(2048));
        assert_eq!(GroupSize::Elements(700).pieces(700), GroupSize::Channel.pieces(700));
        assert_ne!(GroupSize::Elements(600).pieces(1200), GroupSize::Channel.pieces(1200));
        assert_ne!(GroupSize::Elements(0).elements(64), 0);
    }

    #[test]
    fn groups_that_begin_at_odd_columns_do_not_run() {
        assert!(!GroupSize::Elements(601).is_runnable(1202));
        assert!(GroupSize::Elements(601).is_runnable(601));
        assert!(GroupSize::Elements(600).is_runnable(1201));
        assert!(!GroupSize::Elements(1).is_runnable(64));
        assert!(!GroupSize::Elements(2).is_runnable(2 * MAX_PIECES + 2));
    }
}
