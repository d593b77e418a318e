//! Streams.

use std::ffi::c_int;

use crate::{
    contexts::{device, on_device},
    export::exports,
    outcome::{Error, place, put},
};

/// A stream's handle, which is the driver's.
pub(crate) type Stream = u64;

/// The default stream, and that of the calling thread.
const LEGACY: Stream = 0;
pub(crate) const PER_THREAD: Stream = 2;

/// The stream of a call whose default is the calling thread's.
pub(crate) fn of_thread(stream: Stream) -> Stream {
    if stream == LEGACY { PER_THREAD } else { stream }
}

exports! {
    cudaStreamCreate(stream: *mut Stream) {
        // SAFETY: the caller gives room for one handle.
        unsafe { on_device()?.stream_create(place(stream)?, 0) }
    }
    cudaStreamCreateWithFlags(stream: *mut Stream, flags: u32) {
        // SAFETY: as above.
        unsafe { on_device()?.stream_create(place(stream)?, flags) }
    }
    cudaStreamCreateWithPriority(stream: *mut Stream, flags: u32, priority: c_int) {
        // SAFETY: as above.
        unsafe { on_device()?.stream_create_with_priority(place(stream)?, flags, priority) }
    }
    cudaStreamDestroy(stream: Stream) {
        // SAFETY: what is no stream the driver refuses, the default ones too.
        unsafe { on_device()?.stream_destroy(stream) }
    }
    cudaStreamSynchronize; stream => cudaStreamSynchronize_ptsz (stream: Stream) {
        // SAFETY: as above.
        unsafe { on_device()?.stream_synchronize(stream) }
    }
    cudaStreamQuery; stream => cudaStreamQuery_ptsz (stream: Stream) {
        // SAFETY: as above.
        unsafe { on_device()?.stream_query(stream) }
    }
    cudaStreamWaitEvent; stream => cudaStreamWaitEvent_ptsz (stream: Stream, event: u64, flags: u32) {
        // SAFETY: as above; what is no event the driver refuses.
        unsafe { on_device()?.stream_wait_event(stream, event, flags) }
    }
    cudaStreamGetFlags; stream => cudaStreamGetFlags_ptsz (stream: Stream, flags: *mut u32) {
        // SAFETY: as above, and room for one number.
        unsafe { on_device()?.stream_get_flags(stream, place(flags)?) }
    }
    cudaStreamGetPriority; stream => cudaStreamGetPriority_ptsz (stream: Stream, priority: *mut c_int) {
        // SAFETY: as above.
        unsafe { on_device()?.stream_get_priority(stream, place(priority)?) }
    }
    cudaStreamGetId; stream => cudaStreamGetId_ptsz (stream: Stream, id: *mut u64) {
        // SAFETY: as above.
        unsafe { on_device()?.stream_get_id(stream, place(id)?) }
    }
    cudaStreamGetDevice; stream => cudaStreamGetDevice_ptsz (stream: Stream, out: *mut c_int) {
        let out = place(out)?;
        // SAFETY: as above.
        match unsafe { on_device()?.stream_get_device(stream, out) } {
            // A driver before 12.8 has no such call: the default streams are those of the thread's device.
            // SAFETY: as above.
            Err(Error::NEWER_DRIVER_NEEDED) if stream <= PER_THREAD => unsafe { put(out, device()?) },
            answer => answer,
        }
    }
}
