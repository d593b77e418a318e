//! Several sequences in a step: each result is what the sequence would get alone.

use tinyllm_kernels::{Backend, Limits, Step};
use tinyllm_mem::Host;

use super::{
    Engine,
    kv_cache::{KvCache, SequenceId},
};
use crate::{ModelError, Result, config::RopeScaling};

/// What a step does with one sequence.
#[derive(Clone, Copy, Debug)]
pub struct SequenceInput<'a> {
    /// The sequence.
    pub sequence: SequenceId,
    /// Tokens to append to it; at least one.
    pub tokens: &'a [u32],
    /// Whether the last token's logits are wanted.
    pub wants_logits: bool,
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
            if input.wants_logits {
                self.sampled_rows.push(self.token_ids.len() as u32 - 1);
            }
        }
        Ok(())
    }

    /// Other rows of the step that was laid out last.
    pub(super) fn sample(&mut self, rows: impl Iterator<Item = u32>) {
        self.sampled_rows.clear();
        self.sampled_rows.extend(rows);
    }

    pub(super) fn step(&self) -> Step<'_> {
        Step {
            token_ids: &self.token_ids,
            query_starts: &self.query_starts,
            kv_lengths: &self.kv_lengths,
            block_tables: &self.block_tables[..self.kv_lengths.len() * self.stride],
            block_table_stride: self.stride,
            sampled_rows: &self.sampled_rows,
        }
    }
}

impl<B: Backend<Space = Host>> Engine<B> {
    /// A new sequence without tokens.
    ///
    /// # Errors
    /// [`ModelError::Request`] where there are as many as the batch size allows.
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

    /// Tokens that a step takes at most, all sequences together.
    pub fn max_step_tokens(&self) -> usize {
        self.limits.max_tokens
    }

    /// Runs one step: appends each input's tokens to its sequence. Logits are then to be had from
    /// [`Engine::step_logits`], in the order of the inputs that want them.
    ///
    /// # Errors
    /// [`ModelError::Request`] for no tokens or tokens outside the vocabulary, a sequence that is too long or there twice,
    /// more tokens than a step takes; [`ModelError::UnknownSequence`]; [`ModelError::CacheFull`]; [`ModelError::Kernel`]
    /// and [`ModelError::Load`] for what comes up while it runs. Whichever it is, every sequence is as it was, no block
    /// was taken, and there are no logits.
    pub fn forward(&mut self, batch: &[SequenceInput<'_>]) -> Result<()> {
        self.sampled.clear();
        self.check_batch(batch)?;
        self.load_before_step(batch.iter().map(|input| input.tokens.len()).sum())?;
        // Gives the room back however this ends, unless the step succeeds.
        let room = self.cache.reserve(batch.iter().map(|input| (input.sequence, input.tokens.len())))?;
        self.tables.fill(room.cache(), batch)?;
        let copied = self.backend.copy_kv_blocks(&mut self.prepared, room.copies());
        let ran = copied.and_then(|()| self.backend.run(&mut self.prepared, &self.tables.step()));
        if let Err(error) = ran {
            drop(room);
            return Err(self.step_error(error));
        }
        room.commit(batch.iter().map(|input| input.tokens));
        let wanted = batch.iter().filter(|input| input.wants_logits);
        self.sampled.extend(wanted.map(|input| input.sequence));
        Ok(())
    }

    /// Logits of the `index`th input of the last step that wanted them, `[vocab]`, to read and to scratch on until the next
    /// step.
    ///
    /// # Errors
    /// [`ModelError::NoLogits`] where there are none: fewer inputs wanted them, the last step did not succeed, no step
    /// ran. [`ModelError::UnknownSequence`] where the input's sequence was freed.
    pub fn step_logits(&mut self, index: usize) -> Result<&mut [f32]> {
        let rows = self.sampled.len();
        let sequence = *self.sampled.get(index).ok_or(ModelError::NoLogits { index, rows })?;
        self.cache.tokens(sequence)?;
        self.backend.logits(&mut self.prepared, index).ok_or(ModelError::NoLogits { index, rows })
    }

    fn check_batch(&self, batch: &[SequenceInput<'_>]) -> Result<()> {
        if batch.is_empty() {
            return Err(ModelError::Request("no tokens to run: the batch is empty".into()));
        }
        for (index, input) in batch.iter().enumerate() {
            if batch[..index].iter().any(|other| other.sequence == input.sequence) {
                return Err(ModelError::Request("a sequence is in the batch twice".into()));
            }
            let length = self.cache.tokens(input.sequence)?.len() + input.tokens.len();
            self.check_tokens(input.tokens, length)?;
        }
        let tokens: usize = batch.iter().map(|input| input.tokens.len()).sum();
        if tokens > self.limits.max_tokens || batch.len() > self.cache.max_sequences() {
            return Err(ModelError::Request(format!(
                "{tokens} tokens of {} sequences; a step takes {} of {}",
                batch.len(),
                self.limits.max_tokens,
                self.cache.max_sequences()
            )));
        }
        Ok(())
    }

    pub(super) fn check_tokens(&self, ids: &[u32], length: usize) -> Result<()> {
        let vocab_size = self.config.vocab_size;
        if ids.is_empty() {
            return Err(ModelError::Request("no tokens to run: the prompt is empty".into()));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
            return Err(ModelError::Request(format!(
                "token {id} is outside the model's vocabulary of {vocab_size}"
            )));
        }
        if length > self.context_size() {
            let rope = match self.config.rope.scaling {
                RopeScaling::Dynamic { .. } => {
                    "; dynamic-NTK RoPE is supported within the original context only"
                }
                _ => "; --ctx-size makes room for more",
            };
            return Err(ModelError::Request(format!(
                "{length} tokens do not fit the context of {}{rope}",
                self.context_size()
            )));
        }
        Ok(())
    }
}
