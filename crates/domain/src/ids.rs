//! Ids: what each identifies, where it is unique, who makes it.
//!
//! Ids that are personal data (`Wamid`, `CustomerId`) hide themselves in `Debug`, so that they
//! cannot slip into a log.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many partitions the log has. Fixed for the life of a deployment: it is written into the
/// stream's metadata and services refuse to start when it differs.
pub const PARTITIONS: u16 = 64;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $debug:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let show: fn(&str) -> &str = $debug;
                write!(f, concat!(stringify!($name), "({})"), show(&self.0))
            }
        }
    };
}

text_id!(
    /// A business phone number at Meta (`metadata.phone_number_id`). Made by Meta, unique there.
    PhoneNumberId, |id| id
);
text_id!(
    /// A WhatsApp Business Account (`entry[].id`). Made by Meta.
    WabaId, |id| id
);
text_id!(
    /// A WhatsApp message. Made by Meta, unique for ever. Contains the peer's phone number in
    /// base64: personal data, never logged.
    Wamid, |_| "…"
);
text_id!(
    /// Who writes to us: the business-scoped user id (BSUID) where the webhook has one, else the
    /// phone number in digits. Personal data, never logged.
    CustomerId, |_| "…"
);
text_id!(
    /// An entry of a Salesforce conversation (`conversationEntry.identifier`). Made by Salesforce,
    /// or by us for what we send; unique in the org.
    EntryId, |id| id
);
text_id!(
    /// One Salesforce integration of this deployment, as configuration names it.
    IntegrationId, |id| id
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Debug)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.hyphenated())
            }
        }
        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// A session: one episode of support for one contact on one channel. The value of the routing
    /// attribute `OpencxSessionId`. Ours, derived from the message that opened the session.
    SessionId
);
uuid_id!(
    /// A person, over all channels and sessions. Ours; also the `sub` of the identity token, so it
    /// is opaque on purpose.
    ContactId
);
uuid_id!(
    /// A Salesforce messaging conversation. Made by us (the API wants a client-made, lowercase,
    /// version-4 UUID), unique in the org.
    ThreadId
);
uuid_id!(
    /// A message that we decided to send to a customer. Ours, derived from the decision.
    SendId
);

impl SendId {
    /// The id of the `index`-th message, where it takes several to carry it; the first has the
    /// send's own.
    #[must_use]
    pub fn part(self, index: u32) -> Self {
        match index {
            0 => self,
            index => Self(crate::derive::uuid("send-part", &[self.0.as_bytes(), &index.to_be_bytes()])),
        }
    }
}

/// A conversation: one business number and one customer. A keyed digest, so that it can stand in
/// subjects, logs and metrics without telling who it is. Ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationKey([u8; 16]);

impl ConversationKey {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Stable for ever: the log is laid out by it.
    pub fn partition(&self) -> Partition {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        let partition = u64::from_be_bytes(head) % u64::from(PARTITIONS);
        Partition(u16::try_from(partition).expect("below PARTITIONS, which is a u16"))
    }
}

impl fmt::Display for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConversationKey({self})")
    }
}

impl std::str::FromStr for ConversationKey {
    type Err = hex::FromHexError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// A slice of the log: every conversation lives in exactly one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Partition(pub u16);

impl Partition {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The `index`-th thing that the decision on the fact at log position `answers` asked for. Every
/// repeat of that decision derives the same cause, which is what makes effects idempotent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Cause {
    pub answers: Seq,
    pub index: u32,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.answers, self.index)
    }
}

impl std::str::FromStr for Cause {
    type Err = MalformedCause;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (answers, index) = text.split_once('-').ok_or(MalformedCause)?;
        Ok(Self {
            answers: answers.parse().map_err(|_| MalformedCause)?,
            index: index.parse().map_err(|_| MalformedCause)?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cause is written as <log position>-<index>")]
pub struct MalformedCause;

/// A position in the log (JetStream stream sequence). Starts at 1; 0 means "none yet".
pub type Seq = u64;

/// Milliseconds since the Unix epoch.
pub type Millis = i64;
