//! How a number's assistant answers: changed, checked, shown without its secrets.

use std::collections::BTreeMap;

use domain::settings::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Refused,
    document::{all, reference, set, text},
};
use crate::error::RouteError;

/// What is to be changed; what is left out stays as it is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Edit {
    /// ai-only, quick, balanced or ai-first.
    pub(super) level: Option<String>,
    /// Hands over on frustration, whatever the level says.
    pub(super) frustration: Option<Toggle>,
    /// … when nothing helps.
    pub(super) no_progress: Option<Toggle>,
    /// … when a person is asked for.
    pub(super) request: Option<Toggle>,
    /// Always handed over, one plain-language line each.
    pub(super) topics: Option<Vec<String>>,
    pub(super) masking: Option<Masking>,
    /// Hosts that links may lead to.
    pub(super) link_hosts: Option<Vec<String>>,
    /// Hosts that actions may call.
    pub(super) action_hosts: Option<Vec<String>>,
    pub(super) model: Option<Model>,
    pub(super) transcriber: Option<Transcriber>,
    /// All of them; what is not among them is removed.
    pub(super) actions: Option<Vec<Action>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Toggle {
    #[default]
    AsTheLevelSays,
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Masking {
    pub(super) cards: bool,
    pub(super) emails: bool,
    pub(super) national_ids: bool,
}

/// An endpoint that speaks OpenAI's chat completions.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Model {
    /// Empty: no model, the built-in rules answer.
    pub(super) base_url: String,
    pub(super) model: String,
    /// It is never told again. Left out, it stays.
    pub(super) api_key: Option<String>,
    pub(super) instructions: String,
    pub(super) timeout_seconds: u32,
    pub(super) attempts: u32,
    pub(super) max_tokens: u32,
    /// max_tokens or max_completion_tokens.
    pub(super) max_tokens_field: String,
    pub(super) token_budget: u32,
    pub(super) tool_rounds: u32,
    /// rules or human.
    pub(super) fallback: String,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            model: String::new(),
            api_key: None,
            instructions: String::new(),
            timeout_seconds: 20,
            attempts: 2,
            max_tokens: 600,
            max_tokens_field: "max_tokens".into(),
            token_budget: 30_000,
            tool_rounds: 4,
            fallback: "rules".into(),
        }
    }
}

/// An endpoint that speaks OpenAI's audio transcriptions.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Transcriber {
    /// Empty: none.
    pub(super) base_url: String,
    pub(super) model: String,
    /// It is never told again. Left out, it stays.
    pub(super) api_key: Option<String>,
    pub(super) timeout_seconds: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) url: String,
    /// JSON schema of the arguments; left out: there are none.
    pub(super) parameters: Option<Value>,
    /// Never told again. Left out: those of the action of this name stay.
    pub(super) headers: Option<BTreeMap<String, String>>,
    pub(super) timeout_seconds: Option<u32>,
}

