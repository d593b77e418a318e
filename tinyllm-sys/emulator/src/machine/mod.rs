//! Runs kernels: warps in lock-step under a mask, lowest position first where lanes part; blocks over the processor's threads.
//! What a kernel computes, counts and is found to do wrong is the same however many threads there are.

mod addresses;
mod aligned;
mod allocation;
mod assertion;
mod atomics;
mod barriers;
mod block;
mod cache_policy;
mod calls;
mod clocks;
mod constants;
mod context;
mod copies;
mod counts;
mod endless;
mod exchange;
mod global;
mod grid;
mod groups;
mod knowledge;
mod local;
mod matrix;
mod mbarriers;
mod memory;
mod order;
mod places;
mod print;
mod private;
mod races;
mod recorder;
mod shared;
mod stack;
mod step;
mod strong;
mod together;
mod transfer;
mod undefined;
mod waiting;
mod warp;
mod words;

pub use counts::Counters;
pub(crate) use grid::run;

use crate::{
    Check,
    kernel::Kernel,
    memory::{KernelHeap, Space, Touched},
    report::Finding,
};

/// Bytes that a cooperative launch's blocks count themselves in. The first word is the size, the second the barrier of
/// `grid_group::sync`; CUDA 12 and 13 know no more.
pub(crate) const GRID_WORKSPACE_BYTES: u64 = 64;

/// A kernel and everything it is started with.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    /// Shared memory asked for at launch, after the kernel's own.
    pub(crate) dynamic_shared_bytes: u32,
    /// The parameter block: [`Kernel::param_bytes`].
    pub(crate) params: &'a [u8],
    pub(crate) space: &'a Space,
    /// What kernels allocate.
    pub(crate) heap: &'a KernelHeap,
    /// Where the blocks of a cooperative launch meet: [`GRID_WORKSPACE_BYTES`], all 0. The address is 0 for other launches.
    pub(crate) grid_workspace: u64,
    pub(crate) check: Check,
    /// Instructions of warps that it may take.
    pub(crate) budget: Option<u64>,
    /// What to call it in findings: `kernel NAME on stream 1`.
    pub(crate) work: String,
    /// Threads of the processor to run blocks on; all where there is none.
    pub(crate) pool: Option<&'a rayon::ThreadPool>,
}

impl Launch<'_> {
    /// Threads of a block.
    fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    /// Where the shared memory asked for at launch begins.
    fn dynamic_shared_start(&self) -> u32 {
        self.kernel.static_shared_bytes.next_multiple_of(16)
    }

    /// All of a block's shared memory.
    fn shared_bytes(&self) -> u32 {
        match self.dynamic_shared_bytes {
            0 => self.kernel.static_shared_bytes,
            bytes => self.dynamic_shared_start() + bytes,
        }
    }

    /// `%ctaid` of a block's number.
    fn block_position(&self, block: u64) -> [u32; 3] {
        let [x, y, _] = self.grid.map(u64::from);
        [(block % x) as u32, (block / x % y) as u32, (block / x / y) as u32]
    }
}

/// The result of a launch.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) findings: Vec<Finding>,
    /// Global memory; collected where `check.stream` or `check.racecheck` asks for it.
    pub(crate) touched: Touched,
    pub(crate) counters: Counters,
    /// What its threads printed, in the order of blocks.
    pub(crate) printed: Vec<u8>,
    /// What they said of assertions that failed.
    pub(crate) asserted: Vec<u8>,
    /// Why it ended early: `CUDA_ERROR_ILLEGAL_ADDRESS` and the like.
    pub(crate) fault: Option<u32>,
}

/// The end of a kernel before its time: the driver's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault(u32);

impl Fault {
    const ILLEGAL_ADDRESS: Fault = Fault(700);
    const LAUNCH_TIMEOUT: Fault = Fault(702);
    const ASSERT: Fault = Fault(710);
    const ILLEGAL_INSTRUCTION: Fault = Fault(715);
    const MISALIGNED_ADDRESS: Fault = Fault(716);
    const INVALID_ADDRESS_SPACE: Fault = Fault(717);
    const INVALID_PC: Fault = Fault(718);
    const LAUNCH_FAILED: Fault = Fault(719);
}
