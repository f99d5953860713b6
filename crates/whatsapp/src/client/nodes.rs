//! What the Graph API tells of numbers, accounts, apps and templates (§3, §7, §8). Values that it
//! may add to are kept as they are written; whatever is missing is empty.

use domain::PhoneNumberId;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

/// An app of the developers' dashboard.
#[derive(Debug, Clone)]
pub struct App {
    pub id: String,
    pub secret: SecretString,
}

/// Where events of an account go instead of the app's own address.
#[derive(Debug, Clone)]
pub struct Callback {
    /// At most 200 characters (§1.1).
    pub url: Url,
    pub verify_token: SecretString,
}

/// `debug_token`
/// (<https://developers.facebook.com/docs/graph-api/reference/debug_token>).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TokenInfo {
    #[serde(deserialize_with = "text")]
    pub app_id: String,
    #[serde(deserialize_with = "text")]
    pub application: String,
    pub is_valid: bool,
    /// Unix time, seconds; 0: never.
    pub expires_at: i64,
    pub scopes: Vec<String>,
    pub error: Option<TokenError>,
}

/// Why a token is not valid.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TokenError {
    pub code: i32,
    #[serde(deserialize_with = "text")]
    pub message: String,
}

/// A business phone number.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NumberNode {
    #[serde(deserialize_with = "text")]
    pub id: String,
    #[serde(deserialize_with = "text")]
    pub display_phone_number: String,
    #[serde(deserialize_with = "text")]
    pub verified_name: String,
    #[serde(deserialize_with = "text")]
    pub status: String,
    #[serde(deserialize_with = "text")]
    pub quality_rating: String,
    #[serde(deserialize_with = "text")]
    pub code_verification_status: String,
    #[serde(deserialize_with = "text")]
    pub name_status: String,
    #[serde(deserialize_with = "text")]
    pub platform_type: String,
    #[serde(deserialize_with = "text")]
    pub account_mode: String,
    pub throughput: Throughput,
    #[serde(deserialize_with = "text")]
    pub whatsapp_business_manager_messaging_limit: String,
    pub webhook_configuration: WebhookConfiguration,
    /// In the WhatsApp Business app as well (20 messages a second, §10).
    pub is_on_biz_app: bool,
}

impl NumberNode {
    pub fn phone_number_id(&self) -> PhoneNumberId {
        PhoneNumberId::new(&self.id)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Throughput {
    #[serde(deserialize_with = "text")]
    pub level: String,
}

/// Where a number's events go: its own address before the account's before the app's (§1.7).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WebhookConfiguration {
    #[serde(deserialize_with = "text")]
    pub phone_number: String,
    #[serde(deserialize_with = "text")]
    pub whatsapp_business_account: String,
    #[serde(deserialize_with = "text")]
    pub application: String,
}

impl WebhookConfiguration {
    /// The address that counts, and whose it is. `None`: events go nowhere.
    pub fn effective(&self) -> Option<(&str, &'static str)> {
        [
            (&self.phone_number, "the number"),
            (&self.whatsapp_business_account, "the account"),
            (&self.application, "the app"),
        ]
        .into_iter()
        .map(|(url, whose)| (url.as_str(), whose))
        .find(|(url, _)| !url.is_empty())
    }
}

/// An app that gets an account's events.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SubscribedApp {
    #[serde(rename = "whatsapp_business_api_data")]
    pub app: AppData,
    #[serde(deserialize_with = "text")]
    pub override_callback_uri: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AppData {
    #[serde(deserialize_with = "text")]
    pub id: String,
    #[serde(deserialize_with = "text")]
    pub name: String,
}

/// What an app is told of an object
/// (<https://developers.facebook.com/docs/graph-api/reference/app/subscriptions>).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subscription {
    #[serde(deserialize_with = "text")]
    pub object: String,
    #[serde(deserialize_with = "text")]
    pub callback_url: String,
    pub active: bool,
    #[serde(deserialize_with = "field_names")]
    pub fields: Vec<String>,
}

