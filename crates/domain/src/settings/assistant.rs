//! How the assistant of a channel answers: by rules or by a model, when it hands over, what it may
//! look up, what it must not see.

use std::{collections::BTreeMap, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use super::seconds;
use crate::net::{is_loopback, is_public};

/// The assistant of a channel. Everything has a default: rules, quick to hand over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Responder {
    /// Answers instead of the rules.
    pub model: Option<Model>,
    pub handoff: HandoffRules,
    /// What the model may look up or do.
    pub actions: Vec<Action>,
    /// Hosts that actions may call, with everything below them.
    pub action_hosts: Vec<String>,
    /// Hosts that the model may send links to, with everything below them. None: no links.
    pub link_hosts: Vec<String>,
    /// Makes text of voice messages.
    pub transcriber: Option<Transcriber>,
    pub masking: Masking,
}

/// A chat-completions endpoint that speaks OpenAI's wire format.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Without `/chat/completions`: `https://api.example.com/v1`.
    pub base_url: Url,
    pub model: String,
    /// Sent as a bearer token. A server of one's own may need none.
    pub api_key: Option<SecretString>,
    /// Who the assistant is and what it should know, in the operator's words.
    #[serde(default)]
    pub instructions: String,
    /// For an answer, all calls together.
    #[serde(default = "twenty_seconds", with = "seconds")]
    pub timeout_seconds: Duration,
    /// Tries of a call that fails for the moment.
    #[serde(default = "two")]
    pub attempts: u32,
    /// Of one completion.
    #[serde(default = "six_hundred")]
    pub max_tokens: u32,
    /// The member of the request that says so: OpenAI's newer models refuse the older name.
    #[serde(default)]
    pub max_tokens_field: MaxTokensField,
    /// Of an answer, all calls together, prompts included.
    #[serde(default = "thirty_thousand")]
    pub token_budget: u32,
    /// How often the model may look something up or mend a call before it must answer.
    #[serde(default = "four")]
    pub tool_rounds: u32,
    /// When it fails or is too slow.
    #[serde(default)]
    pub fallback: Fallback,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    #[default]
    MaxTokens,
    MaxCompletionTokens,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The built-in rules answer.
    #[default]
    Rules,
    /// The customer is handed over.
    Human,
}

/// When the assistant hands over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandoffRules {
    pub level: Level,
    /// On frustration. Absent: as the level says.
    pub frustration: Option<bool>,
    /// When nothing helps. Absent: as the level says for a model; not by rules.
    pub no_progress: Option<bool>,
    /// When the customer asks for a person. Absent: as the level says.
    pub request: Option<bool>,
    /// Always handed over, one plain-language line each.
    pub topics: Vec<String>,
}

/// `product-behaviour.md` §6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Never hands over; declines requests.
    AiOnly,
    /// On any frustration, on no progress, at once on request.
    #[default]
    Quick,
    /// Tries to understand first, respects a request, asks what it is about before.
    Balanced,
    /// Wants the whole problem and tries several answers first.
    AiFirst,
}

impl HandoffRules {
    pub fn on_request(&self) -> bool {
        self.level != Level::AiOnly && self.request.unwrap_or(true)
    }

    pub fn on_frustration(&self) -> bool {
        self.level != Level::AiOnly
            && self.frustration.unwrap_or(matches!(self.level, Level::Quick | Level::Balanced))
    }

    pub fn on_no_progress(&self) -> bool {
        self.level != Level::AiOnly && self.no_progress.unwrap_or(true)
    }
}

/// A service of the operator's that the model may call: JSON in, JSON out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// As the model calls it.
    pub name: String,
    /// When to use it, for the model.
    pub description: String,
    /// Gets a POST with the arguments.
    pub url: Url,
    /// JSON schema of the arguments: an object.
    #[serde(default = "no_parameters")]
    pub parameters: Value,
    /// Sent along, for example `authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretString>,
    #[serde(default = "five_seconds", with = "seconds")]
    pub timeout_seconds: Duration,
}

/// An audio-transcriptions endpoint that speaks OpenAI's wire format.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcriber {
    /// Without `/audio/transcriptions`.
    pub base_url: Url,
    pub model: String,
    pub api_key: Option<SecretString>,
    #[serde(default = "ten_seconds", with = "seconds")]
    pub timeout_seconds: Duration,
}

