//! Why there is no driver to call.

use crate::{CudaVersion, DriverError};

/// What keeps a machine from running kernels on a GPU. An ordinary state, not a fault of the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The loader found no library.
    #[error("no CUDA driver library (libcuda.so.1, nvcuda.dll): install NVIDIA's driver, 525 or later")]
    NoLibrary,
    /// A library without a function that every driver of the oldest supported version has.
    #[error(
        "the CUDA driver library has no {symbol}: it is damaged or older than CUDA {}",
        CudaVersion::OLDEST
    )]
    MissingSymbol {
        /// The function.
        symbol: &'static str,
    },
    /// The driver is older than the kernels need.
    #[error(
        "the driver supports CUDA {found}, {} or later is needed: update NVIDIA's driver to 525 or later",
        CudaVersion::OLDEST
    )]
    OldDriver {
        /// What it supports.
        found: CudaVersion,
    },
    /// The driver is there and there is nothing for it to drive.
    #[error(
        "the driver finds no GPU; where there is one, it may be hidden by CUDA_VISIBLE_DEVICES or missing in the container"
    )]
    NoDevice,
    /// The driver does not start.
    #[error("the CUDA driver does not start: {0}")]
    Init(#[from] DriverError),
}
