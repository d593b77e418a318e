//! The data of a step on the device: one copy from page-locked memory, laid out for as many rows and sequences as the step has.

use super::{compile::SEGMENT, layout::ALIGN_BYTES};
use crate::{KernelError, Limits, Op, Program, Step, StepInput, rotary::table_row};

/// Bytes before the sections: the number of tokens, of sampled rows and of sequences, and where the first input that is not
/// finite was met.
const HEADER_BYTES: usize = 32;

/// Offset of the word that says where the first input that is not finite was met.
const FAULT_OFFSET: usize = 16;

/// Value of that word where every input was finite: larger than every place.
pub(super) const NO_FAULT: u64 = u64::MAX;

/// Where the sections of a step's data begin, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepLayout {
    pub(super) token_ids: usize,
    /// The sequence of each token row, and its position there.
    pub(super) row_sequences: usize,
    pub(super) row_positions: usize,
    pub(super) sampled_rows: usize,
    /// `[sequences][max_sequence_blocks]`.
    pub(super) block_tables: usize,
    /// By [`Op::RotaryTable`], in the order of operations: `[tokens][head_dim]` f32.
    pub(super) rotary_tables: Vec<usize>,
    pub(super) bytes: usize,
}

/// How much there is of what a step has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Counts {
    pub(super) tokens: usize,
    pub(super) sampled: usize,
    pub(super) sequences: usize,
}

impl Counts {
    pub(super) fn of_limits(limits: &Limits) -> Self {
        Counts {
            tokens: limits.max_tokens,
            sampled: limits.max_sampled_rows,
            sequences: limits.max_sequences,
        }
    }

    pub(super) fn of_step(step: &Step<'_>) -> Self {
        Counts { tokens: step.tokens(), sampled: step.sampled_rows.len(), sequences: step.sequences() }
    }
}

/// What a step's launches are made for: at least as many rows, sequences and segments of keys as it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StepShape {
    pub(super) counts: Counts,
    /// Segments of attention of the longest sequence.
    pub(super) segments: usize,
}

/// Rows of decoding steps that have one shape each; a step in between has the next one's.
const DECODE_ROWS: [usize; 9] = [1, 2, 4, 8, 16, 24, 32, 48, 64];

impl StepShape {
    /// Exactly what a step has.
    pub(super) fn of_step(step: &Step<'_>) -> Self {
        let longest = step.kv_lengths.iter().max().map_or(0, |length| *length as usize);
        StepShape { counts: Counts::of_step(step), segments: longest.div_ceil(SEGMENT) }
    }

    /// The shape of a decoding step, each of whose sequences has one token, that it shares with others; `None` for other steps.
    pub(super) fn of_decoding(program: &Program, step: &Step<'_>) -> Option<Self> {
        let StepShape { counts, segments } = Self::of_step(step);
        let limits = program.limits();
        let rows = DECODE_ROWS.into_iter().find(|rows| *rows >= counts.tokens)?;
        let rows = rows.min(limits.max_tokens).min(limits.max_sequences);
        if counts.tokens != counts.sequences || counts.tokens > rows {
            return None;
        }
        let block_tokens = program.kv().map_or(1, |kv| kv.block_tokens());
        let most = (limits.max_sequence_blocks * block_tokens).div_ceil(SEGMENT).max(1);
        let sampled = if counts.sampled == 0 { 0 } else { rows.min(limits.max_sampled_rows) };
        let counts = Counts { tokens: rows, sampled: sampled.max(counts.sampled), sequences: rows };
        Some(StepShape { counts, segments: segments.next_power_of_two().min(most) })
    }
}

impl StepLayout {
    /// # Errors
    /// [`KernelError::Invalid`] for sizes that overflow.
    pub(super) fn new(program: &Program, counts: Counts) -> Result<Self, KernelError> {
        let mut bytes = HEADER_BYTES;
        let mut section = |elements: Option<usize>| {
            let start = bytes;
            let end = elements
                .and_then(|elements| elements.checked_mul(4))
                .and_then(|size| start.checked_add(size));
            let end = end.and_then(|end| end.checked_next_multiple_of(ALIGN_BYTES));
            bytes = end
                .ok_or_else(|| KernelError::Invalid { what: "step", problem: "its bytes overflow".into() })?;
            Ok::<usize, KernelError>(start)
        };
        let Counts { tokens, sampled, sequences } = counts;
        Ok(StepLayout {
            token_ids: section(Some(tokens))?,
            row_sequences: section(Some(tokens))?,
            row_positions: section(Some(tokens))?,
            sampled_rows: section(Some(sampled))?,
            block_tables: section(sequences.checked_mul(program.limits().max_sequence_blocks))?,
            rotary_tables: rotary_tables(program)
                .map(|(frequencies, _)| section(tokens.checked_mul(2 * frequencies.len())))
                .collect::<Result<_, _>>()?,
            bytes,
        })
    }

    /// Offset of the number of token rows.
    pub(super) const fn token_count() -> usize {
        0
    }

    /// Offset of the number of sampled rows.
    pub(super) const fn sampled_count() -> usize {
        4
    }

    /// Offset of the word that says where the first input that is not finite was met.
    pub(super) const fn fault() -> usize {
        FAULT_OFFSET
    }

    /// Writes a step that was validated to `out`, `[bytes]`.
    pub(super) fn write(&self, program: &Program, step: &Step<'_>, out: &mut [u8]) {
        let Counts { tokens, sampled, sequences } = Counts::of_step(step);
        let mut words = |offset: usize, values: &mut dyn Iterator<Item = u32>| {
            let places = out[offset..].chunks_exact_mut(4);
            places.zip(values).for_each(|(place, value)| place.copy_from_slice(&value.to_ne_bytes()));
        };
        words(0, &mut [tokens as u32, sampled as u32, sequences as u32].into_iter());
        words(FAULT_OFFSET, &mut [u32::MAX, u32::MAX].into_iter());
        if let StepInput::TokenIds(ids) = step.input {
            words(self.token_ids, &mut ids.iter().copied());
        }
        words(self.sampled_rows, &mut step.sampled_rows.iter().copied());
        let stride = program.limits().max_sequence_blocks;
        for sequence in 0..sequences {
            let (first_row, first_position, count) = step.span(sequence);
            words(self.row_sequences + 4 * first_row, &mut (0..count).map(|_| sequence as u32));
            let positions = &mut (0..count).map(|row| (first_position + row) as u32);
            words(self.row_positions + 4 * first_row, positions);
            let table = &mut step.block_table(sequence).iter().copied().take(stride);
            words(self.block_tables + 4 * sequence * stride, table);
        }
        for ((frequencies, scale), offset) in rotary_tables(program).zip(&self.rotary_tables) {
            let width = 2 * frequencies.len();
            let rows = &mut out[*offset..][..4 * width * tokens];
            let rows: &mut [f32] = bytemuck::cast_slice_mut(rows);
            for sequence in 0..sequences {
                let (first_row, first_position, count) = step.span(sequence);
                for row in 0..count {
                    let out = &mut rows[(first_row + row) * width..][..width];
                    table_row(frequencies, scale, (first_position + row) as u32, out);
                }
            }
        }
    }
}

/// The frequencies and scales of a program's rotary tables.
fn rotary_tables(program: &Program) -> impl Iterator<Item = (&[f64], f64)> {
    program.ops().iter().filter_map(|op| match op {
        Op::RotaryTable { inverse_frequencies, scale, .. } => Some((&inverse_frequencies[..], *scale)),
        _ => None,
    })
}
