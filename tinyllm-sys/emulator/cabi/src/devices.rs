//! Devices: which there are and what they can do.

use std::ffi::{CStr, c_char, c_int};

use tinyllm_sys::{DeviceAttribute, DeviceHandle, DriverApi, DriverCode};

use crate::{
    driver::driver,
    export::exports,
    result::{Answer, Refusal, put},
};

/// Attributes that the table does not name and that are not 0, by number: `CU_DEVICE_ATTRIBUTE_MAX_PITCH`,
/// `TEXTURE_ALIGNMENT`, `GPU_OVERLAP`, `GLOBAL_L1_CACHE_SUPPORTED`, `LOCAL_L1_CACHE_SUPPORTED`,
/// `SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO`, `COMPUTE_PREEMPTION_SUPPORTED`.
const UNNAMED: &[(c_int, c_int)] =
    &[(11, c_int::MAX), (14, 512), (15, 1), (79, 1), (80, 1), (87, 2), (90, 1)];

/// Numbers of attributes that some version of the driver has.
const ATTRIBUTES: std::ops::Range<c_int> = 1..200;

/// What begins each device's UUID.
const UUID: [u8; 12] = *b"tinyllm-emul";

fn known(device: c_int) -> Result<DeviceHandle, Refusal> {
    let device = DeviceHandle(device);
    driver()?.device_total_mem(device)?;
    Ok(device)
}

/// # Safety
/// There is room for 16 bytes.
unsafe fn uuid(out: *mut [u8; 16], device: c_int) -> Answer {
    let mut uuid = [0; 16];
    uuid[..12].copy_from_slice(&UUID);
    uuid[12..].copy_from_slice(&known(device)?.0.to_be_bytes());
    // SAFETY: the caller's promise.
    unsafe { put(out, uuid) }
}

/// # Safety
/// There is room for `length` bytes.
unsafe fn text(out: *mut c_char, length: c_int, text: &str) -> Answer {
    let room = usize::try_from(length).ok().and_then(|length| length.checked_sub(1));
    let (Some(room), false) = (room, out.is_null()) else { return Err(DriverCode::InvalidValue.into()) };
    let bytes = &text.as_bytes()[..text.len().min(room)];
    // SAFETY: the caller's promise; one byte less than there is room for is copied, and the last is 0.
    unsafe {
        out.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        out.add(bytes.len()).write(0);
    }
    Ok(())
}

fn bus_id(device: DeviceHandle) -> Result<String, Refusal> {
    let bus = driver()?.device_attribute(DeviceAttribute::PciBusId, device)?;
    Ok(format!("0000:{bus:02x}:00.0"))
}

exports! {
    cuDeviceGetCount(count: *mut c_int) {
        let devices = driver()?.device_count()?;
        // SAFETY: the caller gives room for one number.
        unsafe { put(count, devices as c_int) }
    }
    cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        let ordinal = u32::try_from(ordinal).map_err(|_| DriverCode::InvalidDevice)?;
        let found = driver()?.device_get(ordinal)?;
        // SAFETY: as above.
        unsafe { put(device, found.0) }
    }
    cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) {
        let found = driver()?.device_name(DeviceHandle(device))?;
        // SAFETY: the caller gives room for so many bytes.
        unsafe { text(name, length, &found) }
    }
    cuDeviceTotalMem | cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) {
        let total = driver()?.device_total_mem(DeviceHandle(device))?;
        // SAFETY: the caller gives room for one size.
        unsafe { put(bytes, total as usize) }
    }
    cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) {
        let device = known(device)?;
        let found = match DeviceAttribute::from_number(attribute) {
            Some(attribute) => driver()?.device_attribute(attribute, device)?,
            None if ATTRIBUTES.contains(&attribute) => {
                UNNAMED.iter().find(|(number, _)| *number == attribute).map_or(0, |(_, value)| *value)
            }
            None => return Err(DriverCode::InvalidValue.into()),
        };
        // SAFETY: the caller gives room for one number.
        unsafe { put(value, found) }
    }
    cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) {
        let (driver, device) = (driver()?, DeviceHandle(device));
        let found = [DeviceAttribute::ComputeCapabilityMajor, DeviceAttribute::ComputeCapabilityMinor];
        let [of_major, of_minor] = found.map(|attribute| driver.device_attribute(attribute, device));
        // SAFETY: the caller gives room for two numbers.
        unsafe {
            put(major, of_major?)?;
            put(minor, of_minor?)
        }
    }
    cuDeviceGetUuid | cuDeviceGetUuid_v2(out: *mut [u8; 16], device: c_int) {
        // SAFETY: the caller gives room for 16 bytes.
        unsafe { uuid(out, device) }
    }
    cuDeviceGetPCIBusId(id: *mut c_char, length: c_int, device: c_int) {
        let id_text = bus_id(DeviceHandle(device))?;
        // SAFETY: the caller gives room for so many bytes.
        unsafe { text(id, length, &id_text) }
    }
    cuDeviceGetByPCIBusId(device: *mut c_int, id: *const c_char) {
        if id.is_null() {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives a terminated text.
        let wanted = unsafe { CStr::from_ptr(id) }.to_string_lossy().to_lowercase();
        let driver = driver()?;
        for ordinal in 0..driver.device_count()? {
            let found = driver.device_get(ordinal)?;
            if bus_id(found)?.ends_with(wanted.as_str()) && !wanted.is_empty() {
                // SAFETY: the caller gives room for one number.
                return unsafe { put(device, found.0) };
            }
        }
        Err(DriverCode::InvalidDevice.into())
    }
    cuDeviceCanAccessPeer(can: *mut c_int, device: c_int, peer: c_int) {
        known(device)?;
        known(peer)?;
        // SAFETY: the caller gives room for one number.
        unsafe { put(can, 0) }
    }
    cuDeviceGetP2PAttribute(value: *mut c_int, _attribute: c_int, device: c_int, peer: c_int) {
        known(device)?;
        known(peer)?;
        // SAFETY: as above.
        unsafe { put(value, 0) }
    }
    cuDeviceGetExecAffinitySupport(supported: *mut c_int, _kind: c_int, device: c_int) {
        known(device)?;
        // SAFETY: as above.
        unsafe { put(supported, 0) }
    }
}
