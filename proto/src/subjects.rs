//! Where an entry stands in the log. The subject *is* the identity of a fact: one fact, one
//! subject, at most one message on it.
//!
//! ```text
//! conv.<partition>.<conversation key>.<kind>.<entry id>            a fact
//! conv.<partition>.<conversation key>.st.<send>.<status>           a WhatsApp status
//! conv.<partition>.<conversation key>.snd.<send>.<attempt>.<phase> a send record
//! conv.<partition>.<conversation key>.dec                          decisions, a chain
//! timer.<partition>.<conversation key>.<entry id>                  a timer the broker holds
//! account.<WABA id>.<field>.<digest>                               what concerns no conversation
//! ```
//!
//! | kind | written by | its entry id derives from |
//! |---|---|---|
//! | `wa` message from WhatsApp | ingress | the wamid |
//! | `st` status from WhatsApp | ingress | our send reference, else the wamid; and the status |
//! | `ai` the assistant's answer | assistant | the question |
//! | `th` result of a Salesforce call | handoff | the call |
//! | `sf` event from Salesforce | egress | the conversation entry identifier |
//! | `und` a message that was not delivered | egress | the send |
//! | `snd` send ledger (read by egress only) | egress | the send and its attempt |
//! | `tm` a timer that fired | the broker | the decision that set it |
//! | `md` a customer's file, fetched (asks for no decision) | egress | the wamid |
//! | `mv` what a conversation under earlier ids had | handoff | the decision that moved it |
//! | `op` an operator's command | console | the request |
//! | `out` a template that is to be sent | campaigns, console | who asks, and the recipient |
//! | `cs` what the customer said about marketing | handoff | the decision that heard it |
//! | `dec` a decision | handoff | – (chained) |

use std::{fmt, str::FromStr};

use domain::{ConversationKey, Partition, SendId, WabaId, outreach::Mark};

/// Everything the log stream captures.
pub const ALL: [&str; 3] = ["conv.>", "timer.>", "account.>"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    WhatsApp,
    Status,
    Assistant,
    Thread,
    Salesforce,
    Undelivered,
    Send,
    Timer,
    Operator,
    Decision,
    Media,
    Adopted,
    Outreach,
    Consent,
}

impl Kind {
    /// What handoff answers with a decision.
    pub const FACTS: [Self; 10] = [
        Self::WhatsApp,
        Self::Assistant,
        Self::Thread,
        Self::Salesforce,
        Self::Undelivered,
        Self::Timer,
        Self::Operator,
        Self::Adopted,
        Self::Outreach,
        Self::Consent,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WhatsApp => "wa",
            Self::Status => "st",
            Self::Assistant => "ai",
            Self::Thread => "th",
            Self::Salesforce => "sf",
            Self::Undelivered => "und",
            Self::Send => "snd",
            Self::Timer => "tm",
            Self::Operator => "op",
            Self::Decision => "dec",
            Self::Media => "md",
            Self::Adopted => "mv",
            Self::Outreach => "out",
            Self::Consent => "cs",
        }
    }
}

impl FromStr for Kind {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        Ok(match text {
            "wa" => Self::WhatsApp,
            "st" => Self::Status,
            "ai" => Self::Assistant,
            "th" => Self::Thread,
            "sf" => Self::Salesforce,
            "und" => Self::Undelivered,
            "snd" => Self::Send,
            "tm" => Self::Timer,
            "op" => Self::Operator,
            "dec" => Self::Decision,
            "md" => Self::Media,
            "mv" => Self::Adopted,
            "out" => Self::Outreach,
            "cs" => Self::Consent,
            _ => return Err(Malformed),
        })
    }
}

/// A send's place in the ledger, and what `biz_opaque_callback_data` carries out and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SendRef {
    pub send: SendId,
    /// 1 for the first try; 2 for the one blind resend after a send that stayed in doubt.
    pub attempt: u32,
}

impl SendRef {
    /// The text that travels to WhatsApp and comes back in every status.
    pub fn to_opaque(self) -> String {
        format!("baton1.{}.{}", self.send, self.attempt)
    }

    /// The same, with the conversation: a status does not always say whom it is about (a failed
    /// send to a phone number comes without the BSUID that the conversation goes by).
    pub fn to_opaque_in(self, key: &ConversationKey) -> String {
        format!("{}.{key}", self.to_opaque())
    }

