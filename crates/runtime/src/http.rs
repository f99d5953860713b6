use std::time::Duration;

use reqwest::redirect::Policy;

/// Limits of an outgoing client. No wait is unbounded: a client without `total` (event streams,
/// large bodies) needs `read`.
#[derive(Debug, Clone, Copy)]
pub struct HttpTimeouts {
    /// DNS, TCP and TLS together.
    pub connect: Duration,
    /// Longest silence between two reads of an answer.
    pub read: Duration,
    /// The whole call, body included; `None` for streams that live long.
    pub total: Option<Duration>,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(10),
            total: Some(Duration::from_secs(15)),
        }
    }
}

/// A client that follows no redirects (neither API redirects, and a redirect could carry a token
/// elsewhere) and calls itself `baton/<version>`. One per outside system; clones share the pool.
pub fn http_client(timeouts: HttpTimeouts) -> Result<reqwest::Client, reqwest::Error> {
    crate::init_crypto();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.read)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_secs(30));
    if let Some(total) = timeouts.total {
        builder = builder.timeout(total);
    }
    builder.build()
}
