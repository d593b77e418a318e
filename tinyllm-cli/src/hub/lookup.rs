//! Which model of a manifest a name means.

use std::path::Path;

use super::{
    gguf_name,
    name::Choice,
    store::{Manifest, Model},
};

/// The manifest's key of a model.
pub(super) fn key(choice: &Choice, path: &Path) -> String {
    match choice {
        Choice::Default => String::new(),
        Choice::Named(_) => path.to_string_lossy().into_owned(),
    }
}

/// The model that `choice` means, among those that were pulled.
pub(super) fn find<'a>(manifest: &'a Manifest, choice: &Choice) -> Option<&'a Model> {
    let Choice::Named(what) = choice else { return manifest.models.get("") };
    let by_path = |path: &str| manifest.models.values().find(|model| model.path == Path::new(path));
    by_path(&gguf_name::first_part(what)).or_else(|| {
        let paths = manifest.models.values().filter_map(|model| model.path.to_str());
        let mut found = gguf_name::tagged(&gguf_name::models(paths), what);
        found.dedup();
        if let [only] = found.as_slice() { by_path(only) } else { None }
    })
}
