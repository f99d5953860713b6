//! Erasing a person: everything of theirs, wherever Baton keeps it.
//!
//! In an order that a crash may cut anywhere: files (which the log names), then the history and the
//! log with what stands beside it, then the cache, and last the directory, which is how the person is
//! found. Doing it again does the rest. The history goes before the log: a worker that finds no chain
//! in the log looks for its end there. What the broker was just copying is looked for at the end.
//!
//! A worker may be in the middle of something: what it appends afterwards would be what was to be
//! forgotten. So it is looked again until nothing more comes, and what the customer writes after the
//! erasure stays: it begins a new chain, a new session and a new record.

use std::{collections::BTreeSet, time::Duration};

use bus::{Entry, Log, MediaStore};
use domain::{ContactId, ConversationKey, Seq, session::Owner};
use proto::{
    subjects::{self, Kind},
    v1::{self, entry::Body, media_fetched},
};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::find::{Depth, Person, away, person};
use crate::{
    Console,
    access::Caller,
    actions::{self, Action},
    error::RouteError,
};

/// How long all of it may take; what is left is done when it is asked for again.
const PATIENCE: Duration = Duration::from_secs(90);
/// For Salesforce to end a chat that is to be erased all the same.
const ENDING: Duration = Duration::from_secs(10);
/// Between two looks for what workers were in the middle of.
const PAUSE: Duration = Duration::from_millis(300);
/// Looks in a row that must find nothing.
const QUIET: u32 = 2;
const MOST_LOOKS: u32 = 20;
/// For the history to come up with the log.
const SETTLING: Duration = Duration::from_secs(15);
/// Entries that are read at once.
const PAGE: usize = 500;
const MOST_LEFT: usize = 1_000;

/// What was erased.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct Erased {
    pub(super) conversations: usize,
    /// Of the log, with timers and what was set aside; not those of the history.
    pub(super) entries: u64,
    pub(super) files: usize,
    /// Of campaigns' lists.
    pub(super) rows: usize,
}

pub(super) async fn erase(
    console: &Console,
    caller: &Caller,
    contact: ContactId,
    forced: bool,
) -> Result<Erased, RouteError> {
    timeout(PATIENCE, all(console, caller, contact, forced))
        .await
        .unwrap_or(Err(RouteError::ErasureUnfinished))
}

async fn all(
    console: &Console,
    caller: &Caller,
    contact: ContactId,
    forced: bool,
) -> Result<Erased, RouteError> {
    let person = person(console, contact, Depth::Whole).await?;
    if person.with_people().next().is_some() {
        if !forced {
            return Err(RouteError::WithPeople);
        }
        end_chats(console, caller, &person).await;
    }
    let log = console.lookup.log();
    let keys: Vec<ConversationKey> = person.conversations.iter().map(|(key, _)| *key).collect();
    // Whoever reads the audit sees the beginning of one that was cut.
    tracing::info!(by = caller.name(), contact = %person.contact, conversations = keys.len(), forced, "a contact is being erased");
    let newest = log.last("conv.>").await?.map_or(0, |entry| entry.seq);
    let mut erased = Erased { conversations: keys.len(), entries: 0, files: 0, rows: 0 };
    let mut deleted = BTreeSet::new();
    // That they want nothing outlives who they are.
    for (key, state) in &person.conversations {
        if state.as_ref().is_some_and(|state| state.no_marketing && state.group.is_none()) {
            console.campaigns.suppress(key).await?;
        }
    }
    // Before the log: a campaign that goes on would begin a new one.
    erased.rows = console.campaigns.erase(&person.customers()).await?;
    for (key, state) in &person.conversations {
        let mut sessions: BTreeSet<_> =
            console.lookup.sessions_of(key).await?.into_iter().map(|session| session.id).collect();
        sessions.extend(state.as_ref().and_then(|state| Some(state.session.as_ref()?.id)));
        let threads: Vec<_> = state.as_ref().and_then(|state| state.thread_id(key)).into_iter().collect();
        let sessions: Vec<_> = sessions.into_iter().collect();
        files(log, key, &mut deleted).await?;
        log.erase_history(key, Duration::ZERO).await?;
        erased.entries += log.erase_conversation(key, None).await?;
        console.lookup.store().erase_conversation(key, &sessions, &threads).await.map_err(away)?;
    }
    erased.entries += afterwards(console, &keys, newest, &mut deleted).await?;
    for key in &keys {
        if !log.erase_history(key, SETTLING).await? {
            return Err(RouteError::ErasureUnfinished);
        }
    }
    erased.files = deleted.len();
    for integration in console.checks.settings().iter().flat_map(|settings| &settings.integrations) {
        for id in &person.ids {
            console.lookup.store().erase_token(&integration.id, *id).await.map_err(away)?;
        }
    }
    let (store, keying) = (console.lookup.store(), console.lookup.keying());
    store.erase_contact(keying, person.contact, &person.customers(), &person.emails).await.map_err(away)?;
    for key in &keys {
        console.board.forget(*key);
        log.tell_erased(key).await?;
        still_unwanted(console, key, &person).await?;
    }
    tracing::info!(by = caller.name(), contact = %person.contact, entries = erased.entries, files = erased.files, "a contact was erased");
    Ok(erased)
}

/// What a campaign or another system asks for is withheld as before: the conversation begins anew with
/// that wish, and nothing else.
async fn still_unwanted(console: &Console, key: &ConversationKey, person: &Person) -> Result<(), RouteError> {
    let number = person.conversations.iter().find(|(known, _)| known == key);
    let number = number.and_then(|(_, state)| Some(state.as_ref()?.number.as_str().to_owned()));
    let Some(phone_number_id) = number else { return Ok(()) };
    if !console.campaigns.is_suppressed(key).await? {
        return Ok(());
    }
    let body = proto::encode(Body::Consent(v1::Consent { phone_number_id, wanted: false }));
    let subject = subjects::fact(key, Kind::Consent, &format!("erased-{key}"));
    console.lookup.log().append_fact(&subject, body, Some(ENDING)).await?;
    Ok(())
}

