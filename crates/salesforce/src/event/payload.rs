//! Payloads by `entryType` (§7.5). Tolerant: members that we do not need are not asked for, kinds
//! invented later become `Unknown`.

use domain::Millis;
use serde::Deserialize;
use serde_json::Value;

use super::{Sender, lenient, nullable};

#[derive(Clone, Default)]
pub enum Payload {
    Message(Message),
    ParticipantChanged(ParticipantChanged),
    RoutingResult(RoutingResult),
    RoutingWorkResult(RoutingWorkResult),
    SessionStatusChanged(SessionStatusChanged),
    TypingStartedIndicator(TypingIndicator),
    TypingStoppedIndicator(TypingIndicator),
    DeliveryAcknowledgement(Acknowledgement),
    ReadAcknowledgement(Acknowledgement),
    QueuePosition(QueuePosition),
    ProgressIndicator(ProgressIndicator),
    StreamingToken(StreamingToken),
    EndUserConsentUpdated(EndUserConsentUpdated),
    MessageUpdated(MessageUpdated),
    MessageDeliveryFailed(MessageDeliveryFailed),
    /// Sent when the end user's side closes, never when a rep ends.
    CloseConversation,
    /// Inner members unknown; not for text clients.
    ClientAction,
    /// Deprecated.
    ClientMenu,
    /// An `entryType` that is not in the reference.
    Unknown,
    /// A known `entryType` whose members do not fit, or no JSON at all.
    #[default]
    Unreadable,
}

impl Payload {
    pub(super) fn from_value(value: Value) -> Self {
        fn into<T: serde::de::DeserializeOwned>(value: Value, variant: fn(T) -> Payload) -> Payload {
            serde_json::from_value(value).map_or(Payload::Unreadable, variant)
        }
        let Some(kind) = value.get("entryType").and_then(Value::as_str).map(str::to_owned) else {
            return Self::Unreadable;
        };
        match kind.as_str() {
            "Message" => into(value, Self::Message),
            "ParticipantChanged" => into(value, Self::ParticipantChanged),
            "RoutingResult" => into(value, Self::RoutingResult),
            "RoutingWorkResult" => into(value, Self::RoutingWorkResult),
            "SessionStatusChanged" => into(value, Self::SessionStatusChanged),
            "TypingStartedIndicator" => into(value, Self::TypingStartedIndicator),
            "TypingStoppedIndicator" => into(value, Self::TypingStoppedIndicator),
            "DeliveryAcknowledgement" => into(value, Self::DeliveryAcknowledgement),
            "ReadAcknowledgement" => into(value, Self::ReadAcknowledgement),
            "QueuePosition" => into(value, Self::QueuePosition),
            "ProgressIndicator" => into(value, Self::ProgressIndicator),
            "StreamingToken" => into(value, Self::StreamingToken),
            "EndUserConsentUpdated" => into(value, Self::EndUserConsentUpdated),
            "MessageUpdated" => into(value, Self::MessageUpdated),
            "MessageDeliveryFailed" => into(value, Self::MessageDeliveryFailed),
            "CloseConversation" => Self::CloseConversation,
            "ClientAction" => Self::ClientAction,
            "ClientMenu" => Self::ClientMenu,
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub abstract_message: AbstractMessage,
    /// `AutomatedResponse`, `Consent`.
    #[serde(default)]
    pub message_reason: Option<String>,
}

/// The content parts stay JSON: their kinds are many, and all that is done with most of them is
/// to put them into words (`rich.rs`).
#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct AbstractMessage {
    #[serde(deserialize_with = "nullable")]
    pub message_type: String,
    pub id: Option<String>,
    pub in_reply_to_message_id: Option<String>,
    /// `Survey` or nothing.
    pub custom_handling_type: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub static_content: Content,
    #[serde(deserialize_with = "nullable")]
    pub choices: Content,
    #[serde(deserialize_with = "nullable")]
    pub choices_response: Content,
    #[serde(deserialize_with = "nullable")]
    pub form: Content,
    #[serde(deserialize_with = "nullable")]
    pub form_response: Content,
}

/// The members of all formats together; `format_type` says which matter. An odd one among them
/// is taken for absent.
#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Content {
    #[serde(deserialize_with = "lenient")]
    pub format_type: String,
    #[serde(deserialize_with = "lenient")]
    pub text: Option<String>,
    /// `TitleItem` in most formats.
    pub title: Value,
    #[serde(deserialize_with = "lenient")]
    pub url: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub attachments: Vec<Attachment>,
    #[serde(deserialize_with = "lenient")]
    pub link_item: Option<Item>,
    #[serde(deserialize_with = "lenient")]
    pub option_items: Vec<Item>,
    #[serde(deserialize_with = "lenient")]
    pub items: Vec<Item>,
    #[serde(deserialize_with = "lenient")]
    pub selected_options: Vec<SelectedOption>,
    pub form_title: Value,
    pub message: Value,
    #[serde(deserialize_with = "lenient")]
    pub sections: Vec<Section>,
    #[serde(deserialize_with = "lenient")]
    pub image: Option<Asset>,
    #[serde(deserialize_with = "lenient")]
    pub images: Vec<Asset>,
}

/// Of a form. Only `SingleInputSection` has been seen.
#[derive(Clone, Deserialize, Default)]
#[serde(default)]
pub struct Section {
    #[serde(deserialize_with = "lenient")]
    pub input: Option<Input>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(default)]
pub struct Input {
    pub label: Value,
}

