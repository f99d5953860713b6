//! Sends through the Graph API
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages>; §5).
//!
//! WhatsApp has no idempotency key, so what matters most about a failed send is whether the
//! message may have gone out all the same: [`SendError`] says just that.

mod check;
mod codes;
mod graph;
mod hosts;
mod media;
mod nodes;
mod thread;

use std::time::Duration;

use bytes::BytesMut;
pub use check::{Check, Outcome, Wanted};
pub use codes::{Action, Class, Remedy, Scope, classify, remedies, remedy};
use domain::{
    PhoneNumberId, Wamid,
    message::{Customer, MediaKind, Outgoing},
};
pub use graph::CallError;
use http::{HeaderMap, StatusCode, header};
pub use media::{Cause, Download, FetchError, MediaId, MediaInfo, inbound_limit};
pub use nodes::{
    App, AppData, Callback, Component, Health, HealthEntity, HealthError, HistoryEvent, NumberNode,
    QualityScore, SubscribedApp, Subscription, TemplateButtonInfo, TemplateInfo, Templates, Throughput,
    TokenError, TokenInfo, WebhookConfiguration,
};
pub use reqwest::Body;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
pub use thread::{Control, MAX_METADATA_CHARS, Role};
use url::Url;

/// Answers are a few hundred bytes; what is longer was not written by the Graph API.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The longest `biz_opaque_callback_data`, in characters (§3).
pub const MAX_OPAQUE_CHARS: usize = 512;
/// What a server may ask to wait at once; afterwards it is asked again.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// The longest text body, in characters (§5.3).
pub const MAX_TEXT_CHARS: usize = 4096;

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Where the Graph API is, with its version. https, or http on loopback.
    #[arg(long, env = "GRAPH_URL", default_value = "https://graph.facebook.com/v25.0")]
    pub graph_url: Url,
    /// How long a call to the Graph API may take, connecting included.
    #[arg(long, env = "GRAPH_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub graph_timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// For files: its own limits, and public addresses only.
    files: reqwest::Client,
    base: Url,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("GRAPH_URL must start with https:// (http is allowed on loopback only)")]
    Insecure,
    #[error("build the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// Whom a message goes to (§4.5).
#[derive(Clone, PartialEq, Eq)]
pub enum Recipient {
    /// Digits, no plus.
    Phone(String),
    /// Business-scoped user id.
    User(String),
    /// A group's id.
    Group(String),
}

impl Recipient {
    /// What the last inbound message gave: the phone number if it was shown, else the BSUID.
    pub fn of(customer: &Customer) -> Option<Self> {
        let phone = customer.phone.clone().map(Self::Phone);
        phone.or_else(|| customer.bsuid.clone().map(Self::User))
    }
}

/// Personal data: never printed.
impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Phone(_) => "Phone(…)",
            Self::User(_) => "User(…)",
            Self::Group(_) => "Group(…)",
        })
    }
}

/// A message to one customer.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub to: &'a Recipient,
    /// One of those that [`crate::outgoing::fit`] made.
    pub body: &'a Outgoing,
    /// Where the body or its header has a file: the id it was uploaded under, and what it is sent as.
    pub media: Option<(&'a str, MediaKind)>,
    /// The message that this one quotes.
    pub quotes: Option<&'a Wamid>,
    /// Comes back in every status of the message; at most [`MAX_OPAQUE_CHARS`] characters.
    pub opaque: &'a str,
}

/// The Graph API took the message. Whether it arrives is told by statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub wamid: Wamid,
}

/// What is known about a message that was not accepted in so many words.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nothing was written: sending it again is safe.
    #[error("connect to the Graph API")]
    NotSent(#[source] reqwest::Error),
    /// Not accepted, because too much was sent. Sending it later is safe; others are not affected
    /// beyond the scope.
    #[error("the Graph API asks to slow down (code {code:?})")]
    Paced { scope: Scope, retry_after: Option<Duration>, code: Option<i32> },
    /// Not accepted, and said so.
    #[error("the Graph API refused the message: {0}")]
    Refused(Refusal),
    /// It may have gone out. Only a status that echoes the opaque data can tell.
    #[error("it is not known whether the message was sent: {0}")]
    InDoubt(Doubt),
}

