//! The programs from registries: where their sources are, and how they are run.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::{
    Workshop,
    emulated::{Emulated, Run, WITHOUT_LEAKS},
};

/// A program that somebody else wrote.
pub(super) struct Program {
    /// As `cargo xtask foreign NAME` names it.
    pub(super) name: &'static str,
    /// Package, version, and what of it.
    pub(super) version: &'static str,
    kind: Kind,
}

enum Kind {
    /// Kernels that are compiled here, launched by a script of ours.
    Kernels { sources: fn(&Workshop) -> anyhow::Result<Sources> },
    /// Python that brings its own compiler, with variables of its environment.
    Python { script: &'static str, environment: &'static [(&'static str, &'static str)] },
}

/// What is compiled.
struct Sources {
    files: Vec<PathBuf>,
    includes: Vec<PathBuf>,
}

pub(super) const PROGRAMS: [Program; 6] = [
    Program { name: "candle", version: "candle-kernels 0.11.1", kind: Kind::Kernels { sources: candle } },
    Program {
        name: "llama",
        version: "llama.cpp's ggml-cuda, in llama-cpp-sys-2 0.1.161",
        kind: Kind::Kernels { sources: llama },
    },
    Program {
        name: "marlin",
        version: "Marlin, in auto-gptq 0.7.1",
        kind: Kind::Kernels { sources: marlin },
    },
    Program {
        name: "numba",
        version: "numba-cuda 0.30.4",
        // It asks for a driver of its bindings' version.
        kind: Kind::Python {
            script: "numba_programs.py",
            environment: &[("TINYLLM_EMULATOR_DRIVER_VERSION", "13000")],
        },
    },
    Program {
        name: "tinygrad",
        version: "tinygrad 0.14.0, compiled by NVRTC",
        kind: Kind::Python { script: "tinygrad_programs.py", environment: &[("DEV", "CUDA")] },
    },
    Program {
        name: "tinygrad-ptx",
        version: "tinygrad 0.14.0, PTX of its own",
        kind: Kind::Python { script: "tinygrad_programs.py", environment: &[("DEV", "CUDA:PTX")] },
    },
];

/// The sources that candle compiles to PTX: those that hold no matrix products of their own.
const CANDLE: [&str; 11] = [
    "affine",
    "binary",
    "cast",
    "conv",
    "fill",
    "indexing",
    "quantized",
    "reduce",
    "sort",
    "ternary",
    "unary",
];

const LLAMA: [&str; 16] = [
    "acc",
    "argmax",
    "concat",
    "cpy",
    "cumsum",
    "diagmask",
    "getrows",
    "im2col",
    "norm",
    "pad",
    "rope",
    "scale",
    "softmax",
    "sumrows",
    "template-instances/fattn-vec-instance-f16-f16",
    "top-k",
];

fn candle(workshop: &Workshop) -> anyhow::Result<Sources> {
    let folder = workshop.crate_source("candle-kernels")?.join("src");
    let files = CANDLE.iter().map(|name| folder.join(name).with_extension("cu"));
    Ok(Sources { files: files.collect(), includes: vec![folder.clone()] })
}

fn llama(workshop: &Workshop) -> anyhow::Result<Sources> {
    let ggml = workshop.crate_source("llama-cpp-sys-2")?.join("llama.cpp/ggml");
    let folder = ggml.join("src/ggml-cuda");
    let files = LLAMA.iter().map(|name| folder.join(name).with_extension("cu"));
    Ok(Sources {
        files: files.collect(),
        includes: vec![ggml.join("include"), ggml.join("src"), folder.clone()],
    })
}

fn marlin(workshop: &Workshop) -> anyhow::Result<Sources> {
    let folder = workshop.source_distribution(
        "auto-gptq",
        "auto_gptq-0.7.1.tar.gz",
        "5c61ad380e9b4c603757c254765e9083a90a820cd0aff1b5d2c6f7fd96c85e80",
    )?;
    let file = folder.join("autogptq_extension/marlin/marlin_cuda_kernel.cu");
    Ok(Sources { files: vec![file], includes: Vec::new() })
}

/// The programs of these names, all without any.
pub(super) fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Program>> {
    let known: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    for name in names {
        ensure!(known.contains(&name.as_str()), "{name}: the programs are {}", known.join(", "));
    }
    Ok(PROGRAMS.iter().filter(|p| names.is_empty() || names.iter().any(|name| name == p.name)).collect())
}

impl Program {
    /// Its modules as PTX, where it has kernels that are compiled here.
    pub(super) fn modules(&self, workshop: &Workshop) -> anyhow::Result<PathBuf> {
        let Kind::Kernels { sources } = &self.kind else { bail!("{} compiles its own", self.name) };
        let Sources { files, includes } = sources(workshop)?;
        workshop.ptx(self.name, self.version, &files, &includes)
    }

    /// Runs all of its cases.
    pub(super) fn run(&self, workshop: &Workshop, emulated: &Emulated) -> anyhow::Result<Run> {
        let mut command = Command::new(&workshop.environment.python);
        // Nothing of it is compiled into the source tree.
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("XDG_CACHE_HOME", workshop.folder.join("cache"));
        match &self.kind {
            Kind::Kernels { .. } => {
                let modules = self.modules(workshop)?;
                command.arg(workshop.ours.join("run.py")).arg(self.name).arg(modules);
            }
            Kind::Python { script, environment } => {
                command.arg(workshop.ours.join(script)).envs(environment.iter().copied());
                command.env("TINYLLM_EMULATOR_CHECK", WITHOUT_LEAKS);
            }
        }
        let mut run = emulated.run(&mut command).context("running its cases")?;
        if !run.succeeded {
            run.lines.push(json!({ "case": "the program's end", "right": false, "why": run.errors }));
        }
        Ok(run)
    }
}
