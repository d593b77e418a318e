//! The pinned compiler and assemblers, in a private Python environment under the target folder. Nothing of it is installed
//! anywhere else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

use super::occupancy::Target;
use crate::python::Environment;

/// What is installed, each with its hash.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Calls the compiler, which is a library.
const NVRTC: &str = include_str!("nvrtc.py");

/// The instruction set that PTX is for: Ampere, and everything after it.
const ARCHITECTURE: &str = "compute_80";

/// Compiler and assemblers.
#[derive(Debug)]
pub(super) struct Toolchain {
    shell: Shell,
    python: PathBuf,
    /// Where the wheels put their files.
    packages: PathBuf,
    scratch: tempfile::TempDir,
}

impl Toolchain {
    /// Makes the environment, or uses the one made before from the same requirements.
    pub(super) fn install(root: &Path) -> anyhow::Result<Self> {
        let shell = Shell::new()?;
        let Environment { python, packages } =
            Environment::install(&shell, root, "kernels-toolchain", REQUIREMENTS)?;
        let packages = packages.join("nvidia");
        Ok(Toolchain { shell, python, packages, scratch: tempfile::tempdir()? })
    }

    /// A source file as PTX, without paths of this machine.
    pub(super) fn compile(&self, source: &Path) -> anyhow::Result<String> {
        let Toolchain { shell, python, .. } = self;
        let scratch = self.scratch.path();
        let (script, output) = (scratch.join("nvrtc.py"), scratch.join("out.ptx"));
        fs::write(&script, NVRTC)?;
        let library = self.packages.join("cuda_nvrtc/lib/libnvrtc.so.12");
        let include = self.packages.join("cuda_runtime/include");
        let folder = source.parent().context("a source lies in a folder")?;
        // The compiler writes the current folder before the names of files.
        let _inside = shell.push_dir(scratch);
        cmd!(
            shell,
            "{python} {script} {library} {source} {output} --gpu-architecture={ARCHITECTURE} --std=c++17 --generate-line-info -I{include} -I{folder}"
        )
        .quiet()
        .run()
        .with_context(|| source.display().to_string())?;
        let mut ptx = fs::read_to_string(output)?;
        for prefix in [folder, &include, scratch] {
            ptx = ptx.replace(&format!("\"{}/", prefix.display()), "\"");
        }
        let ptx = without_inlining(&ptx);
        let local = ptx.lines().find(|line| line.trim_start().starts_with(".file") && line.contains("\"/"));
        ensure!(local.is_none(), "a path of this machine is left: {}", local.unwrap_or_default());
        Ok(ptx)
    }

    /// The assembler of a CUDA version.
    pub(super) fn ptxas(&self, version: u32) -> PathBuf {
        self.packages.join(if version == 12 { "cuda_nvcc/bin/ptxas" } else { "cu13/bin/ptxas" })
    }

    /// What the target's assembler reports of the PTX.
    pub(super) fn assemble(&self, ptx: &str, target: &Target) -> anyhow::Result<String> {
        let assembler = self.ptxas(target.assembler);
        let input = self.scratch.path().join("in.ptx");
        fs::write(&input, ptx)?;
        let (name, shell) = (target.name, &self.shell);
        let output = cmd!(shell, "{assembler} -v -arch={name} {input} -o /dev/null")
            .quiet()
            .ignore_status()
            .output()?;
        let report =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{name}: {report}");
        Ok(report)
    }
}

/// The PTX with lines of the source alone, not where the functions they are in were inlined: where a kernel's first
/// instruction has such a place, the assembler of CUDA 12.0 crashes for sm_90.
fn without_inlining(ptx: &str) -> String {
    // The section holds the functions' names and comes last.
    let code = ptx.split("\t.section\t.debug_str").next().unwrap_or_default();
    let lines = code.lines().map(|line| match line.trim_start().starts_with(".loc") {
        true => line.split(", function_name").next().unwrap_or_default(),
        false => line,
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_and_places_of_inlining_are_not() {
        let ptx = "\t.loc\t1 9 2\n\t.loc\t2 756 1, function_name $L__info_string2, inlined_at 1 58 56\n\tret;\n\t.file\t1 \"a.cu\"\n\
                   \t.section\t.debug_str\n\t{\n$L__info_string2:\n.b8 95,0\n\n\t}\n";
        assert_eq!(without_inlining(ptx), "\t.loc\t1 9 2\n\t.loc\t2 756 1\n\tret;\n\t.file\t1 \"a.cu\"\n");
    }
}
