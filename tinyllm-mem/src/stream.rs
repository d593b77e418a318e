//! Streams: queues of a device's work, owned together by all that is ordered on them.

use std::fmt;
#[cfg(feature = "cuda")]
use std::sync::Arc;

#[cfg(feature = "cuda")]
use tinyllm_sys::{StreamFlags, StreamHandle};

#[cfg(feature = "cuda")]
use crate::{Context, Event, MemError, context::failed};

/// A stream of a device, or [`Stream::DEFAULT`]; host memory ignores it. Clones are the same stream, which is destroyed with
/// the last of them: a buffer holds the stream that it is freed on. Work that the stream still has is done all the same.
#[derive(Clone, Default)]
pub struct Stream {
    /// `None`: the default stream.
    #[cfg(feature = "cuda")]
    made: Option<Arc<Made>>,
}

/// A stream of a context.
#[cfg(feature = "cuda")]
struct Made {
    context: Context,
    handle: StreamHandle,
    /// Whether it is destroyed with this.
    is_owned: bool,
}

impl Stream {
    /// The default stream of the context in which it is used, and the one host memory uses.
    pub const DEFAULT: Stream = Stream {
        #[cfg(feature = "cuda")]
        made: None,
    };

    /// The driver's handle as a number, for logs.
    pub(crate) fn number(&self) -> u64 {
        #[cfg(feature = "cuda")]
        if let Some(made) = &self.made {
            return made.handle.0;
        }
        0
    }
}

#[cfg(feature = "cuda")]
impl Stream {
    /// A new stream.
    ///
    /// # Errors
    /// The driver's; an error of an earlier destructor ([`Context`]).
    pub fn new(context: &Context, flags: StreamFlags) -> Result<Self, MemError> {
        context.return_kept("stream")?;
        let handle = context.call(|driver| driver.stream_create(flags));
        let handle = handle.map_err(|error| failed("stream", error))?;
        Ok(Stream { made: Some(Arc::new(Made { context: context.clone(), handle, is_owned: true })) })
    }

    /// A stream that other code made and will destroy.
    ///
    /// # Safety
    /// The handle is that of a stream of this context, which lives until every clone of this value is dropped, those that
    /// buffers hold included.
    pub unsafe fn from_raw(context: &Context, handle: StreamHandle) -> Self {
        Stream { made: Some(Arc::new(Made { context: context.clone(), handle, is_owned: false })) }
    }

    /// The driver's handle, which lives as long as this or a clone.
    pub fn handle(&self) -> StreamHandle {
        self.made.as_ref().map_or(StreamHandle::LEGACY, |made| made.handle)
    }

    /// The context that it was made in; none of [`Stream::DEFAULT`].
    pub fn context(&self) -> Option<&Context> {
        self.made.as_ref().map(|made| &made.context)
    }

    /// Waits for the work that it has.
    ///
    /// # Errors
    /// The driver's, those of the work too; an error of an earlier destructor; [`MemError::WrongContext`] of
    /// [`Stream::DEFAULT`], which belongs to no context ([`Context::synchronize`] waits for it).
    pub fn synchronize(&self) -> Result<(), MemError> {
        let made = self.made.as_ref().ok_or_else(|| wrong_context("synchronize"))?;
        made.context.return_kept("synchronize")?;
        // SAFETY: the stream is the context's and lives as long as `made`.
        let waited = made.context.call(|driver| unsafe { driver.stream_synchronize(made.handle) });
        waited.map_err(|error| failed("synchronize", error))
    }

    /// Later work of this stream waits for what `event` recorded, or for nothing if it recorded nothing. The event may be
    /// of another context of the same driver.
    ///
    /// # Errors
    /// The driver's; [`MemError::WrongContext`] where the event is of another driver.
    pub fn wait(&self, event: &Event) -> Result<(), MemError> {
        let context = self.context().unwrap_or(event.context());
        if !context.has_driver_of(event.context()) {
            return Err(wrong_context("wait"));
        }
        // SAFETY: both are this driver's and live while they are borrowed. The driver needs the event for no longer than
        // this call: the stream then waits for the work that was recorded.
        let queued =
            context.call(|driver| unsafe { driver.stream_wait_event(self.handle(), event.handle()) });
        queued.map_err(|error| failed("wait", error))
    }

    /// The handle, for a call in `context`.
    ///
    /// # Errors
    /// [`MemError::WrongContext`] where it is a stream of another one.
    pub(crate) fn handle_in(&self, context: &Context, name: &str) -> Result<StreamHandle, MemError> {
        match &self.made {
            Some(made) if made.context != *context => Err(wrong_context(name)),
            _ => Ok(self.handle()),
        }
    }
}

#[cfg(feature = "cuda")]
fn wrong_context(name: &str) -> MemError {
    MemError::WrongContext { name: name.into() }
}

#[cfg(feature = "cuda")]
impl Drop for Made {
    fn drop(&mut self) {
        if self.is_owned {
            // SAFETY: made in `Stream::new`, and this was its last owner. The handle is used in calls only while a `Stream` is borrowed.
            let destroyed = self.context.call(|driver| unsafe { driver.stream_destroy(self.handle) });
            self.context.keep(destroyed);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Stream({:#x})", self.number())
    }
}
