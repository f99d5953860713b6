//! What Salesforce's flow calls Baton's hook with: made here or pasted, counted, never shown again.

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::settings::Invalid;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Refused,
    document::{all, element, reference},
    integration::{LIST, check},
};
use crate::error::RouteError;

/// While they are changed there are two.
const MOST: usize = 4;
/// Of a key that is made here.
const BYTES: usize = 32;

/// A key as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct HookKey {
    /// The beginning of its SHA-256: it names the key, and tells nothing of it.
    pub(super) id: String,
    /// Where it stands, where that is not in the settings.
    pub(super) kept_in: Option<String>,
}

pub(super) fn of(integration: &Value) -> Vec<HookKey> {
    let key = |key: &Value| HookKey { id: id(key), kept_in: reference(Some(key)) };
    all(integration, "hook_keys").iter().map(key).collect()
}

fn id(key: &Value) -> String {
    let text = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Nobody guesses it.
pub(super) fn make() -> Result<String, RouteError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| RouteError::Internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

pub(super) fn add(document: &mut Value, integration: &str, key: &str) -> Result<(), Refused> {
    let one = element(document, LIST, integration, false)?;
    let keys = one.entry("hook_keys").or_insert_with(|| json!([]));
    let keys = keys.as_array_mut().ok_or(RouteError::Internal)?;
    let key = key.trim();
    let problem = if keys.len() >= MOST {
        Some("would be one too many: remove keys that are not used any more")
    } else if keys.iter().any(|known| known == key) {
        Some("is there already")
    } else if key.chars().count() < 32 {
        Some("is too short: 32 characters or more are needed")
    } else if !key.chars().all(|c| c.is_ascii_graphic()) || key.len() > 256 {
        Some("has visible ASCII characters only, 256 at most")
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(wrong(problem));
    }
    keys.push(key.into());
    check(document, integration)
}

pub(super) fn remove(document: &mut Value, integration: &str, wanted: &str) -> Result<(), Refused> {
    let one = element(document, LIST, integration, false)?;
    let keys = one.get_mut("hook_keys").and_then(Value::as_array_mut);
    let keys = keys.ok_or_else(|| wrong("is none of this integration's"))?;
    let before = keys.len();
    keys.retain(|key| id(key) != wanted);
    if keys.len() == before {
        return Err(wrong("is none of this integration's"));
    }
    check(document, integration)
}

fn wrong(problem: &str) -> Refused {
    Refused::Invalid(vec![Invalid { field: "hook_key".into(), problem: problem.into() }])
}
