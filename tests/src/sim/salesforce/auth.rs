//! Tokens: the identity JWT is really verified; access tokens are opaque but shaped like JWTs.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Refusal, body,
    config::{PublicKey, SalesforceConfig, VerifyFailure},
    known,
    state::{State, Token, new_id, within},
};
use crate::sim::{record::What, server::Call};

const BASIC: [&str; 6] =
    ["orgId", "esDeveloperName", "capabilitiesVersion", "platform", "deviceId", "context"];
const VERIFIED: [&str; 8] = [
    "orgId",
    "esDeveloperName",
    "capabilitiesVersion",
    "platform",
    "deviceId",
    "context",
    "authorizationType",
    "customerIdentityToken",
];

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    /// Seconds.
    exp: i64,
}

/// Both token calls.
pub(super) fn token(state: &mut State, call: &Call, verified: bool) -> Result<Value, Refusal> {
    let members: &[&str] = if verified { &VERIFIED } else { &BASIC };
    let body = body(call)?;
    known(&body, members)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let is_org = |org: &str| org.len() >= 15 && org[..15] == state.config.org_id;
    if !text("orgId").is_some_and(is_org) {
        return Err(Refusal::parameter("orgId"));
    }
    if text("esDeveloperName") != Some(state.config.es_developer_name.as_str()) {
        return Err(Refusal::parameter("esDeveloperName"));
    }
    if text("capabilitiesVersion") != Some("1") {
        return Err(Refusal::parameter("capabilitiesVersion"));
    }
    if text("platform") != Some("Web") {
        return Err(Refusal::parameter("platform"));
    }
    budget(state, Budget::Tokens)?;
    let subject = if verified {
        if text("authorizationType") != Some("JWT") {
            return Err(Refusal::parameter("authorizationType"));
        }
        let identity =
            text("customerIdentityToken").ok_or_else(|| Refusal::parameter("customerIdentityToken"))?;
        match identify(&state.config, identity, state.now_ms()) {
            Some(sub) => format!("v2/iamessage/AUTH/{}/uid:{sub}", state.config.keyset),
            None => match state.config.verify_failure {
                VerifyFailure::Silent => unverified(),
                VerifyFailure::Unauthorized => return Err(Refusal::unauthorized(&call.path)),
                VerifyFailure::BadRequest => return Err(Refusal::parameter("customerIdentityToken")),
            },
        }
    } else {
        unverified()
    };
    let subject: Arc<str> = subject.into();
    let (access, last) = issue(state, &subject, None);
    let max_file = match state.config.max_file_in_mb {
        true => state.config.max_file_bytes >> 20,
        false => state.config.max_file_bytes,
    };
    let auth = subject.contains("/AUTH/");
    Ok(json!({
        "accessToken": &*access,
        "lastEventId": last.to_string(),
        "context": {
            "deviceId": text("deviceId").map_or_else(new_id, str::to_owned),
            "endUser": { "appType": "iamessage", "role": "EndUser", "subject": &*subject },
            "configuration": {
                "embeddedServiceConfig": {
                    "name": state.config.es_developer_name, "deploymentType": "api",
                    "embeddedServiceMessagingChannel": {
                        "channelAddressIdentifier": state.config.channel_address_identifier,
                        "authMode": if auth { "Auth" } else { "UnAuth" },
                    },
                    "forms": [],
                    "attachments": { "endUserToAgent": state.config.files, "maxFileSize": max_file },
                    "choiceListConfig": { "choiceList": [] },
                    "transcript": { "allowTranscriptDownload": state.config.transcript },
                },
                "timestamp": state.now_ms(),
            },
        },
    }))
}

/// Another token for the same subject, under a new client id.
pub(super) fn continuation(state: &mut State, token: &Token) -> Result<Value, Refusal> {
    budget(state, Budget::Renewals)?;
    let until = (!state.config.continuation_extends).then_some(token.expires_ms);
    let (access, last) = issue(state, &token.subject, until);
    Ok(json!({ "accessToken": &*access, "lastEventId": last.to_string() }))
}