    pub fn from_opaque(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("baton1.")?.splitn(3, '.');
        Some(Self { send: parts.next()?.parse().ok()?, attempt: parts.next()?.parse().ok()? })
    }

    /// The same of a campaign's send.
    pub fn to_opaque_of(self, key: &ConversationKey, mark: Mark) -> String {
        format!("{}.{}.{}", self.to_opaque_in(key), mark.campaign, mark.row)
    }

    /// The mark that [`SendRef::to_opaque_of`] put in.
    pub fn mark_in_opaque(text: &str) -> Option<Mark> {
        let mut parts = text.strip_prefix("baton1.")?.split('.').skip(3);
        Some(Mark { campaign: parts.next()?.parse().ok()?, row: parts.next()?.parse().ok()? })
    }

    /// The conversation that [`SendRef::to_opaque_in`] put in.
    pub fn conversation_in_opaque(text: &str) -> Option<ConversationKey> {
        text.strip_prefix("baton1.")?.split('.').nth(2)?.parse().ok()
    }
}

impl FromStr for SendRef {
    type Err = Malformed;
    /// As the log writes it (`WhatsAppStatus.reference`, subjects).
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (send, attempt) = text.rsplit_once('-').ok_or(Malformed)?;
        Ok(Self {
            send: send.parse().map_err(|_| Malformed)?,
            attempt: attempt.parse().map_err(|_| Malformed)?,
        })
    }
}

impl fmt::Display for SendRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.send, self.attempt)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendPhase {
    Intent,
    Outcome,
}

/// A fact of `kind` with entry id `id` (no dots, blanks or wildcards: ids are hex, UUIDs and
/// [`domain::Cause`]s; anything else goes through [`token`]).
pub fn fact(key: &ConversationKey, kind: Kind, id: &str) -> String {
    format!("conv.{}.{key}.{}.{id}", key.partition(), kind.as_str())
}

pub fn decision(key: &ConversationKey) -> String {
    format!("conv.{}.{key}.dec", key.partition())
}

/// `reference`: [`SendRef`] when the status echoes one of ours, else the wamid's keyed digest.
pub fn status(key: &ConversationKey, reference: &str, status: &str) -> String {
    format!("conv.{}.{key}.st.{reference}.{}", key.partition(), token(status))
}

/// Every status of one send attempt.
pub fn statuses_of(key: &ConversationKey, send: SendRef) -> String {
    format!("conv.{}.{key}.st.{send}.*", key.partition())
}

pub fn send(key: &ConversationKey, send: SendRef, phase: SendPhase) -> String {
    let phase = match phase {
        SendPhase::Intent => "intent",
        SendPhase::Outcome => "outcome",
    };
    format!("conv.{}.{key}.snd.{}.{}.{phase}", key.partition(), send.send, send.attempt)
}

/// Where the broker holds a timer until it is due; then it publishes to [`fact`] with [`Kind::Timer`].
pub fn timer(key: &ConversationKey, id: &str) -> String {
    format!("timer.{}.{key}.{id}", key.partition())
}

pub fn account(waba: &WabaId, field: &str, digest: &str) -> String {
    format!("account.{}.{}.{digest}", token(waba.as_str()), token(field))
}

/// All entries of `kind` in a partition, for a consumer's filter.
pub fn filter(partition: Partition, kind: Kind) -> String {
    match kind {
        Kind::Decision => format!("conv.{partition}.*.dec"),
        Kind::Status | Kind::Send => format!("conv.{partition}.*.{}.>", kind.as_str()),
        Kind::WhatsApp
        | Kind::Assistant
        | Kind::Thread
        | Kind::Salesforce
        | Kind::Undelivered
        | Kind::Timer
        | Kind::Operator
        | Kind::Media
        | Kind::Adopted
        | Kind::Outreach
        | Kind::Consent => format!("conv.{partition}.*.{}.*", kind.as_str()),
    }
}

