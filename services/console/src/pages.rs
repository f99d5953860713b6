//! What every page shares: rendered here, read without scripts.

use askama::Template;
use axum::{
    Form, Router,
    extract::rejection::FormRejection,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use serde::Deserialize;

use crate::{
    Console,
    access::{Caller, May, Read},
    error::{RouteError, Told},
};

const STYLE: &str = include_str!("../assets/style.css");
const SCRIPT: &str = include_str!("../assets/app.js");

pub(crate) fn router(console: Console) -> Router {
    Router::new().fallback(missing).with_state(console)
}

/// For everybody.
pub(crate) fn assets() -> Router {
    Router::new()
        .route("/style.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/app.js", get(|| asset("text/javascript; charset=utf-8", SCRIPT)))
}

#[derive(Template)]
#[template(path = "error.html")]
struct Problem {
    caller: Caller,
    told: Told,
    status: u16,
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    (headers, text).into_response()
}

async fn missing(May { caller, .. }: May<Read>) -> Response {
    failed(&caller, RouteError::NotFound)
}

/// By POST: what people search for must not stand in a URL.
#[derive(Deserialize)]
pub(crate) struct Search {
    wanted: String,
}

/// What a search form asks for.
pub(crate) fn wanted(form: Result<Form<Search>, FormRejection>) -> Result<String, RouteError> {
    form.map(|Form(search)| search.wanted).map_err(|_| RouteError::MalformedBody)
}

/// What went wrong, and what to do.
pub(crate) fn failed(caller: &Caller, error: RouteError) -> Response {
    let problem = Problem { caller: caller.clone(), told: error.told(), status: error.status().as_u16() };
    let mut response = page(error.status(), &problem);
    error.mark(&mut response);
    response
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
