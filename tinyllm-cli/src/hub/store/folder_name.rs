//! The name of a repository's folder: `org--name`, and no two the same.

use percent_encoding::percent_decode_str;

/// The folder of `org/name`. Where hyphens could be mistaken for those between the two, they are written as `%2D`.
pub(super) fn of(repository: &str) -> String {
    let is_plain = |part: &str| !part.contains("--") && !part.starts_with('-') && !part.ends_with('-');
    if repository.split('/').all(is_plain) {
        repository.replace('/', "--")
    } else {
        repository.replace('-', "%2D").replace('/', "--")
    }
}

/// The repository of a folder, if it is one's.
pub(super) fn repository(folder: &str) -> Option<String> {
    let (organisation, name) = folder.split_once("--")?;
    let repository = percent_decode_str(&format!("{organisation}/{name}")).decode_utf8().ok()?.into_owned();
    (of(&repository) == folder).then_some(repository)
}

#[cfg(test)]
mod tests {
    use super::{of, repository};

    #[test]
    fn no_two_repositories_share_a_folder() {
        let names =
            ["org/name", "a--b/c", "a/b--c", "a-/b", "a/-b", "a-b/c", "a/b-c", "a-/-b", "a/b-", "a---b/c"];
        let mut folders: Vec<String> = names.iter().map(|name| of(name)).collect();
        for (name, folder) in names.iter().zip(&folders) {
            assert_eq!(repository(folder).as_deref(), Some(*name), "{folder}");
        }
        assert_eq!(folders[0], "org--name");
        folders.sort();
        folders.dedup();
        assert_eq!(folders.len(), names.len());
        assert_eq!(repository("a--b--c"), None);
        assert_eq!(repository(".locks"), None);
    }
}
