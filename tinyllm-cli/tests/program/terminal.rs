//! A chat on a terminal: what is typed while it answers, or pasted plainly, is read.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use super::{chat_model, program};

/// How long a program may say nothing before a test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program on a terminal of its own.
struct Terminal {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn run(home: &Path, arguments: &[&str]) -> Self {
        let pty = nix::pty::openpty(None, None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = program(home)
            .args(arguments)
            .env("TERM", "xterm")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        drop(pty.slave);
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // At the end Linux says EIO.
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keys, shown, seen: String::new() }
    }

    fn type_keys(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// Reads until `text` has been shown since the last call; returns what was.
    fn until(&mut self, text: &str) -> String {
        self.until_any(&[text])
    }

    /// The same for the first of several texts.
    fn until_any(&mut self, texts: &[&str]) -> String {
        loop {
            let ends = texts.iter().filter_map(|text| Some(self.seen.find(text)? + text.len()));
            if let Some(end) = ends.min() {
                let rest = self.seen.split_off(end);
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.shown.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("none of {texts:?} was shown after {:?}", self.seen),
            }
        }
    }

    /// Everything until the program ends well.
    fn rest(mut self) -> String {
        while let Ok(bytes) = self.shown.recv_timeout(PATIENCE) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        assert!(self.child.wait().unwrap().success(), "{}", self.seen);
        self.seen
    }
}

fn chat(home: &Path, model: &Path, options: &[&str]) -> Terminal {
    let mut terminal = Terminal::run(
        home,
        &[&["run", model.to_str().unwrap(), "--temp", "0", "--ctx-size", "512"], options].concat(),
    );
    terminal.until(">>> ");
    terminal
}

#[test]
fn every_pasted_line_is_answered() {
    let (home, model) = (tempfile::tempdir().unwrap(), chat_model());
    let mut terminal = chat(home.path(), model.path(), &["-n", "4"]);
    // As terminals without bracketed paste send it.
    terminal.type_keys(b"One.\rTwo.\rThree.\r/show history\r/bye\r");
    let shown = terminal.rest();
    for line in ["user: One.", "user: Two.", "user: Three."] {
        assert!(shown.contains(line), "{line} {shown}");
    }
}

#[test]
fn what_is_typed_during_an_answer_is_said_next() {
    let (home, model) = (tempfile::tempdir().unwrap(), chat_model());
    let mut terminal = chat(home.path(), model.path(), &["--ignore-eos", "-n", "100"]);
    terminal.type_keys(b"One.\r");
    terminal.until("One.");
    terminal.until("\n");
    terminal.type_keys(b"Two.\rThree.\r");
    terminal.until(">>> ");
    terminal.until(">>> ");
    terminal.until(">>> ");
    terminal.type_keys(b"/show history\r/bye\r");
    let shown = terminal.rest();
    for line in ["user: One.", "user: Two.", "user: Three."] {
        assert!(shown.contains(line), "{line} {shown}");
    }
}

#[test]
fn a_line_that_is_no_text_does_not_end_a_chat() {
    let (home, model) = (tempfile::tempdir().unwrap(), chat_model());
    let mut terminal = chat(home.path(), model.path(), &["-n", "4"]);
    terminal.type_keys(b"caf\xff");
    terminal.until("not UTF-8");
    terminal.until(">>> ");
    terminal.type_keys(b"One.\r/show history\r/bye\r");
    let shown = terminal.rest();
    assert!(shown.contains("user: One."), "{shown}");
}

#[test]
fn a_full_chat_asks_once_and_keeps_what_was_typed_ahead() {
    let (home, model) = (tempfile::tempdir().unwrap(), chat_model());
    let turns = "It was so and so.\r".repeat(12);
    let question = "drop its oldest turns";
    let arguments = ["run", model.path().to_str().unwrap(), "--temp", "0", "-n", "6", "--ctx-size", "64"];

    let mut terminal = Terminal::run(home.path(), &arguments);
    terminal.until(">>> ");
    for _ in 0..12 {
        terminal.type_keys(b"It was so and so.\r");
        let shown = terminal.until_any(&[">>> ", "(y/n) "]);
        if shown.contains(question) {
            terminal.type_keys(b"y\r");
            terminal.until(">>> ");
        }
    }
    terminal.type_keys(b"/show settings\r/bye\r");
    let shown = terminal.rest();
    assert!(shown.contains("overflow            \"drop\""), "{shown}");
    assert!(!shown.contains(question), "{shown}");

    // Pasted lines answer no question: they are said.
    let mut terminal = Terminal::run(home.path(), &arguments);
    terminal.until(">>> ");
    terminal.type_keys(turns.as_bytes());
    terminal.type_keys(b"/show settings\r/bye\r");
    let shown = terminal.rest();
    assert_eq!(shown.matches(question).count(), 1, "{shown}");
    assert!(shown.contains("overflow            \"stop\""), "{shown}");
}
