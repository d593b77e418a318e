//! Where a model's layers run: on one device, or contiguous layers on one device after another.

use std::ops::Range;

use tinyllm_kernels::Backend;

use super::{
    EngineOptions,
    plan::{Blueprint, PlanSource, largest, smallest},
};
use crate::{ModelError, Result};

/// Contiguous layers on one device after another, each with the KV cache of its layers: the embedding table is on the first,
/// `lm_head` on the last. Logits have the same bits however layers are split.
#[derive(Clone)]
pub struct LayerSplit<'a> {
    devices: Vec<DeviceLayers<'a>>,
}

/// The layers of one device.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DeviceLayers<'a> {
    /// The device.
    pub backend: &'a dyn Backend,
    /// How many layers; `None`: all that the model has.
    pub layers: Option<usize>,
    /// The most bytes that its weights, KV cache and activations may take; more is refused before loading.
    pub budget_bytes: Option<usize>,
}

impl<'a> DeviceLayers<'a> {
    /// All layers of the model on `backend`.
    pub fn all(backend: &'a dyn Backend) -> Self {
        DeviceLayers { backend, layers: None, budget_bytes: None }
    }

    /// So many layers.
    pub fn with_layers(self, layers: usize) -> Self {
        DeviceLayers { layers: Some(layers), ..self }
    }

    /// With a budget.
    pub fn with_budget_bytes(self, budget_bytes: impl Into<Option<usize>>) -> Self {
        DeviceLayers { budget_bytes: budget_bytes.into(), ..self }
    }
}

impl<'a, B: Backend> From<&'a B> for LayerSplit<'a> {
    fn from(backend: &'a B) -> Self {
        LayerSplit::new(vec![DeviceLayers::all(backend)])
    }
}

impl<'a> From<&'a dyn Backend> for LayerSplit<'a> {
    fn from(backend: &'a dyn Backend) -> Self {
        LayerSplit::new(vec![DeviceLayers::all(backend)])
    }
}

/// A device that layers may be placed on.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DeviceRoom<'a> {
    /// The device.
    pub backend: &'a dyn Backend,
    /// The most bytes that its weights, KV cache and activations may take.
    pub budget_bytes: Option<usize>,
    /// Whether it takes only those layers that the others have no room for, as a processor beside GPUs does.
    pub takes_rest: bool,
}

impl<'a> DeviceRoom<'a> {
    /// A device whose layers may take so many bytes.
    pub fn new(backend: &'a dyn Backend, budget_bytes: impl Into<Option<usize>>) -> Self {
        DeviceRoom { backend, budget_bytes: budget_bytes.into(), takes_rest: false }
    }

    /// A device that takes the layers for which the others have no room.
    pub fn rest(backend: &'a dyn Backend, budget_bytes: impl Into<Option<usize>>) -> Self {
        DeviceRoom { takes_rest: true, ..DeviceRoom::new(backend, budget_bytes) }
    }
}

/// Steps in which the budgets of devices that share a model are filled.
const FILL_STEPS: usize = 4096;

impl<'a> LayerSplit<'a> {
    /// These layers, in this order.
    pub fn new(devices: Vec<DeviceLayers<'a>>) -> Self {
        LayerSplit { devices }
    }

