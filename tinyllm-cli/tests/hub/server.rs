//! A server on this machine that stands for the Hugging Face hub: listings, files at each commit, redirects to a second
//! host for large files, ranges, and the faults that a test asks for.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

pub type Files = BTreeMap<String, Vec<u8>>;

/// Files of this length and more are kept by the second host, with a sha256.
pub const LARGE_BYTES: usize = 1000;

/// What a request said.
#[derive(Clone, Debug)]
pub struct Request {
    /// `hub` or `storage`.
    pub host: &'static str,
    pub method: String,
    /// As it was sent.
    pub path: String,
    pub range: Option<u64>,
    pub authorization: Option<String>,
}

impl Request {
    /// The file that is asked for.
    pub fn file(&self) -> Option<String> {
        let rest = match self.host {
            "hub" => self.path.split_once("/resolve/")?.1,
            _ => self.path.strip_prefix("/blob/")?,
        };
        Some(percent_decode_str(rest.split_once('/')?.1).decode_utf8().unwrap().into_owned())
    }
}

/// A repository: its head, and all its commits.
#[derive(Default)]
pub struct Repository {
    pub head: String,
    pub commits: BTreeMap<String, Files>,
}

impl Repository {
    pub fn new(commit: &str, files: Files) -> Self {
        Repository { head: commit.into(), commits: [(commit.into(), files)].into() }
    }

    pub fn push(&mut self, commit: &str, files: Files) {
        self.head = commit.into();
        self.commits.insert(commit.into(), files);
    }

    pub fn files(&mut self) -> &mut Files {
        self.commits.get_mut(&self.head).unwrap()
    }
}

/// What becomes of a file's body after some of its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The connection ends.
    Cut,
    /// Nothing more comes, and the connection stays.
    Stall,
    /// A byte at a time comes, twenty a second.
    Drip,
}

type Answer = Box<dyn Fn(&Request) -> Option<Vec<u8>> + Send>;

/// What the server does; tests change it while it runs.
#[derive(Default)]
pub struct State {
    pub repositories: BTreeMap<String, Repository>,
    pub requests: Vec<Request>,
    /// Breaks this file's body after so many bytes, so often.
    pub breaks: Option<(Break, String, usize, usize)>,
    /// Announces a sha256 that is not the file's.
    pub wrong_checksum: bool,
    /// Takes no notice of ranges.
    pub ignores_ranges: bool,
    /// Knows no `HEAD`.
    pub refuses_head: bool,
    /// Requests to the hub without this token are refused.
    pub token: Option<&'static str>,
    /// Another answer, head and body, to some requests.
    pub answer: Option<Answer>,
    /// What follows such an answer.
    pub then: Option<Break>,
    /// A push that follows the next listing.
    pub push_after_listing: Option<(String, Files)>,
    /// Connections on which nothing comes any more.
    stalled: Vec<TcpStream>,
}

