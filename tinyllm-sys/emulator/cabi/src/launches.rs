//! Launches of kernels.

use std::ffi::c_void;

use tinyllm_sys::{DriverApi, DriverCode, LaunchConfig, StreamHandle};

use crate::{
    contexts::on_context,
    export::{exports, of_thread},
    libraries::function,
    result::{Answer, Refusal},
    streams::Stream,
    structs::Launch,
};

/// How the list of `extra` is written: `CU_LAUNCH_PARAM_END`, `BUFFER_POINTER`, `BUFFER_SIZE`.
const END: usize = 0;
const BUFFER: usize = 1;
const BUFFER_BYTES: usize = 2;

/// `CUlaunchAttributeID` of what changes a launch.
const COOPERATIVE: u32 = 2;
const CLUSTER: u32 = 4;
/// Those that are preferences: nothing, the access window, the cluster's policy, priority, the carve-out of shared memory.
const PREFERENCES: [u32; 5] = [0, 1, 5, 8, 14];

/// The block of parameters that `extra` gives.
///
/// # Safety
/// The list is as the driver's documentation has it.
unsafe fn buffer(extra: *const *mut c_void) -> Result<(*mut u8, usize), Refusal> {
    let (mut start, mut bytes, mut at) = (std::ptr::null_mut::<u8>(), None, 0);
    loop {
        // SAFETY: the caller's promise: pairs until the end.
        match unsafe { extra.add(at).read() }.addr() {
            END => break,
            // SAFETY: as above.
            BUFFER => start = unsafe { extra.add(at + 1).read() }.cast(),
            BUFFER_BYTES => {
                // SAFETY: as above; the value is the address of a size.
                bytes = Some(unsafe { extra.add(at + 1).read().cast::<usize>().read() });
            }
            _ => return Err(DriverCode::InvalidValue.into()),
        }
        at += 2;
    }
    match bytes {
        Some(bytes) if !start.is_null() => Ok((start, bytes)),
        _ => Err(DriverCode::InvalidValue.into()),
    }
}

/// # Safety
/// As the driver's call: arguments as the function has parameters, in one of the two ways.
unsafe fn launch(
    handle: u64,
    config: &LaunchConfig,
    stream: Stream,
    params: *const *mut c_void,
    extra: *const *mut c_void,
) -> Answer {
    let driver = on_context()?;
    let target = function(handle)?;
    let known = driver.function_params(target)?;
    let values: Vec<*mut c_void> = if !extra.is_null() {
        // SAFETY: the caller's promise.
        let (start, bytes) = unsafe { buffer(extra) }?;
        let end = known.last().map_or(0, |(offset, size)| (offset + size) as usize);
        if bytes < end {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: every offset is within the block, as just checked.
        known.iter().map(|(offset, _)| unsafe { start.add(*offset as usize) }.cast()).collect()
    } else if params.is_null() && !known.is_empty() {
        return Err(DriverCode::InvalidValue.into());
    } else {
        // SAFETY: the caller gives as many addresses as there are parameters.
        (0..known.len()).map(|index| unsafe { params.add(index).read() }).collect()
    };
    if values.iter().any(|value| value.is_null()) {
        return Err(DriverCode::InvalidValue.into());
    }
    // SAFETY: as many addresses as parameters, each of a value of the parameter's size: the caller's promise.
    Ok(unsafe { driver.launch_kernel(target, config, StreamHandle(stream), &values) }?)
}

/// # Safety
/// As [`launch`], and the configuration has as many attributes as it says.
unsafe fn launch_ex(
    config: *const Launch,
    handle: u64,
    params: *const *mut c_void,
    extra: *const *mut c_void,
    stream_of: impl FnOnce(Stream) -> Stream,
) -> Answer {
    if config.is_null() {
        return Err(DriverCode::InvalidValue.into());
    }
    // SAFETY: the caller's promise.
    let given = unsafe { config.read() };
    let mut config =
        LaunchConfig { shared_bytes: given.shared_bytes, ..LaunchConfig::new(given.grid, given.block) };
    for index in 0..given.attribute_count as usize {
        // SAFETY: the caller's promise.
        let attribute = unsafe { given.attributes.add(index).read() };
        match attribute.id {
            COOPERATIVE => config.cooperative = attribute.value[0] as u32 != 0,
            CLUSTER => {
                let [first, second, ..] = attribute.value;
                config.cluster = Some([first as u32, (first >> 32) as u32, second as u32]);
            }
            id if PREFERENCES.contains(&id) => {}
            _ => return Err(DriverCode::NotSupported.into()),
        }
    }
    // SAFETY: as above.
    unsafe { launch(handle, &config, stream_of(given.stream), params, extra) }
}

exports! {
    cuLaunchKernel; stream => cuLaunchKernel_ptsz (
        handle: u64,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared_bytes: u32,
        stream: Stream,
        params: *const *mut c_void,
        extra: *const *mut c_void
    ) {
        let shape = LaunchConfig::new([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        // SAFETY: the caller's promise is the driver's.
        unsafe { launch(handle, &LaunchConfig { shared_bytes, ..shape }, stream, params, extra) }
    }
    cuLaunchCooperativeKernel; stream => cuLaunchCooperativeKernel_ptsz (
        handle: u64,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared_bytes: u32,
        stream: Stream,
        params: *const *mut c_void
    ) {
        let shape = LaunchConfig::new([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let config = LaunchConfig { shared_bytes, cooperative: true, ..shape };
        // SAFETY: as above.
        unsafe { launch(handle, &config, stream, params, std::ptr::null()) }
    }
    cuLaunchKernelEx(config: *const Launch, handle: u64, params: *const *mut c_void, extra: *const *mut c_void) {
        // SAFETY: as above.
        unsafe { launch_ex(config, handle, params, extra, |stream| stream) }
    }
    cuLaunchKernelEx_ptsz(
        config: *const Launch,
        handle: u64,
        params: *const *mut c_void,
        extra: *const *mut c_void
    ) {
        // SAFETY: as above.
        unsafe { launch_ex(config, handle, params, extra, of_thread) }
    }
}
