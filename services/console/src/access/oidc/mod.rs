//! Sign-in with an identity provider: OpenID Connect, authorization code flow with PKCE
//! ([why our own](../../../../../docs/decisions/0015-sign-in-with-an-identity-provider.md)).
//!
//! The browser is sent to the provider with a state, a nonce and a challenge. What belongs to them is
//! kept in the cache for ten minutes under a secret of the browser's (a cookie) and the state, and
//! taken out once: an answer for another browser, a second time, or too late finds nothing. The code is
//! redeemed over TLS, the ID token checked as if it had come from anywhere, its groups become a role,
//! and then it is a sign-in like all others. Codes, states and tokens are never logged.

mod config;
mod provider;
mod token;

use std::time::Duration;

use aws_lc_rs::{digest, rand};
use axum::{
    Extension, Router,
    extract::{ConnectInfo, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, header},
    response::{AppendHeaders, IntoResponse as _, Redirect, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
pub use config::{Oidc, OidcArgs};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use store::{Budget, FLOW_LONGEST, SignedIn};
use tokio::sync::Semaphore;

use self::{
    provider::{Provider, Trouble},
    token::{Known, Nobody, Proven, Unproven, prove},
};
use super::{
    Access, ID, TOKEN_NAME, away,
    caller::{Caller, Rights, Role},
    cookies, entrance, equal,
    guard::is_local_address,
    is_id,
    tries::address,
};
use crate::{Console, error::RouteError, pages::failed};

/// Begun or finished from one address: an office has one for everybody.
const OF_AN_ADDRESS: Budget = Budget::window("console:oidc", 200, Duration::from_secs(15 * 60));
/// Answers that are looked at at once.
const MOST_AT_ONCE: usize = 32;
const SECURE_COOKIE: &str = "__Host-baton-back";
const COOKIE: &str = "baton-back";

/// Behind no guard.
pub(super) fn router() -> Router<Console> {
    Router::new().route("/sign-in/oidc", get(begin)).route(config::BACK, get(back))
}

pub(super) struct SignInElsewhere {
    config: Oidc,
    fingerprint: String,
    provider: Provider,
    at_once: Semaphore,
}

/// What is to be known when the browser is back.
#[derive(Serialize, Deserialize)]
struct Flow {
    nonce: String,
    verifier: String,
    to: String,
}

impl SignInElsewhere {
    pub(super) fn new(config: Oidc) -> anyhow::Result<Self> {
        let (fingerprint, at_once) = (config.fingerprint(), Semaphore::new(MOST_AT_ONCE));
        Ok(Self { config, fingerprint, provider: Provider::new()?, at_once })
    }

    pub(super) fn label(&self) -> &str {
        &self.config.label
    }

    /// What they may do who signed in with the provider, while the configuration is as it was then.
    pub(super) fn rights(&self, who: &SignedIn, role: &str) -> Option<Rights> {
        let role = Role::parse(role).filter(|_| equal(&self.fingerprint, &who.fingerprint))?;
        Some(role.rights())
    }

    /// Who the code is of.
    async fn identify(&self, code: &str, flow: &Flow) -> Result<SignedIn, RouteError> {
        let Self { config, provider, .. } = self;
        let _slot = self.at_once.try_acquire().map_err(|_| RouteError::Busy)?;
        let metadata = provider.metadata(config).await.map_err(told)?;
        let tokens = provider.redeem(config, &metadata, code, &flow.verifier).await.map_err(told)?;
        let now = u64::try_from(runtime::now() / 1000).unwrap_or_default();
        let proven = {
            let keys = provider.keys(&metadata, false).await.map_err(told)?;
            match prove(&tokens.id_token, &keys, config, &flow.nonce, now) {
                Err(Unproven::UnknownKey) => {
                    let keys = provider.keys(&metadata, true).await.map_err(told)?;
                    prove(&tokens.id_token, &keys, config, &flow.nonce, now)
                }
                proven => proven,
            }
        };
        let proven = proven.map_err(unproven)?;
        let proven = if proven.lacks(config) {
            match provider.information(&metadata, &tokens).await.map_err(told)? {
                Some(more) => proven.with(more).map_err(unproven)?,
                None => proven,
            }
        } else {
            proven
        };
        self.somebody(&proven)
    }

    fn somebody(&self, proven: &Proven) -> Result<SignedIn, RouteError> {
        let Known { name, role } = proven.known(&self.config).map_err(|nobody| match nobody {
            Nobody::NoRole => RouteError::NoRole,
            Nobody::NoName => RouteError::NoName,
        })?;
        let role = Some(role.as_str().to_owned());
        Ok(SignedIn { name, fingerprint: self.fingerprint.clone(), role })
    }
}

fn told(trouble: Trouble) -> RouteError {
    let chain = runtime::error_chain(&trouble);
    tracing::warn!(error = chain, "a sign-in with the identity provider failed");
    match trouble {
        Trouble::Away { .. } => RouteError::ProviderAway,
        Trouble::Unfit { .. } => RouteError::ProviderUnfit,
        Trouble::CodeRefused => RouteError::SignInStale,
    }
}

fn unproven(why: Unproven) -> RouteError {
    tracing::warn!(error = runtime::error_chain(&why), "an ID token was refused");
    RouteError::IdentityUnproven
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    to: String,
}

/// Sends the browser to the provider.
async fn begin(
    State(console): State<Console>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let to = asked.map(|Query(asked)| asked.to).unwrap_or_default();
    let to = Some(to).filter(|to| is_local_address(to)).unwrap_or_else(|| "/".to_owned());
    match sent(&console, peer, &headers, to).await {
        Ok(response) => response,
        Err(error) => failed(&Caller::nobody(), error),
    }
}

async fn sent(
    console: &Console,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: &HeaderMap,
    to: String,
) -> Result<Response, RouteError> {
    let access = &console.access;
    let elsewhere = access.elsewhere().ok_or(RouteError::NotFound)?;
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer.ip());
    entrance::spend(console, &OF_AN_ADDRESS, &address(peer, headers)).await?;
    let metadata = elsewhere.provider.metadata(&elsewhere.config).await.map_err(told)?;
    let [state, nonce, verifier] = [secret()?, secret()?, secret()?];
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let mut address = metadata.authorization_endpoint.clone();
    address.set_fragment(None);
    address
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &elsewhere.config.client_id)
        .append_pair("redirect_uri", &elsewhere.config.back_to)
        .append_pair("scope", &elsewhere.config.scopes)
        .append_pair("state", &state)
        .append_pair("nonce", &nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    // One for all tabs: each has its own state.
    let browser = match browser(access, headers) {
        Some(browser) => browser.to_owned(),
        None => secret()?,
    };
    let flow = serde_json::to_vec(&Flow { nonce, verifier, to }).map_err(|_| RouteError::Internal)?;
    access.store().begin_flow(&place(&browser, &state), &flow).await.map_err(away)?;
    let cookie = set_cookie(access, headers, &browser, FLOW_LONGEST.as_secs())?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(address.as_str())).into_response())
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    error: String,
    iss: Option<String>,
}

