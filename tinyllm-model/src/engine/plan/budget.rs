//! Plans held against budgets, and what would fit.

use tinyllm_kernels::KvFormat;

use super::{EngineOptions, EnginePlan};
use crate::{ModelError, Result};

/// A budget that a plan does not keep.
struct Missed {
    /// The device whose budget it is; `None`: that of everything.
    device: Option<usize>,
    needed_bytes: usize,
    budget_bytes: usize,
}

impl EnginePlan {
    /// The first budget that is not kept.
    fn missed(&self, options: &EngineOptions) -> Option<Missed> {
        let stages = self.stages.iter().enumerate();
        let mut budgets = stages
            .filter_map(|(index, stage)| Some((Some(index), stage.device_bytes(), stage.budget_bytes?)))
            .chain(options.memory_budget_bytes.map(|budget| (None, self.total_bytes(), budget)));
        let missed = budgets.find(|(_, needed, budget)| needed > budget);
        missed.map(|(device, needed_bytes, budget_bytes)| Missed { device, needed_bytes, budget_bytes })
    }

    /// Whether each device keeps its budget, and the whole that of the options.
    pub fn keeps_budgets(&self, options: &EngineOptions) -> bool {
        self.missed(options).is_none()
    }

    /// Refuses what is above a budget, and says what would fit.
    pub(in crate::engine) fn check_budget(
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
        let Some(Missed { device, needed_bytes, budget_bytes }) = self.missed(options) else { return Ok(()) };
        let limit = self.max_seq_len();
        let mut int8 = options.clone();
        int8.kv.format = Some(KvFormat::Int8);
        let fits = |options: &EngineOptions| replan(options).is_ok_and(|plan| plan.keeps_budgets(options));
        let largest_batch = (self.max_batch_size() > 1)
            .then(|| fitting_batch(options, self.max_batch_size(), &fits))
            .flatten();
        let stage = device.map(|device| &self.stages[device]);
        let over = ModelError::OverBudget {
            needed_bytes,
            budget_bytes,
            weights_bytes: stage.map_or(self.weights_bytes(), |stage| stage.weights_bytes()),
            kv_bytes: stage.map_or(self.kv_bytes(), |stage| stage.requirements.kv_bytes),
            slots_bytes: if stage.is_some() { 0 } else { self.slots_bytes() },
            arena_bytes: stage.map_or(self.arena_bytes(), |stage| stage.requirements.arena.total_bytes()),
            max_seq_len: self.max_seq_len(),
            max_batch_size: self.max_batch_size(),
            largest_context: fitting_context(options, limit, &fits),
            largest_context_int8: fitting_context(&int8, limit, &fits),
            largest_batch,
        };
        Err(match stage {
            Some(stage) => {
                ModelError::OverDeviceBudget { device: stage.device.clone(), source: Box::new(over) }
            }
            None => over,
        })
    }
}

/// The largest context up to `limit` whose plan fits a budget of everything, and each device's; `None` where none does.
pub fn largest_context(
    options: &EngineOptions,
    budget_bytes: impl Into<Option<usize>>,
    limit: usize,
    plan: &dyn Fn(&EngineOptions) -> Result<EnginePlan>,
) -> Option<usize> {
    let options = options.clone().with_memory_budget_bytes(budget_bytes);
    fitting_context(&options, limit, &|options| plan(options).is_ok_and(|plan| plan.keeps_budgets(options)))
}

/// The largest batch up to `limit` whose plan fits a budget of everything, and each device's; `None` where none does.
pub fn largest_batch(
    options: &EngineOptions,
    budget_bytes: impl Into<Option<usize>>,
    limit: usize,
    plan: &dyn Fn(&EngineOptions) -> Result<EnginePlan>,
) -> Option<usize> {
    let options = options.clone().with_memory_budget_bytes(budget_bytes);
    fitting_batch(&options, limit, &|options| plan(options).is_ok_and(|plan| plan.keeps_budgets(options)))
}

fn fitting_context(
    options: &EngineOptions,
    limit: usize,
    fits: &dyn Fn(&EngineOptions) -> bool,
) -> Option<usize> {
    largest(limit, &|tokens| {
        let mut options = options.clone();
        options.kv.max_seq_len = Some(tokens);
        fits(&options)
    })
}

fn fitting_batch(
    options: &EngineOptions,
    limit: usize,
    fits: &dyn Fn(&EngineOptions) -> bool,
) -> Option<usize> {
    largest(limit, &|sequences| {
        let mut options = options.clone();
        options.kv.max_batch_size = sequences;
        fits(&options)
    })
}

/// The largest number from 1 to `limit` that fits, where every smaller one fits too.
pub(in crate::engine) fn largest(limit: usize, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
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

/// The smallest number from 0 to `limit` that fits, where every larger one fits too.
pub(in crate::engine) fn smallest(limit: usize, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (0, limit);
    while low < high {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    fits(low).then_some(low)
}
