//! CUDA sources to PTX for sm_80, and CUDA programs to executables that bring PTX and use the runtime as a shared
//! library; by the compiler from PyPI.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context;
use xshell::cmd;

use super::{REQUIREMENTS, Workshop};

/// For all of them.
const FLAGS: [&str; 4] = ["-std=c++17", "-lineinfo", "--expt-relaxed-constexpr", "-w"];

impl Workshop {
    /// The toolkit's folder.
    pub(super) fn toolkit(&self) -> PathBuf {
        self.environment.packages.join("nvidia/cu13")
    }

    /// Compiles sources into `ptx/PROGRAM`, and gives that folder. What the same compiler made of the same sources is
    /// kept.
    pub(super) fn ptx(
        &self,
        program: &str,
        version: &str,
        sources: &[PathBuf],
        includes: &[PathBuf],
    ) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join("ptx").join(program);
        let stamp = folder.join("made-by.txt");
        let made_by = format!("{program} {version}\n{}\n{REQUIREMENTS}", FLAGS.join(" "));
        if fs::read_to_string(&stamp).ok().as_ref() == Some(&made_by) {
            return Ok(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let nvcc = self.toolkit().join("bin/nvcc");
        let includes = &self.includes(includes);
        for source in sources {
            let name = source.file_stem().context("a source has a name")?;
            let out = folder.join(name).with_extension("ptx");
            eprintln!("compiling {program} {}", name.to_string_lossy());
            cmd!(self.shell, "{nvcc} -ptx -arch=compute_80 {FLAGS...} {includes...} -o {out} {source}")
                .quiet()
                .run()
                .with_context(|| source.display().to_string())?;
        }
        fs::write(stamp, made_by)?;
        Ok(folder)
    }

    /// Compiles and links a CUDA program.
    pub(super) fn executable(
        &self,
        sources: &[PathBuf],
        out: &Path,
        includes: &[PathBuf],
    ) -> anyhow::Result<()> {
        let toolkit = self.toolkit();
        let (nvcc, libraries) = (toolkit.join("bin/nvcc"), self.link_folder()?);
        let includes = self.includes(includes);
        cmd!(
            self.shell,
            "{nvcc} -gencode arch=compute_80,code=compute_80 -cudart shared -O1 {FLAGS...} {includes...} -L{libraries} -o {out} {sources...}"
        )
        .quiet()
        .run()
        .with_context(|| out.display().to_string())
    }

    /// Folders of headers as options, ours first.
    fn includes(&self, folders: &[PathBuf]) -> Vec<String> {
        let ours = self.ours.join("headers");
        [&ours].into_iter().chain(folders).map(|path| format!("-I{}", path.display())).collect()
    }

    /// The wheels have the runtime under its versioned name alone, and linkers look for the other.
    fn link_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join("link");
        fs::create_dir_all(&folder)?;
        for (link, file) in [("libcudart.so", "libcudart.so.13"), ("libcudadevrt.a", "libcudadevrt.a")] {
            if !folder.join(link).exists() {
                symlink(self.toolkit().join("lib").join(file), folder.join(link))?;
            }
        }
        Ok(folder)
    }
}
