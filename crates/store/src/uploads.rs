//! Files that were given to WhatsApp: the same one is not uploaded for every recipient.

use std::time::Duration;

use domain::PhoneNumberId;
use redis::AsyncCommands as _;

use crate::{Doing as _, Error, Store};

impl Store {
    /// WhatsApp's id of a kept file that was uploaded for this number, while it may be used.
    pub async fn uploaded(&self, number: &PhoneNumberId, object: &str) -> Result<Option<String>, Error> {
        self.connection().get(self.upload_key(number, object)).await.doing("look for an upload")
    }

    pub async fn remember_upload(
        &self,
        number: &PhoneNumberId,
        object: &str,
        id: &str,
        usable: Duration,
    ) -> Result<(), Error> {
        let place = self.upload_key(number, object);
        self.connection().set_ex(place, id, usable.as_secs().max(1)).await.doing("remember an upload")
    }

    fn upload_key(&self, number: &PhoneNumberId, object: &str) -> String {
        self.key("upload", format_args!("{}:{object}", number.as_str()))
    }
}
