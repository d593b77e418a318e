//! The driver's error numbers by name, for implementations of its calls and for callers that match one of them.

use crate::numbered::numbered;

/// Declares the codes once, with the driver's names.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $value:literal $name:literal,)*) => {
        numbered! {
            /// A `CUresult` that is not success. The driver has more, and newer drivers yet more: an error keeps the plain
            /// number.
            DriverCode: u32;
            $($(#[$doc])* $variant = $value,)*
        }

        impl DriverCode {
            /// The driver's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    /// An argument is out of range.
    InvalidValue = 1 "CUDA_ERROR_INVALID_VALUE",
    /// Not enough memory.
    OutOfMemory = 2 "CUDA_ERROR_OUT_OF_MEMORY",
    /// `cuInit` was not called.
    NotInitialized = 3 "CUDA_ERROR_NOT_INITIALIZED",
    /// The driver is shutting down.
    Deinitialized = 4 "CUDA_ERROR_DEINITIALIZED",
    /// There is no device.
    NoDevice = 100 "CUDA_ERROR_NO_DEVICE",
    /// There is no such device.
    InvalidDevice = 101 "CUDA_ERROR_INVALID_DEVICE",
    /// A module that is none.
    InvalidImage = 200 "CUDA_ERROR_INVALID_IMAGE",
    /// No context, or one that was destroyed.
    InvalidContext = 201 "CUDA_ERROR_INVALID_CONTEXT",
    /// Nothing in the module fits the device.
    NoBinaryForGpu = 209 "CUDA_ERROR_NO_BINARY_FOR_GPU",
    /// PTX that does not compile.
    InvalidPtx = 218 "CUDA_ERROR_INVALID_PTX",
    /// PTX that is newer than the driver.
    UnsupportedPtxVersion = 222 "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    /// Device code that is wrong.
    InvalidSource = 300 "CUDA_ERROR_INVALID_SOURCE",
    /// A handle of nothing that lives.
    InvalidHandle = 400 "CUDA_ERROR_INVALID_HANDLE",
    /// What was asked for is not in a state for it.
    IllegalState = 401 "CUDA_ERROR_ILLEGAL_STATE",
    /// No such name.
    NotFound = 500 "CUDA_ERROR_NOT_FOUND",
    /// Work is not done yet; no error of the work.
    NotReady = 600 "CUDA_ERROR_NOT_READY",
    /// A kernel used memory that it has not.
    IllegalAddress = 700 "CUDA_ERROR_ILLEGAL_ADDRESS",
    /// A launch needs more than the device has.
    LaunchOutOfResources = 701 "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
    /// A kernel ran too long.
    LaunchTimeout = 702 "CUDA_ERROR_LAUNCH_TIMEOUT",
    /// The context was destroyed.
    ContextIsDestroyed = 709 "CUDA_ERROR_CONTEXT_IS_DESTROYED",
    /// A kernel's assertion failed.
    Assert = 710 "CUDA_ERROR_ASSERT",
    /// A kernel ran something that is no instruction.
    IllegalInstruction = 715 "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    /// A kernel used an address that is not aligned.
    MisalignedAddress = 716 "CUDA_ERROR_MISALIGNED_ADDRESS",
    /// A kernel used an address in a space that it is not of.
    InvalidAddressSpace = 717 "CUDA_ERROR_INVALID_ADDRESS_SPACE",
    /// A kernel's program counter left the program.
    InvalidPc = 718 "CUDA_ERROR_INVALID_PC",
    /// A kernel failed.
    LaunchFailed = 719 "CUDA_ERROR_LAUNCH_FAILED",
    /// A cooperative grid does not fit the device at once.
    CooperativeLaunchTooLarge = 720 "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
    /// Not allowed.
    NotPermitted = 800 "CUDA_ERROR_NOT_PERMITTED",
    /// Not there.
    NotSupported = 801 "CUDA_ERROR_NOT_SUPPORTED",
    /// The call cannot be captured.
    StreamCaptureUnsupported = 900 "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    /// The capture was spoiled before.
    StreamCaptureInvalidated = 901 "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
    /// The call would have joined two captures.
    StreamCaptureMerge = 902 "CUDA_ERROR_STREAM_CAPTURE_MERGE",
    /// The capture began on another stream.
    StreamCaptureUnmatched = 903 "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
    /// A stream that joined the capture was not joined back.
    StreamCaptureUnjoined = 904 "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
    /// The call would have made captured work depend on work that is not.
    StreamCaptureIsolation = 905 "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
    /// The default stream would have waited for the capture.
    StreamCaptureImplicit = 906 "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
    /// The event is of a capture.
    CapturedEvent = 907 "CUDA_ERROR_CAPTURED_EVENT",
    /// The capture began on another thread.
    StreamCaptureWrongThread = 908 "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
    /// The graph is too different.
    GraphExecUpdateFailure = 910 "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
    /// The cluster does not fit.
    InvalidClusterSize = 912 "CUDA_ERROR_INVALID_CLUSTER_SIZE",
    /// The driver does not know either.
    Unknown = 999 "CUDA_ERROR_UNKNOWN",
}
