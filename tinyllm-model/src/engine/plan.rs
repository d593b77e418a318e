//! Everything an engine will allocate, known before anything is: the engine allocates from the plan and from nothing else.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tinyllm_kernels::{
    Backend, Compiled, KvShape, Limits, Placement, Program, Requirements, RowSet, WeightFormat,
};
use tinyllm_mem::{Category, Part, Plan};

use super::{
    kv_cache::{CacheShape, slot_parts},
    options::EngineOptions,
};
use crate::{
    ModelConfig, ModelError, Result,
    checkpoint::{Checkpoint, Storage},
    llama::{self, Formats, WeightsMode},
};

/// The memory of an engine, to the byte.
#[derive(Clone, Debug)]
pub struct EnginePlan {
    pub(super) program: Arc<Program>,
    pub(super) requirements: Requirements,
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

/// One allocation of the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Slab {
    /// `weights`, `kv`, `slots` or `activations`; of a device also `staging`.
    pub name: &'static str,
    /// Size in bytes.
    pub bytes: usize,
    /// What lies in it.
    pub regions: Vec<PlannedRegion>,
}

/// A named part of a slab.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRegion {
    /// The tensor's or region's name.
    pub name: String,
    /// What it counts as.
    pub category: Category,
    /// Rows and columns, or what the name says.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: &'static str,
    /// Where it begins in its slab; `None` for weights, whose bytes the backend places as it reads them.
    pub offset: Option<usize>,
    /// Size in bytes.
    pub bytes: usize,
    /// First and last operation in which it holds something; `None`: always.
    pub lifetime: Option<(usize, usize)>,
}

impl EnginePlan {
    /// What `checkpoint` takes on `backend`.
    ///
    /// # Errors
    /// Whatever is wrong with the checkpoint or the options.
    pub fn of_checkpoint(
        backend: &dyn Backend,
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
    ) -> Result<Self> {
        Ok(Self::compile(backend, checkpoint, options)?.0)
    }

    /// The plan, and what it is of: ready to be bound.
    ///
    /// # Errors
    /// As [`EnginePlan::of_checkpoint`].
    pub(super) fn compile(
        backend: &dyn Backend,
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
    ) -> Result<(Self, Box<dyn Compiled>)> {
        let tensors = super::loader::TensorIndex::new(checkpoint);
        let storage_of = |name: &str| tensors.storage(name);
        Self::new(backend, checkpoint.path(), checkpoint.config(), options, &storage_of)
    }

    /// What a model of this configuration takes, whose weights are in floating point.
    ///
    /// # Errors
    /// Whatever is wrong with the options.
    pub fn of_config(backend: &dyn Backend, config: &ModelConfig, options: &EngineOptions) -> Result<Self> {
        Ok(Self::new(backend, Path::new("config.json"), config, options, &|_| Ok(Storage::Float))?.0)
    }

    fn new(
        backend: &dyn Backend,
        path: &Path,
        config: &ModelConfig,
        options: &EngineOptions,
        storage_of: llama::StorageOf<'_>,
    ) -> Result<(Self, Box<dyn Compiled>)> {
        if options.mmap && !backend.capabilities().mapped_weights {
            return Err(ModelError::MappedWeights);
        }
        let formats = Formats::new(config, options.formats());
        let kv = KvShape::new(
            config.num_hidden_layers,
            config.num_key_value_heads,
            config.head_dim,
            options.kv.block_size,
            formats.kv,
        )
        .map_err(ModelError::from)?;
        let cache = cache_shape(path, config, options, &kv)?;
        // More than every sequence at its longest never comes; one token of each must fit.
        let max_tokens = options
            .prefill_chunk
            .clamp(1, cache.max_seq_len.saturating_mul(cache.max_sequences))
            .max(cache.max_sequences);
        let limits = Limits::of_tokens(max_tokens)
            .with_sampled_rows(options.sampled_rows.max(cache.max_sequences))
            .with_sequences(cache.max_sequences, cache.blocks)
            .with_sequence_blocks(cache.blocks_per_sequence());
        let rotary = config.rope.inverse_frequencies(config.head_dim, cache.max_seq_len)?;
        let (blocks, block_tokens) = (cache.blocks, cache.block_tokens);
        if blocks.checked_mul(kv.block_bytes()).is_none() {
            return Err(ModelError::TooManyBlocks { blocks, block_tokens });
        }
        let program = llama::program(config, &formats, limits, kv, rotary, storage_of)?;
        let program = Arc::new(program);
        let compiled = backend.compile(Arc::clone(&program))?;
        let requirements = compiled.requirements().clone();
        let overflow = ModelError::SizeOverflow { sequences: cache.max_sequences, tokens: cache.max_seq_len };
        let slots = slot_parts(&cache).ok_or(overflow)?;
        Ok((EnginePlan { program, requirements, slots, cache, limits }, compiled))
    }

