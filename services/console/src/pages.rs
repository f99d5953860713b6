//! The pages: rendered here, read without scripts.

use askama::Template;
use axum::{
    Form, Router,
    extract::{Path, State, rejection::FormRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use domain::SessionId;
use serde::Deserialize;

use crate::{
    Console,
    access::Access,
    api::{phone, session_id},
    error::{RouteError, Told},
    timeline::{Summary, Timeline},
};

const STYLE: &str = include_str!("../assets/style.css");

pub(crate) fn router(console: Console) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/search", post(search))
        .route("/sessions/{id}", get(session))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/style.css", get(style))
        .fallback(missing)
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

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    signed_in: bool,
    problem: Option<Told>,
    /// The session to open then; empty for none.
    session: &'a str,
}

#[derive(Template)]
#[template(path = "error.html")]
struct Problem {
    signed_in: bool,
    told: Told,
    status: u16,
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

#[derive(Deserialize)]
struct Credentials {
    token: String,
    #[serde(default)]
    session: String,
}

async fn sign_in(
    State(console): State<Console>,
    headers: HeaderMap,
    form: Result<Form<Credentials>, FormRejection>,
) -> Response {
    let Ok(Form(Credentials { token, session })) = form else {
        return failed(&console, RouteError::MalformedBody);
    };
    match console.access.sign_in(&token, &headers) {
        Ok(cookie) => {
            // Nowhere else: an address from a form could lead off the site.
            let to =
                session.parse::<SessionId>().map_or_else(|_| "/".to_owned(), |id| format!("/sessions/{id}"));
            ([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response()
        }
        Err(error) => refused(&console, error, &session),
    }
}

async fn sign_out() -> Response {
    ([(header::SET_COOKIE, Access::sign_out())], Redirect::to("/")).into_response()
}

async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    (headers, STYLE).into_response()
}

async fn missing(State(console): State<Console>) -> Response {
    failed(&console, RouteError::NotFound)
}

/// Somebody who may not look is asked for the token, where that helps.
fn refused(console: &Console, error: RouteError, session: &str) -> Response {
    if !console.access.asks_for_token() {
        return failed(console, error);
    }
    let problem = (error != RouteError::NotSignedIn).then(|| error.told());
    page(error.status(), &SignIn { signed_in: false, problem, session })
}

fn failed(console: &Console, error: RouteError) -> Response {
    let problem = Problem {
        signed_in: console.access.asks_for_token() && error != RouteError::WrongHost,
        told: error.told(),
        status: error.status().as_u16(),
    };
    page(error.status(), &problem)
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(error = runtime::error_chain(&error), "page not rendered");
            RouteError::Internal.into_response()
        }
    }
}
