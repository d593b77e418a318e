//! Builds what the suite runs, into one directory.

use std::{env, fs, path::Path};

use anyhow::Context;
use xshell::{Shell, cmd};

use crate::cargo;

/// Tests that use a GPU when `TINYLLM_TEST_GPU` is set.
pub(super) struct Tests {
    pub(super) package: &'static str,
    pub(super) test: &'static str,
    /// What the names of its tests that reach the GPU begin with.
    pub(super) filter: &'static str,
    /// Whether they run under the sanitizer too: those of the emulator contain deliberate faults.
    pub(super) sanitized: bool,
}

impl Tests {
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.package, self.test)
    }
}

pub(super) const TESTS: [Tests; 4] = [
    Tests { package: "tinyllm-kernels", test: "gpu", filter: "", sanitized: true },
    Tests { package: "tinyllm-mem", test: "resources", filter: "device::", sanitized: true },
    Tests { package: "tinyllm-model", test: "devices", filter: "", sanitized: false },
    Tests { package: "tinyllm-emulator", test: "emulator", filter: "", sanitized: false },
];

/// The program.
pub(super) const PROGRAM: &str = "tinyllm";

/// The bench of the kernels, and the same operations by torch.
pub(super) const BENCH: &str = "bench";
pub(super) const PEERS: &str = "gpu.py";

const COMMIT: &str = "commit";

pub(super) fn write(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    for tests in &TESTS {
        let (package, test) = (tests.package, tests.test);
        let built = ["test", "--release", "--package", package, "--test", test, "--no-run"];
        copy(&cargo::executable(&built)?, &directory.join(tests.name()))?;
    }
    let built = ["bench", "--package", "tinyllm-kernels", "--bench", "gpu", "--no-run"];
    copy(&cargo::executable(&built)?, &directory.join(BENCH))?;
    let built = ["build", "--release", "--package", "tinyllm-cli", "--bin", PROGRAM];
    copy(&cargo::executable(&built)?, &directory.join(PROGRAM))?;
    copy(&env::current_exe()?, &directory.join("xtask"))?;
    copy(&root.join("bench/peers").join(PEERS), &directory.join(PEERS))?;
    let shell = Shell::new()?;
    shell.change_dir(root);
    let commit = cmd!(shell, "git describe --always --dirty --exclude=*").read()?;
    fs::write(directory.join(COMMIT), commit)?;
    Ok(())
}

/// What was built.
pub(super) fn commit(directory: &Path) -> anyhow::Result<String> {
    let path = directory.join(COMMIT);
    let text = fs::read_to_string(&path).with_context(|| {
        format!("{}: not a packed suite; cargo xtask gpu-suite --pack DIR makes one", path.display())
    })?;
    Ok(text.trim().to_owned())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}