    /// Splits a model by planned bytes, its layers in the order of the devices: as few layers as possible on a device that
    /// takes the rest, or all but `accelerated_layers`; the others on the other devices, whose budgets are filled to the same
    /// share.
    ///
    /// # Errors
    /// [`ModelError::NoLayerSplit`] where the devices have no room for all layers; whatever is wrong with the checkpoint or
    /// the options.
    pub fn fit(
        devices: &[DeviceRoom<'a>],
        accelerated_layers: Option<usize>,
        source: PlanSource<'_>,
        options: &EngineOptions,
    ) -> Result<Self> {
        let fit = Fit { devices, blueprint: Blueprint::new(source, options)? };
        let layers = fit.blueprint.layers();
        let can_rest = devices.iter().any(|room| room.takes_rest);
        if let Some(accelerated) = accelerated_layers {
            let rest = layers - accelerated.min(layers);
            return fit.balanced(rest).ok_or_else(|| fit.error(accelerated.min(layers)));
        }
        // The fewer layers are elsewhere, the more room is needed.
        let fewest = smallest(if can_rest { layers } else { 0 }, &|rest| fit.at(rest, 1.0).is_some());
        fewest.and_then(|rest| fit.balanced(rest)).ok_or_else(|| fit.error(layers))
    }

    /// The devices, and the layers of each of a model with so many.
    pub(super) fn ranges(&self, model_layers: usize) -> Result<Vec<(DeviceLayers<'a>, Range<usize>)>> {
        let mut ranges = Vec::with_capacity(self.devices.len());
        let mut start = 0usize;
        for device in &self.devices {
            let layers = device.layers.unwrap_or(model_layers - start.min(model_layers));
            let end = start.saturating_add(layers);
            ranges.push((*device, start..end));
            start = end;
        }
        let is_whole = start == model_layers && ranges.iter().all(|(_, layers)| !layers.is_empty());
        let split = || ranges.iter().map(|(_, layers)| layers.len()).collect();
        if is_whole { Ok(ranges) } else { Err(ModelError::LayerSplit { layers: split(), model_layers }) }
    }
}

/// A model that is split, and what it may take.
struct Fit<'a, 'b> {
    devices: &'b [DeviceRoom<'a>],
    blueprint: Blueprint<'b>,
}

impl<'a> Fit<'a, '_> {
    /// The split with so many layers on the device that takes the rest, where the others' budgets are filled to a share as
    /// small as it can be; `None` where they have no room.
    fn balanced(&self, rest: usize) -> Option<LayerSplit<'a>> {
        let share = |step: usize| step as f64 / FILL_STEPS as f64;
        let step = smallest(FILL_STEPS, &|step| self.at(rest, share(step)).is_some())?;
        self.at(rest, share(step))
    }

    /// The split that fills budgets to this share, one device after another.
    fn at(&self, rest: usize, share: f64) -> Option<LayerSplit<'a>> {
        let layers = self.blueprint.layers();
        let mut start = 0;
        let mut split = Vec::new();
        for (index, room) in self.devices.iter().enumerate() {
            // What is for a device that takes the rest later on is not for this one.
            let is_rest_later = self.devices[index + 1..].iter().any(|other| other.takes_rest);
            let most = match room.takes_rest {
                true => rest.min(layers - start),
                false => (layers - start).saturating_sub(if is_rest_later { rest } else { 0 }),
            };
            let budget = room.budget_bytes.map(|budget| match room.takes_rest {
                true => budget,
                false => (budget as f64 * share) as usize,
            });
            let fits = |count: usize| {
                let end = start + count;
                let bytes =
                    self.blueprint.stage(room.backend, start..end).map(|(stage, _)| stage.device_bytes());
                bytes.is_ok_and(|bytes| budget.is_none_or(|budget| bytes <= budget))
            };
            let count = largest(most, &fits).unwrap_or(0);
            if count > 0 {
                let device = DeviceLayers::all(room.backend).with_layers(count);
                split.push(device.with_budget_bytes(room.budget_bytes));
            }
            start += count;
        }
        (start == layers).then(|| LayerSplit::new(split))
    }

    fn error(&self, wanted_layers: usize) -> ModelError {
        let model_layers = self.blueprint.layers();
        let mut fitting_layers = 0;
        for room in self.devices.iter().filter(|room| !room.takes_rest) {
            let fits = |count: usize| {
                let stage = self.blueprint.stage(room.backend, fitting_layers..fitting_layers + count);
                stage.is_ok_and(|(stage, _)| {
                    room.budget_bytes.is_none_or(|budget| stage.device_bytes() <= budget)
                })
            };
            fitting_layers += largest(model_layers - fitting_layers, &fits).unwrap_or(0);
        }
        ModelError::NoLayerSplit { wanted_layers, fitting_layers, model_layers }
    }
}
