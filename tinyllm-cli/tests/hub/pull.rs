//! Pulling, listing, running without the hub, and how connections that break are resumed.

use std::{path::Path, process::Stdio};

use super::{
    AUSTEN_FILES, Machine, RUN, austen, bytes, refusal_of,
    server::{Break, sha256},
    text_of,
};

#[test]
fn a_model_is_pulled_listed_run_without_the_hub_and_removed() {
    let machine = Machine::new(austen());
    let path = machine.text(&["pull", "org/name"]);
    let snapshot = machine.snapshot("c0ffee");
    assert_eq!(Path::new(path.trim()), snapshot);
    let mut expected: Vec<String> =
        AUSTEN_FILES.iter().map(|file| format!("snapshots/c0ffee/name/{file}")).collect();
    expected.insert(0, ".tinyllm-pull.json".into());
    assert_eq!(machine.everything(), expected, "only what a LLaMA needs, and nothing else");
    for name in AUSTEN_FILES {
        assert_eq!(std::fs::read(snapshot.join(name)).unwrap(), austen()[name], "{name}");
    }
    let asked = machine.server.state().requests.len();
    let answer: serde_json::Value = serde_json::from_str(&machine.text(&RUN)).unwrap();
    assert_eq!(answer["ids"].as_array().unwrap().len(), 4);
    assert_eq!(machine.server.state().requests.len(), asked, "a pulled model asks nobody");

    let list: serde_json::Value = serde_json::from_str(&machine.text(&["list", "--json"])).unwrap();
    assert_eq!(list[0]["name"], "org/name");
    assert_eq!(list[0]["complete"], true);
    let total: usize = AUSTEN_FILES.iter().map(|file| austen()[*file].len()).sum();
    assert_eq!(list[0]["bytes"], total);
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
fn files_are_asked_for_at_the_commit_of_the_listing() {
    let machine = Machine::new(austen());
    // Somebody pushes between the listing and the first file.
    let pushed = austen().into_iter().map(|(name, mut bytes)| {
        bytes.push(b' ');
        (name, bytes)
    });
    machine.server.state().push_after_listing = Some(("decaf".into(), pushed.collect()));
    machine.text(&["pull", "org/name"]);
    for name in AUSTEN_FILES {
        assert_eq!(std::fs::read(machine.snapshot("c0ffee").join(name)).unwrap(), austen()[name], "{name}");
    }
    let state = machine.server.state();
    let files: Vec<_> = state.requests.iter().filter(|request| request.path.contains("/resolve/")).collect();
    assert!(files.iter().all(|request| request.path.starts_with("/org/name/resolve/c0ffee/")), "{files:?}");
}

#[test]
fn a_cut_connection_goes_on_where_it_was() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().breaks = Some((Break::Cut, "model.gguf".into(), 100_000, 1));
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.snapshot("c0ffee").join("model.gguf")).unwrap(), bytes(0));
    assert_eq!(machine.ranges("model.gguf"), [None, Some(100_000)]);
    assert_eq!(machine.everything(), [".tinyllm-pull.json", "snapshots/c0ffee/name/model.gguf"]);
    // Nothing is left to do.
    machine.text(&["pull", "org/name"]);
    assert_eq!(machine.ranges("model.gguf").len(), 2);
}

#[test]
fn a_connection_that_is_cut_again_and_again_is_resumed_by_the_next_pull() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().breaks = Some((Break::Cut, "model.gguf".into(), 50_000, 3));
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("pull again to go on"), "{stderr}");
    assert!(machine.text(&["list"]).contains("incomplete"));
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.snapshot("c0ffee").join("model.gguf")).unwrap(), bytes(0));
    assert_eq!(machine.ranges("model.gguf"), [None, Some(50_000), Some(100_000), Some(150_000)]);
    assert_eq!(machine.everything(), [".tinyllm-pull.json", "snapshots/c0ffee/name/model.gguf"]);
}

#[test]
fn as_long_as_much_comes_a_download_goes_on_by_itself() {
    let large = bytes(0).repeat(40);
    let machine = Machine::with_gguf(&large);
    machine.server.state().breaks = Some((Break::Cut, "model.gguf".into(), 2_000_000, 10));
    let path = machine.text(&["pull", "org/name"]);
    assert!(std::fs::read(path.trim()).unwrap() == large);
    assert_eq!(machine.ranges("model.gguf").len(), 6);
}

