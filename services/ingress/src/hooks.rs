//! `POST /hooks/salesforce/{integration}`: Salesforce says that a conversation has something new.
//! A second wake-up beside the event streams: whoever follows the conversation looks at once.
//!
//! Body: `{"conversation": "<our UUID>"}`, the one that Salesforce got as `Conversation_UUID`. Proof:
//! one of the integration's `hook_keys`, as `Authorization: Bearer <key>`, or as the key of
//! `X-Baton-Signature: sha256=<hex of HMAC-SHA256 over the body>`. Repeating a request does no harm.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bus::{Log, Woken};
use bytes::Bytes;
use domain::ThreadId;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use opentelemetry::{KeyValue, global, metrics::Counter};
use runtime::{fields, settings::Live};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::{sync::Semaphore, time::timeout};
use whatsapp::signature::{Signatures, same_token};

use crate::problem::Problem;

/// The header of a signed hook.
pub const SIGNATURE: &str = "x-baton-signature";

const MAX_BODY_BYTES: usize = 16 * 1024;
const READ_WITHIN: Duration = Duration::from_secs(5);
/// For whoever follows the conversation to say so.
const FOLLOWER_PATIENCE: Duration = Duration::from_secs(2);
/// Hooks that are being answered; the next ones are told to come again.
const AT_ONCE: usize = 256;

pub(crate) struct Hooks {
    settings: Option<Live>,
    log: Log,
    slots: Semaphore,
    answered: Counter<u64>,
}

#[derive(Deserialize)]
struct News {
    conversation: ThreadId,
}

impl Hooks {
    pub(crate) fn router(settings: Option<Live>, log: Log) -> Router {
        let answered = global::meter("ingress")
            .u64_counter(runtime::metrics::HOOKS)
            .with_description("Salesforce's hooks, by what they were answered")
            .build();
        let hooks = Self { settings, log, slots: Semaphore::new(AT_ONCE), answered };
        Router::new().route("/hooks/salesforce/{integration}", post(hook)).with_state(Arc::new(hooks))
    }

    async fn take(&self, integration: &str, headers: &HeaderMap, body: Body) -> Result<(), Problem> {
        let _slot = self.slots.try_acquire().map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many hooks at once", "Send it again.")
        })?;
        let keys = self.keys(integration).ok_or_else(unknown)?;
        let bearer = bearer(headers);
        if let Some(given) = bearer
            && !keys.iter().any(|key| same_token(key, given))
        {
            return Err(unauthorized("the key is not one of the integration's"));
        }
        let signature = headers.get(SIGNATURE).map(|value| value.as_bytes());
        if bearer.is_none() && signature.is_none() {
            return Err(unauthorized("the request carries neither a bearer key nor a signature"));
        }
        let body = read(body).await?;
        if bearer.is_none() && Signatures::new(&keys).verify(signature, &body).is_err() {
            return Err(unauthorized("the signature does not fit the body under any key of the integration"));
        }
        let news: News = serde_json::from_slice(&body).map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "not_news",
                "the body does not name a conversation",
                "Send {\"conversation\": \"<the UUID that came as Conversation_UUID>\"}.",
            )
        })?;
        match self.log.wake(news.conversation, FOLLOWER_PATIENCE).await {
            Ok(Woken::Taken) => Ok(()),
            Ok(Woken::NotFollowed) => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "not_followed",
                "no chat is going on in this conversation",
                "Nothing: what is new is found when the conversation goes on.",
            )),
            Ok(Woken::NobodyThere) => Err(away("nobody follows conversations at the moment")),
            Err(error) => {
                tracing::warn!(error = runtime::error_chain(&error), "a hook was not passed on");
                Err(away("the hook could not be passed on"))
            }
        }
    }

    /// None: nobody may call it.
    fn keys(&self, integration: &str) -> Option<Vec<SecretString>> {
        let settings = self.settings.as_ref()?.now();
        let found = settings.integrations.iter().find(|known| known.id.as_str() == integration)?;
        Some(found.hook_keys.clone()).filter(|keys| !keys.is_empty())
    }
}

async fn hook(
    State(hooks): State<Arc<Hooks>>,
    Path(integration): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let taken = hooks.take(&integration, &headers, body).await;
    let outcome = taken.as_ref().map_or_else(|problem| problem.error, |()| "woken");
    hooks.answered.add(1, &[KeyValue::new(fields::REASON, outcome)]);
    match taken {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => problem.into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    match timeout(READ_WITHIN, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the body has more than 16 KB",
            "Send the conversation's UUID and nothing else.",
        )),
        Ok(Err(_)) | Err(_) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "unreadable",
            "the body broke off or came too slowly",
            "Send the whole body at once.",
        )),
    }
}

fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_integration",
        "there is no such integration, or it has no hook_keys",
        "Call /hooks/salesforce/<id of the integration>, and give the integration hook_keys in the settings.",
    )
}

fn unauthorized(message: &str) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        message,
        "Send one of the integration's hook_keys as Authorization: Bearer <key>, or sign the exact bytes of the body with it.",
    )
}

fn away(message: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "away", message, "Send it again later, or leave it.")
}
