//! What a multiprocessor holds of a kernel: `ptx/RESOURCES.md` and the limits of compute capability 9.0 (CUDA C++ Programming
//! Guide, "Technical Specifications per Compute Capability").

/// Multiprocessors of an H100 SXM and an H200.
pub(super) const MULTIPROCESSORS: u64 = 132;

const REGISTERS: u64 = 65_536;
const REGISTER_UNIT: u64 = 256;
const SHARED_BYTES: u64 = 228 << 10;
const RESERVED_SHARED_BYTES: u64 = 1024;
const WARPS: u64 = 64;
const BLOCKS: u64 = 32;
const WARP: u64 = 32;
const SCHEDULERS: u64 = 4;

/// Blocks of a kernel that a multiprocessor of compute capability 9.0 holds at once.
pub(super) fn blocks_at_once(kernel: &str, threads: u64, dynamic_shared_bytes: u64) -> u64 {
    let table = include_str!("../../../ptx/RESOURCES.md");
    let mut rows = table.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let row = rows.find(|row| row.get(2) == Some(&kernel) && row.get(3) == Some(&"sm_90")).unwrap();
    let number = |column: usize| row[column].parse::<u64>().unwrap();
    let (registers, shared_bytes) = (number(5), number(7) + dynamic_shared_bytes + RESERVED_SHARED_BYTES);
    let warps = threads.div_ceil(WARP);
    let warp_registers = (registers * WARP).next_multiple_of(REGISTER_UNIT);
    let by_registers = REGISTERS / warp_registers / SCHEDULERS * SCHEDULERS / warps;
    BLOCKS.min(WARPS / warps).min(by_registers).min(SHARED_BYTES / shared_bytes)
}
