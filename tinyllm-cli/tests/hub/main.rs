//! Models from the Hugging Face hub, for which a server on this machine stands.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)] // a test ends where it fails

mod server;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use server::Server;

/// A home directory, a hub, and the program between them.
struct Machine {
    home: tempfile::TempDir,
    server: Server,
}

impl Machine {
    fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Machine { home: tempfile::tempdir().unwrap(), server: Server::start(files) }
    }

    fn with_gguf(bytes: &[u8]) -> Self {
        Self::new([("model.gguf".into(), bytes.to_vec()), ("README.md".into(), b"hello".to_vec())].into())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tinyllm"));
        command
            .args(arguments)
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env("HF_ENDPOINT", &self.server.endpoint)
            .env_remove("HF_TOKEN")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// stderr of a run that must end with status 2.
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("cache/tinyllm/hub/org--name")
    }

    /// Offsets that the second host was asked for.
    fn ranges(&self) -> Vec<Option<u64>> {
        let state = self.server.state();
        state
            .requests
            .iter()
            .filter(|request| request.host == "storage")
            .map(|request| request.range)
            .collect()
    }
}

/// The model that is part of the program.
fn austen() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-austen");
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut files: BTreeMap<String, Vec<u8>> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.insert("pytorch_model.bin".into(), vec![0; 5000]);
    files.insert("onnx/model.onnx".into(), vec![0; 5000]);
    files
}

fn bytes(seed: u8) -> Vec<u8> {
    (0..300_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

const RUN: [&str; 9] = ["run", "org/name", "It is", "--raw", "--temp", "0", "-n", "4", "--json"];

#[test]
fn a_model_is_pulled_listed_run_without_the_hub_and_removed() {
    let machine = Machine::new(austen());
    let path = machine.text(&["pull", "org/name"]);
    assert_eq!(Path::new(path.trim()), machine.folder());
    assert!(!machine.folder().join("pytorch_model.bin").exists(), "only what a LLaMA needs");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        assert_eq!(std::fs::read(machine.folder().join(name)).unwrap(), austen()[name], "{name}");
    }
    let asked = machine.server.state().requests.len();
    let answer: serde_json::Value = serde_json::from_str(&machine.text(&RUN)).unwrap();
    assert_eq!(answer["ids"].as_array().unwrap().len(), 4);
    assert_eq!(machine.server.state().requests.len(), asked, "a pulled model asks nobody");

    let list: serde_json::Value = serde_json::from_str(&machine.text(&["list", "--json"])).unwrap();
    assert_eq!(list[0]["name"], "org/name");
    assert_eq!(list[0]["complete"], true);
    assert!(machine.text(&["list"]).contains("org/name"));
    machine.text(&["rm", "org/name"]);
    assert!(!machine.folder().exists());
    assert_eq!(machine.text(&["list"]), "");
    assert!(machine.refusal(&["rm", "org/name"]).contains("org--name"));
}

#[test]
fn a_name_is_pulled_when_it_is_first_run() {
    let machine = Machine::new(austen());
    let answer: serde_json::Value = serde_json::from_str(&machine.text(&RUN)).unwrap();
    assert_eq!(answer["finish_reason"], "length");
}

#[test]
fn a_cut_connection_is_resumed() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().cut_after = Some(100_000);
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("pull again"), "{stderr}");
    assert!(!machine.folder().join("model.gguf").exists());
    assert!(machine.text(&["list"]).contains("incomplete"));
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.folder().join("model.gguf")).unwrap(), bytes(0));
    assert_eq!(machine.ranges(), [None, Some(100_000)]);
    let leftovers = std::fs::read_dir(machine.folder())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".part"));
    assert_eq!(leftovers.count(), 0);
    // Nothing is left to do.
    machine.text(&["pull", "org/name"]);
    assert_eq!(machine.ranges().len(), 2);
}

#[test]
fn parts_of_two_versions_are_never_joined() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().cut_after = Some(100_000);
    machine.refusal(&["pull", "org/name"]);
    machine.server.state().files.insert("model.gguf".into(), bytes(1));
    machine.server.state().commit = "decaf".into();
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.folder().join("model.gguf")).unwrap(), bytes(1));
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().cut_after = Some(100_000);
    machine.refusal(&["pull", "org/name"]);
    machine.server.state().ignores_ranges = true;
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.folder().join("model.gguf")).unwrap(), bytes(0));
}

#[test]
fn a_part_that_is_too_long_is_started_again() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().cut_after = Some(100_000);
    machine.refusal(&["pull", "org/name"]);
    std::fs::write(machine.folder().join("model.gguf.part"), vec![7; 400_000]).unwrap();
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.folder().join("model.gguf")).unwrap(), bytes(0));
}

