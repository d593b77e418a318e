//! The processor as a backend: kernels for three instruction sets that give the same bits, on a team of threads.

mod attention;
mod bandwidth;
mod barrier;
mod bind;
mod congestion;
mod fill;
mod finite;
mod kv;
mod lanes;
mod layout;
mod math;
mod norm;
mod peak;
mod products;
mod raw_bytes;
mod requirements;
mod rope;
mod run;
mod team;
mod thread_time;
mod vector;
mod weights;

use std::{ops::Range, sync::atomic::AtomicUsize};

use tinyllm_mem::{Buffer, Host};

pub use bandwidth::Reading;
pub use congestion::DecodeThreads;
pub use weights::CpuWeights;

use self::team::Team;
use crate::{
    Backend, Isa, KernelError, Program, Requirements, Rows, Step, VectorId, WeightId, WeightSource,
    quantize::VanishedGroups,
};

/// No system has smaller pages.
const SMALLEST_PAGE_BYTES: usize = 4096;

/// The processor.
pub struct Cpu {
    isa: Isa,
    team: Team,
}

impl Cpu {
    /// `threads` threads (the caller is one of them) running the kernels of `isa`.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the processor lacks the instruction set or threads cannot be started.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, KernelError> {
        if !isa.is_available() {
            return Err(KernelError::Invalid {
                what: "instruction set",
                problem: format!("this processor has no {isa}"),
            });
        }
        Ok(Cpu { isa, team: Team::new(threads)? })
    }

    /// The same with so many of its threads for a step of one token.
    pub fn with_decode_threads(mut self, decode_threads: DecodeThreads) -> Self {
        self.team.set_decode_threads(decode_threads);
        self
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.team.members()
    }
}

/// A program bound to its memory.
#[derive(Debug)]
pub struct Prepared {
    program: Program,
    weights: CpuWeights,
    kv: Buffer<u8>,
    arena: Buffer<u8>,
    /// Where each region begins in the arena, and bytes from one of its rows to the next.
    regions: Vec<(usize, usize)>,
    workspace: usize,
    scratch_elems: usize,
    /// Threads whose scratch and ranges of work there are.
    threads: usize,
    /// What each member makes for itself where a step has one row.
    own_rows: Vec<Option<run::OwnRow>>,
    /// Who does which part of each operation.
    shares: run::Shares,
    /// Steps of attention that member 0 has folded already.
    folded: AtomicUsize,
    vocab_size: usize,
    cache_blocks: usize,
    /// What ran last.
    last: Last,
}

/// What the last run left.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    /// The step, but for its sampled rows, where its keys and values are in the cache and the head may run again.
    step: Option<u64>,
    /// Rows of logits.
    logits: usize,
}

impl Prepared {
    /// Refuses a step that cannot run, and a backend of another number of threads.
    fn check(&self, cpu: &Cpu, step: &Step<'_>) -> Result<(), KernelError> {
        if cpu.threads() != self.threads {
            return Err(KernelError::Invalid {
                what: "backend",
                problem: format!("prepared for {} threads, not {}", self.threads, cpu.threads()),
            });
        }
        step.validate(&self.program, self.vocab_size, self.cache_blocks)
    }

    /// Runs operations of the program; `step` is known to be valid.
    fn run(&mut self, cpu: &Cpu, step: &Step<'_>, operations: Range<usize>) -> Result<(), KernelError> {
        self.last = Last::default();
        let (head_start, ends) = (self.program.head_start(), operations.end == self.program.ops().len());
        run::run(cpu, self, step, operations)?;
        let logits = self.program.logits();
        let rows = match self.program.regions()[logits.index()].rows {
            Rows::Tokens => step.token_ids.len(),
            Rows::Sampled => step.sampled_rows.len(),
        };
        let is_of_head = self.program.ops()[head_start..].iter().any(|op| op.writes().contains(&logits));
        let step = step.fingerprint(self.program.kv().block_tokens());
        self.last = Last { step: Some(step), logits: if ends || !is_of_head { rows } else { 0 } };
        Ok(())
    }
}

impl Backend for Cpu {
    type Space = Host;
    type Weights = CpuWeights;
    type Prepared = Prepared;

    fn requirements(&self, program: &Program) -> Requirements {
        requirements::requirements(program, self.threads())
    }

    fn weights(&self, program: &Program, slab: Buffer<u8>) -> Result<CpuWeights, KernelError> {
        CpuWeights::new(program, slab, self.threads())
    }

