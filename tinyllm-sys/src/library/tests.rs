//! The driver's calls on functions that are made here: what reaches them, and what becomes of what they answer.
#![allow(clippy::unwrap_used)]

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    ptr::null_mut,
};

use cudarc::driver::sys::{
    CUcontext, CUdeviceptr, CUfunction, CUgraph, CUgraphExec, CUlaunchAttributeID, CUlaunchConfig,
    CUmemAccessDesc, CUmemoryPool, CUmodule, CUstream,
};

use super::{LibCuda, Symbols, handle, number, symbols::UpdateResult};
use crate::{
    CaptureMode, CaptureStatus, ContextHandle, DevicePointer, DriverApi, DriverCode, FunctionHandle,
    GraphExecHandle, GraphHandle, LaunchConfig, PoolHandle, PoolUsage, StreamHandle,
};

/// The driver's names, as its header has them.
unsafe extern "C" fn name(code: c_uint, name: *mut *const c_char) -> c_uint {
    let known = match code {
        218 => c"CUDA_ERROR_INVALID_PTX",
        801 => c"CUDA_ERROR_NOT_SUPPORTED",
        901 => c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        _ => return 1,
    };
    // SAFETY: the caller's place for one address.
    unsafe { *name = known.as_ptr() };
    0
}

/// A driver with some functions.
fn driver(fill: impl FnOnce(&mut Symbols)) -> LibCuda {
    let mut symbols = Symbols::refusing();
    symbols.get_error_name = name;
    fill(&mut symbols);
    LibCuda { symbols }
}

/// A kernel of two parameters, a `u64` and a `f32`: writes what it gets to where the first one points.
unsafe fn kernel(stream: CUstream, params: *mut *mut c_void, sizes: [c_uint; 7]) -> c_uint {
    // SAFETY: the test's parameters.
    unsafe {
        let seen = (*params.cast::<*mut *mut Seen>()).read();
        let factor = (*params.add(1)).cast::<f32>().read();
        *seen = Seen { stream: number(stream), factor, sizes, cooperative: 0, cluster: None };
    }
    0
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    stream: u64,
    factor: f32,
    sizes: [c_uint; 7],
    cooperative: c_int,
    cluster: Option<[u32; 3]>,
}

