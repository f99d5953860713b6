//! What an operator configures: numbers, Salesforce integrations, policies. Parsed and checked
//! here, read from disk by `runtime::settings`. `deploy/settings.sample.json` shows every field.

use std::{fmt, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{IntegrationId, PhoneNumberId, WabaId, net::is_loopback};

/// The whole configuration, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Raised by the operator with every change; decisions name the version they were made under.
    #[serde(default = "first_version")]
    pub version: u64,
    /// The organisation's switch: when off, no assistant answers on any channel.
    #[serde(default = "yes")]
    pub autopilot: bool,
    pub channels: Vec<Channel>,
    #[serde(default)]
    pub integrations: Vec<Integration>,
    /// The built-in assistant's answers.
    #[serde(default)]
    pub faq: Vec<FaqEntry>,
}

/// A WhatsApp business number.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub phone_number_id: PhoneNumberId,
    pub waba_id: WabaId,
    /// As people dial it, for display only.
    pub display_phone_number: String,
    pub name: String,
    /// System user token of the app that sends on this number.
    pub access_token: SecretString,
    /// Where a handoff goes. Without one the assistant keeps the customer.
    pub integration: Option<IntegrationId>,
    /// The channel's own switch for the assistant.
    #[serde(default = "yes")]
    pub assistant: bool,
    /// Messages a second that the number may send (80, after Meta's upgrade up to 1,000; 20 for
    /// numbers that are in the WhatsApp Business app as well).
    #[serde(default = "eighty")]
    pub messages_per_second: u32,
    /// Several responders share the number, and Baton's app is the escalation partner: it takes the
    /// thread at a handoff and releases it afterwards (Conversation Routing).
    #[serde(default)]
    pub escalation_partner: bool,
    #[serde(default)]
    pub policy: Policy,
}

/// How a channel treats its customers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether the assistant helps on while the customer waits for a rep.
    pub assist_while_waiting: bool,
    /// After this much silence the customer's next message opens a new session (assistant only;
    /// never while a rep has the conversation).
    #[serde(with = "seconds")]
    pub auto_resolve_after_seconds: Duration,
    /// How long a handoff may hang before the customer is told that it takes longer.
    #[serde(with = "seconds")]
    pub opening_patience_seconds: Duration,
    /// Sent once when a rep writes outside the customer service window, so that the customer may
    /// open it again. Without one the rep's messages wait all the same.
    pub rescue_template: Option<RescueTemplate>,
    /// How long a rep's messages wait for the customer service window.
    #[serde(with = "seconds")]
    pub parked_keep_seconds: Duration,
    /// How long the assistant keeps quiet after somebody answered in the WhatsApp Business app.
    #[serde(with = "seconds")]
    pub echo_quiet_seconds: Duration,
    /// Of the customers, as Salesforce writes it, where nothing tells better.
    pub language: String,
    /// Whether the customer sees that messages were read, and typing indicators.
    pub read_receipts: bool,
    /// The customer is told the place in the queue at most this often; 0: never.
    #[serde(with = "seconds")]
    pub queue_notice_seconds: Duration,
    /// What becomes of a customer when nobody is available.
    pub nobody_available: Nobody,
    /// A customer who writes just one of these words ends the chat with the team.
    pub stop_words: Vec<String>,
    pub texts: Texts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nobody {
    /// The customer keeps the place in the queue, and is told so.
    KeepWaiting,
    /// The assistant is back, and the customer is told so.
    BackToAssistant,
}

/// A template that asks the customer to write again. Its parameters may hold `{name}`, the
/// customer's name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RescueTemplate {
    pub name: String,
    pub language: String,
    #[serde(default)]
    pub parameters: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            assist_while_waiting: true,
            auto_resolve_after_seconds: Duration::from_secs(24 * 3600),
            opening_patience_seconds: Duration::from_secs(20),
            rescue_template: None,
            parked_keep_seconds: Duration::from_secs(3 * 24 * 3600),
            echo_quiet_seconds: Duration::from_secs(30 * 60),
            language: "en_US".into(),
            read_receipts: true,
            queue_notice_seconds: Duration::from_secs(60),
            nobody_available: Nobody::KeepWaiting,
            stop_words: Vec::new(),
            texts: Texts::default(),
        }
    }
}

/// What Baton itself says to the customer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Texts {
    pub connecting: String,
    pub team_unreachable: String,
    pub nobody_available: String,
    pub chat_ended: String,
    pub no_team: String,
    /// `{position}` is the place in the queue.
    pub queue_position: String,
    /// Nobody is available, and the assistant is back.
    pub nobody_goodbye: String,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            connecting: "I'm connecting you with our team. Someone will be with you shortly.".into(),
            team_unreachable: "I can't reach our team's system right now. Your request is kept, and I'll connect you as soon as it is back.".into(),
            nobody_available: "Nobody is available right now. You keep your place, and a person will answer as soon as possible.".into(),
            chat_ended: "The chat with our team has ended. I'm the assistant again: write if there is anything else.".into(),
            no_team: "I'm sorry, I can't reach a person from here.".into(),
            queue_position: "You are number {position} in the queue.".into(),
            nobody_goodbye: "Nobody of our team is available right now, so I'm back to help you. Ask for a person again at any time.".into(),
        }
    }
}

