//! Removing what was pulled: a repository, or one model of it with all its files.

use std::{collections::BTreeSet, path::Path};

use anyhow::ensure;

use super::{
    gguf_name,
    lookup::find,
    name::{Choice, HubName},
    store::{Manifest, Model, Store},
};

/// Removes a model; returns the bytes freed.
pub(super) fn remove(name: &HubName) -> anyhow::Result<u64> {
    let store = Store::of(&name.repository)?;
    let here = || ensure_here(store.folder().exists(), store.folder());
    // Before a lock leaves its file for a name that was never pulled.
    here()?;
    let _lock = store.lock()?;
    here()?;
    let Choice::Named(what) = &name.choice else { return store.remove() };
    let mut manifest = store.manifest();
    let files = files(&manifest, what);
    let partials: Vec<_> = files.iter().map(|file| store.partial(file)).collect();
    let is_known = files.iter().any(|file| is_recorded(&manifest, file))
        || partials.iter().any(|partial| partial.path().exists());
    ensure_here(is_known, &store.folder().join(what))?;
    let is_part =
        |model: &Model| model.path == Path::new(".") && model.files.iter().any(|file| files.contains(file));
    ensure!(
        !manifest.models.values().any(is_part),
        "{what}: a part of {0}; `tinyllm rm {0}` removes all of it",
        name.repository
    );
    manifest.forget(&files);
    store.write(&manifest)?;
    let freed = store.sweep(&manifest, |partial| !partials.contains(partial));
    Ok(freed + if store.is_empty() { store.remove()? } else { 0 })
}

/// The files that `what` stands for: all parts of a file, or of the GGUF with that quantisation.
fn files(manifest: &Manifest, what: &str) -> BTreeSet<String> {
    let recorded = manifest.snapshots.values().flat_map(|snapshot| snapshot.files.keys());
    let firsts: BTreeSet<String> = recorded.map(|file| gguf_name::first_part(file)).collect();
    if let Some(model) = find(manifest, &Choice::Named(what.to_owned())) {
        return model.files.iter().cloned().collect();
    }
    let names = gguf_name::models(firsts.iter().map(String::as_str));
    let file = match gguf_name::tagged(&names, what).as_slice() {
        [only] if !firsts.contains(what) => (*only).to_owned(),
        _ => what.to_owned(),
    };
    gguf_name::parts(&file).into_iter().collect()
}

fn is_recorded(manifest: &Manifest, file: &str) -> bool {
    manifest.snapshots.values().any(|snapshot| snapshot.files.contains_key(file))
}

fn ensure_here(is_here: bool, path: &Path) -> anyhow::Result<()> {
    ensure!(is_here, "{}: not here; `tinyllm list` shows what is", path.display());
    Ok(())
}
