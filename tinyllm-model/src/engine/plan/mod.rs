//! Everything an engine will allocate, known before anything is: the engine allocates from the plan and from nothing else.

mod budget;
mod slabs;
mod stage;

use std::{collections::BTreeMap, sync::Arc};

use tinyllm_kernels::{Compiled, Limits, Placement, Program, WeightFormat};
use tinyllm_mem::{Category, Part};

pub(super) use self::budget::{largest, smallest};
pub(super) use self::stage::{Blueprint, StagePlan};
pub use self::{
    budget::{largest_batch, largest_context},
    slabs::{PlannedRegion, Slab},
    stage::PlanSource,
};
use super::{
    LayerSplit,
    kv_cache::{CacheShape, slot_parts},
    options::EngineOptions,
};
use crate::{ModelConfig, ModelError, Result, checkpoint::Checkpoint, llama::WeightsMode};

/// The memory of an engine, to the byte.
#[derive(Clone, Debug)]
pub struct EnginePlan {
    /// In the order of their layers.
    pub(super) stages: Vec<StagePlan>,
    pub(super) slots: [Part; 3],
    pub(super) cache: CacheShape,
    pub(super) limits: Limits,
}

/// Bytes and parts of one category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlannedUsage {
    /// Bytes.
    pub bytes: usize,
    /// Parts: tensors, regions.
    pub count: usize,
}

/// What the layers of one device take.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DevicePlan {
    /// The device's name.
    pub device: String,
    /// Its layers, counted from 0.
    pub layers: std::ops::Range<usize>,
    /// Bytes that the device allocates: weights, KV cache and activations.
    pub device_bytes: usize,
    /// Bytes of page-locked host memory on the way to and from it.
    pub staging_bytes: usize,
    /// Both by category.
    pub categories: BTreeMap<Category, PlannedUsage>,
    /// What its weights, KV cache and activations may take.
    pub budget_bytes: Option<usize>,
}