/// A Graph API error (§9.1).
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("code {code}, HTTP {status}, trace {trace:?}")]
pub struct Refusal {
    pub code: i32,
    pub subcode: Option<i32>,
    pub status: StatusCode,
    pub class: Class,
    /// Meta's explanation. For people who may see the conversation: it can quote the request.
    pub details: String,
    /// `fbtrace_id`: what Meta's support asks for.
    pub trace: Option<String>,
}

impl Refusal {
    /// What becomes of the message, and whom to tell what.
    pub fn remedy(&self) -> Remedy {
        remedy(self.code, self.subcode, self.status, self.class == Class::Retry)
    }
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Refusal({self}, {:?})", self.class)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// A server error: something may have happened before it.
    #[error("HTTP {status}, code {code:?}, trace {trace:?}")]
    Failed { status: StatusCode, code: Option<i32>, trace: Option<String> },
    /// An answer that the Graph API does not give.
    #[error("an unreadable answer, HTTP {status}")]
    Unreadable { status: StatusCode },
}

#[derive(Serialize)]
struct ReadReceipt<'a> {
    messaging_product: &'static str,
    status: &'static str,
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    typing_indicator: Option<Typing>,
}

#[derive(Serialize)]
struct Typing {
    r#type: &'static str,
}

#[derive(Deserialize)]
struct Accepted {
    messages: Vec<AcceptedMessage>,
}

#[derive(Deserialize)]
struct AcceptedMessage {
    id: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: GraphError,
}

#[derive(Deserialize)]
struct GraphError {
    code: i32,
    #[serde(default)]
    message: String,
    error_subcode: Option<i32>,
    #[serde(default)]
    is_transient: bool,
    error_data: Option<ErrorData>,
    fbtrace_id: Option<String>,
}

#[derive(Deserialize)]
struct ErrorData {
    details: Option<String>,
}

/// `x-business-use-case-usage`: by account, what is used up.
#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    estimated_time_to_regain_access: u64,
}

