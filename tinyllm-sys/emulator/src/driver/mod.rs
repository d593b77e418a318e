//! The driver: calls, the work they ask for, and the memory it is done in.
//!
//! `state` owns a value for each thing that the driver keeps (`streams`, `captures`, `schedule`, `device`, ...), whose modules do
//! not import it. `memory`, `loading`, `leaks` and `calls` are operations on several of them, and import `state`.

mod api;
mod builder;
mod calls;
mod capture;
mod clock;
mod contraction;
mod device;
mod emulator;
mod event;
mod execute;
mod failure;
mod findings;
mod footprint;
mod graph;
mod handles;
mod heap;
mod history;
mod host_functions;
mod identities;
mod injection;
mod leaks;
mod limits;
mod loading;
mod memory;
mod module;
mod pool;
mod schedule;
mod staging;
mod state;
mod streams;
mod virtual_memory;
mod work;

pub use builder::{BadSetting, Builder};
pub use calls::Allocated;
pub use emulator::Emulator;
pub use execute::KernelCounters;
pub use host_functions::HostFunction;
pub use injection::InjectedFailure;
