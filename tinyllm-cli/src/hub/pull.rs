//! The order of a pull: intact files stay, unchanged files are linked from the previous snapshot, the rest is
//! downloaded; the manifest names the new commit only when all of its files are complete.

use std::{fs, path::Path, path::PathBuf};

use anyhow::Context;

use super::{
    download, hash,
    http::{self, Client, encode_path},
    listing::Listing,
    lookup::key,
    name::HubName,
    store::{FileRecord, Manifest, Model, Store},
};

/// Downloads the missing files of a model and returns its path.
pub(super) fn pull(name: &HubName, revision: Option<&str>, force: bool) -> anyhow::Result<PathBuf> {
    let client = Client::from_environment()?;
    let revision = revision.or(name.revision.as_deref()).unwrap_or("main");
    let listing = Listing::fetch(&client, &name.repository, revision)?;
    let selection = listing.select(&name.choice)?;
    let store = Store::of(&name.repository)?;
    let _lock = store.lock()?;
    let manifest = store.manifest();
    let mut pull =
        Pull { repository: &name.repository, commit: &listing.commit, client, store, manifest, force };
    for file in &selection.files {
        pull.ensure(file)?;
    }
    let Pull { store, mut manifest, .. } = pull;
    let key = key(&name.choice, &selection.path);
    let model = Model {
        revision: revision.to_owned(),
        commit: listing.commit.clone(),
        path: selection.path,
        files: selection.files,
    };
    manifest.complete(&key, &model);
    manifest.prune(&listing.commit);
    store.write(&manifest)?;
    let wanted: Vec<_> = listing.names().map(|file| store.partial(file)).collect();
    store.sweep(&manifest, |partial| wanted.contains(partial));
    store
        .whole(&manifest, &model)
        .with_context(|| format!("{}: changed while it was pulled", store.folder().display()))
}

/// One pull: all its files are those of one commit.
struct Pull<'a> {
    repository: &'a str,
    commit: &'a str,
    client: Client,
    store: Store,
    manifest: Manifest,
    /// Whether files that are present are downloaded again.
    force: bool,
}

impl Pull<'_> {
    /// Makes a file present: kept, linked or downloaded.
    fn ensure(&mut self, file: &str) -> anyhow::Result<()> {
        let url_path = format!("/{}/resolve/{}/{}", self.repository, self.commit, encode_path(file));
        let path = self.store.place(&mut self.manifest, self.commit, file)?;
        let partial = self.store.partial(file);
        if self.force {
            partial.remove();
        }
        let found = if self.force { None } else { self.intact(&url_path, file, &path)? };
        let record = match found {
            Some(record) => record,
            None => download::fetch(&self.client, &url_path, &partial, &path)?,
        };
        if let Some(snapshot) = self.manifest.snapshots.get_mut(self.commit) {
            snapshot.files.insert(file.to_owned(), record);
        }
        self.store.write(&self.manifest)
    }

    /// The file's record if it is intact, or another commit's copy is and could be linked.
    fn intact(&self, url_path: &str, file: &str, path: &Path) -> anyhow::Result<Option<FileRecord>> {
        let here = self.manifest.snapshots.get(self.commit).and_then(|snapshot| snapshot.files.get(file));
        if let Some(record) = here {
            let is_known = record.sha256.is_some();
            if let Some(record) =
                self.check(path, record, || if is_known { Ok(None) } else { self.client.version(url_path) })?
            {
                return Ok(Some(record));
            }
            if is_known {
                crate::output::note(&format!("{}: not as it was pulled; fetching it again", path.display()));
            }
            return Ok(None);
        }
        for (other, record) in self.store.others(&self.manifest, self.commit, file) {
            let version = self.client.version(url_path)?;
            let is_same = record.etag.is_none() || record.etag == version;
            if let Some(record) =
                self.check(&other, record, || Ok(version)).map(|record| record.filter(|_| is_same))?
            {
                link(&other, path)?;
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The record of the file at `path` if it matches the record's checksum, or without one the hub's.
    fn check(
        &self,
        path: &Path,
        record: &FileRecord,
        version: impl FnOnce() -> anyhow::Result<Option<String>>,
    ) -> anyhow::Result<Option<FileRecord>> {
        if fs::metadata(path).map_or(true, |metadata| metadata.len() != record.bytes) {
            return Ok(None);
        }
        let version = version()?;
        let hub_says = || version.as_deref().and_then(http::sha256);
        let Some(expected) = record.sha256.as_deref().or_else(hub_says) else { return Ok(None) };
        let found = hash::sha256(path)?;
        Ok((found == expected).then(|| FileRecord {
            bytes: record.bytes,
            etag: version.clone().or_else(|| record.etag.clone()),
            sha256: Some(found),
        }))
    }
}

/// Hard-links a file, or copies it where that is not possible.
fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    let name = || to.display().to_string();
    if to.exists() {
        // A process that was killed had no time to note it.
        fs::remove_file(to).with_context(name)?;
    }
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(name)?;
    }
    Ok(())
}