    fn upload(
        &self,
        weights: &mut CpuWeights,
        weight: WeightId,
        source: WeightSource<'_>,
    ) -> Result<(), KernelError> {
        weights.upload(&self.team, self.isa, weight, source)
    }

    fn upload_vector(
        &self,
        weights: &mut CpuWeights,
        vector: VectorId,
        values: &[f32],
    ) -> Result<(), KernelError> {
        weights.upload_vector(vector, values)
    }

    fn prepare(
        &self,
        program: Program,
        weights: CpuWeights,
        kv: Buffer<u8>,
        arena: Buffer<u8>,
        offsets: &[usize],
    ) -> Result<Prepared, KernelError> {
        let requirements = self.requirements(&program);
        bind::check(&program, self.threads(), &weights, &kv, &arena, &requirements.regions, offsets)?;
        Ok(Prepared {
            cache_blocks: program.kv().blocks_in(kv.len()),
            workspace: offsets[program.regions().len()],
            scratch_elems: requirements::scratch_elems(&program),
            threads: self.threads(),
            own_rows: run::own_rows(&program),
            shares: run::Shares::new(self.threads()),
            folded: AtomicUsize::new(0),
            vocab_size: bind::vocab_size(&program)?,
            regions: bind::strides(&program, offsets),
            last: Last::default(),
            program,
            weights,
            kv,
            arena,
        })
    }

    fn vanished_groups(&self, prepared: &Prepared) -> Vec<VanishedGroups> {
        prepared.weights.vanished_groups()
    }

    fn unloaded(&self, prepared: &Prepared) -> usize {
        prepared.weights.unloaded()
    }

    fn load_more(&self, prepared: &mut Prepared, bytes: usize) -> Result<usize, KernelError> {
        prepared.weights.load_more(&self.team, self.isa, bytes)
    }

    fn touch_cache(&self, prepared: &mut Prepared) {
        let (layout, blocks) = (prepared.program.kv(), prepared.cache_blocks);
        if blocks > 0 {
            for stretch in layout.stretches(blocks, 0) {
                for byte in prepared.kv.as_mut_slice()[stretch].iter_mut().step_by(SMALLEST_PAGE_BYTES) {
                    // A write that changes nothing: the page is needed, not the byte.
                    *byte = std::hint::black_box(*byte);
                }
            }
        }
    }

    fn copy_kv_blocks(&self, prepared: &mut Prepared, copies: &[(u32, u32)]) -> Result<(), KernelError> {
        let (layout, blocks) = (prepared.program.kv(), prepared.cache_blocks);
        for (from, to) in copies {
            if *from.max(to) as usize >= blocks {
                return Err(KernelError::Invalid {
                    what: "block copy",
                    problem: format!("from {from} to {to} in a cache of {blocks} blocks"),
                });
            }
            let targets = layout.stretches(blocks, *to as usize);
            for (source, target) in layout.stretches(blocks, *from as usize).zip(targets) {
                prepared.kv.as_mut_slice().copy_within(source, target.start);
            }
        }
        Ok(())
    }

    fn run(&self, prepared: &mut Prepared, step: &Step<'_>) -> Result<(), KernelError> {
        prepared.check(self, step)?;
        let operations = match step.sampled_rows {
            [] => prepared.program.head_start(),
            _ => prepared.program.ops().len(),
        };
        prepared.run(self, step, 0..operations)
    }

    fn run_head(&self, prepared: &mut Prepared, step: &Step<'_>) -> Result<(), KernelError> {
        prepared.check(self, step)?;
        if prepared.last.step != Some(step.fingerprint(prepared.program.kv().block_tokens())) {
            return Err(KernelError::Invalid {
                what: "step",
                problem: "the head runs again for the step that ran last only".into(),
            });
        }
        let operations = prepared.program.head_start()..prepared.program.ops().len();
        prepared.run(self, step, operations)
    }

    fn logits<'a>(&self, prepared: &'a mut Prepared, row: usize) -> Option<&'a mut [f32]> {
        let logits = prepared.program.logits();
        let columns = prepared.program.regions()[logits.index()].columns;
        let (offset, row_bytes) = prepared.regions[logits.index()];
        let start = offset + (row < prepared.last.logits).then_some(row)? * row_bytes;
        Some(bytemuck::cast_slice_mut(&mut prepared.arena.as_mut_slice()[start..start + 4 * columns]))
    }
}