/// As everybody may see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct View {
    pub(super) level: String,
    pub(super) frustration: Toggle,
    pub(super) no_progress: Toggle,
    pub(super) request: Toggle,
    pub(super) topics: Vec<String>,
    pub(super) masking: Masking,
    pub(super) link_hosts: Vec<String>,
    pub(super) action_hosts: Vec<String>,
    /// Null: the built-in rules answer.
    pub(super) model: Option<ModelView>,
    pub(super) transcriber: Option<TranscriberView>,
    pub(super) actions: Vec<ActionView>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ModelView {
    pub(super) base_url: String,
    pub(super) model: String,
    /// Whether there is one; it is never told.
    pub(super) has_api_key: bool,
    /// Where it stands, where that is not in the settings.
    pub(super) api_key_kept_in: Option<String>,
    pub(super) instructions: String,
    pub(super) timeout_seconds: u64,
    pub(super) attempts: u64,
    pub(super) max_tokens: u64,
    pub(super) max_tokens_field: String,
    pub(super) token_budget: u64,
    pub(super) tool_rounds: u64,
    pub(super) fallback: String,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct TranscriberView {
    pub(super) base_url: String,
    pub(super) model: String,
    /// Whether there is one; it is never told.
    pub(super) has_api_key: bool,
    pub(super) api_key_kept_in: Option<String>,
    pub(super) timeout_seconds: u64,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ActionView {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) url: String,
    pub(super) parameters: Value,
    /// Their names; values are never told.
    pub(super) headers: Vec<String>,
    pub(super) timeout_seconds: u64,
}

impl View {
    /// `value`: a channel's `responder`, as it is kept.
    pub(super) fn of(value: &Value) -> Self {
        let handoff = value.get("handoff").unwrap_or(&Value::Null);
        let toggle = |name: &str| match handoff.get(name).and_then(Value::as_bool) {
            Some(true) => Toggle::Yes,
            Some(false) => Toggle::No,
            None => Toggle::AsTheLevelSays,
        };
        let masking = value.get("masking").unwrap_or(&Value::Null);
        let masks = |name: &str| masking.get(name).and_then(Value::as_bool).unwrap_or_default();
        let part = |name: &str| value.get(name).filter(|part| part.is_object());
        Self {
            level: or(handoff, "level", "quick"),
            frustration: toggle("frustration"),
            no_progress: toggle("no_progress"),
            request: toggle("request"),
            topics: texts(handoff, "topics"),
            masking: Masking {
                cards: masks("cards"),
                emails: masks("emails"),
                national_ids: masks("national_ids"),
            },
            link_hosts: texts(value, "link_hosts"),
            action_hosts: texts(value, "action_hosts"),
            model: part("model").map(ModelView::of),
            transcriber: part("transcriber").map(TranscriberView::of),
            actions: all(value, "actions").iter().map(ActionView::of).collect(),
        }
    }
}

impl ModelView {
    fn of(model: &Value) -> Self {
        let usual = Model::default();
        Self {
            base_url: text(model, "base_url").to_owned(),
            model: text(model, "model").to_owned(),
            has_api_key: is_there(model.get("api_key")),
            api_key_kept_in: reference(model.get("api_key")),
            instructions: text(model, "instructions").to_owned(),
            timeout_seconds: number(model, "timeout_seconds", usual.timeout_seconds),
            attempts: number(model, "attempts", usual.attempts),
            max_tokens: number(model, "max_tokens", usual.max_tokens),
            max_tokens_field: or(model, "max_tokens_field", &usual.max_tokens_field),
            token_budget: number(model, "token_budget", usual.token_budget),
            tool_rounds: number(model, "tool_rounds", usual.tool_rounds),
            fallback: or(model, "fallback", &usual.fallback),
        }
    }
}

impl TranscriberView {
    fn of(transcriber: &Value) -> Self {
        Self {
            base_url: text(transcriber, "base_url").to_owned(),
            model: text(transcriber, "model").to_owned(),
            has_api_key: is_there(transcriber.get("api_key")),
            api_key_kept_in: reference(transcriber.get("api_key")),
            timeout_seconds: number(transcriber, "timeout_seconds", 10),
        }
    }
}

impl ActionView {
    fn of(action: &Value) -> Self {
        let headers = action.get("headers").and_then(Value::as_object);
        Self {
            name: text(action, "name").to_owned(),
            description: text(action, "description").to_owned(),
            url: text(action, "url").to_owned(),
            parameters: action.get("parameters").cloned().unwrap_or(Value::Null),
            headers: headers.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            timeout_seconds: number(action, "timeout_seconds", 5),
        }
    }
}

fn is_there(secret: Option<&Value>) -> bool {
    secret.is_some_and(|secret| !secret.is_null() && secret != "")
}

fn or(value: &Value, name: &str, usual: &str) -> String {
    let own = text(value, name);
    if own.is_empty() { usual.to_owned() } else { own.to_owned() }
}

fn number(value: &Value, name: &str, usual: u32) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(usual.into())
}

pub(super) fn texts(value: &Value, name: &str) -> Vec<String> {
    all(value, name).iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect()
}

/// What the domain cannot say by field, because it would not read it, is said here; the rest is said by
/// whoever checks the whole.
pub(super) fn change(one: &mut Map<String, Value>, edit: &Edit) -> Result<(), Refused> {
    let mut wrong = Vec::new();
    let mut say = |field: String, problem: &str| wrong.push(Invalid { field, problem: problem.to_owned() });
    let responder = one.entry("responder").or_insert_with(|| json!({}));
    let responder = responder.as_object_mut().ok_or(RouteError::Internal)?;
    rules(responder, edit, &mut say)?;
    for (name, hosts) in [("link_hosts", &edit.link_hosts), ("action_hosts", &edit.action_hosts)] {
        if let Some(hosts) = hosts {
            responder.insert(name.into(), json!(hosts));
        }
    }
    if let Some(masking) = &edit.masking {
        responder.insert("masking".into(), json!(masking));
    }
    if let Some(wanted) = &edit.model {
        model(responder, wanted, &mut say);
    }
    if let Some(wanted) = &edit.transcriber {
        transcriber(responder, wanted, &mut say);
    }
    if let Some(wanted) = &edit.actions {
        actions(responder, wanted, &mut say);
    }
    if wrong.is_empty() { Ok(()) } else { Err(Refused::Invalid(wrong)) }
}

