//! The device's memory bandwidth: bytes read and written a second by a copy within its memory.

use tinyllm_sys::DevicePointer;

use crate::{
    device::{Device, Outcome},
    memory::{Memory, Random},
    report::{Case, Report},
};

/// Number of copies between two events.
const COPIES: usize = 4;

pub(crate) fn run(device: &Device, report: &mut Report) -> Outcome {
    let count = device.size(1 << 28, 1 << 16);
    let from = Random::new(device, "from", count, |value| value)?;
    let to = Memory::new(device, "to", count * 4)?;
    let case = Case {
        bench: "copy",
        kernel: "cuMemcpyDtoDAsync",
        case: "1 GiB".to_owned(),
        bytes: 2 * 4 * count,
        operations: 0,
    };
    let copy = || {
        let (to, from) = (DevicePointer(to.address()), DevicePointer(from.address(0)));
        (0..COPIES).try_for_each(|_| {
            // SAFETY: as many bytes on both sides, in two allocations that outlive the work.
            unsafe { device.driver.memcpy_dtod_async(to, from, count * 4, device.stream.handle()) }
        })?;
        Ok(())
    };
    report.timed(device, &case, COPIES, copy, || {
        for part in [0, count / 2, count - 64] {
            let copied = to.download::<f32>(part, 64)?;
            if (0..64).any(|index| copied[index] != from.at(part + index)) {
                return Err(format!("the copy differs at {part}").into());
            }
        }
        Ok(())
    });
    Ok(())
}
