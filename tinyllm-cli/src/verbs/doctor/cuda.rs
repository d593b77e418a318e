//! The CUDA driver and its devices, or what is missing.

use serde_json::{Value, json};
use tinyllm_sys::{CudaVersion, DeviceAttribute, DriverApi, DriverError, LibCuda, LoadError};

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
}

impl Cuda {
    pub(super) fn find() -> Self {
        let missing = |library, version, problem: String| Cuda {
            version,
            devices: Vec::new(),
            problem: Some(problem),
            library,
        };
        match LibCuda::load() {
            Ok(driver) => match devices(&driver) {
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
                "GPU {ordinal}         {}, compute capability {}, {} multiprocessors, {:.1} GiB{}\n",
                device.name,
                capability(device),
                device.multiprocessors,
                device.memory_bytes as f64 / (1u64 << 30) as f64,
                if device.memory_pools { "" } else { ", no memory pools" },
            ));
        }
        text.push_str("              models run on the processor in this version\n");
        text
    }
}

fn capability(device: &Device) -> String {
    format!("{}.{}", device.compute_capability.0, device.compute_capability.1)
}

fn devices(driver: &dyn DriverApi) -> Result<(CudaVersion, Vec<Device>), DriverError> {
    let devices = (0..driver.device_count()?).map(|ordinal| {
        let device = driver.device_get(ordinal)?;
        let attribute = |attribute| driver.device_attribute(attribute, device);
        Ok(Device {
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
