//! What an answer's headers say of the bytes that follow.

use anyhow::{Context, bail};
use ureq::http::HeaderMap;

/// A header's text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An etag without quotes and without the mark of weak ones.
pub(super) fn etag(text: &str) -> String {
    text.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase()
}

/// The checksum that an etag is, for files that the hub keeps by their sha256.
pub(in crate::hub) fn sha256(etag: &str) -> Option<&str> {
    (etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(etag)
}

/// Which bytes of a file follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Extent {
    /// Where the body begins in the file.
    pub(in crate::hub) first_byte: u64,
    /// Bytes of the body, where the server says.
    pub(in crate::hub) body_bytes: Option<u64>,
    /// Whether the body's own framing tells its end from a broken connection.
    pub(in crate::hub) has_end: bool,
}

impl Extent {
    /// Reads the headers of a status 200.
    pub(super) fn whole(headers: &HeaderMap) -> anyhow::Result<Self> {
        let body_bytes = content_length(headers)?;
        let is_chunked = header(headers, "transfer-encoding")
            .is_some_and(|text| text.to_ascii_lowercase().contains("chunked"));
        Ok(Extent { first_byte: 0, body_bytes, has_end: is_chunked || body_bytes.is_some() })
    }

    /// Reads the headers of a status 206 to a request for the bytes from `from` to the end.
    pub(super) fn part(headers: &HeaderMap, from: u64) -> anyhow::Result<Self> {
        if from == 0 {
            bail!("a part (206) where all of it was asked for");
        }
        let text = header(headers, "content-range").context("a part (206) that says not which")?;
        let (first_byte, last_byte, total) =
            content_range(text).with_context(|| format!("Content-Range: {text}: not understood"))?;
        if total.is_some_and(|total| last_byte.checked_add(1) != Some(total)) || last_byte < first_byte {
            bail!("Content-Range: {text}: not up to the end of the file, as was asked for");
        }
        let body_bytes = last_byte - first_byte + 1;
        if content_length(headers)?.is_some_and(|length| length != body_bytes) {
            bail!("Content-Range: {text}, but another Content-Length");
        }
        Ok(Extent { first_byte, body_bytes: Some(body_bytes), has_end: true })
    }

    /// Reads the headers of a status 416 to the same request: that there is nothing more, where they say so.
    pub(super) fn nothing(headers: &HeaderMap, from: u64) -> Option<Self> {
        let total = header(headers, "content-range")?.trim().strip_prefix("bytes */")?.parse::<u64>().ok()?;
        (total == from).then_some(Extent { first_byte: from, body_bytes: Some(0), has_end: true })
    }

    /// Compares with the file's length, where another header says it.
    pub(super) fn of_file(self, file_bytes: Option<u64>) -> anyhow::Result<Self> {
        let here = self.body_bytes.map(|bytes| self.first_byte.saturating_add(bytes));
        if let (Some(here), Some(whole)) = (here, file_bytes)
            && here != whole
        {
            bail!("the answer ends at byte {here} of the {whole} that the hub says");
        }
        Ok(self)
    }
}

/// The body's length; none where it is compressed, of which the length says nothing.
fn content_length(headers: &HeaderMap) -> anyhow::Result<Option<u64>> {
    if header(headers, "content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Ok(None);
    }
    header(headers, "content-length")
        .map(|text| text.trim().parse().with_context(|| format!("Content-Length: {text}: not a number")))
        .transpose()
}

/// First and last byte and, where it is said, the file's length, of `bytes 7-9/10`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderMap, HeaderName, HeaderValue};

    use super::Extent;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_part_must_be_the_one_that_was_asked_for() {
        let part = |range, length, from| {
            Extent::part(&headers(&[("content-range", range), ("content-length", length)]), from)
        };
        let extent = part("bytes 7-9/10", "3", 7).ok();
        assert_eq!(extent, Some(Extent { first_byte: 7, body_bytes: Some(3), has_end: true }));
        for (range, length, from) in [
            ("bytes 7-9/10", "3", 0),
            ("bytes 7-8/10", "2", 7),
            ("bytes 7-9/10", "2", 7),
            ("bytes 9-7/8", "3", 7),
            ("bytes 7-18446744073709551615/18446744073709551615", "3", 7),
            ("bytes */10", "3", 7),
            ("7-9/10", "3", 7),
        ] {
            assert!(part(range, length, from).is_err(), "{range}");
        }
        assert!(Extent::part(&headers(&[("content-length", "3")]), 7).is_err());
        assert!(
            extent
                .is_some_and(|extent| extent.of_file(Some(10)).is_ok() && extent.of_file(Some(11)).is_err())
        );
        let nothing = |range| Extent::nothing(&headers(&[("content-range", range)]), 10);
        assert_eq!(nothing("bytes */10").and_then(|extent| extent.body_bytes), Some(0));
        assert_eq!(nothing("bytes */9"), None);
    }

    #[test]
    fn a_length_is_a_number_and_not_that_of_a_compressed_body() {
        let whole = |pairs: &[(&'static str, &'static str)]| Extent::whole(&headers(pairs));
        assert!(whole(&[("content-length", "x")]).is_err());
        let compressed = whole(&[("content-length", "3"), ("content-encoding", "gzip")]).ok();
        assert_eq!(compressed, Some(Extent { first_byte: 0, body_bytes: None, has_end: false }));
        let chunked = whole(&[("transfer-encoding", "chunked")]).ok();
        assert_eq!(chunked, Some(Extent { first_byte: 0, body_bytes: None, has_end: true }));
    }
}
