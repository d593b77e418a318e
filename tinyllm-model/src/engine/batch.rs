//! Several sequences in a step: each result is what the sequence would get alone.

use tinyllm_kernels::{Limits, Step, StepInput};

use super::{
    Engine,
    kv_cache::{KvCache, SequenceId},
    pipeline::Run,
};
use crate::{ModelError, Result, sampling::SampledRow};

/// What a step does with one sequence.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SequenceInput<'a> {
    /// The sequence.
    pub sequence: SequenceId,
    /// Tokens to append to it; at least one.
    pub tokens: &'a [u32],
    /// How many of the last tokens' logits are wanted: 0 within a prompt, 1 to choose the next token, more to verify
    /// drafted tokens or to score a prompt.
    pub sampled_rows: usize,
}

impl<'a> SequenceInput<'a> {
    /// Appends `tokens` to `sequence`; the logits of the last `sampled_rows` of them are wanted.
    pub fn new(sequence: SequenceId, tokens: &'a [u32], sampled_rows: usize) -> Self {
        SequenceInput { sequence, tokens, sampled_rows }
    }
}

/// A row of the last step whose logits are there.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowPlace {
    sequence: SequenceId,
    /// Tokens of the sequence up to this row, its own included.
    length: usize,
}

/// The arrays of a step, made once at their largest.
#[derive(Debug)]
pub(super) struct StepTables {
    token_ids: Vec<u32>,
    query_starts: Vec<u32>,
    kv_lengths: Vec<u32>,
    /// `[max_sequences, blocks_per_sequence]`.
    block_tables: Vec<u32>,
    sampled_rows: Vec<u32>,
    stride: usize,
}

impl StepTables {
    pub(super) fn new(cache: &KvCache, limits: Limits) -> Self {
        let stride = cache.blocks_per_sequence();
        StepTables {
            token_ids: Vec::with_capacity(limits.max_tokens),
            query_starts: Vec::with_capacity(limits.max_sequences + 1),
            kv_lengths: Vec::with_capacity(limits.max_sequences),
            block_tables: vec![0; limits.max_sequences * stride],
            sampled_rows: Vec::with_capacity(limits.max_sampled_rows),
            stride,
        }
    }

    /// Lays out a batch that has its room.
    fn fill(&mut self, cache: &KvCache, batch: &[SequenceInput<'_>]) -> Result<()> {
        self.token_ids.clear();
        self.query_starts.clear();
        self.kv_lengths.clear();
        self.sampled_rows.clear();
        self.query_starts.push(0);
        for (index, input) in batch.iter().enumerate() {
            self.token_ids.extend_from_slice(input.tokens);
            self.query_starts.push(self.token_ids.len() as u32);
            self.kv_lengths.push((cache.tokens(input.sequence)?.len() + input.tokens.len()) as u32);
            cache
                .block_table(input.sequence, &mut self.block_tables[index * self.stride..][..self.stride])?;
            let end = self.token_ids.len() as u32;
            self.sampled_rows.extend(end - input.sampled_rows as u32..end);
        }
        Ok(())
    }

    /// Other rows of the step that was laid out last.
    pub(super) fn sample(&mut self, rows: impl Iterator<Item = u32>) {
        self.sampled_rows.clear();
        self.sampled_rows.extend(rows);
    }

    pub(super) fn step(&self) -> Step<'_> {
        let tables = &self.block_tables[..self.kv_lengths.len() * self.stride];
        Step::new(StepInput::TokenIds(&self.token_ids))
            .with_sequences(&self.query_starts, &self.kv_lengths, tables, self.stride)
            .with_sampled_rows(&self.sampled_rows)
    }
}

impl Engine {
    /// A new sequence without tokens.
    ///
    /// # Errors
    /// [`ModelError::TooManySequences`] where there are as many as the batch size allows.
    pub fn create_sequence(&mut self) -> Result<SequenceId> {
        self.cache.create()
    }

