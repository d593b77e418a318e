//! Events: moments of a stream's work that other streams and the host can wait for.

use std::fmt;

use tinyllm_sys::{EventHandle, EventTiming};

use crate::{Context, MemError, Stream, context::failed};

/// An event of a device, destroyed when it is dropped. It records how far a stream has been queued; [`Stream::wait`] makes
/// another stream's later work wait for that.
///
/// ```
/// use std::sync::Arc;
/// use tinyllm_emulator::Emulator;
/// use tinyllm_mem::{Context, Event, Stream};
/// use tinyllm_sys::{EventTiming, StreamFlags};
/// let context = Context::primary(Arc::new(Emulator::default()), 0)?;
/// let copies = Stream::new(&context, StreamFlags::NonBlocking)?;
/// let kernels = Stream::new(&context, StreamFlags::NonBlocking)?;
/// let copied = Event::new(&context, EventTiming::Disabled)?;
/// copied.record(&copies)?;
/// kernels.wait(&copied)?; // what `kernels` is given from here on finds the copies done
/// # Ok::<(), tinyllm_mem::MemError>(())
/// ```
pub struct Event {
    context: Context,
    handle: EventHandle,
}

impl Event {
    /// A new event, which has recorded nothing.
    ///
    /// # Errors
    /// The driver's; an error of an earlier destructor ([`Context`]).
    pub fn new(context: &Context, timing: EventTiming) -> Result<Self, MemError> {
        context.return_kept("event")?;
        let handle = context.call(|driver| driver.event_create(timing));
        Ok(Event { context: context.clone(), handle: handle.map_err(|error| failed("event", error))? })
    }

    /// The context that it was made in.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The driver's handle, which lives as long as this.
    pub fn handle(&self) -> EventHandle {
        self.handle
    }

    /// Records the work that `stream` has been given so far, instead of what was recorded before.
    ///
    /// # Errors
    /// The driver's; [`MemError::WrongContext`] where the stream is of another context.
    pub fn record(&self, stream: &Stream) -> Result<(), MemError> {
        let stream = stream.handle_in(&self.context, "record")?;
        // SAFETY: the event is this context's and lives, and so does the stream, which is borrowed.
        let recorded = self.context.call(|driver| unsafe { driver.event_record(self.handle, stream) });
        recorded.map_err(|error| failed("record", error))
    }

    /// Whether the recorded work is done; true where nothing was recorded.
    ///
    /// # Errors
    /// The driver's, those of the work too.
    pub fn is_done(&self) -> Result<bool, MemError> {
        // SAFETY: the event is this context's and lives.
        let is_done = self.context.call(|driver| unsafe { driver.event_query(self.handle) });
        is_done.map_err(|error| failed("event", error))
    }

    /// Waits for the recorded work.
    ///
    /// # Errors
    /// The driver's, those of the work too; an error of an earlier destructor.
    pub fn synchronize(&self) -> Result<(), MemError> {
        self.context.return_kept("synchronize")?;
        // SAFETY: the event is this context's and lives.
        let waited = self.context.call(|driver| unsafe { driver.event_synchronize(self.handle) });
        waited.map_err(|error| failed("synchronize", error))
    }

    /// Milliseconds from `start` to this, both of which keep the time and are done.
    ///
    /// # Errors
    /// The driver's, where one is not done, was not recorded or keeps no time; [`MemError::WrongContext`] where they are of
    /// two contexts.
    pub fn milliseconds_since(&self, start: &Event) -> Result<f32, MemError> {
        if self.context != start.context {
            return Err(MemError::WrongContext { name: "elapsed time".into() });
        }
        // SAFETY: both are this context's and live.
        let elapsed =
            self.context.call(|driver| unsafe { driver.event_elapsed_time(start.handle, self.handle) });
        elapsed.map_err(|error| failed("elapsed time", error))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and this was its owner. Streams that wait for it wait for the recorded work, for which the
        // driver needs the event no longer.
        let destroyed = self.context.call(|driver| unsafe { driver.event_destroy(self.handle) });
        self.context.keep(destroyed);
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Event({:#x})", self.handle.0)
    }
}
