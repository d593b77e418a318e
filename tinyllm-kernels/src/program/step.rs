//! A step: the data of one submission.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Limits, Program};
use crate::KernelError;

/// The input of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepInput<'a> {
    /// `[tokens]`: token ids, for a program that embeds them.
    TokenIds(&'a [u32]),
    /// The number of rows of the program's input region, which were written before.
    Rows(usize),
}

impl StepInput<'_> {
    /// Number of rows.
    pub fn tokens(self) -> usize {
        match self {
            StepInput::TokenIds(ids) => ids.len(),
            StepInput::Rows(rows) => rows,
        }
    }
}

/// The data of one step: tokens of one or several sequences, concatenated (a flattened batch).
///
/// Sequence `s` owns tokens `query_starts[s]..query_starts[s + 1]`; its last token is at position
/// `kv_lengths[s] - 1`, and its cache blocks are `block_tables[s * block_table_stride..]`. A program without a cache has no
/// sequences.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// The tokens.
    pub input: StepInput<'a>,
    /// `[sequences + 1]`: each sequence's first token row, then the number of tokens.
    pub query_starts: &'a [u32],
    /// `[sequences]`: tokens in the cache after this step.
    pub kv_lengths: &'a [u32],
    /// `[sequences, block_table_stride]`: the block table of each sequence, in the order of positions.
    pub block_tables: &'a [u32],
    /// Length of a row of `block_tables`.
    pub block_table_stride: usize,
    /// The token rows whose logits are computed: any number for each sequence.
    pub sampled_rows: &'a [u32],
}

impl<'a> Step<'a> {
    /// Rows without sequences, for a program without a cache; none of them sampled.
    pub fn new(input: StepInput<'a>) -> Self {
        Step {
            input,
            query_starts: &[],
            kv_lengths: &[],
            block_tables: &[],
            block_table_stride: 0,
            sampled_rows: &[],
        }
    }

    /// Rows of sequences: the fields of these names.
    pub fn with_sequences(
        self,
        query_starts: &'a [u32],
        kv_lengths: &'a [u32],
        block_tables: &'a [u32],
        block_table_stride: usize,
    ) -> Self {
        Step { query_starts, kv_lengths, block_tables, block_table_stride, ..self }
    }

    /// With these rows sampled.
    pub fn with_sampled_rows(self, sampled_rows: &'a [u32]) -> Self {
        Step { sampled_rows, ..self }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.input.tokens()
    }

    /// The token id of a row; 0 in a step of rows.
    pub fn token_id(&self, row: usize) -> u32 {
        match self.input {
            StepInput::TokenIds(ids) => ids[row],
            StepInput::Rows(_) => 0,
        }
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.kv_lengths.len()
    }

    /// The tokens of a sequence: `(first token row, first position, tokens)`.
    pub fn span(&self, sequence: usize) -> (usize, usize, usize) {
        let start = self.query_starts[sequence] as usize;
        let tokens = self.query_starts[sequence + 1] as usize - start;
        (start, self.kv_lengths[sequence] as usize - tokens, tokens)
    }

    /// The sequence that a token row belongs to.
    pub fn sequence_of(&self, row: usize) -> usize {
        self.query_starts.partition_point(|start| *start as usize <= row) - 1
    }