/// One question the built-in assistant can answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaqEntry {
    /// The answer is given when a message contains all words of any of these phrases.
    pub phrases: Vec<String>,
    pub answer: String,
}

/// A Salesforce org and deployment: the six fields, and two derived ones an admin may override.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Integration {
    pub id: IntegrationId,
    pub instance_url: Url,
    pub es_developer_name: String,
    pub org_id: OrgId,
    pub auth_key_id: String,
    pub jwt_private_key: SecretString,
    pub jwt_public_key: String,
    /// Must equal the issuer of the keyset in Salesforce, byte for byte.
    #[serde(default = "default_issuer")]
    pub issuer: String,
    /// The SCRT2 host, as the deployment's code snippet shows it. Derived when absent.
    #[serde(default)]
    pub messaging_url: Option<Url>,
    /// What the routing flow and the rep get beside the conversation, under the names of the channel
    /// variables in the org's parameter mappings.
    #[serde(default = "AttributeRule::usual")]
    pub attributes: Vec<AttributeRule>,
}

/// A routing attribute.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeRule {
    /// The channel variable name of the parameter mapping.
    pub key: String,
    pub source: AttributeSource,
    /// The maximum length of the custom parameter, in characters; longer values are cut.
    #[serde(default = "usual_length")]
    pub max_length: usize,
}

/// What an attribute tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttributeSource {
    /// The session's id: the trace key back to everything.
    SessionId,
    ConsumerType,
    Channel,
    ChannelName,
    Language,
    Priority,
    CustomerName,
    Phone,
    Email,
    Reason,
    Summary,
    Campaign,
    ConversationId,
    ContactId,
}

impl AttributeRule {
    /// `product-behaviour.md` §5; what an org does not map it ignores.
    pub fn usual() -> Vec<Self> {
        use AttributeSource::{
            Campaign, Channel, ConsumerType, ContactId, ConversationId, CustomerName, Email, Language, Phone,
            Priority, Reason, SessionId, Summary,
        };
        [
            ("OpencxSessionId", SessionId),
            ("Chat_Consumer_Type", ConsumerType),
            ("Channel", Channel),
            ("Customer_Name", CustomerName),
            ("Phone_Number", Phone),
            ("Email", Email),
            ("Language", Language),
            ("Priority", Priority),
            ("Handoff_Reason", Reason),
            ("Summary", Summary),
            ("Campaign", Campaign),
            ("Conversation_UUID", ConversationId),
            ("Contact_Id", ContactId),
        ]
        .map(|(key, source)| Self { key: key.into(), source, max_length: usual_length() })
        .into()
    }

    fn check(rules: &[Self], say: &mut impl FnMut(String, &str)) {
        for (i, rule) in rules.iter().enumerate() {
            let mut name = rule.key.chars();
            let begins = name.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !begins || !name.all(|c| c.is_ascii_alphanumeric() || c == '_') {
                say(
                    format!("attributes[{i}].key"),
                    "has letters, digits and underscores only, and begins with a letter or an underscore",
                );
            }
            if rules[..i].iter().any(|earlier| earlier.key == rule.key) {
                say(format!("attributes[{i}].key"), "is there twice");
            }
            if !(1..=4_000).contains(&rule.max_length) {
                say(format!("attributes[{i}].max_length"), "is 1 to 4000 characters");
            }
        }
        if !rules.iter().any(|rule| rule.source == AttributeSource::SessionId) {
            say(
                "attributes".into(),
                "lack session-id (OpencxSessionId): without it nobody finds the session again",
            );
        }
    }
}

impl Integration {
    /// The host that the API is called on (`miaw-api.md` §1): the configured one, else the
    /// instance's label under `my.salesforce-scrt.com`.
    pub fn messaging_url(&self) -> Result<Url, Invalid> {
        if let Some(url) = &self.messaging_url {
            return Ok(url.clone());
        }
        let host = self.instance_url.host_str().unwrap_or_default();
        let label = host.strip_suffix(".my.salesforce.com").ok_or_else(|| Invalid {
            field: format!("integrations[{}].instance_url", self.id.as_str()),
            problem: "does not end in .my.salesforce.com, so the messaging host cannot be derived: set messaging_url"
                .into(),
        })?;
        Url::parse(&format!("https://{label}.my.salesforce-scrt.com")).map_err(|e| Invalid {
            field: format!("integrations[{}].instance_url", self.id.as_str()),
            problem: e.to_string(),
        })
    }
}

/// A Salesforce organization id in its 15-character form, the only one that every reading of the
/// API accepts (`miaw-api.md` §7.1).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OrgId(String);