    /// A sequence that begins with the longest prefix of `prompt` that any sequence has in the cache already, and the
    /// length of that prefix. Its blocks are shared until one of the sequences writes to them. The prompt's last token is
    /// never among them: its logits are wanted.
    ///
    /// # Errors
    /// As [`Engine::create_sequence`].
    pub fn create_sequence_with_prefix(&mut self, prompt: &[u32]) -> Result<(SequenceId, usize)> {
        self.cache.create_with_prefix(&prompt[..prompt.len().saturating_sub(1)])
    }

    /// A second sequence with the same tokens; blocks are shared until one of the two writes to them.
    ///
    /// # Errors
    /// As [`Engine::create_sequence`]; [`ModelError::UnknownSequence`].
    pub fn fork_sequence(&mut self, sequence: SequenceId) -> Result<SequenceId> {
        self.cache.fork(sequence)
    }

    /// Forgets a sequence's tokens from `length` on; returns how many are left, which is 0 where a sliding window has let
    /// go of what the next token would need.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub fn truncate_sequence(&mut self, sequence: SequenceId, length: usize) -> Result<usize> {
        self.cache.truncate(sequence, length)
    }

    /// Gives a sequence's blocks back. Its id never names another.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub fn free_sequence(&mut self, sequence: SequenceId) -> Result<()> {
        self.cache.free(sequence)
    }

    /// The tokens of a sequence.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub fn sequence_tokens(&self, sequence: SequenceId) -> Result<&[u32]> {
        self.cache.tokens(sequence)
    }

    /// Blocks of the cache that no sequence holds.
    pub fn free_blocks(&self) -> usize {
        self.cache.free_blocks()
    }

    /// Tokens of a block of the cache.
    pub fn block_tokens(&self) -> usize {
        self.cache.block_tokens()
    }

    /// How many free blocks a step takes that appends so many tokens to each of these sequences, none of which is named
    /// twice: new blocks, and copies of shared ones. The step fits where [`Engine::free_blocks`] are as many.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub fn blocks_needed(&self, step: &[(SequenceId, usize)]) -> Result<usize> {
        self.cache.blocks_needed(step.iter().copied())
    }

    /// Tokens that a step takes at most, all sequences together.
    pub fn max_step_tokens(&self) -> usize {
        self.limits.max_tokens
    }

    /// Rows whose logits a step gives at most, all sequences together.
    pub fn max_sampled_rows(&self) -> usize {
        self.limits.max_sampled_rows
    }

    /// Runs one step: appends each input's tokens to its sequence. Logits are then to be had from
    /// [`Engine::step_logits`], by row: each input's sampled rows, in the order of the inputs and of their tokens.
    ///
    /// # Errors
    /// What is refused: [`ModelError::EmptyBatch`], [`ModelError::EmptyPrompt`], [`ModelError::TokenOutOfVocabulary`],
    /// [`ModelError::ContextExceeded`], [`ModelError::SequenceTwice`], [`ModelError::StepTooLarge`],
    /// [`ModelError::RowsBeyondTokens`], [`ModelError::TooManyRows`], [`ModelError::UnknownSequence`],
    /// [`ModelError::CacheFull`]. What comes up while it runs: [`ModelError::Kernel`], [`ModelError::Load`]. Whichever it
    /// is, every sequence is as it was, no block was taken, and there are no logits.
    pub fn forward(&mut self, batch: &[SequenceInput<'_>]) -> Result<()> {
        self.sampled.clear();
        self.layers.forget();
        self.check_batch(batch)?;
        self.load_before_step(batch.iter().map(|input| input.tokens.len()).sum())?;
        // Gives the room back however this ends, unless the step succeeds.
        let room = self.cache.reserve(batch.iter().map(|input| (input.sequence, input.tokens.len())))?;
        self.tables.fill(room.cache(), batch)?;
        let copied = self.layers.copy_blocks(room.copies());
        let is_sampled = batch.iter().any(|input| input.sampled_rows > 0);
        let run = if is_sampled { Run::Forward } else { Run::Prefill };
        if let Err(error) = copied.and_then(|()| self.layers.run(run, &self.tables.step())) {
            drop(room);
            return Err(self.step_error(error));
        }
        room.commit(batch.iter().map(|input| input.tokens));
        for input in batch {
            let SequenceInput { sequence, sampled_rows, .. } = *input;
            let length = self.cache.tokens(sequence)?.len();
            let lengths = length - sampled_rows + 1..length + 1;
            self.sampled.extend(lengths.map(|length| RowPlace { sequence, length }));
        }
        Ok(())
    }

    /// Logits of sampled row `row` of the last step, `[vocab]`, to read and to scratch on until the next step.
    ///
    /// # Errors
    /// [`ModelError::NoLogits`] where there are none: fewer rows were sampled, the last step did not succeed, no step ran.
    /// [`ModelError::UnknownSequence`] where the row's sequence was freed.
    pub fn step_logits(&mut self, row: usize) -> Result<&mut [f32]> {
        let rows = self.sampled.len();
        let sampled = self.sampled.get(row).ok_or(ModelError::NoLogits { row, rows })?;
        self.cache.tokens(sampled.sequence)?;
        self.layers.output(row).ok_or(ModelError::NoLogits { row, rows })
    }

    /// Sampled row `row` of the last step, with what choosing its next token needs.
    ///
    /// # Errors
    /// As [`Engine::step_logits`]; also [`ModelError::NoLogits`] where the row's sequence was cut before it.
    pub fn sampled_row(&mut self, row: usize) -> Result<SampledRow<'_>> {
        let none = ModelError::NoLogits { row, rows: self.sampled.len() };
        let Some(RowPlace { sequence, length }) = self.sampled.get(row).copied() else { return Err(none) };
        let (tokens, scratch) = self.cache.sampling(sequence, length)?;
        match self.layers.output(row) {
            Some(logits) if tokens.len() == length => Ok(SampledRow { tokens, logits, scratch }),
            _ => Err(none),
        }
    }

    /// Logits of other rows of the step that ran last.
    pub(super) fn run_head(&mut self) -> Result<()> {
        self.layers.run(Run::Head, &self.tables.step()).map_err(|error| self.step_error(error))
    }

    fn check_batch(&self, batch: &[SequenceInput<'_>]) -> Result<()> {
        if batch.is_empty() {
            return Err(ModelError::EmptyBatch);
        }
        for (index, input) in batch.iter().enumerate() {
            if batch[..index].iter().any(|other| other.sequence == input.sequence) {
                return Err(ModelError::SequenceTwice);
            }
            let length = self.cache.tokens(input.sequence)?.len() + input.tokens.len();
            self.check_tokens(input.tokens, length)?;
            if input.sampled_rows > input.tokens.len() {
                let (rows, tokens) = (input.sampled_rows, input.tokens.len());
                return Err(ModelError::RowsBeyondTokens { rows, tokens });
            }
        }
        let tokens: usize = batch.iter().map(|input| input.tokens.len()).sum();
        let (max_tokens, max_sequences) = (self.limits.max_tokens, self.cache.max_sequences());
        if tokens > max_tokens || batch.len() > max_sequences {
            let sequences = batch.len();
            return Err(ModelError::StepTooLarge { tokens, sequences, max_tokens, max_sequences });
        }
        let rows = batch.iter().map(|input| input.sampled_rows).sum();
        let limit = self.limits.max_sampled_rows;
        if rows > limit { Err(ModelError::TooManyRows { rows, limit }) } else { Ok(()) }
    }

    pub(crate) fn check_tokens(&self, ids: &[u32], tokens: usize) -> Result<()> {
        let vocab_size = self.config.vocab_size;
        if ids.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        if let Some(id) = ids.iter().copied().find(|id| *id as usize >= vocab_size) {
            return Err(ModelError::TokenOutOfVocabulary { id, vocab_size });
        }
        let context = self.context_size();
        if tokens > context {
            let rope_limit = self.config.rope.longest_context();
            return Err(ModelError::ContextExceeded { tokens, context, rope_limit });
        }
        Ok(())
    }
}
