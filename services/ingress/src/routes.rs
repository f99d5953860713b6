//! `GET` and `POST /webhooks/whatsapp`, and what each failure is answered.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use runtime::telemetry::TRACE_ONLY;
use serde::Deserialize;
use tokio::time::Instant;
use tracing::Instrument as _;
use whatsapp::{signature::BadSignature, webhook::ParseError};

use crate::{
    intake::{Intake, Taken},
    problem::Problem,
};

pub fn router(intake: Arc<Intake>) -> Router {
    Router::new().route("/webhooks/whatsapp", get(handshake).post(webhook)).with_state(intake)
}

/// <https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests>
#[derive(Deserialize)]
struct Handshake {
    #[serde(rename = "hub.mode")]
    mode: String,
    #[serde(rename = "hub.challenge")]
    challenge: String,
    #[serde(rename = "hub.verify_token")]
    verify_token: String,
}

/// Longer challenges are not Meta's, which look like integers.
const LONGEST_CHALLENGE_BYTES: usize = 256;

/// Meta asks this whenever the callback URL or the verify token is set. It carries no signature.
async fn handshake(
    State(intake): State<Arc<Intake>>,
    query: Result<Query<Handshake>, QueryRejection>,
) -> Result<Response, RouteError> {
    let Query(asked) = query.map_err(|_| RouteError::NoHandshake)?;
    if asked.mode != "subscribe" || asked.challenge.len() > LONGEST_CHALLENGE_BYTES {
        return Err(RouteError::NoHandshake);
    }
    if !intake.keys.now().knows(&asked.verify_token) {
        tracing::warn!("a webhook handshake came with another verify token");
        return Err(RouteError::WrongToken);
    }
    tracing::info!("webhook handshake answered");
    // As text, and not guessed to be anything else: the challenge is the caller's.
    Ok(([(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], asked.challenge).into_response())
}

async fn webhook(State(intake): State<Arc<Intake>>, headers: HeaderMap, body: Body) -> Response {
    let started = Instant::now();
    let span = tracing::info_span!(target: TRACE_ONLY, "webhook");
    let taken = intake.take(&headers, body).instrument(span).await;
    let outcome = match &taken {
        Ok(Taken::Stored) => "stored",
        Ok(Taken::NotOurs) => "not_ours",
        Err(error) => error.name(),
    };
    intake.metrics.answered(outcome, started.elapsed());
    match taken {
        // Meta reads the status only, and repeats what is not answered 200.
        Ok(_) => StatusCode::OK.into_response(),
        Err(error) => error.into_response(),
    }
}

/// Why a request was not answered 200.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("the webhook's signature")]
    Signature(#[source] BadSignature),
    #[error("the webhook is too large")]
    TooLarge,
    #[error("the webhook's body")]
    NotJson(#[source] ParseError),
    #[error("the body broke off")]
    Unreadable,
    #[error("the body came too slowly")]
    TooSlow,
    #[error("too many bodies are being received")]
    Busy,
    #[error("store the webhook")]
    NotStored(#[source] bus::Error),
    #[error("the log did not store the webhook in time")]
    NotInTime,
    #[error("not a webhook handshake")]
    NoHandshake,
    #[error("the verify token is another one")]
    WrongToken,
}

impl RouteError {
    /// For metrics and for machines.
    fn name(&self) -> &'static str {
        match self {
            Self::Signature(_) => "bad_signature",
            Self::TooLarge => "too_large",
            Self::NotJson(_) => "not_json",
            Self::Unreadable => "unreadable",
            Self::TooSlow => "too_slow",
            Self::Busy => "busy",
            Self::NotStored(_) | Self::NotInTime => "not_stored",
            Self::NoHandshake => "no_handshake",
            Self::WrongToken => "wrong_token",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson(_) | Self::Unreadable | Self::NoHandshake => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            // Meta repeats what is answered so.
            Self::Busy | Self::NotStored(_) | Self::NotInTime => StatusCode::SERVICE_UNAVAILABLE,
            Self::WrongToken => StatusCode::FORBIDDEN,
        }
    }

    /// For the person at the other end, who is setting this up or testing it.
    fn what_to_do(&self) -> &'static str {
        match self {
            Self::Signature(_) => {
                "Sign the exact bytes of the body with the secret of the app that is subscribed, and check that no proxy rewrites the body. WHATSAPP_APP_SECRETS or the settings must list that secret."
            }
            Self::TooLarge => "Send less in one request: Meta stays below 3 MB and 1,000 updates.",
            Self::NotJson(_) => "Send the JSON as Meta does.",
            Self::Unreadable | Self::TooSlow => "Send the whole body at once.",
            Self::Busy | Self::NotStored(_) | Self::NotInTime => "Send the same request again later.",
            Self::NoHandshake => "Ask with hub.mode=subscribe, hub.challenge and hub.verify_token.",
            Self::WrongToken => {
                "Enter the same token in Meta's dashboard and in WHATSAPP_VERIFY_TOKEN or the settings."
            }
        }
    }

    fn log(&self) {
        let error = runtime::error_chain(self);
        match self {
            Self::NotStored(_) | Self::NotInTime => {
                tracing::error!(error, "webhook not stored: Meta will repeat it")
            }
            Self::Signature(_) | Self::Busy | Self::NotJson(_) => tracing::warn!(error, "webhook refused"),
            Self::TooLarge | Self::Unreadable | Self::TooSlow | Self::NoHandshake | Self::WrongToken => {
                tracing::info!(error, "request refused");
            }
        }
    }
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        self.log();
        let message = match &self {
            Self::Signature(cause) => cause.to_string(),
            Self::NotJson(cause) => cause.to_string(),
            // Its cause tells of our insides.
            Self::NotStored(_) => Self::NotInTime.to_string(),
            Self::TooLarge
            | Self::Unreadable
            | Self::TooSlow
            | Self::Busy
            | Self::NotInTime
            | Self::NoHandshake
            | Self::WrongToken => self.to_string(),
        };
        Problem::new(self.status(), self.name(), message, self.what_to_do()).into_response()
    }
}
