//! TLS, with a library that needs no C compiler.

use std::sync::Arc;

use ureq::tls::{TlsConfig, TlsProvider};

/// The TLS configuration.
pub(super) fn config() -> TlsConfig {
    let config = TlsConfig::builder();
    if !has_instructions() {
        return config.build();
    }
    let provider = Arc::new(rustls_graviola::default_provider());
    config.provider(TlsProvider::Rustls).unversioned_rustls_crypto_provider(provider).build()
}

/// Refuses an https address on a processor that the TLS library does not support.
pub(super) fn check(url: &str) -> anyhow::Result<()> {
    let is_safe = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
    anyhow::ensure!(
        !is_safe || has_instructions(),
        "{url}: TLS needs AES, PCLMULQDQ, AVX2, BMI and ADX, which this processor lacks; download the files by other means"
    );
    Ok(())
}

/// The TLS library's code needs these and asserts them: better to say so.
fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("adx");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}
