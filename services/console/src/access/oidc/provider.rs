//! The identity provider over HTTP: what it tells of itself, its keys, codes for tokens.
//!
//! OpenID Connect Discovery 1.0; RFC 6749 §4.1.3 and §2.3.1; RFC 7636 (PKCE).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{RequestBuilder, StatusCode, header};
use runtime::HttpTimeouts;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use super::{config::Oidc, token::Keys};

/// Of anything that it answers.
const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// What it tells of itself, and its keys, are good for so long.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);
/// A token with a key that nobody knows lets them be fetched again at most so often: anybody can make
/// up a name of a key.
const KEYS_EVERY: Duration = Duration::from_secs(30);
/// After a failure nothing is asked for so long: those who wait are not kept one after the other.
const RESTS: Duration = Duration::from_secs(3);
const TIMEOUTS: HttpTimeouts = HttpTimeouts {
    connect: Duration::from_secs(5),
    read: Duration::from_secs(5),
    total: Some(Duration::from_secs(10)),
};

/// Why the provider was of no help. Told in the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{what} could not be had from the identity provider")]
    Away {
        what: &'static str,
        #[source]
        source: Option<reqwest::Error>,
    },
    #[error("{what} of the identity provider {why}")]
    Unfit { what: &'static str, why: &'static str },
    /// The code is over, was used, or is of somebody else.
    #[error("the identity provider does not take the code")]
    CodeRefused,
}

/// What it tells of itself, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    userinfo_endpoint: Option<Url>,
    #[serde(default = "basic")]
    token_endpoint_auth_methods_supported: Vec<String>,
    /// RFC 8414: those who do not tell may still do it.
    code_challenge_methods_supported: Option<Vec<String>>,
    /// RFC 9207: it says in each answer who it is.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

fn basic() -> Vec<String> {
    vec!["client_secret_basic".to_owned()]
}

#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: String,
    access_token: Option<String>,
}

pub(super) struct Provider {
    http: reqwest::Client,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Instant, Arc<Metadata>)>,
    keys: Option<(Instant, Arc<Keys>)>,
    /// When an unknown key last had them fetched.
    refreshed: Option<Instant>,
    failed: Option<Instant>,
}

impl Provider {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        Ok(Self { http: runtime::http_client(TIMEOUTS)?, known: Mutex::default() })
    }

    pub(super) async fn metadata(&self, config: &Oidc) -> Result<Arc<Metadata>, Trouble> {
        const WHAT: &str = "the configuration";
        let mut known = self.known.lock().await;
        let now = Instant::now();
        if let Some((at, metadata)) = &known.metadata
            && is_recent(*at, now, GOOD_FOR)
        {
            return Ok(Arc::clone(metadata));
        }
        known.may_ask(now, WHAT)?;
        let address = format!("{}/.well-known/openid-configuration", config.issuer.trim_end_matches('/'));
        let told = async {
            let body = self.fetch(self.http.get(address), WHAT).await?;
            let told = serde_json::from_slice(&body);
            let told = told.map_err(|_| Trouble::Unfit { what: WHAT, why: "is not as it should be" })?;
            fits(told, config)
        };
        let told = told.await.map(Arc::new).inspect_err(|_| known.failed = Some(now))?;
        known.metadata = Some((now, Arc::clone(&told)));
        Ok(told)
    }

    /// `again`: a token names a key that is not among them.
    pub(super) async fn keys(&self, metadata: &Metadata, again: bool) -> Result<Arc<Keys>, Trouble> {
        const WHAT: &str = "the keys";
        let mut known = self.known.lock().await;
        let now = Instant::now();
        if let Some((at, keys)) = &known.keys
            && is_recent(*at, now, GOOD_FOR)
            && !(again && known.may_refresh(now))
        {
            return Ok(Arc::clone(keys));
        }
        known.may_ask(now, WHAT)?;
        if again {
            known.refreshed = Some(now);
        }
        let fetched = self.fetch(self.http.get(metadata.jwks_uri.clone()), WHAT).await;
        let body = fetched.inspect_err(|_| known.failed = Some(now))?;
        let keys = Keys::parse(&body).ok_or(Trouble::Unfit { what: WHAT, why: "are no set of keys" })?;
        let keys = Arc::new(keys);
        known.keys = Some((now, Arc::clone(&keys)));
        Ok(keys)
    }

    pub(super) async fn redeem(
        &self,
        config: &Oidc,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens, Trouble> {
        const WHAT: &str = "the tokens";
        let request = self.redeeming(config, metadata, code, verifier)?;
        let (status, body) = self.ask(request, WHAT).await?;
        if status.is_success() {
            let tokens = serde_json::from_slice(&body);
            return tokens.map_err(|_| Trouble::Unfit { what: WHAT, why: "lack the ID token" });
        }
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(default)]
            error: String,
        }
        let why = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.error).unwrap_or_default();
        Err(match why.as_str() {
            "invalid_grant" => Trouble::CodeRefused,
            "invalid_client" | "unauthorized_client" => Trouble::Unfit {
                what: "the client",
                why: "is not known, or its secret is wrong: CONSOLE_OIDC_CLIENT_ID, CONSOLE_OIDC_CLIENT_SECRET",
            },
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Trouble::Away { what: WHAT, source: None }
            }
            _ => Trouble::Unfit { what: WHAT, why: "were refused" },
        })
    }

    fn redeeming(
        &self,
        config: &Oidc,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
    ) -> Result<RequestBuilder, Trouble> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &config.back_to)
            .append_pair("code_verifier", verifier);
        let mut request = self.http.post(metadata.token_endpoint.clone());
        let may = |way: &str| metadata.token_endpoint_auth_methods_supported.iter().any(|one| one == way);
        match &config.client_secret {
            Some(secret) if may("client_secret_basic") => {
                let pair = format!("{}:{}", quoted(&config.client_id), quoted(secret.expose_secret()));
                let value = format!("Basic {}", STANDARD.encode(pair));
                let mut value = header::HeaderValue::from_str(&value)
                    .map_err(|_| Trouble::Unfit { what: "the client secret", why: "fits no header" })?;
                value.set_sensitive(true);
                request = request.header(header::AUTHORIZATION, value);
            }
            // The only other way: fits() has looked.
            Some(secret) => {
                form.append_pair("client_id", &config.client_id)
                    .append_pair("client_secret", secret.expose_secret());
            }
            None => {
                form.append_pair("client_id", &config.client_id);
            }
        }
        let kind = (header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.header(kind.0, kind.1).header(header::ACCEPT, "application/json");
        Ok(request.body(form.finish()))
    }

    /// None where it tells no more than its tokens.
    pub(super) async fn information(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
    ) -> Result<Option<Map<String, Value>>, Trouble> {
        const WHAT: &str = "the user information";
        let (Some(endpoint), Some(token)) = (&metadata.userinfo_endpoint, &tokens.access_token) else {
            return Ok(None);
        };
        let request = self.http.get(endpoint.clone()).bearer_auth(token);
        let body = self.fetch(request.header(header::ACCEPT, "application/json"), WHAT).await?;
        let told = serde_json::from_slice(&body);
        told.map(Some).map_err(|_| Trouble::Unfit { what: WHAT, why: "is no JSON object" })
    }

    async fn fetch(&self, request: RequestBuilder, what: &'static str) -> Result<Vec<u8>, Trouble> {
        let (status, body) = self.ask(request, what).await?;
        if status.is_success() {
            return Ok(body);
        }
        let away = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(if away {
            Trouble::Away { what, source: None }
        } else {
            Trouble::Unfit { what, why: "is refused" }
        })
    }

    /// The whole within the client's time, and no more than we want of it.
    async fn ask(
        &self,
        request: RequestBuilder,
        what: &'static str,
    ) -> Result<(StatusCode, Vec<u8>), Trouble> {
        // Their addresses hold nothing secret, and say what to look at.
        let away = |source: reqwest::Error| Trouble::Away { what, source: Some(source) };
        let mut answer = request.send().await.map_err(away)?;
        let mut body = Vec::new();
        while let Some(more) = answer.chunk().await.map_err(away)? {
            if body.len() + more.len() > MAX_ANSWER_BYTES {
                return Err(Trouble::Unfit { what, why: "does not end" });
            }
            body.extend_from_slice(&more);
        }
        Ok((answer.status(), body))
    }
}

