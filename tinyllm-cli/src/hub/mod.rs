//! Models on the Hugging Face hub.
//!
//! | what | where |
//! | --- | --- |
//! | how a model may be named | `name.rs` |
//! | the files of a repository, and which of them a model needs | `listing.rs`, `gguf_name.rs` |
//! | requests: redirects, the token, time limits, what a refusal means | `http` |
//! | one file's download | `download.rs` |
//! | the order of a pull: repair, reuse, update | `pull.rs` |
//! | which pulled model a name means | `lookup.rs` |
//! | removing | `remove.rs` |
//! | the files on disk | `store` |

mod download;
mod gguf_name;
mod hash;
mod http;
mod listing;
mod lookup;
mod name;
mod pull;
mod remove;
mod store;

use std::path::PathBuf;

use self::store::Store;
pub(crate) use self::{
    name::HubName,
    store::{Pulled, pulled},
};

impl HubName {
    /// The model's path, where it has been pulled completely.
    pub(crate) fn local(&self) -> anyhow::Result<Option<PathBuf>> {
        let store = Store::of(&self.repository)?;
        let manifest = store.manifest();
        let model = lookup::find(&manifest, &self.choice).filter(|model| {
            self.revision.as_ref().is_none_or(|wanted| model.revision == *wanted || model.commit == *wanted)
        });
        Ok(model.and_then(|model| store.whole(&manifest, model)))
    }

    /// Downloads the missing files and returns the model's path. `revision` takes precedence over the name's own; with
    /// `force` present files are downloaded again.
    pub(crate) fn pull(&self, revision: Option<&str>, force: bool) -> anyhow::Result<PathBuf> {
        pull::pull(self, revision, force)
    }

    /// Removes its files; returns the bytes freed.
    pub(crate) fn remove(&self) -> anyhow::Result<u64> {
        remove::remove(self)
    }
}
