//! People: one contact each, with what they are known by, their sessions and what can be done.
//!
//! A contact's id is derived from a keyed digest of an identity: it may stand in an address. What
//! people search for may not, and comes in a body.

mod api;
mod erase;
mod export;
mod find;
mod pages;

use std::pin::pin;

use domain::{ContactId, Millis, message::Customer, session::Conversation};
use futures::StreamExt as _;
use serde::Serialize;

use self::find::{Person, away};
pub(crate) use self::{api::api, pages::router};
use crate::{
    Console,
    access::Caller,
    board::{Row, now},
    error::RouteError,
    timeline::{Summary, owner, time},
};

/// Sessions are looked up of so many conversations.
const MOST_LOOKED_INTO: usize = 20;

/// Keeps the board free of whom another console erased; never ends.
pub(crate) async fn follow(console: &Console) -> std::convert::Infallible {
    loop {
        if let Ok(erased) = console.lookup.log().erasures().await {
            let mut erased = pin!(erased);
            while let Some(key) = erased.next().await {
                console.board.forget(key);
            }
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// A person. Personal data.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct Contact {
    /// After merges.
    id: String,
    /// The profile name, as WhatsApp showed it last.
    name: Option<String>,
    username: Option<String>,
    first_seen: Option<String>,
    aliases: Vec<Alias>,
    /// no: they want no marketing messages from at least one of the numbers.
    marketing: &'static str,
    conversations: Vec<View>,
}

#[derive(Serialize, schemars::JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
struct Alias {
    /// phone (digits, no plus), bsuid, parent_bsuid or email.
    kind: &'static str,
    value: String,
}

/// A conversation: this person on one of the numbers, under one of their ids.
#[derive(Serialize, schemars::JsonSchema)]
struct View {
    conversation: String,
    phone_number_id: String,
    owner: &'static str,
    /// no: they want no marketing messages from this number.
    marketing: &'static str,
    last_wrote_at: Option<String>,
    /// Within the log's horizon, the newest first.
    sessions: Vec<Summary>,
}

impl Contact {
    async fn of(console: &Console, person: &Person) -> Result<Self, RouteError> {
        let mut conversations = Vec::new();
        for (at, (key, state)) in person.states().enumerate() {
            let mut sessions = Vec::new();
            if at < MOST_LOOKED_INTO {
                sessions = console.lookup.sessions_of(key).await?;
                sessions.reverse();
            }
            conversations.push(View {
                conversation: key.to_string(),
                phone_number_id: state.number.as_str().to_owned(),
                owner: owner(&state.owner),
                marketing: yes(!state.no_marketing),
                last_wrote_at: (state.customer_wrote_at > 0).then(|| time(state.customer_wrote_at)),
                sessions,
            });
        }
        let newest = |of: fn(&Customer) -> Option<&str>| {
            let alone = person.states().filter(|(_, state)| state.group.is_none());
            alone.filter_map(|(_, state)| of(&state.customer)).next().map(str::to_owned)
        };
        Ok(Self {
            id: person.contact.to_string(),
            name: newest(Customer::display_name),
            username: newest(|customer| customer.username.as_deref()),
            first_seen: person.first_seen.map(time),
            aliases: aliases(person),
            marketing: yes(person.states().all(|(_, state)| !state.no_marketing)),
            conversations,
        })
    }

    fn is_with_people(&self) -> bool {
        self.conversations.iter().any(|conversation| conversation.owner != "assistant")
    }

    fn sessions(&self) -> usize {
        self.conversations.iter().map(|conversation| conversation.sessions.len()).sum()
    }
}

const fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn aliases(person: &Person) -> Vec<Alias> {
    let mut aliases: Vec<Alias> = Vec::new();
    // A group's customer is whoever wrote last.
    for (_, state) in person.states().filter(|(_, state)| state.group.is_none()) {
        let customer = &state.customer;
        let known = [
            ("phone", &customer.phone),
            ("bsuid", &customer.bsuid),
            ("parent_bsuid", &customer.parent_bsuid),
        ];
        aliases.extend(known.into_iter().filter_map(|(kind, value)| {
            Some(Alias { kind, value: value.clone().filter(|value| !value.is_empty())? })
        }));
    }
    aliases.extend(person.emails.iter().map(|email| Alias { kind: "email", value: email.clone() }));
    aliases.sort_by(|a, b| (rank(a.kind), &a.value).cmp(&(rank(b.kind), &b.value)));
    aliases.dedup();
    aliases
}

fn rank(kind: &str) -> usize {
    ["phone", "email", "bsuid", "parent_bsuid"].iter().position(|known| *known == kind).unwrap_or(4)
}

impl Alias {
    fn label(&self) -> &'static str {
        match self.kind {
            "phone" => "Phone number",
            "email" => "E-mail",
            "bsuid" => "WhatsApp user id (BSUID)",
            _ => "Parent user id",
        }
    }

    fn shown(&self) -> String {
        if self.kind == "phone" { format!("+{}", self.value) } else { self.value.clone() }
    }
}

/// A person in a list.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct Listed {
    id: String,
    name: Option<String>,
    /// Digits, no plus.
    phone: Option<String>,
    /// Of the conversation that moved last.
    owner: &'static str,
    active_at: String,
    #[serde(skip)]
    ago: String,
}

impl Listed {
    /// As whom they are today, each once.
    async fn of(console: &Console, rows: &[Row]) -> Vec<Self> {
        let named: Vec<ContactId> = rows.iter().filter_map(|row| row.contact).collect();
        let store = console.lookup.store();
        let present = store.present_contacts(&named).await.unwrap_or_else(|error| {
            away(error);
            named
        });
        let rows = rows.iter().filter(|row| row.contact.is_some());
        let listed = present.into_iter().zip(rows).map(|(contact, row)| {
            let ago = crate::board::Ago::new(row.active_at, now());
            Self {
                id: contact.to_string(),
                name: row.name.clone(),
                phone: row.phone.clone(),
                owner: row.state.as_str(),
                active_at: ago.at,
                ago: ago.words,
            }
        });
        Self::once(listed.collect())
    }

