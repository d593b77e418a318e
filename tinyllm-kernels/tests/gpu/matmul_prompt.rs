//! `matmul_prompt`: products of int8 weights with the rows of prompts.

use crate::{
    int8_matmul::{Case, Kernel},
    law::Epilogue,
    packing::NumberType,
};

pub(crate) const KERNEL: Kernel = Kernel {
    ptx: include_str!("../../ptx/matmul_prompt.ptx"),
    name: "matmul_prompt",
    rows: 128,
    tiles: 8,
    threads: 256,
    shared_bytes: 98_304,
};

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
        Case::new(3, columns, group, 21).assert(&[KERNEL]);
    }
}

#[test]
fn any_rows_and_outputs() {
    for (rows, outputs) in [(1, 1), (8, 130), (65, 112), (130, 129), (200, 256)] {
        Case::new(rows, 160, 64, outputs).assert(&[KERNEL]);
    }
}

#[test]
fn parts_types_and_epilogues() {
    let types = [NumberType::F16, NumberType::Bf16, NumberType::F32];
    for (scale_type, bias) in types.iter().zip([Some(NumberType::F16), Some(NumberType::F32), None]) {
        for epilogue in Epilogue::ALL {
            let outputs = vec![140, 24, 5];
            let case = Case::new(67, 160, 128, 0);
            Case { outputs, scale_type: *scale_type, bias, epilogue, ..case }.assert(&[KERNEL]);
        }
    }
}

#[test]
fn extreme_values() {
    for group in [128, 512] {
        Case { extreme: true, ..Case::new(9, 512, group, 16) }.assert(&[KERNEL]);
    }
}