/// What is replaced before a model, and Salesforce, see what was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Masking {
    /// Payment card numbers.
    pub cards: bool,
    pub emails: bool,
    /// United States social security numbers, Brazilian CPF, Spanish DNI and NIE.
    pub national_ids: bool,
}

impl Masking {
    pub const fn is_on(&self) -> bool {
        self.cards || self.emails || self.national_ids
    }
}

/// Names of the tools that every model has.
pub const BUILT_IN_TOOLS: [&str; 4] =
    ["handoff_to_human", "reply_with_choices", "send_link", "close_conversation"];

impl Responder {
    pub(super) fn check(&self, say: &mut impl FnMut(String, &str)) {
        if let Some(model) = &self.model {
            model.check(say);
        }
        if let Some(transcriber) = &self.transcriber {
            check_endpoint(&transcriber.base_url, transcriber.api_key.is_some(), "transcriber.base_url", say);
            if transcriber.model.trim().is_empty() {
                say("transcriber.model".into(), "is empty");
            }
            check_wait(transcriber.timeout_seconds, 60, "transcriber.timeout_seconds", say);
        }
        self.handoff.check(say);
        for (list, hosts) in [("action_hosts", &self.action_hosts), ("link_hosts", &self.link_hosts)] {
            for (i, host) in hosts.iter().enumerate() {
                if !is_host(host) {
                    say(
                        format!("{list}[{i}]"),
                        "is a host name like shop.example.com, without scheme and path",
                    );
                }
            }
        }
        if self.actions.len() > 32 {
            say("actions".into(), "are 32 at most");
        }
        let local = self.model.as_ref().is_some_and(|model| is_loopback(&model.base_url));
        for (i, action) in self.actions.iter().enumerate() {
            let field = |name: &str| format!("actions[{i}].{name}");
            action.check(local, &self.action_hosts, &mut |name, problem| say(field(&name), problem));
            if self.actions[..i].iter().any(|earlier| earlier.name == action.name) {
                say(field("name"), "is there twice");
            }
        }
    }
}

impl Model {
    fn check(&self, say: &mut impl FnMut(String, &str)) {
        check_endpoint(&self.base_url, self.api_key.is_some(), "model.base_url", say);
        if self.model.trim().is_empty() {
            say("model.model".into(), "is empty: it is the name that the endpoint knows the model by");
        }
        if self.instructions.chars().count() > 20_000 {
            say("model.instructions".into(), "has 20000 characters at most");
        }
        check_wait(self.timeout_seconds, 120, "model.timeout_seconds", say);
        if !(1..=5).contains(&self.attempts) {
            say("model.attempts".into(), "is 1 to 5");
        }
        if !(16..=8_000).contains(&self.max_tokens) {
            say("model.max_tokens".into(), "is 16 to 8000");
        }
        if self.token_budget < self.max_tokens {
            say("model.token_budget".into(), "must leave room for one completion (model.max_tokens)");
        }
        if !(1..=10).contains(&self.tool_rounds) {
            say("model.tool_rounds".into(), "is 1 to 10");
        }
    }
}

impl HandoffRules {
    fn check(&self, say: &mut impl FnMut(String, &str)) {
        if self.topics.len() > 50 {
            say("handoff.topics".into(), "are 50 at most: start with few");
        }
        for (i, topic) in self.topics.iter().enumerate() {
            if topic.trim().is_empty() || topic.chars().count() > 200 || topic.contains('\n') {
                say(format!("handoff.topics[{i}]"), "is one line of 1 to 200 characters");
            }
        }
        if self.level == Level::AiOnly && !self.topics.is_empty() {
            say("handoff.topics".into(), "must be empty at the level ai-only, which never hands over");
        }
    }
}

impl Action {
    /// `local`: the model runs on this machine, and so may actions.
    fn check(&self, local: bool, hosts: &[String], say: &mut impl FnMut(String, &str)) {
        let well_formed = self.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if !well_formed || !(1..=64).contains(&self.name.len()) {
            say("name".into(), "has letters, digits, hyphens and underscores only, 64 at most");
        } else if BUILT_IN_TOOLS.contains(&self.name.as_str()) {
            say("name".into(), "is one that Baton itself uses");
        }
        if self.description.trim().is_empty() {
            say("description".into(), "is empty: the model would not know when to use it");
        }
        if !self.is_allowed(local, hosts) {
            say(
                "url".into(),
                "must be https, on a host in action_hosts, and not an address of an inner network",
            );
        }
        if self.parameters.get("type").and_then(Value::as_str) != Some("object") {
            say("parameters".into(), "is a JSON schema of type object");
        }
        for (name, value) in &self.headers {
            let token = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if name.is_empty() || !name.chars().all(token) {
                say(format!("headers.{name}"), "is not the name of a header");
            }
            if !value.expose_secret().chars().all(|c| c.is_ascii_graphic() || c == ' ') {
                say(format!("headers.{name}"), "has characters that a header cannot carry");
            }
        }
        check_wait(self.timeout_seconds, 30, "timeout_seconds", say);
    }

