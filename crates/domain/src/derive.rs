//! Ids derived from their cause. Nothing here is random: the same cause gives the same id on
//! every machine and every retry, which is what makes an effect idempotent.

use aws_lc_rs::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};
use uuid::{Builder, Uuid};

use crate::{ContactId, ConversationKey, CustomerId, PhoneNumberId, Wamid};

/// A UUID in version-4 form (Salesforce refuses any other, `miaw-api.md` §3.1) that is a digest
/// of `kind` and `parts`. Parts are length-prefixed: `["ab", "c"]` and `["a", "bc"]` differ.
pub fn uuid(kind: &str, parts: &[&[u8]]) -> Uuid {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in std::iter::once(&kind.as_bytes()).chain(parts) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

/// The deployment's secret for everything that must not be linkable to a person: conversation
/// keys, digests of wamids in subjects, contact ids. Every service needs the same one; it can
/// never change while a log exists.
#[derive(Clone)]
pub struct Keying(hmac::Key);

impl Keying {
    pub fn new(secret: &SecretString) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()))
    }

    pub fn conversation(&self, number: &PhoneNumberId, customer: &CustomerId) -> ConversationKey {
        ConversationKey::from_bytes(self.digest("conversation", &[number.as_str(), customer.as_str()]))
    }

    /// What stands for a wamid in a subject: 32 hexadecimal digits.
    pub fn wamid(&self, wamid: &Wamid) -> String {
        hex::encode(self.digest("wamid", &[wamid.as_str()]))
    }

    /// The id that a contact gets when it is first met under this identity.
    pub fn contact(&self, customer: &CustomerId) -> ContactId {
        ContactId(uuid("contact", &[&self.digest("contact", &[customer.as_str()])]))
    }

    /// What stands for one of a contact's aliases (phone, e-mail …) in a cache key.
    pub fn alias(&self, kind: &str, value: &str) -> String {
        hex::encode(self.digest("alias", &[kind, value]))
    }

    /// A digest of any other event that needs an id of its own.
    pub fn event(&self, bytes: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"event\0");
        context.update(bytes);
        hex::encode(&context.sign().as_ref()[..16])
    }

    /// Proof that we said these bytes, for one purpose only.
    pub(crate) fn sign(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(&self.signing(purpose), bytes).as_ref());
        signature
    }

    /// Whether it is such a proof; compared in constant time.
    pub(crate) fn signed(&self, purpose: &str, bytes: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.signing(purpose), bytes, signature).is_ok()
    }

    fn signing(&self, purpose: &str) -> hmac::Key {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"sign\0");
        context.update(purpose.as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref())
    }

    fn digest(&self, label: &str, parts: &[&str]) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(label.as_bytes());
        for part in parts {
            context.update(&[0]);
            context.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.sign().as_ref()[..16]);
        bytes
    }
}

impl std::fmt::Debug for Keying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keying(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_uuids_are_stable_and_in_version_4_form() {
        let id = uuid("thread", &[b"a", b"b"]);
        assert_eq!(id, uuid("thread", &[b"a", b"b"]));
        assert_ne!(id, uuid("thread", &[b"ab", b""]));
        assert_eq!(id.get_version_num(), 4);
        assert!(matches!(id.hyphenated().to_string().as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }

    #[test]
    fn the_same_customer_on_two_numbers_is_two_conversations_and_one_contact() {
        let keying = Keying::new(&SecretString::from("test secret"));
        let ana = CustomerId::new("US.1");
        let [one, two] = ["1", "2"].map(|n| keying.conversation(&PhoneNumberId::new(n), &ana));
        assert_ne!(one, two);
        assert_eq!(keying.contact(&ana), keying.contact(&ana));
        assert!(!format!("{ana:?}").contains("US.1"));
    }
}