#[test]
fn a_body_that_stalls_or_drips_ends_and_is_resumed() {
    for kind in [Break::Stall, Break::Drip] {
        let machine = Machine::with_gguf(&bytes(0));
        let pull = || {
            let mut command = machine.command(&["pull", "org/name"]);
            command.env("HF_HUB_DOWNLOAD_TIMEOUT", "1");
            command
        };
        machine.server.state().breaks = Some((kind, "model.gguf".into(), 50_000, 10));
        let stderr = refusal_of(pull());
        let cause = if kind == Break::Stall { "nothing came for 1 s" } else { " bytes came in 1 s" };
        assert!(stderr.contains("pull again to go on") && stderr.contains(cause), "{stderr}");
        machine.server.state().breaks = None;
        text_of(pull());
        assert_eq!(std::fs::read(machine.snapshot("c0ffee").join("model.gguf")).unwrap(), bytes(0));
        assert_eq!(machine.everything(), [".tinyllm-pull.json", "snapshots/c0ffee/name/model.gguf"]);
        if kind == Break::Stall {
            assert_eq!(machine.ranges("model.gguf"), [None, Some(50_000), Some(100_000), Some(150_000)]);
        }
    }
}

#[test]
fn a_listing_that_stalls_or_drips_ends() {
    let machine = Machine::with_gguf(&bytes(0));
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{";
    machine.server.state().answer = Some(Box::new(move |_| Some(head.into())));
    for kind in [Break::Stall, Break::Drip] {
        machine.server.state().then = Some(kind);
        let mut command = machine.command(&["pull", "org/name"]);
        command.env("HF_HUB_DOWNLOAD_TIMEOUT", "1");
        let stderr = refusal_of(command);
        assert!(stderr.contains("/api/models/org/name") && stderr.contains("try again"), "{stderr}");
    }
}

#[test]
fn parts_of_two_versions_are_never_joined() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().breaks = Some((Break::Cut, "model.gguf".into(), 50_000, 3));
    machine.refusal(&["pull", "org/name"]);
    machine.push("decaf", [("model.gguf".into(), bytes(1))].into());
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.snapshot("decaf").join("model.gguf")).unwrap(), bytes(1));
    assert_eq!(machine.everything(), [".tinyllm-pull.json", "snapshots/decaf/name/model.gguf"]);
}

#[test]
fn a_part_goes_on_at_another_commit_that_did_not_change_the_file() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().breaks = Some((Break::Cut, "model.gguf".into(), 50_000, 3));
    machine.refusal(&["pull", "org/name"]);
    machine.push("decaf", [("model.gguf".into(), bytes(0))].into());
    machine.text(&["pull", "org/name"]);
    assert_eq!(machine.ranges("model.gguf").last(), Some(&Some(150_000)));
    assert_eq!(machine.everything(), [".tinyllm-pull.json", "snapshots/decaf/name/model.gguf"]);
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().breaks = Some((Break::Cut, "model.gguf".into(), 50_000, 3));
    machine.refusal(&["pull", "org/name"]);
    machine.server.state().ignores_ranges = true;
    machine.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(machine.snapshot("c0ffee").join("model.gguf")).unwrap(), bytes(0));
}

/// The part of the file that is being downloaded.
fn part(machine: &Machine) -> std::path::PathBuf {
    let names = machine.everything();
    machine.folder().join(names.iter().find(|name| name.ends_with(".part")).unwrap())
}

#[test]
fn a_part_that_is_too_long_is_started_again_and_one_that_is_whole_is_taken() {
    let machine = Machine::with_gguf(&bytes(0));
    for (content, bodies) in [(vec![7; 400_000], 2), (bytes(0), 0)] {
        machine.server.state().breaks = Some((Break::Cut, "model.gguf".into(), 50_000, 3));
        machine.refusal(&["pull", "org/name"]);
        std::fs::write(part(&machine), content).unwrap();
        machine.server.state().requests.clear();
        machine.text(&["pull", "org/name"]);
        assert_eq!(std::fs::read(machine.snapshot("c0ffee").join("model.gguf")).unwrap(), bytes(0));
        // Of a whole one nothing but that there is no more.
        assert!(machine.ranges("model.gguf").iter().filter(|range| range.is_none()).count() * 2 == bodies);
        machine.text(&["rm", "org/name"]);
    }
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().wrong_checksum = true;
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("sha256") && stderr.contains(&sha256(&bytes(0))), "{stderr}");
    assert!(machine.everything().is_empty(), "{:?}", machine.everything());
}

#[test]
fn two_pulls_at_once_do_not_disturb_each_other() {
    let machine = Machine::new(austen());
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = machine.command(&["pull", "org/name"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let snapshot = machine.snapshot("c0ffee");
    assert_eq!(std::fs::read(snapshot.join("model.safetensors")).unwrap(), austen()["model.safetensors"]);
    let state = machine.server.state();
    let mut paths: Vec<_> = state.requests.iter().filter(|r| r.host == "storage").map(|r| &r.path).collect();
    let count = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), count, "each file once");
}
