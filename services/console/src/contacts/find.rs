//! Finds people: by the directory, the board and the log.
//!
//! The directory knows which aliases and conversations are one person's, as digests; what they are
//! called stands in the states of their conversations.

use std::collections::BTreeSet;

use domain::{
    ContactId, ConversationKey, CustomerId, Millis, PhoneNumberId,
    message::Customer,
    outreach::as_dialled,
    session::{Conversation, Owner},
};
use proto::StoredDecision;

use super::{Contact, Listed};
use crate::{
    Console,
    api::{phone, session_id},
    error::RouteError,
    lookup::patiently,
};

/// Of one person.
const MOST_CONVERSATIONS: usize = 100;
/// Of a search.
pub(super) const MOST_FOUND: usize = 50;

/// A person, with everything that is known of them.
pub(super) struct Person {
    pub(super) contact: ContactId,
    /// Under what ids the conversations name them.
    pub(super) ids: BTreeSet<ContactId>,
    pub(super) first_seen: Option<Millis>,
    pub(super) emails: Vec<String>,
    pub(super) conversations: Vec<(ConversationKey, Option<Conversation>)>,
}

impl Person {
    pub(super) fn states(&self) -> impl Iterator<Item = (&ConversationKey, &Conversation)> {
        self.conversations.iter().filter_map(|(key, state)| Some((key, state.as_ref()?)))
    }

    pub(super) fn customers(&self) -> Vec<Customer> {
        self.states().map(|(_, state)| state.customer.clone()).collect()
    }

    /// The first conversation that people have, or are about to.
    pub(super) fn with_people(&self) -> impl Iterator<Item = (&ConversationKey, &Conversation)> {
        self.states().filter(|(_, state)| match &state.owner {
            Owner::Assistant => false,
            Owner::Opening(_) | Owner::Waiting(_) | Owner::Live(_) | Owner::Inactive(_) => true,
        })
    }
}

/// How far a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What the directory and the board know; the log where they know nothing.
    Quick,
    /// Everything: the log and its history are read, and nothing may be away.
    Whole,
}

pub(super) async fn person(console: &Console, asked: ContactId, depth: Depth) -> Result<Person, RouteError> {
    let store = console.lookup.store();
    let record = match store.person(asked).await {
        Ok(record) => record,
        Err(error) if depth == Depth::Quick => {
            tracing::warn!(error = runtime::error_chain(&error), "contact directory away: reading the log");
            store::Person { contact: asked, first_seen: None, emails: Vec::new() }
        }
        Err(error) => return Err(away(error)),
    };
    let contact = record.contact;
    let indexed = match store.conversations_of_contact(contact).await {
        Ok(keys) => keys,
        Err(_) if depth == Depth::Quick => Vec::new(),
        Err(error) => return Err(away(error)),
    };
    let mut ids = BTreeSet::from([asked, contact]);
    let both: Vec<ContactId> = ids.iter().copied().collect();
    let mut keys: BTreeSet<ConversationKey> = indexed.into_iter().collect();
    keys.extend(console.board.read(|rows| rows.of_contacts(&both)));
    let mut known = Vec::new();
    let most = if depth == Depth::Whole { usize::MAX } else { MOST_CONVERSATIONS };
    for key in keys.iter().take(most) {
        known.push((*key, state(console, key).await?));
    }
    ids.extend(named(console, &known, contact).await);
    // Of a group, the customer is whoever wrote last: the group is not theirs.
    let alone = known.iter().filter_map(|(_, state)| state.as_ref()).filter(|state| state.group.is_none());
    let bsuids: BTreeSet<String> = alone.filter_map(|state| state.customer.bsuid.clone()).collect();
    let is_theirs = |state: &Conversation| {
        state.contact.is_some_and(|contact| ids.contains(&contact))
            || state.group.is_none()
                && state.customer.bsuid.as_ref().is_some_and(|bsuid| bsuids.contains(bsuid))
    };
    let mut more = Vec::new();
    if depth == Depth::Whole || known.iter().all(|(_, state)| state.is_none()) {
        more.extend(console.lookup.conversations(is_theirs).await?);
    }
    if depth == Depth::Whole {
        let idle = |entry: bus::Entry| {
            let key = entry.address?.key;
            let state = StoredDecision::decode(entry.payload).ok()?.decision.state;
            is_theirs(&state).then_some((key, state))
        };
        let mut found = Vec::new();
        console.lookup.log().history_heads(|entry| found.extend(idle(entry))).await?;
        more.extend(found);
    }
    for (key, state) in more {
        if keys.insert(key) {
            known.push((key, Some(state)));
        }
    }
    // What the business sent on its own went to the conversation of the phone number.
    for key in by_phone(console, &known) {
        if keys.contains(&key) {
            continue;
        }
        let Some(state) = state(console, &key).await? else { continue };
        if state.contact.is_none_or(|contact| ids.contains(&contact)) {
            keys.insert(key);
            known.push((key, Some(state)));
        }
    }
    let unheard = record.first_seen.is_none() && record.emails.is_empty();
    if unheard && known.is_empty() {
        return Err(RouteError::UnknownContact);
    }
    known.sort_by_key(|(key, state)| {
        (std::cmp::Reverse(state.as_ref().map_or(0, |state| state.customer_wrote_at)), *key)
    });
    Ok(Person { contact, ids, first_seen: record.first_seen, emails: record.emails, conversations: known })
}

