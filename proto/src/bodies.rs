//! An entry, if it is of one kind: for readers that want one and skip all others.

use crate::v1::{self, entry::Body};

macro_rules! bodies {
    ($($variant:ident($type:ty) $into:ident,)*) => {
        impl Body {
            $(
                pub fn $into(self) -> Option<$type> {
                    match self {
                        Self::$variant(body) => Some(body),
                        _ => None,
                    }
                }
            )*
        }
    };
}

bodies! {
    WhatsappMessage(v1::WhatsAppMessage) into_message,
    WhatsappStatus(v1::WhatsAppStatus) into_status,
    SalesforceEvent(v1::SalesforceEvent) into_salesforce_event,
    MediaFetched(v1::MediaFetched) into_media_fetched,
    Decision(v1::Decision) into_decision,
    SendOutcome(v1::SendOutcome) into_send_outcome,
}

/// An entry of the send ledger.
#[derive(Debug, Clone, PartialEq)]
pub enum SendRecord {
    Intent(v1::SendIntent),
    Outcome(v1::SendOutcome),
}

impl SendRecord {
    /// `None`: another kind of entry.
    pub fn of(body: Body) -> Option<Self> {
        if let Body::SendIntent(intent) = body {
            return Some(Self::Intent(intent));
        }
        body.into_send_outcome().map(Self::Outcome)
    }

    /// Log position of the decision that asked for the send.
    pub const fn decision(&self) -> u64 {
        match self {
            Self::Intent(intent) => intent.decision,
            Self::Outcome(outcome) => outcome.decision,
        }
    }
}
