//! Whom the token may be shown to, and which addresses are asked at all (§6.1).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use domain::net::{is_https_below, is_loopback, is_public};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::ConfigError;

/// Where Meta keeps files, with everything below.
const FILE_HOSTS: [&str; 3] = ["fbsbx.com", "fbcdn.net", "whatsapp.net"];
/// A file may be 100 MB, and a phone's network slow.
const LONGEST_TRANSFER: Duration = Duration::from_secs(120);
/// Not a byte for this long: broken.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);

/// The client for files.
pub(super) fn http(base: &Url) -> Result<reqwest::Client, ConfigError> {
    let loopback = is_loopback(base);
    let own = base.host_str().filter(|_| loopback).map(str::to_owned);
    reqwest::Client::builder()
        // Without one some files are refused (§6.1).
        .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .timeout(LONGEST_TRANSFER)
        .read_timeout(LONGEST_SILENCE)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .dns_resolver(Arc::new(PublicOnly { own }))
        // Through a proxy the check of addresses would be the proxy's.
        .no_proxy()
        .https_only(!loopback)
        .build()
        .map_err(ConfigError::Http)
}

/// The Graph API itself, and Meta's file hosts over https at their usual port. Where the Graph API
/// is on loopback (tests), it must be that very host and port.
pub(super) fn is_metas(base: &Url, url: &Url) -> bool {
    if url.origin() == base.origin() {
        return true;
    }
    is_https_below(url, FILE_HOSTS)
}

/// Names that resolve to addresses inside a network are not Meta's, whatever they say.
struct PublicOnly {
    /// The Graph API's own name where it is on loopback.
    own: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let own = self.own.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let fine = |ip: std::net::IpAddr| if own { ip.is_loopback() } else { is_public(ip) };
            let found: Vec<SocketAddr> = found.filter(|address| fine(address.ip())).collect();
            if found.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_to_metas_hosts_only() {
        let is = |base: &str, url: &str| is_metas(&base.parse().unwrap(), &url.parse().unwrap());
        let real = "https://graph.facebook.com/v25.0";
        assert!(is(real, "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1"));
        assert!(is(real, "https://graph.facebook.com/x"));
        for url in [
            "http://lookaside.fbsbx.com/x",
            "http://graph.facebook.com/x",
            "https://lookaside.fbsbx.com.evil.example/x",
            "https://evilfbsbx.com/x",
            "https://lookaside.fbsbx.com:8443/x",
            "https://127.0.0.1/x",
            "https://user@evil.example/fbsbx.com",
            "data:text/plain,fbsbx.com",
        ] {
            assert!(!is(real, url), "{url}");
        }
        let test = "http://127.0.0.1:4000/v25.0";
        assert!(is(test, "http://127.0.0.1:4000/media/1"));
        assert!(!is(test, "http://127.0.0.1:4001/media/1"));
        assert!(!is(test, "http://localhost:4000/media/1"));
    }

    #[tokio::test]
    async fn names_with_inner_addresses_are_not_asked() {
        let resolve =
            |own: Option<&str>| PublicOnly { own: own.map(Into::into) }.resolve("localhost".parse().unwrap());
        assert!(resolve(None).await.is_err());
        assert!(resolve(Some("localhost")).await.is_ok());
    }
}
