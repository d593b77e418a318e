//! `matmul_rows_*`: products of int8 weights with 1 to 64 rows a block.

use crate::{
    int8_matmul::{Case, Kernel},
    law::Epilogue,
    packing::NumberType,
};

const fn kernel(name: &'static str, rows: usize, tiles: usize, threads: u32, shared_bytes: u32) -> Kernel {
    Kernel { ptx: include_str!("../../ptx/matmul_rows.ptx"), name, rows, tiles, threads, shared_bytes }
}

pub(crate) const KERNELS: [Kernel; 4] = [
    kernel("matmul_rows_8", 8, 2, 512, 65_536),
    kernel("matmul_rows_16", 16, 2, 256, 65_536),
    kernel("matmul_rows_32", 32, 4, 128, 65_536),
    kernel("matmul_rows_64", 64, 4, 128, 98_304),
];

/// Groups of one to sixteen steps, of several pieces and of unequal ones, and those of rows that end within them.
#[test]
fn any_pieces() {
    for (columns, group) in [
        (70, 2),
        (100, 16),
        (1100, 32),
        (96, 48),
        (448, 64),
        (1100, 128),
        (576, 128),
        (1300, 256),
        (1300, 600),
        (1700, 768),
        (2100, 1024),
        (1300, 1300),
        (20, 20),
    ] {
        Case::new(3, columns, group, 21).assert(&KERNELS);
    }
}

#[test]
fn any_rows() {
    for rows in [1, 8, 9, 17, 33, 64, 65, 130] {
        Case::new(rows, 320, 64, 40).assert(&KERNELS);
    }
}

#[test]
fn more_pieces_than_a_window() {
    Case::new(2, 5000, 128, 16).assert(&KERNELS[..2]);
    Case::new(9, 1200, 16, 16).assert(&KERNELS[..2]);
    Case::new(9, 1300, 32, 16).assert(&KERNELS[..2]);
    Case::new(9, 2400, 64, 16).assert(&KERNELS[..2]);
}

#[test]
fn parts_types_and_epilogues() {
    let types = [NumberType::F16, NumberType::Bf16, NumberType::F32];
    for (scale_type, bias) in types.iter().zip([Some(NumberType::F16), Some(NumberType::F32), None]) {
        for epilogue in Epilogue::ALL {
            let outputs = vec![70, 24, 5];
            let case = Case::new(5, 160, 128, 0);
            Case { outputs, scale_type: *scale_type, bias, epilogue, ..case }.assert(&KERNELS);
        }
    }
}

#[test]
fn extreme_values() {
    for group in [128, 512] {
        Case { extreme: true, ..Case::new(9, 512, group, 16) }.assert(&KERNELS);
    }
}
