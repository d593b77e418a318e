//! The value of `--device`.

use crate::options::byte_size;

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// A GPU on which the plan fits, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// This machine's GPU of that number, as `CUDA_VISIBLE_DEVICES` leaves them.
    Cuda(u32),
    /// A device that the processor emulates, with so many bytes of memory.
    Emulated(Option<u64>),
}

/// Reads `auto`, `cpu`, `cuda`, `cuda:N`, `emulated` or `emulated@24GiB`.
pub(crate) fn device_choice(text: &str) -> Result<DeviceChoice, String> {
    let (name, memory) = text.split_once('@').map_or((text, None), |(name, memory)| (name, Some(memory)));
    let (name, number) = name.split_once(':').map_or((name, None), |(name, number)| (name, Some(number)));
    match (name, number, memory) {
        ("auto", None, None) => Ok(DeviceChoice::Auto),
        ("cpu", None, None) => Ok(DeviceChoice::Cpu),
        ("cuda", None, None) => Ok(DeviceChoice::Cuda(0)),
        ("cuda", Some(number), None) => {
            number.parse().map(DeviceChoice::Cuda).map_err(|_| format!("{number:?} is no device's number"))
        }
        ("emulated", None | Some("0"), None) => Ok(DeviceChoice::Emulated(None)),
        ("emulated", None | Some("0"), Some(memory)) => {
            byte_size(memory).map(|bytes| DeviceChoice::Emulated(Some(bytes as u64)))
        }
        _ => Err("one of auto, cpu, cuda, cuda:N, emulated, emulated@24GiB".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use super::*;

    #[test]
    fn devices_are_named_as_documented() {
        for (text, expected) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
            ("emulated", DeviceChoice::Emulated(None)),
            ("emulated:0@2GiB", DeviceChoice::Emulated(Some(2 << 30))),
        ] {
            assert_eq!(device_choice(text).unwrap(), expected, "{text}");
        }
        for wrong in ["gpu", "cuda:", "cuda:x", "cuda@1GiB", "cpu:0", "emulated@", "emulated:1", ""] {
            assert!(device_choice(wrong).is_err(), "{wrong}");
        }
    }
}
