//! What a request can be answered instead of what it asked for.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteError {
    MalformedId,
    MalformedPhone,
    MalformedBody,
    UnknownSession,
    NotFound,
    NotSignedIn,
    WrongToken,
    WrongHost,
    LogAway,
    Internal,
}

/// For people and programs; nothing internal, nothing of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    pub error: &'static str,
    pub message: &'static str,
    pub what_to_do: &'static str,
}

impl RouteError {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::MalformedId | Self::MalformedPhone | Self::MalformedBody => StatusCode::BAD_REQUEST,
            Self::UnknownSession | Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotSignedIn | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::LogAway => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn told(self) -> Told {
        let (error, message, what_to_do) = match self {
            Self::MalformedId => (
                "malformed_id",
                "A session id is a UUID.",
                "Copy OpencxSessionId from the messaging session in Salesforce, whole.",
            ),
            Self::MalformedPhone => (
                "malformed_phone",
                "A phone number has 7 to 15 digits with its country code.",
                "Write it like +34 600 000 000.",
            ),
            Self::MalformedBody => (
                "malformed_body",
                "The request's body cannot be read.",
                "Send JSON like {\"phone\": \"+34600000000\"} with Content-Type: application/json.",
            ),
            Self::UnknownSession => (
                "unknown_session",
                "The log holds no such session.",
                "Check the id. Sessions older than the log's horizon (7 days by default) are not here, \
                 and after the cache was lost, only each conversation's latest session is found by id: \
                 search by phone number instead.",
            ),
            Self::NotFound => ("not_found", "There is nothing here.", "Start at the search page, /."),
            Self::NotSignedIn => (
                "not_signed_in",
                "This console asks for its token.",
                "Send it as Authorization: Bearer …, or sign in at /.",
            ),
            Self::WrongToken => {
                ("wrong_token", "That is not the token.", "It is the value of CONSOLE_TOKEN of this service.")
            }
            Self::WrongHost => (
                "wrong_host",
                "Without a token, this console answers to localhost only.",
                "Open it as http://localhost, or set CONSOLE_TOKEN.",
            ),
            Self::LogAway => (
                "log_away",
                "The log does not answer right now.",
                "Try again in a few seconds. If it lasts, look at the broker (NATS) and at /readyz.",
            ),
            Self::Internal => {
                ("internal", "This page could not be made.", "Try again; the service's log says why.")
            }
        };
        Told { error, message, what_to_do }
    }
}

impl From<bus::Error> for RouteError {
    fn from(error: bus::Error) -> Self {
        tracing::warn!(error = runtime::error_chain(&error), "the log could not be read");
        Self::LogAway
    }
}

/// As JSON; pages have `pages::Failed`.
impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.told())).into_response();
        match self.status() {
            StatusCode::UNAUTHORIZED => {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