impl Known {
    fn may_ask(&self, now: Instant, what: &'static str) -> Result<(), Trouble> {
        match self.failed {
            Some(at) if is_recent(at, now, RESTS) => Err(Trouble::Away { what, source: None }),
            Some(_) | None => Ok(()),
        }
    }

    fn may_refresh(&self, now: Instant) -> bool {
        self.refreshed.is_none_or(|at| !is_recent(at, now, KEYS_EVERY))
    }
}

fn is_recent(at: Instant, now: Instant, within: Duration) -> bool {
    now.saturating_duration_since(at) < within
}

/// What it says of itself must be of itself, and enough.
fn fits(told: Metadata, config: &Oidc) -> Result<Metadata, Trouble> {
    let unfit = |why| Err(Trouble::Unfit { what: "the configuration", why });
    if told.issuer != config.issuer {
        return unfit("names another issuer than CONSOLE_OIDC_ISSUER");
    }
    let endpoints = [&told.authorization_endpoint, &told.token_endpoint, &told.jwks_uri];
    if !endpoints.into_iter().chain(&told.userinfo_endpoint).all(|endpoint| config.may_call(endpoint)) {
        return unfit("names addresses without TLS");
    }
    if told.code_challenge_methods_supported.as_ref().is_some_and(|all| !all.iter().any(|one| one == "S256"))
    {
        return unfit("offers no PKCE with S256");
    }
    let ways = &told.token_endpoint_auth_methods_supported;
    let known = |way: &String| matches!(way.as_str(), "client_secret_basic" | "client_secret_post");
    if config.client_secret.is_some() && !ways.iter().any(known) {
        return unfit("takes neither client_secret_basic nor client_secret_post");
    }
    Ok(told)
}

/// RFC 6749 §2.3.1: as in a form, before they are joined.
fn quoted(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_have_the_set_fetched_now_and_then_only() {
        let start = Instant::now();
        let mut known = Known::default();
        assert!(known.may_refresh(start), "the first time at once, whenever they were fetched");
        known.refreshed = Some(start);
        assert!(!known.may_refresh(start + KEYS_EVERY - Duration::from_millis(1)));
        assert!(known.may_refresh(start + KEYS_EVERY));
        known.failed = Some(start);
        assert!(known.may_ask(start, "it").is_err());
        assert!(known.may_ask(start + RESTS, "it").is_ok());
    }

    #[test]
    fn secrets_are_quoted_before_they_are_joined() {
        assert_eq!(quoted("a:b c/ä"), "a%3Ab+c%2F%C3%A4");
    }
}
