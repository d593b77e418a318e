//! `cargo xtask foreign --sources DIR`.

use std::path::Path;

use super::{Workshop, emulated::Emulated};

pub(super) fn run(_: &Workshop, _: &Emulated, _: &Path, _: &[String]) -> anyhow::Result<bool> {
    anyhow::bail!("not yet")
}
