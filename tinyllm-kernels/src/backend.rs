//! The seam between models and machines: what a backend promises. The processor's implementation is in `cpu`.

use std::sync::Arc;

use tinyllm_mem::{Buffer, Part, Region, Space};

use crate::{
    FloatRows, KernelError, MappedWeight, Program, QuantizedRows, Step, VectorId, WeightId,
    quantize::VanishedGroups,
};

/// Everything a program needs on a backend, known before anything is allocated.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirements {
    /// What the weights slab's bytes are, by weight and vector; a part need not lie in one piece.
    pub weights: Vec<Part>,
    /// The activation arena's regions, by [`crate::RegionId::index`], then the workspace (which lives throughout).
    pub regions: Vec<Region>,
    /// Alignment of the slabs in bytes.
    pub align_bytes: usize,
}

/// What is uploaded as a weight.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum WeightSource<'a> {
    /// f32 rows, to be quantised (with scales of f16, no other) or rounded as the weight's format says.
    Float(&'a dyn FloatRows),
    /// int8 rows with scales: W8A16 already.
    Quantized(&'a dyn QuantizedRows),
    /// int8 rows with scales, to be used where they are: for good where the weight's placement says so, else until
    /// [`Backend::load_more`] has moved them into the slab.
    Mapped(&'a MappedWeight),
    /// f32 rows, quantised whenever they are read until [`Backend::load_more`] has moved them into the slab. The weight's
    /// format is W8A16, its scales f16.
    Shared(&'a Arc<dyn FloatRows>),
}

/// What runs programs: a processor or a device. The model is written once against this.
pub trait Backend: Send + Sync {
    /// Where this backend's memory is.
    type Space: Space;
    /// Weights on this backend.
    type Weights: Send;
    /// A program made ready to run.
    type Prepared: Send;

    /// What `program` needs. Deterministic.
    fn requirements(&self, program: &Program) -> Requirements;

    /// Takes the weights slab, of the bytes that `requirements` says.
    ///
    /// # Errors
    /// Where the slab's size or alignment does not fit.
    fn weights(&self, program: &Program, slab: Buffer<u8, Self::Space>)
    -> Result<Self::Weights, KernelError>;

    /// Fills one weight matrix.
    ///
    /// # Errors
    /// The source's, [`KernelError::NonFiniteWeight`], [`KernelError::NonFiniteScale`] and [`KernelError::F16Overflow`].
    fn upload(
        &self,
        weights: &mut Self::Weights,
        weight: WeightId,
        source: WeightSource<'_>,
    ) -> Result<(), KernelError>;

    /// Fills one vector.
    ///
    /// # Errors
    /// As [`Backend::upload`].
    fn upload_vector(
        &self,
        weights: &mut Self::Weights,
        vector: VectorId,
        values: &[f32],
    ) -> Result<(), KernelError>;

    /// Binds a program to its weights, cache and arena; `offsets` are the regions' places in the arena, in the order
    /// of [`Requirements::regions`].
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where something is too small or not aligned, regions that live at the same time share bytes,
    /// or weights were made for another program or another backend.
    fn prepare(
        &self,
        program: Program,
        weights: Self::Weights,
        kv: Buffer<u8, Self::Space>,
        arena: Buffer<u8, Self::Space>,
        offsets: &[usize],
    ) -> Result<Self::Prepared, KernelError>;

    /// Groups of the weights loaded so far that are 0 as W8A16 though their weights are not, by weight.
    fn vanished_groups(&self, prepared: &Self::Prepared) -> Vec<VanishedGroups>;

    /// Bytes of the slab whose weights are used where their source holds them.
    fn unloaded(&self, prepared: &Self::Prepared) -> usize;

    /// Moves up to `bytes` of the weights that are used where their source holds them to their places in the slab, the
    /// first first, but always a little; returns how many bytes are left.
    ///
    /// # Errors
    /// As [`Backend::upload`].
    fn load_more(&self, prepared: &mut Self::Prepared, bytes: usize) -> Result<usize, KernelError>;

    /// Has the system find the pages that the cache's first block lies in, and leaves what is there: for who has nothing
    /// else to do before the first step.
    fn touch_cache(&self, prepared: &mut Self::Prepared);

    /// Copies blocks of the cache, `(from, to)`, all layers, in order.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for a block that is not in the cache.
    fn copy_kv_blocks(&self, prepared: &mut Self::Prepared, copies: &[(u32, u32)])
    -> Result<(), KernelError>;

    /// Runs one step.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for a step outside the limits, [`KernelError::NonFiniteInput`]; those of
    /// [`Backend::upload`] for weights that are not loaded yet.
    fn run(&self, prepared: &mut Self::Prepared, step: &Step<'_>) -> Result<(), KernelError>;

    /// Runs the head again for other rows of the step that ran last, whose keys and values are still in the cache.
    ///
    /// # Errors
    /// As [`Backend::run`]; [`KernelError::Invalid`] for any other step.
    fn run_head(&self, prepared: &mut Self::Prepared, step: &Step<'_>) -> Result<(), KernelError>;

    /// Logits of a sampled row, `[vocab]`, to read and to scratch on until the next run; `None` where the last run computed
    /// none for it.
    fn logits<'a>(&self, prepared: &'a mut Self::Prepared, sampled_row: usize) -> Option<&'a mut [f32]>;
}