impl OrgId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OrgId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = text.trim();
        let well_formed = matches!(text.len(), 15 | 18)
            && text.starts_with("00D")
            && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if !well_formed {
            return Err("an organization id starts with 00D and has 15 or 18 letters and digits (Setup > Company Information)".into());
        }
        Ok(Self(text[..15].to_owned()))
    }
}

/// A value that cannot be used, where it stands and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    pub field: String,
    pub problem: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl Settings {
    /// Everything that is wrong, each with its field, so that an operator mends it in one go.
    pub fn check(&self) -> Vec<Invalid> {
        let mut found = Vec::new();
        let mut say = |field: String, problem: &str| found.push(Invalid { field, problem: problem.into() });
        if self.channels.is_empty() {
            say("channels".into(), "at least one WhatsApp number is needed");
        }
        for (i, channel) in self.channels.iter().enumerate() {
            if channel.phone_number_id.as_str().is_empty() {
                say(format!("channels[{i}].phone_number_id"), "is empty");
            }
            if self.channels[..i].iter().any(|c| c.phone_number_id == channel.phone_number_id) {
                say(format!("channels[{i}].phone_number_id"), "is configured twice");
            }
            if let Some(wanted) = &channel.integration
                && !self.integrations.iter().any(|known| known.id == *wanted)
            {
                say(format!("channels[{i}].integration"), "names no integration in integrations[]");
            }
        }
        for (i, integration) in self.integrations.iter().enumerate() {
            let field = |name: &str| format!("integrations[{i}].{name}");
            if self.integrations[..i].iter().any(|known| known.id == integration.id) {
                say(field("id"), "is configured twice");
            }
            if integration.instance_url.scheme() != "https" {
                say(field("instance_url"), "must start with https://");
            }
            if !matches!(integration.instance_url.path(), "" | "/")
                || integration.instance_url.query().is_some()
            {
                say(field("instance_url"), "must be a host only, without a path");
            }
            let name = &integration.es_developer_name;
            let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                say(
                    field("es_developer_name"),
                    "must be the deployment's API name: letters, digits and underscores, a letter first",
                );
            }
            if integration.auth_key_id.is_empty() {
                say(field("auth_key_id"), "is empty: it is the kid of the key registered in Salesforce");
            }
            AttributeRule::check(&integration.attributes, &mut |name, problem| say(field(&name), problem));
            match integration.messaging_url() {
                Err(e) => say(field("messaging_url"), &e.problem),
                Ok(url) if url.scheme() != "https" && !is_loopback(&url) => {
                    say(
                        field("messaging_url"),
                        "must start with https:// (http is allowed on loopback only)",
                    );
                }
                Ok(_) => {}
            }
        }
        found
    }

    pub fn channel(&self, number: &PhoneNumberId) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.phone_number_id == *number)
    }

    pub fn integration(&self, id: &IntegrationId) -> Option<&Integration> {
        self.integrations.iter().find(|integration| integration.id == *id)
    }
}

fn first_version() -> u64 {
    1
}

/// A custom parameter's usual maximum (`limits-and-complaints.md` §1).
fn usual_length() -> usize {
    255
}

fn eighty() -> u32 {
    80
}

fn yes() -> bool {
    true
}

fn default_issuer() -> String {
    "baton".into()
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integration(change: impl FnOnce(&mut serde_json::Value)) -> Result<Vec<Invalid>, serde_json::Error> {
        let mut value = serde_json::json!({
            "channels": [{ "phone_number_id": "1", "waba_id": "2", "display_phone_number": "+1", "name": "Support",
                           "access_token": "t", "integration": "main" }],
            "integrations": [{ "id": "main", "instance_url": "https://acme.my.salesforce.com",
                "es_developer_name": "Phone_Bridge", "org_id": "00DRT0000004QhW", "auth_key_id": "k1",
                "jwt_private_key": "pem", "jwt_public_key": "pem" }]
        });
        change(&mut value["integrations"][0]);
        serde_json::from_value::<Settings>(value).map(|s| s.check())
    }

    #[test]
    fn a_complete_integration_is_accepted_and_its_messaging_host_derived() {
        assert_eq!(integration(|_| {}).unwrap(), []);
    }

    #[test]
    fn each_field_has_its_own_message() {
        let problem = |name: &str, value: &str| {
            let found = integration(|i| i[name] = value.into()).unwrap();
            assert!(found.iter().any(|p| p.field == format!("integrations[0].{name}")), "{name}: {found:?}");
        };
        problem("instance_url", "http://acme.my.salesforce.com");
        problem("instance_url", "https://acme.my.salesforce.com/setup");
        problem("es_developer_name", "1st");
        problem("auth_key_id", "");
        problem("messaging_url", "http://example.com");
        assert!(integration(|i| i["org_id"] = "001".into()).is_err());
    }

    #[test]
    fn an_18_character_org_id_is_kept_in_its_15_character_form() {
        assert_eq!(OrgId::try_from("00DRT0000004QhWAAU".to_owned()).unwrap().as_str(), "00DRT0000004QhW");
    }
}
