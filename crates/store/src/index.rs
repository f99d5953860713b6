//! From what people look for to the conversation: the session-to-thread mapping and its relatives.

use domain::{ContactId, ConversationKey, SessionId, ThreadId};
use redis::AsyncCommands as _;

use crate::{Doing as _, Error, KEPT, Store};

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
        let mut connection = self.connection();
        let file_session = async { pipe.query_async(&mut connection).await.doing("index a session") };
        let file_contact = async {
            let Some(contact) = contact else { return Ok(()) };
            let mut call = self.index_script();
            call.arg(contact.to_string()).arg(key.to_string());
            call.invoke_async(&mut self.connection()).await.doing("index a contact's conversation")
        };
        tokio::try_join!(file_session, file_contact).map(|((), ())| ())
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

    /// Of the person, under whatever ids they were met. The newest last.
    pub async fn conversations_of_contact(&self, contact: ContactId) -> Result<Vec<ConversationKey>, Error> {
        let mut call = self.conversations_script();
        call.arg(contact.to_string());
        let found: Vec<String> =
            call.invoke_async(&mut self.connection()).await.doing("look a contact's conversations up")?;
        found.iter().map(|key| key.parse().map_err(|_| Error::Malformed("a conversation key"))).collect()
    }

    async fn conversation_at(&self, place: String) -> Result<Option<ConversationKey>, Error> {
        let found: Option<String> = self.connection().get(place).await.doing("look a conversation up")?;
        found.map(|key| key.parse().map_err(|_| Error::Malformed("a conversation key"))).transpose()
    }
}