/// Ids by which these conversations name the contact.
async fn named(
    console: &Console,
    known: &[(ConversationKey, Option<Conversation>)],
    contact: ContactId,
) -> Vec<ContactId> {
    let named: Vec<ContactId> = known.iter().filter_map(|(_, state)| state.as_ref()?.contact).collect();
    // Without the directory, nobody was merged.
    let present = console.lookup.store().present_contacts(&named).await.unwrap_or_else(|_| named.clone());
    named.into_iter().zip(present).filter(|(_, means)| *means == contact).map(|(id, _)| id).collect()
}

fn by_phone(
    console: &Console,
    known: &[(ConversationKey, Option<Conversation>)],
) -> BTreeSet<ConversationKey> {
    let states =
        || known.iter().filter_map(|(_, state)| state.as_ref()).filter(|state| state.group.is_none());
    let mut numbers: BTreeSet<String> = states().map(|state| state.number.as_str().to_owned()).collect();
    numbers.extend(console.board.read(|rows| rows.numbers()).iter().map(|n| n.as_str().to_owned()));
    if let Some(settings) = console.checks.settings() {
        numbers.extend(settings.channels.iter().map(|channel| channel.phone_number_id.as_str().to_owned()));
    }
    let phones: BTreeSet<String> =
        states().filter_map(|state| state.customer.phone.as_deref()).flat_map(as_dialled).collect();
    let keying = console.lookup.keying();
    let of = |number: &String, phone: &String| {
        keying.conversation(&PhoneNumberId::new(number.as_str()), &CustomerId::new(phone.as_str()))
    };
    numbers.iter().flat_map(|number| phones.iter().map(move |phone| of(number, phone))).collect()
}

async fn state(console: &Console, key: &ConversationKey) -> Result<Option<Conversation>, RouteError> {
    console.lookup.state(key).await
}

pub(super) fn away(error: store::Error) -> RouteError {
    tracing::warn!(error = runtime::error_chain(&error), "the contact directory does not answer");
    RouteError::DirectoryAway
}

/// What a search found.
pub(super) enum Hits {
    One(ContactId),
    Several(Vec<Listed>),
}

