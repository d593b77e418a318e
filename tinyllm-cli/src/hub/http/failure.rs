//! Words errors of connections to the hub, with what to do.

use std::time::Duration;

use ureq::Error;

/// Says why a request got no answer.
pub(super) fn explain(error: Error, url: &str, patience: Duration) -> anyhow::Error {
    let seconds = patience.as_secs();
    match error {
        Error::Timeout(_) => anyhow::anyhow!(
            "{url}: no answer within {seconds} s; pull again, or let HF_HUB_DOWNLOAD_TIMEOUT be more seconds"
        ),
        Error::LargeResponseHeader(found, limit) => {
            anyhow::anyhow!("{url}: the answer's headers are longer than {limit} bytes ({found})")
        }
        Error::Protocol(cause) => anyhow::anyhow!("{url}: the answer is not HTTP/1.1: {cause}"),
        Error::Http(cause) => anyhow::anyhow!("{url}: no request can be made of it: {cause}"),
        Error::BadUri(cause) => anyhow::anyhow!("{url}: not a URL: {cause}"),
        Error::Tls(cause) => anyhow::anyhow!("{url}: no safe connection: {cause}"),
        Error::Rustls(cause) => anyhow::anyhow!("{url}: no safe connection: {cause}"),
        Error::InvalidProxyUrl => {
            anyhow::anyhow!("the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is no URL")
        }
        Error::ConnectProxyFailed(cause) => anyhow::anyhow!("{url}: the proxy refuses: {cause}"),
        // No network, unknown host, or connection refused.
        cause => anyhow::Error::new(cause).context(format!(
            "{url}: the hub cannot be reached; pull needs a network, models already pulled run without"
        )),
    }
}
