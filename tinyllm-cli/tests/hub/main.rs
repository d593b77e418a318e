//! Models from the Hugging Face hub, for which a server on this machine stands.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)] // a test ends where it fails

mod cache;
mod connection;
mod kills;
mod names;
mod pull;
mod refusals;
mod removal;
mod repair;
mod server;
mod update;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use server::{Files, Server};

/// A home directory, a hub, and the program between them.
struct Machine {
    home: tempfile::TempDir,
    server: Server,
}

impl Machine {
    fn new(files: Files) -> Self {
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
            .env_remove("HF_HUB_DOWNLOAD_TIMEOUT")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        text_of(self.command(arguments))
    }

    /// stderr of a run that must end with status 2.
    fn refusal(&self, arguments: &[&str]) -> String {
        refusal_of(self.command(arguments))
    }

    /// The folder of the repository.
    fn folder(&self) -> PathBuf {
        self.home.path().join("cache/tinyllm/hub/org--name")
    }

    /// The folder of a commit's files.
    fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit).join("name")
    }

    fn push(&self, commit: &str, files: Files) {
        self.server.state().repositories.get_mut("org/name").unwrap().push(commit, files);
    }

    fn change(&self, file: &str, bytes: Option<Vec<u8>>) {
        let mut state = self.server.state();
        let files = state.repositories.get_mut("org/name").unwrap().files();
        match bytes {
            Some(bytes) => files.insert(file.into(), bytes),
            None => files.remove(file),
        };
    }

    /// Where the bodies of a file's requests began, at the host that sends them.
    fn ranges(&self, file: &str) -> Vec<Option<u64>> {
        let is_body = |request: &&server::Request| {
            request.method == "GET" && request.file().as_deref() == Some(file) && request.host == "storage"
        };
        self.server.state().requests.iter().filter(is_body).map(|request| request.range).collect()
    }

    /// Everything in the repository's folder, by its path there, in order.
    fn everything(&self) -> Vec<String> {
        let mut names = Vec::new();
        walk(&self.folder(), &self.folder(), &mut names);
        names.sort();
        names
    }
}

fn walk(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(root, &path, names);
        } else {
            names.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

fn text_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refusal_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{command:?}: {stderr}");
    assert!(output.stdout.is_empty() && !stderr.contains("panicked"), "{stderr}");
    stderr
}

/// The model that is part of the program.
fn austen() -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-austen");
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut files: Files = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.insert("pytorch_model.bin".into(), vec![0; 5000]);
    files.insert("onnx/model.onnx".into(), vec![0; 5000]);
    files
}

/// The files of it that a LLaMA needs.
const AUSTEN_FILES: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

fn bytes(seed: u8) -> Vec<u8> {
    (0..300_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

const RUN: [&str; 9] = ["run", "org/name", "It is", "--raw", "--temp", "0", "-n", "4", "--json"];