/// `wanted`: an id (of a contact or a session), an e-mail address, a user id (BSUID, parent BSUID), a
/// phone number or its beginning, or the beginning of a name.
pub(super) async fn search(console: &Console, wanted: &str) -> Result<Hits, RouteError> {
    let wanted = wanted.trim();
    if wanted.is_empty() || wanted.len() > 254 || wanted.chars().any(char::is_control) {
        return Err(RouteError::MalformedSearch);
    }
    if let Ok(id) = wanted.parse::<ContactId>() {
        return Ok(Hits::One(by_id(console, id).await?));
    }
    if wanted.contains('@') {
        return match alias(console, "email", wanted).await? {
            Some(contact) => Ok(Hits::One(contact)),
            None => Ok(Hits::Several(Vec::new())),
        };
    }
    if is_user_id(wanted) {
        for kind in ["bsuid", "parent"] {
            if let Some(contact) = alias(console, kind, wanted).await.unwrap_or_default() {
                return Ok(Hits::One(contact));
            }
        }
        let is_theirs = |state: &Conversation| {
            let customer = &state.customer;
            [&customer.bsuid, &customer.parent_bsuid].into_iter().flatten().any(|id| id == wanted)
        };
        return several(console, is_theirs).await;
    }
    let digits: String = wanted.chars().filter(char::is_ascii_digit).collect();
    let is_number = wanted.chars().all(|c| c.is_ascii_digit() || " +-.()/".contains(c));
    if is_number && digits.len() >= 3 {
        return by_number(console, wanted, &digits).await;
    }
    if wanted.chars().filter(|c| c.is_alphabetic()).count() >= 2 {
        let rows = console.board.read(|rows| rows.named(wanted, MOST_FOUND));
        return Ok(Hits::Several(Listed::of(console, &rows).await));
    }
    Err(RouteError::MalformedSearch)
}

async fn by_id(console: &Console, id: ContactId) -> Result<ContactId, RouteError> {
    let contact = patiently(person(console, id, Depth::Quick)).await;
    match contact {
        Ok(person) => Ok(person.contact),
        Err(RouteError::UnknownContact) => {
            let session = console.lookup.summary(session_id(&id.to_string())?).await;
            let contact = session.ok().and_then(|session| session.contact?.parse().ok());
            contact.ok_or(RouteError::UnknownContact)
        }
        Err(error) => Err(error),
    }
}

async fn by_number(console: &Console, wanted: &str, digits: &str) -> Result<Hits, RouteError> {
    let Ok(whole) = phone(wanted) else {
        let rows = console.board.read(|rows| rows.phoned(digits, MOST_FOUND));
        return Ok(Hits::Several(Listed::of(console, &rows).await));
    };
    if let Some(contact) = alias(console, "phone", &whole).await.unwrap_or_default() {
        return Ok(Hits::One(contact));
    }
    let rows = console.board.read(|rows| rows.phoned(&whole, MOST_FOUND));
    if !rows.is_empty() {
        return Ok(Hits::Several(Listed::of(console, &rows).await));
    }
    several(console, |state| state.customer.phone.as_deref() == Some(whole.as_str())).await
}

/// By the log.
async fn several(console: &Console, is_theirs: impl Fn(&Conversation) -> bool) -> Result<Hits, RouteError> {
    let mut found = patiently(console.lookup.conversations(is_theirs)).await?;
    found.truncate(MOST_FOUND);
    let listed: Vec<Listed> = found.iter().filter_map(|(_, state)| Listed::of_state(state)).collect();
    Ok(Hits::Several(Listed::once(listed)))
}

async fn alias(console: &Console, kind: &str, value: &str) -> Result<Option<ContactId>, RouteError> {
    console.lookup.store().contact_of_alias(console.lookup.keying(), kind, value).await.map_err(away)
}

/// `US.13491208655302741918`, `US.ENT.1` (`whatsapp-cloud-api.md` §4).
fn is_user_id(text: &str) -> bool {
    let mut parts = text.split('.');
    let country = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && !rest.is_empty()
        && rest.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// The person as pages and programs are told.
pub(super) async fn contact(console: &Console, asked: ContactId) -> Result<Contact, RouteError> {
    let person = person(console, asked, Depth::Quick).await?;
    Contact::of(console, &person).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_look_like_nothing_else() {
        for text in ["US.13491208655302741918", "US.ENT.11815799212886844830", "DE.1"] {
            assert!(is_user_id(text), "{text}");
        }
        for text in ["Us.1", "US", "US.", "US..1", "34600111222", "Dr. No", "ES. 1"] {
            assert!(!is_user_id(text), "{text}");
        }
    }
}
