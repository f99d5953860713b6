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
    SendIntent(v1::SendIntent) into_send_intent,
    SendOutcome(v1::SendOutcome) into_send_outcome,
}
