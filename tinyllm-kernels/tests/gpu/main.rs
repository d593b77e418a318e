//! The shipped CUDA kernels, on the emulated device and if requested on a GPU, against results computed here in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attention_decode;
mod counters;
mod device;
mod int8_matmul;
mod law;
mod matmul_floats;
mod matmul_prompt;
mod matmul_rows;
mod numbers;
mod packing;
mod rms_norm;
mod w8a16_gemm;
mod w8a16_gemv;
