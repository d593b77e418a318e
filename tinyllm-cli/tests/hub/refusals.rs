//! The hub's address, the token, and what is said where something is wrong.

use super::{Machine, bytes, refusal_of, text_of};

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().token = Some("secret");
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("HF_TOKEN"), "{stderr}");
    let mut command = machine.command(&["pull", "org/name"]);
    // A line end at the end is a file's.
    command.env("HF_TOKEN", "secret\n");
    text_of(command);
    let state = machine.server.state();
    let from_storage: Vec<_> = state.requests.iter().filter(|request| request.host == "storage").collect();
    assert!(!from_storage.is_empty());
    assert!(from_storage.iter().all(|request| request.authorization.is_none()));
}

#[test]
fn led_away_and_back_the_token_is_not_sent() {
    let machine = Machine::with_gguf(&bytes(0));
    let hub = machine.server.endpoint.clone();
    machine.server.state().answer = Some(Box::new(move |request| {
        // The second host sends it back.
        let back = format!(
            "HTTP/1.1 302 Found\r\nLocation: {hub}/stolen\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        (request.host == "storage").then(|| back.into_bytes())
    }));
    let mut command = machine.command(&["pull", "org/name"]);
    command.env("HF_TOKEN", "secret");
    refusal_of(command);
    let state = machine.server.state();
    let last = state.requests.last().unwrap();
    assert_eq!((last.path.as_str(), last.authorization.as_deref()), ("/stolen", None));
}

#[test]
fn a_token_or_an_address_that_cannot_be_one_is_named() {
    let machine = Machine::with_gguf(&bytes(0));
    for (variable, value, words) in [
        ("HF_TOKEN", "se cret", ["HF_TOKEN", "character"]),
        ("HF_TOKEN", "hf_\u{e9}", ["HF_TOKEN", "character"]),
        ("HF_ENDPOINT", "hub.example", ["HF_ENDPOINT", "https://"]),
        ("HF_ENDPOINT", "ftp://hub.example", ["HF_ENDPOINT", "https://"]),
        ("HF_ENDPOINT", "https://", ["HF_ENDPOINT", "https://"]),
    ] {
        let mut command = machine.command(&["pull", "org/name"]);
        command.env(variable, value);
        let stderr = refusal_of(command);
        assert!(words.iter().all(|word| stderr.contains(word)), "{variable}={value}: {stderr}");
        assert!(!stderr.contains("cannot be reached"), "{stderr}");
    }
    assert!(machine.server.state().requests.is_empty());
}

#[test]
fn an_empty_address_is_the_public_hub_s() {
    let machine = Machine::with_gguf(&bytes(0));
    let mut command = machine.command(&["pull", "org/name"]);
    // A proxy that is not there: whether there is a network does not matter.
    command
        .env("HF_ENDPOINT", "")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("HF_HUB_DOWNLOAD_TIMEOUT", "5");
    let stderr = refusal_of(command);
    assert!(stderr.contains("https://huggingface.co/api/models/org/name/revision/main"), "{stderr}");
}

#[test]
fn what_the_hub_lacks_is_named() {
    let machine = Machine::with_gguf(&bytes(0));
    assert!(machine.refusal(&["pull", "org/other"]).contains("org/other"));
    let stderr = machine.refusal(&["pull", "org/name:q8.gguf"]);
    assert!(stderr.contains("q8.gguf") && stderr.contains("model.gguf"), "{stderr}");
    assert!(machine.refusal(&["pull", "smollm2"]).contains("org/name"));
    machine.change("second.gguf", Some(bytes(1)));
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("org/name:FILE") && stderr.contains("second.gguf"), "{stderr}");
    let path = machine.text(&["pull", "org/name:second.gguf"]);
    assert_eq!(std::fs::read(path.trim()).unwrap(), bytes(1));
    machine.change("model.gguf", None);
    machine.change("second.gguf", None);
    assert!(machine.refusal(&["pull", "org/name"]).contains("no .gguf"));
}

#[test]
fn a_listing_cannot_write_outside_or_exhaust_memory() {
    let machine = Machine::with_gguf(&bytes(0));
    let answer = |body: Vec<u8>| {
        machine.server.state().answer = Some(Box::new(move |_| {
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            Some([head.as_bytes(), &body].concat())
        }));
        machine.refusal(&["pull", "org/name"])
    };
    let listing = |commit: &str, names: &[&str]| {
        let siblings: Vec<_> = names.iter().map(|name| serde_json::json!({"rfilename": name})).collect();
        serde_json::json!({"sha": commit, "siblings": siblings}).to_string().into_bytes()
    };
    assert!(
        answer(listing("c0ffee", &["../../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf"]))
            .contains("no .gguf")
    );
    for commit in ["", "../../evil", "a/b", ".", &"f".repeat(200)] {
        assert!(answer(listing(commit, &["model.gguf"])).contains("names no commit"), "{commit}");
    }
    for (body, word) in
        [(b"<html>".to_vec(), "JSON"), (b"{}".to_vec(), "files"), (vec![b' '; 17 << 20], "longer")]
    {
        let stderr = answer(body);
        assert!(stderr.contains(word), "{stderr}");
    }
    assert!(!machine.folder().exists());
}

#[test]
fn without_a_network_the_message_says_what_still_works() {
    let machine = Machine::with_gguf(&bytes(0));
    // A port that was free a moment ago and that nobody listens on.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = machine.command(&["pull", "org/name"]);
    command.env("HF_ENDPOINT", format!("http://{closed}"));
    let stderr = refusal_of(command);
    assert!(stderr.contains("cannot be reached") && stderr.contains("already pulled"), "{stderr}");
}

#[test]
fn an_unwritable_cache_is_named() {
    let machine = Machine::with_gguf(&bytes(0));
    std::fs::write(machine.home.path().join("cache"), "a file where the folder should be").unwrap();
    assert!(machine.refusal(&["pull", "org/name"]).contains("cache"));
}
