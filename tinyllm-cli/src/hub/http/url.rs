//! URLs: percent-encoding of names, and targets of redirects.

use anyhow::{Context, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;

/// What a segment of a path keeps as it is (RFC 3986, unreserved).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as one segment of a path: a branch with a slash stays one.
pub(in crate::hub) fn encode_segment(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A file's name as segments of a path.
pub(in crate::hub) fn encode_path(text: &str) -> String {
    text.split('/').map(encode_segment).collect::<Vec<_>>().join("/")
}

/// Scheme, host and port: the token is sent only to the same origin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Of an address, which must be one of the web.
    pub(super) fn of(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url}: not a URL"))?;
        let default_port = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("https") => 443,
            Some("http") => 80,
            _ => bail!("{url}: not a URL that begins with https:// or http://"),
        };
        let host = uri.host().filter(|host| !host.is_empty()).with_context(|| format!("{url}: no host"))?;
        Ok(Origin {
            scheme: uri.scheme_str().unwrap_or_default().to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default_port),
        })
    }
}

/// Where `location` leads from `url`.
pub(super) fn follow(url: &str, location: &str) -> anyhow::Result<String> {
    if location.contains("://") {
        return Ok(location.to_owned());
    }
    let (scheme, rest) = url.split_once("://").with_context(|| format!("{url}: not a URL"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok(if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        format!("{scheme}://{host}/{folder}{location}")
    })
}

#[cfg(test)]
mod tests {
    use super::{Origin, encode_path, encode_segment, follow};

    #[test]
    fn names_are_encoded_as_rfc_3986_says() {
        assert_eq!(encode_path("my model/a#b?c%20+é.gguf"), "my%20model/a%23b%3Fc%2520%2B%C3%A9.gguf");
        assert_eq!(encode_segment("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(encode_path("a-b_c.d~e"), "a-b_c.d~e");
    }

    #[test]
    fn redirects_lead_where_rfc_3986_says() {
        let from = "https://hub:8/a/b/c?d=e/f";
        for (location, expected) in [
            ("http://other/x", "http://other/x"),
            ("//other/x", "https://other/x"),
            ("/x/y", "https://hub:8/x/y"),
            ("x", "https://hub:8/a/b/x"),
        ] {
            assert_eq!(follow(from, location).ok().as_deref(), Some(expected));
        }
        assert_eq!(follow("http://hub", "x").ok().as_deref(), Some("http://hub/x"));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |url| Origin::of(url).ok();
        assert_eq!(origin("https://Hub/a"), origin("https://hub:443/b"));
        assert_ne!(origin("https://hub/a"), origin("http://hub/a"));
        assert_ne!(origin("https://hub:443/a"), origin("http://hub:443/a"));
        assert_ne!(origin("https://hub/a"), origin("https://hub.evil/a"));
        for bad in ["ftp://hub/a", "hub/a", "https:///a", "file:///etc/passwd"] {
            assert!(origin(bad).is_none(), "{bad}");
        }
    }
}
