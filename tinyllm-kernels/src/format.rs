//! The formats of weights in memory, and the arithmetic of their groups and pieces.

use std::ops::Range;

use half::{bf16, f16};

/// How many weights along k share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupSize {
    /// This many; the last group of a row may be shorter.
    Elements(usize),
    /// The whole row.
    Channel,
}

/// Inputs of a piece at most: their products with int8 weights are summed in one i32, and 128 · 32767 · 512 < 2³¹.
/// Longer groups are cut into pieces.
pub const MAX_PIECE: usize = 512;

/// Pieces of a row at most: 131,072 inputs in pieces of 32.
pub(crate) const MAX_PIECES: usize = 4096;

impl GroupSize {
    /// Weights that share a scale, in a row of `k`.
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
        // Groups that are one piece or several full ones, or one group: every piece but the last has the same length.
        let restarts = group < k && !group.is_multiple_of(MAX_PIECE);
        Pieces { period: if restarts { group } else { group.min(MAX_PIECE) } }
    }

    /// Whether the kernels can run a row of `k`: groups, and so pieces, must begin at even columns, because inputs are
    /// read in pairs, and there are at most [`MAX_PIECES`] pieces.
    pub(crate) fn is_runnable(self, k: usize) -> bool {
        let group = self.elements(k);
        k > 0 && (group >= k || group.is_multiple_of(2)) && self.pieces(k).count(k) <= MAX_PIECES
    }
}

/// How a row of inputs is cut into pieces: the inputs of a piece share one scale as int16 activations, and one exact
/// i32 sum. Every group is cut into pieces of [`MAX_PIECE`] inputs from its first input on; the last piece of a group
/// may be shorter. Made by [`GroupSize::pieces`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pieces {
    /// Inputs after which the cutting into pieces restarts: a group, or [`MAX_PIECE`] if that divides groups. At least
    /// 1.
    period: usize,
}

impl Pieces {
    /// Inputs of a piece; the last piece of a group or of a row may have fewer.
    pub fn most(self) -> usize {
        self.period.min(MAX_PIECE)
    }

    /// Inputs after which the cutting into pieces restarts.
    pub(crate) fn period(self) -> usize {
        self.period
    }

    /// Pieces of a period.
    pub(crate) fn per_period(self) -> usize {
        self.period.div_ceil(MAX_PIECE)
    }

    /// Pieces of a row of `k` inputs.
    pub fn count(self, k: usize) -> usize {
        k / self.period * self.per_period() + (k % self.period).div_ceil(MAX_PIECE)
    }

    /// The first input of piece `index`; `k` for the index after the last.
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

/// The type of a quantised weight's scales. Tiny-LLM writes f16; other files may have any of these, which are not
/// converted.
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

    /// Scale `index` of little-endian scales of any alignment.
    #[inline(always)]
    pub(crate) fn read(self, scales: &[u8], index: usize) -> f32 {
        let size = self.size_bytes();
        match (self, &scales[index * size..][..size]) {
            (ScaleType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (ScaleType::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            (ScaleType::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => 0.0,
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
    /// int8 with a scale per group; inputs are quantised to int16 with a scale per token and piece.
    W8A16 {
        /// Weights that share a scale.
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

    /// The ends of pieces, by counting inputs: a piece ends with its 512th input, with its group, or with the row.
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
    fn pieces_restart_in_every_group() {
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
