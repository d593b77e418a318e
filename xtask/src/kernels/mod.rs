//! `cargo xtask kernels`: CUDA C++ in `tinyllm-kernels/cuda/` to the PTX in `tinyllm-kernels/ptx/` that ships, and the table of
//! each kernel's resources. `--check` regenerates both and compares.

mod occupancy;
mod resources;
mod toolchain;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use self::toolchain::Toolchain;

/// The table of the kernels' resources, in the folder of the PTX.
const TABLE: &str = "RESOURCES.md";

pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let root = root()?;
    let (sources, out) = (root.join("tinyllm-kernels/cuda"), root.join("tinyllm-kernels/ptx"));
    let toolchain = Toolchain::install(root)?;
    let made = make(&toolchain, &sources)?;
    if check {
        return compare(&made, &out);
    }
    fs::create_dir_all(&out)?;
    for stale in files(&out)?.into_iter().filter(|path| !made.contains_key(&file_name(path))) {
        fs::remove_file(stale)?;
    }
    for (name, text) in &made {
        let temporary = out.join(format!("{name}.tmp"));
        fs::write(&temporary, text)?;
        fs::rename(&temporary, out.join(name))?;
    }
    println!("{} files in {}", made.len(), out.display());
    Ok(())
}

/// Where the assembler of CUDA 12.0 is.
pub(crate) fn ptxas() -> anyhow::Result<PathBuf> {
    Ok(Toolchain::install(root()?)?.ptxas(12))
}

fn root() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")
}

/// Every file of the output folder, by name.
fn make(toolchain: &Toolchain, sources: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut made = BTreeMap::new();
    let mut table = resources::Table::default();
    let mut sources = files(sources)?;
    sources.sort();
    for source in sources.iter().filter(|path| path.extension().is_some_and(|extension| extension == "cu")) {
        let name = file_name(&source.with_extension("ptx"));
        let ptx = toolchain.compile(source)?;
        for target in &occupancy::TARGETS {
            let report = toolchain.assemble(&ptx, target)?;
            table.add(&name, target, &ptx, &report).with_context(|| format!("{name} for {}", target.name))?;
        }
        made.insert(name, ptx);
    }
    ensure!(!made.is_empty(), "no .cu file in tinyllm-kernels/cuda");
    made.insert(TABLE.into(), table.finish());
    Ok(made)
}

fn compare(made: &BTreeMap<String, String>, out: &Path) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for (name, text) in made {
        match fs::read_to_string(out.join(name)) {
            Ok(found) if found == *text => {}
            Ok(_) => problems.push(format!("{name} is not what the sources give")),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    for path in files(out)?.iter().filter(|path| !made.contains_key(&file_name(path))) {
        problems.push(format!("{} comes from no source", file_name(path)));
    }
    if problems.is_empty() {
        println!("{} files are what the sources give", made.len());
        return Ok(());
    }
    bail!("{}: run cargo xtask kernels and commit tinyllm-kernels/ptx", problems.join("; "))
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| folder.display().to_string()),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
