//! The sign-in page, and the way out.

use std::net::SocketAddr;

use askama::Template;
use axum::{
    Extension, Form, Router,
    extract::{
        ConnectInfo, Query, State,
        rejection::{FormRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;
use store::{Budget, Taken};

use super::{
    Access, Given, away,
    caller::{Caller, May, Read},
    guard::{is_foreign, is_local_address},
    oidc,
    tries::{OF_A_NAME, OF_AN_ADDRESS, address},
};
use crate::{
    Console,
    error::{RouteError, Told},
    pages::{failed, page},
};

/// Anybody may come here.
pub(crate) fn router(console: Console) -> Router {
    Router::new().route("/sign-in", get(ask).post(sign_in)).merge(oidc::router()).with_state(console)
}

/// Behind the guard.
pub(crate) fn way_out(console: Console) -> Router {
    Router::new().route("/sign-out", post(sign_out)).with_state(console)
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    caller: Caller,
    problem: Option<Told>,
    /// The page to open then.
    to: &'a str,
    /// As it was typed.
    name: &'a str,
    by_token: bool,
    /// The other way exists, too.
    both: bool,
    /// There are names or a token at all.
    own: bool,
    /// What the identity provider is called.
    elsewhere: Option<&'a str>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    to: String,
    #[serde(default)]
    with: String,
}

async fn ask(
    State(console): State<Console>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let asked = asked.map_or_else(|_| Asked { to: String::new(), with: String::new() }, |Query(asked)| asked);
    let to = Some(asked.to.as_str()).filter(|to| is_local_address(to)).unwrap_or("/");
    match console.access.caller(&headers, None).await {
        Ok(_) => Redirect::to(to).into_response(),
        Err(error @ RouteError::WrongHost) => failed(&Caller::nobody(), error),
        // What else there is to say, is said when somebody tries.
        Err(_) => form(&console.access, None, to, "", asked.with == "token"),
    }
}

fn form(access: &Access, error: Option<RouteError>, to: &str, name: &str, by_token: bool) -> Response {
    let sign_in = SignIn {
        caller: Caller::nobody(),
        problem: error.map(RouteError::told),
        to,
        name,
        by_token: access.has_token() && (by_token || !access.has_people()),
        both: access.has_token() && access.has_people(),
        own: access.has_token() || access.has_people() || access.elsewhere().is_none(),
        elsewhere: access.elsewhere().map(oidc::SignInElsewhere::label),
    };
    let mut response = page(error.map_or(StatusCode::OK, RouteError::status), &sign_in);
    if let Some(error) = error {
        error.mark(&mut response);
    }
    response
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    to: String,
}

async fn sign_in(
    State(console): State<Console>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    credentials: Result<Form<Credentials>, FormRejection>,
) -> Response {
    let access = &console.access;
    if is_foreign(&headers) {
        return failed(&Caller::nobody(), RouteError::ForeignPage);
    }
    let Ok(Form(Credentials { name, password, token, to })) = credentials else {
        return failed(&Caller::nobody(), RouteError::MalformedBody);
    };
    let to = Some(to.as_str()).filter(|to| is_local_address(to)).unwrap_or("/");
    let (name, by_token) = (name.trim(), !token.is_empty());
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer.ip());
    let tried = async {
        let given = if by_token { Given::Token(token) } else { Given::Password { name, password } };
        // Both before anything is compared, and nothing is compared while nobody counts.
        spend(&console, &OF_AN_ADDRESS, &address(peer, &headers)).await?;
        if !by_token {
            spend(&console, &OF_A_NAME, name).await?;
        }
        let who = access.recognised(given).await?;
        access.begin(&who, &headers).await
    };
    match tried.await {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response(),
        Err(error) => {
            tracing::info!(error = error.told().error, by_token, "a sign-in was refused");
            form(access, Some(error), to, name, by_token)
        }
    }
}

pub(super) async fn spend(console: &Console, budget: &Budget, key: &str) -> Result<(), RouteError> {
    let key = console.access.digest(budget.name, key);
    match console.access.store().spend(budget, key, 1).await.map_err(away)? {
        Taken::Now => Ok(()),
        Taken::WaitFor(wait) => Err(RouteError::too_many_tries(wait)),
    }
}

async fn sign_out(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    headers: HeaderMap,
) -> Response {
    match console.access.end(&caller).await {
        Ok(()) => {
            let cookie = console.access.no_cookie(&headers);
            ([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response()
        }
        Err(error) => failed(&caller, error),
    }
}