#[allow(clippy::too_many_arguments, reason = "as the driver has it")]
unsafe extern "C" fn plain(
    _function: CUfunction,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: CUstream,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> c_uint {
    assert!(extra.is_null());
    // SAFETY: the test's parameters.
    unsafe { kernel(stream, params, [grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes]) }
}

unsafe extern "C" fn extended(
    config: *const CUlaunchConfig,
    _function: CUfunction,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> c_uint {
    assert!(extra.is_null());
    // SAFETY: the test's parameters, and a configuration with as many attributes as it says.
    unsafe {
        let config = &*config;
        let [x, y, z] = [config.gridDimX, config.gridDimY, config.gridDimZ];
        let sizes = [x, y, z, config.blockDimX, config.blockDimY, config.blockDimZ, config.sharedMemBytes];
        kernel(config.hStream, params, sizes);
        let seen = &mut *(*params.cast::<*mut *mut Seen>()).read();
        for attribute in std::slice::from_raw_parts(config.attrs, config.numAttrs as usize) {
            match attribute.id {
                CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE => {
                    seen.cooperative = attribute.value.cooperative;
                }
                CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION => {
                    let cluster = attribute.value.clusterDim;
                    seen.cluster = Some([cluster.x, cluster.y, cluster.z]);
                }
                _ => return 1,
            }
        }
    }
    0
}

/// What a launch does to the kernel above.
fn launch(driver: &LibCuda, config: &LaunchConfig) -> Seen {
    let mut seen = Seen::default();
    let (mut to, mut factor) = (&raw mut seen, 2.5f32);
    let params = [(&raw mut to).cast(), (&raw mut factor).cast()];
    // SAFETY: two parameters of the kernel's sizes; they and what the first one names outlive the call.
    unsafe { driver.launch_kernel(FunctionHandle(5), config, StreamHandle(7), &params).unwrap() };
    seen
}

#[test]
fn a_plain_launch_reaches_the_kernel_with_its_parameters() {
    let driver = driver(|symbols| symbols.launch_kernel = plain);
    let config = LaunchConfig { shared_bytes: 512, ..LaunchConfig::new([10, 2, 3], [32, 4, 1]) };
    let expected = Seen { stream: 7, factor: 2.5, sizes: [10, 2, 3, 32, 4, 1, 512], ..Seen::default() };
    assert_eq!(launch(&driver, &config), expected);
}

#[test]
fn a_launch_with_attributes_takes_the_other_call() {
    let driver = driver(|symbols| symbols.launch_kernel_ex = extended);
    let plain = LaunchConfig::new([8, 2, 3], [64, 4, 1]);
    let sizes = [8, 2, 3, 64, 4, 1, 0];
    for (cooperative, cluster) in [(true, None), (false, Some([2, 1, 3])), (true, Some([4, 2, 1]))] {
        let config = LaunchConfig { cooperative, cluster, ..plain };
        let expected = Seen { stream: 7, factor: 2.5, sizes, cooperative: cooperative.into(), cluster };
        assert_eq!(launch(&driver, &config), expected);
    }
}

#[test]
fn a_launch_that_fails_says_its_shape() {
    let driver = driver(|_| ());
    let config = LaunchConfig::new([10, 1, 1], [256, 1, 1]);
    // SAFETY: the function reads nothing.
    let error =
        unsafe { driver.launch_kernel(FunctionHandle(5), &config, StreamHandle::LEGACY, &[]) }.unwrap_err();
    let said = "cuLaunchKernel(function 0x5, grid [10, 1, 1], block [256, 1, 1], 0 shared bytes, stream 0x0): \
                CUDA_ERROR_NOT_SUPPORTED (801)";
    assert_eq!(error.to_string(), said);
    assert_eq!(error.driver_code(), Some(DriverCode::NotSupported));
}

unsafe extern "C" fn push(context: CUcontext) -> c_uint {
    if number(context) == 7 { 0 } else { 201 }
}

unsafe extern "C" fn pop(context: *mut CUcontext) -> c_uint {
    // SAFETY: the caller's place for one handle.
    unsafe { *context = handle(9) };
    0
}

#[test]
fn contexts_are_pushed_and_popped() {
    let driver = driver(|symbols| (symbols.context_push_current, symbols.context_pop_current) = (push, pop));
    // SAFETY: the function looks at the number alone.
    unsafe {
        driver.context_push_current(ContextHandle(7)).unwrap();
        let error = driver.context_push_current(ContextHandle(8)).unwrap_err();
        assert_eq!((error.call, error.driver_code()), ("cuCtxPushCurrent", Some(DriverCode::InvalidContext)));
    }
    assert_eq!(driver.context_pop_current().unwrap(), ContextHandle(9));
}

/// A compiler: says what is wrong with an image that is not `good`, if it is not `silent`.
unsafe extern "C" fn compile(
    module: *mut CUmodule,
    image: *const c_void,
    count: c_uint,
    options: *mut c_uint,
    values: *mut *mut c_void,
) -> c_uint {
    // CU_JIT_ERROR_LOG_BUFFER is 5, and its size in bytes 6.
    // SAFETY: a terminated image, so many options, and a buffer of the size that is given.
    unsafe {
        let options = std::slice::from_raw_parts(options, count as usize);
        let values = std::slice::from_raw_parts_mut(values, count as usize);
        let (buffer, size) = match (options, values) {
            ([5, 6], [buffer, size]) => (buffer.cast::<u8>(), size),
            _ => return 1,
        };
        match CStr::from_ptr(image.cast()).to_bytes() {
            b"good" => *module = handle(11),
            b"silent" => return 218,
            b"endless" => buffer.write_bytes(b'x', size.addr()),
            _ => {
                let log = b"ptxas application ptx input, line 3; fatal   : Parsing error\n";
                buffer.copy_from_nonoverlapping(log.as_ptr(), log.len());
                *size = std::ptr::without_provenance_mut(log.len());
            }
        }
        if (*module).is_null() { 218 } else { 0 }
    }
}

#[test]
fn a_module_that_does_not_compile_carries_the_compilers_log() {
    let driver = driver(|symbols| symbols.module_load_data = compile);
    assert_eq!(driver.module_load_data(c"good").unwrap().0, 11);
    let error = driver.module_load_data(c".version 8.0\n?").unwrap_err();
    assert_eq!((error.call, error.code, error.name), ("cuModuleLoadDataEx", 218, "CUDA_ERROR_INVALID_PTX"));
    assert_eq!(error.arguments, "ptxas application ptx input, line 3; fatal   : Parsing error");
    assert_eq!(driver.module_load_data(c"silent").unwrap_err().arguments, "6 bytes of PTX");
    let arguments = driver.module_load_data(c"endless").unwrap_err().arguments;
    assert!(arguments.len() > 1000 && arguments.bytes().all(|byte| byte == b'x'));
}

/// `CUDA_ERROR_NOT_READY` on one stream, done on another, failed on the rest.
unsafe extern "C" fn query(stream: CUstream) -> c_uint {
    [600, 0].get(number(stream) as usize).copied().unwrap_or(719)
}

#[test]
fn work_that_is_not_done_is_no_error() {
    let driver = driver(|symbols| symbols.stream_query = query);
    // SAFETY: streams of the function above.
    let [waiting, done, failed] =
        [0, 1, 2].map(|stream| unsafe { driver.stream_query(StreamHandle(stream)) });
    assert_eq!((waiting, done), (Ok(false), Ok(true)));
    let failed = failed.unwrap_err();
    assert_eq!(
        (failed.driver_code(), failed.arguments.as_str()),
        (Some(DriverCode::LaunchFailed), "stream 0x2")
    );
}

/// `CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE` for one graph, with why; another error for another.
unsafe extern "C" fn update(exec: CUgraphExec, graph: CUgraph, result: *mut UpdateResult) -> c_uint {
    assert_eq!(number(exec), 3);
    let (code, why) = [(0, 0), (910, 2), (801, 6)][number(graph) as usize];
    // SAFETY: the caller's place for one result.
    unsafe { *result = UpdateResult { result: why, error_node: null_mut(), error_from_node: null_mut() } };
    code
}

#[test]
fn a_graph_that_differs_too_much_is_no_error() {
    let driver = driver(|symbols| symbols.graph_exec_update = update);
    // SAFETY: graphs of the function above.
    let update = |graph| unsafe { driver.graph_exec_update(GraphExecHandle(3), GraphHandle(graph)) };
    assert_eq!((update(0), update(1)), (Ok(true), Ok(false)));
    assert_eq!(update(2).unwrap_err().arguments, "executable graph 0x3, graph 0x2, result 6");
}

/// A capture that is begun in the mode of the stream's number; that is its status too.
unsafe extern "C" fn begin(stream: CUstream, mode: c_uint) -> c_uint {
    if number(stream) == u64::from(mode) { 0 } else { 1 }
}

unsafe extern "C" fn status(stream: CUstream, status: *mut c_uint) -> c_uint {
    // SAFETY: the caller's place for one number.
    unsafe { *status = number(stream) as c_uint };
    0
}

#[test]
fn captures_have_the_drivers_numbers() {
    let driver = driver(|symbols| {
        (symbols.stream_begin_capture, symbols.stream_capture_status) = (begin, status);
    });
    let expected = [
        (CaptureMode::Global, CaptureStatus::None),
        (CaptureMode::ThreadLocal, CaptureStatus::Active),
        (CaptureMode::Relaxed, CaptureStatus::Invalidated),
    ];
    for (stream, (mode, status)) in expected.into_iter().enumerate() {
        let stream = StreamHandle(stream as u64);
        // SAFETY: streams of the functions above.
        unsafe {
            driver.stream_begin_capture(stream, mode).unwrap();
            assert_eq!(driver.stream_capture_status(stream), Ok(status));
        }
    }
}

/// Attribute 5 is 50 bytes, and so on.
unsafe extern "C" fn pool_attribute(_: CUmemoryPool, attribute: c_uint, value: *mut c_void) -> c_uint {
    // SAFETY: the caller's place for 64 bits.
    unsafe { *value.cast::<u64>() = u64::from(attribute) * 10 };
    0
}

/// Access for reading and writing (3) on the device (1) whose number is the range's address.
unsafe extern "C" fn set_access(
    pointer: CUdeviceptr,
    _bytes: usize,
    access: *const CUmemAccessDesc,
    count: usize,
) -> c_uint {
    // SAFETY: so many descriptions.
    let access = unsafe { std::slice::from_raw_parts(access, count) };
    let [one] = access else { return 1 };
    let said = (one.location.type_ as c_uint, one.location.id as u64, one.flags as c_uint);
    if said == (1, pointer, 3) { 0 } else { 1 }
}

#[test]
fn structures_about_memory_have_the_drivers_numbers() {
    let driver = driver(|symbols| {
        (symbols.mem_pool_get_attribute, symbols.mem_set_access) = (pool_attribute, set_access);
    });
    // CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT is 5, then its high, then the two of what is used.
    let usage =
        PoolUsage { reserved_bytes: 50, reserved_high_bytes: 60, used_bytes: 70, used_high_bytes: 80 };
    // SAFETY: the functions above use no handle.
    unsafe {
        assert_eq!(driver.mem_pool_usage(PoolHandle(1)), Ok(usage));
        driver.mem_set_access(DevicePointer(2), 4096, 2).unwrap();
    }
}

unsafe extern "C" fn no_context(context: *mut CUcontext) -> c_uint {
    // SAFETY: the caller's place for one handle.
    unsafe { *context = null_mut() };
    0
}

#[test]
fn a_thread_may_have_no_context() {
    assert_eq!(driver(|symbols| symbols.context_get_current = no_context).context_get_current(), Ok(None));
}
