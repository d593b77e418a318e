//! Events.

use tinyllm_sys::{DriverApi, DriverCode, EventHandle, EventTiming, StreamHandle};

use crate::{contexts::on_context, export::exports, result::put, streams::Stream};

/// `CU_EVENT_BLOCKING_SYNC`, which changes nothing here.
const BLOCKING_SYNC: u32 = 1;
/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: u32 = 2;

exports! {
    cuEventCreate(event: *mut u64, flags: u32) {
        let driver = on_context()?;
        if flags & !(BLOCKING_SYNC | DISABLE_TIMING) != 0 {
            // An event for other processes.
            return Err(DriverCode::NotSupported.into());
        }
        let timing = if flags & DISABLE_TIMING == 0 { EventTiming::Enabled } else { EventTiming::Disabled };
        let created = driver.event_create(timing)?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(event, created.0) }
    }
    cuEventDestroy | cuEventDestroy_v2(event: u64) {
        // SAFETY: what is no event is refused.
        Ok(unsafe { crate::driver::driver()?.event_destroy(EventHandle(event)) }?)
    }
    cuEventRecord; stream => cuEventRecord_ptsz (event: u64, stream: Stream) {
        // SAFETY: what is no event or stream is refused.
        Ok(unsafe { on_context()?.event_record(EventHandle(event), StreamHandle(stream)) }?)
    }
    cuEventRecordWithFlags; stream => cuEventRecordWithFlags_ptsz (event: u64, stream: Stream, flags: u32) {
        if flags != 0 {
            return Err(DriverCode::NotSupported.into());
        }
        // SAFETY: as above.
        Ok(unsafe { on_context()?.event_record(EventHandle(event), StreamHandle(stream)) }?)
    }
    cuEventQuery(event: u64) {
        // SAFETY: as above.
        match unsafe { on_context()?.event_query(EventHandle(event)) }? {
            true => Ok(()),
            false => Err(DriverCode::NotReady.into()),
        }
    }
    cuEventSynchronize(event: u64) {
        // SAFETY: as above.
        Ok(unsafe { on_context()?.event_synchronize(EventHandle(event)) }?)
    }
    cuEventElapsedTime | cuEventElapsedTime_v2(milliseconds: *mut f32, start: u64, end: u64) {
        // SAFETY: as above.
        let time = unsafe { on_context()?.event_elapsed_time(EventHandle(start), EventHandle(end)) }?;
        // SAFETY: the caller gives room for one number.
        unsafe { put(milliseconds, time) }
    }
}
