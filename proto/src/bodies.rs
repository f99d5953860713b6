//! An entry, if it is of one kind: for readers that want one and skip all others. The only place
//! that lists the kinds.

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
        match body {
            Body::SendIntent(intent) => Some(Self::Intent(intent)),
            Body::SendOutcome(outcome) => Some(Self::Outcome(outcome)),
            Body::WhatsappMessage(_)
            | Body::WhatsappStatus(_)
            | Body::AssistantAnswer(_)
            | Body::ThreadFollowed(_)
            | Body::CallResult(_)
            | Body::SalesforceEvent(_)
            | Body::Undelivered(_)
            | Body::TimerFired(_)
            | Body::OperatorCommand(_)
            | Body::Decision(_)
            | Body::AccountEvent(_)
            | Body::MediaFetched(_)
            | Body::Adopted(_) => None,
        }
    }

    /// Log position of the decision that asked for the send.
    pub const fn decision(&self) -> u64 {
        match self {
            Self::Intent(intent) => intent.decision,
            Self::Outcome(outcome) => outcome.decision,
        }
    }
}
