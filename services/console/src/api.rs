//! The JSON API.
//!
//! Personal data never stands in a URL: a phone number is asked for in a body. Routes are told of
//! where they are made ([`crate::openapi`]).

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use domain::{Seq, SessionId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Console,
    access::{May, Operate, Read, Right},
    actions::{self, Action, Outcome},
    board::{Counts, RowView, now},
    error::{RouteError, Why},
    openapi::{Api, Operation, schema, taken},
    sessions::Filter,
    timeline::{Summary, Timeline},
};

/// Sessions of one page of the list.
const MOST_LISTED: usize = 200;

pub(crate) fn router(console: Console) -> Router {
    let routes = sessions_api()
        .merge(crate::contacts::api())
        .merge(crate::messages::api())
        .merge(crate::campaigns::api())
        .merge(crate::doctor::api())
        .merge(crate::settings::api())
        .finish()
        .fallback(|| async { RouteError::NotFound })
        .method_not_allowed_fallback(|| async { RouteError::NotFound })
        .with_state(console);
    Router::new().nest("/api/v1", routes)
}

fn sessions_api() -> Api {
    let text = || json!({"type": "string"});
    let unknown = [RouteError::MalformedId, RouteError::UnknownSession];
    Api::new("Sessions")
        .get(
            "/sessions",
            sessions,
            Operation::new("The board: who waits first; then what moved last", Right::Read)
                .query("state", "waiting, with_rep, assistant or closed; all where it is left out", text())
                .query("number", "A phone number ID", text())
                .query("after", "The next of the page before", text())
                .answers(200, "At most 200", schema::<Listed>())
                .fails(&[RouteError::MalformedQuery]),
        )
        .post(
            "/sessions/search",
            search,
            Operation::new("Sessions of a phone number, the newest first", Right::Read)
                .body(taken::<Search>())
                .answers(200, "None is an answer, too", schema::<Found>())
                .fails(&[RouteError::MalformedBody, RouteError::MalformedPhone]),
        )
        .get(
            "/sessions/{id}",
            session,
            Operation::new("A session", Right::Read)
                .answers(200, "The session", schema::<Summary>())
                .fails(&unknown),
        )
        .get(
            "/sessions/{id}/timeline",
            timeline,
            Operation::new("Everything that happened in a session", Right::Read)
                .answers(200, "The timeline", schema::<Told>())
                .fails(&unknown),
        )
        .post(
            "/sessions/{id}/actions",
            act,
            Operation::new("Hand off now, or give back to the assistant", Right::Operate)
                .header(
                    "Idempotency-Key",
                    "A new one for each action, the same one for a repeat",
                    json!({"type": "string", "pattern": "^[A-Za-z0-9-]{8,128}$"}),
                )
                .body(taken::<Command>())
                .answers(200, "It was decided", schema::<Done>())
                .answers(202, "It is in the log, and not decided yet", schema::<Done>())
                .fails(&unknown)
                .fails(&[RouteError::MalformedAction, RouteError::MalformedNonce])
                .fails(&[RouteError::SessionOver, RouteError::NonceReused])
                .fails(&Why::ALL.map(RouteError::NotPossible)),
        )
}

/// The board: who waits first, the longest wait before all; then what moved last.
#[derive(Serialize, JsonSchema)]
struct Listed {
    sessions: Vec<RowView>,
    counts: Counts,
    /// What `after` asks the next page with.
    next: Option<String>,
    /// False while the log is being read.
    ready: bool,
    /// The board holds no more conversations than these, and others were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_to: Option<usize>,
}

async fn sessions(
    State(console): State<Console>,
    _: May<Read>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Listed>, RouteError> {
    let wanted = filter.map_err(|_| RouteError::MalformedQuery)?.0.wanted()?;
    let now = now();
    Ok(Json(console.board.read(|rows| {
        let list = rows.list(&wanted, MOST_LISTED);
        Listed {
            sessions: list.rows.iter().filter_map(|row| RowView::of(row, now)).collect(),
            counts: rows.counts(),
            next: list.next.map(|next| next.to_string()),
            ready: rows.ready,
            limited_to: rows.full.then(|| rows.most()),
        }
    })))
}

#[derive(Deserialize, JsonSchema)]
struct Command {
    action: Action,
}

#[derive(Serialize, JsonSchema)]
struct Done {
    action: Action,
    /// False: it is in the log, and not decided yet. Repeat the request with the same key.
    decided: bool,
    message: &'static str,
    /// Where the command stands in the log.
    seq: Seq,
    /// The same request came before.
    repeated: bool,
}

async fn act(
    State(console): State<Console>,
    Path(id): Path<String>,
    May { caller, .. }: May<Operate>,
    headers: HeaderMap,
    body: Result<Json<Command>, JsonRejection>,
) -> Result<Response, RouteError> {
    let session = session_id(&id)?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.ok_or(RouteError::MalformedNonce)?;
    let Json(Command { action }) = body.map_err(|_| RouteError::MalformedAction)?;
    let commanded = actions::act(&console.lookup, session, action, key, caller.name()).await?;
    let (status, decided) = match commanded.outcome {
        Outcome::Accepted => (StatusCode::OK, true),
        Outcome::Pending => (StatusCode::ACCEPTED, false),
        Outcome::Refused(why) => return Err(RouteError::NotPossible(why)),
    };
    let (_, message, _) = commanded.told();
    let done = Done { action, decided, message, seq: commanded.seq, repeated: commanded.repeated };
    Ok((status, Json(done)).into_response())
}

async fn session(
    State(console): State<Console>,
    _: May<Read>,
    Path(id): Path<String>,
) -> Result<Json<Summary>, RouteError> {
    Ok(Json(console.lookup.summary(session_id(&id)?).await?))
}

/// [`Timeline`] with the ledger's line, as people read it.
#[derive(Debug, Serialize, JsonSchema)]
struct Told {
    ledger_line: String,
    #[serde(flatten)]
    timeline: Timeline,
}

async fn timeline(
    State(console): State<Console>,
    _: May<Read>,
    Path(id): Path<String>,
) -> Result<Json<Told>, RouteError> {
    let timeline = console.lookup.timeline(session_id(&id)?).await?;
    Ok(Json(Told { ledger_line: timeline.ledger.to_string(), timeline }))
}

#[derive(Deserialize, JsonSchema)]
struct Search {
    phone: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    /// The newest first.
    sessions: Vec<Summary>,
}

async fn search(
    State(console): State<Console>,
    _: May<Read>,
    body: Result<Json<Search>, JsonRejection>,
) -> Result<Json<Found>, RouteError> {
    let Json(search) = body.map_err(|_| RouteError::MalformedBody)?;
    Ok(Json(Found { sessions: console.lookup.by_phone(&phone(&search.phone)?).await? }))
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
