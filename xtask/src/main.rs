//! Tasks of the repository. `cargo xtask ci` runs what a change must pass; `cargo xtask bench` measures.

mod bench;
mod cargo;
mod ci;
mod emulate;
mod files;
mod foreign;
mod gpu_suite;
mod kernels;
mod memcheck;
mod python;
mod sanitizer;
mod templates;
mod tidy;

use std::process::ExitCode;

mod flags {
    //! The command line.
    #![allow(missing_docs)] // generated

    use std::{ffi::OsString, path::PathBuf};

    xflags::xflags! {
        /// Tasks of the repository.
        cmd xtask {
            /// Format, tidiness, lints, the kernels' PTX, documentation, tests.
            cmd ci {}
            /// Conventions that no compiler checks: file lengths, headers, README of each crate, unused dependencies.
            cmd tidy {}
            /// Compiles the CUDA sources in tinyllm-kernels/cuda/ to the PTX in tinyllm-kernels/ptx/, with a pinned compiler
            /// from PyPI (no CUDA and no GPU needed)
            cmd kernels {
                /// Changes nothing; fails where the PTX is not what the sources give
                optional --check
                /// Changes nothing; prints the path of the pinned ptxas of CUDA 12.0, which is fetched if missing
                optional --ptxas
            }
            /// Runs a program on the emulated driver and prints what the checks found, one finding a line; 1 if anything
            /// was found, else the program's status. Beside libcuda.so.1 there are libcudart.so.12 and .13, for programs that nvcc
            /// made with PTX and -cudart shared: cargo xtask emulate [OPTIONS] -- PROGRAM ARGS
            cmd emulate {
                /// Memory of the device, such as 512M; 8G without it
                optional --memory memory: String
                /// Seed of the emulator's scheduler; 0 without it
                optional --seed seed: String
                /// Checks that run, of memcheck, initcheck, racecheck, synccheck and stream, which all run without it, and of leak and
                /// contraction
                optional --only list: String
                /// Leaves out the findings that this file names, as docs/emulator.md has it (may be given again)
                repeated --suppressions file: PathBuf
                /// Prints an entry of such a file for each finding
                optional --gen-suppressions
                /// How findings are written: text, json, github (annotations) or sarif; text without it
                optional --format format: String
                /// Writes findings to this file, and not among what the program writes
                optional --output file: PathBuf
                /// What the driver says its version is, such as 13000; 12000 without it
                optional --driver-version driver_version: String
                /// Instructions that the warps of a launch may take together, such as 1G; without it a launch is stopped only if it
                /// waits for what nobody can write any more
                optional --budget instructions: String
                /// The same as --format json: findings as lines of JSON, and at the end the summary
                optional --json
                /// Prints each failing call, and why, while the program runs
                optional --errors
                /// Runs nothing: says which kernels of this file of PTX the emulator would run, and lists every line that it would
                /// not; 1 if there is one (may be given again)
                repeated --would-load file: PathBuf
                /// The program
                optional program: OsString
                /// Its arguments
                repeated args: OsString
            }
            /// Runs the GPU tests, or a program, under the emulator's checks, and the tests under compute-sanitizer where there
            /// is a GPU; one finding a line, 1 if there is any: cargo xtask memcheck [OPTIONS] [-- PROGRAM ARGS]
            cmd memcheck {
                /// Checks that run, of memcheck, initcheck, racecheck, synccheck, leak and stream, which all run without it, and of
                /// contraction
                optional --only list: String
                /// Findings as lines of JSON
                optional --json
                /// The program
                optional program: OsString
                /// Its arguments
                repeated args: OsString
            }
            /// Compiles and runs GPU programs that nobody here wrote, fetched from package registries (python3 and the network
            /// are needed), on the emulated driver; 1 if something does not load or is wrong, or a finding is not judged
            cmd foreign {
                /// Programs, of candle, llama, marlin, numba, tinygrad and tinygrad-ptx; with --sources, of its table; all without any
                repeated names: String
                /// Plants faults in their kernels instead, each of which has to be found where it is
                optional --planted
                /// Builds and runs the programs of these checkouts instead: a folder with llm.c and cuda-samples
                optional --sources checkouts: PathBuf
                /// A folder that keeps what was fetched and compiled; target/foreign without it
                optional --keep directory: PathBuf
                /// Results as lines of JSON
                optional --json
            }
            /// On a machine with an NVIDIA GPU: the tests on it, alone and under compute-sanitizer, and the kernels' bench
            /// with torch's operations; writes results to bench/results/, 1 if a test failed or anything was found
            cmd gpu-suite {
                /// Writes what it needs into this directory instead, for a machine without Rust
                optional --pack directory: PathBuf
                /// Runs what was packed into this directory
                optional --packed directory: PathBuf
                /// On the emulated device, with little work: whether the suite would run
                optional --dry-run
                /// Where to write the results instead
                optional --out out: PathBuf
            }
            /// Measures the program on a model, and the kernels; writes the figures to bench/results/ and draws their chart
            /// in docs/images/.
            cmd bench {
                /// A directory, a .gguf file or an alias; smollm2 without it
                optional model: String
                /// Runs of each figure (the median counts); 5 without it
                optional --runs runs: u32
                /// Where to write the figures instead; the chart is next to it, as .svg
                optional --out out: PathBuf
                /// Without criterion's benches of the kernels
                optional --no-kernels
                /// Figures of other programs, from bench/peers/compare.py, for the chart
                optional --peers peers: PathBuf
            }
            /// Renders the chat templates that packages on PyPI carry, with tinyllm and with jinja2, and writes the table in
            /// docs/chat-templates.md; 1 if a text differs (python3, pip's jinja2 and the network are needed)
            cmd templates {
                /// A folder that keeps the packages
                optional --packages packages: PathBuf
            }
        }
    }
}

fn main() -> ExitCode {
    let result = match flags::Xtask::from_env_or_exit().subcommand {
        flags::XtaskCmd::Ci(_) => ci::run(),
        flags::XtaskCmd::Tidy(_) => tidy::run(),
        flags::XtaskCmd::Kernels(options) if options.ptxas => {
            kernels::ptxas().map(|path| println!("{}", path.display()))
        }
        flags::XtaskCmd::Kernels(options) => kernels::run(options.check),
        flags::XtaskCmd::Bench(options) => bench::run(&options),
        flags::XtaskCmd::Templates(options) => return finish(templates::run(&options)),
        flags::XtaskCmd::GpuSuite(options) => return finish(gpu_suite::run(&options)),
        flags::XtaskCmd::Memcheck(options) => return finish(memcheck::run(options)),
        flags::XtaskCmd::Foreign(options) => return finish(foreign::run(&options)),
        flags::XtaskCmd::Emulate(options) => return finish(emulate::run(&options)),
    };
    finish(result.map(|()| ExitCode::SUCCESS))
}

fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
