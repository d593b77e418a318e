//! Events.

use crate::{contexts::on_device, driver::driver, export::exports, outcome::place, streams::Stream};

exports! {
    cudaEventCreate(event: *mut u64) {
        // SAFETY: the caller gives room for one handle.
        unsafe { on_device()?.event_create(place(event)?, 0) }
    }
    cudaEventCreateWithFlags(event: *mut u64, flags: u32) {
        // SAFETY: as above.
        unsafe { on_device()?.event_create(place(event)?, flags) }
    }
    cudaEventDestroy(event: u64) {
        // SAFETY: what is no event the driver refuses.
        unsafe { driver()?.event_destroy(event) }
    }
    cudaEventRecord; stream => cudaEventRecord_ptsz (event: u64, stream: Stream) {
        // SAFETY: what is no event or stream the driver refuses.
        unsafe { on_device()?.event_record(event, stream) }
    }
    cudaEventRecordWithFlags; stream => cudaEventRecordWithFlags_ptsz (event: u64, stream: Stream, flags: u32) {
        // SAFETY: as above.
        unsafe { on_device()?.event_record_with_flags(event, stream, flags) }
    }
    cudaEventQuery(event: u64) {
        // SAFETY: as above.
        unsafe { on_device()?.event_query(event) }
    }
    cudaEventSynchronize(event: u64) {
        // SAFETY: as above.
        unsafe { on_device()?.event_synchronize(event) }
    }
    cudaEventElapsedTime | cudaEventElapsedTime_v2(milliseconds: *mut f32, start: u64, end: u64) {
        // SAFETY: as above, and room for one number.
        unsafe { on_device()?.event_elapsed_time(place(milliseconds)?, start, end) }
    }
}
