//! Names as model pages print them, and file names that addresses must encode.

use super::{
    Machine, bytes,
    server::{Files, Repository},
};

fn quantised() -> Files {
    let names =
        ["Name-Q4_K_M.gguf", "Name-Q8_0.gguf", "Name-f16.gguf", "mmproj-Name-f16.gguf", "Name-IQ2_M.gguf"];
    names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), bytes(index as u8))).collect()
}

#[test]
fn every_form_of_a_name_finds_its_file() {
    for (name, file) in [
        ("org/name:Q4_K_M", "Name-Q4_K_M.gguf"),
        ("org/name:q4_k_m", "Name-Q4_K_M.gguf"),
        ("org/name:F16", "Name-f16.gguf"),
        ("org/name:Name-Q8_0.gguf", "Name-Q8_0.gguf"),
        ("hf.co/org/name:Q4_K_M", "Name-Q4_K_M.gguf"),
        ("huggingface.co/org/name:iq2_m", "Name-IQ2_M.gguf"),
        ("https://huggingface.co/org/name/blob/main/Name-f16.gguf", "Name-f16.gguf"),
        ("https://huggingface.co/org/name/resolve/main/Name-Q8_0.gguf?download=true", "Name-Q8_0.gguf"),
        ("https://huggingface.co/org/name/resolve/c0ffee/mmproj-Name-f16.gguf", "mmproj-Name-f16.gguf"),
        // The largest that is no larger than what the weights become.
        ("org/name", "Name-Q8_0.gguf"),
        ("org/name:latest", "Name-Q8_0.gguf"),
        ("hf.co/org/name", "Name-Q8_0.gguf"),
        ("https://huggingface.co/org/name", "Name-Q8_0.gguf"),
    ] {
        let machine = Machine::new(quantised());
        let path = machine.text(&["pull", name]);
        assert_eq!(path.trim(), machine.snapshot("c0ffee").join(file).to_str().unwrap(), "{name}");
        assert_eq!(std::fs::read(path.trim()).unwrap(), quantised()[file], "{name}");
        // The same name finds it without the hub: what is said is the model's fault, not the network's.
        machine.server.state().requests.clear();
        let stderr = machine.refusal(&["show", name]);
        assert!(stderr.contains(file), "{stderr}");
        assert!(machine.server.state().requests.is_empty(), "{name}");
        machine.text(&["rm", name]);
        assert!(!machine.folder().exists(), "{name}");
    }
}

#[test]
fn a_quantisation_that_is_not_there_is_told_from_those_that_are() {
    let machine = Machine::new(quantised());
    let stderr = machine.refusal(&["pull", "org/name:Q5_K_M"]);
    assert!(stderr.contains("Q5_K_M") && stderr.contains("Name-Q4_K_M.gguf"), "{stderr}");
    machine.change("Other-Q4_K_M.gguf", Some(bytes(9)));
    let stderr = machine.refusal(&["pull", "org/name:Q4_K_M"]);
    assert!(stderr.contains("Name-Q4_K_M.gguf") && stderr.contains("Other-Q4_K_M.gguf"), "{stderr}");
}

#[test]
fn without_a_q8_the_largest_below_is_taken_and_without_any_all_are_named() {
    let machine = Machine::new(quantised());
    machine.change("Name-Q8_0.gguf", None);
    assert!(machine.text(&["pull", "org/name"]).trim().ends_with("Name-Q4_K_M.gguf"));
    machine.change("Name-Q4_K_M.gguf", None);
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("Name-f16.gguf") && stderr.contains("Name-IQ2_M.gguf"), "{stderr}");
    assert!(!stderr.contains("mmproj"), "{stderr}");
}

#[test]
fn a_revision_of_an_address_is_not_answered_with_another() {
    let file = |seed| -> Files { [("m.gguf".to_owned(), bytes(seed))].into() };
    let machine = Machine::new(file(0));
    machine.push("decaf", file(1));
    let pull = |revision: &str| {
        machine.text(&["pull", &format!("https://huggingface.co/org/name/blob/{revision}/m.gguf")])
    };
    assert_eq!(std::fs::read(pull("main").trim()).unwrap(), bytes(1));
    let old = "https://huggingface.co/org/name/blob/c0ffee/m.gguf";
    let stderr = machine.refusal(&["show", old]);
    assert!(stderr.contains("c0ffee"), "{stderr}");
    assert_eq!(std::fs::read(pull("c0ffee").trim()).unwrap(), bytes(0));
    let path = machine.text(&["pull", "org/name:m.gguf", "--revision", "decaf"]);
    assert_eq!(std::fs::read(path.trim()).unwrap(), bytes(1));
}

#[test]
fn file_names_and_revisions_are_encoded() {
    for name in
        ["my model.gguf", "a#b.gguf", "a%20b.gguf", "a+b?c=d&e.gguf", "sub dir/\u{e9}.gguf", "[x]{y}.gguf"]
    {
        for content in [bytes(1), b"small".to_vec()] {
            let machine = Machine::new([(name.to_owned(), content.clone())].into());
            machine.server.state().repositories.insert(
                "org/name".into(),
                Repository::new("c0ffee", [(name.to_owned(), content.clone())].into()),
            );
            let path = machine.text(&["pull", "org/name"]);
            assert_eq!(std::fs::read(path.trim()).unwrap(), content, "{name}");
            machine.text(&["pull", &format!("org/name:{name}")]);
        }
    }
    let machine = Machine::with_gguf(&bytes(0));
    machine.refusal(&["pull", "org/name", "--revision", "refs/pr/1 #"]);
    let state = machine.server.state();
    assert_eq!(state.requests[0].path, "/api/models/org/name/revision/refs%2Fpr%2F1%20%23");
}

#[test]
fn an_extension_may_be_in_any_case_but_not_alone() {
    let machine = Machine::new([("m.GGUF".to_owned(), bytes(0)), (".gguf".to_owned(), bytes(1))].into());
    let path = machine.text(&["pull", "org/name"]);
    assert!(path.trim().ends_with("/m.GGUF"), "{path}");
    let alone = Machine::new([(".gguf".to_owned(), bytes(1))].into());
    assert!(alone.refusal(&["pull", "org/name"]).contains("no .gguf"));
}
