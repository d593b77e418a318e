//! Counters of the int8 matmuls.

use super::{
    Bar, Counter,
    resources::{MULTIPROCESSORS, blocks_at_once},
};
use crate::{
    int8_matmul::{Case, Kernel, counters_of},
    matmul_prompt, matmul_rows,
};

/// Bytes of a step of a tile of weights: 16 outputs of 32 columns.
const STEP_BYTES: u64 = 512;

/// Bytes of weights that a block has under way before it uses the first of them.
fn bytes_under_way(kernel: &Kernel) -> u64 {
    let steps = match kernel.name {
        // Every warp reads batches of four steps.
        "matmul_rows_8" | "matmul_rows_16" => u64::from(kernel.threads) / 32 * 4,
        // Stages of four steps: all but the one that is being used.
        "matmul_prompt" => 4,
        _ => 3 * 4,
    };
    steps * kernel.tiles as u64 * STEP_BYTES
}

pub(super) fn counters() -> Vec<Counter> {
    let mut counters = instructions_of_a_weight_byte();
    counters.extend(instructions_of_an_imma());
    counters.extend(sectors());
    counters.extend(bytes_in_flight());
    counters
}

/// What 2048 more columns take: whole pieces only.
fn instructions_of_a_weight_byte() -> Vec<Counter> {
    let mut counters = Vec::new();
    for group in [128, 64, 32] {
        for (kernel, bar) in matmul_rows::KERNELS.iter().zip([0.8, 1.0, 1.9, 3.5]) {
            let of = |columns| counters_of(kernel, &Case::new(kernel.rows, columns, group, 64));
            counters.push(Counter {
                kernel: kernel.name,
                measure: "instructions a weight byte",
                case: format!("{} rows, groups of {group}", kernel.rows),
                count: of(4096).thread_instructions - of(2048).thread_instructions,
                of: 2048 * 64,
                bar: if group == 128 { Bar::AtMost(bar) } else { Bar::None },
            });
        }
    }
    counters
}

fn instructions_of_an_imma() -> Vec<Counter> {
    let kernel = &matmul_prompt::KERNEL;
    let counter = |group| {
        let of = |columns| counters_of(kernel, &Case::new(128, columns, group, 128));
        let (small, large) = (of(1024), of(2048));
        Counter {
            kernel: kernel.name,
            measure: "instructions an IMMA",
            case: format!("128 rows, groups of {group}"),
            count: large.warp_instructions - small.warp_instructions,
            of: large.mma - small.mma,
            bar: if group == 128 { Bar::AtMost(4.0) } else { Bar::None },
        }
    };
    [128, 64, 32].map(counter).into()
}

/// Bytes of the sectors that loads touch over the bytes that are read at all.
fn sectors() -> Vec<Counter> {
    let kernel = &matmul_rows::KERNELS[0];
    let counter = |(rows, bar)| {
        let counted = counters_of(kernel, &Case::new(rows, 4096, 128, 4096));
        Counter {
            kernel: kernel.name,
            measure: "bytes of loaded sectors over bytes read",
            case: format!("{rows} rows, 4096 x 4096, groups of 128"),
            count: counted.global_load_sectors * 32,
            of: counted.unique_bytes_read,
            bar: Bar::AtMost(bar),
        }
    };
    [(1, 1.2), (8, 2.0)].map(counter).into()
}

/// Bytes of weights under way in a multiprocessor, on average over all of them, while the first blocks run.
fn bytes_in_flight() -> Vec<Counter> {
    let mut counters = Vec::new();
    for kernel in &matmul_rows::KERNELS {
        let resident =
            blocks_at_once(kernel.name, kernel.threads.into(), kernel.shared_bytes.into()) * MULTIPROCESSORS;
        for outputs in [4096, 12_288, 22_016, 32_000] {
            let blocks = u64::div_ceil(outputs, 16 * kernel.tiles as u64);
            counters.push(Counter {
                kernel: kernel.name,
                measure: "bytes of weights in flight a multiprocessor",
                case: format!("{outputs} outputs, sm_90, {MULTIPROCESSORS} multiprocessors"),
                count: resident.min(blocks) * bytes_under_way(kernel),
                of: MULTIPROCESSORS,
                bar: Bar::AtLeast(49_152.0),
            });
        }
    }
    counters
}
