//! What a launch did, counted exactly: the same on every run and with every number of threads.

use serde::Serialize;

use crate::kernel::{Kernel, Op};

/// Counters of one launch. A warp instruction is one instruction for the lanes that take part; a thread instruction one lane's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is what its name says; the exceptions are described")]
pub struct Counters {
    pub warp_instructions: u64,
    pub thread_instructions: u64,
    pub branches: u64,
    /// Branches where a warp's lanes part.
    pub divergent_branches: u64,
    pub barriers: u64,
    /// `mma.sync` instructions of a warp.
    pub mma: u64,
    pub global_load_requests: u64,
    /// Sectors of 32 bytes that the load requests touch.
    pub global_load_sectors: u64,
    pub global_store_requests: u64,
    pub global_store_sectors: u64,
    pub global_atomic_requests: u64,
    pub shared_requests: u64,
    /// Passes over the 32 banks that the shared requests take: as many as requests where there are no bank conflicts.
    pub shared_wavefronts: u64,
    pub local_requests: u64,
    /// Bytes of global memory read, each counted once.
    pub unique_bytes_read: u64,
    /// Bytes of global memory written, each counted once.
    pub unique_bytes_written: u64,
}

/// How often each instruction ran.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Executed {
    pub(super) warps: u64,
    pub(super) threads: u64,
}

impl Counters {
    pub(super) fn add_executed(&mut self, kernel: &Kernel, executed: &[Executed]) {
        for (instruction, count) in kernel.code.iter().zip(executed) {
            self.warp_instructions += count.warps;
            self.thread_instructions += count.threads;
            match instruction.op {
                Op::Branch { .. } | Op::BranchIndexed { .. } => self.branches += count.warps,
                Op::Barrier(_) => self.barriers += count.warps,
                Op::Mma(_) => self.mma += count.warps,
                _ => {}
            }
        }
    }

    /// Adds another launch's, or another thread's.
    pub(crate) fn merge(&mut self, other: &Counters) {
        let Counters {
            warp_instructions,
            thread_instructions,
            branches,
            divergent_branches,
            barriers,
            mma,
            global_load_requests,
            global_load_sectors,
            global_store_requests,
            global_store_sectors,
            global_atomic_requests,
            shared_requests,
            shared_wavefronts,
            local_requests,
            unique_bytes_read,
            unique_bytes_written,
        } = other;
        self.warp_instructions += warp_instructions;
        self.thread_instructions += thread_instructions;
        self.branches += branches;
        self.divergent_branches += divergent_branches;
        self.barriers += barriers;
        self.mma += mma;
        self.global_load_requests += global_load_requests;
        self.global_load_sectors += global_load_sectors;
        self.global_store_requests += global_store_requests;
        self.global_store_sectors += global_store_sectors;
        self.global_atomic_requests += global_atomic_requests;
        self.shared_requests += shared_requests;
        self.shared_wavefronts += shared_wavefronts;
        self.local_requests += local_requests;
        self.unique_bytes_read += unique_bytes_read;
        self.unique_bytes_written += unique_bytes_written;
    }
}
