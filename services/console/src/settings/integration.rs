//! A Salesforce integration: changed, checked, shown without its secrets.

use domain::settings::{AttributeRule, AttributeSource, Integration, Invalid};
use salesforce::{Fields, keys::certificate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Refused,
    document::{self, all, element, find, reference, set, text, within},
    filled_in,
    hooks::{self, HookKey},
};
use crate::error::RouteError;

pub(super) const LIST: &str = "integrations";
/// A certificate's name where the issuer is left to the default.
pub(super) const ISSUER: &str = "baton";

/// What is to be changed; what is left out stays as it is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Edit {
    pub(super) instance_url: Option<String>,
    pub(super) es_developer_name: Option<String>,
    pub(super) org_id: Option<String>,
    pub(super) auth_key_id: Option<String>,
    /// PEM. It is never told again.
    pub(super) jwt_private_key: Option<String>,
    /// PEM of the public half or its certificate; made from a new private key where it is left out.
    pub(super) jwt_public_key: Option<String>,
    /// Empty: baton.
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    /// Empty: derived from the instance's address.
    pub(super) messaging_url: Option<String>,
    pub(super) max_live_sessions: Option<u32>,
    pub(super) attributes: Option<Vec<Rule>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) key: String,
    /// What it tells, for example session-id.
    pub(super) source: String,
    pub(super) max_length: u32,
}

/// An integration as everybody may see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct View {
    pub(super) id: String,
    pub(super) instance_url: String,
    pub(super) es_developer_name: String,
    pub(super) org_id: String,
    pub(super) auth_key_id: String,
    /// Whether there is one; it is never told.
    pub(super) has_private_key: bool,
    /// Where secrets stand that do not stand in the settings.
    pub(super) kept_elsewhere: Vec<String>,
    pub(super) jwt_public_key: String,
    pub(super) issuer: String,
    pub(super) audience: String,
    /// Empty where it is derived.
    pub(super) messaging_url: String,
    pub(super) derived_messaging_url: String,
    pub(super) max_live_sessions: u64,
    pub(super) attributes: Vec<Rule>,
    pub(super) more_keys: Vec<MoreKey>,
    /// What its hook may be called with; none: nobody may call it.
    pub(super) hook_keys: Vec<HookKey>,
    /// Numbers that hand off here.
    pub(super) numbers: Vec<String>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct MoreKey {
    pub(super) auth_key_id: String,
    /// Null: it is published, and does not sign.
    pub(super) signs_from: Option<String>,
}

/// Sources of attributes: as they are kept, in words, and what one looks like.
pub(super) const SOURCES: [(&str, &str, &str); 15] = [
    ("session-id", "Baton’s session (OpencxSessionId)", "3f0c7c1e-8f5b-4a0e-9d3c-5a8f6f1f2b10"),
    ("consumer-type", "Authenticated or not", "Authenticated"),
    ("channel", "Channel", "whatsapp"),
    ("channel-name", "Name of the number", "Support"),
    ("language", "Language", "en_US"),
    ("priority", "Priority", "high"),
    ("customer-name", "Customer’s name", "Ana Pérez"),
    ("phone", "Customer’s phone number", "+34600111222"),
    ("email", "Customer’s e-mail address", "ana@example.com"),
    ("reason", "Why it was handed off", "asked for a person"),
    ("summary", "Summary of the conversation", "Ana wants to change the delivery date of order 4711."),
    ("sentiment", "Sentiment", "neutral"),
    ("campaign", "Campaign that was answered", "spring-offer"),
    ("conversation-id", "Salesforce conversation", "9b1d6a0c-4d5e-4c7a-8a51-0d8e2c3f4b5a"),
    ("contact-id", "Baton’s contact", "c2a1f3d4-1b2c-4d5e-8f90-a1b2c3d4e5f6"),
];

/// As it is kept; a test holds [`SOURCES`] to it.
pub(super) const fn source_name(source: AttributeSource) -> &'static str {
    match source {
        AttributeSource::SessionId => "session-id",
        AttributeSource::ConsumerType => "consumer-type",
        AttributeSource::Channel => "channel",
        AttributeSource::ChannelName => "channel-name",
        AttributeSource::Language => "language",
        AttributeSource::Priority => "priority",
        AttributeSource::CustomerName => "customer-name",
        AttributeSource::Phone => "phone",
        AttributeSource::Email => "email",
        AttributeSource::Reason => "reason",
        AttributeSource::Summary => "summary",
        AttributeSource::Sentiment => "sentiment",
        AttributeSource::Campaign => "campaign",
        AttributeSource::ConversationId => "conversation-id",
        AttributeSource::ContactId => "contact-id",
    }
}