impl Client {
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let base = config.graph_url.clone();
        let loopback = domain::net::is_loopback(&base);
        if base.cannot_be_a_base() || !(base.scheme() == "https" || base.scheme() == "http" && loopback) {
            return Err(ConfigError::Insecure);
        }
        // Fails when there is one already, which is what is wanted.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
            .timeout(config.graph_timeout)
            .connect_timeout(config.graph_timeout / 2)
            // The token must not follow anybody elsewhere, and a POST must not run twice.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(ConfigError::Http)?;
        let files = hosts::http(&base)?;
        Ok(Self { http, files, base })
    }

    pub async fn send(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        message: Message<'_>,
    ) -> Result<Sent, SendError> {
        let Message { to, body, media, quotes, opaque } = message;
        let request = crate::outgoing::request(&crate::outgoing::Message { to, body, media, quotes, opaque });
        let (status, answer) = self.post(number, "messages", token, &request).await?;
        // An answer without an id leaves open what became of the message.
        let accepted: Option<Accepted> = serde_json::from_slice(&answer).ok();
        let message = accepted.and_then(|accepted| accepted.messages.into_iter().next());
        let message = message.ok_or(SendError::InDoubt(Doubt::Unreadable { status }))?;
        Ok(Sent { wamid: Wamid::new(message.id) })
    }

    /// Shows the customer that the message was read, and the ones before it; and, with `typing`,
    /// for 25 s that an answer is being written (§5.4). Doing it again does no harm.
    pub async fn mark_read(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        wamid: &Wamid,
        typing: bool,
    ) -> Result<(), SendError> {
        let receipt = ReadReceipt {
            messaging_product: "whatsapp",
            status: "read",
            message_id: wamid.as_str(),
            typing_indicator: typing.then_some(Typing { r#type: "text" }),
        };
        self.post(number, "messages", token, &receipt).await.map(|_| ())
    }

    fn of_number(&self, number: &PhoneNumberId, edge: &str) -> Url {
        self.path(&[number.as_str(), edge])
    }

    /// Below the version; what stands in a segment is escaped.
    fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The body of a 2xx answer.
    async fn post(
        &self,
        number: &PhoneNumberId,
        edge: &str,
        token: &SecretString,
        body: &impl Serialize,
    ) -> Result<(StatusCode, BytesMut), SendError> {
        let url = self.of_number(number, edge);
        self.answered(self.http.post(url).bearer_auth(token.expose_secret()).json(body)).await
    }

    async fn answered(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, BytesMut), SendError> {
        self.answered_within(request, MAX_ANSWER_BYTES).await
    }

    async fn answered_within(
        &self,
        request: reqwest::RequestBuilder,
        limit: usize,
    ) -> Result<(StatusCode, BytesMut), SendError> {
        let mut response = request.send().await.map_err(broken)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if answer.len() + chunk.len() > limit {
                return Err(SendError::InDoubt(Doubt::Unreadable { status }));
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() { Ok((status, answer)) } else { Err(refused(status, &headers, &answer)) }
    }
}

fn broken(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    // Name lookup, TCP and TLS come before the first byte of the request.
    if error.is_connect() || error.is_builder() {
        return SendError::NotSent(error);
    }
    SendError::InDoubt(if error.is_timeout() { Doubt::TimedOut } else { Doubt::Broken(error) })
}

/// Decides by the code: HTTP statuses and message texts are not stable (§9.1).
fn refused(status: StatusCode, headers: &HeaderMap, answer: &[u8]) -> SendError {
    let Ok(ErrorAnswer { error }) = serde_json::from_slice(answer) else {
        return match status {
            // A gateway's way to ask for patience.
            StatusCode::TOO_MANY_REQUESTS => {
                SendError::Paced { scope: Scope::Number, retry_after: retry_after(headers), code: None }
            }
            _ if status.is_server_error() => {
                SendError::InDoubt(Doubt::Failed { status, code: None, trace: None })
            }
            _ => SendError::InDoubt(Doubt::Unreadable { status }),
        };
    };
    let class = classify(error.code, error.error_subcode, status, error.is_transient);
    let paced = |scope| SendError::Paced { scope, retry_after: retry_after(headers), code: Some(error.code) };
    match class {
        Class::Pace(scope) => paced(scope),
        _ if status == StatusCode::TOO_MANY_REQUESTS => paced(Scope::Number),
        // The codes of the other classes say no whatever the status: some come with a 500.
        Class::Retry if status.is_server_error() => {
            SendError::InDoubt(Doubt::Failed { status, code: Some(error.code), trace: error.fbtrace_id })
        }
        Class::Retry | Class::Fix | Class::Config | Class::Final | Class::Template => {
            SendError::Refused(Refusal {
                code: error.code,
                subcode: error.error_subcode,
                status,
                class,
                details: error.error_data.and_then(|data| data.details).unwrap_or(error.message),
                trace: error.fbtrace_id,
            })
        }
    }
}

/// What the server says, in `Retry-After` (seconds) or in the usage header (minutes).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(seconds) = text(header::RETRY_AFTER.as_str()).and_then(|text| text.trim().parse().ok()) {
        return Some(Duration::from_secs(seconds).min(LONGEST_REST));
    }
    type Usages = std::collections::HashMap<String, Vec<Usage>>;
    let usages: Usages = serde_json::from_str(text("x-business-use-case-usage")?).ok()?;
    let minutes = usages.values().flatten().map(|usage| usage.estimated_time_to_regain_access).max()?;
    (minutes > 0).then(|| Duration::from_secs(minutes.saturating_mul(60)).min(LONGEST_REST))
}
