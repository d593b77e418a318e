//! The thread pool that runs a step: work-stealing queues, the barrier between operations, and adapting to other
//! processes that compete for the cores.

mod barrier;
mod congestion;
mod partition;
mod pool;
mod steal;
mod thread_time;

pub(super) use barrier::IdleWork;
pub use congestion::DecodeThreads;
pub(super) use partition::partition;
pub(super) use pool::{Pool, Worker};
pub(super) use steal::StealQueues;
