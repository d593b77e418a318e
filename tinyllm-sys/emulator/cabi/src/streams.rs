//! Streams, and what a program can ask about them.

use std::{
    collections::BTreeMap,
    ffi::c_int,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tinyllm_sys::{DriverApi, DriverCode, EventHandle, StreamFlags, StreamHandle};

use crate::{
    contexts::{self, Context, STREAM_PRIORITIES, on_context},
    export::exports,
    result::{Refusal, put, put_if_wanted},
};

/// A stream's handle, as programs have it.
pub(crate) type Stream = u64;

/// The default streams that handles name.
const DEFAULTS: std::ops::RangeInclusive<Stream> = 0..=2;

#[derive(Clone, Copy, Debug)]
struct Known {
    flags: u32,
    priority: c_int,
    context: Context,
}

static STREAMS: Mutex<BTreeMap<Stream, Known>> = Mutex::new(BTreeMap::new());

fn streams() -> MutexGuard<'static, BTreeMap<Stream, Known>> {
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create(flags: u32, priority: c_int) -> Result<Stream, Refusal> {
    let driver = on_context()?;
    let kind = match flags {
        0 => StreamFlags::Default,
        1 => StreamFlags::NonBlocking,
        _ => return Err(DriverCode::InvalidValue.into()),
    };
    let stream = driver.stream_create(kind)?.0;
    let priority = priority.clamp(STREAM_PRIORITIES.0, STREAM_PRIORITIES.1);
    streams().insert(stream, Known { flags, priority, context: contexts::current()? });
    Ok(stream)
}

fn known(stream: Stream) -> Result<Known, Refusal> {
    on_context()?;
    if DEFAULTS.contains(&stream) {
        return Ok(Known { flags: 0, priority: 0, context: contexts::current()? });
    }
    streams().get(&stream).copied().ok_or(DriverCode::InvalidHandle.into())
}

exports! {
    cuStreamCreate(stream: *mut Stream, flags: u32) {
        let created = create(flags, 0)?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(stream, created) }
    }
    cuStreamCreateWithPriority(stream: *mut Stream, flags: u32, priority: c_int) {
        let created = create(flags, priority)?;
        // SAFETY: as above.
        unsafe { put(stream, created) }
    }
    cuStreamDestroy | cuStreamDestroy_v2(stream: Stream) {
        // SAFETY: what is no stream is refused.
        unsafe { on_context()?.stream_destroy(StreamHandle(stream)) }?;
        streams().remove(&stream);
        Ok(())
    }
    cuStreamSynchronize; stream => cuStreamSynchronize_ptsz (stream: Stream) {
        // SAFETY: as above.
        Ok(unsafe { on_context()?.stream_synchronize(StreamHandle(stream)) }?)
    }
    cuStreamQuery; stream => cuStreamQuery_ptsz (stream: Stream) {
        // SAFETY: as above.
        match unsafe { on_context()?.stream_query(StreamHandle(stream)) }? {
            true => Ok(()),
            false => Err(DriverCode::NotReady.into()),
        }
    }
    cuStreamWaitEvent; stream => cuStreamWaitEvent_ptsz (stream: Stream, event: u64, _flags: u32) {
        // SAFETY: what is no stream or event is refused.
        Ok(unsafe { on_context()?.stream_wait_event(StreamHandle(stream), EventHandle(event)) }?)
    }
    cuStreamGetFlags; stream => cuStreamGetFlags_ptsz (stream: Stream, flags: *mut u32) {
        let found = known(stream)?.flags;
        // SAFETY: the caller gives room for one number.
        unsafe { put(flags, found) }
    }
    cuStreamGetPriority; stream => cuStreamGetPriority_ptsz (stream: Stream, priority: *mut c_int) {
        let found = known(stream)?.priority;
        // SAFETY: as above.
        unsafe { put(priority, found) }
    }
    cuStreamGetCtx; stream => cuStreamGetCtx_ptsz (stream: Stream, context: *mut Context) {
        let found = known(stream)?.context;
        // SAFETY: as above.
        unsafe { put(context, found) }
    }
    cuStreamGetCtx_v2; stream => cuStreamGetCtx_v2_ptsz (stream: Stream, context: *mut Context, green: *mut u64) {
        let found = known(stream)?.context;
        // SAFETY: as above; no context here is a green one.
        unsafe {
            put(context, found)?;
            put_if_wanted(green, 0);
        }
        Ok(())
    }
    cuStreamGetId; stream => cuStreamGetId_ptsz (stream: Stream, id: *mut u64) {
        known(stream)?;
        // SAFETY: as above.
        unsafe { put(id, stream) }
    }
    cuStreamGetDevice; stream => cuStreamGetDevice_ptsz (stream: Stream, device: *mut c_int) {
        known(stream)?;
        let found = contexts::current_device()?;
        // SAFETY: as above.
        unsafe { put(device, found.0) }
    }
}
