//! The sign-in page, and the way out.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

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
};
use crate::{
    Console,
    error::{RouteError, Told},
    pages::{failed, page},
};

/// Tries of one name, right ones among them.
const OF_A_NAME: Budget = Budget::window("console:name", 10, Duration::from_secs(15 * 60));
/// Tries from one address: an office has one for everybody.
const OF_AN_ADDRESS: Budget = Budget::window("console:address", 60, Duration::from_secs(15 * 60));

/// Anybody may come here.
pub(crate) fn router(console: Console) -> Router {
    Router::new().route("/sign-in", get(ask).post(sign_in)).with_state(console)
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
    match console.access.caller(&headers).await {
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

async fn spend(console: &Console, budget: &Budget, key: &str) -> Result<(), RouteError> {
    let key = console.access.digest(budget.name, key);
    match console.access.store().spend(budget, key, 1).await.map_err(away)? {
        Taken::Now => Ok(()),
        Taken::WaitFor(wait) => {
            Err(RouteError::TooManyTries { seconds: u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX) })
        }
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

/// Who tries: the connection's other end, or, where that is a proxy beside us, whom it names. Of an
/// IPv6 address the network, because a machine has as many addresses as it likes.
fn address(peer: Option<IpAddr>, headers: &HeaderMap) -> String {
    let named = headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .and_then(|last| last.trim().parse::<IpAddr>().ok());
    let peer = peer.map(|peer| peer.to_canonical());
    let address = match (peer, named) {
        (Some(peer), Some(named)) if is_near(peer) => named.to_canonical(),
        (Some(peer), _) => peer,
        (None, _) => return "unknown".to_owned(),
    };
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
    }
}

fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_by_who_tries() {
        let of = |peer: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            address(Some(peer.parse().unwrap()), &headers)
        };
        assert_eq!(of("203.0.113.9", &[]), "203.0.113.9");
        assert_eq!(of("203.0.113.9", &["198.51.100.1"]), "203.0.113.9", "anybody can claim that");
        assert_eq!(of("127.0.0.1", &["192.0.2.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("10.0.0.3", &["192.0.2.1", "198.51.100.2"]), "198.51.100.2");
        assert_eq!(of("::ffff:10.0.0.3", &["2001:db8:1:2:3:4:5:6"]), "2001:db8:1:2::");
        assert_eq!(of("127.0.0.1", &["nonsense"]), "127.0.0.1");
    }
}
