//! Where models run: the processor, GPUs, or emulated devices.

mod choice;
mod emulated;
mod open;

pub(crate) use choice::{DeviceChoice, GpuLayers, MemoryBudget, device_choice, gpu_layers, memory_budget};
pub(crate) use emulated::close as close_emulated;
pub(crate) use open::{Device, Devices, Wanted};