fn rules(
    responder: &mut Map<String, Value>,
    edit: &Edit,
    say: &mut impl FnMut(String, &str),
) -> Result<(), RouteError> {
    let handoff = responder.entry("handoff").or_insert_with(|| json!({}));
    let handoff = handoff.as_object_mut().ok_or(RouteError::Internal)?;
    if let Some(level) = &edit.level {
        if !matches!(level.as_str(), "ai-only" | "quick" | "balanced" | "ai-first") {
            say("handoff.level".into(), "is ai-only, quick, balanced or ai-first");
        }
        handoff.insert("level".into(), level.as_str().into());
    }
    for (name, toggle) in
        [("frustration", edit.frustration), ("no_progress", edit.no_progress), ("request", edit.request)]
    {
        match toggle {
            Some(Toggle::AsTheLevelSays) => {
                handoff.remove(name);
            }
            Some(Toggle::Yes) => {
                handoff.insert(name.into(), true.into());
            }
            Some(Toggle::No) => {
                handoff.insert(name.into(), false.into());
            }
            None => {}
        }
    }
    if let Some(topics) = &edit.topics {
        handoff.insert("topics".into(), json!(topics));
    }
    Ok(())
}

/// The secret of the part as it was, where none is given.
fn secret(before: Option<&Value>, given: Option<&String>) -> Option<Value> {
    let given = given.map(|given| given.trim()).filter(|given| !given.is_empty());
    given.map(Value::from).or_else(|| before?.get("api_key").cloned())
}

fn check_url(field: &str, text: &str, say: &mut impl FnMut(String, &str)) {
    if Url::parse(text.trim()).is_err() {
        say(field.to_owned(), "is no address: it begins with https://");
    }
}

fn model(responder: &mut Map<String, Value>, wanted: &Model, say: &mut impl FnMut(String, &str)) {
    if wanted.base_url.trim().is_empty() {
        if !wanted.model.trim().is_empty() {
            say("model.base_url".into(), "is empty: where is the model? (Clear its name to do without)");
        }
        responder.remove("model");
        return;
    }
    check_url("model.base_url", &wanted.base_url, say);
    if !matches!(wanted.max_tokens_field.as_str(), "max_tokens" | "max_completion_tokens") {
        say("model.max_tokens_field".into(), "is max_tokens or max_completion_tokens");
    }
    if !matches!(wanted.fallback.as_str(), "rules" | "human") {
        say("model.fallback".into(), "is rules or human");
    }
    let mut model = json!({
        "base_url": wanted.base_url.trim(),
        "model": wanted.model.trim(),
        "instructions": wanted.instructions.trim(),
        "timeout_seconds": wanted.timeout_seconds,
        "attempts": wanted.attempts,
        "max_tokens": wanted.max_tokens,
        "max_tokens_field": wanted.max_tokens_field,
        "token_budget": wanted.token_budget,
        "tool_rounds": wanted.tool_rounds,
        "fallback": wanted.fallback,
    });
    if let Some(key) = secret(responder.get("model"), wanted.api_key.as_ref()) {
        model["api_key"] = key;
    }
    responder.insert("model".into(), model);
}

fn transcriber(responder: &mut Map<String, Value>, wanted: &Transcriber, say: &mut impl FnMut(String, &str)) {
    if wanted.base_url.trim().is_empty() {
        if !wanted.model.trim().is_empty() {
            say("transcriber.base_url".into(), "is empty: where is it? (Clear the name to do without)");
        }
        responder.remove("transcriber");
        return;
    }
    check_url("transcriber.base_url", &wanted.base_url, say);
    let mut transcriber = json!({ "base_url": wanted.base_url.trim(), "model": wanted.model.trim() });
    if let Some(seconds) = wanted.timeout_seconds {
        transcriber["timeout_seconds"] = seconds.into();
    }
    if let Some(key) = secret(responder.get("transcriber"), wanted.api_key.as_ref()) {
        transcriber["api_key"] = key;
    }
    responder.insert("transcriber".into(), transcriber);
}

fn actions(responder: &mut Map<String, Value>, wanted: &[Action], say: &mut impl FnMut(String, &str)) {
    let before = responder.get("actions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut after = Vec::new();
    for (i, action) in wanted.iter().enumerate() {
        check_url(&format!("actions[{i}].url"), &action.url, say);
        let mut made = Map::new();
        set(&mut made, "name", &action.name);
        made.entry("name").or_insert_with(|| "".into());
        made.insert("description".into(), action.description.trim().into());
        made.insert("url".into(), action.url.trim().into());
        if let Some(parameters) = &action.parameters {
            made.insert("parameters".into(), parameters.clone());
        }
        if let Some(seconds) = action.timeout_seconds {
            made.insert("timeout_seconds".into(), seconds.into());
        }
        let same = before.iter().find(|one| text(one, "name") == action.name.trim());
        let headers = match &action.headers {
            Some(headers) => Some(json!(headers)),
            None => same.and_then(|one| one.get("headers").cloned()),
        };
        if let Some(headers) = headers {
            made.insert("headers".into(), headers);
        }
        after.push(Value::Object(made));
    }
    responder.insert("actions".into(), after.into());
}