    fn of_state(state: &Conversation) -> Option<Self> {
        Some(Self::of_state_as(state.contact?, Some(state)))
    }

    fn of_state_as(contact: ContactId, state: Option<&Conversation>) -> Self {
        let ago = crate::board::Ago::new(state.map_or(0, |state| state.customer_wrote_at), now());
        Self {
            id: contact.to_string(),
            name: state.and_then(|state| state.customer.display_name()).map(str::to_owned),
            phone: state.and_then(|state| state.customer.phone.clone()),
            owner: state.map_or("assistant", |state| owner(&state.owner)),
            active_at: ago.at,
            ago: ago.words,
        }
    }

    fn of_person(person: &Person) -> Self {
        let newest = person.states().next().map(|(_, state)| state);
        Self::of_state_as(person.contact, newest)
    }

    fn once(mut listed: Vec<Self>) -> Vec<Self> {
        let mut seen = std::collections::BTreeSet::new();
        listed.retain(|contact| seen.insert(contact.id.clone()));
        listed
    }
}

/// One page of all, and what the next one begins behind.
async fn list(
    console: &Console,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Listed>, Option<String>), RouteError> {
    let after = after.filter(|after| !after.is_empty()).map(place).transpose()?;
    let (rows, more) = console.board.read(|rows| rows.contacts(after, limit));
    let last = rows.last().filter(|_| more).and_then(|row| Some((row.active_at, row.contact?)));
    let listed = Listed::of(console, &rows).await;
    Ok((listed, last.map(|(at, contact)| format!("{at}-{contact}"))))
}

fn place(text: &str) -> Result<(Millis, ContactId), RouteError> {
    let (at, contact) = text.split_once('-').ok_or(RouteError::MalformedQuery)?;
    let read = || Some((at.parse().ok()?, contact.parse().ok()?));
    read().ok_or(RouteError::MalformedQuery)
}

fn contact_id(text: &str) -> Result<ContactId, RouteError> {
    text.trim().parse().map_err(|_| RouteError::MalformedContact)
}

/// Another address of theirs. Who had it keeps it on record; the address finds this one from now on.
async fn link_email(
    console: &Console,
    caller: &Caller,
    id: ContactId,
    email: &str,
) -> Result<ContactId, RouteError> {
    let email = email.trim();
    if !is_email(email) {
        return Err(RouteError::MalformedEmail);
    }
    let contact = crate::lookup::patiently(find::person(console, id, find::Depth::Quick)).await?.contact;
    let filed =
        console.lookup.store().link_email(console.lookup.keying(), contact, email).await.map_err(away)?;
    let displaced = filed.displaced.map(|contact| contact.to_string());
    tracing::info!(by = caller.name(), contact = %contact, displaced, "an e-mail address was linked to a contact");
    Ok(filed.contact)
}

/// Like an address that mail is sent to: one `@`, a domain with a dot, nothing that a header or a page
/// could be broken with.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    text.len() <= 254
        && !local.is_empty()
        && local.len() <= 64
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"',;()@".contains(c) && c != '@')
        && domain.split('.').count() >= 2
        && domain.split('.').all(|label| !label.is_empty() && !label.contains('@'))
}

/// `other` is the same person: everything of it becomes `keep`'s, and its id goes on meaning `keep`.
async fn merge(
    console: &Console,
    caller: &Caller,
    keep: ContactId,
    other: ContactId,
) -> Result<ContactId, RouteError> {
    let keep = crate::lookup::patiently(find::person(console, keep, find::Depth::Quick)).await?;
    let other = crate::lookup::patiently(find::person(console, other, find::Depth::Quick)).await?;
    if keep.contact == other.contact {
        return Err(RouteError::SameContact);
    }
    let store = console.lookup.store();
    // After the cache was lost, the directory may not know what the log does.
    for person in [&keep, &other] {
        for (key, state) in person.states() {
            let customer = &state.customer;
            if state.group.is_none() && customer.id().is_some() {
                let filed = store.restore_contact(console.lookup.keying(), person.contact, customer).await;
                filed.map_err(away)?;
            }
            if let Some(session) = &state.session {
                let thread = state.thread_id(key);
                store.index_session(key, session.id, thread, Some(person.contact)).await.map_err(away)?;
            }
        }
    }
    let merged = store.merge_contacts(keep.contact, other.contact).await.map_err(away)?;
    tracing::info!(by = caller.name(), kept = %merged, merged = %other.contact, "two contacts were merged");
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_mail_can_be_sent_to_is_an_address() {
        for text in ["ana@example.com", "a.b+c@mail.example.co", "ü@exämple.de"] {
            assert!(is_email(text), "{text}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "ana",
            "ana@example",
            "@example.com",
            "a b@example.com",
            "a@b@example.com",
            "a@.com",
            "<a@example.com>",
            "a@example.com\r\nbcc:b",
            &long,
        ] {
            assert!(!is_email(text), "{text}");
        }
    }

    #[test]
    fn places_in_the_list_come_back() {
        let id = "0b8f3c1e-2d4a-4f6b-8c7d-9e0f1a2b3c4d";
        assert_eq!(place(&format!("17-{id}")), Ok((17, id.parse().unwrap())));
        for text in ["", "17", "x-y", "17-"] {
            assert_eq!(place(text), Err(RouteError::MalformedQuery), "{text}");
        }
    }
}
