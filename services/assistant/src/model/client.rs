//! The calls: bounded in time, size and tries. The key and the customer's words stand in no error.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::settings::Model;
use reqwest::{Response, StatusCode, header::RETRY_AFTER};
use runtime::{HttpTimeouts, http_client};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::wire::Completion;

/// Far above any completion; an endless answer ends here.
const MAX_BODY_BYTES: usize = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// What a server may ask for; a longer wait is no use to a customer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why there is no answer of the model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("call the model")]
    Transport(#[source] reqwest::Error),
    #[error("the model's endpoint answered {0}")]
    Status(StatusCode),
    #[error("the model's endpoint answered more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the model answered something that is no completion: {0}")]
    Malformed(&'static str),
    #[error("the model took too long")]
    TooSlow,
    #[error("the answer would cost more tokens than it may")]
    Budget,
    #[error("the model went on looking things up")]
    Rounds,
    /// Whether people must answer is not known.
    #[error("check the mandatory topics")]
    Unchecked(#[source] Box<Trouble>),
}

impl Trouble {
    /// One word, for metrics.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Transport(_) => "transport",
            Self::Status(_) => "status",
            Self::TooLarge => "too-large",
            Self::Malformed(_) => "malformed",
            Self::TooSlow => "too-slow",
            Self::Budget => "budget",
            Self::Rounds => "rounds",
            Self::Unchecked(_) => "topics-unchecked",
        }
    }
}

/// Another try may help, after a pause if the server says so.
struct Again {
    trouble: Trouble,
    pause: Option<Duration>,
}

enum Failed {
    Again(Again),
    Never(Trouble),
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        // Callers have deadlines; a completion comes after a long silence.
        let timeouts =
            HttpTimeouts { read: Duration::from_secs(120), total: None, ..HttpTimeouts::default() };
        Ok(Self { http: http_client(timeouts)? })
    }

    pub(super) async fn complete(
        &self,
        model: &Model,
        body: &Value,
        deadline: Instant,
    ) -> Result<Completion, Trouble> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            tries += 1;
            let again = match self.once(model, body).await {
                Ok(completion) => return Ok(completion),
                Err(Failed::Never(trouble)) => return Err(trouble),
                Err(Failed::Again(again)) => again,
            };
            let wait = again.pause.unwrap_or(pause).min(LONGEST_PAUSE).mul_f64(1.0 + fastrand::f64() * 0.2);
            if tries >= model.attempts || Instant::now() + wait >= deadline {
                return Err(again.trouble);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
    }

    async fn once(&self, model: &Model, body: &Value) -> Result<Completion, Failed> {
        let request = authorized(self.http.post(below(&model.base_url, "chat/completions")), &model.api_key);
        let response = request.json(body).send().await.map_err(transport)?;
        let body = answered(response).await?;
        let malformed = |_| Failed::Never(Trouble::Malformed("not the JSON of one"));
        serde_json::from_slice(&body).map_err(malformed)
    }
}

pub(crate) fn below(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
}

pub(crate) fn authorized(
    request: reqwest::RequestBuilder,
    key: &Option<SecretString>,
) -> reqwest::RequestBuilder {
    match key {
        Some(key) => request.bearer_auth(key.expose_secret()),
        None => request,
    }
}

async fn answered(response: Response) -> Result<Bytes, Failed> {
    let status = response.status();
    if status.is_success() {
        return match body(response, MAX_BODY_BYTES).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err(Failed::Never(Trouble::TooLarge)),
            Err(error) => Err(transport(error)),
        };
    }
    let trouble = Trouble::Status(status);
    if status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 429) {
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        return Err(Failed::Again(Again { trouble, pause: seconds.map(Duration::from_secs) }));
    }
    Err(Failed::Never(trouble))
}

/// `None`: more than the limit.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Option<Bytes>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}

fn transport(error: reqwest::Error) -> Failed {
    Failed::Again(Again { trouble: Trouble::Transport(error.without_url()), pause: None })
}
