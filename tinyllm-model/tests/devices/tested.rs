//! The devices that tests run on.

use std::sync::Arc;

use tinyllm_emulator::{Builder, Emulator};
use tinyllm_kernels::Cuda;
use tinyllm_mem::{Context, HostResource};
use tinyllm_model::{
    Engine,
    checkpoint::Checkpoint,
    engine::{EngineOptions, LayerSplit},
};
use tinyllm_sys::{DriverApi, LibCuda};

/// Environment variable: with any value but `0` the tests also run on this machine's GPU.
const REAL: &str = "TINYLLM_TEST_GPU";

/// A device to test, and the emulator that it is of.
pub(crate) struct Tested {
    pub(crate) cuda: Cuda,
    emulator: Option<Emulator>,
}

impl Tested {
    pub(crate) fn all() -> Vec<Tested> {
        let mut devices = vec![Tested::emulated()];
        if std::env::var(REAL).is_ok_and(|value| value != "0") {
            let driver = LibCuda::load().unwrap_or_else(|error| panic!("{REAL} asks for a GPU: {error}"));
            devices.push(Tested { cuda: backend(Arc::new(driver), 0), emulator: None });
        }
        devices
    }

    /// The emulated device.
    pub(crate) fn emulated() -> Tested {
        let emulator = Builder::from_env().unwrap().build();
        Tested { cuda: backend(Arc::new(emulator.clone()), 0), emulator: Some(emulator) }
    }

    /// What the emulator has found after everything was freed: nothing.
    pub(crate) fn end(self) {
        assert_eq!(self.cuda.context().take_error(), None);
        drop(self.cuda);
        if let Some(emulator) = self.emulator {
            nothing_is_found(&emulator);
        }
    }
}

/// The backend of a driver's device.
pub(crate) fn backend(driver: Arc<dyn DriverApi>, ordinal: u32) -> Cuda {
    Cuda::new(&Context::primary(driver, ordinal).unwrap()).unwrap()
}

/// An emulator found nothing, leaks included.
pub(crate) fn nothing_is_found(emulator: &Emulator) {
    let found: Vec<String> = emulator.finish().iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Loads a model.
pub(crate) fn load<'a>(
    split: impl Into<LayerSplit<'a>>,
    model: &dyn Checkpoint,
    options: &EngineOptions,
) -> Engine {
    Engine::load_on(split, model, options, &HostResource::shared(), &|_| {}).unwrap()
}

/// Logits as bits.
pub(crate) fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// The bits of every position's logits.
pub(crate) fn logits<'a>(
    split: impl Into<LayerSplit<'a>>,
    model: &dyn Checkpoint,
    options: &EngineOptions,
    ids: &[u32],
) -> Vec<Vec<u32>> {
    let mut engine = load(split, model, options);
    let mut rows = Vec::new();
    engine.logits(ids, &mut |_, row| rows.push(bits(row))).unwrap();
    rows
}

/// The bits of the last position's logits of every prefix, decoded one token after another.
pub(crate) fn decoded<'a>(
    split: impl Into<LayerSplit<'a>>,
    model: &dyn Checkpoint,
    options: &EngineOptions,
    ids: &[u32],
) -> Vec<Vec<u32>> {
    let mut engine = load(split, model, options);
    let sequence = engine.create_sequence().unwrap();
    ids.iter().map(|id| bits(engine.decode(sequence, *id).unwrap())).collect()
}
