//! What can be set, and what comes in and out over the control API. The switches are those of
//! `miaw-api.md` §12; what is not here behaves as the blueprint's default (§13).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How the simulated org behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SalesforceConfig {
    /// 15 characters.
    pub org_id: String,
    /// The deployment, of type Custom Client.
    pub es_developer_name: String,
    pub channel_address_identifier: String,
    pub channel_platform_key: String,
    /// Keyset of User Verification: issuer, name and public keys.
    pub issuer: String,
    pub keyset: String,
    pub keys: Vec<PublicKey>,

    pub token_ttl_s: u64,
    pub verify_failure: VerifyFailure,
    pub require_sse_before_create: bool,
    pub require_last_event_id: bool,
    pub dup_conversation: DupConversation,
    pub dup_message: DupMessage,
    pub echo_id: EchoId,
    pub history_payload: HistoryPayload,
    pub replay: Replay,
    pub ping_interval_ms: u64,
    pub cut_at_exp: bool,
    pub flag_while_live: FlagWhileLive,
    /// A rep may write after the session ended.
    pub late_agent_message: bool,
    /// 417 for a message without a live session and without the flag.
    pub per_session_prechat: bool,
    /// Answer to a message for a closed conversation: 400, 404 or 409.
    pub closed_send: u16,
    /// Seconds in a `Retry-After` of limit answers; absent: no header.
    pub retry_after_s: Option<u64>,
    /// Initial routing fails with this reason; the session waits on.
    pub routing_failure: Option<String>,
    /// What the org's flow makes of routing attributes; absent: nothing, the rep sees "Guest".
    pub flow: Option<Flow>,

    pub message_limit: bool,
    pub messages_per_minute: u32,
    pub token_limit: bool,
    pub tokens_per_minute: u32,
    /// 3 conversation starts in 30 s per user. Off: whether it binds API clients is unknown.
    pub create_limit: bool,
}

impl Default for SalesforceConfig {
    fn default() -> Self {
        Self {
            org_id: "00DRT0000004QhW".into(),
            es_developer_name: "Phone_Bridge_Client".into(),
            channel_address_identifier: "a7d3c5e1-2f48-4b9a-8c06-91e5d4b7f230".into(),
            channel_platform_key: "f6fadfa7-e5c1-4b62-9362-da5cc13da58a".into(),
            issuer: "https://bridge.example.com".into(),
            keyset: "Bridge_Keys".into(),
            keys: Vec::new(),
            token_ttl_s: 3_600,
            verify_failure: VerifyFailure::Silent,
            require_sse_before_create: false,
            require_last_event_id: false,
            dup_conversation: DupConversation::Conflict,
            dup_message: DupMessage::Idempotent,
            echo_id: EchoId::Same,
            history_payload: HistoryPayload::Object,
            replay: Replay::All,
            ping_interval_ms: 25_000,
            cut_at_exp: false,
            flag_while_live: FlagWhileLive::Ignore,
            late_agent_message: false,
            per_session_prechat: false,
            closed_send: 400,
            retry_after_s: None,
            routing_failure: None,
            flow: None,
            message_limit: true,
            messages_per_minute: 22,
            token_limit: true,
            tokens_per_minute: 200,
            create_limit: false,
        }
    }
}

/// An RSA public key of the keyset: a JWK with `n` and `e`, or a PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    pub kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// `-----BEGIN PUBLIC KEY-----` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

impl PublicKey {
    pub fn pem(kid: &str, pem: &str) -> Self {
        Self { kid: kid.to_owned(), n: None, e: None, pem: Some(pem.to_owned()) }
    }
}

