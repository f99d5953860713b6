//! Finds sessions: through the cache's mappings, else in the log.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use bus::{Entry, Log};
use domain::{ConversationKey, Partition, Seq, SessionId, ThreadId, derive::Keying, session::Conversation};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::{
    StoredDecision,
    subjects::{self, Kind},
};
use store::Store;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    error::RouteError,
    timeline::{Extent, Record, Summary, Timeline, timeline},
};

/// Entries that one timeline shows at most.
const MOST_ENTRIES: usize = 5_000;
/// Decisions of a conversation that are looked through for its sessions.
const MOST_DECISIONS: usize = 20_000;
/// Conversations that a search by phone number looks into.
const MOST_CONVERSATIONS: usize = 20;
/// Partitions that a scan reads side by side.
const SIDE_BY_SIDE: usize = 8;
/// How long a page may take: people wait for it.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Lookup {
    log: Log,
    store: Store,
    keying: Keying,
    /// One scan over all conversations at a time: unknown ids must not load the broker.
    scan: Arc<Semaphore>,
}

struct Head {
    key: ConversationKey,
    state: Conversation,
}

/// What a UUID turned out to be.
pub(crate) enum Meant {
    Session,
    /// The Salesforce conversation of these, the newest first.
    Thread(Vec<Summary>),
}

impl Lookup {
    pub(crate) fn new(log: Log, store: Store, keying: Keying) -> Self {
        Self { log, store, keying, scan: Arc::new(Semaphore::new(1)) }
    }

    pub(crate) async fn summary(&self, session: SessionId) -> Result<Summary, RouteError> {
        patiently(async {
            let key = self.conversation_of(session).await?;
            let sessions = self.sessions_of(&key).await?;
            sessions.into_iter().find(|known| known.id == session).ok_or(RouteError::UnknownSession)
        })
        .await
    }

    pub(crate) async fn timeline(&self, session: SessionId) -> Result<Timeline, RouteError> {
        patiently(async {
            let key = self.conversation_of(session).await?;
            let extent = self.extent(&key, session).await?.ok_or(RouteError::UnknownSession)?;
            let through = extent.superseded_at.unwrap_or(Seq::MAX);
            let everything = vec![subjects::conversation(&key)];
            let mut entries =
                self.log.read(everything, extent.facts.start, through, MOST_ENTRIES + 1).await?;
            let truncated = entries.len() > MOST_ENTRIES;
            entries.truncate(MOST_ENTRIES);
            if let (Some(end), false) = (extent.superseded_at, truncated) {
                // Receipts come when the customer's phone is on again.
                let late = vec![
                    subjects::fact(&key, Kind::Status, ">"),
                    subjects::fact(&key, Kind::Send, ">"),
                    subjects::fact(&key, Kind::Undelivered, "*"),
                ];
                let room = MOST_ENTRIES - entries.len();
                entries.extend(self.log.read(late, end + 1, Seq::MAX, room).await?);
            }
            let records = entries.iter().filter_map(Record::of).collect();
            timeline(&key, session, &extent, records, truncated).ok_or(RouteError::UnknownSession)
        })
        .await
    }

    /// `phone`: digits, no plus. The newest session first.
    pub(crate) async fn by_phone(&self, phone: &str) -> Result<Vec<Summary>, RouteError> {
        patiently(async {
            let mut keys = self.conversations_of_phone(phone).await;
            if keys.is_empty() {
                let heads = self.scan(|state| state.customer.phone.as_deref() == Some(phone)).await?;
                keys = heads.into_iter().map(|head| head.key).collect();
            }
            let mut sessions = Vec::new();
            for key in keys.iter().rev().take(MOST_CONVERSATIONS) {
                sessions.extend(self.sessions_of(key).await?);
            }
            sessions.sort_by(|a, b| b.opened_at.cmp(&a.opened_at));
            Ok(sessions)
        })
        .await
    }

    /// A session's id, else a Salesforce conversation's. `followed`: where the board knows the latter.
    pub(crate) async fn by_id(
        &self,
        session: SessionId,
        followed: Option<ConversationKey>,
    ) -> Result<Meant, RouteError> {
        let thread = ThreadId(session.0);
        patiently(async {
            if let Some(key) = followed {
                return Ok(Meant::Thread(self.newest_first(&key).await?));
            }
            if self.mapped(session).await.is_some() {
                return Ok(Meant::Session);
            }
            let heads = self
                .scan(|state| {
                    state.thread == Some(thread) || state.session.as_ref().is_some_and(|of| of.id == session)
                })
                .await?;
            let head = heads.first().ok_or(RouteError::UnknownSession)?;
            if head.state.thread == Some(thread) {
                Ok(Meant::Thread(self.newest_first(&head.key).await?))
            } else {
                Ok(Meant::Session)
            }
        })
        .await
    }

