//! The built program, as its users and other programs meet it.
#![allow(clippy::unwrap_used, clippy::panic)] // a test ends where it fails

mod bench;
mod chat;
mod digests;
mod doctor;
mod documentation;
mod errors;
mod json;
mod messages;
mod output;
mod plan;
mod readme;
mod special_files;
mod terminal;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A small reference model without a tokenizer.
fn tiny(name: &str) -> String {
    root().join("tests/oracle/tiny").join(name).display().to_string()
}

/// The model that is part of the program, as a directory.
fn austen() -> PathBuf {
    root().join("tinyllm-cli/assets/tiny-austen")
}

/// A copy of it that has a chat template.
fn chat_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(austen()).unwrap().flatten() {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}[assistant] {% endif %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    folder
}

/// The program, with a home of its own.
fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinyllm"));
    command.env("HOME", home).env("XDG_CACHE_HOME", home.join("cache")).env_remove("HF_ENDPOINT");
    command
}

/// Runs it with `input` on stdin.
fn run_with(arguments: &[&str], input: &[u8]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut child = program(home.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that wants no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    run_with(arguments, b"")
}

/// stdout of a run that succeeds.
fn text(arguments: &[&str]) -> String {
    text_with(arguments, b"")
}

fn text_with(arguments: &[&str], input: &[u8]) -> String {
    let output = run_with(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&text(arguments)).unwrap()
}

/// stderr of a run that must end with status 2, having printed nothing on stdout.
fn refusal(arguments: &[&str], input: &[u8]) -> String {
    let output = run_with(arguments, input);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}