/// What an identity token that does not verify is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyFailure {
    /// 200, with an unverified subject.
    #[serde(rename = "silent")]
    Silent,
    #[serde(rename = "401")]
    Unauthorized,
    #[serde(rename = "400")]
    BadRequest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DupConversation {
    #[serde(rename = "409")]
    Conflict,
    #[serde(rename = "200")]
    Ok,
    #[serde(rename = "400")]
    BadRequest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DupMessage {
    /// 202 and no second entry.
    #[serde(rename = "202-idempotent")]
    Idempotent,
    #[serde(rename = "400")]
    BadRequest,
    #[serde(rename = "409")]
    Conflict,
    /// A second entry: what a client must survive at worst.
    #[serde(rename = "duplicate")]
    Duplicate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EchoId {
    /// `identifier` = our `message.id`.
    Same,
    /// `identifier` is new; only `abstractMessage.id` is ours.
    New,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryPayload {
    Object,
    String,
}

/// What a stream gives after `Last-Event-Id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    All,
    None,
    /// The last so many events.
    Last(usize),
    /// Events not older than this.
    WithinMs(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlagWhileLive {
    #[serde(rename = "ignore")]
    Ignore,
    #[serde(rename = "new_session")]
    NewSession,
    #[serde(rename = "400")]
    BadRequest,
}

/// Parameter mappings and what the flow writes (`miaw-api.md` §11): routing attribute names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flow {
    /// `MessagingEndUser.Name` becomes "name (phone)".
    pub name: String,
    pub phone: String,
    /// Custom field of the MessagingSession → routing attribute.
    pub fields: BTreeMap<String, String>,
}

impl Default for Flow {
    fn default() -> Self {
        let fields = [
            ("Phone_Number__c", "Phone_Number"),
            ("Customer_Name__c", "Customer_Name"),
            ("OpencxSessionId__c", "OpencxSessionId"),
        ];
        Self {
            name: "Customer_Name".into(),
            phone: "Phone_Number".into(),
            fields: fields.map(|(field, from)| (field.to_owned(), from.to_owned())).into(),
        }
    }
}

/// A human in Salesforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rep {
    /// The user's record id, `005…`.
    pub id: String,
    pub name: String,
}

impl Default for Rep {
    fn default() -> Self {
        Self { id: "005RT0000008uLmYAI".into(), name: "Marta L".into() }
    }
}

impl Rep {
    /// The one whom transfers go to.
    pub fn second() -> Self {
        Self { id: "005RT0000008vNpYAI".into(), name: "Jon P".into() }
    }
}

/// What a rep does, always to one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// Takes the waiting (or transferred) session.
    Accept {
        #[serde(default)]
        rep: Option<Rep>,
    },
    /// Refuses it; it stays in the queue.
    Decline,
    Say {
        text: String,
    },
    Typing,
    /// Ends the session.
    End,
    /// Sets it inactive; the customer's next message routes it again.
    Inactive,
    /// Leaves; `to` joins at once, or the session waits in the queue for an `accept`.
    Transfer {
        #[serde(default)]
        to: Option<Rep>,
    },
}

/// A rep on autopilot, for load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoRep {
    pub accept_after_ms: u64,
    pub reply: bool,
    pub reply_after_ms: u64,
    /// Also to messages that were there before the rep accepted (header, transcript, early texts).
    pub reply_to_early: bool,
    /// Ends the session after so many replies in it.
    pub end_after: Option<u32>,
}

impl Default for AutoRep {
    fn default() -> Self {
        Self { accept_after_ms: 20, reply: true, reply_after_ms: 20, reply_to_early: true, end_after: None }
    }
}

/// What a rep sees of one conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepView {
    pub conversation: String,
    /// `MessagingEndUser.Name`: "Guest", unless the flow renamed it.
    pub name: String,
    /// `MessagingEndUser.MessagingPlatformKey`.
    pub platform_key: String,
    pub closed: bool,
    /// `ROUTED`, `NEEDS_ROUTING`, `INITIAL`, `TRANSFER`.
    pub routing_status: String,
    pub sessions: Vec<SessionView>,
    pub entries: Vec<EntryView>,
}

impl RepView {
    /// The current session: the last one.
    pub fn session(&self) -> Option<&SessionView> {
        self.sessions.last()
    }

    /// Texts in order, of `EndUser` or `Agent`.
    pub fn texts(&self, role: &str) -> Vec<&str> {
        let of_role = self.entries.iter().filter(|entry| entry.role == role);
        of_role.filter_map(|entry| entry.text.as_deref()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionView {
    pub id: String,
    /// `Waiting`, `Active`, `Inactive`, `Ended`.
    pub status: String,
    pub rep: Option<Rep>,
    /// As they came, mapped or not. No rep sees these by themselves.
    pub routing_attributes: BTreeMap<String, String>,
    /// What the flow wrote into custom fields: what the rep sees.
    pub fields: BTreeMap<String, String>,
    pub language: Option<String>,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryView {
    pub identifier: String,
    pub entry_type: String,
    pub role: String,
    pub sender: String,
    pub session: Option<String>,
    pub text: Option<String>,
    pub at_ms: i64,
    pub payload: Value,
}

/// An open event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamView {
    pub stream: u64,
    pub subject: String,
    /// The last event written to it.
    pub last_event: u64,
}

/// Trouble with streams, for one user (by subject or conversation) or for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Who {
    pub subject: Option<String>,
    pub conversation: Option<String>,
}

impl Who {
    pub fn everyone() -> Self {
        Self::default()
    }

    pub fn conversation(id: &str) -> Self {
        Self { conversation: Some(id.to_owned()), subject: None }
    }
}
