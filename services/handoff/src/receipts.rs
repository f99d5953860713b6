//! WhatsApp's receipts as Salesforce's: the rep sees that a message arrived, and that it was read.
//! A reader of its own, so that receipts ask for no decision and hold no message up.

use std::{sync::Arc, time::Duration};

use bus::{Entry, Failure, Handler, Lease, Log};
use domain::{ConversationKey, EntryId, ThreadId, derive};
use proto::{
    SendRecord, StoredDecision,
    subjects::{self, SendRef},
    v1::salesforce_event::What,
};
use salesforce::{Receipt, Retry};

use crate::{calls::Calls, peer::Peer};

/// A receipt is a courtesy: an old one that could not be passed on is let go.
const FRESH: Duration = Duration::from_secs(60);

pub(crate) struct Receipts {
    pub(crate) log: Log,
    pub(crate) calls: Arc<Calls>,
}

impl Handler for Receipts {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        let Some(address) = &entry.address else { return Ok(()) };
        let status = proto::decode(entry.payload.clone()).map_err(Failure::never)?.into_status();
        let Some(status) = status else { return Ok(()) };
        let receipt = match status.status.as_str() {
            "delivered" => Receipt::Delivered,
            "read" | "played" => Receipt::Read,
            _ => return Ok(()),
        };
        let reference: Option<SendRef> =
            status.reference.as_deref().and_then(|reference| reference.parse().ok());
        let Some(reference) = reference else { return Ok(()) };
        let Some(told) = self.told(&address.key, reference).await? else { return Ok(()) };
        let Some(access) = self.calls.tokens.access(&told.number, told.contact) else { return Ok(()) };
        let kind = status.status.as_bytes();
        let id = derive::uuid("receipt", &[told.thread.0.as_bytes(), told.entry.as_str().as_bytes(), kind]);
        let acked = Peer::new(access).acknowledge(told.thread, (id, receipt, told.entry)).await;
        match acked {
            Ok(()) => Ok(()),
            Err(error) => {
                let fresh = runtime::age(entry.at) < FRESH;
                match error.retry() {
                    Retry::Soon | Retry::Renew if fresh => Err(Failure::soon(error)),
                    Retry::After(pause) if fresh => Err(Failure::after(pause, error)),
                    Retry::Soon | Retry::Renew | Retry::After(_) | Retry::Never => {
                        tracing::debug!(error = runtime::error_chain(&error), "a receipt was not passed on");
                        Ok(())
                    }
                }
            }
        }
    }
}

/// The entry of the rep or bot that a send carried.
struct Told {
    number: domain::PhoneNumberId,
    contact: domain::ContactId,
    thread: ThreadId,
    entry: EntryId,
}

impl Receipts {
    async fn told(&self, key: &ConversationKey, reference: SendRef) -> Result<Option<Told>, Failure> {
        let records = subjects::sends_of(key, reference.send);
        let Some(record) = self.log.last(&records).await? else { return Ok(None) };
        let record = SendRecord::of(proto::decode(record.payload).map_err(Failure::never)?);
        let decision = record.map_or(0, |record| record.decision());
        if decision == 0 {
            return Ok(None);
        }
        let Some(decided) = self.log.get(decision).await? else { return Ok(None) };
        let stored = StoredDecision::decode(decided.payload).map_err(Failure::never)?;
        let Some(fact) = self.log.get(stored.answers).await? else { return Ok(None) };
        let event = proto::decode(fact.payload).map_err(Failure::never)?.into_salesforce_event();
        let Some(event) = event else { return Ok(None) };
        let wrote = matches!(event.what, Some(What::RepWrote(_) | What::BotWrote(_)));
        let state = &stored.decision.state;
        let (Some(contact), Ok(thread), true) = (state.contact, event.thread.parse(), wrote) else {
            return Ok(None);
        };
        Ok(Some(Told { number: state.number.clone(), contact, thread, entry: EntryId::new(event.entry) }))
    }
}
