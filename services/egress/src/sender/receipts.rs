//! Statuses of what was sent.

use std::sync::PoisonError;

use bus::Failure;
use bytes::Bytes;
use domain::{ConversationKey, SendId, Seq, session::ParkedMessage};
use proto::{StoredDecision, subjects::SendRef, v1};
use runtime::fields;

use super::{Sender, lost, parts};
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
        let told: Option<SendRef> = status.reference.as_deref().and_then(|reference| reference.parse().ok());
        let Some(told) = told else { return Ok(()) };
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
        let lost = match &last {
            Some(last) => self.lost(last.attempt.decision, told.send).await?,
            None => None,
        };
        self.metrics.sent("failed_later");
        match lost {
            Some(lost) => {
                let mark = last.as_ref().and_then(|last| last.attempt.mark);
                self.tell(key, told.send, ledger::undeliverable(code), &lost, mark).await
            }
            // The log has forgotten it, and nobody could tell which message is meant.
            None => Ok(()),
        }
    }

    /// What a decision sent under this id.
    async fn lost(&self, decision: Seq, id: SendId) -> Result<Option<ParkedMessage>, Failure> {
        let Some(entry) = self.log.get(decision).await? else { return Ok(None) };
        let Ok(stored) = StoredDecision::decode(entry.payload) else { return Ok(None) };
        Ok(stored
            .decision
            .sends()
            .flat_map(|send| parts(send).map(move |part| (send, part)))
            .find(|(_, part)| part.id == id)
            .map(|(send, part)| lost(send, &part)))
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
    proto::decode(payload).ok()?.into_status()
}
