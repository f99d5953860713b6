//! Stands before every route but the sign-in page: who asks, and did they mean to?

use std::net::SocketAddr;

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};
use futures::{StreamExt as _, stream};
use url::form_urlencoded;

use super::{
    caller::{By, Caller, Right},
    equal,
};
use crate::{Console, error::RouteError, pages::failed};

/// Of a form whose token is looked for.
const MAX_FORM_BYTES: usize = 256 * 1024;
/// Of the token in a form with a file, its headings included.
const MAX_FIRST_FIELD: usize = 4 * 1024;
/// Of an address to come back to.
const MAX_ADDRESS: usize = 512;

/// How a request wants to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Json,
    Page,
}

impl Manner {
    fn of(path: &str, headers: &HeaderMap) -> Self {
        let streams = told(headers, "accept").is_some_and(|accept| accept.starts_with("text/event-stream"));
        if path.starts_with("/api/") || streams { Self::Json } else { Self::Page }
    }

    pub(crate) fn answer(self, caller: &Caller, error: RouteError) -> Response {
        match self {
            Self::Json => error.into_response(),
            Self::Page => failed(caller, error),
        }
    }
}

pub(crate) async fn guard(State(console): State<Console>, request: Request, next: Next) -> Response {
    let manner = Manner::of(request.uri().path(), request.headers());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let caller = match console.access.caller(request.headers(), peer).await {
        Ok(caller) => caller,
        Err(error) => return turned_away(&request, manner, error),
    };
    let checked = match caller.require(Right::Read) {
        Ok(()) => meant(request, &caller).await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(mut request) => {
            request.extensions_mut().insert(manner);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => manner.answer(&caller, error),
    }
}

/// People are sent to the sign-in page and come back from there.
fn turned_away(request: &Request, manner: Manner, error: RouteError) -> Response {
    if error != RouteError::NotSignedIn || manner == Manner::Json || is_scripted(request.headers()) {
        return manner.answer(&Caller::nobody(), error);
    }
    let here = request.uri().path_and_query().map_or("/", |address| address.as_str());
    if request.method() != Method::GET || here == "/" || !is_local_address(here) {
        return Redirect::to("/sign-in").into_response();
    }
    let to: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
    Redirect::to(&format!("/sign-in?to={to}")).into_response()
}

/// A page of ours, and nothing that a browser could take for an address elsewhere.
pub(super) fn is_local_address(address: &str) -> bool {
    let bytes = address.as_bytes();
    bytes.first() == Some(&b'/')
        && bytes.get(1) != Some(&b'/')
        && bytes.len() <= MAX_ADDRESS
        && bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\')
}

/// The page did it by itself; nobody need be there.
pub(super) fn is_scripted(headers: &HeaderMap) -> bool {
    told(headers, "sec-fetch-mode").is_some_and(|mode| mode != "navigate")
}

/// What a browser sends along by itself (a cookie, or being at this machine) does not prove that
/// somebody meant it: another site's page may have made the browser ask.
async fn meant(request: Request, caller: &Caller) -> Result<Request, RouteError> {
    if request.method().is_safe() || matches!(caller.by(), By::Bearer) {
        return Ok(request);
    }
    if is_foreign(request.headers()) {
        return Err(RouteError::ForeignPage);
    }
    if !caller.is_signed_in() {
        return Ok(request);
    }
    let right = |given: &str| if equal(given, caller.csrf()) { Ok(()) } else { Err(RouteError::StaleForm) };
    if let Some(given) = told(request.headers(), "x-csrf-token") {
        return right(given).map(|()| request);
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        return with_file(request, right).await;
    }
    if !kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return Err(RouteError::StaleForm);
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_FORM_BYTES).await.map_err(|_| RouteError::MalformedBody)?;
    let given = form_urlencoded::parse(&body).find(|(name, _)| name == "csrf");
    right(&given.ok_or(RouteError::StaleForm)?.1)?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// A form with a file is read no further than its first field, which is the token.
async fn with_file(
    request: Request,
    right: impl Fn(&str) -> Result<(), RouteError>,
) -> Result<Request, RouteError> {
    let (parts, body) = request.into_parts();
    let mut rest = body.into_data_stream();
    let mut begun: Vec<u8> = Vec::new();
    loop {
        if let Some(given) = first_field(&begun) {
            right(given)?;
            let begun = stream::iter([Ok(Bytes::from(begun))]);
            return Ok(Request::from_parts(parts, Body::from_stream(begun.chain(rest))));
        }
        // With its headings the field is short.
        if begun.len() > MAX_FIRST_FIELD {
            return Err(RouteError::StaleForm);
        }
        match rest.next().await {
            Some(Ok(more)) => begun.extend_from_slice(&more),
            Some(Err(_)) | None => return Err(RouteError::StaleForm),
        }
    }
}

/// The value of the field `csrf`, where it is the first of a form with files.
fn first_field(begun: &[u8]) -> Option<&str> {
    let begun = &begun[..begun.len().min(MAX_FIRST_FIELD)];
    let begun =
        std::str::from_utf8(begun).or_else(|error| std::str::from_utf8(&begun[..error.valid_up_to()]));
    let (headings, rest) = begun.ok()?.split_once("\r\n\r\n")?;
    let is_first = headings.matches("name=").count() == 1 && headings.contains("name=\"csrf\"");
    rest.split_once("\r\n").filter(|_| is_first).map(|(value, _)| value)
}

/// Sent by a page of another site, as the browser tells.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = told(headers, "sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (told(headers, "origin"), told(headers, "host")) {
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, of)| of != host),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn told<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_are_come_back_to() {
        for local in ["/", "/sessions/1?asked=3", "/sessions?state=waiting&number=1", "/a//b"] {
            assert!(is_local_address(local), "{local}");
        }
        let long = format!("/{}", "a".repeat(MAX_ADDRESS));
        for elsewhere in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "sessions",
            " /",
            "/\t/evil.example",
            "/a\r\nset-cookie: b",
            long.as_str(),
        ] {
            assert!(!is_local_address(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_form_with_a_file_begins_with_its_token() {
        let form = |name: &str| {
            format!(
                "--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nabc\r\n--x\r\nContent-Disposition: \
                 form-data; name=\"csrf\"\r\n\r\nevil\r\n"
            )
        };
        let whole = form("csrf");
        assert_eq!(first_field(whole.as_bytes()), Some("abc"));
        assert_eq!(first_field(form("file").as_bytes()), None);
        for length in 0..whole.find("abc").unwrap() + 4 {
            assert_eq!(first_field(&whole.as_bytes()[..length]), None, "{length}");
        }
        let mut bytes = whole.into_bytes();
        bytes.push(0xff);
        assert_eq!(first_field(&bytes), Some("abc"));
    }

    #[test]
    fn another_sites_page_is_known_by_what_the_browser_tells() {
        let of = |pairs: &[(&'static str, &str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()));
            is_foreign(&headers.collect())
        };
        assert!(!of(&[("sec-fetch-site", "same-origin"), ("origin", "https://a"), ("host", "inner:80")]));
        assert!(of(&[("sec-fetch-site", "same-site")]) && of(&[("sec-fetch-site", "cross-site")]));
        assert!(!of(&[("origin", "http://a:1"), ("host", "a:1")]));
        assert!(of(&[("origin", "http://b:1"), ("host", "a:1")]) && of(&[("origin", "null"), ("host", "a")]));
        assert!(!of(&[("host", "a")]));
    }
}