/// All entries of `kind` in one conversation.
pub fn filter_of(key: &ConversationKey, kind: Kind) -> String {
    match kind {
        Kind::Decision => decision(key),
        Kind::Status | Kind::Send => format!("conv.{}.{key}.{}.>", key.partition(), kind.as_str()),
        Kind::WhatsApp
        | Kind::Assistant
        | Kind::Thread
        | Kind::Salesforce
        | Kind::Undelivered
        | Kind::Timer
        | Kind::Operator
        | Kind::Media
        | Kind::Adopted
        | Kind::Outreach
        | Kind::Consent => fact(key, kind, "*"),
    }
}

/// Every record of a send, whatever the attempt.
pub fn sends_of(key: &ConversationKey, send: SendId) -> String {
    format!("conv.{}.{key}.{}.{send}.>", key.partition(), Kind::Send.as_str())
}

/// Everything about one conversation: its timeline, and what a purge erases.
pub fn conversation(key: &ConversationKey) -> String {
    format!("conv.{}.{key}.>", key.partition())
}

/// Any text as one subject token: what NATS or we give a meaning to becomes `_`.
pub fn token(text: &str) -> String {
    let token: String = text
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' })
        .collect();
    if token.is_empty() { "_".into() } else { token }
}

/// A conversation subject, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub partition: Partition,
    pub key: ConversationKey,
    pub kind: Kind,
    /// What follows the kind, dots included; empty for decisions.
    pub id: String,
}

impl FromStr for Address {
    type Err = Malformed;
    fn from_str(subject: &str) -> Result<Self, Malformed> {
        let mut tokens = subject.splitn(5, '.');
        if tokens.next() != Some("conv") {
            return Err(Malformed);
        }
        let partition = tokens.next().and_then(|t| t.parse().ok()).ok_or(Malformed)?;
        let key: ConversationKey = tokens.next().and_then(|t| t.parse().ok()).ok_or(Malformed)?;
        let kind: Kind = tokens.next().ok_or(Malformed)?.parse()?;
        let id = tokens.next().unwrap_or_default().to_owned();
        Ok(Self { partition: Partition(partition), key, kind, id })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the subject of a conversation's entry")]
pub struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ConversationKey {
        ConversationKey::from_bytes([7; 16])
    }

    #[test]
    fn subjects_come_apart_as_they_were_put_together() {
        let send_ref = SendRef { send: "7f7a2f0e-53a8-4d0a-9f0a-0a8f7c1f5a11".parse().unwrap(), attempt: 2 };
        for (subject, kind, id) in [
            (fact(&key(), Kind::WhatsApp, "abc"), Kind::WhatsApp, "abc".to_owned()),
            (decision(&key()), Kind::Decision, String::new()),
            (status(&key(), &send_ref.to_string(), "read"), Kind::Status, format!("{send_ref}.read")),
            (send(&key(), send_ref, SendPhase::Intent), Kind::Send, format!("{}.2.intent", send_ref.send)),
        ] {
            let address: Address = subject.parse().unwrap();
            assert_eq!((address.kind, address.id), (kind, id));
            assert_eq!(address.partition, key().partition());
        }
        assert_eq!(SendRef::from_opaque(&send_ref.to_opaque()), Some(send_ref));
        let opaque = send_ref.to_opaque_in(&key());
        assert_eq!(SendRef::from_opaque(&opaque), Some(send_ref));
        assert_eq!(SendRef::conversation_in_opaque(&opaque), Some(key()));
        assert_eq!(SendRef::conversation_in_opaque(&send_ref.to_opaque()), None);
        let mark = Mark { campaign: "0b8f3c1e-2d4a-4f6b-8c7d-9e0f1a2b3c4d".parse().unwrap(), row: 999_999 };
        let marked = send_ref.to_opaque_of(&key(), mark);
        assert_eq!(SendRef::mark_in_opaque(&marked), Some(mark));
        assert_eq!(SendRef::from_opaque(&marked), Some(send_ref));
        assert_eq!(SendRef::conversation_in_opaque(&marked), Some(key()));
        assert_eq!(SendRef::mark_in_opaque(&opaque), None);
        assert_eq!(SendRef::from_opaque("{\"originator\":\"bizai\"}"), None);
    }

    #[test]
    fn nothing_foreign_becomes_more_than_one_token() {
        assert_eq!(token("a.b >*"), "a_b___");
        assert_eq!(token(""), "_");
    }
}
