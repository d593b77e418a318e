//! Installed models: those that were pulled, and the alias's file.

use std::time::SystemTime;

use super::alias;
use crate::hub;

/// An installed model.
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) is_whole: bool,
    /// When it was downloaded.
    pub(crate) pulled: Option<SystemTime>,
}

/// All installed models.
pub(crate) fn installed() -> anyhow::Result<Vec<Installed>> {
    let time = |path: &std::path::Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let of_the_hub = |model: hub::Pulled| {
        let path = hub::HubName::parse(&model.name).and_then(|name| name.local().ok().flatten());
        let pulled = path.and_then(|path| time(&path));
        Installed { name: model.name, bytes: model.bytes, is_whole: model.is_whole, pulled }
    };
    let mut models: Vec<Installed> = hub::pulled()?.into_iter().map(of_the_hub).collect();
    let path = alias::path()?;
    if let Ok(metadata) = std::fs::metadata(&path) {
        let (name, bytes) = (alias::SMOLLM2.into(), metadata.len());
        models.push(Installed { name, bytes, is_whole: true, pulled: time(&path) });
    }
    Ok(models)
}
