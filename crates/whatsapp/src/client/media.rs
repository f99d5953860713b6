//! Files (§6): customers' are fetched, ours uploaded.
//!
//! The bearer token goes to the Graph API and to Meta's file hosts only. The address of a file comes
//! from an answer, so its host is checked before anything is asked of it, what the host resolves to
//! is checked when connecting, and no redirect is followed.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::{PhoneNumberId, message::MediaKind};
use http::{StatusCode, header};
use reqwest::{
    Body,
    multipart::{Form, Part},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::{Class, Client, Doubt, SendError, hosts::is_metas};
use crate::outgoing::max_bytes;

/// From one of Meta's hosts to another.
const MAX_REDIRECTS: usize = 3;

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
    #[error("no answer in time")]
    TimedOut,
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
    size: Option<u64>,
}

/// An uploaded file's id; it belongs to the number and lives 30 days.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MediaId {
    pub id: String,
}

impl Client {
    /// Asks where a file is: good for five minutes.
    pub async fn media_info(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        media: &str,
    ) -> Result<MediaInfo, FetchError> {
        let request = self
            .http
            .get(self.path(&[media]))
            .query(&[("phone_number_id", number.as_str())])
            .bearer_auth(token.expose_secret());
        let (_, answer) = self.answered(request).await.map_err(unknown)?;
        serde_json::from_slice(&answer).map_err(|_| FetchError::Retry(Cause::Unreadable))
    }

    /// Asks where a file of at most `limit` bytes is, and opens it; once more where its address has
    /// gone stale meanwhile. `sha256`: what it must come to, base64 or hex.
    pub async fn fetch_media(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        media: &str,
        sha256: Option<&str>,
        limit: u64,
    ) -> Result<(MediaInfo, Download), FetchError> {
        let mut info = self.media_info(number, token, media).await?;
        let download = match self.fetch(token, &info, sha256, limit).await {
            Err(FetchError::Gone) => {
                info = self.media_info(number, token, media).await?;
                self.fetch(token, &info, sha256, limit).await?
            }
            result => result?,
        };
        Ok((info, download))
    }

    /// Opens a file of at most `limit` bytes. `sha256`: what it must come to, base64 or hex.
    pub async fn fetch(
        &self,
        token: &SecretString,
        info: &MediaInfo,
        sha256: Option<&str>,
        limit: u64,
    ) -> Result<Download, FetchError> {
        if info.file_size.is_some_and(|size| size > limit) {
            return Err(FetchError::TooLarge { limit });
        }
        let url = info.url.expose_secret().parse().map_err(|_| FetchError::ForeignHost)?;
        let response = self.opened(token, url).await?;
        judge(response.status())?;
        if response.content_length().is_some_and(|size| size > limit) {
            return Err(FetchError::TooLarge { limit });
        }
        let wanted = sha256.and_then(decoded).or_else(|| info.sha256.as_deref().and_then(decoded));
        let hash = digest::Context::new(&digest::SHA256);
        Ok(Download { response, limit, got: 0, hash, wanted, size: info.file_size })
    }

    /// Follows redirects among Meta's hosts; what would lead elsewhere is not asked.
    async fn opened(&self, token: &SecretString, mut url: Url) -> Result<reqwest::Response, FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            if !is_metas(&self.base, &url) {
                return Err(FetchError::ForeignHost);
            }
            let request = self.files.get(url.clone()).bearer_auth(token.expose_secret());
            let response = request.send().await.map_err(transport)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            url = location.and_then(|to| url.join(to).ok()).ok_or(FetchError::ForeignHost)?;
        }
        Err(FetchError::ForeignHost)
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
        self.upload_stream(number, token, name, mime, bytes.into(), length).await
    }

    /// Puts a file of exactly `length` bytes at Meta's while it is read.
    pub async fn upload_stream(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        name: &str,
        mime: &str,
        bytes: Body,
        length: u64,
    ) -> Result<MediaId, SendError> {
        // A rep's file may claim anything.
        let is_mime = Part::text("").mime_str(mime).is_ok();
        let mime = if is_mime { mime } else { "application/octet-stream" };
        let file = Part::stream_with_length(bytes, length).file_name(name.to_owned());
        let file = file.mime_str(mime).map_err(SendError::NotSent)?;
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
        serde_json::from_slice(&answer).map_err(|_| SendError::InDoubt(Doubt::Unreadable { status }))
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
                let whole = match &self.wanted {
                    Some(wanted) => wanted == hash.as_ref(),
                    None => self.size.is_none_or(|size| size == self.got),
                };
                if whole { Ok(None) } else { Err(FetchError::Damaged) }
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

/// Why the Graph API does not say where a file is.
fn unknown(error: SendError) -> FetchError {
    let cause = match error {
        // What it says of ids that it does not keep any more (§8).
        SendError::Refused(refusal) if refusal.code == 100 => return FetchError::Gone,
        SendError::Refused(refusal) if refusal.class == Class::Retry => Cause::Status(refusal.status),
        SendError::Refused(refusal) => return FetchError::Refused { status: refusal.status },
        SendError::Paced { .. } => Cause::Status(StatusCode::TOO_MANY_REQUESTS),
        SendError::NotSent(error) | SendError::InDoubt(Doubt::Broken(error)) => Cause::Transport(error),
        SendError::InDoubt(Doubt::TimedOut) => Cause::TimedOut,
        SendError::InDoubt(Doubt::Unreadable { status } | Doubt::Failed { status, .. }) => {
            return judge(status).err().unwrap_or(FetchError::Retry(Cause::Unreadable));
        }
    };
    FetchError::Retry(cause)
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
}
