//! Forgetting a person.

use domain::{
    ContactId, ConversationKey, IntegrationId, SessionId, ThreadId, derive::Keying, message::Customer,
};
use redis::AsyncCommands as _;

use super::{digest, ids, known, scripts, scripts::PeopleScript as _};
use crate::{Doing as _, Error, Store};

impl Store {
    /// Whom each of these means today, in order.
    pub async fn present_contacts(&self, contacts: &[ContactId]) -> Result<Vec<ContactId>, Error> {
        if contacts.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = scripts::RESOLVE.begin(self);
        for contact in contacts {
            call.arg(contact.to_string());
        }
        let found: Vec<String> = call.invoke_async(&mut self.connection()).await.doing("look contacts up")?;
        found.iter().map(|id| known(id)).collect()
    }

    /// Forgets everything of a person but their conversations' copies
    /// ([`Self::erase_conversation`]). `known_as`: under what else they are known, for aliases that
    /// fell out of the record. Answers how many keys that were.
    ///
    /// An id that was merged into this one goes on meaning it until it expires.
    pub async fn erase_contact(
        &self,
        keying: &Keying,
        contact: ContactId,
        known_as: &[Customer],
        emails: &[String],
    ) -> Result<u64, Error> {
        let mut call = scripts::ERASE.begin(self);
        call.arg(contact.to_string());
        for customer in known_as {
            call.arg(ids(keying, customer));
        }
        for email in emails {
            call.arg(digest(keying, "email", email).into_iter().collect::<Vec<_>>());
        }
        call.invoke_async(&mut self.connection()).await.doing("forget a contact")
    }

    /// Forgets the copies of a conversation: its state, and what leads to it.
    pub async fn erase_conversation(
        &self,
        key: &ConversationKey,
        sessions: &[SessionId],
        threads: &[ThreadId],
    ) -> Result<(), Error> {
        let mut places = vec![self.key("state", key)];
        places.extend(sessions.iter().map(|session| self.key("session", session)));
        places.extend(threads.iter().map(|thread| self.key("thread", thread)));
        self.connection().del(places).await.doing("forget a conversation")
    }

    /// Forgets the token and the cursor by which a person's Salesforce conversations were followed.
    pub async fn erase_token(&self, integration: &IntegrationId, contact: ContactId) -> Result<(), Error> {
        let places = [self.token_key(integration, contact), self.cursor_key(integration, contact)];
        self.connection().del(&places).await.doing("forget a token")
    }
}
