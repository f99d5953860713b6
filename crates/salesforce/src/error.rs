use std::{error::Error as StdError, time::Duration};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;

use crate::identity;

/// Without a `Retry-After` (whether MIAW sends one is not public, §12 no. 17).
const DEFAULT_PAUSE: Duration = Duration::from_secs(2);
/// No answer may silence us for longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What went wrong at Salesforce. Never holds a token, a text or an id of a person: `endpoint` is
/// a template, `code` and `hint` come from a fixed vocabulary.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer: connecting, TLS, a time-out, a broken connection. A request may have arrived.
    #[error("call {endpoint}")]
    Transport { endpoint: &'static str, source: Box<dyn StdError + Send + Sync> },
    /// 401: the token ran out or is not known (§2.6).
    #[error("{endpoint} answered 401: the access token is not valid")]
    Unauthorized { endpoint: &'static str },
    /// Any other 3xx or 4xx: the same request will be refused again.
    #[error(
        "{endpoint} answered {status}{}{}",
        code.as_deref().map(|code| format!(" {code}")).unwrap_or_default(),
        hint.map(|hint| format!(": {hint}")).unwrap_or_default()
    )]
    Refused {
        endpoint: &'static str,
        status: StatusCode,
        /// Salesforce's word for it, where it looks like a word.
        code: Option<String>,
        /// What to do about the refusals that have one known cause.
        hint: Option<&'static str>,
    },
    /// 429.
    #[error("{endpoint} answered 429: too many requests")]
    RateLimited { endpoint: &'static str, retry_after: Option<Duration> },
    /// 417: no messaging session is live and the deployment wants the start of a new one spelt out
    /// (§4). Send again with the same message id and a [`crate::NewSession`].
    #[error("{endpoint} answered 417: no messaging session is live")]
    NoSession { endpoint: &'static str },
    /// 5xx, 408, 412 (§9).
    #[error("{endpoint} answered {status}")]
    Unavailable { endpoint: &'static str, status: StatusCode },
    /// 404: no such conversation, or it is closed.
    #[error("{endpoint} answered 404")]
    NotFound { endpoint: &'static str },
    /// The token call answered 200 for somebody unverified (§2.3): a wrong issuer, key id or key,
    /// a key without `x5c`, or a clock that is off. The token was thrown away.
    #[error(
        "Salesforce did not accept the identity token: check issuer, key id, keyset and this machine's clock"
    )]
    NotVerified,
    /// A 2xx answer that is not what the reference describes: a proxy's page, most likely.
    #[error("{endpoint} answered {status} with something unreadable")]
    Unreadable { endpoint: &'static str, status: StatusCode },
    /// An answer beyond the limit for its endpoint.
    #[error("{endpoint} answered more than {limit} bytes")]
    TooLarge { endpoint: &'static str, limit: usize },
    /// 413.
    #[error("the file is too large for Salesforce")]
    FileTooLarge,
    /// 415.
    #[error("Salesforce does not take files of this type")]
    FileTypeRefused,
    /// Not a byte on the event stream, pings included, for this long: half-open, most likely.
    #[error("the event stream was silent for {} s", idle.as_secs())]
    Silent { idle: Duration },
    #[error("make the identity token")]
    Identity(#[from] identity::Error),
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// With backoff, and the same ids.
    Soon,
    /// Not before this.
    After(Duration),
    /// Once, with a new access token.
    Renew,
    Never,
}

impl Error {
    pub fn retry(&self) -> Retry {
        match self {
            Self::Transport { .. }
            | Self::Unavailable { .. }
            | Self::Unreadable { .. }
            | Self::Silent { .. } => Retry::Soon,
            Self::RateLimited { retry_after, .. } => Retry::After(retry_after.unwrap_or(DEFAULT_PAUSE)),
            Self::Unauthorized { .. } => Retry::Renew,
            Self::Refused { .. }
            | Self::NoSession { .. }
            | Self::NotFound { .. }
            | Self::NotVerified
            | Self::TooLarge { .. }
            | Self::FileTooLarge
            | Self::FileTypeRefused
            | Self::Identity(_) => Retry::Never,
        }
    }

    /// 400: Salesforce does not take something in the request, and rarely says what.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::BAD_REQUEST, .. })
    }

    /// The request, or one before it that it repeats, may have arrived (§4): history tells.
    pub(crate) fn may_have_arrived(&self) -> bool {
        matches!(
            self,
            Self::Refused { status: StatusCode::BAD_REQUEST | StatusCode::CONFLICT, .. }
                | Self::Transport { .. }
                | Self::Unavailable { .. }
        )
    }

    pub(crate) fn transport(
        endpoint: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Transport { endpoint, source: source.into() }
    }
}

/// A connection or an answer that did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
pub(crate) struct TimedOut(pub(crate) Duration);

/// What an answer other than 2xx means. The body may be JSON, plain text, HTML or nothing (§9).
pub(crate) fn refusal(endpoint: &'static str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    match status {
        StatusCode::UNAUTHORIZED => Error::Unauthorized { endpoint },
        StatusCode::NOT_FOUND => Error::NotFound { endpoint },
        StatusCode::EXPECTATION_FAILED => Error::NoSession { endpoint },
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited { endpoint, retry_after: retry_after(headers) },
        StatusCode::REQUEST_TIMEOUT | StatusCode::PRECONDITION_FAILED => {
            Error::Unavailable { endpoint, status }
        }
        status if status.is_server_error() => Error::Unavailable { endpoint, status },
        status => {
            let told: Told = serde_json::from_slice(body).unwrap_or_default();
            let hint = hint(status, told.message.as_deref().unwrap_or_default());
            Error::Refused { endpoint, status, code: told.code.filter(|code| is_a_word(code)), hint }
        }
    }
}

#[derive(Deserialize, Default)]
struct Told {
    message: Option<String>,
    #[serde(alias = "errorCode")]
    code: Option<String>,
}

/// Codes are words like `BAD_REQUEST`. Anything else might quote the request.
fn is_a_word(code: &str) -> bool {
    code.len() <= 48 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// Messages seen live (§1, §3.1, §7.1) whose cause is always the same. Others are dropped: they
/// may quote what was sent.
fn hint(status: StatusCode, message: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 5] = [
        ("deploymentType", "the deployment must be of type Custom Client, and published"),
        ("OrgId is required", "the organization id is missing"),
        ("OrgId in the header", "org_id is not the organization of this messaging host"),
        ("UUID", "an id is not a lowercase version-4 UUID"),
        ("esDeveloperName", "es_developer_name is not the API name of a published deployment"),
    ];
    if status.is_redirection() {
        return Some("a redirect, which is not followed: messaging_url is not the messaging host");
    }
    if status == StatusCode::FORBIDDEN {
        return Some("the conversation belongs to another user, or the deployment is not allowed");
    }
    KNOWN.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| *hint)
}

/// Seconds only: nothing of Salesforce's has been seen to send a date here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Every recorded error, as it is understood.
    #[test]
    fn errors_are_read_as_recorded() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");
        let mut seen = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.starts_with("error-") || !name.ends_with(".json") {
                continue;
            }
            let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let status = file["_httpStatus"].as_u64().and_then(|s| u16::try_from(s).ok()).unwrap();
            let body = file["body"].as_str().map_or_else(|| file["body"].to_string(), str::to_owned);
            let status = StatusCode::from_u16(status).unwrap();
            let error = refusal("POST /it", status, &HeaderMap::new(), body.as_bytes());
            seen.push(format!("{name}: {error} ({:?})", error.retry()));
        }
        seen.sort();
        insta::assert_snapshot!(seen.join("\n"));
    }

    #[test]
    fn bodies_of_any_kind_are_tolerated() {
        for body in [&b""[..], b"Jwt is expired", b"<html>", b"{\"code\":7}", b"[]", b"\xff"] {
            let status = StatusCode::BAD_REQUEST;
            let error = refusal("x", status, &HeaderMap::new(), body);
            assert!(matches!(error, Error::Refused { code: None, hint: None, .. }), "{error}");
        }
    }

    #[test]
    fn a_code_that_could_quote_the_request_is_dropped() {
        let body = br#"{"message":"m","code":"+15550100123 is unknown"}"#;
        let error = refusal("x", StatusCode::BAD_REQUEST, &HeaderMap::new(), body);
        assert!(matches!(error, Error::Refused { code: None, .. }));
    }

    #[test]
    fn retry_after_is_bounded() {
        let headers = |value: &str| HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        assert_eq!(retry_after(&headers("7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&headers("99999999")), Some(LONGEST_PAUSE));
        assert_eq!(retry_after(&headers("Wed, 21 Oct 2026 07:28:00 GMT")), None);
    }
}
