//! The emulator through the driver's calls, as its users have it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod contraction;
mod corpus;
mod correct;
mod driver;
mod dropped;
mod endless;
mod faulty;
mod forms;
mod grid_sync;
mod host_functions;
mod kernel_heap;
mod litmus;
mod mbarriers;
mod naming;
mod print;
mod program;
mod seeds;
mod stack;
