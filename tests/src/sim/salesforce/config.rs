//! How the simulated org behaves. The switches are those of `miaw-api.md` §12; their defaults are the
//! blueprint's (§13).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Every switch; all can be set at the start and changed while it runs.
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
    /// The `aud` an identity token must have; absent: not looked at.
    pub require_aud: Option<String>,
    /// A continuation token lives as long as a new one; otherwise it ends with the one it continues.
    pub continuation_extends: bool,
    pub require_sse_before_create: bool,
    pub require_last_event_id: bool,
    pub dup_conversation: DupConversation,
    pub dup_message: DupMessage,
    pub echo_id: EchoId,
    /// Echoes of the customer's own messages reach the stream (not the history) this much later.
    pub echo_delay_ms: u64,
    pub history_payload: HistoryPayload,
    pub replay: Replay,
    /// Open streams a user may have; one more is answered 429.
    pub max_streams: Option<u32>,
    /// Open streams the org may have; one more is answered 429.
    pub max_org_streams: Option<u32>,
    /// What a user's second stream meets.
    pub second_stream: SecondStream,
    pub ping_interval_ms: u64,
    pub ping_style: PingStyle,
    pub wire_style: WireStyle,
    /// Streams are written in pieces of so many bytes, wherever that cuts; 0: whole frames.
    pub split_bytes: usize,
    /// Events that one act makes go onto the stream in any order. Their `transcriptedTimestamp`s still
    /// tell the right one.
    pub shuffle: bool,
    pub cut_at_exp: bool,
    pub flag_while_live: FlagWhileLive,
    /// A rep may write after the session ended.
    pub late_agent_message: bool,
    /// 417 for a message without a live session and without the flag.
    pub per_session_prechat: bool,
    /// Answer to a message for a closed conversation: 400, 404 or 409.
    pub closed_send: u16,
    /// UTF-8 bytes of a text; more is answered 400.
    pub max_text_bytes: usize,
    /// A text that begins or ends with a URL becomes several messages.
    pub url_split: UrlSplit,
    /// Entries acknowledged in one call; more is answered 400.
    pub max_acks: usize,
    /// `DELETE` without the right `X-Org-Id` is answered 400.
    pub delete_needs_org: bool,
    /// Seconds in a `Retry-After` of limit answers; absent: no header.
    pub retry_after_s: Option<u64>,
    /// A routing attribute that no parameter takes, or that is too long for it, is answered 400.
    /// Otherwise it is dropped silently.
    pub strict_attributes: bool,
    /// What the org's flow makes of routing attributes; absent: nothing, the rep sees "Guest".
    pub flow: Option<Flow>,

    /// Initial routing fails with this reason: nobody there, after hours.
    pub routing_failure: Option<String>,
    /// What the org does after that.
    pub routing_failure_then: AfterFailure,
    /// Told with the initial routing.
    pub estimated_wait_s: Option<i64>,
    /// The channel's automatic answer to every new session.
    pub auto_response: Option<String>,
    /// The rep's console acknowledges delivery of the customer's messages while a rep is there.
    pub rep_acknowledges: bool,

    /// `attachments.endUserToAgent`; without it files are answered 400.
    pub files: bool,
    pub max_file_bytes: usize,
    /// `attachments.maxFileSize` is told in MB instead of bytes.
    pub max_file_in_mb: bool,
    /// Extensions an end user may send, lower case; anything else is answered 415.
    pub file_types: Vec<String>,
    /// An accepted file fails later with this `errorType` in the echo.
    pub upload_error: Option<String>,
    /// How often a file's address answers 404 before the file is there.
    pub file_not_ready: u32,
    /// `scheme://host` of attachment links; absent: where this simulator serves them.
    pub file_base_url: Option<String>,
    /// `transcript.allowTranscriptDownload`; without it the transcript is answered 403.
    pub transcript: bool,

    pub message_limit: bool,
    pub messages_per_minute: u32,
    pub token_limit: bool,
    pub tokens_per_minute: u32,
    pub renewals_per_minute: u32,
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
            require_aud: None,
            continuation_extends: true,
            require_sse_before_create: false,
            require_last_event_id: false,
            dup_conversation: DupConversation::Conflict,
            dup_message: DupMessage::Idempotent,
            echo_id: EchoId::Same,
            echo_delay_ms: 0,
            history_payload: HistoryPayload::Object,
            replay: Replay::All,
            max_streams: None,
            max_org_streams: None,
            second_stream: SecondStream::Both,
            ping_interval_ms: 25_000,
            ping_style: PingStyle::Zero,
            wire_style: WireStyle::Plain,
            split_bytes: 0,
            shuffle: false,
            cut_at_exp: false,
            flag_while_live: FlagWhileLive::Ignore,
            late_agent_message: false,
            per_session_prechat: false,
            closed_send: 400,
            max_text_bytes: 8_192,
            url_split: UrlSplit::First,
            max_acks: 20,
            delete_needs_org: false,
            retry_after_s: None,
            strict_attributes: false,
            flow: None,
            routing_failure: None,
            routing_failure_then: AfterFailure::Wait,
            estimated_wait_s: None,
            auto_response: None,
            rep_acknowledges: false,
            files: true,
            max_file_bytes: 5 << 20,
            max_file_in_mb: false,
            file_types: FILE_TYPES.iter().map(|kind| (*kind).to_owned()).collect(),
            upload_error: None,
            file_not_ready: 0,
            file_base_url: None,
            transcript: false,
            message_limit: true,
            messages_per_minute: 22,
            token_limit: true,
            tokens_per_minute: 200,
            renewals_per_minute: 200,
            create_limit: false,
        }
    }
}

