//! Models on the Hugging Face hub.
//!
//! | what | where |
//! | --- | --- |
//! | how a model may be named | `name.rs` |
//! | the files of a repository, and which of them a model needs | `listing.rs`, `gguf_name.rs` |
//! | requests: redirects, the token, time limits, what a refusal means | `http` |
//! | one file's download | `download.rs` |
//! | the order of a pull: repair, reuse, update | `pull.rs` |
//! | removing | `remove.rs` |
//! | what lies on the disk | `store` |

mod download;
mod gguf_name;
mod hash;
mod http;
mod listing;
mod name;
mod pull;
mod remove;
mod store;

use std::path::{Path, PathBuf};

use anyhow::Context;
use etcetera::BaseStrategy;

use self::{
    name::Choice,
    store::{Manifest, Model, Store},
};
pub(crate) use self::{
    name::HubName,
    store::{Pulled, pulled},
};

/// The program's folder in the user's cache directory.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let base = etcetera::choose_base_strategy().context("no home directory to keep models in")?;
    Ok(base.cache_dir().join("tinyllm"))
}

impl HubName {
    /// The model's path, where all of it has been pulled.
    pub(crate) fn local(&self) -> anyhow::Result<Option<PathBuf>> {
        let store = Store::of(&self.repository)?;
        let manifest = store.manifest();
        let model = find(&manifest, &self.choice).filter(|model| {
            self.revision.as_ref().is_none_or(|wanted| model.revision == *wanted || model.commit == *wanted)
        });
        Ok(model.and_then(|model| store.whole(&manifest, model)))
    }

    /// Downloads what is not there yet and returns the model's path. `revision` stands before the name's own; `force`
    /// downloads what is there too.
    pub(crate) fn pull(&self, revision: Option<&str>, force: bool) -> anyhow::Result<PathBuf> {
        pull::pull(self, revision, force)
    }

    /// Removes what was pulled of it; returns the bytes freed.
    pub(crate) fn remove(&self) -> anyhow::Result<u64> {
        remove::remove(self)
    }
}

/// What the manifest calls a model.
fn key(choice: &Choice, path: &Path) -> String {
    match choice {
        Choice::Default => String::new(),
        Choice::Named(_) => path.to_string_lossy().into_owned(),
    }
}

/// The model that is meant, among those that were pulled.
fn find<'a>(manifest: &'a Manifest, choice: &Choice) -> Option<&'a Model> {
    let Choice::Named(what) = choice else { return manifest.models.get("") };
    let by_path = |path: &str| manifest.models.values().find(|model| model.path == Path::new(path));
    by_path(&gguf_name::first_part(what)).or_else(|| {
        let paths = manifest.models.values().filter_map(|model| model.path.to_str());
        let mut found = gguf_name::tagged(&gguf_name::models(paths), what);
        found.dedup();
        if let [only] = found.as_slice() { by_path(only) } else { None }
    })
}
