//! Files that reps send (§5.2): public links, fetched without any token of ours.
//!
//! The link comes from an event, so its host is checked before anything is asked of it, what the
//! host resolves to is checked when connecting, and redirects are followed by hand, within the same
//! hosts. A link is a capability: it stands in no error and no log.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use domain::net::{is_https_below, is_loopback, is_public};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tokio::time::Instant;
use url::Url;

use crate::{
    ConfigError,
    client::{USER_AGENT, tls},
};

/// With everything below.
const HOSTS: [&str; 3] = ["force.com", "salesforce.com", "documentforce.com"];
const REDIRECTS: usize = 3;
/// A file may not be ready at once (§5.2): so long it is asked for again, after pauses that double.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
const LONGEST_TRANSFER: Duration = Duration::from_secs(120);
const LONGEST_SILENCE: Duration = Duration::from_secs(15);

/// Why a rep's file is not here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A file may not be ready at once: another try may help.
    #[error("{0}")]
    Retry(#[source] Cause),
    #[error("Salesforce does not have the file any more")]
    Gone,
    #[error("the file is larger than {} MB", .limit / (1024 * 1024))]
    TooLarge { limit: u64 },
    /// Nothing was asked of it.
    #[error("the file's address is not one of Salesforce's")]
    ForeignHost,
    #[error("Salesforce refuses the file (HTTP {status})")]
    Refused { status: StatusCode },
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("the transfer broke")]
    Transport(#[source] reqwest::Error),
    #[error("Salesforce does not give the file yet (HTTP {0})")]
    Status(StatusCode),
}

/// Fetches reps' files.
#[derive(Debug, Clone)]
pub struct Attachments {
    http: reqwest::Client,
    /// Salesforce itself is on loopback (tests): so may be its files.
    loopback: bool,
    /// Beside [`HOSTS`].
    hosts: Vec<String>,
    patience: Duration,
}

/// A file on its way.
pub struct Download {
    response: reqwest::Response,
    left: u64,
    limit: u64,
}

