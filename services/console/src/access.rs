//! Who may look: whoever has the token, or, without one, whoever sits at this machine.
//!
//! A stopgap until people sign in with names and roles.

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hmac};
use axum::http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::RouteError;

const COOKIE: &str = "baton_console";

#[derive(Clone)]
pub(crate) struct Access(Option<Arc<Token>>);

struct Token {
    /// Digests have one length, so that comparing tells nothing about the token's.
    digest: digest::Digest,
    /// What the cookie holds instead of the token.
    cookie: String,
}

impl Access {
    pub(crate) fn new(token: Option<&SecretString>) -> Self {
        Self(token.map(|token| {
            let bytes = token.expose_secret().as_bytes();
            let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
            let cookie = hmac::sign(&key, b"baton console cookie 1");
            Arc::new(Token {
                digest: digest::digest(&digest::SHA256, bytes),
                cookie: cookie.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            })
        }))
    }

    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), RouteError> {
        let Some(token) = &self.0 else {
            // A page on the internet may make a name of its own point here (DNS rebinding); its
            // requests carry that name.
            return if is_local(headers) { Ok(()) } else { Err(RouteError::WrongHost) };
        };
        if let Some(given) = bearer(headers) {
            return if token.is(given) { Ok(()) } else { Err(RouteError::WrongToken) };
        }
        let signed_in = cookies(headers).any(|(name, value)| name == COOKIE && equal(value, &token.cookie));
        if signed_in { Ok(()) } else { Err(RouteError::NotSignedIn) }
    }

    /// The cookie for somebody who knows the token.
    pub(crate) fn sign_in(&self, given: &str, headers: &HeaderMap) -> Result<HeaderValue, RouteError> {
        let token = self.0.as_ref().filter(|token| token.is(given)).ok_or(RouteError::WrongToken)?;
        // Behind a proxy that ends TLS.
        let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        let secure = if secure { "; Secure" } else { "" };
        let cookie =
            format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200{secure}", token.cookie);
        HeaderValue::from_str(&cookie).map_err(|_| RouteError::Internal)
    }

    pub(crate) fn sign_out() -> HeaderValue {
        HeaderValue::from_static("baton_console=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }

    pub(crate) fn asks_for_token(&self) -> bool {
        self.0.is_some()
    }
}

impl Token {
    fn is(&self, given: &str) -> bool {
        let given = digest::digest(&digest::SHA256, given.trim().as_bytes());
        constant_time::verify_slices_are_equal(given.as_ref(), self.digest.as_ref()).is_ok()
    }
}

fn equal(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn without_a_token_only_this_machines_names_are_answered() {
        let open = Access::new(None);
        for (host, allowed) in [
            ("localhost:8081", true),
            ("127.0.0.1", true),
            ("127.0.0.1:8081", true),
            ("[::1]:8081", true),
            ("evil.example:8081", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
        ] {
            let checked = open.check(&headers(&[(header::HOST, host)]));
            assert_eq!(checked.is_ok(), allowed, "{host}");
        }
        assert!(open.check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn with_a_token_the_bearer_or_the_cookie_is_asked_for() {
        let access = Access::new(Some(&"a token of some length".into()));
        let check = |pairs: &[(header::HeaderName, &str)]| access.check(&headers(pairs));
        assert_eq!(check(&[(header::HOST, "localhost")]), Err(RouteError::NotSignedIn));
        assert_eq!(check(&[(header::AUTHORIZATION, "Bearer a token of some length")]), Ok(()));
        assert_eq!(check(&[(header::AUTHORIZATION, "Bearer a token of some")]), Err(RouteError::WrongToken));
        assert_eq!(check(&[(header::COOKIE, "baton_console=")]), Err(RouteError::NotSignedIn));
        assert!(access.sign_in("wrong", &HeaderMap::new()).is_err());
        let cookie = access.sign_in("a token of some length", &HeaderMap::new()).unwrap();
        let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
        assert!(!cookie.contains("a token"));
        assert_eq!(check(&[(header::COOKIE, &format!("other=1; {cookie}"))]), Ok(()));
    }
}
