//! The shipped CUDA kernels on this machine's GPU: microseconds per launch, bytes and operations a second.
//!
//! `cargo bench -p tinyllm-kernels --bench gpu` prints a table, `-- --json` an array of rows; other arguments select
//! benches whose names contain them. Every result is checked before it is timed; with a wrong one the exit status is 1.
//! Without a GPU nothing is measured. `--emulated`, and `cargo test --benches`, run each case once, much smaller, on the
//! emulated device.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attention_decode;
mod check;
mod copy;
mod device;
mod matrices;
mod memory;
mod report;
mod rms_norm;
mod timing;
mod w8a16_gemm;
mod w8a16_gemv;

use std::process::ExitCode;

use device::{Device, Outcome};
use report::Report;
use tinyllm_sys::LibCuda;

type Bench = fn(&Device, &mut Report) -> Outcome;

const BENCHES: [(&str, Bench); 4] = [
    ("w8a16_gemv", w8a16_gemv::run),
    ("w8a16_gemm", w8a16_gemm::run),
    ("attention_decode", attention_decode::run),
    ("rms_norm", rms_norm::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |option| arguments.iter().any(|argument| argument == option);
    // Cargo passes --bench under `cargo bench` and not under `cargo test`. Other options are those of the criterion
    // benches.
    let emulated = given("--emulated") || !(given("--bench") || given("--json"));
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let device = if emulated {
        Device::emulated()
    } else {
        match LibCuda::load() {
            Ok(driver) => Device::gpu(driver),
            Err(missing) => {
                eprintln!("nothing is measured: {missing}");
                return ExitCode::SUCCESS;
            }
        }
    };
    let result = device.and_then(|device| {
        let mut report = Report::new(given("--json"));
        eprintln!("{}", device.title()?);
        // The device's bandwidth, which the other benches are compared with.
        report.bench("copy", &device, copy::run);
        for (name, bench) in BENCHES {
            if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
                report.bench(name, &device, bench);
            }
        }
        Ok(report.end(&device.end()))
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