/// The two hosts.
pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start(files: Files) -> Self {
        let repositories = [("org/name".into(), Repository::new("c0ffee", files))].into();
        let state = Arc::new(Mutex::new(State { repositories, ..State::default() }));
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let storage = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let storage_url = format!("http://{}", storage.local_addr().unwrap());
        for (listener, host) in [(hub, "hub"), (storage, "storage")] {
            let (state, storage_url) = (Arc::clone(&state), storage_url.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (state, storage_url) = (Arc::clone(&state), storage_url.clone());
                    // A client that goes away ends its own connection only.
                    std::thread::spawn(move || answer(stream, host, &storage_url, &state));
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

fn read(stream: &TcpStream, host: &'static str) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(String::from);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { host, method, path, range: None, authorization: None };
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
    Ok(request)
}

fn answer(
    mut stream: TcpStream,
    host: &'static str,
    storage: &str,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let request = read(&stream, host)?;
    let mut state = state.lock().unwrap();
    state.requests.push(request.clone());
    if let Some(bytes) = state.answer.as_ref().and_then(|answer| answer(&request)) {
        return match state.then {
            Some(kind) => break_off(stream, kind, &bytes, &[b' '; 1000], state),
            None => stream.write_all(&bytes),
        };
    }
    let token = state.token.map(|token| format!("Bearer {token}"));
    if host == "hub" && token.is_some() && token != request.authorization {
        return reply(stream, "401 Unauthorized", "", b"");
    }
    if request.method == "HEAD" && state.refuses_head {
        return reply(stream, "501 Not Implemented", "", b"");
    }
    if let Some(rest) = request.path.strip_prefix("/api/models/") {
        let listing = rest
            .split_once("/revision/")
            .and_then(|(repository, revision)| listing(&state, repository, revision));
        if let Some((commit, files)) = state.push_after_listing.take() {
            state.repositories.get_mut("org/name").unwrap().push(&commit, files);
        }
        return match listing {
            Some(listing) => reply(stream, "200 OK", "", listing.as_bytes()),
            None => reply(stream, "404 Not Found", "", b""),
        };
    }
    match (find(&state, &request), request.file()) {
        (Some(bytes), Some(name)) => send(stream, &request, &name, &bytes, storage, state),
        _ => reply(stream, "404 Not Found", "", b""),
    }
}

/// The commit that a revision, as it stands in an address, is.
fn commit(repository: &Repository, revision: &str) -> Option<String> {
    let revision = percent_decode_str(revision).decode_utf8().ok()?;
    let commit = if revision == "main" { &repository.head } else { revision.as_ref() };
    repository.commits.contains_key(commit).then(|| commit.to_owned())
}

fn listing(state: &State, repository: &str, revision: &str) -> Option<String> {
    let repository = state.repositories.get(repository)?;
    let commit = commit(repository, revision)?;
    let siblings: Vec<_> =
        repository.commits[&commit].keys().map(|name| serde_json::json!({"rfilename": name})).collect();
    Some(serde_json::json!({"sha": commit, "siblings": siblings}).to_string())
}

/// The file of `/ORG/NAME/resolve/REVISION/FILE`, or of the second host's `/blob/SHA256/FILE`.
fn find(state: &State, request: &Request) -> Option<Vec<u8>> {
    let file = request.file()?;
    if request.host == "storage" {
        let hash = request.path.strip_prefix("/blob/")?.split_once('/')?.0;
        let all = state.repositories.values().flat_map(|repository| repository.commits.values());
        return all.filter_map(|files| files.get(&file)).find(|bytes| sha256(bytes) == hash).cloned();
    }
    let (repository, rest) = request.path[1..].split_once("/resolve/")?;
    let repository = state.repositories.get(repository)?;
    let commit = commit(repository, rest.split_once('/')?.0)?;
    repository.commits[&commit].get(&file).cloned()
}

fn send(
    stream: TcpStream,
    request: &Request,
    name: &str,
    bytes: &[u8],
    storage: &str,
    mut state: MutexGuard<'_, State>,
) -> std::io::Result<()> {
    if request.host == "hub" && bytes.len() >= LARGE_BYTES {
        let hash = sha256(if state.wrong_checksum { b"another file" } else { bytes });
        let encoded = request.path.rsplit_once("/resolve/").unwrap().1.split_once('/').unwrap().1;
        let headers = format!(
            "X-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {}\r\nLocation: {storage}/blob/{}/{encoded}\r\n",
            bytes.len(),
            sha256(bytes)
        );
        return reply(stream, "302 Found", &headers, b"");
    }
    let etag = format!("ETag: \"{}\"\r\n", &sha256(bytes)[..40]);
    if request.method == "HEAD" {
        return head(&stream, "200 OK", &etag, bytes.len());
    }
    let from = request.range.filter(|_| !state.ignores_ranges).unwrap_or(0) as usize;
    if from > 0 && from >= bytes.len() {
        return reply(
            stream,
            "416 Range Not Satisfiable",
            &format!("Content-Range: bytes */{}\r\n", bytes.len()),
            b"",
        );
    }
    let (status, range) = if from > 0 {
        (
            "206 Partial Content",
            format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()),
        )
    } else {
        ("200 OK", String::new())
    };
    let body = &bytes[from..];
    head(&stream, status, &format!("{etag}{range}"), body.len())?;
    match &mut state.breaks {
        Some((kind, file, after, times)) if *times > 0 && file == name && body.len() > *after => {
            *times -= 1;
            let (kind, after) = (*kind, *after);
            break_off(stream, kind, &body[..after], &body[after..], state)
        }
        _ => {
            drop(state);
            (&stream).write_all(body)
        }
    }
}

fn break_off(
    mut stream: TcpStream,
    kind: Break,
    sent: &[u8],
    rest: &[u8],
    mut state: MutexGuard<'_, State>,
) -> std::io::Result<()> {
    stream.write_all(sent)?;
    match kind {
        Break::Cut => {}
        Break::Stall => state.stalled.push(stream),
        Break::Drip => {
            drop(state);
            // Until the client has had enough of it.
            for byte in rest {
                stream.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    Ok(())
}

fn reply(stream: TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    head(&stream, status, headers, body.len())?;
    (&stream).write_all(body)
}

fn head(mut stream: &TcpStream, status: &str, headers: &str, length: usize) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")
}
