//! What a server does to an engine, in one run: requests arrive at random, prompts run in chunks beside the decoding of
//! others, sequences fork, are cut, cancelled, and preempted where the cache is full, to be computed again later. Each row
//! of logits has the bits that its sequence gets alone.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test ends where it fails, and says what it skips

mod common;

use std::collections::{HashMap, VecDeque};

use common::RandomModel;
use tinyllm_kernels::{Isa, KvFormat};
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine,
    engine::{EngineOptions, KvCacheConfig, SequenceId, SequenceInput},
};

const VOCAB: usize = 50;
const MAX_SEQUENCES: usize = 4;
const MAX_SEQ_LEN: usize = 120;
/// A sequence at its longest needs eight.
const BLOCKS: usize = 10;
const STEP_TOKENS: usize = 24;
const STEPS: usize = 250;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn tokens(&mut self, count: usize) -> Vec<u32> {
        // Prompts often begin alike.
        let start = self.below(3);
        (0..count).map(|i| if i < 20 { (start + i) % VOCAB } else { self.below(VOCAB) } as u32).collect()
    }
}

fn load(model: &RandomModel, format: KvFormat, isa: Isa, threads: usize, kv: KvCacheConfig) -> Engine {
    let options = EngineOptions::default()
        .with_isa(isa)
        .with_threads(Some(threads))
        .with_prefill_chunk(STEP_TOKENS)
        .with_sampled_rows(3 * MAX_SEQUENCES)
        .with_kv(kv.with_format(Some(format)).with_max_seq_len(Some(MAX_SEQ_LEN)));
    Engine::load(model, &options, &HostResource::shared(), &|_| {}).unwrap()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// The logits of sequences that run alone, by their tokens.
struct Alone {
    engine: Engine,
    known: HashMap<Vec<u32>, Vec<u32>>,
}

impl Alone {
    /// Those after the last of `tokens`; those of all beginnings are known from then on.
    fn logits(&mut self, tokens: &[u32]) -> &[u32] {
        if !self.known.contains_key(tokens) {
            let known = &mut self.known;
            self.engine
                .logits(tokens, &mut |position, row| {
                    known.insert(tokens[..=position].to_vec(), bits(row));
                })
                .unwrap();
        }
        &self.known[tokens]
    }
}

/// A request that has no sequence: what is to run before it decodes, and how many tokens then.
struct Waiting {
    tokens: Vec<u32>,
    decodes: usize,
    was_preempted: bool,
}

struct Running {
    sequence: SequenceId,
    /// What it is to hold before it decodes.
    prompt: Vec<u32>,
    held: Vec<u32>,
    decodes: usize,
}

/// How often each thing happened.
#[derive(Debug, Default)]
struct Counts {
    mixed: usize,
    chunks: usize,
    forks: usize,
    cuts: usize,
    cancelled: usize,
    preempted: usize,
    readmitted: usize,
    shared: usize,
    several_rows: usize,
    rows: usize,
}

struct Server<'a> {
    engine: Engine,
    alone: &'a mut Alone,
    random: Random,
    waiting: VecDeque<Waiting>,
    running: Vec<Running>,
    counts: Counts,
}