    /// Whether its address may be called at all; what the name resolves to is checked by the caller.
    pub fn is_allowed(&self, local: bool, hosts: &[String]) -> bool {
        if local && is_loopback(&self.url) {
            return true;
        }
        let listed = |name: &str| hosts.iter().any(|host| is_below(name, host));
        let named = match self.url.host() {
            Some(Host::Domain(name)) => listed(name),
            Some(Host::Ipv4(ip)) => is_public(ip.into()) && listed(&ip.to_string()),
            Some(Host::Ipv6(_)) | None => false,
        };
        named
            && self.url.scheme() == "https"
            && self.url.username().is_empty()
            && self.url.password().is_none()
    }
}

/// Whether `name` is `host` or below it, whatever the case.
pub fn is_below(name: &str, host: &str) -> bool {
    let (name, host) = (name.to_ascii_lowercase(), host.to_ascii_lowercase());
    name == host || name.strip_suffix(&host).is_some_and(|rest| rest.ends_with('.'))
}

fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    text.contains('.') && text.chars().all(plain) && !text.starts_with('.') && !text.ends_with('.')
}

/// A key travels over https only; without one, a server within the operator's own network will do.
fn check_endpoint(url: &Url, with_key: bool, field: &str, say: &mut impl FnMut(String, &str)) {
    let inner = is_loopback(url)
        || match url.host() {
            Some(Host::Domain(name)) => !with_key && !name.contains('.'),
            Some(Host::Ipv4(ip)) => !with_key && !is_public(ip.into()),
            Some(Host::Ipv6(ip)) => !with_key && !is_public(ip.into()),
            None => false,
        };
    if url.scheme() != "https" && !(url.scheme() == "http" && inner) {
        say(
            field.into(),
            "must start with https:// (http only on loopback, or without a key inside of one's own network)",
        );
    }
    if url.query().is_some() || url.fragment().is_some() || url.path().ends_with("/chat/completions") {
        say(field.into(), "is the part before /chat/completions, for example https://api.example.com/v1");
    }
}

fn check_wait(wait: Duration, most: u64, field: &str, say: &mut impl FnMut(String, &str)) {
    if wait.is_zero() || wait > Duration::from_secs(most) {
        say(field.into(), &format!("is 1 to {most} seconds"));
    }
}

