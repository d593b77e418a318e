//! Tensor types by their number in a file: name, elements to a block, bytes of a block.

/// A tensor type that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the names the format and its users know")]
#[non_exhaustive]
pub enum GgmlType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an F32.
    BF16,
    /// 32 weights of 4 bits, one scale.
    Q4_0,
    /// 32 weights of 4 bits, scale and minimum.
    Q4_1,
    /// 32 weights of 5 bits, one scale.
    Q5_0,
    /// 32 weights of 5 bits, scale and minimum.
    Q5_1,
    /// 32 weights of 8 bits, one scale.
    Q8_0,
    /// 256 weights of 2 bits, scales and minima of 4 bits to each 16.
    Q2_K,
    /// 256 weights of 3 bits, scales of 6 bits to each 16.
    Q3_K,
    /// 256 weights of 4 bits, scales and minima of 6 bits to each 32.
    Q4_K,
    /// 256 weights of 5 bits, scales and minima of 6 bits to each 32.
    Q5_K,
    /// 256 weights of 6 bits, scales of 8 bits to each 16.
    Q6_K,
    /// 32 weights of 4 bits that index a fixed table, one scale.
    IQ4_NL,
    /// 256 weights of 4 bits that index a fixed table, scales of 6 bits to each 32.
    IQ4_XS,
}

use GgmlType::*;

/// Number in a file, type, elements to a block, bytes of a block.
const READABLE: [(u32, GgmlType, usize, usize); 15] = [
    (0, F32, 1, 4),
    (1, F16, 1, 2),
    (2, Q4_0, 32, 18),
    (3, Q4_1, 32, 20),
    (6, Q5_0, 32, 22),
    (7, Q5_1, 32, 24),
    (8, Q8_0, 32, 34),
    (10, Q2_K, 256, 84),
    (11, Q3_K, 256, 110),
    (12, Q4_K, 256, 144),
    (13, Q5_K, 256, 176),
    (14, Q6_K, 256, 210),
    (20, IQ4_NL, 32, 18),
    (23, IQ4_XS, 256, 136),
    (30, BF16, 1, 2),
];

/// Types with a name that are not read, for the refusal.
const REFUSED: [(u32, &str); 26] = [
    (4, "Q4_2, removed from the format"),
    (5, "Q4_3, removed from the format"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4, removed from the format"),
    (32, "Q4_0_4_8, removed from the format"),
    (33, "Q4_0_8_8, removed from the format"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (36, "IQ4_NL_4_4, removed from the format"),
    (37, "IQ4_NL_4_8, removed from the format"),
    (38, "IQ4_NL_8_8, removed from the format"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

impl GgmlType {
    /// The list that refusals print.
    pub const SUPPORTED: &'static str = "readable: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS";

    /// Every type that can be read.
    pub fn all() -> impl Iterator<Item = Self> {
        READABLE.iter().map(|row| row.1)
    }

    /// The type with this number, or what is known of it.
    pub(super) fn from_number(number: u32) -> Result<Self, String> {
        match READABLE.iter().find(|row| row.0 == number) {
            Some(row) => Ok(row.1),
            None => Err(match REFUSED.iter().find(|row| row.0 == number) {
                Some((_, name)) => format!("tensor type {number} ({name})"),
                None => format!("tensor type {number} (unknown)"),
            }),
        }
    }

    /// The name as the format spells it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Elements to a block; 1 for plain floats.
    pub fn block_elems(self) -> usize {
        self.row().2
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().3
    }

    fn row(self) -> &'static (u32, GgmlType, usize, usize) {
        READABLE.iter().find(|row| row.1 == self).unwrap_or(&READABLE[0])
    }
}
