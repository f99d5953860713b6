//! The contact directory: one contact per person, found under any alias.
//!
//! Aliases are keyed digests and e-mail addresses are encrypted. Everything of a contact stays as
//! long as they are met now and then ([`KEPT`](crate::KEPT)). Every call is one script: atomic.
//!
//! A merged contact's id goes on meaning the person: every call here follows it to the contact that
//! was kept. Salesforce knows people by the id that their conversation was opened with, though, so a
//! live session keeps the id it has.

mod erase;
mod scripts;

use domain::{ContactId, Millis, derive, derive::Keying, message::Customer};
use scripts::PeopleScript;

use crate::{Doing as _, Error, Sealed, Store};

/// A phone number that had more owners than this must do with the last one's id.
const OWNERS: u8 = 4;

/// What the directory knows about a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub contact: ContactId,
    pub created: bool,
    /// Another alias named another contact. The strongest one (BSUID, then parent BSUID, then
    /// phone) won and took the alias over: phones are recycled, BSUIDs are not
    /// (`whatsapp-cloud-api.md` §4.8). To be kept on record: nothing is merged.
    pub conflict: bool,
    /// Who lost an alias by that; the first where there are several.
    pub displaced: Option<ContactId>,
}

/// Under whom something was filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filed {
    /// After merges.
    pub contact: ContactId,
    /// Who had it until now.
    pub displaced: Option<ContactId>,
}

/// What a changed identity did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// After merges.
    pub contact: ContactId,
    /// One of the user ids had been met as a contact of its own: that is this person.
    pub merged: Option<ContactId>,
    /// Who had the new phone number: a former owner, or this person before the change was told.
    pub displaced: Option<ContactId>,
}

/// A contact's record.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// After merges.
    pub contact: ContactId,
    pub first_seen: Option<Millis>,
    /// As they were shared, sorted.
    pub emails: Vec<String>,
}

/// Personal data: never printed.
impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("contact", &self.contact).finish_non_exhaustive()
    }
}

impl Store {
    /// Finds the contact under any of the customer's ids, or files the `proposed` one; ids that are
    /// new become aliases. A thousand first messages at once make one contact.
    ///
    /// A phone number that somebody gave up ([`Self::alias_moved`]) does not find them: who writes
    /// from it is a new person.
    pub async fn find_or_create_contact(
        &self,
        keying: &Keying,
        customer: &Customer,
        proposed: ContactId,
    ) -> Result<Found, Error> {
        let mut call = scripts::FIND.begin(self);
        call.arg(OWNERS).arg(proposed.to_string());
        for owner in 1..OWNERS {
            let next = derive::uuid("contact, next owner", &[proposed.0.as_bytes(), &[owner]]);
            call.arg(ContactId(next).to_string());
        }
        call.arg(ids(keying, customer));
        let (contact, created, displaced): (String, bool, String) =
            call.invoke_async(&mut self.connection()).await.doing("find or create a contact")?;
        let displaced = somebody(&displaced)?;
        Ok(Found { contact: known(&contact)?, created, conflict: displaced.is_some(), displaced })
    }

    /// Files what is known for certain: the directory was lost, or the customer shows a new id. A
    /// phone number that this contact gave up stays given up.
    pub async fn restore_contact(
        &self,
        keying: &Keying,
        contact: ContactId,
        customer: &Customer,
    ) -> Result<Filed, Error> {
        self.file(contact, ids(keying, customer), "restore a contact").await
    }

    /// Another number of the same person: WhatsApp answers with a `wa_id` that differs from what was
    /// dialled (`whatsapp-cloud-api.md` §4.1), or the customer shared their own (§4.6). Only digits
    /// count.
    pub async fn link_phone(&self, keying: &Keying, contact: ContactId, phone: &str) -> Result<Filed, Error> {
        self.file(contact, digest(keying, "phone", phone).into_iter().collect(), "link a phone number").await
    }

    /// An e-mail address once shared stays linked, through merges too; the 32 newest of a person.
    /// When two persons share one, the address finds the last; both have it on record.
    pub async fn link_email(&self, keying: &Keying, contact: ContactId, email: &str) -> Result<Filed, Error> {
        let Some(digest) = digest(keying, "email", email) else {
            return self.file(contact, Vec::new(), "link an e-mail address").await;
        };
        let sealed = self.seal.seal(&self.email_place(&digest), email.trim().as_bytes());
        let Some(Sealed(sealed)) = sealed else { return Err(Error::Malformed("an e-mail address")) };
        let mut call = scripts::EMAIL.begin(self);
        call.arg(contact.to_string()).arg(digest).arg(sealed);
        let filed: (String, String) =
            call.invoke_async(&mut self.connection()).await.doing("link an e-mail address")?;
        Filed::of(&filed)
    }