/// What Salesforce's iOS sample knows (`miaw-api.md` §5.1).
const FILE_TYPES: [&str; 37] = [
    "png", "jpg", "jpeg", "gif", "bmp", "tiff", "mp4", "m4v", "avi", "mov", "qt", "wmv", "flv", "webm",
    "mkv", "3gp", "ogv", "mpg", "mpeg", "mp3", "m4a", "aac", "wav", "flac", "ogg", "oga", "wma", "amr",
    "opus", "txt", "csv", "pdf", "xml", "doc", "docx", "xls", "xlsx",
];

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecondStream {
    #[serde(rename = "both")]
    Both,
    /// The new one stays, the others are cut.
    #[serde(rename = "kill_old")]
    KillOld,
    #[serde(rename = "409")]
    Conflict,
}

/// What pings carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PingStyle {
    /// `data:0`.
    Zero,
    /// A number that grows, from 1 on each stream.
    Counter,
    /// That, also as `id`: who moves the cursor on a ping replays everything.
    WithId,
}

/// How frames are written; the standard allows all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireStyle {
    /// No blank after the colon, LF.
    Plain,
    /// A blank after the colon.
    Spaced,
    Crlf,
}

/// Which piece of a split text keeps the client's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UrlSplit {
    /// Nothing is split.
    Off,
    First,
    Last,
    /// None does; only the 202 names the first piece.
    Nowhere,
}

/// What becomes of a session whose initial routing failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterFailure {
    /// It waits on, without end.
    #[default]
    Wait,
    /// The flow ends it.
    End,
    /// Its status is `Error`; the failure was one of submission.
    Error,
}

/// Parameter mappings and what the flow writes (`miaw-api.md` §11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flow {
    /// `MessagingEndUser.Name` becomes "name (phone)": the routing attributes of the two.
    pub name: String,
    pub phone: String,
    /// Custom field of the MessagingSession → routing attribute.
    pub fields: BTreeMap<String, String>,
    /// The channel's parameters: routing attribute → maximum length in characters. Those named above
    /// and not here have [`PARAMETER_LENGTH`].
    pub parameters: BTreeMap<String, usize>,
}

/// The maximum length of a parameter that says nothing else.
pub const PARAMETER_LENGTH: usize = 255;

impl Default for Flow {
    fn default() -> Self {
        let fields = [
            ("Phone_Number__c", "Phone_Number"),
            ("Customer_Name__c", "Customer_Name"),
            ("OpencxSessionId__c", "OpencxSessionId"),
        ];
        let parameters = [
            ("_firstName", 255),
            ("_lastName", 255),
            ("_email", 255),
            ("_subject", 255),
            ("Customer_Name", 255),
            ("Phone_Number", 40),
            ("Source_Channel", 40),
            ("Conversation_UUID", 40),
        ];
        Self {
            name: "Customer_Name".into(),
            phone: "Phone_Number".into(),
            fields: fields.map(|(field, from)| (field.to_owned(), from.to_owned())).into(),
            parameters: parameters.map(|(name, most)| (name.to_owned(), most)).into(),
        }
    }
}

impl Flow {
    /// How long the attribute may be; none: no parameter takes it.
    pub fn length_of(&self, attribute: &str) -> Option<usize> {
        let named = || {
            attribute == self.name
                || attribute == self.phone
                || self.fields.values().any(|from| from == attribute)
        };
        self.parameters.get(attribute).copied().or_else(|| named().then_some(PARAMETER_LENGTH))
    }
}
