//! Functions of the program that streams call.

use std::ffi::c_void;

use tinyllm_emulator::HostFunction;
use tinyllm_sys::{DriverCode, StreamHandle};

use crate::{contexts::on_context, export::exports, streams::Stream};

/// What `cuLaunchHostFunc` calls.
type Function = Option<unsafe extern "C" fn(*mut c_void)>;

/// What `cuStreamAddCallback` calls: with the stream, the error's number or 0, and the program's data.
type Callback = Option<unsafe extern "C" fn(Stream, u32, *mut c_void)>;

exports! {
    cuLaunchHostFunc; stream => cuLaunchHostFunc_ptsz (stream: Stream, function: Function, data: *mut c_void) {
        let function = function.ok_or(DriverCode::InvalidValue)?;
        let data = data.expose_provenance();
        // SAFETY: the program promised that the function can be called with its data, on a thread of the driver.
        let call = move || unsafe { function(std::ptr::with_exposed_provenance_mut(data)) };
        Ok(on_context()?.call_on_host(StreamHandle(stream), HostFunction::new(call))?)
    }
    cuStreamAddCallback; stream => cuStreamAddCallback_ptsz (
        stream: Stream,
        callback: Callback,
        data: *mut c_void,
        flags: u32
    ) {
        if flags != 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        let callback = callback.ok_or(DriverCode::InvalidValue)?;
        let data = data.expose_provenance();
        let call = move |status| {
            // SAFETY: as above.
            unsafe { callback(stream, status, std::ptr::with_exposed_provenance_mut(data)) }
        };
        Ok(on_context()?.call_on_host(StreamHandle(stream), HostFunction::callback(call))?)
    }
}
