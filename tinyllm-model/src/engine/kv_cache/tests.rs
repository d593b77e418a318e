//! Random lives of sequences against a list of what each must hold.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A cache and what its blocks hold: for each block, the tokens written to it.
struct Model {
    cache: KvCache,
    contents: HashMap<u32, Vec<u32>>,
    expected: Vec<(SequenceId, Vec<u32>)>,
}

const BLOCK: usize = 16;

fn shape(blocks: usize, window: Option<usize>) -> CacheShape {
    CacheShape { blocks, block_tokens: BLOCK, max_seq_len: 200, max_sequences: 6, window }
}

impl Model {
    fn new(window: Option<usize>) -> Self {
        Model { cache: KvCache::new(shape(40, window)), contents: HashMap::new(), expected: Vec::new() }
    }

    /// Writes tokens as a step would.
    fn append(&mut self, which: usize, tokens: &[u32]) -> Result<()> {
        let id = self.expected[which].0;
        let mut copies = Vec::new();
        self.cache.reserve(id, tokens.len(), &mut copies)?;
        for (from, to) in copies {
            let copied = self.contents.get(&from).cloned().unwrap_or_default();
            self.contents.insert(to, copied);
        }
        let mut table = vec![u32::MAX; self.cache.blocks_per_sequence()];
        self.cache.block_table(id, &mut table).unwrap();
        let start = self.expected[which].1.len();
        for (offset, token) in tokens.iter().enumerate() {
            let position = start + offset;
            let block = self.contents.entry(table[position / BLOCK]).or_default();
            block.resize(BLOCK, u32::MAX);
            block[position % BLOCK] = *token;
        }
        self.cache.append(id, tokens).unwrap();
        self.expected[which].1.extend_from_slice(tokens);
        Ok(())
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
    let mut model = Model::new(window);
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
                model.cache.free(id);
                assert!(model.cache.tokens(id).is_err());
            }
            (4, Some(some)) => {
                let length = *count as usize % (model.expected[some].1.len() + 1);
                let left = model.cache.truncate(model.expected[some].0, length).unwrap();
                assert!(left == length || (left == 0 && window.is_some()));
                model.expected[some].1.truncate(left);
            }
            (_, Some(some)) if model.expected[some].1.len() + tokens.len() <= 200 => {
                let before = model.cache.free_blocks();
                if model.append(some, &tokens).is_err() {
                    assert_eq!(model.cache.free_blocks(), before, "a refusal changes nothing");
                }
            }
            _ => {}
        }
        model.check(window);
    }
    for (id, _) in std::mem::take(&mut model.expected) {
        model.cache.free(id);
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
