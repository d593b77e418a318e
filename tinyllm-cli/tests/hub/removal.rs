//! `rm`: all parts of a model, nothing of another, and never under a pull's hands.

use std::process::Stdio;

use super::{
    Machine, bytes,
    cache::split,
    server::{Break, Files},
};

#[test]
fn one_part_stands_for_all() {
    for name in ["q4-00001-of-00002.gguf", "q4-00002-of-00002.gguf", "Q4"] {
        let mut files = split();
        files.insert("m-Q8_0.gguf".into(), bytes(9));
        let machine = Machine::new(files);
        machine.text(&["pull", "org/name:q4"]);
        machine.text(&["pull", "org/name:Q8_0"]);
        let freed = machine.text(&["rm", &format!("org/name:{name}")]);
        assert_eq!(freed, "600000 bytes freed\n");
        assert_eq!(machine.everything(), [".tinyllm-pull.json", "snapshots/c0ffee/name/m-Q8_0.gguf"]);
        let list: serde_json::Value = serde_json::from_str(&machine.text(&["list", "--json"])).unwrap();
        assert_eq!((list.as_array().unwrap().len(), &list[0]["name"]), (1, &"org/name:m-Q8_0.gguf".into()));
        machine.text(&["rm", "org/name:Q8_0"]);
        assert!(!machine.folder().exists());
    }
}

#[test]
fn what_came_in_part_can_be_removed_and_what_is_no_model_cannot() {
    let machine = Machine::new(split());
    machine.text(&["pull", "org/name"]);
    let stderr = machine.refusal(&["rm", "org/name:Q8_0"]);
    assert!(stderr.contains("not here"), "{stderr}");
    machine.text(&["rm", "org/name"]);
    machine.server.state().breaks = Some((Break::Cut, "q4-00002-of-00002.gguf".into(), 50_000, 3));
    machine.refusal(&["pull", "org/name:q4"]);
    machine.text(&["rm", "org/name:q4-00001-of-00002.gguf"]);
    assert!(!machine.folder().exists());

    let machine = Machine::new(super::austen());
    machine.text(&["pull", "org/name"]);
    let stderr = machine.refusal(&["rm", "org/name:config.json"]);
    assert!(stderr.contains("rm org/name"), "{stderr}");
    machine.text(&super::RUN);
}

#[test]
fn a_model_that_is_being_pulled_is_removed_afterwards() {
    let machine = Machine::with_gguf(&bytes(0));
    // Silence for three seconds, then the rest: time enough to remove what is being pulled.
    machine.server.state().breaks = Some((Break::Stall, "model.gguf".into(), 100_000, 1));
    let spawn = |arguments: &[&str]| {
        let mut command = machine.command(arguments);
        command.env("HF_HUB_DOWNLOAD_TIMEOUT", "3").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let pull = spawn(&["pull", "org/name"]);
    while machine.ranges("model.gguf").is_empty() {
        std::thread::yield_now();
    }
    let removal = spawn(&["rm", "org/name"]).wait_with_output().unwrap();
    let pull = pull.wait_with_output().unwrap();
    assert!(pull.status.success(), "{}", String::from_utf8_lossy(&pull.stderr));
    assert!(removal.status.success(), "{}", String::from_utf8_lossy(&removal.stderr));
    assert!(String::from_utf8_lossy(&removal.stderr).contains("waiting"));
    assert!(!machine.folder().exists());
}

#[test]
fn pulls_and_removals_at_once_end_in_all_or_nothing() {
    let files: Files = [("model.gguf".to_owned(), bytes(0))].into();
    let machine = Machine::new(files);
    machine.text(&["pull", "org/name"]);
    for _ in 0..5 {
        let children: Vec<_> = [["pull", "org/name"], ["rm", "org/name"], ["pull", "org/name"]]
            .iter()
            .map(|arguments| {
                let mut command = machine.command(arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for (index, child) in children.into_iter().enumerate() {
            let output = child.wait_with_output().unwrap();
            // A removal may find that it comes first.
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || (index == 1 && stderr.contains("not here")), "{stderr}");
        }
        let names = machine.everything();
        assert!(
            names.is_empty() || names == [".tinyllm-pull.json", "snapshots/c0ffee/name/model.gguf"],
            "{names:?}"
        );
        let whole = machine.snapshot("c0ffee").join("model.gguf");
        assert!(names.is_empty() || std::fs::read(whole).unwrap() == bytes(0));
    }
}
