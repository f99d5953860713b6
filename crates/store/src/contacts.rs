//! The contact directory: one contact per person, found under any alias.

use domain::{ContactId, derive::Keying, message::Customer};
use redis::{AsyncCommands as _, Script};

use crate::{Doing as _, Error, KEPT, Store};

/// What the directory knows about a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub contact: ContactId,
    pub created: bool,
    /// Another alias named another contact. The strongest one (BSUID, then parent BSUID, then
    /// phone) won and took the alias over: phones are recycled, BSUIDs are not.
    pub conflict: bool,
}

/// KEYS: aliases, strongest first. ARGV: the proposed id, then seconds to keep.
/// Answers {id, created, conflict}.
const FIND_OR_CREATE: &str = r"
local found = false
local conflict = 0
for _, alias in ipairs(KEYS) do
  local known = redis.call('GET', alias)
  if known then
    if not found then found = known elseif known ~= found then conflict = 1 end
  end
end
local created = 0
if not found then found = ARGV[1]; created = 1 end
for _, alias in ipairs(KEYS) do redis.call('SET', alias, found, 'EX', ARGV[2]) end
return {found, created, conflict}
";

impl Store {
    /// Finds the contact under any of the customer's ids, or files the `proposed` one. Atomic: a
    /// thousand first messages at once make one contact.
    pub async fn find_or_create_contact(
        &self,
        keying: &Keying,
        customer: &Customer,
        proposed: ContactId,
    ) -> Result<Found, Error> {
        let (contact, created, conflict): (String, bool, bool) = self
            .contact_script(FIND_OR_CREATE, keying, customer, proposed)
            .await
            .doing("find or create a contact")?;
        let contact = contact.parse().map_err(|_| Error::Malformed("a contact"))?;
        Ok(Found { contact, created, conflict })
    }

    /// Files what is known for certain: the directory was lost, or the customer shows a new id.
    pub async fn restore_contact(
        &self,
        keying: &Keying,
        contact: ContactId,
        customer: &Customer,
    ) -> Result<(), Error> {
        let script =
            "for _, alias in ipairs(KEYS) do redis.call('SET', alias, ARGV[1], 'EX', ARGV[2]) end return 1";
        self.contact_script(script, keying, customer, contact).await.doing("restore a contact")
    }

    /// An e-mail once shared stays linked.
    pub async fn link_email(&self, keying: &Keying, contact: ContactId, email: &str) -> Result<(), Error> {
        let alias = self.alias(keying, "email", &email.trim().to_lowercase());
        self.connection()
            .set_ex(alias, contact.to_string(), KEPT.as_secs())
            .await
            .doing("link an e-mail address")
    }

    /// `kind`: `phone` (digits), `bsuid`, `parent` or `email`.
    pub async fn contact_of_alias(
        &self,
        keying: &Keying,
        kind: &str,
        value: &str,
    ) -> Result<Option<ContactId>, Error> {
        let found: Option<String> =
            self.connection().get(self.alias(keying, kind, value)).await.doing("look a contact up")?;
        found.map(|id| id.parse().map_err(|_| Error::Malformed("a contact"))).transpose()
    }

    fn alias(&self, keying: &Keying, kind: &str, value: &str) -> String {
        self.key("alias", keying.alias(kind, value))
    }

    async fn contact_script<T: redis::FromRedisValue>(
        &self,
        script: &str,
        keying: &Keying,
        customer: &Customer,
        contact: ContactId,
    ) -> redis::RedisResult<T> {
        let script = Script::new(script);
        let mut call = script.prepare_invoke();
        let ids = [
            ("bsuid", customer.bsuid.as_deref()),
            ("parent", customer.parent_bsuid.as_deref()),
            ("phone", customer.phone.as_deref()),
        ];
        for (kind, value) in ids {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                call.key(self.alias(keying, kind, value));
            }
        }
        call.arg(contact.to_string()).arg(KEPT.as_secs());
        call.invoke_async(&mut self.connection()).await
    }
}
