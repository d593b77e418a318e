//! Findings as annotations of GitHub Actions: workflow commands, which a step prints.

use super::finding::Finding;

/// What a command's message may not have in it.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A command's properties are separated by commas, and the last from the message by colons.
fn property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

/// A finding as a command. A file of the repository is named from its root, as GitHub wants it.
pub(super) fn annotation(finding: &Finding, root: &str) -> String {
    let level = if finding.is_note { "notice" } else { "error" };
    let source = finding.sites.first().and_then(|site| site.source(root));
    let place = source.map(|(file, line)| format!("file={},line={line},", property(file)));
    let title = format!("{}: {}", finding.check, finding.kind.replace('_', " "));
    format!("::{level} {}title={}::{}", place.unwrap_or_default(), property(&title), escaped(&finding.text))
}

#[cfg(test)]
mod tests {
    use super::{
        super::finding::tests::{LEAK, NOTE, RACE, parsed},
        *,
    };

    #[test]
    fn commands_are_written_as_github_reads_them() {
        let commands: Vec<String> =
            parsed(&[RACE, LEAK, NOTE]).iter().map(|finding| annotation(finding, "/work")).collect();
        assert_eq!(
            commands,
            [
                "::error file=dev/softmax.cu,line=12,title=racecheck%3A shared race::race in shared memory: write, at softmax",
                "::error title=leak%3A leak::leak: scratch",
                "::notice title=racecheck%3A equal stores::note: equal values",
            ]
        );
        assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
        assert_eq!(escaped("a:b,c%\r\n"), "a:b,c%25%0D%0A");
    }
}
