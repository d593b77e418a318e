//! What varies from step to step.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Program;
use crate::KernelError;

/// The data of one step: tokens of one or several sequences, side by side.
///
/// Sequence `s` owns tokens `query_starts[s]..query_starts[s + 1]`; its last token is at position
/// `kv_lengths[s] - 1`, and its cache blocks are `block_tables[s * block_table_stride..]`.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// `[tokens]`.
    pub token_ids: &'a [u32],
    /// `[sequences + 1]`, from 0 to the number of tokens.
    pub query_starts: &'a [u32],
    /// `[sequences]`: tokens in the cache after this step.
    pub kv_lengths: &'a [u32],
    /// `[sequences, block_table_stride]`: the cache blocks of each sequence, in order.
    pub block_tables: &'a [u32],
    /// Blocks a row of `block_tables` has room for.
    pub block_table_stride: usize,
    /// The tokens, by row, whose logits are wanted.
    pub sampled_rows: &'a [u32],
}

impl Step<'_> {
    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.kv_lengths.len()
    }

    /// The position of each token of sequence `sequence`: `(first token row, first position, tokens)`.
    pub fn span(&self, sequence: usize) -> (usize, usize, usize) {
        let start = self.query_starts[sequence] as usize;
        let tokens = self.query_starts[sequence + 1] as usize - start;
        (start, self.kv_lengths[sequence] as usize - tokens, tokens)
    }

    /// The sequence that a token row belongs to.
    pub fn sequence_of(&self, row: usize) -> usize {
        self.query_starts.partition_point(|start| *start as usize <= row) - 1
    }

    /// The blocks of a sequence.
    pub fn block_table(&self, sequence: usize) -> &[u32] {
        &self.block_tables[sequence * self.block_table_stride..][..self.block_table_stride]
    }

    /// Checks every index of the step against the program and a cache of `cache_blocks` blocks, so that no kernel
    /// needs to.
    ///
    /// # Errors
    /// [`KernelError::Invalid`], naming the field.
    pub fn validate(
        &self,
        program: &Program,
        vocab_size: usize,
        cache_blocks: usize,
    ) -> Result<(), KernelError> {
        let invalid = |what, problem: String| Err(KernelError::Invalid { what, problem });
        let limits = program.limits();
        let tokens = self.token_ids.len();
        if tokens == 0 || tokens > limits.max_tokens {
            return invalid("token_ids", format!("{tokens} tokens, from 1 to {} fit", limits.max_tokens));
        }
        if let Some(id) = self.token_ids.iter().find(|&&id| id as usize >= vocab_size) {
            return invalid("token_ids", format!("token {id} is outside the vocabulary of {vocab_size}"));
        }
        let sequences = self.sequences();
        if sequences == 0 || sequences > limits.max_sequences || self.query_starts.len() != sequences + 1 {
            return invalid(
                "query_starts",
                format!("{sequences} sequences, from 1 to {} fit", limits.max_sequences),
            );
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
            let blocks = length.div_ceil(program.kv().block_tokens());
            if length < queries || blocks > self.block_table_stride {
                return invalid("kv_lengths", format!("sequence {sequence}: {length} tokens in the cache"));
            }
            if let Some(block) =
                self.block_table(sequence)[..blocks].iter().find(|&&b| b as usize >= cache_blocks)
            {
                return invalid(
                    "block_tables",
                    format!("sequence {sequence}: block {block} of {cache_blocks}"),
                );
            }
        }
        self.validate_written(program.kv().block_tokens())?;
        self.validate_sampled(self.sampled_rows, limits.max_sampled_rows)
    }

    /// Every block that the step writes to is written to by one sequence, at one place of its block table: two threads may
    /// store two tokens at the same time.
    fn validate_written(&self, block_tokens: usize) -> Result<(), KernelError> {
        let blocks = |sequence: usize| {
            let (_, first_position, tokens) = self.span(sequence);
            let end = (first_position + tokens).div_ceil(block_tokens);
            &self.block_table(sequence)[first_position / block_tokens..end]
        };
        // A step writes few blocks: one for each decoding sequence, and the chunks of prompts.
        for sequence in 0..self.sequences() {
            let own = blocks(sequence);
            for (index, block) in own.iter().enumerate() {
                let mut others = own[..index].iter().chain((0..sequence).flat_map(blocks));
                if others.any(|other| other == block) {
                    return Err(KernelError::Invalid {
                        what: "block_tables",
                        problem: format!(
                            "sequence {sequence}: block {block} is written to twice in this step"
                        ),
                    });
                }
            }
        }
        Ok(())
    }

    /// What tells a valid step from others, its sampled rows apart.
    pub(crate) fn fingerprint(&self, block_tokens: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.token_ids, self.query_starts, self.kv_lengths).hash(&mut hasher);
        for (sequence, length) in self.kv_lengths.iter().enumerate() {
            self.block_table(sequence)[..(*length as usize).div_ceil(block_tokens)].hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Checks sampled rows alone.
    fn validate_sampled(&self, sampled_rows: &[u32], max_sampled_rows: usize) -> Result<(), KernelError> {
        let tokens = self.token_ids.len();
        match sampled_rows.iter().find(|&&row| row as usize >= tokens) {
            None if sampled_rows.len() <= max_sampled_rows => Ok(()),
            None => Err(KernelError::Invalid {
                what: "sampled_rows",
                problem: format!("{} rows, {max_sampled_rows} fit", sampled_rows.len()),
            }),
            Some(row) => {
                Err(KernelError::Invalid { what: "sampled_rows", problem: format!("row {row} of {tokens}") })
            }
        }
    }
}