    /// The person changed their number or user id (`user_changed_number`, `user_id_update`): same
    /// contact. `before`: ids that no longer hold; those that stay are in both.
    ///
    /// A phone number given up still finds the contact, until somebody else writes from it: phones
    /// are recycled. User ids are not, so old ones stay, and whoever was filed under one of these is
    /// the same person: merged, and told. The new phone number moves here.
    pub async fn alias_moved(
        &self,
        keying: &Keying,
        contact: ContactId,
        before: &Customer,
        after: &Customer,
    ) -> Result<Moved, Error> {
        let phone = |of: &Customer| of.phone.as_deref().and_then(|phone| digest(keying, "phone", phone));
        let (was, is) = (phone(before), phone(after));
        let gone: Vec<String> = was.filter(|was| Some(was) != is.as_ref()).into_iter().collect();
        let users: Vec<String> = [before, after].into_iter().flat_map(|of| user_ids(keying, of)).collect();
        let phones: Vec<String> = is.into_iter().collect();
        let mut call = scripts::MOVE.begin(self);
        call.arg(contact.to_string());
        for list in [gone, users, phones] {
            call.arg(list.len()).arg(list);
        }
        let (contact, merged, displaced): (String, String, String) =
            call.invoke_async(&mut self.connection()).await.doing("move a contact's aliases")?;
        Ok(Moved { contact: known(&contact)?, merged: somebody(&merged)?, displaced: somebody(&displaced)? })
    }

    /// Two contacts are one person. Every alias, e-mail address and conversation of `drop` becomes
    /// `keep`'s; who refers to `drop` finds `keep`. Answers the contact that both are now.
    pub async fn merge_contacts(&self, keep: ContactId, drop: ContactId) -> Result<ContactId, Error> {
        let mut call = scripts::MERGE.begin(self);
        call.arg(keep.to_string()).arg(drop.to_string());
        let contact: String = call.invoke_async(&mut self.connection()).await.doing("merge two contacts")?;
        known(&contact)
    }

    /// `kind`: `phone`, `bsuid`, `parent` or `email`. Finds a former owner too, of a phone number
    /// that nobody else has written from.
    pub async fn contact_of_alias(
        &self,
        keying: &Keying,
        kind: &str,
        value: &str,
    ) -> Result<Option<ContactId>, Error> {
        let Some(digest) = digest(keying, kind, value) else { return Ok(None) };
        let mut call = scripts::LOOK_UP.begin(self);
        call.arg(digest);
        let found: Option<String> =
            call.invoke_async(&mut self.connection()).await.doing("look a contact up")?;
        found.as_deref().map(known).transpose()
    }

    /// The record of whom `contact` is today.
    pub async fn person(&self, contact: ContactId) -> Result<Person, Error> {
        let mut call = scripts::PERSON.begin(self);
        call.arg(contact.to_string());
        let (contact, first_seen, sealed): (String, String, Vec<String>) =
            call.invoke_async(&mut self.connection()).await.doing("read a contact")?;
        // Sealed under a key that is gone, or damaged: as good as none.
        let open = |pair: &[String]| {
            let [digest, sealed] = pair else { return None };
            let plain = self.seal.open(&self.email_place(digest), &Sealed(sealed.clone()))?;
            String::from_utf8(plain).ok()
        };
        let mut emails: Vec<String> = sealed.chunks(2).filter_map(open).collect();
        emails.sort();
        let first_seen = first_seen.parse().ok().filter(|at| *at != 0);
        Ok(Person { contact: known(&contact)?, first_seen, emails })
    }

    async fn file(
        &self,
        contact: ContactId,
        digests: Vec<String>,
        doing: &'static str,
    ) -> Result<Filed, Error> {
        let mut call = scripts::FILE.begin(self);
        call.arg(contact.to_string()).arg(digests);
        Filed::of(&call.invoke_async(&mut self.connection()).await.doing(doing)?)
    }

    /// What an encrypted address is bound to: not to the contact, so that it survives merges.
    fn email_place(&self, digest: &str) -> String {
        self.key("email", digest)
    }

    pub(crate) fn index_script(&self) -> redis::ScriptInvocation<'static> {
        scripts::INDEX.begin(self)
    }

    pub(crate) fn conversations_script(&self) -> redis::ScriptInvocation<'static> {
        scripts::CONVERSATIONS_OF.begin(self)
    }
}

impl Filed {
    fn of((contact, displaced): &(String, String)) -> Result<Self, Error> {
        Ok(Self { contact: known(contact)?, displaced: somebody(displaced)? })
    }
}

/// The customer's ids as digests, strongest first. A hidden phone is none.
fn ids(keying: &Keying, customer: &Customer) -> Vec<String> {
    let mut all = user_ids(keying, customer);
    all.extend(customer.phone.as_deref().and_then(|phone| digest(keying, "phone", phone)));
    all
}

fn user_ids(keying: &Keying, customer: &Customer) -> Vec<String> {
    [("bsuid", &customer.bsuid), ("parent", &customer.parent_bsuid)]
        .into_iter()
        .filter_map(|(kind, value)| digest(keying, kind, value.as_deref()?))
        .collect()
}

/// `None`: there is nothing in it.
fn digest(keying: &Keying, kind: &str, value: &str) -> Option<String> {
    let value = match kind {
        "phone" => value.chars().filter(char::is_ascii_digit).collect(),
        "email" => value.trim().to_lowercase(),
        _ => value.to_owned(),
    };
    (!value.is_empty()).then(|| keying.alias(kind, &value))
}

fn known(id: &str) -> Result<ContactId, Error> {
    id.parse().map_err(|_| Error::Malformed("a contact"))
}

fn somebody(id: &str) -> Result<Option<ContactId>, Error> {
    if id.is_empty() { Ok(None) } else { known(id).map(Some) }
}
