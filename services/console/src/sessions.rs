//! Pages of sessions: searched for, and one whole.

use askama::Template;
use axum::{
    Form, Router,
    extract::{Path, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

use crate::{
    Console,
    api::{phone, session_id},
    error::{RouteError, Told},
    pages::{failed, page, refused},
    timeline::{Summary, Timeline},
};

pub(crate) fn router(console: Console) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/search", post(search))
        .route("/sessions/{id}", get(session))
        .with_state(console)
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    signed_in: bool,
    /// What was searched for without success.
    problem: Option<Told>,
    found: Option<&'a [Summary]>,
}

#[derive(Template)]
#[template(path = "session.html")]
struct Session<'a> {
    signed_in: bool,
    timeline: &'a Timeline,
}

async fn home(State(console): State<Console>, headers: HeaderMap) -> Response {
    if let Err(error) = console.access.check(&headers) {
        return refused(&console, error, "");
    }
    page(StatusCode::OK, &Home { signed_in: console.access.asks_for_token(), problem: None, found: None })
}

#[derive(Deserialize)]
struct Search {
    wanted: String,
}

/// By POST: what people search for must not stand in a URL.
async fn search(
    State(console): State<Console>,
    headers: HeaderMap,
    form: Result<Form<Search>, FormRejection>,
) -> Response {
    if let Err(error) = console.access.check(&headers) {
        return refused(&console, error, "");
    }
    let signed_in = console.access.asks_for_token();
    let found = async {
        let Form(Search { wanted }) = form.map_err(|_| RouteError::MalformedBody)?;
        if let Ok(session) = session_id(&wanted) {
            return Ok(Err(Redirect::to(&format!("/sessions/{session}"))));
        }
        let number = phone(&wanted)?;
        Ok(Ok(console.lookup.by_phone(&number).await?))
    };
    match found.await {
        Ok(Err(redirect)) => redirect.into_response(),
        Ok(Ok(sessions)) => page(StatusCode::OK, &Home { signed_in, problem: None, found: Some(&sessions) }),
        Err(RouteError::MalformedPhone) => {
            let told = Told {
                error: "malformed_search",
                message: "That is neither a session id nor a phone number.",
                what_to_do: "A session id is a UUID; a phone number has 7 to 15 digits with its country code.",
            };
            page(StatusCode::BAD_REQUEST, &Home { signed_in, problem: Some(told), found: None })
        }
        Err(error) => failed(&console, error),
    }
}

async fn session(State(console): State<Console>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let session = session_id(&id);
    if let Err(error) = console.access.check(&headers) {
        return refused(&console, error, &session.map(|id| id.to_string()).unwrap_or_default());
    }
    let told = async { console.lookup.timeline(session?).await };
    match told.await {
        Ok(timeline) => {
            page(StatusCode::OK, &Session { signed_in: console.access.asks_for_token(), timeline: &timeline })
        }
        Err(error) => failed(&console, error),
    }
}
