//! Requests and answers, field for field (§2, §3, §4, §8). Members that are not listed there are
//! never sent: the schema is strict and answers 400 to unknown ones.

use std::collections::BTreeMap;

use domain::{Millis, ThreadId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::event::ConversationEntry;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenRequest<'a> {
    pub(super) org_id: &'a str,
    pub(super) es_developer_name: &'a str,
    pub(super) capabilities_version: &'static str,
    pub(super) platform: &'static str,
    pub(super) context: App,
    pub(super) authorization_type: &'static str,
    pub(super) customer_identity_token: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct App {
    pub(super) app_name: &'static str,
    pub(super) client_version: &'static str,
}

/// Of `context.configuration` only the attachment limits are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenAnswer {
    pub(super) access_token: String,
    #[serde(default, deserialize_with = "text_or_number")]
    pub(super) last_event_id: Option<String>,
    #[serde(default)]
    pub(super) context: Context,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Context {
    pub(super) end_user: EndUser,
    pub(super) configuration: Configuration,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Configuration {
    pub(super) embedded_service_config: ServiceConfig,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ServiceConfig {
    pub(super) attachments: AttachmentConfig,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AttachmentConfig {
    pub(super) end_user_to_agent: Option<bool>,
    pub(super) max_file_size: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct EndUser {
    pub(super) subject: String,
}

/// `lastEventId` is a string in most reports and a number in one (§2.3).
fn text_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(Option::<Either>::deserialize(from)?.map(|either| match either {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    }))
}

/// The only claim of an access token that is read (§2.3).
#[derive(Deserialize)]
pub(super) struct AccessClaims {
    pub(super) exp: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateRequest<'a> {
    pub(super) conversation_id: String,
    pub(super) es_developer_name: &'a str,
    pub(super) routing_attributes: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) language: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendRequest<'a> {
    pub(super) message: Message<'a>,
    pub(super) es_developer_name: &'a str,
    #[serde(flatten)]
    pub(super) session: Option<SessionStart<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message<'a> {
    pub(super) id: Uuid,
    pub(super) message_type: &'static str,
    pub(super) static_content: Text<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Text<'a> {
    pub(super) format_type: &'static str,
    pub(super) text: &'a str,
}

/// All three together: without attributes and language, routing can fail silently (§4).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionStart<'a> {
    pub(super) is_new_messaging_session: bool,
    pub(super) routing_attributes: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) language: &'a str,
}

#[derive(Deserialize)]
pub(super) struct ListAnswer {
    #[serde(default)]
    pub(super) conversations: Vec<ConversationInfo>,
}

/// One of the end user's conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConversationInfo {
    pub conversation_id: ThreadId,
    #[serde(default)]
    pub start_timestamp: Option<Millis>,
    /// Set once it is closed.
    #[serde(default)]
    pub end_timestamp: Option<Millis>,
}

/// Where a conversation stands with Omni-Channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConversationStatus {
    pub conversation_id: ThreadId,
    #[serde(default)]
    pub routing_status: RoutingStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RoutingStatus {
    Routed,
    /// After a rep left: nobody else is coming.
    NeedsRouting,
    Initial,
    /// Somebody else is coming.
    Transfer,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntriesAnswer {
    #[serde(default)]
    pub(super) conversation_entries: Vec<Value>,
}

impl EntriesAnswer {
    /// One odd entry must not hide the rest of a page.
    pub(super) fn entries(self) -> Vec<ConversationEntry> {
        let all = self.conversation_entries.len();
        let entries: Vec<ConversationEntry> = self
            .conversation_entries
            .into_iter()
            .filter_map(|entry| serde_json::from_value(entry).ok())
            .collect();
        if entries.len() < all {
            tracing::warn!(skipped = all - entries.len(), "entries of a history could not be read");
        }
        entries
    }
}