fn no_parameters() -> Value {
    serde_json::json!({ "type": "object", "properties": {} })
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn twenty_seconds() -> Duration {
    Duration::from_secs(20)
}

fn two() -> u32 {
    2
}

fn four() -> u32 {
    4
}

fn six_hundred() -> u32 {
    600
}

fn thirty_thousand() -> u32 {
    30_000
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "model": { "base_url": "https://api.example.com/v1", "model": "small", "api_key": "k" },
            "handoff": { "level": "balanced", "topics": ["legal threats"] },
            "actions": [{ "name": "order_status", "description": "Where an order is",
                          "url": "https://api.shop.example.com/orders",
                          "parameters": { "type": "object", "properties": { "order": { "type": "string" } } },
                          "headers": { "authorization": "Bearer x" } }],
            "action_hosts": ["shop.example.com"],
            "link_hosts": ["shop.example.com"],
            "transcriber": { "base_url": "https://api.example.com/v1", "model": "ear" },
            "masking": { "cards": true, "emails": true, "national_ids": true },
        })
    }

    fn found(value: Value) -> Vec<String> {
        let mut fields = Vec::new();
        let responder: Responder = serde_json::from_value(value).unwrap();
        responder.check(&mut |field, _| fields.push(field));
        fields
    }

    #[test]
    fn each_field_has_its_own_message() {
        assert_eq!(found(good()), [""; 0]);
        assert_eq!(found(json!({})), [""; 0]);
        for (pointer, value) in [
            ("/model/base_url", json!("http://api.example.com/v1")),
            ("/model/base_url", json!("https://api.example.com/v1/chat/completions")),
            ("/model/model", json!(" ")),
            ("/model/timeout_seconds", json!(0)),
            ("/model/attempts", json!(9)),
            ("/model/max_tokens", json!(1)),
            ("/model/token_budget", json!(100)),
            ("/model/tool_rounds", json!(0)),
            ("/handoff/topics/0", json!("two\nlines")),
            ("/actions/0/name", json!("order status")),
            ("/actions/0/name", json!("handoff_to_human")),
            ("/actions/0/description", json!("")),
            ("/actions/0/url", json!("https://elsewhere.example.org/")),
            ("/actions/0/url", json!("http://api.shop.example.com/")),
            ("/actions/0/url", json!("https://127.0.0.1/")),
            ("/actions/0/url", json!("https://evil-shop.example.com.attacker.net/")),
            ("/actions/0/parameters", json!({ "type": "array" })),
            ("/actions/0/headers", json!({ "a b": "x" })),
            ("/actions/0/timeout_seconds", json!(31)),
            ("/action_hosts/0", json!("https://shop.example.com")),
            ("/link_hosts/0", json!("shop")),
            ("/transcriber/base_url", json!("ftp://a.example.com")),
        ] {
            let mut changed = good();
            let member = pointer.strip_prefix('/').unwrap();
            if let Some(place) = changed.pointer_mut(pointer) {
                *place = value;
            } else {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                changed.pointer_mut(parent).unwrap()[name] = value;
            }
            let fields = found(changed);
            let wanted = member.replace("/0", "[0]").replace('/', ".");
            assert!(fields.iter().any(|field| field.starts_with(&wanted)), "{pointer}: {fields:?}");
        }
        let mut nothing_to_hand_over = good();
        nothing_to_hand_over["handoff"]["level"] = "ai-only".into();
        assert_eq!(found(nothing_to_hand_over), ["handoff.topics"]);
    }

    #[test]
    fn a_model_of_ones_own_needs_neither_key_nor_https() {
        for url in ["http://localhost:8000/v1", "http://vllm:8000/v1", "http://10.0.0.7:8000/v1"] {
            assert_eq!(found(json!({ "model": { "base_url": url, "model": "m" } })), [""; 0], "{url}");
        }
        let with_key =
            json!({ "model": { "base_url": "http://vllm:8000/v1", "model": "m", "api_key": "k" } });
        assert_eq!(found(with_key), ["model.base_url"]);
    }

    #[test]
    fn the_assistant_answers_when_both_switches_are_on() {
        for (autopilot, channel) in [(true, true), (true, false), (false, true), (false, false)] {
            let settings: crate::settings::Settings = serde_json::from_value(json!({
                "autopilot": autopilot,
                "channels": [{ "phone_number_id": "1", "waba_id": "2", "display_phone_number": "+1",
                               "name": "Support", "access_token": "t", "assistant": channel }],
            }))
            .unwrap();
            let answers = |number: &str| settings.assistant_answers(&crate::PhoneNumberId::new(number));
            assert_eq!(answers("1"), autopilot && channel);
            assert!(!answers("2"));
        }
    }

    #[test]
    fn quiet_times_have_bounds() {
        for (quiet, longest, fine) in
            [(0, 0, true), (3, 10, true), (10, 30, true), (11, 30, false), (5, 4, false), (3, 31, false)]
        {
            let value = json!({ "quiet_seconds": quiet, "longest_quiet_seconds": longest });
            let policy: crate::settings::Policy = serde_json::from_value(value).unwrap();
            let mut found = 0;
            policy.check(&mut |_, _| found += 1);
            assert_eq!(found == 0, fine, "{quiet} {longest}");
        }
    }

    #[test]
    fn levels_say_what_hands_over_and_toggles_say_otherwise() {
        let rules = |value| serde_json::from_value::<HandoffRules>(value).unwrap();
        let quick = rules(json!({}));
        assert!(quick.on_request() && quick.on_frustration() && quick.on_no_progress());
        let never = rules(json!({ "level": "ai-only", "request": true, "frustration": true }));
        assert!(!never.on_request() && !never.on_frustration() && !never.on_no_progress());
        let patient = rules(json!({ "level": "ai-first" }));
        assert!(patient.on_request() && !patient.on_frustration());
        assert!(!rules(json!({ "frustration": false })).on_frustration());
    }
}
