//! Back along a conversation's chain of decisions: the newest of what was said, at the cost of what
//! is read.
//!
//! A conversation's entries are few among all others, and a consumer finds the few by walking through
//! the many: 280,000 entries took nats-server 2.15.1 some 290 ms of one core, a day of a busy system
//! would take minutes. The chain leads from a decision to the one before it, by position.

use async_nats::{header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, jetstream::message::StreamMessage};
use domain::{ConversationKey, Seq};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::subjects::{self, Kind};

use crate::{Entry, Error, Log, read::none_is_fine};

/// A stretch so short is read as it is.
const NEAR: Seq = 5_000;
/// Decisions behind a stretch that are passed over on the way to it.
const BEHIND: usize = 2_000;
/// Facts that are fetched side by side.
const AT_ONCE: usize = 16;

impl Log {
    /// The customer's messages and the decisions of a conversation within `from..=through`, in order:
    /// the newest `most` decisions of them, and the messages behind the one before these.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn said(
        &self,
        key: &ConversationKey,
        from: Seq,
        through: Seq,
        most: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.facts(key, &[Kind::WhatsApp], from, through, most).await
    }

    /// The same of facts of other kinds, with the decisions.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn facts(
        &self,
        key: &ConversationKey,
        kinds: &[Kind],
        from: Seq,
        through: Seq,
        most: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut entries = if through.saturating_sub(from) <= NEAR {
            let filters = kinds.iter().chain([&Kind::Decision]).map(|kind| subjects::filter_of(key, *kind));
            self.read(filters.collect(), from, through, usize::MAX).await?
        } else {
            self.walked(key, kinds, from, through, most).await?
        };
        let newest_first = entries.iter().enumerate().rev().filter(|(_, entry)| is(entry, Kind::Decision));
        let beyond = newest_first.map(|(place, _)| place).nth(most);
        if let Some(beyond) = beyond {
            entries.drain(..=beyond);
        }
        Ok(entries)
    }

    /// The newest decisions of a conversation within `from..=through`, newest first, at most `most`.
    /// None when it has gone on by thousands since `through`.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn decisions(
        &self,
        key: &ConversationKey,
        from: Seq,
        through: Seq,
        most: usize,
    ) -> Result<Vec<Entry>, Error> {
        let subject = subjects::decision(key);
        // Most stretches end with a decision.
        let last = if through < Seq::MAX { self.chained(through).await? } else { None };
        let mut next = match last.filter(|(entry, _)| entry.subject == subject) {
            Some(last) => Some(last),
            None => self.last_in(&self.stream, &subject).await?.map(link),
        };
        let (mut found, mut behind) = (Vec::new(), 0);
        while let Some((entry, before)) = next
            && entry.seq >= from.max(1)
            && found.len() < most
            && behind < BEHIND
        {
            if entry.seq <= through {
                found.push(entry);
            } else {
                behind += 1;
            }
            // Beyond the log's horizon there is nothing any more.
            let goes_on = before >= from.max(1) && found.len() < most && behind < BEHIND;
            next = if goes_on { self.chained(before).await? } else { None };
        }
        Ok(found)
    }

    /// The decision at a position; none when the log has nothing there any more.
    async fn chained(&self, seq: Seq) -> Result<Option<(Entry, Seq)>, Error> {
        let found = self
            .ask("read an entry", || async { none_is_fine(self.stream.get_raw_message(seq).await) })
            .await?;
        Ok(found.map(link))
    }

    async fn walked(
        &self,
        key: &ConversationKey,
        kinds: &[Kind],
        from: Seq,
        through: Seq,
        most: usize,
    ) -> Result<Vec<Entry>, Error> {
        let decisions = self.decisions(key, from, through, most.saturating_add(1)).await?;
        // Facts may lie in the log for long until they are decided on: those decisions come after the
        // stretch.
        let behind = decisions.first().map_or(from, |newest| newest.seq + 1);
        let later = self.decisions(key, behind, Seq::MAX, BEHIND).await?;
        let facts = decisions.iter().chain(&later).filter_map(answered);
        let facts: Vec<Seq> = facts.filter(|fact| (from..=through).contains(fact)).collect();
        let facts: Vec<Option<Entry>> =
            futures::stream::iter(facts).map(|fact| self.get(fact)).buffered(AT_ONCE).try_collect().await?;
        let wanted = |fact: &Entry| kinds.iter().any(|kind| is(fact, *kind));
        let mut entries: Vec<Entry> = facts.into_iter().flatten().filter(wanted).collect();
        entries.extend(decisions);
        entries.sort_by_key(|entry| entry.seq);
        Ok(entries)
    }
}

/// A decision, and where the one before it in its conversation is: 0 when there is none within the
/// log's horizon.
fn link(message: StreamMessage) -> (Entry, Seq) {
    // The broker keeps the header by which the decision was chained.
    let before = message.headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE);
    let before = before.and_then(|before| before.as_str().parse().ok()).unwrap_or(0);
    (Entry::stored(message), before)
}

/// The fact that a decision answers.
fn answered(entry: &Entry) -> Option<Seq> {
    proto::decode(entry.payload.clone()).ok()?.into_decision().map(|decision| decision.answers)
}

fn is(entry: &Entry, kind: Kind) -> bool {
    entry.address.as_ref().is_some_and(|address| address.kind == kind)
}