impl Rule {
    /// What the rep would get of somebody made up.
    pub(super) fn example(&self) -> String {
        let found = SOURCES.iter().find(|(name, ..)| *name == self.source);
        let most = usize::try_from(self.max_length).unwrap_or(usize::MAX);
        found.map_or("", |(.., example)| example).chars().take(most).collect()
    }
}

impl View {
    pub(super) fn of(document: &Value, one: &Value) -> Self {
        let secrets = ["jwt_private_key", "jwt_public_key"];
        let elsewhere =
            secrets.iter().filter_map(|name| Some(format!("{name}: {}", reference(one.get(name))?)));
        let attributes = match one.get("attributes").and_then(Value::as_array) {
            Some(rules) => rules.iter().map(rule).collect(),
            None => usual(),
        };
        let more = all(one, "more_keys").iter().map(|key| MoreKey {
            auth_key_id: text(key, "auth_key_id").to_owned(),
            signs_from: Some(text(key, "signs_from").to_owned()).filter(|moment| !moment.is_empty()),
        });
        let id = text(one, "id").to_owned();
        let used = all(document, "channels").iter().filter(|channel| text(channel, "integration") == id);
        let of = |name: &str| text(one, name).to_owned();
        let issuer = if one.get("issuer").is_none() { ISSUER.to_owned() } else { of("issuer") };
        Self {
            instance_url: of("instance_url"),
            es_developer_name: of("es_developer_name"),
            org_id: of("org_id"),
            auth_key_id: of("auth_key_id"),
            has_private_key: one.get("jwt_private_key").is_some_and(|key| !key.is_null() && key != ""),
            kept_elsewhere: elsewhere.collect(),
            jwt_public_key: of("jwt_public_key"),
            issuer,
            audience: of("audience"),
            messaging_url: of("messaging_url"),
            derived_messaging_url: derived(text(one, "instance_url")),
            max_live_sessions: one.get("max_live_sessions").and_then(Value::as_u64).unwrap_or(11_000),
            attributes,
            more_keys: more.collect(),
            hook_keys: hooks::of(one),
            numbers: used.map(|channel| text(channel, "name").to_owned()).collect(),
            id,
        }
    }

    pub(super) fn all(document: &Value) -> Vec<Self> {
        all(document, LIST).iter().map(|one| Self::of(document, one)).collect()
    }

    pub(super) fn find(document: &Value, id: &str) -> Result<Self, RouteError> {
        find(document, LIST, id).map(|one| Self::of(document, one)).ok_or(RouteError::UnknownIntegration)
    }
}

fn rule(value: &Value) -> Rule {
    let length = value.get("max_length").and_then(Value::as_u64).unwrap_or(255);
    Rule {
        key: text(value, "key").to_owned(),
        source: text(value, "source").to_owned(),
        max_length: u32::try_from(length).unwrap_or(u32::MAX),
    }
}

pub(super) fn usual() -> Vec<Rule> {
    let of = |rule: AttributeRule| Rule {
        key: rule.key,
        source: source_name(rule.source).to_owned(),
        max_length: u32::try_from(rule.max_length).unwrap_or(u32::MAX),
    };
    AttributeRule::usual().into_iter().map(of).collect()
}

/// What the domain derives, for an integration that may not be complete.
fn derived(instance_url: &str) -> String {
    let host = instance_url.trim().trim_end_matches('/').strip_prefix("https://").unwrap_or_default();
    match host.strip_suffix(".my.salesforce.com") {
        Some(label) if !label.is_empty() => format!("https://{label}.my.salesforce-scrt.com"),
        Some(_) | None => String::new(),
    }
}

/// Letters, digits, hyphens: it stands in the address that Salesforce fetches keys from.
pub(super) fn check_id(id: &str) -> Result<(), Refused> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=40).contains(&id.len()) && id.chars().all(fits) {
        return Ok(());
    }
    let problem = "has 1 to 40 small letters, digits and hyphens, such as main".into();
    Err(Refused::Invalid(vec![Invalid { field: "id".into(), problem }]))
}

/// Makes the change and says everything that would be wrong with the integration, field by field.
pub(super) fn apply(document: &mut Value, id: &str, edit: &Edit, new: bool) -> Result<(), Refused> {
    if new {
        check_id(id)?;
    }
    let one = element(document, LIST, id, new)?;
    change(one, edit)?;
    check(document, id)
}

