//! Files that reps send (§5.2): public links, fetched without any token of ours.
//!
//! The link comes from an event, so its host is checked before anything is asked of it, what the
//! host resolves to is checked when connecting, and redirects are followed by hand, within the same
//! hosts. A link is a capability: it stands in no error and no log.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use domain::net::is_public;
use http::{StatusCode, header::LOCATION};
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::{Host, Origin, Url};

use crate::client::USER_AGENT;

/// With everything below.
const HOSTS: [&str; 3] = ["force.com", "salesforce.com", "documentforce.com"];
const REDIRECTS: usize = 3;
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
    /// Servers on loopback that may be asked all the same: the integrations' own, in tests.
    loopback: Vec<Origin>,
}

impl Attachments {
    /// `messaging`: the integrations' messaging hosts; those on loopback may serve files too.
    pub fn new(messaging: &[Url]) -> Result<Self, reqwest::Error> {
        let loopback: Vec<Origin> =
            messaging.iter().filter(|url| is_loopback(url)).map(Url::origin).collect();
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(Duration::from_secs(5))
            .timeout(LONGEST_TRANSFER)
            .read_timeout(LONGEST_SILENCE)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .dns_resolver(Arc::new(PublicOnly))
            // Through a proxy the check of addresses would be the proxy's.
            .no_proxy()
            .https_only(loopback.is_empty())
            .build()?;
        Ok(Self { http, loopback })
    }

    /// All of a file, if it has at most `limit` bytes.
    pub async fn fetch(&self, link: &str, limit: u64) -> Result<Bytes, FetchError> {
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
                _ => whole(response, limit).await,
            };
        }
        Err(FetchError::ForeignHost)
    }

    fn is_allowed(&self, url: &Url) -> bool {
        if self.loopback.contains(&url.origin()) {
            return true;
        }
        let Some(Host::Domain(host)) = url.host() else { return false };
        let below = |domain: &str| {
            host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        };
        url.scheme() == "https" && url.port().is_none() && HOSTS.iter().any(|domain| below(domain))
    }
}

async fn whole(mut response: reqwest::Response, limit: u64) -> Result<Bytes, FetchError> {
    if response.content_length().is_some_and(|size| size > limit) {
        return Err(FetchError::TooLarge { limit });
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(FetchError::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn transport(error: reqwest::Error) -> FetchError {
    FetchError::Retry(Cause::Transport(error.without_url()))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
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
        let attachments = Attachments::new(&["http://127.0.0.1:4000".parse().unwrap()]).unwrap();
        for (url, allowed) in [
            ("https://acme.file.force.com/sfc/dist/version/download/?oid=1", true),
            ("https://acme.my.salesforce.com/x", true),
            ("http://127.0.0.1:4000/sfc/x", true),
            ("http://127.0.0.1:4001/sfc/x", false),
            ("http://acme.file.force.com/x", false),
            ("https://force.com.evil.example/x", false),
            ("https://evilforce.com/x", false),
            ("https://169.254.169.254/latest", false),
        ] {
            assert_eq!(attachments.is_allowed(&url.parse().unwrap()), allowed, "{url}");
        }
    }
}