/// A picture.
#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Asset {
    #[serde(deserialize_with = "lenient")]
    pub id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub asset_url: Option<String>,
}

/// An option, a link, or a carousel's card with its own options and links.
#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Item {
    #[serde(deserialize_with = "lenient")]
    pub option_identifier: Option<String>,
    pub title_item: Value,
    #[serde(deserialize_with = "lenient")]
    pub url: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub interaction_items: Vec<Item>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectedOption {
    pub option_title: Value,
}

/// §5.2. The address is a capability: whoever has it has the file.
#[derive(Clone, PartialEq, Eq, Deserialize, Default)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    #[serde(deserialize_with = "lenient")]
    pub id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub mime_type: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub url: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub attachment_upload_result: Option<UploadResult>,
}

impl Attachment {
    /// It was not kept, and has no bytes to fetch.
    pub fn failed(&self) -> bool {
        self.attachment_upload_result.as_ref().is_some_and(|result| result.error_type.is_some())
    }
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("mime_type", &self.mime_type).finish_non_exhaustive()
    }
}

/// A file that was accepted can still fail later.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "camelCase")]
pub struct UploadResult {
    /// `CompletedAttachmentUploadResult`, `PendingAttachmentUploadResult`,
    /// `ErrorAttachmentUploadResult`.
    pub result_type: String,
    /// `StorageLimitExceeded`, `AttachmentTooLarge`, `AttachmentNotFound`,
    /// `AttachmentUploadNotEnabled`, `AttachmentUploadNotAllowed`, `InternalServerError`.
    #[serde(default)]
    pub error_type: Option<String>,
}

#[derive(Clone, Deserialize)]
pub struct ParticipantChanged {
    #[serde(deserialize_with = "nullable")]
    pub entries: Vec<ParticipantChange>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantChange {
    pub operation: Operation,
    /// The name: the entry's sender is the system.
    #[serde(default)]
    pub display_name: Option<String>,
    #[serde(default)]
    pub participant: Sender,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Add,
    Remove,
    Update,
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutingResult {
    #[serde(default, deserialize_with = "nullable")]
    pub routing_type: RoutingType,
    pub failure_type: FailureType,
    #[serde(default)]
    pub failure_reason: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub error_messages: Vec<String>,
    /// The messaging session.
    #[serde(default)]
    pub record_id: Option<String>,
    #[serde(default)]
    pub estimated_wait_time: Option<EstimatedWaitTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum RoutingType {
    Initial,
    Transfer,
    Conference,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum FailureType {
    None,
    /// The flow or the queue is misconfigured.
    SubmissionError,
    /// Nobody is available.
    RoutingError,
    Cancelled,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EstimatedWaitTime {
    #[serde(default, rename = "isEWTRequested")]
    pub is_ewt_requested: bool,
    /// -1 or nothing when it is not known.
    #[serde(default)]
    pub estimated_wait_time_in_seconds: Option<i64>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutingWorkResult {
    pub work_type: WorkType,
    #[serde(default)]
    pub work_id: Option<String>,
    #[serde(default)]
    pub work_target_id: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub error_messages: Vec<String>,
    #[serde(default)]
    pub queue_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum WorkType {
    Assigned,
    Accepted,
    Cancelled,
    Closed,
    Declined,
    TransferError,
    Transferred,
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatusChanged {
    pub session_id: String,
    pub session_status: SessionStatus,
    #[serde(default)]
    pub session_status_prev: Option<SessionStatus>,
    #[serde(default)]
    pub session_start_time: Option<Millis>,
    #[serde(default)]
    pub session_end_time: Option<Millis>,
    /// Unreliable in one report: for display only.
    #[serde(default)]
    pub session_ended_by_role: Option<super::Role>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum SessionStatus {
    New,
    Waiting,
    Active,
    Inactive,
    Paused,
    Consent,
    Error,
    Ended,
    #[serde(other)]
    Unknown,
}

impl SessionStatus {
    /// As Salesforce spells it; `Unknown` for what it invents later.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Waiting => "Waiting",
            Self::Active => "Active",
            Self::Inactive => "Inactive",
            Self::Paused => "Paused",
            Self::Consent => "Consent",
            Self::Error => "Error",
            Self::Ended => "Ended",
            Self::Unknown => "Unknown",
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct TypingIndicator {
    #[serde(default)]
    pub timestamp: Option<Millis>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    pub acknowledged_conversation_entry_identifier: String,
    #[serde(default)]
    pub acknowledgement_timestamp: Option<Millis>,
    #[serde(default)]
    pub recipient: Sender,
}

#[derive(Debug, Clone, Deserialize)]
pub struct QueuePosition {
    pub position: i64,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressIndicator {
    /// `progressMessage.text`, at most 255 characters.
    #[serde(default)]
    pub progress_indicator: Value,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingToken {
    /// A part of a message that follows whole: dropped by text clients.
    #[serde(default)]
    pub streaming_token: Value,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndUserConsentUpdated {
    /// `OptIn` or `OptOut`.
    pub consent_status: String,
    #[serde(default)]
    pub is_end_user_initiated: bool,
}

/// Not proven to reach custom clients.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageUpdated {
    pub updated_message: AbstractMessage,
}

/// Not proven to reach custom clients.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageDeliveryFailed {
    #[serde(default)]
    pub error_code: Option<String>,
    #[serde(default)]
    pub failed_conversation_entry_identifier: Option<String>,
}
