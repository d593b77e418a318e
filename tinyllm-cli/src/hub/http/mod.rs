//! Requests to the hub: redirects, the token, time limits, and what a refusal means.

mod answer;
mod failure;
mod patience;
mod tls;
mod url;

use std::{io::Read, time::Duration};

use anyhow::{Context, bail};
use ureq::{
    Agent, Body,
    http::{HeaderValue, Response},
};

pub(super) use self::{
    answer::{Extent, sha256},
    url::{encode_path, encode_segment},
};
use self::{
    answer::{etag, header},
    patience::Steady,
    url::{Origin, follow},
};

/// The public hub.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The longest JSON answer that is read.
const MAX_JSON_BYTES: u64 = 16 << 20;
const MAX_REDIRECTS: usize = 8;

/// A client of the hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    home: Origin,
    token: Option<HeaderValue>,
    patience: Duration,
}

/// What a request wants.
#[derive(Clone, Copy)]
enum Ask {
    /// The bytes from this one on.
    From(u64),
    Headers,
}

impl Client {
    /// `HF_ENDPOINT` and `HF_TOKEN`, or the public hub.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_default();
        let endpoint = endpoint.trim().trim_end_matches('/');
        let endpoint = if endpoint.is_empty() { DEFAULT_ENDPOINT } else { endpoint }.to_owned();
        let home = Origin::of(&endpoint).context("HF_ENDPOINT")?;
        let patience = patience::from_environment();
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .tls_config(tls::config());
        Ok(Client { agent: config.build().into(), endpoint, home, token: token()?, patience })
    }

    /// A JSON answer.
    pub(super) fn json(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let mut text = String::new();
        let url = format!("{}{path}", self.endpoint);
        let body = self.get(path, 0)?.body;
        body.take(MAX_JSON_BYTES + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("{url}: the connection broke; try again"))?;
        if text.len() as u64 > MAX_JSON_BYTES {
            bail!("{url}: longer than {MAX_JSON_BYTES} bytes");
        }
        serde_json::from_str(&text).with_context(|| format!("{url}: not JSON"))
    }

    /// An answer from byte `from` on, if the server can do that.
    pub(super) fn get(&self, path: &str, from: u64) -> anyhow::Result<Answer> {
        let reply = self.follow(path, Ask::From(from))?;
        let url = &reply.url;
        let headers = reply.response.headers();
        let extent = match reply.response.status().as_u16() {
            200 => Extent::whole(headers),
            206 => match Extent::part(headers, from) {
                // Not the requested range: start from the beginning.
                Err(_) if from > 0 => return self.get(path, 0),
                extent => extent,
            },
            416 if from > 0 => match Extent::nothing(headers, from) {
                Some(extent) => Ok(extent),
                // The part is longer than the file: start from the beginning.
                None => return self.get(path, 0),
            },
            401 | 403 => {
                bail!("{url}: the hub refuses; set HF_TOKEN, and accept the model's terms on its page")
            }
            404 => {
                bail!("{url}: not on the hub; check the name, the revision and, for private models, HF_TOKEN")
            }
            status => bail!("{url}: the hub answered {status}"),
        };
        let extent =
            extent.and_then(|extent| extent.of_file(reply.linked_bytes)).with_context(|| url.clone())?;
        let body = Box::new(Steady::new(reply.response.into_body().into_reader(), self.patience));
        Ok(Answer { extent, etag: reply.etag, body })
    }

    /// The etag of a file, without its body; `None` where the hub sends none.
    pub(super) fn version(&self, path: &str) -> anyhow::Result<Option<String>> {
        let reply = self.follow(path, Ask::Headers)?;
        Ok(reply
            .etag
            .filter(|_| reply.response.status().is_success() || reply.response.status().is_redirection()))
    }

    /// Follows redirects: to the end for a file, as far as its version for headers.
    fn follow(&self, path: &str, ask: Ask) -> anyhow::Result<Reply> {
        let mut url = format!("{}{path}", self.endpoint);
        let (mut linked_etag, mut linked_bytes) = (None, None);
        let mut is_home = true;
        for _ in 0..MAX_REDIRECTS {
            // Once led away, the token is not sent any more.
            is_home = is_home && Origin::of(&url)? == self.home;
            let response = self.request(&url, is_home, ask)?;
            // The hub's own names the file; what a redirect leads to may call it otherwise.
            if let Some(tag) = header(response.headers(), "x-linked-etag") {
                linked_etag.get_or_insert_with(|| etag(tag));
            }
            if let Some(bytes) =
                header(response.headers(), "x-linked-size").and_then(|text| text.parse().ok())
            {
                linked_bytes.get_or_insert(bytes);
            }
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect || (matches!(ask, Ask::Headers) && linked_etag.is_some()) {
                let own = || header(response.headers(), "etag").map(etag);
                let etag = linked_etag.or_else(own);
                return Ok(Reply { url, etag, linked_bytes, response });
            }
            let location = header(response.headers(), "location");
            let location = location.with_context(|| format!("{url}: a redirect to nowhere"))?;
            url = follow(&url, location)?;
        }
        bail!("{url}: more than {MAX_REDIRECTS} redirects")
    }

    fn request(&self, url: &str, is_home: bool, ask: Ask) -> anyhow::Result<Response<Body>> {
        tls::check(url)?;
        let mut request = match ask {
            Ask::From(_) => self.agent.get(url),
            Ask::Headers => self.agent.head(url),
        };
        // Compressed, lengths and ranges would be of something else.
        request = request.header("Accept-Encoding", "identity");
        if let Ask::From(from @ 1..) = ask {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| is_home) {
            request = request.header("Authorization", token);
        }
        request.call().map_err(|error| failure::explain(error, url, self.patience))
    }
}

/// The answer at the end of the redirects.
struct Reply {
    url: String,
    etag: Option<String>,
    /// The file's length, where the hub says it.
    linked_bytes: Option<u64>,
    response: Response<Body>,
}

/// A file, or the end of one.
pub(super) struct Answer {
    pub(super) extent: Extent,
    /// Names the file's version: a sha256 for large files.
    pub(super) etag: Option<String>,
    pub(super) body: Box<dyn Read>,
}

/// `HF_TOKEN` as a header.
fn token() -> anyhow::Result<Option<HeaderValue>> {
    let token = std::env::var("HF_TOKEN").unwrap_or_default();
    let token = token.trim();
    if token.is_empty() {
        return Ok(None);
    }
    let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| is_visible);
    Ok(Some(value.context(
        "HF_TOKEN holds a character that no token has (a space, a line end, a letter beyond ASCII)",
    )?))
}
