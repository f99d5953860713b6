//! Telling the rep what became of their messages (§6).

use domain::{EntryId, ThreadId};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AccessToken, Client, Error};

/// The sibling product takes 25 in a call; MIAW's own limit is not public.
pub const MAX_ACKS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// This entry.
    Delivered,
    /// This entry and everything before it.
    Read,
}

impl Client {
    /// Acknowledges entries of others, at most [`MAX_ACKS`] of them. The ids are ours, and the same
    /// over all repeats.
    pub async fn acknowledge(
        &self,
        token: &AccessToken,
        id: ThreadId,
        acks: &[(Uuid, Receipt, EntryId)],
    ) -> Result<(), Error> {
        let ack = |(id, receipt, entry): &(Uuid, Receipt, EntryId)| {
            let kind = match receipt {
                Receipt::Delivered => "Delivery",
                Receipt::Read => "Read",
            };
            json!({ "id": id, "entryType": kind, "conversationEntryId": entry.as_str() })
        };
        let acks: Vec<Value> = acks.iter().take(MAX_ACKS).map(ack).collect();
        let url = self.url(&["conversation", &id.to_string(), "acknowledge-entries"]);
        let call = self.request(Method::POST, url, token).json(&json!({ "acks": acks }));
        self.call("POST /conversation/{id}/acknowledge-entries", call).await.map(|_| ())
    }
}
