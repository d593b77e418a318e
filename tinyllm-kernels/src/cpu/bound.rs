//! A lowered program with its memory: what passes run on.

use std::sync::atomic::AtomicUsize;

use tinyllm_mem::{Buffer, Category, Request};

use super::{
    Cpu,
    compile::Lowered,
    layout::{ALIGN_BYTES, SlabLayout},
    threads::StealQueues,
    weights::CpuWeights,
};
use crate::{KernelError, Requirements};

pub(super) struct Bound {
    pub(super) cpu: Cpu,
    pub(super) lowered: Lowered,
    pub(super) weights: CpuWeights,
    pub(super) kv: Buffer<u8>,
    pub(super) arena: Buffer<u8>,
    /// Which worker executes which part of each pass.
    pub(super) queues: StealQueues,
    /// Steps of attention that worker 0 has merged already.
    pub(super) merged: AtomicUsize,
}

impl Bound {
    /// Allocates what `requirements` say.
    pub(super) fn new(
        cpu: Cpu,
        lowered: Lowered,
        slab: SlabLayout,
        requirements: &Requirements,
    ) -> Result<Self, KernelError> {
        let allocate = |request: Request| Buffer::<u8>::allocate(cpu.memory(), request);
        let weights = allocate(Request::slab("weights", requirements.weights.clone(), ALIGN_BYTES))?;
        let kv = allocate(Request::new(Category::Kv, "kv", requirements.kv_bytes, ALIGN_BYTES))?;
        let arena = allocate(Request::slab("activations", requirements.arena.parts(), ALIGN_BYTES))?;
        Ok(Bound {
            weights: CpuWeights::new(&lowered.program, weights, slab),
            queues: StealQueues::new(cpu.threads()),
            merged: AtomicUsize::new(0),
            cpu,
            lowered,
            kv,
            arena,
        })
    }
}
