//! What every page shares: rendered here, read without scripts.

use askama::Template;
use axum::{
    Form, Router,
    extract::{State, rejection::FormRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use domain::SessionId;
use serde::Deserialize;

use crate::{
    Console,
    access::Access,
    error::{RouteError, Told},
};

const STYLE: &str = include_str!("../assets/style.css");
const SCRIPT: &str = include_str!("../assets/app.js");

pub(crate) fn router(console: Console) -> Router {
    Router::new()
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/style.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/app.js", get(|| asset("text/javascript; charset=utf-8", SCRIPT)))
        .fallback(missing)
        .with_state(console)
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

async fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    (headers, text).into_response()
}

async fn missing(State(console): State<Console>) -> Response {
    failed(&console, RouteError::NotFound)
}

/// Somebody who may not look is asked for the token, where that helps.
pub(crate) fn refused(console: &Console, error: RouteError, session: &str) -> Response {
    if !console.access.asks_for_token() {
        return failed(console, error);
    }
    let problem = (error != RouteError::NotSignedIn).then(|| error.told());
    page(error.status(), &SignIn { signed_in: false, problem, session })
}

pub(crate) fn failed(console: &Console, error: RouteError) -> Response {
    let problem = Problem {
        signed_in: console.access.asks_for_token() && error != RouteError::WrongHost,
        told: error.told(),
        status: error.status().as_u16(),
    };
    page(error.status(), &problem)
}

pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(error = runtime::error_chain(&error), "page not rendered");
            RouteError::Internal.into_response()
        }
    }
}
