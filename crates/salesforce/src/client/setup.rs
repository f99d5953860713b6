//! What a client needs before it can call: limits, an address that may be called, TLS.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use domain::{
    net::is_loopback,
    settings::{Integration, Invalid},
};
use url::Url;

use crate::identity;

/// Limits of the calls. No wait is unbounded.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Name lookup, TCP and TLS together.
    pub connect: Duration,
    /// A whole REST call, body included; and the head of the event stream's answer.
    pub total: Duration,
    /// Longest silence on an event stream. Pings count; the official sample gives up after 90 s.
    pub idle_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(15),
            idle_max: Duration::from_secs(90),
        }
    }
}

/// Why there is no client for an integration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("messaging_url must start with https:// (http is allowed on loopback only) and be a host only")]
    Host,
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("build the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// Where to call. Checked first: nothing is sent to a host in the clear.
pub(super) fn host(integration: &Integration) -> Result<Url, ConfigError> {
    let base = integration.messaging_url()?;
    let loopback = is_loopback(&base);
    let plain = matches!(base.path(), "" | "/") && base.query().is_none() && base.username().is_empty();
    if !plain || !(base.scheme() == "https" || base.scheme() == "http" && loopback) {
        return Err(ConfigError::Host);
    }
    Ok(base)
}

/// One configuration for all clients: session tickets make storms of reconnects cheaper.
pub(crate) fn tls() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    use rustls_platform_verifier::BuilderVerifierExt as _;

    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}
