//! Random lives of sequences against a list of what each must hold.

use std::collections::HashMap;

use proptest::prelude::*;
use tinyllm_mem::{BlockId, HostResource, Request};

use super::*;

/// A cache and what its blocks hold: for each block, the tokens written to it.
struct Model {
    cache: KvCache,
    contents: HashMap<u32, Vec<u32>>,
    expected: Vec<(SequenceId, Vec<u32>)>,
}

const BLOCK: usize = 16;

fn shape(blocks: usize, window: Option<usize>) -> CacheShape {
    CacheShape { blocks, block_tokens: BLOCK, max_seq_len: 200, max_sequences: 6, vocab_size: 9, window }
}

impl Model {
    fn new(window: Option<usize>) -> Self {
        let shape = shape(40, window);
        let slots = Request::slab("slots", slot_parts(&shape).unwrap().into(), 64);
        let slots = Buffer::allocate(&HostResource::shared(), slots).unwrap();
        Model { cache: KvCache::new(shape, slots), contents: HashMap::new(), expected: Vec::new() }
    }

    /// A step: what each of some sequences is to be given. Where it fails, what it wrote by then stays in the blocks.
    fn step(&mut self, inputs: &[(usize, Vec<u32>)], succeeds: bool) -> Result<()> {
        let ids: Vec<SequenceId> = inputs.iter().map(|(which, _)| self.expected[*which].0).collect();
        let room = ids.iter().copied().zip(inputs.iter().map(|(_, tokens)| tokens.len()));
        let (needed, free) = (self.cache.blocks_needed(room.clone())?, self.cache.free_blocks());
        let reservation = match self.cache.reserve(room) {
            Ok(reservation) => reservation,
            Err(error) => {
                let full = ModelError::CacheFull { needed_blocks: needed, free_blocks: free };
                assert_eq!(error.to_string(), full.to_string());
                assert!(needed > free);
                return Err(error);
            }
        };
        assert_eq!(reservation.cache().free_blocks() + needed, free);
        for BlockCopy { from, to } in reservation.copies() {
            let copied = self.contents.get(from).cloned().unwrap_or_default();
            self.contents.insert(*to, copied);
        }
        let mut writers = HashMap::new();
        for (id, (which, tokens)) in ids.iter().zip(inputs) {
            let mut table = vec![u32::MAX; reservation.cache().blocks_per_sequence()];
            reservation.cache().block_table(*id, &mut table).unwrap();
            let start = self.expected[*which].1.len();
            for (offset, token) in tokens.iter().enumerate() {
                let position = start + offset;
                let block = table[position / BLOCK];
                assert_eq!(writers.insert(block, id).unwrap_or(id), id, "two sequences write to one block");
                let block = self.contents.entry(block).or_default();
                block.resize(BLOCK, u32::MAX);
                block[position % BLOCK] = if succeeds { *token } else { u32::MAX };
            }
        }
        if succeeds {
            reservation.commit(inputs.iter().map(|(_, tokens)| tokens.as_slice()));
            for (which, tokens) in inputs {
                self.expected[*which].1.extend_from_slice(tokens);
            }
        }
        Ok(())
    }

    fn append(&mut self, which: usize, tokens: &[u32]) -> Result<()> {
        self.step(&[(which, tokens.to_vec())], true)
    }

    /// Every table, and how many hold each block.
    fn accounts(&self) -> (Vec<Vec<u32>>, Vec<u32>) {
        let tables =
            self.cache.sequences.iter().flatten().map(|sequence| sequence.table(&self.cache.slots).to_vec());
        let counts =
            (0..self.cache.shape.blocks as u32).map(|block| self.cache.pool.references(BlockId(block)));
        (tables.collect(), counts.collect())
    }

    /// Every token that a query may see is in the block where its table says.
    fn check(&self, window: Option<usize>) {
        for (id, tokens) in &self.expected {
            assert_eq!(self.cache.tokens(*id).unwrap(), tokens);
            let mut table = vec![u32::MAX; self.cache.blocks_per_sequence()];
            self.cache.block_table(*id, &mut table).unwrap();
            let first = window.map_or(0, |window| (tokens.len() + 1).saturating_sub(window));
            for position in first..tokens.len() {
                let block = &self.contents[&table[position / BLOCK]];
                assert_eq!(block[position % BLOCK], tokens[position], "position {position}");
            }
        }
        // Waste: less than a block for each sequence, beyond what the windows keep.
        let held: usize = self.expected.iter().map(|(_, tokens)| tokens.len().div_ceil(BLOCK)).sum();
        assert!(self.cache.shape.blocks - self.cache.free_blocks() <= held);
    }
}

