//! The formats a weight can have in memory, and the arithmetic of their groups.

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
            GroupSize::Elements(elements) => elements.min(k.max(1)),
            GroupSize::Channel => k.max(1),
        }
    }

    /// Scales of a row of `k`.
    pub fn groups(self, k: usize) -> usize {
        k.div_ceil(self.elements(k))
    }

    /// Inputs that share one activation scale: the group, or [`MAX_PIECE`] where that is shorter.
    pub fn piece(self, k: usize) -> usize {
        self.elements(k).min(MAX_PIECE)
    }

    /// Whether the kernels can run a row of `k`: pieces begin at even columns, because inputs are read in pairs, and
    /// there are not too many of them.
    pub(crate) fn is_runnable(self, k: usize) -> bool {
        let piece = self.piece(k);
        k > 0 && (piece >= k || piece.is_multiple_of(2)) && k.div_ceil(piece) <= MAX_PIECES
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