#[derive(Clone, Copy)]
enum Budget {
    Tokens,
    Renewals,
}

/// 200 a minute and org, of each.
fn budget(state: &mut State, budget: Budget) -> Result<(), Refusal> {
    if !state.config.token_limit {
        return Ok(());
    }
    let now = state.now_ms();
    let (window, most, rule) = match budget {
        Budget::Tokens => (&mut state.token_calls, state.config.tokens_per_minute, "tokens per minute"),
        Budget::Renewals => (&mut state.renewals, state.config.renewals_per_minute, "renewals per minute"),
    };
    if within(window, now, 60_000, most) {
        return Ok(());
    }
    state.violation(rule, "");
    Err(Refusal::too_many(state))
}

fn unverified() -> String {
    format!("v2/iamessage/UNAUTH/NA/uid:{}", new_id())
}

fn issue(state: &mut State, subject: &Arc<str>, until: Option<i64>) -> (Arc<str>, u64) {
    let client = new_id();
    let now = state.now_ms();
    let ttl_ms = i64::try_from(state.config.token_ttl_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let expires_ms = until.unwrap_or_else(|| now.saturating_add(ttl_ms));
    let claims = json!({
        "sub": &**subject, "orgId": state.config.org_id,
        "channelAddId": state.config.channel_address_identifier, "clientId": client,
        "capabilitiesVersion": "1", "exp": expires_ms / 1_000, "iat": now / 1_000,
    });
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = json!({ "alg": "RS256", "kid": "simulator" });
    let seal = URL_SAFE_NO_PAD.encode(fastrand::u128(..).to_be_bytes());
    let access: Arc<str> = format!("{}.{}.{seal}", part(&header), part(&claims)).into();
    state.tokens.insert(access.clone(), Token { subject: subject.clone(), client, expires_ms });
    let last = state.users.entry(subject.clone()).or_default().last_event();
    let verified = subject.contains("/AUTH/");
    state.record.push(What::TokenIssued { subject: subject.to_string(), verified });
    (access, last)
}

/// The `sub` of a token that holds: RS256, a `kid` of the keyset, its issuer, `exp` with 60 s leeway.
fn identify(config: &SalesforceConfig, token: &str, now_ms: i64) -> Option<String> {
    let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
    let key = config.keys.iter().find(|key| key.kid == kid)?;
    let mut validation = Validation::new(Algorithm::RS256);
    // Checked below, by the simulator's clock.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_issuer(&[&config.issuer]);
    let mut required = vec!["exp", "iss", "sub"];
    if let Some(audience) = &config.require_aud {
        validation.validate_aud = true;
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    let claims = jsonwebtoken::decode::<Claims>(token, &decoding_key(key)?, &validation).ok()?.claims;
    let fresh = now_ms / 1_000 <= claims.exp.saturating_add(60);
    Some(claims.sub).filter(|sub| fresh && !sub.is_empty())
}

fn decoding_key(key: &PublicKey) -> Option<DecodingKey> {
    match (&key.pem, &key.n, &key.e) {
        (Some(pem), _, _) => DecodingKey::from_rsa_pem(pem.as_bytes()).ok(),
        (None, Some(n), Some(e)) => DecodingKey::from_rsa_components(n, e).ok(),
        (None, _, _) => None,
    }
}

/// Who calls. Expired tokens get the ingress's plain text.
pub(super) fn bearer(state: &State, call: &Call) -> Result<Token, Refusal> {
    let token = call.bearer().and_then(|token| state.tokens.get(token));
    match token {
        None => Err(Refusal::unauthorized(&call.path)),
        Some(token) if token.expires_ms <= state.now_ms() => Err(Refusal::expired()),
        Some(token) => Ok(token.clone()),
    }
}
