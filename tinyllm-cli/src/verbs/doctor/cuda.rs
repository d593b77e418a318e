//! The CUDA driver and its devices, and what would fit on them, or what is missing.

use std::sync::Arc;

use serde_json::{Value, json};
use tinyllm_kernels::Cuda as Backend;
use tinyllm_mem::Context;
use tinyllm_model::engine::{EngineOptions, EnginePlan, KvCacheConfig};
use tinyllm_sys::{CudaVersion, DeviceAttribute, DriverApi, DriverError, LibCuda, LoadError};

use crate::models::presets;

/// What was found.
pub(super) struct Cuda {
    /// What the driver supports; `None` where it could not be asked.
    version: Option<CudaVersion>,
    devices: Vec<Device>,
    /// What is missing, and what to do about it.
    problem: Option<String>,
    library: bool,
}

struct Device {
    name: String,
    compute_capability: (i32, i32),
    multiprocessors: i32,
    memory_bytes: u64,
    memory_pools: bool,
    /// What no program has taken; `None` where the device cannot be used.
    free_bytes: Option<u64>,
    /// Well-known models that fit in it, with [`FITTING_TOKENS`] of context.
    fitting: Vec<&'static str>,
}

/// Tokens of context of models that are said to fit.
const FITTING_TOKENS: usize = 4096;

impl Cuda {
    pub(super) fn find() -> Self {
        let missing = |library, version, problem: String| Cuda {
            version,
            devices: Vec::new(),
            problem: Some(problem),
            library,
        };
        match LibCuda::load() {
            Ok(driver) => match devices(&(Arc::new(driver) as Arc<dyn DriverApi>)) {
                Ok((version, devices)) => {
                    Cuda { version: Some(version), devices, problem: None, library: true }
                }
                Err(error) => missing(true, None, error.to_string()),
            },
            Err(error) => {
                let version = match &error {
                    LoadError::OldDriver { found } => Some(*found),
                    _ => None,
                };
                missing(error != LoadError::NoLibrary, version, error.to_string())
            }
        }
    }

    /// Whether there is a driver, in whatever state.
    pub(super) fn has_library(&self) -> bool {
        self.library
    }

    pub(super) fn json(&self) -> Value {
        let devices: Vec<Value> = self
            .devices
            .iter()
            .map(|device| {
                json!({
                    "name": device.name,
                    "compute_capability": capability(device),
                    "multiprocessors": device.multiprocessors,
                    "memory_total_bytes": device.memory_bytes,
                    "memory_pools": device.memory_pools,
                    "memory_free_bytes": device.free_bytes,
                    "fitting_models": device.fitting,
                })
            })
            .collect();
        json!({
            "version": self.version.map(|version| version.to_string()),
            "devices": devices,
            "problem": self.problem,
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::from("CUDA driver   ");
        match (&self.version, &self.problem) {
            (Some(version), None) => text.push_str(&format!("supports CUDA {version}\n")),
            (_, problem) => text.push_str(&format!("{}\n", problem.as_deref().unwrap_or_default())),
        }
        for (ordinal, device) in self.devices.iter().enumerate() {
            text.push_str(&format!(
                "cuda:{ordinal}        {}, compute capability {}, {} multiprocessors, {:.1} GiB{}\n",
                device.name,
                capability(device),
                device.multiprocessors,
                device.memory_bytes as f64 / (1u64 << 30) as f64,
                if device.memory_pools { "" } else { ", no memory pools" },
            ));
            text.push_str(&state(device));
        }
        text
    }
}

/// What can be done with a device.
fn state(device: &Device) -> String {
    let Some(free) = device.free_bytes else {
        return "              cannot be used: its context or its compute capability (8.0 is needed)\n"
            .into();
    };
    let fitting = match &device.fitting[..] {
        [] => "none of the presets of `plan` fits".into(),
        names => format!("{} of {FITTING_TOKENS} tokens fit", names.join(", ")),
    };
    let mut text = format!("              {:.1} GiB free: {fitting}\n", free as f64 / (1u64 << 30) as f64);
    if device.name.contains("B300") {
        // 0.15 POPS of int8 beside 2.25 PFLOPS of f16.
        text.push_str("              matmuls of int8, which W8A16 uses, are slow on this GPU: a fifteenth of f16's rate\n");
    }
    text
}

fn capability(device: &Device) -> String {
    format!("{}.{}", device.compute_capability.0, device.compute_capability.1)
}

/// The free memory of a device, and the presets that fit there.
fn room(driver: &Arc<dyn DriverApi>, ordinal: u32) -> Option<(u64, Vec<&'static str>)> {
    let context = Context::primary(Arc::clone(driver), ordinal).ok()?;
    let free = context.memory_info()?.free_bytes;
    let backend = Backend::new(&context).ok()?;
    let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(FITTING_TOKENS));
    let fits = |name: &&str| {
        let plan = presets::config(name)
            .ok()
            .and_then(|config| EnginePlan::of_config(&backend, &config, &options).ok());
        plan.is_some_and(|plan| plan.devices().iter().all(|device| device.device_bytes as u64 <= free))
    };
    Some((free, presets::NAMES.into_iter().filter(fits).collect()))
}

fn devices(driver: &Arc<dyn DriverApi>) -> Result<(CudaVersion, Vec<Device>), DriverError> {
    let devices = (0..driver.device_count()?).map(|ordinal| {
        let device = driver.device_get(ordinal)?;
        let attribute = |attribute| driver.device_attribute(attribute, device);
        let (free_bytes, fitting) =
            room(driver, ordinal).map_or((None, Vec::new()), |(free, fitting)| (Some(free), fitting));
        Ok(Device {
            free_bytes,
            fitting,
            name: driver.device_name(device)?,
            compute_capability: (
                attribute(DeviceAttribute::ComputeCapabilityMajor)?,
                attribute(DeviceAttribute::ComputeCapabilityMinor)?,
            ),
            multiprocessors: attribute(DeviceAttribute::MultiprocessorCount)?,
            memory_bytes: driver.device_total_mem(device)?,
            memory_pools: attribute(DeviceAttribute::MemoryPoolsSupported)? != 0,
        })
    });
    Ok((driver.driver_version()?, devices.collect::<Result<_, _>>()?))
}
