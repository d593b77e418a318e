//! `pull` makes good what was spoilt on the disk.

use super::{AUSTEN_FILES, Machine, austen, bytes};

#[test]
fn a_spoilt_file_is_fetched_again_whatever_its_length() {
    let machine = Machine::new(austen());
    machine.text(&["pull", "org/name"]);
    let snapshot = machine.snapshot("c0ffee");
    let mut small = austen()["config.json"].clone();
    small.fill(b'x');
    let mut large = austen()["model.safetensors"].clone();
    large[100_000] ^= 0x10;
    std::fs::write(snapshot.join("config.json"), small).unwrap();
    std::fs::write(snapshot.join("model.safetensors"), large).unwrap();
    std::fs::write(snapshot.join("tokenizer.json"), "{}").unwrap();
    std::fs::remove_file(snapshot.join("generation_config.json")).unwrap();
    machine.server.state().requests.clear();
    let output = machine.run(&["pull", "org/name"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("config.json"), "{stderr}");
    for name in AUSTEN_FILES {
        assert_eq!(std::fs::read(snapshot.join(name)).unwrap(), austen()[name], "{name}");
    }
    let state = machine.server.state();
    let mut fetched: Vec<_> = state.requests.iter().filter_map(|request| request.file()).collect();
    fetched.dedup();
    assert_eq!(fetched, ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]);
}

#[test]
fn force_fetches_all_of_it() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.text(&["pull", "org/name"]);
    machine.text(&["pull", "org/name", "--force"]);
    assert_eq!(machine.ranges("model.gguf"), [None, None]);
    assert_eq!(machine.everything(), [".tinyllm-pull.json", "snapshots/c0ffee/name/model.gguf"]);
}

#[test]
fn what_the_first_version_pulled_is_used_checked_and_superseded() {
    let machine = Machine::new(austen());
    let folder = machine.folder();
    std::fs::create_dir_all(&folder).unwrap();
    for name in AUSTEN_FILES {
        std::fs::write(folder.join(name), &austen()[name]).unwrap();
    }
    for left in [".lock", "model.gguf.part", "model.gguf.part.etag"] {
        std::fs::write(folder.join(left), "").unwrap();
    }
    let files: serde_json::Map<_, _> =
        AUSTEN_FILES.iter().map(|name| ((*name).to_owned(), austen()[*name].len().into())).collect();
    let manifest = serde_json::json!({"commit": "c0ffee", "files": files, "model": "."});
    std::fs::write(folder.join(".tinyllm-pull.json"), manifest.to_string()).unwrap();
    machine.text(&super::RUN);
    assert!(machine.server.state().requests.is_empty(), "it is whole");
    // The checksum of the largest comes from the hub, and so it stays; the others come anew.
    let path = machine.text(&["pull", "org/name"]);
    assert_eq!(path.trim(), folder.to_str().unwrap());
    assert!(machine.ranges("model.safetensors").is_empty());
    let mut expected: Vec<&str> = AUSTEN_FILES.to_vec();
    expected.insert(0, ".tinyllm-pull.json");
    assert_eq!(machine.everything(), expected);

    let mut files = austen();
    files.insert("generation_config.json".into(), b"{}".to_vec());
    machine.push("decaf", files);
    machine.text(&["pull", "org/name"]);
    assert!(machine.ranges("model.safetensors").is_empty());
    let mut expected: Vec<String> =
        AUSTEN_FILES.iter().map(|name| format!("snapshots/decaf/name/{name}")).collect();
    expected.insert(0, ".tinyllm-pull.json".into());
    assert_eq!(machine.everything(), expected);
}