/// Reps are not left with a chat that goes nowhere. As far as Salesforce does it in time.
async fn end_chats(console: &Console, caller: &Caller, person: &Person) {
    let until = Instant::now() + ENDING;
    for (key, state) in person.with_people() {
        let (Some(session), Ok(nonce)) = (&state.session, actions::nonce()) else { continue };
        let asked = actions::act(&console.lookup, session.id, Action::GiveBack, &nonce, caller.name());
        if let Err(error) = asked.await {
            tracing::warn!(?error, "a chat could not be ended before its erasure");
            continue;
        }
        while Instant::now() < until {
            match console.lookup.state(key).await {
                Ok(Some(state)) if state.owner != Owner::Assistant => tokio::time::sleep(PAUSE).await,
                Ok(_) | Err(_) => break,
            }
        }
    }
}

/// Erases what workers append that were in the middle of something, until nothing more comes.
async fn afterwards(
    console: &Console,
    keys: &[ConversationKey],
    newest: Seq,
    deleted: &mut BTreeSet<String>,
) -> Result<u64, RouteError> {
    let log = console.lookup.log();
    let (mut quiet, mut entries) = (0, 0);
    for _ in 0..MOST_LOOKS {
        tokio::time::sleep(PAUSE).await;
        let mut found = 0;
        for key in keys {
            let left = log.read(vec![subjects::conversation(key)], 1, Seq::MAX, MOST_LEFT).await?;
            let before = begins_anew(&left, newest);
            if left.iter().any(|entry| before.is_none_or(|before| entry.seq < before)) {
                files(log, key, deleted).await?;
                entries += log.erase_conversation(key, before).await?;
                found += 1;
            }
            // A worker may have cached what it could not append.
            console.lookup.store().erase_conversation(key, &[], &[]).await.map_err(away)?;
        }
        quiet = if found == 0 { quiet + 1 } else { 0 };
        if quiet >= QUIET {
            return Ok(entries);
        }
    }
    Err(RouteError::ErasureUnfinished)
}

/// Where the first thing stands that somebody said after the erasure began.
fn begins_anew(left: &[Entry], newest: Seq) -> Option<Seq> {
    let begins = |entry: &&Entry| {
        entry.seq > newest
            && entry.address.as_ref().is_some_and(|address| match address.kind {
                Kind::WhatsApp | Kind::Outreach | Kind::Adopted => true,
                Kind::Status
                | Kind::Assistant
                | Kind::Thread
                | Kind::Salesforce
                | Kind::Undelivered
                | Kind::Send
                | Kind::Timer
                | Kind::Operator
                | Kind::Decision
                | Kind::Media
                | Kind::Consent => false,
            })
    };
    left.iter().find(begins).map(|entry| entry.seq)
}

/// Deletes the files of a conversation's messages; the log and the history name them. `deleted`: those
/// that are done.
async fn files(log: &Log, key: &ConversationKey, deleted: &mut BTreeSet<String>) -> Result<(), RouteError> {
    let mut media: Option<MediaStore> = None;
    let filters: Vec<String> =
        [Kind::WhatsApp, Kind::Media].map(|kind| subjects::filter_of(key, kind)).to_vec();
    let mut next = 1;
    loop {
        let entries = log.read(filters.clone(), next, Seq::MAX, PAGE).await?;
        let Some(last) = entries.last() else { break };
        next = last.seq + 1;
        delete(log, &mut media, &entries, deleted).await?;
    }
    let mut after = 0;
    loop {
        let entries = log.history(key, after, PAGE).await?;
        let Some((last, _)) = entries.last() else { break };
        after = *last;
        let entries: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
        delete(log, &mut media, &entries, deleted).await?;
    }
    Ok(())
}

async fn delete(
    log: &Log,
    media: &mut Option<MediaStore>,
    entries: &[Entry],
    deleted: &mut BTreeSet<String>,
) -> Result<(), RouteError> {
    for name in entries.iter().filter_map(file_of) {
        if media.is_none() {
            *media = Some(log.media().await?);
        }
        let Some(media) = media.as_ref() else { continue };
        if !deleted.contains(&name) && media.info(&name).await?.is_some() {
            media.delete(&name).await?;
            deleted.insert(name);
        }
    }
    Ok(())
}

/// Under what name the file of an entry is kept. One that is being fetched is kept under the
/// message's own.
fn file_of(entry: &Entry) -> Option<String> {
    let address = entry.address.as_ref()?;
    match proto::decode(entry.payload.clone()).ok()? {
        Body::MediaFetched(fetched) => match fetched.result? {
            media_fetched::Result::Stored(stored) => Some(stored.object),
            media_fetched::Result::Failed(_) => None,
        },
        Body::WhatsappMessage(message) => {
            let message = proto::convert::inbound(message).ok()?;
            message.content.spoken().1.media()?;
            Some(address.id.clone()).filter(|id| !id.is_empty())
        }
        Body::WhatsappStatus(_)
        | Body::AssistantAnswer(_)
        | Body::CallResult(_)
        | Body::ThreadFollowed(_)
        | Body::SalesforceEvent(_)
        | Body::Undelivered(_)
        | Body::SendIntent(_)
        | Body::SendOutcome(_)
        | Body::TimerFired(_)
        | Body::OperatorCommand(_)
        | Body::Decision(_)
        | Body::Adopted(_)
        | Body::Outreach(_)
        | Body::Consent(_)
        | Body::AccountEvent(_) => None,
    }
}