#[test]
fn a_new_commit_replaces_the_old_files() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.text(&["pull", "org/name"]);
    machine.server.state().files.insert("model.gguf".into(), bytes(1));
    machine.server.state().commit = "decaf".into();
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.folder().join("model.gguf")).unwrap(), bytes(1));
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().wrong_checksum = true;
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("sha256") && stderr.contains(&server::sha256(&bytes(0))), "{stderr}");
    assert!(!machine.folder().join("model.gguf").exists());
    assert!(!machine.folder().join("model.gguf.part").exists());
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().token = Some("secret");
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("HF_TOKEN"), "{stderr}");
    let output = machine.command(&["pull", "org/name"]).env("HF_TOKEN", "secret").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let state = machine.server.state();
    let from_storage: Vec<_> = state.requests.iter().filter(|request| request.host == "storage").collect();
    assert!(!from_storage.is_empty());
    assert!(from_storage.iter().all(|request| request.authorization.is_none()));
}

#[test]
fn what_the_hub_lacks_is_named() {
    let machine = Machine::with_gguf(&bytes(0));
    assert!(machine.refusal(&["pull", "org/other"]).contains("org/other"));
    let stderr = machine.refusal(&["pull", "org/name:q8.gguf"]);
    assert!(stderr.contains("q8.gguf") && stderr.contains("model.gguf"), "{stderr}");
    assert!(machine.refusal(&["pull", "smollm2"]).contains("org/name"));
    machine.server.state().files.insert("second.gguf".into(), bytes(1));
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("org/name:FILE") && stderr.contains("second.gguf"), "{stderr}");
    machine.text(&["pull", "org/name:second.gguf"]);
    assert_eq!(std::fs::read(machine.folder().join("second.gguf")).unwrap(), bytes(1));
    machine.server.state().files.clear();
    assert!(machine.refusal(&["pull", "org/name"]).contains("no .gguf"));
}

#[test]
fn every_part_of_a_split_file_is_pulled() {
    let parts = ["q4-00001-of-00002.gguf", "q4-00002-of-00002.gguf"];
    let machine = Machine::new(parts.iter().map(|name| ((*name).to_owned(), bytes(3))).collect());
    let path = machine.text(&["pull", "org/name"]);
    assert!(path.trim().ends_with(parts[0]), "{path}");
    assert!(parts.iter().all(|part| machine.folder().join(part).exists()));
}

#[test]
fn a_listing_cannot_write_outside_or_exhaust_memory() {
    let machine = Machine::with_gguf(&bytes(0));
    let names = ["../../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf"];
    let siblings: Vec<_> = names.iter().map(|name| serde_json::json!({"rfilename": name})).collect();
    let listing = serde_json::json!({"sha": "x", "siblings": siblings}).to_string();
    machine.server.state().listing = Some(listing.into_bytes());
    assert!(machine.refusal(&["pull", "org/name"]).contains("no .gguf"));
    for (listing, word) in
        [(b"<html>".to_vec(), "JSON"), (b"{}".to_vec(), "files"), (vec![b' '; 17 << 20], "longer")]
    {
        machine.server.state().listing = Some(listing);
        let stderr = machine.refusal(&["pull", "org/name"]);
        assert!(stderr.contains(word), "{stderr}");
    }
    assert!(!machine.folder().exists());
}

#[test]
fn without_a_network_the_message_says_what_still_works() {
    let machine = Machine::with_gguf(&bytes(0));
    // A port that was free a moment ago and that nobody listens on.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = machine
        .command(&["pull", "org/name"])
        .env("HF_ENDPOINT", format!("http://{closed}"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot be reached") && stderr.contains("already pulled"), "{stderr}");
}

#[test]
fn an_unwritable_cache_is_named() {
    let machine = Machine::with_gguf(&bytes(0));
    std::fs::write(machine.home.path().join("cache"), "a file where the folder should be").unwrap();
    assert!(machine.refusal(&["pull", "org/name"]).contains("cache"));
}

#[test]
fn two_pulls_at_once_do_not_disturb_each_other() {
    let machine = Machine::new(austen());
    let children: Vec<_> = (0..3)
        .map(|_| {
            machine
                .command(&["pull", "org/name"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(
        std::fs::read(machine.folder().join("model.safetensors")).unwrap(),
        austen()["model.safetensors"]
    );
    let state = machine.server.state();
    let mut paths: Vec<_> = state.requests.iter().filter(|r| r.host == "storage").map(|r| &r.path).collect();
    let count = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), count, "each file once");
}
