//! The shipped CUDA kernels, on the emulated device and if requested on a GPU, against results computed here in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attention_decode;
mod device;
mod numbers;
mod rms_norm;
mod w8a16_gemm;
mod w8a16_gemv;
