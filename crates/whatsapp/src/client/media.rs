//! Files (§6): customers' are fetched, ours uploaded.
//!
//! The bearer token goes to the Graph API and to Meta's file hosts only. The address of a file comes
//! from an answer, so its host is checked before anything is asked of it, what the host resolves to
//! is checked when connecting, and no redirect is followed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::{PhoneNumberId, message::MediaKind, net::is_public};
use http::StatusCode;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    multipart::{Form, Part},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::{Host, Url};

use super::{Client, ConfigError, SendError};
use crate::outgoing::max_bytes;

/// Where Meta keeps files, with everything below (§6.1).
const FILE_HOSTS: [&str; 3] = ["fbsbx.com", "fbcdn.net", "whatsapp.net"];
/// A file may be 100 MB, and a phone's network slow.
const LONGEST_TRANSFER: Duration = Duration::from_secs(120);
/// Not a byte for this long: broken.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);

/// What the Graph API knows of a file.
#[derive(Debug, Clone, Deserialize)]
pub struct MediaInfo {
    /// Lives five minutes, and is worth nothing without the token.
    pub url: SecretString,
    #[serde(default)]
    pub mime_type: String,
    #[serde(default)]
    pub sha256: Option<String>,
    /// A number in traffic, a string in an example.
    #[serde(default, deserialize_with = "number_or_text")]
    pub file_size: Option<u64>,
}

/// Why a customer's file is not here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Another try may help.
    #[error("{0}")]
    Retry(#[source] Cause),
    /// Meta does not keep it any more, or never did.
    #[error("WhatsApp does not have the file any more")]
    Gone,
    #[error("it is larger than {} MB", .limit / (1024 * 1024))]
    TooLarge { limit: u64 },
    /// What arrived is not what was sent.
    #[error("it arrived damaged")]
    Damaged,
    /// Its address is not one of Meta's: nothing was asked of it.
    #[error("its address is not one of Meta's")]
    ForeignHost,
    /// The token or the number is not in order.
    #[error("WhatsApp refuses it (HTTP {status})")]
    Refused { status: StatusCode },
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("the transfer broke")]
    Transport(#[source] reqwest::Error),
    #[error("WhatsApp cannot give it now (HTTP {0})")]
    Status(StatusCode),
    #[error("an unreadable answer")]
    Unreadable,
}

/// A file on its way, see [`Client::fetch`].
pub struct Download {
    response: reqwest::Response,
    limit: u64,
    got: u64,
    hash: digest::Context,
    wanted: Option<[u8; 32]>,
}

/// An uploaded file's id; it belongs to the number and lives 30 days.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MediaId {
    pub id: String,
}

pub(super) fn http(base: &Url) -> Result<reqwest::Client, ConfigError> {
    let loopback = is_loopback(base);
    reqwest::Client::builder()
        // Without one some files are refused (§6.1).
        .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .timeout(LONGEST_TRANSFER)
        .read_timeout(LONGEST_SILENCE)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .dns_resolver(Arc::new(PublicOnly))
        // Through a proxy the check of addresses would be the proxy's.
        .no_proxy()
        .https_only(!loopback)
        .build()
        .map_err(ConfigError::Http)
}

impl Client {
    /// Asks where a file is: good for five minutes.
    pub async fn media_info(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        media: &str,
    ) -> Result<MediaInfo, FetchError> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(media);
        }
        let request = self
            .http
            .get(url)
            .query(&[("phone_number_id", number.as_str())])
            .bearer_auth(token.expose_secret());
        let response = request.send().await.map_err(transport)?;
        judge(response.status())?;
        let answer = response.bytes().await.map_err(transport)?;
        serde_json::from_slice(&answer).map_err(|_| FetchError::Retry(Cause::Unreadable))
    }

    /// Opens a file of at most `limit` bytes. `sha256`: what it must come to, base64 or hex.
    pub async fn fetch(
        &self,
        token: &SecretString,
        info: &MediaInfo,
        sha256: Option<&str>,
        limit: u64,
    ) -> Result<Download, FetchError> {
        let url: Url = info.url.expose_secret().parse().map_err(|_| FetchError::ForeignHost)?;
        if !self.is_metas(&url) {
            return Err(FetchError::ForeignHost);
        }
        if info.file_size.is_some_and(|size| size > limit) {
            return Err(FetchError::TooLarge { limit });
        }
        let request = self.files.get(url).bearer_auth(token.expose_secret());
        let response = request.send().await.map_err(transport)?;
        judge(response.status())?;
        if response.content_length().is_some_and(|size| size > limit) {
            return Err(FetchError::TooLarge { limit });
        }
        let wanted = sha256.or(info.sha256.as_deref()).and_then(decoded);
        Ok(Download { response, limit, got: 0, hash: digest::Context::new(&digest::SHA256), wanted })
    }

    /// Puts a file at Meta's, to be sent by its id.
    pub async fn upload(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        name: &str,
        mime: &str,
        bytes: Bytes,
    ) -> Result<MediaId, SendError> {
        let length = bytes.len() as u64;
        let file = Part::stream_with_length(bytes, length)
            .file_name(name.to_owned())
            .mime_str(mime)
            .or_else(|_| Part::bytes(Vec::new()).mime_str("application/octet-stream"))
            .map_err(SendError::NotSent)?;
        let form = Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", mime.to_owned())
            .part("file", file);
        let request = self
            .files
            .post(self.of_number(number, "media"))
            .bearer_auth(token.expose_secret())
            .multipart(form);
        let (status, answer) = self.answered(request).await?;
        serde_json::from_slice(&answer).map_err(|_| SendError::InDoubt(super::Doubt::Unreadable { status }))
    }

    /// Meta's file hosts over https; and, where the Graph API itself is on loopback (tests), that
    /// very server.
    fn is_metas(&self, url: &Url) -> bool {
        if is_loopback(&self.base) && url.origin() == self.base.origin() {
            return true;
        }
        let Some(Host::Domain(host)) = url.host() else { return false };
        let below = |domain: &str| {
            host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        };
        url.scheme() == "https" && url.port().is_none() && FILE_HOSTS.iter().any(|domain| below(domain))
    }
}

