//! Names of models on the hub, as people copy them from model pages: `org/name`, a file or a quantisation after a colon,
//! `hf.co/org/name`, and addresses of a repository or of a file.

use std::path::{Component, Path};

use percent_encoding::percent_decode_str;

/// Hosts of the public hub: before a name they say nothing more.
const HOSTS: [&str; 3] = ["huggingface.co", "www.huggingface.co", "hf.co"];

/// A model's name on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubName {
    /// `org/name`.
    pub(super) repository: String,
    /// A branch, tag or commit, where the name says one.
    pub(super) revision: Option<String>,
    pub(super) choice: Choice,
}

/// Which of a repository's models is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one that the repository's name stands for.
    Default,
    /// A file, or the quantisation in a GGUF file's name.
    Named(String),
}

impl HubName {
    /// Reads a name; `None` where it is not of these forms.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_default();
        Self::parse_for(text, &endpoint)
    }

    /// Reads a name; addresses may also be those of `endpoint`.
    fn parse_for(text: &str, endpoint: &str) -> Option<Self> {
        let cut = |text: &str| -> String { text.split(['?', '#']).next().unwrap_or_default().into() };
        let path = if text.contains("://") { cut(text) } else { text.to_owned() };
        let endpoint = endpoint.trim().trim_end_matches('/');
        if !endpoint.is_empty()
            && let Some(path) = path.strip_prefix(endpoint).and_then(|rest| rest.strip_prefix('/'))
        {
            return Self::of_address(path);
        }
        let (scheme, rest) = path.split_once("://").unwrap_or(("", &path));
        match rest.split_once('/') {
            Some((host, path)) if is_host(host) => {
                let is_web = ["", "http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
                if is_web { Self::of_address(path) } else { None }
            }
            _ => Self::of_name(text),
        }
    }

    /// What follows the hub's host: a name, or a page of it.
    fn of_address(path: &str) -> Option<Self> {
        let mut parts = path.trim_end_matches('/').splitn(3, '/');
        let (organisation, name, page) = (parts.next()?, parts.next()?, parts.next());
        let base = Self::of_name(&format!("{organisation}/{name}"))?;
        let Some(page) = page else { return Some(base) };
        let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        let (kind, rest) = page.split_once('/')?;
        let (revision, file) = match rest.split_once('/') {
            Some((revision, file)) => (decode(revision)?, Some(decode(file)?)),
            None => (decode(rest)?, None),
        };
        let choice = match (kind, file) {
            ("tree", None) => base.choice,
            ("blob" | "resolve" | "raw", Some(file)) if is_safe(&file) => Choice::Named(file),
            _ => return None,
        };
        (!revision.is_empty()).then_some(HubName { revision: Some(revision), choice, ..base })
    }

    /// `org/name`, `org/name:what`.
    fn of_name(text: &str) -> Option<Self> {
        let (repository, what) = match text.split_once(':') {
            Some((repository, what)) => (repository, Some(what)),
            None => (text, None),
        };
        let choice = match what {
            None => Choice::Default,
            // What ollama appends where nothing is said.
            Some(what) if what.eq_ignore_ascii_case("latest") => Choice::Default,
            Some(what) if is_safe(what) => Choice::Named(what.to_owned()),
            Some(_) => return None,
        };
        let (organisation, name) = repository.split_once('/')?;
        (is_sound(organisation) && is_sound(name)).then(|| HubName {
            repository: repository.to_owned(),
            revision: None,
            choice,
        })
    }
}

fn is_host(text: &str) -> bool {
    HOSTS.iter().any(|host| text.eq_ignore_ascii_case(host))
}

/// Whether this can be an organisation's or a repository's name.
fn is_sound(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether a file name of the hub stays inside the model's folder.
pub(super) fn is_safe(name: &str) -> bool {
    let path = Path::new(name);
    !name.is_empty()
        && !name.contains(['\\', '\0'])
        && path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::{Choice, HubName};

    fn parts(text: &str) -> Option<(String, Option<String>, Option<String>)> {
        let name = HubName::parse_for(text, "http://127.0.0.1:81/hub/")?;
        let what = match name.choice {
            Choice::Default => None,
            Choice::Named(what) => Some(what),
        };
        Some((name.repository, name.revision, what))
    }

    #[test]
    fn every_form_of_a_name_is_read() {
        for (text, revision, what) in [
            ("org/name", None, None),
            ("org/name:latest", None, None),
            ("org/name:q4.gguf", None, Some("q4.gguf")),
            ("org/name:Q4_K_M", None, Some("Q4_K_M")),
            ("hf.co/org/name", None, None),
            ("hf.co/org/name:Q4_K_M", None, Some("Q4_K_M")),
            ("huggingface.co/org/name:latest", None, None),
            ("https://huggingface.co/org/name", None, None),
            ("https://huggingface.co/org/name/", None, None),
            ("HTTPS://HuggingFace.co/org/name?library=x#y", None, None),
            ("http://127.0.0.1:81/hub/org/name/blob/main/q.gguf", Some("main"), Some("q.gguf")),
            ("org/name:a#b?.gguf", None, Some("a#b?.gguf")),
            ("hf.co/org/name:a#b?.gguf", None, Some("a#b?.gguf")),
            ("https://huggingface.co/org/name/tree/v1", Some("v1"), None),
            ("https://huggingface.co/org/name/blob/main/a%20b/q%23.gguf", Some("main"), Some("a b/q#.gguf")),
            (
                "https://hf.co/org/name/resolve/refs%2Fpr%2F1/q.gguf?download=true",
                Some("refs/pr/1"),
                Some("q.gguf"),
            ),
        ] {
            let expected = ("org/name".to_owned(), revision.map(String::from), what.map(String::from));
            assert_eq!(parts(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn names_that_leave_the_folder_and_other_addresses_are_refused() {
        for bad in [
            "name",
            "../x",
            "org/..",
            "org/name:",
            "org/name:../x",
            "org/name:/etc/passwd",
            "a/b/c",
            "org/na me",
            "hf.co/name",
            "https://huggingface.co/datasets/org/name",
            "https://huggingface.co/org/name/blob/main/..%2Fx.gguf",
            "https://huggingface.co/org/name/discussions/1",
            "https://example.com/org/name",
            "ftp://huggingface.co/org/name",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
