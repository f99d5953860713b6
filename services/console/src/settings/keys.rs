//! Keys of an integration: made here, published, put to use, taken out.

use domain::settings::Invalid;
use salesforce::keys::{KeyRing, certificate, generate_key_pair};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::{
    Refused,
    document::{element, text},
    integration::{ISSUER, LIST, check, check_id, typed},
};
use crate::error::RouteError;

/// What Salesforce's own samples use; longer ones cost every token time.
const BITS: usize = 2048;
/// Beside the first.
const MOST_KEYS: usize = 4;

/// A key that is not in the settings yet.
pub(super) struct Made {
    private: String,
    certificate: String,
}

/// Takes up to seconds.
pub(super) async fn make(issuer: String) -> Result<Made, RouteError> {
    let made = tokio::task::spawn_blocking(move || {
        let pair = generate_key_pair(BITS)?;
        let certificate = certificate(&pair.private_pem, &issuer, runtime::now())?;
        Ok::<_, salesforce::identity::Error>((pair, certificate))
    });
    match made.await {
        Ok(Ok((pair, certificate))) => {
            Ok(Made { private: pair.private_pem.expose_secret().to_owned(), certificate })
        }
        Ok(Err(_)) | Err(_) => Err(RouteError::Internal),
    }
}

/// As the first key of an integration that has none, else beside the first: it is published at once and
/// signs when it is told to.
pub(super) fn add(one: &mut Map<String, Value>, key_id: &str, made: Made) -> Result<(), Refused> {
    let problem = |problem: &str| {
        Refused::Invalid(vec![Invalid { field: "auth_key_id".into(), problem: problem.into() }])
    };
    let Made { private, certificate } = made;
    if one.get("jwt_private_key").is_none() {
        one.insert("auth_key_id".into(), key_id.into());
        one.insert("jwt_private_key".into(), private.into());
        one.insert("jwt_public_key".into(), certificate.into());
        return Ok(());
    }
    let taken = one.get("auth_key_id").is_some_and(|id| id == key_id);
    let keys = one.entry("more_keys").or_insert_with(|| json!([]));
    let keys = keys.as_array_mut().ok_or(RouteError::Internal)?;
    if taken || keys.iter().any(|key| key["auth_key_id"] == key_id) {
        return Err(problem("is there already: every key has one of its own"));
    }
    if keys.len() >= MOST_KEYS {
        return Err(problem("would be one too many: remove keys that are not used any more"));
    }
    keys.push(json!({ "auth_key_id": key_id, "jwt_private_key": private, "jwt_public_key": certificate }));
    Ok(())
}

/// Which one comes to the name; `baton-1` and on.
pub(super) fn next_id(one: &Value) -> String {
    let more = one.get("more_keys").and_then(Value::as_array);
    let mut ids = more.into_iter().flatten().chain([one]).map(|key| text(key, "auth_key_id"));
    let ids: Vec<&str> = ids.by_ref().collect();
    let mut n = 1;
    while ids.contains(&format!("baton-{n}").as_str()) {
        n += 1;
    }
    format!("baton-{n}")
}

pub(super) fn check_key_id(id: &str) -> Result<(), Refused> {
    match check_id(id) {
        Err(Refused::Invalid(mut found)) => {
            found.iter_mut().for_each(|one| one.field = "auth_key_id".into());
            Err(Refused::Invalid(found))
        }
        other => other,
    }
}

/// What is done to a key that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    /// It signs from now on; the first key stays published until it is removed.
    Sign,
    /// It is taken out. Of the first key: the one that signs takes its place.
    Remove,
}

pub(super) fn act(document: &mut Value, id: &str, key_id: &str, act: Act) -> Result<(), Refused> {
    let one = element(document, LIST, id, false)?;
    let is_first = one.get("auth_key_id").is_some_and(|first| first == key_id);
    let problem = |problem: &str| {
        Err(Refused::Invalid(vec![Invalid { field: "auth_key_id".into(), problem: problem.into() }]))
    };
    let Some(keys) = one.get_mut("more_keys").and_then(Value::as_array_mut) else {
        return problem("is the only key: make another one first");
    };
    let at = keys.iter().position(|key| key["auth_key_id"] == key_id);
    match (act, at) {
        (Act::Sign, Some(at)) => {
            let now = jiff::Timestamp::from_millisecond(runtime::now()).map_err(|_| RouteError::Internal)?;
            keys[at]["signs_from"] = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        }
        (Act::Sign, None) if is_first => return problem("signs already, or did until another one took over"),
        (Act::Remove, Some(at)) => {
            keys.remove(at);
        }
        (Act::Remove, None) if is_first => {
            let newest = (0..keys.len())
                .filter(|at| !text(&keys[*at], "signs_from").is_empty())
                .max_by_key(|at| text(&keys[*at], "signs_from").to_owned());
            let Some(at) = newest else { return problem("signs: let another key sign first") };
            let heir = keys.remove(at);
            one.remove("jwt_public_key");
            for name in ["auth_key_id", "jwt_private_key", "jwt_public_key"] {
                if let Some(value) = heir.get(name) {
                    one.insert(name.into(), value.clone());
                }
            }
        }
        (Act::Sign | Act::Remove, None) => return problem("is no key of this integration"),
    }
    check(document, id)
}

/// What Salesforce is given: each key with its certificate. Null where the integration is not complete.
pub(super) fn published(document: &Value, id: &str) -> Value {
    let Ok(integration) = typed(document, id) else { return Value::Null };
    let issuer = if integration.issuer.is_empty() { ISSUER } else { &integration.issuer };
    KeyRing::from_settings(&integration)
        .and_then(|ring| ring.jwks(issuer, runtime::now()))
        .unwrap_or(Value::Null)
}
