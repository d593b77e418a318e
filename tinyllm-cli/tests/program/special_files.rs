//! Inputs that are no regular files are refused at once, whichever verb reads them: a pipe would be waited for, a device
//! has no end. So is a file that is too long.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{austen, chat_model, program, refusal, text_with, tiny};

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A pipe, a link to one, a folder, a device.
fn no_files(folder: &Path) -> [PathBuf; 4] {
    pipe(&folder.join("pipe"));
    std::os::unix::fs::symlink("pipe", folder.join("link")).unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    [folder.join("pipe"), folder.join("link"), folder.join("folder"), "/dev/zero".into()]
}

#[test]
fn every_input_must_be_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let messages = folder.path().join("messages.json");
    std::fs::write(&messages, "[]").unwrap();
    let messages = messages.to_str().unwrap();
    let (austen, tiny, svg) = (austen(), tiny("qwen3"), folder.path().join("out.svg"));
    let (austen, svg) = (austen.to_str().unwrap(), svg.to_str().unwrap());
    for path in no_files(folder.path()) {
        let path = path.to_str().unwrap();
        let cases: [&[&str]; 6] = [
            &["run", austen, "-f", path],
            &["template", austen, path],
            &["template", austen, messages, "--chat-template-file", path],
            &["perplexity", austen, path],
            &["perplexity", &tiny, "--ids-file", path],
            &["bench", "--from", path, "--svg", svg],
        ];
        for arguments in cases {
            let stderr = refusal(arguments, b"");
            assert!(
                stderr.contains(path) && stderr.contains("not a regular file"),
                "{arguments:?}: {stderr}"
            );
        }
    }
}

#[test]
fn a_file_is_read_up_to_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    // Without contents on the disk: what would be read are zeros.
    std::fs::File::create(&path).unwrap().set_len(257 << 20).unwrap();
    let (path, austen) = (path.to_str().unwrap(), austen());
    for arguments in [
        ["run", austen.to_str().unwrap(), "-f", path],
        ["template", austen.to_str().unwrap(), path, "--no-generation-prompt"],
        ["perplexity", austen.to_str().unwrap(), path, "--json"],
        ["bench", "--from", path, "--svg=x.svg"],
    ] {
        let stderr = refusal(&arguments, b"");
        assert!(stderr.contains(path) && stderr.contains("is longer than"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn stdin_is_read_up_to_its_limit() {
    let home = tempfile::tempdir().unwrap();
    let austen = austen();
    let output = program(home.path())
        .args(["run", austen.to_str().unwrap(), "-n", "1"])
        .stdin(Stdio::from(std::fs::File::open("/dev/zero").unwrap()))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("stdin: is longer than 67108864 bytes"), "{stderr}");
}

#[test]
fn a_companion_of_a_quantised_model_must_be_a_file() {
    for name in ["chat_template.jinja", "tokenizer_config.json", "LICENSE"] {
        let model = chat_model();
        let (path, out) = (model.path().join(name), model.path().join("out"));
        let _ = std::fs::remove_file(&path);
        pipe(&path);
        let (from, to) = (model.path().to_str().unwrap(), out.to_str().unwrap());
        let stderr = refusal(&["quantize", from, to], b"");
        assert!(stderr.contains(name), "{stderr}");
        assert!(!out.exists());
        let left = std::fs::read_dir(model.path()).unwrap().flatten();
        assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("quantize")));
    }
}

#[test]
fn a_chat_goes_on_after_a_file_or_a_line_that_is_none() {
    let model = chat_model();
    let folder = tempfile::tempdir().unwrap();
    let mut input = Vec::new();
    for path in no_files(folder.path()) {
        input.extend_from_slice(format!("/load {}\n", path.display()).as_bytes());
    }
    input.extend_from_slice(
        b"caf\xe9\n/system Be kind.\r\n/show system\n\"\"\"\nfaire\xff\n\"\"\"\n/show system",
    );
    let arguments = ["run", model.path().to_str().unwrap(), "-i", "--temp", "0", "-n", "1"];
    let shown = text_with(&arguments, &input);
    assert!(shown.starts_with("Be kind.\n"), "{shown}");
    assert!(shown.ends_with("Be kind.\n"), "{shown}");
}
