//! The interface between models and devices: a [`Backend`] compiles a program, the [`Compiled`] program states its
//! [`Requirements`] to the byte, `bind` allocates exactly those, and a [`Session`] runs steps. The CPU backend is in
//! `cpu`.

mod capabilities;
mod null;
mod outputs;
mod quantized_matrix;
mod requirements;
mod source;
mod submissions;

use std::sync::Arc;

pub use capabilities::Capabilities;
pub use null::Null;
pub use outputs::{Outputs, Ticket};
pub(crate) use quantized_matrix::SourceBytes;
pub use quantized_matrix::{Bytes, QuantizedMatrix};
pub use requirements::Requirements;
pub(crate) use source::Rows;
pub use source::{FetchedRows, FloatRows, Keep, Source, TensorId};
pub(crate) use submissions::Submissions;

use crate::{EntryId, KernelError, Program, RegionId, Step, quantize::VanishedGroups};

/// A device that runs programs; models depend on this trait only. A backend's memory resources are given to its
/// constructor.
pub trait Backend: Send + Sync {
    /// The device's name in plans and errors: `cpu`, `cuda:0`.
    fn name(&self) -> &str;

    /// Its optional features.
    fn capabilities(&self) -> Capabilities;

    /// Lowers a program to what the device runs. Allocates nothing from the backend's memory resources; afterwards
    /// every byte that `bind` will allocate is known. Deterministic.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for what the device cannot run.
    fn compile(&self, program: Arc<Program>) -> Result<Box<dyn Compiled>, KernelError>;
}

/// A program lowered for a device.
pub trait Compiled: Send {
    /// What [`Compiled::bind`] will allocate.
    fn requirements(&self) -> &Requirements;

    /// Allocates exactly that, from the backend's resources.
    ///
    /// # Errors
    /// [`KernelError::Memory`] if an allocation fails; nothing stays allocated then.
    fn bind(self: Box<Self>) -> Result<Box<dyn Session>, KernelError>;
}

/// A program with its memory: weights are uploaded to it, and steps are submitted to it.
pub trait Session: Send {
    /// Fills a weight matrix or a vector.
    ///
    /// # Errors
    /// The source's errors, [`KernelError::NonFiniteWeight`], [`KernelError::NonFiniteScale`] and
    /// [`KernelError::F16Overflow`]; [`KernelError::Source`] for another shape, or a [`Keep`] that does not fit the
    /// weight's placement.
    fn upload(&mut self, tensor: TensorId, source: Source<'_>) -> Result<(), KernelError>;

    /// Groups of the weights loaded so far whose scale rounded to 0 although their weights are not 0, by weight.
    fn vanished_groups(&self) -> Vec<VanishedGroups>;

    /// Work for idle time, such as loading weights that are still read at their source ([`Keep::UntilWarm`]): up to
    /// `max_bytes` of them, rounded up to the backend's unit. Returns how many bytes are left.
    ///
    /// # Errors
    /// As [`Session::upload`].
    fn warm_up(&mut self, max_bytes: usize) -> Result<usize, KernelError>;

    /// Copies blocks of the KV cache, in all layers, one copy after another.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for a block that the cache does not have.
    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<(), KernelError>;

    /// Writes the first rows of the program's input region, `[rows, columns]` f32, for steps of
    /// [`crate::StepInput::Rows`].
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for another region, or for more rows than it has.
    fn write_region(&mut self, region: RegionId, rows: &[f32]) -> Result<(), KernelError>;

    /// Queues an entry of the program. Its outputs are available through [`Session::wait`] until the next submission.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for a step outside the limits, or for an entry that continues a step that did not run
    /// last, or not up to there; the session's state is then unchanged. [`KernelError::NotUploaded`].
    fn submit(&mut self, entry: EntryId, step: &Step<'_>) -> Result<Ticket, KernelError>;

    /// Waits for a submission, and returns its outputs in host memory. May be called repeatedly, until the next
    /// submission.
    ///
    /// # Errors
    /// Errors of running it: [`KernelError::NonFiniteInput`], those of [`Session::upload`] for weights that are not
    /// loaded yet, and the device's; returned once. [`KernelError::StaleTicket`] if another submission followed, or its
    /// error was returned already.
    fn wait(&mut self, ticket: Ticket) -> Result<Outputs<'_>, KernelError>;
}

/// A copy of one block of the KV cache to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCopy {
    /// The source block.
    pub from: u32,
    /// The destination block.
    pub to: u32,
}
