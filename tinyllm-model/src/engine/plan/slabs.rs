//! What lies where in an engine's allocations.

use tinyllm_kernels::{Limits, RegionSpec, RowSet, WeightFormat};
use tinyllm_mem::{Category, Part};

use super::{EnginePlan, StagePlan};
use crate::engine::kv_cache::CacheShape;

/// One allocation of the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Slab {
    /// The device whose layers it is for; `None` for what is the host's own.
    pub device: Option<String>,
    /// `weights`, `kv`, `slots` or `activations`; of a device also `staging`.
    pub name: &'static str,
    /// Size in bytes.
    pub bytes: usize,
    /// The fewest bytes that what lies in it could take: fewer where regions share bytes, one after another.
    pub lower_bound_bytes: usize,
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
    /// The engine's allocations, and what lies where in them.
    pub fn slabs(&self) -> Vec<Slab> {
        let mut slabs: Vec<Slab> =
            self.stages.iter().flat_map(|stage| stage.slabs(&self.cache, &self.limits)).collect();
        let bytes = self.slots_bytes();
        let slots = Slab {
            device: None,
            name: "slots",
            bytes,
            lower_bound_bytes: bytes,
            regions: self.slot_regions(),
        };
        // Beside the cache whose sequences they are of.
        slabs.insert(2.min(slabs.len()), slots);
        slabs
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
        in_order(self.slots.iter().zip(shapes).map(|(part, shape)| (part, shape, "u32")))
    }
}

impl StagePlan {
    fn slabs(&self, cache: &CacheShape, limits: &Limits) -> Vec<Slab> {
        let requirements = &self.requirements;
        let slab = |name, bytes, regions| Slab {
            device: Some(self.device.clone()),
            name,
            bytes,
            lower_bound_bytes: match name {
                "activations" => requirements.arena.lower_bound_bytes(),
                _ => bytes,
            },
            regions,
        };
        let mut slabs = vec![
            slab("weights", self.weights_bytes(), self.weight_regions()),
            slab("kv", requirements.kv_bytes, self.kv_region(cache).into_iter().collect()),
            slab("activations", requirements.arena.total_bytes(), self.arena_regions(limits)),
        ];
        if requirements.staging_bytes() > 0 {
            let parts = requirements.staging.iter().map(|part| (part, vec![part.bytes], "u8"));
            slabs.push(slab("staging", requirements.staging_bytes(), in_order(parts)));
        }
        slabs
    }

    fn weight_regions(&self) -> Vec<PlannedRegion> {
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
        weights.collect()
    }

    fn kv_region(&self, cache: &CacheShape) -> Option<PlannedRegion> {
        self.program.kv().map(|kv| PlannedRegion {
            name: "kv".into(),
            category: Category::Kv,
            shape: vec![cache.blocks, kv.layers(), kv.kv_heads(), 2, kv.block_tokens(), kv.head_dim()],
            dtype: kv.format().name(),
            offset: Some(0),
            bytes: self.requirements.kv_bytes,
            lifetime: None,
        })
    }

    fn arena_regions(&self, limits: &Limits) -> Vec<PlannedRegion> {
        let arena = &self.requirements.arena;
        let rows = |spec: &RegionSpec| match spec.rows {
            RowSet::Tokens => limits.max_tokens,
            RowSet::Sampled => limits.max_sampled_rows,
        };
        let regions = arena.regions().iter().zip(arena.offsets()).enumerate();
        let regions = regions.map(|(index, (region, offset))| {
            let spec = self.program.regions().get(index).filter(|spec| spec.name == region.name);
            PlannedRegion {
                name: region.name.clone(),
                category: region.category,
                shape: spec.map_or_else(|| vec![region.bytes / 4], |spec| vec![rows(spec), spec.columns]),
                dtype: spec.map_or("f32", |spec| spec.format.name()),
                offset: Some(*offset),
                bytes: region.bytes,
                lifetime: Some(region.lifetime),
            }
        });
        regions.collect()
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
}

/// Parts that lie one after another, with their shapes and types.
fn in_order<'a>(parts: impl Iterator<Item = (&'a Part, Vec<usize>, &'static str)>) -> Vec<PlannedRegion> {
    let mut next = 0;
    let place = |(part, shape, dtype): (&Part, Vec<usize>, &'static str)| {
        let offset = next;
        next += part.bytes;
        PlannedRegion {
            name: part.name.clone(),
            category: part.category,
            shape,
            dtype,
            offset: Some(offset),
            bytes: part.bytes,
            lifetime: None,
        }
    };
    parts.map(place).collect()
}
