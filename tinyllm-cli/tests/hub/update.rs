//! Another commit is brought beside the one that is here, and takes its place when all of it is there.

use std::os::unix::fs::MetadataExt;

use super::{
    AUSTEN_FILES, Machine, RUN, austen, bytes,
    server::{Break, Files, sha256},
};

/// The model with another configuration and other weights, the rest as it was.
fn changed() -> Files {
    let mut files = austen();
    let config = String::from_utf8(files["config.json"].clone()).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["rope_theta"] = 777.0.into();
    files.insert("config.json".into(), serde_json::to_vec(&config).unwrap());
    let weights = files.get_mut("model.safetensors").unwrap();
    let last = weights.len() - 1;
    weights[last] ^= 1;
    files
}

#[test]
fn a_new_commit_replaces_the_old_files() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.text(&["pull", "org/name"]);
    machine.push("decaf", [("model.gguf".into(), bytes(1))].into());
    let path = machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(path.trim()).unwrap(), bytes(1));
    assert_eq!(machine.everything(), [".tinyllm-pull.json", "snapshots/decaf/name/model.gguf"]);
}

#[test]
fn an_update_that_is_cut_off_leaves_the_model_as_it_was() {
    let machine = Machine::new(austen());
    machine.text(&["pull", "org/name"]);
    let before = machine.text(&RUN);
    machine.push("decaf", changed());
    machine.server.state().breaks = Some((Break::Cut, "model.safetensors".into(), 1000, 3));
    machine.refusal(&["pull", "org/name"]);
    let mut offline = machine.command(&RUN);
    offline.env("HF_ENDPOINT", "http://127.0.0.1:1");
    let ids = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["ids"].clone();
    assert_eq!(ids(&super::text_of(offline)), ids(&before));
    assert!(!machine.text(&["list"]).contains("incomplete"));
    for name in AUSTEN_FILES {
        assert_eq!(std::fs::read(machine.snapshot("c0ffee").join(name)).unwrap(), austen()[name], "{name}");
    }
    let path = machine.text(&["pull", "org/name"]);
    for name in AUSTEN_FILES {
        let found = std::fs::read(std::path::Path::new(path.trim()).join(name)).unwrap();
        assert_eq!(found, changed()[name], "{name}");
    }
    assert!(!machine.snapshot("c0ffee").exists());
}

#[test]
fn files_that_did_not_change_are_not_fetched_again() {
    for refuses_head in [false, true] {
        let machine = Machine::new(austen());
        machine.text(&["pull", "org/name"]);
        let inode = |commit: &str| {
            std::fs::metadata(machine.snapshot(commit).join("model.safetensors")).unwrap().ino()
        };
        let old = inode("c0ffee");
        let mut files = austen();
        files.insert("README.md".into(), b"new".to_vec());
        files.insert("generation_config.json".into(), b"{}".to_vec());
        machine.push("decaf", files);
        machine.server.state().requests.clear();
        machine.server.state().refuses_head = refuses_head;
        machine.text(&["pull", "org/name"]);
        let state = machine.server.state();
        let fetched: Vec<_> = state
            .requests
            .iter()
            .filter(|r| r.method == "GET")
            .filter_map(|request| request.file())
            .collect();
        if refuses_head {
            // Nobody says what changed.
            assert!(fetched.len() > 1, "{fetched:?}");
            continue;
        }
        assert_eq!(fetched, ["generation_config.json"]);
        drop(state);
        assert_eq!(inode("decaf"), old, "linked, not copied");
        assert_eq!(std::fs::read(machine.snapshot("decaf").join("generation_config.json")).unwrap(), b"{}");
        assert!(!machine.snapshot("c0ffee").exists());
    }
}

#[test]
fn a_file_that_did_not_change_but_was_spoilt_is_fetched_again() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.text(&["pull", "org/name"]);
    std::fs::write(machine.snapshot("c0ffee").join("model.gguf"), bytes(7)).unwrap();
    machine.push("decaf", [("model.gguf".into(), bytes(0))].into());
    let path = machine.text(&["pull", "org/name"]);
    assert_eq!(sha256(&std::fs::read(path.trim()).unwrap()), sha256(&bytes(0)));
}

#[test]
fn each_model_of_a_repository_stays_at_its_commit() {
    let files = |seed| -> Files {
        [("m-Q4_0.gguf".to_owned(), bytes(seed)), ("m-Q8_0.gguf".to_owned(), bytes(seed + 1))].into()
    };
    let machine = Machine::new(files(0));
    let first = machine.text(&["pull", "org/name:Q4_0"]);
    machine.push("decaf", files(2));
    let second = machine.text(&["pull", "org/name:Q8_0"]);
    assert_eq!(std::fs::read(first.trim()).unwrap(), bytes(0));
    assert_eq!(std::fs::read(second.trim()).unwrap(), bytes(3));
    let list = machine.text(&["list"]);
    assert!(list.contains("org/name:m-Q4_0.gguf") && list.contains("org/name:m-Q8_0.gguf"), "{list}");
    machine.text(&["pull", "org/name:Q4_0"]);
    let expected =
        [".tinyllm-pull.json", "snapshots/decaf/name/m-Q4_0.gguf", "snapshots/decaf/name/m-Q8_0.gguf"];
    assert_eq!(machine.everything(), expected);
}