    /// The block table of a sequence.
    pub fn block_table(&self, sequence: usize) -> &'a [u32] {
        &self.block_tables[sequence * self.block_table_stride..][..self.block_table_stride]
    }

    /// Checks every index of the step against the program; kernels rely on it.
    ///
    /// # Errors
    /// [`KernelError::Invalid`], naming the field.
    pub fn validate(&self, program: &Program) -> Result<(), KernelError> {
        let limits = program.limits();
        let tokens = self.tokens();
        if tokens == 0 || tokens > limits.max_tokens {
            return invalid("token_ids", format!("{tokens} tokens, from 1 to {} fit", limits.max_tokens));
        }
        match (self.input, program.vocab_size()) {
            (StepInput::TokenIds(ids), Some(vocab_size)) => {
                if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
                    let problem = format!("token {id} is outside the vocabulary of {vocab_size}");
                    return invalid("token_ids", problem);
                }
            }
            (StepInput::Rows(_), None) => {}
            (StepInput::TokenIds(_), None) => {
                return invalid("input", "token ids, where rows enter through a region".into());
            }
            (StepInput::Rows(_), Some(_)) => {
                return invalid("input", "rows, where token ids are embedded".into());
            }
        }
        match program.kv() {
            Some(kv) => self.validate_sequences(&limits, kv.block_tokens())?,
            None if self.sequences() == 0 && self.query_starts.is_empty() => {}
            None => return invalid("query_starts", "sequences, where there is no cache".into()),
        }
        self.validate_sampled(limits.max_sampled_rows)
    }

    fn validate_sequences(&self, limits: &Limits, block_tokens: usize) -> Result<(), KernelError> {
        let Limits { max_sequences, cache_blocks, max_sequence_blocks, .. } = *limits;
        let (sequences, tokens) = (self.sequences(), self.tokens());
        if sequences == 0 || sequences > max_sequences || self.query_starts.len() != sequences + 1 {
            return invalid("query_starts", format!("{sequences} sequences, from 1 to {max_sequences} fit"));
        }
        let ascending = self.query_starts.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.query_starts[0] != 0 || self.query_starts[sequences] as usize != tokens {
            return invalid("query_starts", format!("{:?} does not cut {tokens} tokens", self.query_starts));
        }
        if sequences.checked_mul(self.block_table_stride) != Some(self.block_tables.len()) {
            return invalid("block_tables", format!("{} entries", self.block_tables.len()));
        }
        for sequence in 0..sequences {
            let length = self.kv_lengths[sequence] as usize;
            let queries = (self.query_starts[sequence + 1] - self.query_starts[sequence]) as usize;
            let blocks = length.div_ceil(block_tokens);
            if length < queries || blocks > self.block_table_stride.min(max_sequence_blocks) {
                return invalid("kv_lengths", format!("sequence {sequence}: {length} tokens in the cache"));
            }
            let mut table = self.block_table(sequence)[..blocks].iter();
            if let Some(block) = table.find(|&&block| block as usize >= cache_blocks) {
                let problem = format!("sequence {sequence}: block {block} of {cache_blocks}");
                return invalid("block_tables", problem);
            }
        }
        self.validate_written(block_tokens)
    }

    /// Every block that the step writes is written by one sequence, through one entry of its block table: threads write
    /// tokens concurrently.
    fn validate_written(&self, block_tokens: usize) -> Result<(), KernelError> {
        let blocks = |sequence: usize| {
            let (_, first_position, tokens) = self.span(sequence);
            let end = (first_position + tokens).div_ceil(block_tokens);
            &self.block_table(sequence)[first_position / block_tokens..end]
        };
        // Quadratic, but a step writes few blocks: one for each decoding sequence, and those of prompt chunks.
        for sequence in 0..self.sequences() {
            let own = blocks(sequence);
            for (index, block) in own.iter().enumerate() {
                let mut others = own[..index].iter().chain((0..sequence).flat_map(blocks));
                if others.any(|other| other == block) {
                    let problem =
                        format!("sequence {sequence}: block {block} is written to twice in this step");
                    return invalid("block_tables", problem);
                }
            }
        }
        Ok(())
    }

    /// A hash of a valid step without its sampled rows: entries of one step have the same.
    pub(crate) fn fingerprint(&self, program: &Program) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.input, self.query_starts, self.kv_lengths).hash(&mut hasher);
        let block_tokens = program.kv().map_or(1, |kv| kv.block_tokens());
        for (sequence, length) in self.kv_lengths.iter().enumerate() {
            self.block_table(sequence)[..(*length as usize).div_ceil(block_tokens)].hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Checks the sampled rows.
    fn validate_sampled(&self, max_sampled_rows: usize) -> Result<(), KernelError> {
        let (tokens, rows) = (self.tokens(), self.sampled_rows);
        match rows.iter().find(|&&row| row as usize >= tokens) {
            None if rows.len() <= max_sampled_rows => Ok(()),
            None => invalid("sampled_rows", format!("{} rows, {max_sampled_rows} fit", rows.len())),
            Some(row) => invalid("sampled_rows", format!("row {row} of {tokens}")),
        }
    }
}

fn invalid<T>(what: &'static str, problem: String) -> Result<T, KernelError> {
    Err(KernelError::Invalid { what, problem })
}
