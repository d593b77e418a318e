//! Where models run: the processor, a GPU, or the emulated device.

mod choice;
mod open;

pub(crate) use choice::{DeviceChoice, device_choice};
pub(crate) use open::{PlanOn, open};
