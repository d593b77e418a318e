//! Requests to the hub: redirects, the token, and what a refusal means.

use std::{io::Read, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use ureq::{
    Agent, Body,
    http::{Response, Uri},
    tls::{TlsConfig, TlsProvider},
};

/// The longest JSON answer that is read.
const MAX_JSON_BYTES: u64 = 16 << 20;
const MAX_REDIRECTS: usize = 8;

/// The hub, and who asks.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    /// `HF_ENDPOINT` and `HF_TOKEN`, or the public hub.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".into());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let mut config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)));
        if endpoint.starts_with("https:") {
            ensure_tls_instructions()?;
            let provider = Arc::new(rustls_graviola::default_provider());
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(provider)
                .build();
            config = config.tls_config(tls);
        }
        let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty());
        Ok(Client { agent: config.build().into(), endpoint, token })
    }

    /// A JSON answer.
    pub(super) fn json(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let mut text = String::new();
        let body = self.get(path, 0)?.body;
        body.take(MAX_JSON_BYTES + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("{}{path}: the connection broke", self.endpoint))?;
        if text.len() as u64 > MAX_JSON_BYTES {
            bail!("{}{path}: longer than {MAX_JSON_BYTES} bytes", self.endpoint);
        }
        serde_json::from_str(&text).with_context(|| format!("{}{path}: not JSON", self.endpoint))
    }

    /// An answer from byte `from` on, if the server can do that. Redirects are followed; the token goes to the hub's
    /// own host only.
    pub(super) fn get(&self, path: &str, from: u64) -> anyhow::Result<Answer> {
        let mut url = format!("{}{path}", self.endpoint);
        let home = host(&url)?;
        let mut etag = None;
        for _ in 0..MAX_REDIRECTS {
            let response = self.request(&url, &home, from)?;
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            if let Some(tag) = header("x-linked-etag").or_else(|| header("etag")) {
                // The hub's own is the file's; what a redirect leads to may call it otherwise.
                etag.get_or_insert(tag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase());
            }
            let body_length = header("content-length").and_then(|length| length.parse().ok());
            match response.status().as_u16() {
                status @ (200 | 206) => {
                    let first_byte =
                        if status == 206 { header("content-range").and_then(first_byte) } else { Some(0) };
                    let first_byte =
                        first_byte.with_context(|| format!("{url}: a part that says not which"))?;
                    let body = Box::new(response.into_body().into_reader());
                    return Ok(Answer { first_byte, body_length, etag, body });
                }
                // Nothing follows what is here: from the beginning, then.
                416 if from > 0 => return self.get(path, 0),
                301 | 302 | 303 | 307 | 308 => {
                    let location = header("location").context("a redirect to nowhere")?;
                    url = if location.starts_with('/') {
                        let (scheme, _) = url.split_once("://").context("a URL without a scheme")?;
                        format!("{scheme}://{}{location}", host(&url)?)
                    } else {
                        location.to_owned()
                    };
                }
                401 | 403 => {
                    bail!("{url}: the hub refuses; set HF_TOKEN, and accept the model's terms on its page")
                }
                404 => bail!(
                    "{url}: not on the hub; check the name, the revision and, for private models, HF_TOKEN"
                ),
                status => bail!("{url}: the hub answered {status}"),
            }
        }
        bail!("{url}: more than {MAX_REDIRECTS} redirects")
    }

    fn request(&self, url: &str, home: &str, from: u64) -> anyhow::Result<Response<Body>> {
        // Compressed, lengths and ranges would be of something else.
        let mut request = self.agent.get(url).header("Accept-Encoding", "identity");
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| host(url).is_ok_and(|host| host == home)) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().with_context(|| {
            format!(
                "{url}: the hub cannot be reached; pull needs a network, models already pulled run without"
            )
        })
    }
}

/// A file, or the end of one.
pub(super) struct Answer {
    /// Where the body begins in the file.
    pub(super) first_byte: u64,
    /// Bytes of the body, where the server says.
    pub(super) body_length: Option<u64>,
    /// Names the file's version: a sha256 for large files.
    pub(super) etag: Option<String>,
    pub(super) body: Box<dyn Read>,
}

impl Answer {
    /// The file's checksum, where the etag is one.
    pub(super) fn sha256(&self) -> Option<&str> {
        let is_hash = |etag: &&str| etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.etag.as_deref().filter(is_hash)
    }
}

/// The first byte of `bytes 7-9/10`.
fn first_byte(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Host and port of a URL.
fn host(url: &str) -> anyhow::Result<String> {
    let uri: Uri = url.parse().with_context(|| format!("{url}: not a URL"))?;
    Ok(uri.authority().with_context(|| format!("{url}: no host"))?.to_string())
}

/// The TLS library's code needs these and asserts them: better to say so.
fn ensure_tls_instructions() -> anyhow::Result<()> {
    #[cfg(target_arch = "x86_64")]
    {
        let has = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("adx");
        anyhow::ensure!(
            has,
            "TLS needs AES, PCLMULQDQ, AVX2, BMI and ADX, which this processor lacks; download the files by other means"
        );
    }
    Ok(())
}