/// Whether messages can be sent through a number, an account or with a template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Health {
    #[serde(deserialize_with = "text")]
    pub can_send_message: String,
    pub entities: Vec<HealthEntity>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HealthEntity {
    #[serde(deserialize_with = "text")]
    pub entity_type: String,
    #[serde(deserialize_with = "text")]
    pub id: String,
    #[serde(deserialize_with = "text")]
    pub can_send_message: String,
    pub additional_info: Vec<String>,
    pub errors: Vec<HealthError>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HealthError {
    pub error_code: i64,
    #[serde(deserialize_with = "text")]
    pub error_description: String,
    #[serde(deserialize_with = "text")]
    pub possible_solution: String,
}

/// A template in one language.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TemplateInfo {
    #[serde(deserialize_with = "text")]
    pub id: String,
    #[serde(deserialize_with = "text")]
    pub name: String,
    #[serde(deserialize_with = "text")]
    pub language: String,
    #[serde(deserialize_with = "text")]
    pub status: String,
    #[serde(deserialize_with = "text")]
    pub category: String,
    /// `POSITIONAL` or `NAMED`.
    #[serde(deserialize_with = "text")]
    pub parameter_format: String,
    pub components: Vec<Component>,
    pub quality_score: Option<QualityScore>,
    #[serde(deserialize_with = "text")]
    pub rejected_reason: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct QualityScore {
    #[serde(deserialize_with = "text")]
    pub score: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Component {
    /// `HEADER`, `BODY`, `FOOTER`, `BUTTONS` …
    #[serde(rename = "type", deserialize_with = "text")]
    pub kind: String,
    /// Of a header: `TEXT`, `IMAGE` …
    #[serde(deserialize_with = "text")]
    pub format: String,
    #[serde(deserialize_with = "text")]
    pub text: String,
    pub buttons: Vec<TemplateButtonInfo>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TemplateButtonInfo {
    /// `QUICK_REPLY`, `URL`, `PHONE_NUMBER` …
    #[serde(rename = "type", deserialize_with = "text")]
    pub kind: String,
    #[serde(deserialize_with = "text")]
    pub text: String,
    #[serde(deserialize_with = "text")]
    pub url: String,
}

impl TemplateInfo {
    /// Only approved ones can be sent.
    pub fn is_approved(&self) -> bool {
        self.status == "APPROVED"
    }

    /// Names or positions of the body's variables, in order, each once.
    pub fn body_variables(&self) -> Vec<&str> {
        let body = self.components.iter().find(|component| component.kind == "BODY");
        let mut variables = Vec::new();
        for part in body.iter().flat_map(|body| body.text.split("{{").skip(1)) {
            let name = part.split("}}").next().unwrap_or_default().trim();
            if !name.is_empty() && !variables.contains(&name) {
                variables.push(name);
            }
        }
        variables
    }
}

/// The templates of an account.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    pub list: Vec<TemplateInfo>,
    /// There are more than were asked for.
    pub more: bool,
}

/// What happened to one of our messages, as `message_history` tells (§3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HistoryEvent {
    /// `SENT`, `DELIVERED`, `READ`, `FAILED`, `DELETED`.
    #[serde(deserialize_with = "text")]
    pub delivery_status: String,
    /// Unix time, seconds.
    #[serde(deserialize_with = "text")]
    pub timestamp: String,
    /// Of the webhook about it: `PENDING`, `DELIVERED`, `FAILED`, `RETRYING`.
    #[serde(deserialize_with = "text")]
    pub webhook_update_state: String,
    #[serde(deserialize_with = "text")]
    pub webhook_uri: String,
    #[serde(deserialize_with = "text")]
    pub error_description: String,
}

/// Ids and numbers come as either, and what is not known as `null`.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    })
}

/// `[{"name":"messages","version":"v25.0"}]`; older versions list the names.
fn field_names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let fields = Vec::<Value>::deserialize(from)?;
    let name = |field: &Value| field.get("name").unwrap_or(field).as_str().map(str::to_owned);
    Ok(fields.iter().filter_map(name).collect())
}
