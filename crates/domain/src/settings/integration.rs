//! A Salesforce integration: what an operator fills in, and what is wrong with it.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use url::{Host, Url};

use super::Invalid;
use crate::{IntegrationId, Millis, net::is_loopback};

/// Where orgs live; their messaging hosts are named after them.
const SALESFORCE_HOSTS: &str = ".my.salesforce.com";
const NO_KEY_ID: &str = "is empty: it is the kid of the key registered in Salesforce";
/// Characters of a key that a stranger may try to guess.
const LEAST_HOOK_KEY: usize = 32;

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
    /// The `aud` of identity tokens, for an org that checks one; Salesforce's set-up names none
    /// (`miaw-api.md` §12, question 3).
    #[serde(default)]
    pub audience: Option<String>,
    /// The SCRT2 host, as the deployment's code snippet shows it. Derived when absent.
    #[serde(default)]
    pub messaging_url: Option<Url>,
    /// More keys, while keys are changed: published beside the first, and signing from a given
    /// moment on.
    #[serde(default)]
    pub more_keys: Vec<IntegrationKey>,
    /// What `POST /hooks/salesforce/{id}` is called with: as a bearer key, or as the key of its
    /// signature. Several while they are changed; none: nobody may call it.
    #[serde(default)]
    pub hook_keys: Vec<SecretString>,
    /// Messaging sessions that the org has at once at most: 11,000 (`limits-and-complaints.md` §1).
    /// Whoever asks for a person beyond them waits, and is told so.
    #[serde(default = "sessions_per_org")]
    pub max_live_sessions: u32,
    /// What the routing flow and the rep get beside the conversation, under the names of the channel
    /// variables in the org's parameter mappings.
    #[serde(default = "AttributeRule::usual")]
    pub attributes: Vec<AttributeRule>,
}

/// A key beside the integration's first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntegrationKey {
    pub auth_key_id: String,
    pub jwt_private_key: SecretString,
    /// Its public half or certificate; made from the private key when left out.
    #[serde(default)]
    pub jwt_public_key: String,
    /// From when on it signs (RFC 3339: `2026-12-01T06:00:00Z`): of the keys whose moment has come
    /// the newest does. Left out: it is published, and does not sign.
    #[serde(default, deserialize_with = "moment")]
    pub signs_from: Option<Millis>,
}

/// An integration's fields as an admin types them. Empty: not filled in. What is wrong with them is
/// said here and nowhere else, but for the keys' insides, which `crates/salesforce` looks into.
#[derive(Clone, Copy, Default)]
pub struct Fields<'a> {
    pub instance_url: &'a str,
    pub es_developer_name: &'a str,
    pub org_id: &'a str,
    pub auth_key_id: &'a str,
    pub jwt_private_key: &'a str,
    pub jwt_public_key: &'a str,
    pub issuer: &'a str,
    /// May be empty: derived from the instance's address.
    pub messaging_url: &'a str,
}

/// The private key never shows.
impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("es_developer_name", &self.es_developer_name).finish_non_exhaustive()
    }
}

impl Fields<'_> {
    /// Everything that is wrong with all fields but the two keys, each with its field's name.
    pub fn check(&self) -> Vec<Invalid> {
        let mut found = Vec::new();
        let mut say = |field: &str, problem: &str| {
            found.push(Invalid { field: field.to_owned(), problem: problem.to_owned() });
        };
        let instance = match host_only(self.instance_url, false) {
            Ok(url) => Some(url),
            Err(problem) => {
                say("instance_url", problem);
                None
            }
        };
        if self.messaging_url.trim().is_empty() {
            let derived = |url: &Url| url.host_str().is_some_and(|host| host.ends_with(SALESFORCE_HOSTS));
            if instance.is_some_and(|url| !derived(&url)) {
                say(
                    "messaging_url",
                    "is needed: instance_url does not end in .my.salesforce.com, so it cannot be derived",
                );
            }
        } else if let Err(problem) = host_only(self.messaging_url, true) {
            say("messaging_url", problem);
        }
        let name = self.es_developer_name;
        if name.is_empty() {
            say("es_developer_name", "is empty: it is the API name of the deployment of type Custom Client");
        } else if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            say("es_developer_name", "begins with a letter: take the deployment's API name, not its label");
        } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            say(
                "es_developer_name",
                "has letters, digits and underscores only: take the deployment's API name, not its label",
            );
        }
        if let Err(problem) = OrgId::try_from(self.org_id.to_owned()) {
            say("org_id", &problem);
        }
        if self.auth_key_id.trim().is_empty() {
            say("auth_key_id", NO_KEY_ID);
        }
        if self.issuer.trim().is_empty() {
            say("issuer", "is empty: it is the issuer of the keyset in Salesforce");
        }
        found
    }
}

