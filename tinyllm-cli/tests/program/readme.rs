//! README's commands, run as they are written.

use super::{chat_model, program, root};

/// The lines of README's shell blocks.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut commands = Vec::new();
    let mut is_shell = false;
    for line in readme.lines() {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            _ if is_shell && !line.starts_with('#') && !line.is_empty() => commands.push(line.to_owned()),
            _ => {}
        }
    }
    commands
}

/// The words of a command line.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = false;
    for character in line.chars() {
        match character {
            '"' => quote = !quote,
            ' ' if !quote => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words
}

/// Each command of the program is run with a small model in the place of the one it names; the others must be cargo's,
/// which other checks run.
#[test]
fn every_command_works() {
    let model = chat_model();
    let home = tempfile::tempdir().unwrap();
    let commands = commands();
    assert!(commands.len() >= 2, "README names no commands");
    let mut ran = 0;
    for command in &commands {
        let words = words(command);
        let arguments = if words[0] == "tinyllm" {
            &words[1..]
        } else {
            match command.strip_prefix("cargo run --release -- ") {
                Some(_) => &words[4..],
                None => {
                    assert_eq!(words[0], "cargo", "{command}");
                    continue;
                }
            }
        };
        let is_model = |word: &String| word == "smollm2" || word.contains("SmolLM2");
        let arguments: Vec<String> = arguments
            .iter()
            .map(|word| if is_model(word) { model.path().display().to_string() } else { word.clone() })
            .collect();
        let limit: &[&str] = if arguments[0] == "run" { &["-n", "4"] } else { &[] };
        let output = program(home.path())
            .args(&arguments)
            .args(limit)
            .current_dir(home.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{command} prints nothing");
        ran += 1;
    }
    assert!(ran >= 1);
}
