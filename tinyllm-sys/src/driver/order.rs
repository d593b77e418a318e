//! How streams and events are made, and how streams are captured.

/// How a stream stands to the default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamFlags {
    /// `CU_STREAM_DEFAULT`: its work and that of the default stream wait for each other.
    Default = 0,
    /// `CU_STREAM_NON_BLOCKING`: independent of the default stream.
    NonBlocking = 1,
}

/// Whether an event keeps the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventTiming {
    /// `CU_EVENT_DEFAULT`.
    Enabled = 0,
    /// `CU_EVENT_DISABLE_TIMING`: cheaper, for ordering alone.
    Disabled = 2,
}

/// Which calls that could disturb a capture are refused while it lasts, numbered as `CUstreamCaptureMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaptureMode {
    /// Those of any thread.
    Global = 0,
    /// Those of the thread that captures.
    ThreadLocal = 1,
    /// None.
    Relaxed = 2,
}

/// Whether a stream is being captured, numbered as `CUstreamCaptureStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaptureStatus {
    /// It is not.
    None = 0,
    /// It is.
    Active = 1,
    /// It was, until a call spoiled it; the capture has to be ended still.
    Invalidated = 2,
}