    async fn newest_first(&self, key: &ConversationKey) -> Result<Vec<Summary>, RouteError> {
        let mut sessions = self.sessions_of(key).await?;
        sessions.reverse();
        Ok(sessions)
    }

    /// By the contact directory; empty when it does not know, or is away.
    async fn conversations_of_phone(&self, phone: &str) -> Vec<ConversationKey> {
        let found = async {
            match self.store.contact_of_alias(&self.keying, "phone", phone).await? {
                Some(contact) => self.store.conversations_of_contact(contact).await,
                None => Ok(Vec::new()),
            }
        };
        found.await.unwrap_or_else(|error| {
            tracing::warn!(error = runtime::error_chain(&error), "contact directory away: reading the log");
            Vec::new()
        })
    }

    pub(crate) async fn conversation_of(&self, session: SessionId) -> Result<ConversationKey, RouteError> {
        if let Some(key) = self.mapped(session).await {
            return Ok(key);
        }
        let heads = self.scan(|state| state.session.as_ref().is_some_and(|of| of.id == session)).await?;
        heads.first().map(|head| head.key).ok_or(RouteError::UnknownSession)
    }

    /// By the cache; none when it does not know, or is away.
    async fn mapped(&self, session: SessionId) -> Option<ConversationKey> {
        self.store.conversation_of_session(session).await.unwrap_or_else(|error| {
            tracing::warn!(error = runtime::error_chain(&error), "mapping away: reading the log");
            None
        })
    }

    /// The state of a conversation now.
    pub(crate) async fn state(&self, key: &ConversationKey) -> Result<Option<Conversation>, RouteError> {
        Ok(self.log.head(key).await?.as_ref().and_then(head).map(|head| head.state))
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn keying(&self) -> &Keying {
        &self.keying
    }

    /// Conversations within the log's horizon whose newest state is `wanted`.
    pub(crate) async fn conversations(
        &self,
        wanted: impl Fn(&Conversation) -> bool,
    ) -> Result<Vec<(ConversationKey, Conversation)>, RouteError> {
        Ok(self.scan(wanted).await?.into_iter().map(|head| (head.key, head.state)).collect())
    }

    /// The newest decision of every conversation, filtered.
    async fn scan(&self, wanted: impl Fn(&Conversation) -> bool) -> Result<Vec<Head>, RouteError> {
        let _one = self.scan.acquire().await.map_err(|_| RouteError::LogAway)?;
        let heads: Vec<Vec<Entry>> = futures::stream::iter(Partition::all())
            .map(|partition| self.log.heads(partition))
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        Ok(heads.iter().flatten().filter_map(head).filter(|head| wanted(&head.state)).collect())
    }

    async fn extent(&self, key: &ConversationKey, session: SessionId) -> Result<Option<Extent>, RouteError> {
        if let Some(of) = self.state(key).await?.and_then(|state| state.session)
            && of.id == session
        {
            return Ok(Some(Extent { facts: of.first..Seq::MAX, superseded_at: None }));
        }
        let decisions = self.decisions(key).await?;
        Ok(Extent::find(session, decisions.iter().map(|(seq, stored)| (*seq, stored))))
    }

    /// Every session of a conversation that the log still knows, oldest first, as it was left.
    pub(crate) async fn sessions_of(&self, key: &ConversationKey) -> Result<Vec<Summary>, RouteError> {
        let decisions = self.decisions(key).await?;
        let mut seen = BTreeSet::new();
        let mut sessions: Vec<Summary> = decisions
            .iter()
            .rev()
            .filter_map(|(_, stored)| {
                let session = stored.decision.state.session.as_ref()?;
                let current = seen.is_empty();
                seen.insert(session.id).then(|| Summary::of(key, &stored.decision.state, current))?
            })
            .collect();
        sessions.reverse();
        Ok(sessions)
    }

    async fn decisions(&self, key: &ConversationKey) -> Result<Vec<(Seq, StoredDecision)>, RouteError> {
        let entries = self.log.read(vec![subjects::decision(key)], 1, Seq::MAX, MOST_DECISIONS).await?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| Some((entry.seq, StoredDecision::decode(entry.payload).ok()?)))
            .collect())
    }
}

fn head(entry: &Entry) -> Option<Head> {
    let key = entry.address.as_ref()?.key;
    let stored = StoredDecision::decode(entry.payload.clone()).ok()?;
    Some(Head { key, state: stored.decision.state })
}

pub(crate) async fn patiently<T>(work: impl Future<Output = Result<T, RouteError>>) -> Result<T, RouteError> {
    timeout(PATIENCE, work).await.unwrap_or(Err(RouteError::LogAway))
}
