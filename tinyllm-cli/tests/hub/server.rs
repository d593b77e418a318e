//! A server on this machine that stands for the Hugging Face hub: listings, redirects to a second host for large files,
//! ranges, and the faults that a test asks for.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
};

use sha2::{Digest, Sha256};

/// What a request said.
#[derive(Clone, Debug)]
pub struct Request {
    /// `hub` or `storage`.
    pub host: &'static str,
    pub path: String,
    pub range: Option<u64>,
    pub authorization: Option<String>,
}

/// What the server does; tests change it while it runs.
#[derive(Default)]
pub struct State {
    pub commit: String,
    /// Files by name. Those of 1,000 bytes and more are kept by the second host, with a sha256.
    pub files: BTreeMap<String, Vec<u8>>,
    pub requests: Vec<Request>,
    /// Ends the connection after so many bytes of a large file's body, once.
    pub cut_after: Option<usize>,
    /// Announces a sha256 that is not the file's.
    pub wrong_checksum: bool,
    /// Takes no notice of ranges.
    pub ignores_ranges: bool,
    /// Requests to the hub without this token are refused.
    pub token: Option<&'static str>,
    /// Another answer to the listing.
    pub listing: Option<Vec<u8>>,
}

/// The two hosts.
pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let state = Arc::new(Mutex::new(State { commit: "c0ffee".into(), files, ..State::default() }));
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let storage = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let storage_url = format!("http://{}", storage.local_addr().unwrap());
        for (listener, host) in [(hub, "hub"), (storage, "storage")] {
            let (state, storage_url) = (Arc::clone(&state), storage_url.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    // A client that goes away ends its own connection only.
                    let _ = answer(stream, host, &storage_url, &state);
                }
            });
        }
        Server { endpoint, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn answer(stream: TcpStream, host: &'static str, storage: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { host, path: path.clone(), range: None, authorization: None };
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                request.range = value.trim().trim_start_matches("bytes=").trim_end_matches('-').parse().ok()
            }
            "authorization" => request.authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut state = state.lock().unwrap();
    state.requests.push(request.clone());
    let token = state.token.map(|token| format!("Bearer {token}"));
    if host == "hub" && token.is_some() && token != request.authorization {
        return reply(stream, "401 Unauthorized", "", b"");
    }
    if path.starts_with("/api/models/org/name/revision/main") {
        let siblings: Vec<_> =
            state.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let listing = serde_json::json!({"sha": state.commit, "siblings": siblings}).to_string();
        let listing = state.listing.clone().unwrap_or_else(|| listing.into_bytes());
        return reply(stream, "200 OK", "", &listing);
    }
    let name = path.strip_prefix("/org/name/resolve/main/").or_else(|| path.strip_prefix("/blob/"));
    let Some((name, bytes)) = name.and_then(|name| Some((name, state.files.get(name)?.clone()))) else {
        return reply(stream, "404 Not Found", "", b"");
    };
    let is_large = bytes.len() >= 1000;
    if host == "hub" && is_large {
        let hash = sha256(if state.wrong_checksum { b"another file" } else { &bytes });
        let headers = format!("X-Linked-Etag: \"{hash}\"\r\nLocation: {storage}/blob/{name}\r\n");
        return reply(stream, "302 Found", &headers, b"");
    }
    let etag = format!("ETag: \"{}\"\r\n", &sha256(&bytes)[..40]);
    let from = request.range.filter(|_| !state.ignores_ranges).unwrap_or(0) as usize;
    if from > 0 && from >= bytes.len() {
        return reply(stream, "416 Range Not Satisfiable", "", b"");
    }
    let (status, range) = if from > 0 {
        (
            "206 Partial Content",
            format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()),
        )
    } else {
        ("200 OK", String::new())
    };
    let cut = if is_large { state.cut_after.take() } else { None };
    let body = &bytes[from..];
    let sent = &body[..cut.unwrap_or(body.len()).min(body.len())];
    write_all(stream, status, &format!("{etag}{range}"), body.len(), sent)
}

fn reply(stream: TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write_all(stream, status, headers, body.len(), body)
}

fn write_all(
    mut stream: TcpStream,
    status: &str,
    headers: &str,
    length: usize,
    body: &[u8],
) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}