fn change(one: &mut Map<String, Value>, edit: &Edit) -> Result<(), Refused> {
    // The page sends the public half that it showed: beside a new private key it is the old one's.
    let saved = one.get("jwt_public_key").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let public = edit.jwt_public_key.as_ref().filter(|public| {
        let same = public.replace("\r\n", "\n").trim() == saved;
        edit.jwt_private_key.is_none() || !same
    });
    let public = public.cloned();
    for (name, value) in [
        ("instance_url", &edit.instance_url),
        ("es_developer_name", &edit.es_developer_name),
        ("org_id", &edit.org_id),
        ("auth_key_id", &edit.auth_key_id),
        ("issuer", &edit.issuer),
        ("audience", &edit.audience),
        ("messaging_url", &edit.messaging_url),
        ("jwt_public_key", &public),
        ("jwt_private_key", &edit.jwt_private_key),
    ] {
        // An empty field leaves a value that stands elsewhere where it is.
        let kept = |value: &str| value.trim().is_empty() && reference(one.get(name)).is_some();
        if let Some(value) = value.as_ref().filter(|value| !kept(value)) {
            set(one, name, value);
        }
    }
    if let (Some(private), None) = (&edit.jwt_private_key, &public) {
        let issuer = one.get("issuer").and_then(Value::as_str).unwrap_or(ISSUER).to_owned();
        // A key that cannot be read is told about below.
        if let Ok(public) = certificate(&private.trim().into(), &issuer, runtime::now()) {
            one.insert("jwt_public_key".into(), public.into());
        }
    }
    if let Some(most) = edit.max_live_sessions {
        one.insert("max_live_sessions".into(), most.into());
    }
    if let Some(rules) = &edit.attributes {
        let known = |rule: &&Rule| SOURCES.iter().all(|(name, ..)| *name != rule.source);
        if let Some((i, _)) = rules.iter().enumerate().find(|(_, rule)| known(rule)) {
            let (field, problem) = (format!("attributes[{i}].source"), "is no source of attributes".into());
            return Err(Refused::Invalid(vec![Invalid { field, problem }]));
        }
        one.insert("attributes".into(), json!(rules));
    }
    Ok(())
}

/// Everything that is wrong with it; what is wrong elsewhere is told when it is saved.
pub(super) fn check(document: &Value, id: &str) -> Result<(), Refused> {
    let one = find(document, LIST, id).ok_or(RouteError::UnknownIntegration)?;
    let names = [
        "instance_url",
        "es_developer_name",
        "org_id",
        "auth_key_id",
        "jwt_private_key",
        "jwt_public_key",
        "messaging_url",
    ];
    // References are looked up by whoever parses the whole.
    if names.iter().all(|name| reference(one.get(name)).is_none()) {
        let issuer = if one.get("issuer").is_none() { ISSUER } else { text(one, "issuer") };
        let found = salesforce::check_fields(&Fields {
            instance_url: text(one, "instance_url"),
            es_developer_name: text(one, "es_developer_name"),
            org_id: text(one, "org_id"),
            auth_key_id: text(one, "auth_key_id"),
            jwt_private_key: text(one, "jwt_private_key"),
            jwt_public_key: text(one, "jwt_public_key"),
            issuer,
            messaging_url: text(one, "messaging_url"),
        });
        if !found.is_empty() {
            return Err(Refused::Invalid(found));
        }
    }
    let found = match typed(document, id) {
        Ok(integration) => salesforce::check(&integration),
        Err(Refused::Invalid(found)) => found,
        Err(other) => return Err(other),
    };
    if found.is_empty() { Ok(()) } else { Err(Refused::Invalid(found)) }
}

/// As services have it.
pub(super) fn typed(document: &Value, id: &str) -> Result<Integration, Refused> {
    let wrong = |found| within(document::named(found, document), LIST, id);
    let settings = filled_in(document).map_err(|found| Refused::Invalid(wrong(found)))?;
    let found = settings.integrations.into_iter().find(|one| one.id.as_str() == id);
    found.ok_or_else(|| RouteError::UnknownIntegration.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_one_that_the_settings_know() {
        for (name, ..) in SOURCES {
            let source: AttributeSource = serde_json::from_value(name.into()).unwrap();
            assert_eq!(source_name(source), name);
        }
        assert_eq!(usual().len(), AttributeRule::usual().len());
    }

    #[test]
    fn the_messaging_host_is_derived_as_services_do() {
        assert_eq!(derived("https://acme.my.salesforce.com/"), "https://acme.my.salesforce-scrt.com");
        assert_eq!(derived("https://support.example.com"), "");
    }
}
