//! A chat, line by line.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use super::{chat_model, run_with, text_with};

fn chat(model: &str, lines: &[&str]) -> String {
    let arguments = ["run", model, "--interactive", "--temp", "0", "-n", "6", "--ctx-size", "256"];
    text_with(&arguments, (lines.join("\n") + "\n").as_bytes())
}

#[test]
fn a_kept_conversation_goes_on_as_it_would_have() {
    let model = chat_model();
    let path = model.path().to_str().unwrap();
    let file = model.path().join("kept.json");
    let save = format!("/save {}", file.display());
    let load = format!("/load {}", file.display());
    let whole =
        chat(path, &["/system Be kind.", "/set max_tokens 9", "Hello.", "And then?", "/show history"]);
    let first =
        chat(path, &["/system Be kind.", "/set max_tokens 9", "Hello.", &save, "/bye", "not reached"]);
    let second = chat(path, &[&load, "And then?", "/show history", "/show system"]);
    assert!(whole.starts_with(&first), "{whole:?} {first:?}");
    assert_eq!(format!("{whole}Be kind.\n"), first + &second);
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["messages"][0]["content"], "Hello.");
    assert_eq!(kept["messages"][1]["role"], "assistant");
    assert_eq!(kept["settings"]["max_tokens"], 9);
}

#[test]
fn clear_forgets() {
    let model = chat_model();
    let path = model.path().to_str().unwrap();
    let fresh = chat(path, &["Hello."]);
    let cleared = chat(path, &["Something else.", "/clear", "Hello."]);
    assert!(cleared.ends_with(&fresh), "{cleared:?} {fresh:?}");
    assert_eq!(chat(path, &["Hello.", "/clear", "/show history"]), fresh);
}

#[test]
fn several_lines_are_one_message() {
    let model = chat_model();
    let path = model.path().to_str().unwrap();
    let shown = chat(path, &["\"\"\"", "one", "/two", "\"\"\"", "/show history"]);
    assert!(shown.contains("user: one\n/two\n"), "{shown}");
}

#[test]
fn a_chat_survives_mistakes() {
    let model = chat_model();
    let path = model.path().to_str().unwrap();
    let long = "word ".repeat(300);
    let lines = ["/dance", "/set temp hot", "/load /nowhere/at/all", &long, "", "/show settings", "Hello."];
    let shown = chat(path, &lines);
    assert!(shown.contains("temp                0.0\n"), "{shown}");
    assert!(shown.ends_with(&chat(path, &["Hello."])), "{shown}");
}

/// Lines of a chat and what stderr says, in a context that holds a few of them.
fn narrow(model: &str, lines: &[&str], context: &str, options: &[&str]) -> (String, String) {
    let arguments = ["run", model, "-i", "--temp", "0", "-n", "6", "--ctx-size", context];
    let output = run_with(&[&arguments, options].concat(), (lines.join("\n") + "\n").as_bytes());
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

const MANY: [&str; 10] = [
    "It was so.",
    "He said it.",
    "She was it.",
    "They were.",
    "I am he.",
    "It is.",
    "You are.",
    "We go.",
    "So be it.",
    "And now?",
];

#[test]
fn a_full_context_is_said_once() {
    let model = chat_model();
    let (_, stderr) = narrow(model.path().to_str().unwrap(), &MANY, "64", &[]);
    assert_eq!(stderr.matches("/clear starts anew").count(), 1, "{stderr}");
    assert_eq!(stderr.matches("messages were left out").count(), 1, "{stderr}");
}

#[test]
fn a_full_chat_drops_its_oldest_turns_and_says_so() {
    let model = chat_model();
    let path = model.path().to_str().unwrap();
    for options in [&["--overflow", "drop"][..], &[]] {
        let set = if options.is_empty() { "/set overflow drop" } else { "/set verbose off" };
        let lines = [&[set], &MANY[..], &["/show history"]].concat();
        let (shown, stderr) = narrow(path, &lines, "64", options);
        let history = &shown[shown.find("user: ").unwrap()..];
        assert!(history.contains("user: And now?\nassistant: "), "{shown}");
        assert!(!history.contains("user: It was so."), "{shown}");
        assert!(stderr.contains("oldest turn") && stderr.contains("dropped"), "{stderr}");
        assert!(!stderr.contains("left out"), "{stderr}");
    }
    // What does not fit alone is refused, and nothing is dropped for it.
    let long = "word ".repeat(100);
    let (shown, stderr) =
        narrow(path, &["It was so.", &long, "/show history"], "64", &["--overflow", "drop"]);
    assert!(shown.contains("user: It was so."), "{shown}");
    assert!(stderr.contains("the context 64"), "{stderr}");
}

#[test]
fn save_replaces_conversations_only() {
    let model = chat_model();
    let path = model.path().to_str().unwrap();
    let at = |name: &str| model.path().join(name);
    std::fs::write(at("precious.txt"), "precious").unwrap();
    let save = |name: &str| format!("/save {}", at(name).display());
    let lines = ["One.", &save("precious.txt"), &save("kept.json"), "Two.", &save("kept.json")];
    let (_, stderr) = narrow(path, &lines, "256", &[]);
    assert_eq!(std::fs::read(at("precious.txt")).unwrap(), b"precious");
    assert_eq!(stderr.matches("no saved conversation").count(), 1, "{stderr}");
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(at("kept.json")).unwrap()).unwrap();
    assert_eq!(kept["messages"].as_array().unwrap().len(), 4);
}

#[test]
fn an_interrupt_ends_the_answer_and_is_said_to_the_shell() {
    let model = chat_model();
    let home = tempfile::tempdir().unwrap();
    let mut child = super::program(home.path())
        .args(["run", model.path().to_str().unwrap(), "Hello.", "--ignore-eos", "--ctx-size", "20000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answer = child.stdout.take().unwrap();
    // The first words are there: the answer has begun.
    answer.read_exact(&mut [0; 8]).unwrap();
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let mut rest = Vec::new();
    answer.read_to_end(&mut rest).unwrap();
    // As shells have it: 128 and the number of SIGINT.
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(rest.ends_with(b"\n"));
    assert!(rest.len() < 40_000, "{} bytes after an interrupt", rest.len());
}
