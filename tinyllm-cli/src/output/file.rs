//! Files that are written whole or not at all.

use std::{fs::File, io::Write, path::Path};

use anyhow::Context;

/// Writes a temporary file in the same folder and renames it, so that readers find all of it or nothing.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> anyhow::Result<()> {
        // Opened here, so that no error shows the temporary name.
        let open = |path: &Path| File::options().write(true).create_new(true).open(path);
        let mut file = tempfile::Builder::new().make_in(folder, open)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().with_context(|| path.display().to_string())
}
