//! Private Python environments under the target folder, made from requirements with hashes. Nothing of them is
//! installed anywhere else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use xshell::{Shell, cmd};

/// The target folder, as an absolute path.
pub(crate) fn target(root: &Path) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(std::path::absolute(target)?)
}

/// An environment.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Its interpreter.
    pub(crate) python: PathBuf,
    /// Where the wheels put their files.
    pub(crate) packages: PathBuf,
}

impl Environment {
    /// Makes the environment of that name, or uses the one made before from the same requirements.
    pub(crate) fn install(
        shell: &Shell,
        root: &Path,
        name: &str,
        requirements: &str,
    ) -> anyhow::Result<Self> {
        let environment = target(root)?.join(name);
        let python = environment.join("bin/python");
        let stamp = environment.join("requirements.txt");
        if fs::read_to_string(&stamp).ok().as_deref() != Some(requirements) {
            if environment.exists() {
                fs::remove_dir_all(&environment)?;
            }
            eprintln!("installing the compiler in {}", environment.display());
            cmd!(shell, "python3 -m venv {environment}")
                .quiet()
                .run()
                .context("the compiler comes as Python packages: python3 with venv is needed")?;
            let wanted = environment.join("wanted.txt");
            fs::write(&wanted, requirements)?;
            cmd!(
                shell,
                "{python} -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r {wanted}"
            )
            .quiet()
            .run()
            .context("the packages for Linux on x86-64 could not be had from PyPI")?;
            fs::rename(wanted, stamp)?;
        }
        let find = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
        let packages = PathBuf::from(cmd!(shell, "{python} -c {find}").quiet().read()?);
        Ok(Environment { python, packages })
    }
}
