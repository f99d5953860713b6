//! Salesforce access tokens and the event stream's cursors: both outlive a restart, so that an org
//! is not asked for thousands of tokens at once and no event is missed.

use domain::{ContactId, IntegrationId, Millis};
use redis::AsyncCommands as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{Doing as _, Error, KEPT, Sealed, Store};

/// A token as it is kept, encrypted.
#[derive(Debug, Clone)]
pub struct StoredToken {
    pub token: SecretString,
    pub last_event_id: String,
    pub expires_at: Millis,
}

#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    token: &'a str,
    last_event_id: &'a str,
    expires_at: Millis,
}

impl Store {
    pub async fn load_token(
        &self,
        integration: &IntegrationId,
        contact: ContactId,
    ) -> Result<Option<StoredToken>, Error> {
        let place = self.token_key(integration, contact);
        let sealed: Option<String> = self.connection().get(&place).await.doing("load a token")?;
        let Some(sealed) = sealed else { return Ok(None) };
        // Sealed under a key that is gone, or damaged: as good as none.
        let Some(plain) = self.seal.open(&place, &Sealed(sealed)) else { return Ok(None) };
        let plain: Plain<'_> = serde_json::from_slice(&plain).map_err(|_| Error::Malformed("a token"))?;
        Ok(Some(StoredToken {
            token: plain.token.into(),
            last_event_id: plain.last_event_id.into(),
            expires_at: plain.expires_at,
        }))
    }

    /// Kept until it expires; `now` tells how long that is.
    pub async fn save_token(
        &self,
        integration: &IntegrationId,
        contact: ContactId,
        token: &StoredToken,
        now: Millis,
    ) -> Result<(), Error> {
        let place = self.token_key(integration, contact);
        let seconds = u64::try_from((token.expires_at - now) / 1000).unwrap_or(0).clamp(1, KEPT.as_secs());
        let plain = Plain {
            token: token.token.expose_secret(),
            last_event_id: &token.last_event_id,
            expires_at: token.expires_at,
        };
        let plain = serde_json::to_vec(&plain).map_err(|_| Error::Malformed("a token"))?;
        let Some(Sealed(sealed)) = self.seal.seal(&place, &plain) else {
            return Err(Error::Malformed("a token"));
        };
        self.connection().set_ex(place, sealed, seconds).await.doing("save a token")
    }

    /// The last event of this user's stream whose entry is in the log. It may lag, never lead.
    pub async fn load_cursor(
        &self,
        integration: &IntegrationId,
        contact: ContactId,
    ) -> Result<Option<String>, Error> {
        self.connection().get(self.cursor_key(integration, contact)).await.doing("load a cursor")
    }

    pub async fn save_cursor(
        &self,
        integration: &IntegrationId,
        contact: ContactId,
        event_id: &str,
    ) -> Result<(), Error> {
        let place = self.cursor_key(integration, contact);
        self.connection().set_ex(place, event_id, KEPT.as_secs()).await.doing("save a cursor")
    }

    /// Many cursors in one round trip.
    pub async fn save_cursors(
        &self,
        integration: &IntegrationId,
        cursors: &[(ContactId, String)],
    ) -> Result<(), Error> {
        if cursors.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        for (contact, event_id) in cursors {
            pipe.set_ex(self.cursor_key(integration, *contact), event_id, KEPT.as_secs()).ignore();
        }
        pipe.query_async(&mut self.connection()).await.doing("save cursors")
    }

    pub(crate) fn token_key(&self, integration: &IntegrationId, contact: ContactId) -> String {
        self.key("token", format_args!("{}:{contact}", integration.as_str()))
    }

    pub(crate) fn cursor_key(&self, integration: &IntegrationId, contact: ContactId) -> String {
        self.key("cursor", format_args!("{}:{contact}", integration.as_str()))
    }
}