impl Download {
    /// The next bytes; `None` at the end of a file that is whole.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        match self.response.chunk().await.map_err(transport)? {
            Some(chunk) => {
                self.got += chunk.len() as u64;
                if self.got > self.limit {
                    return Err(FetchError::TooLarge { limit: self.limit });
                }
                self.hash.update(&chunk);
                Ok(Some(chunk))
            }
            None => {
                let hash = self.hash.clone().finish();
                match &self.wanted {
                    Some(wanted) if wanted != hash.as_ref() => Err(FetchError::Damaged),
                    Some(_) | None => Ok(None),
                }
            }
        }
    }

    /// Of what came so far, lower-case hex.
    pub fn sha256(&self) -> String {
        hex::encode(self.hash.clone().finish())
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Download({} bytes)", self.got)
    }
}

/// The most bytes that a customer's file of a kind may have: what WhatsApp lets through.
pub const fn inbound_limit(kind: MediaKind) -> u64 {
    match kind {
        // Larger pictures and videos were sent before the limits, or come from other clients.
        MediaKind::Image | MediaKind::Sticker => 25 * 1024 * 1024,
        MediaKind::Audio | MediaKind::Voice | MediaKind::Video | MediaKind::Document => {
            max_bytes(MediaKind::Document)
        }
    }
}

fn judge(status: StatusCode) -> Result<(), FetchError> {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::Gone),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(FetchError::Retry(Cause::Status(status)))
        }
        status if status.is_server_error() => Err(FetchError::Retry(Cause::Status(status))),
        // Nobody is followed elsewhere with the token.
        status if status.is_redirection() => Err(FetchError::ForeignHost),
        status if status.is_success() => Ok(()),
        status => Err(FetchError::Refused { status }),
    }
}

fn transport(error: reqwest::Error) -> FetchError {
    // The address is a secret.
    FetchError::Retry(Cause::Transport(error.without_url()))
}

/// Base64 in webhooks, hex in answers (open question 10).
fn decoded(text: &str) -> Option<[u8; 32]> {
    let bytes = match text.len() {
        64 => hex::decode(text).ok()?,
        _ => STANDARD.decode(text).ok()?,
    };
    bytes.try_into().ok()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Names that resolve to addresses inside a network are not Meta's, whatever they say.
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

fn number_or_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    Ok(Option::<Either>::deserialize(from)?.and_then(|either| match either {
        Either::Number(number) => Some(number),
        Either::Text(text) => text.parse().ok(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_in_both_forms() {
        let hash = [7u8; 32];
        assert_eq!(decoded(&hex::encode(hash)), Some(hash));
        assert_eq!(decoded(&STANDARD.encode(hash)), Some(hash));
        assert_eq!(decoded("nonsense"), None);
    }

    #[test]
    fn the_token_goes_to_metas_hosts_only() {
        let client = |url: &str| {
            let config = super::super::Config {
                graph_url: url.parse().unwrap(),
                graph_timeout: Duration::from_secs(1),
            };
            Client::new(&config).unwrap()
        };
        let real = client("https://graph.facebook.com/v25.0");
        let is = |client: &Client, url: &str| client.is_metas(&url.parse().unwrap());
        assert!(is(&real, "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1"));
        for url in [
            "http://lookaside.fbsbx.com/x",
            "https://lookaside.fbsbx.com.evil.example/x",
            "https://evilfbsbx.com/x",
            "https://lookaside.fbsbx.com:8443/x",
            "https://127.0.0.1/x",
            "https://user@evil.example/fbsbx.com",
        ] {
            assert!(!is(&real, url), "{url}");
        }
        let test = client("http://127.0.0.1:4000/v25.0");
        assert!(is(&test, "http://127.0.0.1:4000/media/1"));
        assert!(!is(&test, "http://127.0.0.1:4001/media/1"));
    }
}