    /// Tokens of a sequence.
    pub fn max_seq_len(&self) -> usize {
        self.cache.max_seq_len
    }

    /// Sequences at once.
    pub fn max_batch_size(&self) -> usize {
        self.cache.max_sequences
    }

    /// Bytes of the KV cache's blocks.
    pub fn kv_bytes(&self) -> usize {
        self.requirements.kv_bytes
    }

    /// Bytes of the weights slab, scales, embeddings, norms and padding included.
    pub fn weights_bytes(&self) -> usize {
        self.requirements.weights.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of the sequences' slots: their token ids and block tables, and the memory in which a token is chosen.
    pub fn slots_bytes(&self) -> usize {
        self.slots.iter().map(|part| part.bytes).sum()
    }

    /// The activation arena: activations, workspace, logits.
    pub fn arena(&self) -> &Plan {
        &self.requirements.arena
    }

    /// Everything that is allocated.
    pub fn total_bytes(&self) -> usize {
        self.weights_bytes()
            + self.kv_bytes()
            + self.slots_bytes()
            + self.requirements.arena.total_bytes()
            + self.staging_bytes()
    }

    /// Bytes that the backend's device allocates: weights, cache and activations.
    pub fn device_bytes(&self) -> usize {
        self.weights_bytes() + self.kv_bytes() + self.requirements.arena.total_bytes()
    }

    /// Bytes of page-locked host memory on the way to and from a device.
    pub fn staging_bytes(&self) -> usize {
        self.requirements.staging_bytes()
    }

    /// Bytes of the model's file that are used where they are mapped, beside what is allocated.
    pub fn mapped_bytes(&self) -> usize {
        self.mapped_categories().values().sum()
    }

    /// [`EnginePlan::mapped_bytes`] by category.
    pub fn mapped_categories(&self) -> BTreeMap<Category, usize> {
        let mut categories = BTreeMap::new();
        for spec in self.program.weights().iter().filter(|spec| spec.placement == Placement::Mapped) {
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
        let kv = Part::new(Category::Kv, "kv", self.kv_bytes());
        let mut categories: BTreeMap<Category, PlannedUsage> = BTreeMap::new();
        for part in self
            .requirements
            .weights
            .iter()
            .chain(&self.slots)
            .chain(&self.requirements.staging)
            .chain(&self.requirements.arena.parts())
            .chain([&kv])
        {
            let usage = categories.entry(part.category).or_default();
            usage.bytes += part.bytes;
            usage.count += 1;
        }
        categories
    }

    /// The engine's allocations, and what lies where in them.
    pub fn slabs(&self) -> Vec<Slab> {
        let weights = self.requirements.weights.iter().map(|part| {
            let (shape, dtype) = self.weight_shape(&part.name, part.category);
            PlannedRegion {
                name: part.name.clone(),
                category: part.category,
                shape,
                dtype,
                offset: None,
                bytes: part.bytes,
                lifetime: None,
            }
        });
        let weights = weights.collect();
        let kv = self.program.kv().map(|kv| PlannedRegion {
            name: "kv".into(),
            category: Category::Kv,
            shape: vec![self.cache.blocks, kv.layers(), kv.kv_heads(), 2, kv.block_tokens(), kv.head_dim()],
            dtype: kv.format().name(),
            offset: Some(0),
            bytes: self.kv_bytes(),
            lifetime: None,
        });
        let regions =
            self.requirements.arena.regions().iter().zip(self.requirements.arena.offsets()).enumerate().map(
                |(index, (region, offset))| {
                    let spec = self.program.regions().get(index).filter(|spec| spec.name == region.name);
                    let rows = |spec: &tinyllm_kernels::RegionSpec| match spec.rows {
                        RowSet::Tokens => self.limits.max_tokens,
                        RowSet::Sampled => self.limits.max_sampled_rows,
                    };
                    PlannedRegion {
                        name: region.name.clone(),
                        category: region.category,
                        shape: spec
                            .map_or_else(|| vec![region.bytes / 4], |spec| vec![rows(spec), spec.columns]),
                        dtype: spec.map_or("f32", |spec| spec.format.name()),
                        offset: Some(*offset),
                        bytes: region.bytes,
                        lifetime: Some(region.lifetime),
                    }
                },
            );
        let regions = regions.collect();
        let mut slabs = vec![
            Slab { name: "weights", bytes: self.weights_bytes(), regions: weights },
            Slab { name: "kv", bytes: self.kv_bytes(), regions: kv.into_iter().collect() },
            Slab { name: "slots", bytes: self.slots_bytes(), regions: self.slot_regions() },
            Slab { name: "activations", bytes: self.requirements.arena.total_bytes(), regions },
        ];
        if self.staging_bytes() > 0 {
            let (bytes, regions) = (self.staging_bytes(), self.staging_regions());
            slabs.push(Slab { name: "staging", bytes, regions });
        }
        slabs
    }

    /// What lies in the page-locked slab.
    fn staging_regions(&self) -> Vec<PlannedRegion> {
        let mut offset = 0;
        let mut place = |part: &Part| {
            let region = PlannedRegion {
                name: part.name.clone(),
                category: part.category,
                shape: vec![part.bytes],
                dtype: "u8",
                offset: Some(offset),
                bytes: part.bytes,
                lifetime: None,
            };
            offset += part.bytes;
            region
        };
        self.requirements.staging.iter().map(&mut place).collect()
    }

    /// What lies in the slots' slab.
    fn slot_regions(&self) -> Vec<PlannedRegion> {
        let CacheShape { max_sequences, max_seq_len, vocab_size, .. } = self.cache;
        let shapes = [
            vec![max_sequences, max_seq_len],
            vec![max_sequences, self.cache.blocks_per_sequence()],
            // A count, and a candidate of two words.
            vec![vocab_size, 3],
        ];
        let mut offset = 0;
        let mut place = |(part, shape): (&Part, Vec<usize>)| {
            let region = PlannedRegion {
                name: part.name.clone(),
                category: part.category,
                shape,
                dtype: "u32",
                offset: Some(offset),
                bytes: part.bytes,
                lifetime: None,
            };
            offset += part.bytes;
            region
        };
        self.slots.iter().zip(shapes).map(&mut place).collect()
    }

    /// Shape and type of a part of the weights slab, by the tensor it is of.
    fn weight_shape(&self, name: &str, category: Category) -> (Vec<usize>, &'static str) {
        let tensor = name.trim_end_matches(".scales").trim_end_matches(".padding");
        if category == Category::Padding {
            return (Vec::new(), "");
        }
        if let Some(spec) = self.program.weights().iter().find(|spec| spec.name == tensor) {
            return match spec.format {
                WeightFormat::W8A16 { group_size, scales } if category == Category::Scales => {
                    (vec![spec.n, group_size.groups(spec.k)], scales.name())
                }
                format => (vec![spec.n, spec.k], format.name()),
            };
        }
        let vector = self.program.vectors().iter().find(|spec| spec.name == tensor);
        vector.map_or((Vec::new(), ""), |spec| (vec![spec.len], spec.format.name()))
    }

    /// Refuses what is above the budget, and says what would fit.
    pub(super) fn check_budget(
        &self,
        options: &EngineOptions,
        replan: &dyn Fn(&EngineOptions) -> Result<EnginePlan>,
    ) -> Result<()> {
        let categories = self.categories();
        for (category, budget_bytes) in &options.category_budget_bytes {
            let needed_bytes = categories.get(category).map_or(0, |usage| usage.bytes);
            if needed_bytes > *budget_bytes {
                let (category, budget_bytes) = (*category, *budget_bytes);
                return Err(ModelError::OverCategoryBudget { category, needed_bytes, budget_bytes });
            }
        }
        let Some(budget_bytes) = options.memory_budget_bytes.filter(|budget| self.total_bytes() > *budget)
        else {
            return Ok(());
        };
        let limit = self.max_seq_len();
        let mut int8 = options.clone();
        int8.kv.format = Some(tinyllm_kernels::KvFormat::Int8);
        let largest_context_int8 = largest_context(&int8, budget_bytes, limit, replan);
        let largest_context = largest_context(options, budget_bytes, limit, replan);
        let largest_batch = (self.max_batch_size() > 1)
            .then(|| largest_batch(options, budget_bytes, self.max_batch_size(), replan))
            .flatten();
        Err(ModelError::OverBudget {
            needed_bytes: self.total_bytes(),
            budget_bytes,
            weights_bytes: self.weights_bytes(),
            kv_bytes: self.kv_bytes(),
            slots_bytes: self.slots_bytes(),
            arena_bytes: self.requirements.arena.total_bytes(),
            max_seq_len: self.max_seq_len(),
            max_batch_size: self.max_batch_size(),
            largest_context,
            largest_context_int8,
            largest_batch,
        })
    }
}

/// The largest context up to `limit` whose plan fits a budget; `None` where none does.
pub fn largest_context(
    options: &EngineOptions,
    budget_bytes: usize,
    limit: usize,
    plan: &dyn Fn(&EngineOptions) -> Result<EnginePlan>,
) -> Option<usize> {
    largest(limit, &|tokens| {
        let mut options = options.clone();
        options.kv.max_seq_len = Some(tokens);
        plan(&options).is_ok_and(|plan| plan.total_bytes() <= budget_bytes)
    })
}

/// The largest batch up to `limit` whose plan fits a budget; `None` where none does.
pub fn largest_batch(
    options: &EngineOptions,
    budget_bytes: usize,
    limit: usize,
    plan: &dyn Fn(&EngineOptions) -> Result<EnginePlan>,
) -> Option<usize> {
    largest(limit, &|sequences| {
        let mut options = options.clone();
        options.kv.max_batch_size = sequences;
        plan(&options).is_ok_and(|plan| plan.total_bytes() <= budget_bytes)
    })
}

/// The largest number from 1 to `limit` that fits, where every smaller one fits too.
fn largest(limit: usize, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (0, limit);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    (low > 0).then_some(low)
}

/// The same options with f16 weights, for comparison.
pub fn with_f16_weights(options: &EngineOptions) -> EngineOptions {
    EngineOptions { weights: WeightsMode::F16, mmap: false, ..options.clone() }
}

/// The cache asked for, or the model's own context up to the default.
fn cache_shape(
    path: &Path,
    config: &ModelConfig,
    options: &EngineOptions,
    kv: &KvShape,
) -> Result<CacheShape> {
    let asked = options.kv;
    let longest = config.rope.longest_context();
    if let (Some(tokens), Some(rope_limit)) = (asked.max_seq_len, longest)
        && tokens > rope_limit
    {
        let path = Some(path.to_owned());
        return Err(ModelError::ContextBeyondRope { path, tokens, rope_limit });
    }
    let own = longest.unwrap_or(config.max_position_embeddings);
    let block_tokens = asked.block_size;
    let max_sequences = asked.max_batch_size.max(1);
    let (blocks, max_seq_len) = match asked.budget_bytes {
        None => {
            let tokens = asked.max_seq_len.unwrap_or(own.min(EngineOptions::DEFAULT_CONTEXT_TOKENS)).max(1);
            let blocks = max_sequences.checked_mul(tokens.div_ceil(block_tokens));
            let overflow = ModelError::SizeOverflow { sequences: max_sequences, tokens };
            (blocks.ok_or(overflow)?, tokens)
        }
        Some(bytes) => {
            let blocks = bytes / kv.block_bytes();
            if blocks == 0 {
                let block_bytes = kv.block_bytes();
                return Err(ModelError::CacheBelowBlock { budget_bytes: bytes, block_bytes });
            }
            (blocks, asked.max_seq_len.unwrap_or(own).clamp(1, blocks.saturating_mul(block_tokens)))
        }
    };
    if u32::try_from(blocks).is_err() || u32::try_from(max_seq_len).is_err() {
        return Err(ModelError::TooManyBlocks { blocks, block_tokens });
    }
    let windows = &config.sliding_windows;
    let all = windows.len() == config.num_hidden_layers && windows.iter().all(Option::is_some);
    let window = if all { windows.iter().copied().flatten().max() } else { None };
    let vocab_size = config.vocab_size;
    Ok(CacheShape { blocks, block_tokens, max_seq_len, max_sequences, vocab_size, window })
}
