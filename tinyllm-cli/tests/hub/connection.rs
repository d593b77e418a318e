//! Answers that are short, shifted or strange are errors, and no file gets its name by one.

use super::{
    Machine, bytes, refusal_of,
    server::{Break, Request},
};

fn is_model(request: &Request) -> bool {
    request.method == "GET" && request.file().as_deref() == Some("model.gguf")
}

/// An answer without a checksum to every request for the model.
fn machine(head: &'static str, body: Vec<u8>) -> Machine {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().answer = Some(Box::new(move |request| {
        let answer = [head.as_bytes(), b"Connection: close\r\n\r\n", &body].concat();
        is_model(request).then_some(answer)
    }));
    machine
}

const ETAG: &str = "ETag: \"0123456789012345678901234567890123456789\"\r\n";

#[test]
fn what_nobody_can_know_to_be_whole_is_no_file() {
    for (head, body, word) in [
        (format!("HTTP/1.1 200 OK\r\n{ETAG}"), bytes(0)[..1000].to_vec(), "neither a length nor a checksum"),
        (
            format!("HTTP/1.1 200 OK\r\n{ETAG}Content-Length: 2000\r\n"),
            bytes(0)[..1000].to_vec(),
            "connection broke",
        ),
        (format!("HTTP/1.1 200 OK\r\n{ETAG}Content-Length: many\r\n"), bytes(0), "answer is not HTTP"),
        (
            format!(
                "HTTP/1.1 206 Partial Content\r\n{ETAG}Content-Range: bytes 7-1006/1007\r\nContent-Length: 1000\r\n"
            ),
            bytes(0)[..1000].to_vec(),
            "a part (206) where all of it was asked for",
        ),
        (
            format!("HTTP/1.1 206 Partial Content\r\n{ETAG}Content-Length: 1000\r\n"),
            bytes(0)[..1000].to_vec(),
            "a part (206) where all of it was asked for",
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{ETAG}Transfer-Encoding: chunked\r\n"),
            b"3e8\r\nonly this".to_vec(),
            "connection broke",
        ),
    ] {
        let machine = machine(Box::leak(head.into_boxed_str()), body);
        let stderr = machine.refusal(&["pull", "org/name"]);
        assert!(stderr.contains(word), "{word}: {stderr}");
        assert!(!machine.snapshot("c0ffee").join("model.gguf").exists());
    }
}

#[test]
fn a_checksum_or_chunks_can_stand_for_a_length() {
    let chunked =
        machine("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n".to_vec());
    let path = chunked.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(path.trim()).unwrap(), b"hello");
    let tag = super::server::sha256(&bytes(0));
    let head = format!("HTTP/1.1 200 OK\r\nETag: \"{tag}\"\r\n");
    let hashed = machine(Box::leak(head.into_boxed_str()), bytes(0));
    let path = hashed.text(&["pull", "org/name"]);
    assert_eq!(std::fs::read(path.trim()).unwrap(), bytes(0));
}

#[test]
fn a_shifted_part_is_not_appended() {
    for range in ["bytes 150001-299999/300000", "bytes 150000-299998/300000", "bytes 150000-200000/300000"] {
        let machine = Machine::with_gguf(&bytes(0));
        machine.server.state().breaks = Some((Break::Cut, "model.gguf".into(), 50_000, 3));
        machine.refusal(&["pull", "org/name"]);
        machine.server.state().answer = Some(Box::new(move |request| {
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nConnection: close\r\n\r\n"
            );
            let is_rest = request.host == "storage" && request.range == Some(150_000);
            is_rest.then(|| [head.as_bytes(), &bytes(0)[150_000..]].concat())
        }));
        let output = machine.run(&["pull", "org/name"]);
        let path = machine.snapshot("c0ffee").join("model.gguf");
        if output.status.success() {
            assert_eq!(std::fs::read(path).unwrap(), bytes(0));
        } else {
            assert!(!path.exists());
        }
    }
}

#[test]
fn a_file_shorter_than_the_hub_says_is_refused() {
    let machine = Machine::with_gguf(&bytes(0));
    machine.server.state().answer = Some(Box::new(|request| {
        let is_body = is_model(request) && request.host == "storage";
        is_body.then(|| [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".as_slice(), &[7; 100]].concat())
    }));
    let stderr = machine.refusal(&["pull", "org/name"]);
    assert!(stderr.contains("byte 100 of the 300000"), "{stderr}");
}

#[test]
fn what_happened_is_named() {
    let machine = Machine::with_gguf(&bytes(0));
    let answer = |bytes: Vec<u8>| {
        machine.server.state().answer = Some(Box::new(move |_| Some(bytes.clone())));
        let stderr = machine.refusal(&["pull", "org/name"]);
        assert!(!stderr.contains("cannot be reached"), "{stderr}");
        stderr
    };
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(answer(long.into()).contains("headers are longer than"));
    assert!(answer(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()).contains("not HTTP"));
    let lost = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    assert!(answer(lost).contains("redirect to nowhere"));
    let other = b"HTTP/1.1 302 Found\r\nLocation: ftp://elsewhere/x\r\nContent-Length: 0\r\n\r\n".to_vec();
    assert!(answer(other).contains("https:// or http://"));
    let round = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert!(answer(round.to_vec()).contains("redirects"));
    // Silence instead of a head.
    machine.server.state().then = Some(Break::Stall);
    machine.server.state().answer = Some(Box::new(|_| Some(Vec::new())));
    let mut command = machine.command(&["pull", "org/name"]);
    command.env("HF_HUB_DOWNLOAD_TIMEOUT", "1");
    let stderr = refusal_of(command);
    assert!(stderr.contains("no answer within 1 s"), "{stderr}");
}
