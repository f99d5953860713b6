//! Names of span, log and metric fields: the same word for the same thing everywhere.
//!
//! ```
//! use runtime::fields;
//! tracing::info!({ fields::PARTITION } = 7, "partition claimed");
//! ```
//!
//! Never a field: message text, phone numbers, names, wamids, tokens.

/// The process's member id among the replicas of its service.
pub const MEMBER: &str = "baton.member";
/// [`domain::ConversationKey`] in hex.
pub const CONVERSATION: &str = "baton.conversation";
/// [`domain::SessionId`].
pub const SESSION: &str = "baton.session";
/// [`domain::ThreadId`], the Salesforce conversation.
pub const THREAD: &str = "baton.thread";
/// [`domain::ContactId`].
pub const CONTACT: &str = "baton.contact";
/// [`domain::SendId`].
pub const SEND: &str = "baton.send";
/// Counts tries of one thing from 1.
pub const ATTEMPT: &str = "baton.attempt";
/// [`domain::IntegrationId`].
pub const INTEGRATION: &str = "baton.integration";
/// The business's own number at Meta ([`domain::PhoneNumberId`]), never a customer's.
pub const CHANNEL: &str = "baton.channel";
/// [`domain::Partition`].
pub const PARTITION: &str = "baton.partition";
/// [`domain::Seq`], a position in the log.
pub const SEQ: &str = "baton.seq";
/// The entry's kind as it stands in the subject: `wa`, `dec` …
pub const KIND: &str = "baton.kind";
/// A claim's epoch.
pub const EPOCH: &str = "baton.epoch";
/// Why something was refused, dropped or retried: one word of a fixed set.
pub const REASON: &str = "baton.reason";
/// What [`crate::error_chain`] says.
pub const ERROR: &str = "error";
/// Of an HTTP answer (OpenTelemetry's name).
pub const HTTP_STATUS: &str = "http.response.status_code";
/// Which call of an API, a fixed word per endpoint: never a URL, which may hold ids.
pub const ENDPOINT: &str = "baton.endpoint";
/// Of an operation, in milliseconds.
pub const ELAPSED_MS: &str = "baton.elapsed_ms";