impl Attachments {
    /// `messaging`: the integrations' messaging hosts. Where one is on loopback, as in tests, files may
    /// be too.
    pub fn new(messaging: &[Url]) -> Result<Self, ConfigError> {
        let loopback = messaging.iter().any(is_loopback);
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&*tls().map_err(ConfigError::Tls)?))
            .connect_timeout(Duration::from_secs(5))
            .timeout(LONGEST_TRANSFER)
            .read_timeout(LONGEST_SILENCE)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .dns_resolver(Arc::new(PublicOnly))
            // Through a proxy the check of addresses would be the proxy's.
            .no_proxy()
            .https_only(!loopback)
            .build()
            .map_err(ConfigError::Http)?;
        Ok(Self { http, loopback, hosts: Vec::new(), patience: PATIENCE })
    }

    /// These hosts may be asked too, with everything below them: an org's own domain for files.
    #[must_use]
    pub fn allowing(mut self, hosts: impl IntoIterator<Item = String>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.trim().trim_matches('.').to_ascii_lowercase());
        self.hosts.extend(hosts.filter(|host| host.contains('.')));
        self
    }

    /// How long [`Attachments::open_when_ready`] asks again; a minute unless told otherwise.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// All of a file, if it has at most `limit` bytes. One try.
    pub async fn fetch(&self, link: &str, limit: u64) -> Result<Bytes, FetchError> {
        let mut download = self.open(link, limit).await?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = download.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// Waits until the file is ready, about a minute: what Salesforce does not give by then is
    /// [`FetchError::Refused`].
    pub async fn open_when_ready(&self, link: &str, limit: u64) -> Result<Download, FetchError> {
        let deadline = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.open(link, limit).await {
                Err(FetchError::Retry(cause)) => cause,
                answer => return answer,
            };
            if Instant::now() + pause > deadline {
                return Err(match error {
                    Cause::Status(status) => FetchError::Refused { status },
                    Cause::Transport(_) => FetchError::Retry(error),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A file of at most `limit` bytes, to be read as it comes. One try.
    pub async fn open(&self, link: &str, limit: u64) -> Result<Download, FetchError> {
        let mut url: Url = link.parse().map_err(|_| FetchError::ForeignHost)?;
        for _ in 0..=REDIRECTS {
            if !self.is_allowed(&url) {
                return Err(FetchError::ForeignHost);
            }
            let response = self.http.get(url.clone()).send().await.map_err(transport)?;
            let status = response.status();
            if status.is_redirection() {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                url = to.and_then(|to| url.join(to).ok()).ok_or(FetchError::ForeignHost)?;
                continue;
            }
            return match status {
                StatusCode::GONE => Err(FetchError::Gone),
                StatusCode::NOT_FOUND | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                    Err(FetchError::Retry(Cause::Status(status)))
                }
                status if status.is_server_error() => Err(FetchError::Retry(Cause::Status(status))),
                status if !status.is_success() => Err(FetchError::Refused { status }),
                _ if response.content_length().is_some_and(|size| size > limit) => {
                    Err(FetchError::TooLarge { limit })
                }
                _ => Ok(Download { response, left: limit, limit }),
            };
        }
        Err(FetchError::ForeignHost)
    }

    fn is_allowed(&self, url: &Url) -> bool {
        if self.loopback && is_loopback(url) {
            return true;
        }
        is_https_below(url, HOSTS.into_iter().chain(self.hosts.iter().map(String::as_str)))
    }
}

impl Download {
    /// As the server says it.
    pub fn mime(&self) -> Option<&str> {
        self.response.headers().get(CONTENT_TYPE)?.to_str().ok()
    }

    /// In bytes, where the server says it: at most the limit.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes, never none; `None` at the end of the file.
    ///
    /// # Errors
    /// [`FetchError::TooLarge`] once more than the limit came.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let Some(chunk) = self.response.chunk().await.map_err(transport)? else { return Ok(None) };
            self.left = self
                .left
                .checked_sub(chunk.len() as u64)
                .ok_or(FetchError::TooLarge { limit: self.limit })?;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }
}

/// The link never shows.
impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("length", &self.length()).finish_non_exhaustive()
    }
}

fn transport(error: reqwest::Error) -> FetchError {
    FetchError::Retry(Cause::Transport(error.without_url()))
}

/// Names that resolve to addresses inside a network are not Salesforce's, whatever they say.
struct PublicOnly;

#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_salesforces_hosts_are_asked() {
        let test = Attachments::new(&["http://127.0.0.1:4000".parse().unwrap()]).unwrap();
        assert!(test.is_allowed(&"http://127.0.0.1:4001/sfc/x".parse().unwrap()));
        let attachments =
            Attachments::new(&["https://acme.my.salesforce-scrt.com".parse().unwrap()]).unwrap();
        for (url, allowed) in [
            ("https://acme.file.force.com/sfc/dist/version/download/?oid=1", true),
            ("https://acme.my.salesforce.com/x", true),
            ("http://127.0.0.1:4001/sfc/x", false),
            ("http://acme.file.force.com/x", false),
            ("https://force.com.evil.example/x", false),
            ("https://evilforce.com/x", false),
            ("https://169.254.169.254/latest", false),
        ] {
            assert_eq!(attachments.is_allowed(&url.parse().unwrap()), allowed, "{url}");
        }
        let more = attachments.allowing([".Files.Example.com".to_owned(), "com".to_owned()]);
        for (url, allowed) in [
            ("https://files.example.com/x", true),
            ("https://a.files.example.com/x", true),
            ("https://example.com/x", false),
            ("https://files.example.com:8443/x", false),
        ] {
            assert_eq!(more.is_allowed(&url.parse().unwrap()), allowed, "{url}");
        }
    }

    #[tokio::test]
    async fn names_of_this_network_have_no_address() {
        let found = PublicOnly.resolve("localhost".parse().unwrap()).await;
        assert!(found.err().unwrap().is::<NotPublic>());
    }
}
