//! The JSON API.
//!
//! Personal data never stands in a URL: a phone number is asked for in a body.

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::JsonRejection},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use domain::SessionId;
use serde::{Deserialize, Serialize};

use crate::{
    Console,
    error::RouteError,
    timeline::{Summary, Timeline},
};

pub(crate) fn router(console: Console) -> Router {
    let routes = Router::new()
        .route("/sessions/search", post(search))
        .route("/sessions/{id}", get(session))
        .route("/sessions/{id}/timeline", get(timeline))
        .fallback(|| async { RouteError::NotFound })
        .method_not_allowed_fallback(|| async { RouteError::NotFound })
        .layer(middleware::from_fn_with_state(console.clone(), guard))
        .with_state(console);
    Router::new().nest("/api/v1", routes)
}

async fn guard(State(console): State<Console>, request: Request, next: Next) -> Result<Response, RouteError> {
    console.access.check(request.headers())?;
    Ok(next.run(request).await)
}

async fn session(
    State(console): State<Console>,
    Path(id): Path<String>,
) -> Result<Json<Summary>, RouteError> {
    Ok(Json(console.lookup.summary(session_id(&id)?).await?))
}

/// [`Timeline`] with the ledger's line, as people read it.
#[derive(Debug, Serialize)]
struct Told {
    ledger_line: String,
    #[serde(flatten)]
    timeline: Timeline,
}

async fn timeline(State(console): State<Console>, Path(id): Path<String>) -> Result<Json<Told>, RouteError> {
    let timeline = console.lookup.timeline(session_id(&id)?).await?;
    Ok(Json(Told { ledger_line: timeline.ledger.to_string(), timeline }))
}

#[derive(Deserialize)]
struct Search {
    phone: String,
}

#[derive(Debug, Serialize)]
struct Sessions {
    /// The newest first.
    sessions: Vec<Summary>,
}

async fn search(
    State(console): State<Console>,
    body: Result<Json<Search>, JsonRejection>,
) -> Result<Json<Sessions>, RouteError> {
    let Json(search) = body.map_err(|_| RouteError::MalformedBody)?;
    Ok(Json(Sessions { sessions: console.lookup.by_phone(&phone(&search.phone)?).await? }))
}

pub(crate) fn session_id(text: &str) -> Result<SessionId, RouteError> {
    text.trim().parse().map_err(|_| RouteError::MalformedId)
}

/// The digits of a phone number, country code first. Takes what people write: `+`, `00`, blanks,
/// hyphens, dots, parentheses.
pub(crate) fn phone(text: &str) -> Result<String, RouteError> {
    let text = text.trim();
    let known =
        |c: char| c.is_ascii_digit() || c.is_whitespace() || "+-.()/\u{2011}\u{202a}\u{202c}".contains(c);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.strip_prefix("00").map_or(digits.clone(), str::to_owned);
    let plus_inside = text.rfind('+') > text.find(|c: char| c.is_ascii_digit());
    if !text.chars().all(known) || plus_inside || !(7..=15).contains(&digits.len()) {
        return Err(RouteError::MalformedPhone);
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_are_taken_as_people_write_them() {
        for text in ["+34 600-111-222", "0034600111222", "34600111222", " (+34) 600.111.222 "] {
            assert_eq!(phone(text).as_deref(), Ok("34600111222"), "{text}");
        }
        for text in ["", "12345", "+34 600 111 222 333 444", "call me", "34600111222x", "600+111222333"] {
            assert_eq!(phone(text), Err(RouteError::MalformedPhone), "{text}");
        }
    }
}
