//! The emulated driver and the CUDA runtime as libraries, under the names for which programs look.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use crate::cargo;

/// A library: its package, what cargo calls it, and the name under which programs look for it.
struct Library {
    package: &'static str,
    file: &'static str,
    soname: &'static str,
}

/// The driver, and the runtime in its versions.
const DRIVER: Library =
    Library { package: "tinyllm-emulator-cabi", file: "libtinyllm_emulator_cuda.so", soname: "libcuda.so.1" };
const LIBRARIES: [Library; 3] = [
    DRIVER,
    Library {
        package: "tinyllm-emulator-cudart-v12",
        file: "libtinyllm_emulator_cudart_v12.so",
        soname: "libcudart.so.12",
    },
    Library {
        package: "tinyllm-emulator-cudart-v13",
        file: "libtinyllm_emulator_cudart_v13.so",
        soname: "libcudart.so.13",
    },
];

/// The driver's name that linkers follow.
const LINK: &str = "libcuda.so";

/// Builds the libraries, and puts them under the names that programs look for into a directory of their own.
pub(crate) fn libraries() -> anyhow::Result<tempfile::TempDir> {
    ensure!(cfg!(target_os = "linux"), "only programs on Linux look for {}", DRIVER.soname);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let directory = tempfile::Builder::new().prefix("tinyllm-emulate-").tempdir()?;
    let built = build(root)?;
    for library in &LIBRARIES {
        let file = built.iter().find(|path| path.ends_with(library.file));
        let file = file.with_context(|| format!("cargo built no {}", library.file))?;
        fs::copy(file, directory.path().join(library.soname))
            .with_context(|| format!("copying {}", library.file))?;
    }
    symlink(DRIVER.soname, directory.path().join(LINK))?;
    Ok(directory)
}

/// Builds the libraries: every file that cargo made.
fn build(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let manifest = root.join("Cargo.toml");
    let manifest = manifest.to_str().context("the workspace's path")?;
    let packages = LIBRARIES.iter().flat_map(|library| ["--package", library.package]);
    let arguments: Vec<&str> =
        ["build", "--release", "--manifest-path", manifest].into_iter().chain(packages).collect();
    cargo::files(&arguments)
}

/// The library search path with the directory in front.
pub(super) fn search_path(directory: &Path) -> anyhow::Result<OsString> {
    let before = env::var_os("LD_LIBRARY_PATH").filter(|path| !path.is_empty());
    let before = before.iter().flat_map(env::split_paths);
    Ok(env::join_paths([directory.to_path_buf()].into_iter().chain(before))?)
}