/// Where the provider sends the browser.
async fn back(
    State(console): State<Console>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    answer: Result<Query<Answer>, QueryRejection>,
) -> Response {
    let Ok(Query(answer)) = answer else { return failed(&Caller::nobody(), RouteError::SignInStale) };
    match let_in(&console, peer, &headers, answer).await {
        Ok(response) => response,
        Err(error) => {
            tracing::info!(error = error.told().error, "a sign-in was refused");
            failed(&Caller::nobody(), error)
        }
    }
}

async fn let_in(
    console: &Console,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: &HeaderMap,
    answer: Answer,
) -> Result<Response, RouteError> {
    let access = &console.access;
    let elsewhere = access.elsewhere().ok_or(RouteError::NotFound)?;
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer.ip());
    entrance::spend(console, &OF_AN_ADDRESS, &address(peer, headers)).await?;
    let browser = browser(access, headers).ok_or(RouteError::SignInStale)?;
    if !is_id(&answer.state) {
        return Err(RouteError::SignInStale);
    }
    let flow = access.store().take_flow(&place(browser, &answer.state)).await.map_err(away)?;
    let flow = flow.and_then(|flow| serde_json::from_slice::<Flow>(&flow).ok());
    let flow = flow.ok_or(RouteError::SignInStale)?;
    // Another provider's answer is not taken to ours (mix-up, RFC 9207).
    let metadata = elsewhere.provider.metadata(&elsewhere.config).await.map_err(told)?;
    let from_ours = match &answer.iss {
        Some(issuer) => *issuer == elsewhere.config.issuer,
        None => !metadata.authorization_response_iss_parameter_supported,
    };
    if !from_ours {
        return Err(RouteError::IdentityUnproven);
    }
    if !answer.error.is_empty() {
        return Err(match answer.error.as_str() {
            "temporarily_unavailable" | "server_error" => RouteError::ProviderAway,
            "invalid_request" | "unauthorized_client" | "unsupported_response_type" | "invalid_scope" => {
                RouteError::ProviderUnfit
            }
            // access_denied, and whatever needs the person at the provider.
            _ => RouteError::SignInDenied,
        });
    }
    if answer.code.is_empty() {
        return Err(RouteError::SignInStale);
    }
    let who = elsewhere.identify(&answer.code, &flow).await?;
    // Two people would be one in the timelines.
    if who.name == TOKEN_NAME || access.people().knows(&who.name) {
        return Err(RouteError::NameTaken);
    }
    let cookie = access.begin(&who, headers).await?;
    let gone = set_cookie(access, headers, "", 0)?;
    let cookies = AppendHeaders([(header::SET_COOKIE, cookie), (header::SET_COOKIE, gone)]);
    Ok((cookies, Redirect::to(&flow.to)).into_response())
}

/// What the browser and its request share with nobody.
fn place(browser: &str, state: &str) -> String {
    format!("{browser}.{state}")
}

fn secret() -> Result<String, RouteError> {
    let mut bytes = [0; ID];
    rand::fill(&mut bytes).map_err(|_| RouteError::Internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn browser<'a>(access: &Access, headers: &'a HeaderMap) -> Option<&'a str> {
    let wanted = if access.is_secure(headers) { SECURE_COOKIE } else { COOKIE };
    cookies(headers).find(|(name, _)| *name == wanted).map(|(_, id)| id).filter(|id| is_id(id))
}

/// Lax: it comes along when the provider sends the browser back.
fn set_cookie(
    access: &Access,
    headers: &HeaderMap,
    value: &str,
    seconds: u64,
) -> Result<HeaderValue, RouteError> {
    access.cookie_named(
        if access.is_secure(headers) { SECURE_COOKIE } else { COOKIE },
        value,
        seconds,
        headers,
    )
}