impl Server<'_> {
    fn arrive(&mut self) {
        if self.waiting.len() < 4 && self.random.one_in(3) {
            let (length, decodes) = (1 + self.random.below(70), 1 + self.random.below(30));
            let tokens = self.random.tokens(length);
            self.waiting.push_back(Waiting { tokens, decodes, was_preempted: false });
        }
        while self.running.len() < MAX_SEQUENCES {
            let Some(Waiting { tokens, decodes, was_preempted }) = self.waiting.pop_front() else { break };
            let (sequence, common) = self.engine.create_sequence_with_prefix(&tokens).unwrap();
            self.counts.readmitted += usize::from(was_preempted);
            self.counts.shared += usize::from(common > 0);
            let held = tokens[..common].to_vec();
            self.running.push(Running { sequence, prompt: tokens, held, decodes });
        }
    }

    /// What clients do between steps.
    fn disturb(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let which = self.random.below(self.running.len());
        if self.running.len() < MAX_SEQUENCES && self.random.one_in(2) {
            let source = &self.running[which];
            let sequence = self.engine.fork_sequence(source.sequence).unwrap();
            let (prompt, held) = (source.prompt.clone(), source.held.clone());
            let decodes = 1 + self.random.below(20);
            self.running.push(Running { sequence, prompt, held, decodes });
            self.counts.forks += 1;
        } else if self.random.one_in(8) {
            let request = &mut self.running[which];
            let length = self.random.below(request.held.len() + 1);
            assert_eq!(self.engine.truncate_sequence(request.sequence, length).unwrap(), length);
            request.held.truncate(length);
            request.prompt.truncate(length.max(1));
            self.counts.cuts += 1;
        } else if self.random.one_in(16) {
            self.engine.free_sequence(self.running.swap_remove(which).sequence).unwrap();
            self.counts.cancelled += 1;
        }
    }

    /// What each sequence is given in this step, and how many of its last rows are sampled: decoding ones some tokens, and
    /// prompts a chunk of what is left.
    fn plan(&mut self) -> Vec<(usize, Vec<u32>, usize)> {
        let (mut left, mut plan) = (STEP_TOKENS, Vec::new());
        for decoding in [true, false] {
            for (index, request) in self.running.iter().enumerate() {
                let rest = &request.prompt[request.held.len().min(request.prompt.len())..];
                if rest.is_empty() != decoding || left == 0 {
                    continue;
                }
                let (tokens, rows) = if decoding {
                    // Now and then drafted tokens are verified together.
                    let count = if self.random.one_in(4) { 3 } else { 1 };
                    let count = count.min(left).min(MAX_SEQ_LEN - request.held.len());
                    ((0..count).map(|_| self.random.below(VOCAB) as u32).collect::<Vec<_>>(), count)
                } else {
                    let chunk = rest.len().min(left).min(1 + self.random.below(STEP_TOKENS));
                    (rest[..chunk].to_vec(), usize::from(chunk == rest.len()))
                };
                if !tokens.is_empty() {
                    left -= tokens.len();
                    plan.push((index, tokens, rows));
                }
            }
        }
        plan
    }

    /// Preempts the sequence that came last until the step fits.
    fn make_room(&mut self, plan: &mut Vec<(usize, Vec<u32>, usize)>) {
        loop {
            let step: Vec<_> =
                plan.iter().map(|(index, tokens, _)| (self.running[*index].sequence, tokens.len())).collect();
            let needed = self.engine.blocks_needed(&step).unwrap();
            if needed <= self.engine.free_blocks() {
                return;
            }
            let Some(Running { sequence, mut prompt, held, decodes }) = self.running.pop() else { return };
            self.engine.free_sequence(sequence).unwrap();
            plan.retain(|(index, ..)| *index < self.running.len());
            if held.len() > prompt.len() {
                prompt = held;
            }
            self.waiting.push_front(Waiting { tokens: prompt, decodes, was_preempted: true });
            self.counts.preempted += 1;
        }
    }

    fn step(&mut self) {
        let mut plan = self.plan();
        self.make_room(&mut plan);
        let step: Vec<_> = plan
            .iter()
            .map(|(index, tokens, rows)| SequenceInput::new(self.running[*index].sequence, tokens, *rows))
            .collect();
        if step.is_empty() {
            return;
        }
        let sizes: Vec<_> = step.iter().map(|input| (input.sequence, input.tokens.len())).collect();
        let expected_free = self.engine.free_blocks() - self.engine.blocks_needed(&sizes).unwrap();
        self.engine.forward(&step).unwrap();
        assert_eq!(self.engine.free_blocks(), expected_free, "blocks_needed says what a step takes");
        let chunks = plan.iter().filter(|(_, tokens, _)| tokens.len() > 3).count();
        self.counts.chunks += chunks;
        self.counts.mixed += usize::from(chunks > 0 && chunks < plan.len());
        let mut row = 0;
        for (index, tokens, rows) in plan {
            let request = &mut self.running[index];
            let was_prompt = request.held.len() < request.prompt.len();
            request.held.extend(&tokens);
            assert_eq!(self.engine.sequence_tokens(request.sequence).unwrap(), request.held);
            for later in (0..rows).rev() {
                let found = bits(self.engine.step_logits(row).unwrap());
                let held = &request.held[..request.held.len() - later];
                assert!(found == self.alone.logits(held), "row {row}: {held:?}");
                row += 1;
            }
            self.counts.rows += rows;
            self.counts.several_rows += usize::from(rows > 1);
            if !was_prompt {
                request.decodes = request.decodes.saturating_sub(rows);
            }
        }
        let mut index = 0;
        while index < self.running.len() {
            let request = &self.running[index];
            if request.decodes == 0 || request.held.len() == MAX_SEQ_LEN {
                self.engine.free_sequence(self.running.swap_remove(index).sequence).unwrap();
            } else {
                index += 1;
            }
        }
    }
}

fn every_row_is_as_alone(format: KvFormat, block_bytes: usize) {
    let model = RandomModel::new(common::small_config(), 17);
    let kv = KvCacheConfig::default().with_max_batch_size(1).with_block_size(128);
    let engine = load(&model, format, Isa::Portable, 1, kv);
    let mut alone = Alone { engine, known: HashMap::new() };
    for isa in Isa::ALL {
        if !isa.is_available() {
            eprintln!("skipped: {isa} is not available here");
            continue;
        }
        for (threads, seed) in [(1, 1), (3, 2)] {
            let kv = KvCacheConfig::default()
                .with_max_batch_size(MAX_SEQUENCES)
                .with_budget_bytes(Some(BLOCKS * block_bytes));
            let engine = load(&model, format, isa, threads, kv);
            assert_eq!(engine.free_blocks(), BLOCKS);
            let mut server = Server {
                engine,
                alone: &mut alone,
                random: Random(seed),
                waiting: VecDeque::new(),
                running: Vec::new(),
                counts: Counts::default(),
            };
            for _ in 0..STEPS {
                server.arrive();
                server.disturb();
                server.step();
            }
            let Counts { mixed, chunks, forks, cuts, cancelled, preempted, readmitted, shared, .. } =
                server.counts;
            let all = [mixed, chunks, forks, cuts, cancelled, preempted, readmitted, shared];
            assert!(all.iter().all(|count| *count >= 3), "too little happened: {:?}", server.counts);
            assert!(server.counts.several_rows > 20 && server.counts.rows > STEPS, "{:?}", server.counts);
            for request in server.running {
                server.engine.free_sequence(request.sequence).unwrap();
            }
            assert_eq!(server.engine.free_blocks(), BLOCKS, "blocks were lost");
        }
    }
}

/// Keys and values of two layers and two heads for the sixteen tokens of a block.
const BLOCK_VALUES: usize = 2 * 2 * 2 * 16 * 16;

#[test]
fn with_an_f16_cache() {
    every_row_is_as_alone(KvFormat::F16, 2 * BLOCK_VALUES);
}

#[test]
fn with_an_int8_cache() {
    // A scale of f16 for each token and head.
    every_row_is_as_alone(KvFormat::Int8, BLOCK_VALUES + 2 * BLOCK_VALUES / 16);
}
