//! How many warps of a kernel a multiprocessor holds at once.
//!
//! The limits are those of the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".

/// An architecture that kernels are assembled for.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: &'static str,
    /// Major version of the assembler that knows it.
    pub(super) assembler: u32,
    warps: u32,
    blocks: u32,
    shared_bytes: u32,
}

/// Registers of a multiprocessor, of every target.
const REGISTERS: u32 = 65_536;
/// A warp's registers are allocated in multiples of this.
const REGISTER_UNIT: u32 = 256;
/// Shared memory that each block takes for the system, from compute capability 8.0 on.
const RESERVED_SHARED_BYTES: u32 = 1024;
/// Schedulers of a multiprocessor; each has its share of the warps.
const SCHEDULERS: u32 = 4;
const WARP: u32 = 32;

const fn target(name: &'static str, assembler: u32, warps: u32, blocks: u32, shared_kib: u32) -> Target {
    Target { name, assembler, warps, blocks, shared_bytes: shared_kib << 10 }
}

/// From Ampere to Blackwell.
pub(super) const TARGETS: [Target; 6] = [
    target("sm_80", 12, 64, 32, 164),
    target("sm_86", 12, 48, 16, 100),
    target("sm_89", 12, 48, 24, 100),
    target("sm_90", 12, 64, 32, 228),
    target("sm_100", 13, 64, 32, 228),
    target("sm_120", 13, 48, 24, 100),
];

impl Target {
    /// Warps at once, of those that fit at most, for blocks of `threads`.
    pub(super) fn occupancy(&self, threads: u32, registers: u32, shared_bytes: u32) -> (u32, u32) {
        let warps = threads.div_ceil(WARP).max(1);
        let warp_registers = (registers.max(1) * WARP).next_multiple_of(REGISTER_UNIT);
        let by_registers = REGISTERS / warp_registers / SCHEDULERS * SCHEDULERS / warps;
        let by_shared = self.shared_bytes / (shared_bytes + RESERVED_SHARED_BYTES);
        let blocks = self.blocks.min(self.warps / warps).min(by_registers).min(by_shared);
        (blocks * warps, self.warps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occupancy_follows_the_guide() {
        // Worked out by hand. sm_80: 64 registers, 256 threads: 65536 / 2048 = 32 warps.
        assert_eq!(TARGETS[0].occupancy(256, 64, 0), (32, 64));
        // 33 registers are 1056 a warp, 1280 allocated: 51 warps, 6 blocks of 8.
        assert_eq!(TARGETS[0].occupancy(256, 33, 0), (48, 64));
        // 48 KiB of shared memory and 1 KiB reserved: 3 blocks in 164 KiB, 2 in 100.
        assert_eq!(TARGETS[0].occupancy(128, 32, 48 << 10), (12, 64));
        assert_eq!(TARGETS[1].occupancy(128, 32, 48 << 10), (8, 48));
        // 168 registers are 5376 a warp: 12 warps, 3 for each scheduler.
        assert_eq!(TARGETS[0].occupancy(128, 168, 0), (12, 64));
        // Small blocks are bound by their number.
        assert_eq!(TARGETS[1].occupancy(32, 16, 0), (16, 48));
    }
}