impl EnginePlan {
    /// What a model takes on one backend, or split over several.
    ///
    /// # Errors
    /// Whatever is wrong with the checkpoint or the options; a split that is not of all layers.
    pub fn new<'a>(
        split: impl Into<LayerSplit<'a>>,
        source: PlanSource<'_>,
        options: &EngineOptions,
    ) -> Result<Self> {
        Ok(Self::compile(&split.into(), source, options)?.0)
    }

    /// What `checkpoint` takes.
    ///
    /// # Errors
    /// As [`EnginePlan::new`].
    pub fn of_checkpoint<'a>(
        split: impl Into<LayerSplit<'a>>,
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
    ) -> Result<Self> {
        Self::new(split, PlanSource::Checkpoint(checkpoint), options)
    }

    /// What a model of this configuration takes, whose weights are in floating point.
    ///
    /// # Errors
    /// As [`EnginePlan::new`].
    pub fn of_config<'a>(
        split: impl Into<LayerSplit<'a>>,
        config: &ModelConfig,
        options: &EngineOptions,
    ) -> Result<Self> {
        Self::new(split, PlanSource::Config(config), options)
    }

    /// The plan, and what it is of: ready to be bound.
    ///
    /// # Errors
    /// As [`EnginePlan::new`].
    pub(super) fn compile(
        split: &LayerSplit<'_>,
        source: PlanSource<'_>,
        options: &EngineOptions,
    ) -> Result<(Self, Vec<Box<dyn Compiled>>)> {
        let blueprint = Blueprint::new(source, options)?;
        let (cache, limits) = (blueprint.cache, blueprint.limits);
        let (mut stages, mut compiled) = (Vec::new(), Vec::new());
        for (device, layers) in split.ranges(blueprint.layers())? {
            let (stage, program) = blueprint.stage(device.backend, layers)?;
            stages.push(StagePlan { budget_bytes: device.budget_bytes, ..stage });
            compiled.push(program);
        }
        let overflow = ModelError::SizeOverflow { sequences: cache.max_sequences, tokens: cache.max_seq_len };
        let slots = slot_parts(&cache).ok_or(overflow)?;
        Ok((EnginePlan { stages, slots, cache, limits }, compiled))
    }

    /// Tokens of a sequence.
    pub fn max_seq_len(&self) -> usize {
        self.cache.max_seq_len
    }

    /// Sequences at once.
    pub fn max_batch_size(&self) -> usize {
        self.cache.max_sequences
    }

    /// A sum over the devices.
    fn sum(&self, bytes: impl Fn(&StagePlan) -> usize) -> usize {
        self.stages.iter().map(bytes).sum()
    }

    /// Bytes of the KV cache's blocks.
    pub fn kv_bytes(&self) -> usize {
        self.sum(|stage| stage.requirements.kv_bytes)
    }

    /// Bytes of the weights slabs, scales, embeddings, norms and padding included.
    pub fn weights_bytes(&self) -> usize {
        self.sum(StagePlan::weights_bytes)
    }

    /// Bytes of the sequences' slots: their token ids and block tables, and the memory in which a token is chosen.
    pub fn slots_bytes(&self) -> usize {
        self.slots.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of the activation arenas: activations, workspace, logits.
    pub fn arena_bytes(&self) -> usize {
        self.sum(|stage| stage.requirements.arena.total_bytes())
    }

    /// The most bytes of activations that hold something at once, on each device: no arena can be smaller.
    pub fn arena_lower_bound_bytes(&self) -> usize {
        self.sum(|stage| stage.requirements.arena.lower_bound_bytes())
    }

    /// Everything that is allocated.
    pub fn total_bytes(&self) -> usize {
        self.sum(StagePlan::device_bytes) + self.slots_bytes() + self.staging_bytes()
    }

    /// Bytes of page-locked host memory on the way to and from devices.
    pub fn staging_bytes(&self) -> usize {
        self.sum(|stage| stage.requirements.staging_bytes())
    }

    /// The programs of the devices' layers, in their order, for a backend to compile.
    pub fn programs(&self) -> Vec<Arc<Program>> {
        self.stages.iter().map(|stage| Arc::clone(&stage.program)).collect()
    }

    /// What each device takes, in the order of their layers.
    pub fn devices(&self) -> Vec<DevicePlan> {
        let device = |stage: &StagePlan| DevicePlan {
            device: stage.device.clone(),
            layers: stage.layers.clone(),
            device_bytes: stage.device_bytes(),
            staging_bytes: stage.requirements.staging_bytes(),
            categories: usage(stage_parts(stage)),
            budget_bytes: stage.budget_bytes,
        };
        self.stages.iter().map(device).collect()
    }

    /// Bytes of the model's file that are used where they are mapped, beside what is allocated.
    pub fn mapped_bytes(&self) -> usize {
        self.mapped_categories().values().sum()
    }

    /// [`EnginePlan::mapped_bytes`] by category.
    pub fn mapped_categories(&self) -> BTreeMap<Category, usize> {
        let mut categories = BTreeMap::new();
        let weights = self.stages.iter().flat_map(|stage| stage.program.weights());
        for spec in weights.filter(|spec| spec.placement == Placement::Mapped) {
            *categories.entry(spec.category).or_default() += match spec.format {
                WeightFormat::W8A16 { group_size, scales } => {
                    spec.n * (spec.k + group_size.groups(spec.k) * scales.size_bytes())
                }
                WeightFormat::F16 => 2 * spec.n * spec.k,
                WeightFormat::F32 => 4 * spec.n * spec.k,
            };
        }
        categories
    }

    /// The plan by category: equal, to the byte, to what tracking records.
    pub fn categories(&self) -> BTreeMap<Category, PlannedUsage> {
        usage(self.stages.iter().flat_map(stage_parts).chain(self.slots.iter().cloned()))
    }
}

/// All that the layers of a device allocate.
fn stage_parts(stage: &StagePlan) -> Vec<Part> {
    let requirements = &stage.requirements;
    let kv = Part::new(Category::Kv, "kv", requirements.kv_bytes);
    let own = requirements.weights.iter().chain(&requirements.staging).cloned();
    own.chain(requirements.arena.parts()).chain([kv]).collect()
}

/// Bytes and parts by category.
fn usage(parts: impl IntoIterator<Item = Part>) -> BTreeMap<Category, PlannedUsage> {
    let mut categories: BTreeMap<Category, PlannedUsage> = BTreeMap::new();
    for part in parts {
        let usage = categories.entry(part.category).or_default();
        usage.bytes += part.bytes;
        usage.count += 1;
    }
    categories
}

/// The same options with f16 weights, for comparison.
pub fn with_f16_weights(options: &EngineOptions) -> EngineOptions {
    EngineOptions { weights: WeightsMode::F16, mmap: false, ..options.clone() }
}
