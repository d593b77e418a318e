//! The values of `--device`, `--gpu-layers` and `--memory-budget`.

use crate::options::byte_size;

/// A device that `--device` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// A GPU on which the plan fits, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// This machine's GPU of that number, as `CUDA_VISIBLE_DEVICES` leaves them.
    Cuda(u32),
    /// A device that the processor emulates, with so many bytes of memory.
    Emulated {
        /// Its number.
        ordinal: u32,
        /// Bytes of its memory.
        memory_bytes: Option<u64>,
    },
}

impl DeviceChoice {
    /// The name in plans, errors and budgets.
    pub(super) fn name(self) -> String {
        match self {
            DeviceChoice::Auto => "auto".into(),
            DeviceChoice::Cpu => "cpu".into(),
            DeviceChoice::Cuda(ordinal) => format!("cuda:{ordinal}"),
            DeviceChoice::Emulated { ordinal, .. } => format!("emulated:{ordinal}"),
        }
    }
}

/// Reads `auto`, `cpu`, `cuda`, `cuda:N`, `emulated`, `emulated:N` or `emulated@24GiB`.
pub(crate) fn device_choice(text: &str) -> Result<DeviceChoice, String> {
    let (name, memory) = text.split_once('@').map_or((text, None), |(name, memory)| (name, Some(memory)));
    let (name, number) = name.split_once(':').map_or((name, None), |(name, number)| (name, Some(number)));
    let ordinal = || match number {
        None => Ok(0),
        Some(number) => number.parse().map_err(|_| format!("{number:?} is no device's number")),
    };
    match (name, number, memory) {
        ("auto", None, None) => Ok(DeviceChoice::Auto),
        ("cpu", None, None) => Ok(DeviceChoice::Cpu),
        ("cuda", _, None) => ordinal().map(DeviceChoice::Cuda),
        ("emulated", _, memory) => {
            let ordinal = ordinal()?;
            if ordinal >= MOST_EMULATED {
                return Err(format!("emulated devices are numbered from 0 to {}", MOST_EMULATED - 1));
            }
            let memory_bytes = memory.map(byte_size).transpose()?.map(|bytes| bytes as u64);
            Ok(DeviceChoice::Emulated { ordinal, memory_bytes })
        }
        _ => Err("one of auto, cpu, cuda, cuda:N, emulated, emulated:N, emulated@24GiB".into()),
    }
}

/// Emulated devices at most.
const MOST_EMULATED: u32 = 16;

/// The value of `--gpu-layers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GpuLayers {
    /// As many as fit.
    Auto,
    /// So many of the model's layers, or all where it has fewer.
    Count(usize),
}

/// Reads `--gpu-layers`.
pub(crate) fn gpu_layers(text: &str) -> Result<GpuLayers, String> {
    match text {
        "auto" => Ok(GpuLayers::Auto),
        "all" => Ok(GpuLayers::Count(usize::MAX)),
        _ => text.parse().map(GpuLayers::Count).map_err(|_| "auto, all, or a number of layers".into()),
    }
}

/// The value of `--memory-budget`: of everything, or of single devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MemoryBudget {
    /// Of everything.
    Total(usize),
    /// Of the devices of these names.
    Devices(Vec<(String, usize)>),
}

/// Reads `8GiB`, or `cuda:0=6GiB,cpu=8GiB`.
pub(crate) fn memory_budget(text: &str) -> Result<MemoryBudget, String> {
    if !text.contains('=') {
        return byte_size(text).map(MemoryBudget::Total);
    }
    let budgets = text.split(',').map(|part| {
        let (name, size) = part.split_once('=').ok_or("a device and a size, such as cuda:0=6GiB")?;
        Ok((device_choice(name)?.name(), byte_size(size)?))
    });
    budgets.collect::<Result<_, String>>().map(MemoryBudget::Devices)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use super::*;

    #[test]
    fn devices_are_named_as_documented() {
        let emulated = |ordinal, memory_bytes| DeviceChoice::Emulated { ordinal, memory_bytes };
        for (text, expected) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
            ("emulated", emulated(0, None)),
            ("emulated:1", emulated(1, None)),
            ("emulated:0@2GiB", emulated(0, Some(2 << 30))),
        ] {
            assert_eq!(device_choice(text).unwrap(), expected, "{text}");
        }
        for wrong in ["gpu", "cuda:", "cuda:x", "cuda@1GiB", "cpu:0", "emulated@", "emulated:16", ""] {
            assert!(device_choice(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn budgets_are_of_everything_or_of_devices() {
        assert_eq!(memory_budget("8GiB").unwrap(), MemoryBudget::Total(8 << 30));
        let budgets = vec![("cuda:0".to_owned(), 6 << 30), ("cpu".to_owned(), 8 << 30)];
        assert_eq!(memory_budget("cuda=6GiB,cpu=8GiB").unwrap(), MemoryBudget::Devices(budgets));
        for wrong in ["", "cuda:0", "cuda:0=", "gpu=1GiB", "cuda:0=6GiB,8GiB"] {
            assert!(memory_budget(wrong).is_err(), "{wrong}");
        }
    }
}
