//! What counts as whole, and whose folder is whose.

use super::{
    Machine, bytes,
    server::{Break, Files, Repository},
};

const PARTS: [&str; 2] = ["q4-00001-of-00002.gguf", "q4-00002-of-00002.gguf"];

pub fn split() -> Files {
    PARTS.iter().enumerate().map(|(index, name)| ((*name).to_owned(), bytes(index as u8))).collect()
}

#[test]
fn every_part_of_a_split_file_is_pulled() {
    for name in
        ["org/name", "org/name:q4", "org/name:q4-00001-of-00002.gguf", "org/name:q4-00002-of-00002.gguf"]
    {
        let machine = Machine::new(split());
        let path = machine.text(&["pull", name]);
        assert!(path.trim().ends_with(PARTS[0]), "{name}: {path}");
        assert!(PARTS.iter().all(|part| machine.snapshot("c0ffee").join(part).exists()), "{name}");
    }
}

#[test]
fn a_split_file_without_all_parts_is_not_whole_and_is_resumed() {
    let machine = Machine::new(split());
    let name = format!("org/name:{}", PARTS[0]);
    machine.server.state().breaks = Some((Break::Cut, PARTS[1].into(), 50_000, 3));
    let stderr = machine.refusal(&["show", &name]);
    assert!(stderr.contains("pull again"), "{stderr}");
    let list: serde_json::Value = serde_json::from_str(&machine.text(&["list", "--json"])).unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["complete"]), (1, &false.into()));
    // The bytes are no model, but now all of them are here.
    let stderr = machine.refusal(&["show", &name]);
    assert!(!stderr.contains("not there") && !stderr.contains("pull again"), "{stderr}");
    assert_eq!(machine.ranges(PARTS[0]), [None]);
    assert_eq!(machine.ranges(PARTS[1]), [None, Some(50_000), Some(100_000), Some(150_000)]);
    for (index, part) in PARTS.iter().enumerate() {
        assert_eq!(std::fs::read(machine.snapshot("c0ffee").join(part)).unwrap(), bytes(index as u8));
    }
    assert!(!machine.text(&["list"]).contains("incomplete"));
}

#[test]
fn repositories_whose_names_look_alike_have_folders_of_their_own() {
    let machine = Machine::with_gguf(&bytes(0));
    for (index, name) in ["a--b/c", "a/b--c", "a-/b", "a/-b"].into_iter().enumerate() {
        let files: Files = [("m.gguf".to_owned(), bytes(index as u8))].into();
        machine.server.state().repositories.insert(name.into(), Repository::new("c0ffee", files));
        let path = machine.text(&["pull", name]);
        assert_eq!(std::fs::read(path.trim()).unwrap(), bytes(index as u8), "{name}");
    }
    let list: serde_json::Value = serde_json::from_str(&machine.text(&["list", "--json"])).unwrap();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a--b/c", "a-/b", "a/-b", "a/b--c"]);
}
