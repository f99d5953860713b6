//! From what people look for to the conversation: the session-to-thread mapping and its relatives.

use domain::{ContactId, ConversationKey, SessionId, ThreadId};
use redis::AsyncCommands as _;

use crate::{Doing as _, Error, KEPT, Store};

/// Conversations that a contact's set keeps: more numbers than a business has.
const CONVERSATIONS_PER_CONTACT: isize = 100;

impl Store {
    /// Files a session under its id, its Salesforce conversation and its contact.
    pub async fn index_session(
        &self,
        key: &ConversationKey,
        session: SessionId,
        thread: Option<ThreadId>,
        contact: Option<ContactId>,
    ) -> Result<(), Error> {
        let kept = KEPT.as_secs();
        let mut pipe = redis::pipe();
        pipe.set_ex(self.key("session", session), key.to_string(), kept).ignore();
        if let Some(thread) = thread {
            pipe.set_ex(self.key("thread", thread), key.to_string(), kept).ignore();
        }
        if let Some(contact) = contact {
            let set = self.key("contact", contact);
            pipe.zadd(&set, key.to_string(), seconds_now())
                .ignore()
                .zremrangebyrank(&set, 0, -CONVERSATIONS_PER_CONTACT - 1)
                .ignore()
                .expire(&set, i64::try_from(kept).unwrap_or(i64::MAX))
                .ignore();
        }
        pipe.query_async(&mut self.connection()).await.doing("index a session")
    }

    pub async fn conversation_of_session(
        &self,
        session: SessionId,
    ) -> Result<Option<ConversationKey>, Error> {
        self.conversation_at(self.key("session", session)).await
    }

    pub async fn conversation_of_thread(&self, thread: ThreadId) -> Result<Option<ConversationKey>, Error> {
        self.conversation_at(self.key("thread", thread)).await
    }

    /// The newest last.
    pub async fn conversations_of_contact(&self, contact: ContactId) -> Result<Vec<ConversationKey>, Error> {
        let found: Vec<String> = self
            .connection()
            .zrange(self.key("contact", contact), 0, -1)
            .await
            .doing("look a contact's conversations up")?;
        found.iter().map(|key| key.parse().map_err(|_| Error::Malformed("a conversation key"))).collect()
    }

    async fn conversation_at(&self, place: String) -> Result<Option<ConversationKey>, Error> {
        let found: Option<String> = self.connection().get(place).await.doing("look a conversation up")?;
        found.map(|key| key.parse().map_err(|_| Error::Malformed("a conversation key"))).transpose()
    }
}

/// Orders a set; nothing depends on its being right.
fn seconds_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