fn host_only(text: &str, loopback_too: bool) -> Result<Url, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty");
    }
    let url: Url =
        text.parse().map_err(|_| "is not an address: it looks like https://name.my.salesforce.com")?;
    let loopback = is_loopback(&url);
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback && loopback_too) {
        return Err("must start with https://");
    }
    let alone = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !alone {
        return Err("must be a host only: nothing behind or before its name");
    }
    if !loopback
        && (url.port().is_some() || !matches!(url.host(), Some(Host::Domain(name)) if name.contains('.')))
    {
        return Err("must be a host name, without a port");
    }
    Ok(url)
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
    Sentiment,
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
    /// Its fields, as they would be typed.
    pub fn fields(&self) -> Fields<'_> {
        Fields {
            instance_url: self.instance_url.as_str(),
            es_developer_name: &self.es_developer_name,
            org_id: self.org_id.as_str(),
            auth_key_id: &self.auth_key_id,
            jwt_private_key: self.jwt_private_key.expose_secret(),
            jwt_public_key: &self.jwt_public_key,
            issuer: &self.issuer,
            messaging_url: self.messaging_url.as_ref().map_or("", Url::as_str),
        }
    }

    pub(super) fn check(&self, say: &mut impl FnMut(&str, &str)) {
        for Invalid { field, problem } in self.fields().check() {
            say(&field, &problem);
        }
        for (i, key) in self.more_keys.iter().enumerate() {
            let field = format!("more_keys[{i}].auth_key_id");
            let earlier = self.more_keys[..i].iter().map(|key| &key.auth_key_id);
            if key.auth_key_id.trim().is_empty() {
                say(&field, NO_KEY_ID);
            } else if earlier.chain([&self.auth_key_id]).any(|other| *other == key.auth_key_id) {
                say(&field, "is there twice: every key has one of its own");
            }
        }
        if self.max_live_sessions == 0 {
            say("max_live_sessions", "is 1 or more");
        }
        for (i, key) in self.hook_keys.iter().enumerate() {
            if key.expose_secret().trim().chars().count() < LEAST_HOOK_KEY {
                say(&format!("hook_keys[{i}]"), "is too short: 32 characters or more are needed");
            }
        }
        AttributeRule::check(&self.attributes, &mut |name, problem| say(&name, problem));
    }

    /// The host that the API is called on (`miaw-api.md` §1): the configured one, else the
    /// instance's label under `my.salesforce-scrt.com`.
    pub fn messaging_url(&self) -> Result<Url, Invalid> {
        if let Some(url) = &self.messaging_url {
            return Ok(url.clone());
        }
        let host = self.instance_url.host_str().unwrap_or_default();
        let label = host.strip_suffix(SALESFORCE_HOSTS).ok_or_else(|| Invalid {
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

/// A custom parameter's usual maximum (`limits-and-complaints.md` §1).
fn usual_length() -> usize {
    255
}

fn sessions_per_org() -> u32 {
    11_000
}

fn default_issuer() -> String {
    "baton".into()
}

fn moment<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Millis>, D::Error> {
    let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
    let at: jiff::Timestamp = text
        .trim()
        .parse()
        .map_err(|_| serde::de::Error::custom("signs_from is a moment such as 2026-12-01T06:00:00Z"))?;
    Ok(Some(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

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
        problem("issuer", " ");
        problem("messaging_url", "http://example.com");
        problem("messaging_url", "https://example.com:8443");
        assert!(integration(|i| i["org_id"] = "001".into()).is_err());
        let elsewhere = integration(|i| i["instance_url"] = "https://support.example.com".into()).unwrap();
        assert_eq!(elsewhere.len(), 1, "said once: {elsewhere:?}");
        let bad = "8 bad 1".to_owned();
        let attributes = serde_json::json!([{ "key": bad, "source": "phone", "max_length": 0 }]);
        let found = integration(|i| i["attributes"] = attributes).unwrap();
        let fields: Vec<_> = found.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "integrations[0].attributes[0].key",
                "integrations[0].attributes[0].max_length",
                "integrations[0].attributes"
            ]
        );
    }

    #[test]
    fn more_keys_have_ids_of_their_own_and_a_moment() {
        let key = |id: &str, from: serde_json::Value| serde_json::json!({ "auth_key_id": id, "jwt_private_key": "pem", "signs_from": from });
        let with = |keys: Vec<serde_json::Value>| integration(|i| i["more_keys"] = keys.into());
        assert_eq!(
            with(vec![key("k2", "2026-12-01T06:00:00Z".into()), key("k3", serde_json::Value::Null)]).unwrap(),
            []
        );
        let fields = |found: Vec<Invalid>| found.into_iter().map(|p| p.field).collect::<Vec<_>>();
        let twice = with(vec![key("k1", serde_json::Value::Null), key("", serde_json::Value::Null)]).unwrap();
        assert_eq!(
            fields(twice),
            ["integrations[0].more_keys[0].auth_key_id", "integrations[0].more_keys[1].auth_key_id"]
        );
        assert!(
            with(vec![key("k2", "tomorrow".into())])
                .unwrap_err()
                .to_string()
                .contains("2026-12-01T06:00:00Z")
        );
        let short = integration(|i| i["hook_keys"] = serde_json::json!(["short"])).unwrap();
        assert_eq!(fields(short), ["integrations[0].hook_keys[0]"]);
    }

    #[test]
    fn an_18_character_org_id_is_kept_in_its_15_character_form() {
        assert_eq!(OrgId::try_from("00DRT0000004QhWAAU".to_owned()).unwrap().as_str(), "00DRT0000004QhW");
    }
}