fn life(calls: &[(u8, u8, u8, u8)], window: Option<usize>) {
    let (mut model, mut freed) = (Model::new(window), Vec::new());
    for (call, which, count, token) in calls {
        let some = (!model.expected.is_empty()).then(|| *which as usize % model.expected.len());
        let tokens: Vec<u32> = (0..u32::from(*count % 40)).map(|i| i + u32::from(*token % 3)).collect();
        match (call % 7, some) {
            (0, _) => {
                if let Ok(id) = model.cache.create() {
                    model.expected.push((id, Vec::new()));
                }
            }
            (1, _) => {
                if let Ok((id, common)) = model.cache.create_with_prefix(&tokens) {
                    model.expected.push((id, tokens[..common].to_vec()));
                }
            }
            (2, Some(some)) => {
                if let Ok(id) = model.cache.fork(model.expected[some].0) {
                    let tokens = model.expected[some].1.clone();
                    model.expected.push((id, tokens));
                }
            }
            (3, Some(some)) => {
                let (id, _) = model.expected.swap_remove(some);
                model.cache.free(id).unwrap();
                freed.push(id);
            }
            (4, Some(some)) => {
                let held = model.expected[some].1.len();
                let length = if *count == 255 { usize::MAX } else { *count as usize % (held + 1) };
                let left = model.cache.truncate(model.expected[some].0, length).unwrap();
                assert!(left == length.min(held) || (left == 0 && window.is_some()));
                model.expected[some].1.truncate(left);
            }
            (_, Some(_)) => {
                let (first, second) = (*which as usize, *token as usize);
                let mut inputs = vec![(first % model.expected.len(), tokens.clone())];
                // Every other call is of two, and of these every other of three sequences.
                for (is_there, which) in [(call % 2 == 1, second), (call % 4 == 3, second + 1)] {
                    let which = which % model.expected.len();
                    if is_there && inputs.iter().all(|(other, _)| *other != which) {
                        inputs.push((which, tokens.clone()));
                    }
                }
                inputs.retain(|(which, tokens)| model.expected[*which].1.len() + tokens.len() <= 200);
                let (before, succeeds) = (model.accounts(), *call < 200);
                if model.step(&inputs, succeeds).is_err() || !succeeds {
                    assert_eq!(model.accounts(), before, "a step that does not succeed changes nothing");
                }
            }
            _ => {}
        }
        model.check(window);
        for id in &freed {
            assert!(matches!(model.cache.tokens(*id), Err(ModelError::UnknownSequence)));
            assert!(matches!(model.cache.truncate(*id, 0), Err(ModelError::UnknownSequence)));
            assert!(matches!(model.cache.fork(*id), Err(ModelError::UnknownSequence)));
            assert!(matches!(model.cache.free(*id), Err(ModelError::UnknownSequence)));
            let room = model.cache.reserve([(*id, 1)].into_iter());
            assert!(matches!(room, Err(ModelError::UnknownSequence)));
        }
        model.check(window);
    }
    for (id, _) in std::mem::take(&mut model.expected) {
        model.cache.free(id).unwrap();
    }
    assert_eq!(model.cache.free_blocks(), 40, "blocks were lost");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_block_is_lost_or_written_by_two(
        calls in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..60),
        window in prop::option::of(1usize..60),
    ) {
        life(&calls, window);
    }
}

#[test]
fn equal_prefixes_share_every_full_block() {
    let mut model = Model::new(None);
    let prompt: Vec<u32> = (0..70).collect();
    let (id, common) = model.cache.create_with_prefix(&prompt).unwrap();
    assert_eq!(common, 0);
    model.expected.push((id, Vec::new()));
    model.append(0, &prompt).unwrap();
    assert_eq!(model.cache.free_blocks(), 35);
    let (second, common) = model.cache.create_with_prefix(&prompt[..69]).unwrap();
    assert_eq!((common, model.cache.free_blocks()), (69, 35), "nothing was taken");
    model.expected.push((second, prompt[..69].to_vec()));
    // Writing copies the last block alone.
    model.append(1, &[500]).unwrap();
    assert_eq!(model.cache.free_blocks(), 34);
    model.check(None);
}

#[test]
fn a_window_keeps_a_bounded_number_of_blocks() {
    let mut model = Model::new(Some(32));
    model.expected.push((model.cache.create().unwrap(), Vec::new()));
    for token in 0..200 {
        model.append(0, &[token]).unwrap();
        assert!(40 - model.cache.free_blocks() <= 3, "{token}");
    }
    model.check(Some(32));
}
