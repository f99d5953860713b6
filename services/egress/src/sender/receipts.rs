//! Statuses of what was sent.

use std::sync::PoisonError;

use bus::Failure;
use bytes::Bytes;
use domain::{ConversationKey, SendId, Seq, message::split_text, session::Output};
use proto::{
    StoredDecision,
    subjects::SendRef,
    v1::{self, entry::Body},
};
use runtime::fields;
use whatsapp::client::MAX_TEXT_CHARS;

use super::Sender;
use crate::ledger;

/// Duplicates remembered so that each counts once, although every message has several statuses.
const REMEMBERED_DUPLICATES: usize = 1024;

impl Sender {
    /// A status of one of our sends. Doubts are settled where they are waited for; here only what
    /// was accepted and then failed becomes a fact, and duplicates are counted.
    pub(crate) async fn status(
        &self,
        key: &ConversationKey,
        status: &v1::WhatsAppStatus,
    ) -> Result<(), Failure> {
        let Some(told) = status.reference.as_deref().and_then(SendRef::from_opaque) else { return Ok(()) };
        match status.status.as_str() {
            "failed" => self.failed(key, told, status).await,
            "delivered" => {
                let last = self.last_record(key, told.send).await?;
                if ledger::shows_duplicate(told.attempt, last.as_ref()) && self.count_once(told) {
                    self.metrics.visible_duplicate();
                    tracing::warn!({ fields::SEND } = %told.send, "a customer may have seen a message twice");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn failed(
        &self,
        key: &ConversationKey,
        told: SendRef,
        status: &v1::WhatsAppStatus,
    ) -> Result<(), Failure> {
        let last = self.last_record(key, told.send).await?;
        let other = last.as_ref().and_then(|last| {
            [last.attempt.doubtful, Some(last.attempt.number)]
                .into_iter()
                .flatten()
                .find(|n| *n != told.attempt)
        });
        let other_seen = match other {
            None => false,
            Some(attempt) => {
                let other = self.status_of(key, SendRef { send: told.send, attempt }).await?;
                other.is_some_and(|entry| {
                    status_in(entry.payload).is_some_and(|status| status.status != "failed")
                })
            }
        };
        if !ledger::failure_counts(told.attempt, last.as_ref(), other_seen) {
            return Ok(());
        }
        let code = status.problems.first().map_or(0, |problem| problem.code);
        let text = match &last {
            Some(last) => self.text_of(last.attempt.decision, told.send).await?,
            None => String::new(),
        };
        self.metrics.sent("failed_later");
        self.tell(key, told.send, ledger::undeliverable(code), &text).await
    }

    /// The words that a decision sent under this id; empty when the log has forgotten them.
    async fn text_of(&self, decision: Seq, id: SendId) -> Result<String, Failure> {
        let Some(entry) = self.log.get(decision).await? else { return Ok(String::new()) };
        let Ok(stored) = StoredDecision::decode(entry.payload) else { return Ok(String::new()) };
        let parts = stored.decision.outputs.iter().flat_map(|output| match output {
            Output::Send(send) => {
                let parts = split_text(&send.text, MAX_TEXT_CHARS);
                (0..).zip(parts).map(|(index, part)| (ledger::part_id(send.id, index), part)).collect()
            }
            Output::Ask(_)
            | Output::Follow { .. }
            | Output::Unfollow { .. }
            | Output::Call(_)
            | Output::Timer { .. } => Vec::new(),
        });
        Ok(parts.into_iter().find(|(part, _)| *part == id).map(|(_, text)| text).unwrap_or_default())
    }

    fn count_once(&self, reference: SendRef) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() >= REMEMBERED_DUPLICATES {
            counted.clear();
        }
        counted.insert(reference)
    }
}

pub(crate) fn status_in(payload: Bytes) -> Option<v1::WhatsAppStatus> {
    match proto::decode(payload).ok()? {
        Body::WhatsappStatus(status) => Some(status),
        Body::WhatsappMessage(_)
        | Body::AssistantAnswer(_)
        | Body::ThreadFollowed(_)
        | Body::CallResult(_)
        | Body::SalesforceEvent(_)
        | Body::Undelivered(_)
        | Body::TimerFired(_)
        | Body::OperatorCommand(_)
        | Body::Decision(_)
        | Body::SendIntent(_)
        | Body::SendOutcome(_)
        | Body::AccountEvent(_) => None,
    }
}
