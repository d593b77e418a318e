//! Findings as SARIF 2.1.0 (OASIS), which code-scanning services read.

use serde_json::{Value, json};

use super::finding::Finding;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A path as a URI: what is no character of a path is written in hexadecimal digits.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' | b'+' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

fn locations(finding: &Finding, root: &str) -> Vec<Value> {
    let location = |site: &super::finding::Site| {
        let name = site.kernels.first().map_or("", String::as_str);
        let mut location =
            json!({ "logicalLocations": [{ "fullyQualifiedName": name, "kind": "function" }] });
        if let Some((file, line)) = site.source(root) {
            location["physicalLocation"] = json!({
                "artifactLocation": { "uri": uri(file) },
                "region": { "startLine": line.max(1) },
            });
        }
        location
    };
    finding.sites.iter().map(location).collect()
}

/// A log of one run. What is suppressed is there, and said to be.
pub(super) fn log(reported: &[Finding], suppressed: &[Finding], root: &str) -> Value {
    let mut rules: Vec<&str> = Vec::new();
    let mut results = Vec::new();
    let all = reported.iter().map(|finding| (finding, false));
    for (finding, is_suppressed) in all.chain(suppressed.iter().map(|finding| (finding, true))) {
        let known = rules.iter().position(|rule| *rule == finding.kind);
        let index = known.unwrap_or_else(|| {
            rules.push(&finding.kind);
            rules.len() - 1
        });
        let mut locations = locations(finding, root).into_iter();
        let mut result = json!({
            "ruleId": finding.kind,
            "ruleIndex": index,
            "level": if finding.is_note { "note" } else { "error" },
            "message": { "text": finding.text },
            // The side of a race that was seen last is where it is; the other is related to it.
            "locations": locations.next().into_iter().collect::<Vec<_>>(),
            "relatedLocations": locations.collect::<Vec<_>>(),
        });
        if is_suppressed {
            result["suppressions"] = json!([{ "kind": "external" }]);
        }
        results.push(result);
    }
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| json!({ "id": rule, "shortDescription": { "text": rule.replace('_', " ") } }))
        .collect();
    let driver = json!({
        "name": "tinyllm-emulator",
        "version": env!("CARGO_PKG_VERSION"),
        "informationUri": "https://github.com/tiny-llm/tiny-llm",
        "rules": rules,
    });
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "results": results }],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use super::{
        super::finding::tests::{LEAK, NOTE, RACE, parsed},
        *,
    };

    /// A value's field, which the schema asks for.
    fn required<'a>(value: &'a Value, name: &str) -> &'a Value {
        value.get(name).unwrap_or_else(|| panic!("{name} is required: {value}"))
    }

    fn elements<'a>(value: &'a Value, name: &str) -> &'a [Value] {
        required(value, name).as_array().unwrap()
    }

    /// What the schema of SARIF 2.1.0 requires of the objects that are used here, by its sections: sarifLog (3.13), run (3.14), tool
    /// (3.18), toolComponent (3.19), reportingDescriptor (3.49), result (3.27), message (3.11), location (3.28), physicalLocation
    /// (3.29), artifactLocation (3.4), region (3.30), logicalLocation (3.33), suppression (3.35).
    fn check(log: &Value) {
        assert_eq!(required(log, "version"), "2.1.0");
        assert!(required(log, "$schema").as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
        for run in elements(log, "runs") {
            let driver = required(required(run, "tool"), "driver");
            assert!(required(driver, "name").is_string());
            let rules = elements(driver, "rules");
            for (index, rule) in rules.iter().enumerate() {
                let id = required(rule, "id");
                assert!(rules[..index].iter().all(|other| required(other, "id") != id), "ids are unique");
            }
            for result in elements(run, "results") {
                assert!(!required(required(result, "message"), "text").as_str().unwrap().is_empty());
                assert!(
                    ["none", "note", "warning", "error"]
                        .contains(&required(result, "level").as_str().unwrap())
                );
                let rule = &rules[required(result, "ruleIndex").as_u64().unwrap() as usize];
                assert_eq!(required(rule, "id"), required(result, "ruleId"));
                for location in
                    elements(result, "locations").iter().chain(elements(result, "relatedLocations"))
                {
                    for logical in elements(location, "logicalLocations") {
                        assert!(required(logical, "fullyQualifiedName").is_string());
                    }
                    if let Some(physical) = location.get("physicalLocation") {
                        let uri = required(required(physical, "artifactLocation"), "uri").as_str().unwrap();
                        assert!(
                            uri.bytes()
                                .all(|byte| byte.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&byte))
                        );
                        assert!(required(required(physical, "region"), "startLine").as_u64().unwrap() >= 1);
                    }
                }
                for suppression in
                    result.get("suppressions").into_iter().flat_map(|all| all.as_array().unwrap())
                {
                    let kind = required(suppression, "kind").as_str().unwrap();
                    assert!(["inSource", "external"].contains(&kind));
                }
            }
        }
    }

    #[test]
    fn a_log_has_what_the_schema_requires() {
        let log = log(&parsed(&[RACE, LEAK, NOTE, NOTE]), &parsed(&[RACE]), "/work");
        check(&log);
        let at = |path: &str| log.pointer(path).unwrap().clone();
        assert_eq!(at("/runs/0/tool/driver/rules").as_array().unwrap().len(), 3);
        assert_eq!(at("/runs/0/results").as_array().unwrap().len(), 5);
        assert_eq!(at("/runs/0/results/0/level"), "error");
        let place = "/runs/0/results/0/locations/0/physicalLocation";
        assert_eq!(at(&format!("{place}/artifactLocation/uri")), "dev/softmax.cu");
        assert_eq!(at(&format!("{place}/region/startLine")), 12);
        assert_eq!(at("/runs/0/results/0/relatedLocations/0/physicalLocation/region/startLine"), 9);
        assert_eq!(at("/runs/0/results/2/level"), "note");
        assert!(log.pointer("/runs/0/results/0/suppressions").is_none());
        assert_eq!(at("/runs/0/results/4/suppressions/0/kind"), "external");
        check(&super::log(&[], &[], "/work"));
    }

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("/a b/c.cu"), "file:///a%20b/c.cu");
        assert_eq!(uri("a/ü.cu"), "a/%C3%BC.cu");
    }
}
