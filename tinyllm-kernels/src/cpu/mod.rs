//! The processor as a backend: kernels for three instruction sets that give the same bits, on a team of threads.

mod attention;
mod bandwidth;
mod fill;
mod finite;
mod kv;
mod lanes;
mod layout;
mod math;
mod norm;
mod peak;
mod products;
mod requirements;
mod rope;
mod run;
mod team;
mod vector;
mod weights;

use std::sync::atomic::AtomicUsize;

use tinyllm_mem::{Buffer, Host};

pub use bandwidth::Reading;
pub use weights::CpuWeights;

use self::{layout::ALIGN_BYTES, team::Team};
use crate::{Backend, Isa, KernelError, Op, Program, Requirements, Step, VectorId, WeightId, WeightSource};

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
    /// What each member makes for itself where a step has one row.
    own_rows: Vec<Option<run::OwnRow>>,
    /// Who does which part of each operation.
    shares: run::Shares,
    /// Steps of attention that member 0 has folded already.
    folded: AtomicUsize,
    vocab_size: usize,
    cache_blocks: usize,
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
        let invalid = |what, problem: String| Err(KernelError::Invalid { what, problem });
        if let Some(name) = weights.missing() {
            return invalid("weights", format!("{name} was not uploaded"));
        }
        let fits = |(offset, region): (&usize, &tinyllm_mem::Region)| {
            offset.is_multiple_of(ALIGN_BYTES) && offset + region.bytes <= arena.len()
        };
        let aligned = (arena.address() as usize).is_multiple_of(ALIGN_BYTES)
            && (kv.address() as usize).is_multiple_of(ALIGN_BYTES);
        if !aligned
            || offsets.len() != requirements.regions.len()
            || !offsets.iter().zip(&requirements.regions).all(fits)
        {
            return invalid("arena", format!("{} bytes do not hold the program's regions", arena.len()));
        }
        let Some(vocab_size) = program.ops().iter().find_map(|op| match op {
            Op::Embed { table, .. } => Some(program.weights()[table.index()].n),
            _ => None,
        }) else {
            return invalid("program", "no embedding: tokens cannot enter".into());
        };
        let regions = program
            .regions()
            .iter()
            .zip(offsets)
            .map(|(spec, offset)| (*offset, requirements::row_bytes(spec)))
            .collect();
        Ok(Prepared {
            cache_blocks: program.kv().blocks_in(kv.len()),
            workspace: offsets[program.regions().len()],
            scratch_elems: requirements::scratch_elems(&program),
            own_rows: run::own_rows(&program),
            shares: run::Shares::new(self.threads()),
            folded: AtomicUsize::new(0),
            vocab_size,
            program,
            weights,
            kv,
            arena,
            regions,
        })
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
        step.validate(&prepared.program, prepared.vocab_size, prepared.cache_blocks)?;
        let operations = match step.sampled_rows {
            [] => prepared.program.head_start(),
            _ => prepared.program.ops().len(),
        };
        run::run(self, prepared, step, 0..operations)
    }

    fn run_head(&self, prepared: &mut Prepared, step: &Step<'_>) -> Result<(), KernelError> {
        step.validate(&prepared.program, prepared.vocab_size, prepared.cache_blocks)?;
        let operations = prepared.program.head_start()..prepared.program.ops().len();
        run::run(self, prepared, step, operations)
    }

    fn logits<'a>(&self, prepared: &'a mut Prepared, sampled_row: usize) -> &'a mut [f32] {
        let logits = prepared.program.logits();
        let columns = prepared.program.regions()[logits.index()].columns;
        let (offset, row_bytes) = prepared.regions[logits.index()];
        let start = offset + sampled_row * row_bytes;
        bytemuck::cast_slice_mut(&mut prepared.arena.as_mut_slice()[start..start + 4 * columns])
    }
}
