//! What a user gets wrong ends with status 2 and one clear message.

use std::path::Path;

use super::{austen, refusal, run_with, tiny};

/// Runs that are refused, with a word of the message.
#[test]
fn every_mistake_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(folder.path().join("empty.txt"), "").unwrap();
    std::fs::write(folder.path().join("latin1.txt"), b"caf\xe9").unwrap();
    std::fs::write(folder.path().join("alone.safetensors"), b"").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "hello").unwrap();
    let austen = austen();
    let austen = austen.to_str().unwrap();
    let tiny = tiny("qwen3");
    let long = "word ".repeat(200);
    let (empty, latin1, alone, notes, missing) =
        (at("empty.txt"), at("latin1.txt"), at("alone.safetensors"), at("notes.txt"), at("missing"));
    let cases: &[(&[&str], &str)] = &[
        (&["run", austen, ""], "prompt is empty"),
        (&["run", austen], "prompt is empty"),
        (&["run", austen, "-f", &empty], "empty.txt"),
        (&["run", austen, "-f", &latin1], "latin1.txt"),
        (&["run", austen, "-f", &missing], "missing"),
        (&["run", austen, &long, "--ctx-size", "32"], "--ctx-size"),
        (&["run", austen, "hi", "--weights", "int3"], "w8a16"),
        (&["run", austen, "hi", "--group-size", "48"], "channel"),
        (&["run", austen, "hi", "--temp", "-1"], "temperature"),
        (&["run", austen, "hi", "--threads", "0"], "--threads"),
        (&["run", austen, "hi", "--colour"], "--colour"),
        (&["run", &missing, "hi"], "missing"),
        (&["run", &alone, "hi"], "config.json"),
        (&["run", &notes, "hi"], "notes.txt"),
        (&["run", &tiny, "hi"], "tokenizer.json"),
        (&["run", &tiny, "--ids", "1,999999"], "999999"),
        (&["run", &tiny, "--ids", "1,x"], "x"),
        (&["logits", &tiny, "--ids", ""], "ids"),
        (&["logits", &missing, "--ids", "1"], "missing"),
        (&["template", austen, &missing], "missing"),
        (&["template", austen, &notes], "notes.txt"),
        (&["perplexity", austen, &empty], "empty.txt"),
        (&["detokenize", austen, "--ids", "4000000"], "4000000"),
        (&["quantize", &missing, &at("out")], "missing"),
        (&["completions", "tcsh"], "tcsh"),
        (&["sing"], "sing"),
    ];
    for (arguments, word) in cases {
        let stderr = refusal(arguments, b"");
        assert!(stderr.contains(word), "{arguments:?} says: {stderr}");
    }
}

/// A weight that is no number, in a file that is well-formed.
#[test]
fn a_cause_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny("qwen3");
    for file in ["config.json", "model.safetensors"] {
        let mut bytes = std::fs::read(Path::new(&model).join(file)).unwrap();
        if file == "model.safetensors" {
            // The last element of the last tensor.
            let end = bytes.len();
            bytes[end - 4..].fill(0xff);
        }
        std::fs::write(folder.path().join(file), bytes).unwrap();
    }
    let stderr = refusal(&["logits", folder.path().to_str().unwrap(), "--ids", "1"], b"");
    assert_eq!(stderr.matches("must be finite").count(), 1, "{stderr}");
    assert_eq!(stderr.matches(folder.path().to_str().unwrap()).count(), 1, "{stderr}");
}

#[test]
fn the_cpu_variable_must_name_an_instruction_set() {
    let home = tempfile::tempdir().unwrap();
    let mut program = super::program(home.path());
    let output = program
        .args(["run", austen().to_str().unwrap(), "hi"])
        .env("TINYLLM_CPU", "sse9")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("sse9"));
}

#[test]
fn quantize_leaves_nothing_behind_where_the_disk_is_full() {
    // A limit on the size of files stands for the disk; the shell ignores the signal that comes with it.
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let script = format!(
        "trap '' XFSZ; ulimit -f 64; exec {} quantize {} {}",
        env!("CARGO_BIN_EXE_tinyllm"),
        austen().display(),
        out.display()
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(&format!("{}/model.safetensors", out.display())), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{stderr}");
}

#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let output = super::program(home.path())
        .args(["tokenize", austen().to_str().unwrap(), "hi"])
        .stdout(std::fs::File::options().write(true).open(full).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.is_empty());
}

#[test]
fn a_reader_that_goes_away_is_success() {
    let script = format!(
        "{} show {} | true; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_tinyllm"),
        austen().display()
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let help = run_with(&["--help"], b"");
    assert!(help.status.success());
}
