//! What holds for all numbers: the assistants' switch, and what webhooks are known by.

use domain::settings::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Refused, document};
use crate::error::RouteError;

/// Every app has one, and those before stay good while they are changed at Meta's.
const MOST: usize = 8;

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Edit {
    /// No assistant answers anywhere while it is off.
    pub(super) autopilot: Option<bool>,
    /// The Meta app's secret: webhooks are signed with it. It is never told again.
    pub(super) app_secret: Option<String>,
    /// What Meta shows when it verifies the webhook's address. It is never told again.
    pub(super) verify_token: Option<String>,
}

/// As everybody may see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct View {
    pub(super) autopilot: bool,
    /// How many are good.
    pub(super) app_secrets: usize,
    pub(super) verify_tokens: usize,
}

impl View {
    pub(super) fn of(document: &Value) -> Self {
        let webhook = document.get("webhook").unwrap_or(&Value::Null);
        Self {
            autopilot: document.get("autopilot").and_then(Value::as_bool).unwrap_or(true),
            app_secrets: document::all(webhook, "app_secrets").len(),
            verify_tokens: document::all(webhook, "verify_tokens").len(),
        }
    }
}

pub(super) fn apply(document: &mut Value, edit: &Edit) -> Result<(), Refused> {
    let members = document.as_object_mut().ok_or(RouteError::Internal)?;
    if let Some(on) = edit.autopilot {
        members.insert("autopilot".into(), on.into());
    }
    for (name, list, given) in [
        ("app_secret", "app_secrets", &edit.app_secret),
        ("verify_token", "verify_tokens", &edit.verify_token),
    ] {
        let Some(given) = given.as_ref().map(|given| given.trim()).filter(|given| !given.is_empty()) else {
            continue;
        };
        if given.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let problem = "has no blanks: copy it again".into();
            return Err(Refused::Invalid(vec![Invalid { field: name.into(), problem }]));
        }
        let webhook = members.entry("webhook").or_insert_with(|| json!({}));
        let webhook = webhook.as_object_mut().ok_or(RouteError::Internal)?;
        let kept = webhook.entry(list).or_insert_with(|| json!([]));
        let kept = kept.as_array_mut().ok_or(RouteError::Internal)?;
        kept.retain(|one| *one != given);
        kept.insert(0, given.into());
        kept.truncate(MOST);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_before_stay_good() {
        let mut document = json!({ "channels": [] });
        for secret in ["one", "two", "two", "three"] {
            let edit = Edit { app_secret: Some(secret.into()), ..Edit::default() };
            apply(&mut document, &edit).unwrap();
        }
        assert_eq!(document["webhook"]["app_secrets"], json!(["three", "two", "one"]));
        let edit = Edit { app_secret: Some(" ".into()), autopilot: Some(false), ..Edit::default() };
        apply(&mut document, &edit).unwrap();
        let view = View::of(&document);
        assert_eq!((view.autopilot, view.app_secrets, view.verify_tokens), (false, 3, 0));
    }
}
