//! The rep's side of the org: what is done, what is seen, and a rep on autopilot.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    config::AfterFailure,
    content,
    log::{self, Draft},
    message,
    session::Routing,
    state::{Conversation, Session, State, StoredEntry, new_id},
    verb::{Rep, RepMessage, Speaker, Verb},
    view::{EntryView, RepView, SessionView},
    wheel::Due,
};
use crate::sim::faults::Fault;

/// What `act` needs to know of the session.
struct Now {
    status: &'static str,
    rep: Option<Rep>,
    others: Vec<Rep>,
    bot: bool,
    waiting: bool,
}

impl Now {
    /// The rep in an active session.
    fn rep(&self) -> Result<Rep> {
        self.rep.clone().filter(|_| self.status == "Active").context("no rep is in this session")
    }

    fn waits(&self, what: &str) -> Result<()> {
        ensure!(self.waiting, "the session is {}: nothing to {what}", self.status);
        Ok(())
    }

    fn live(&self) -> Result<()> {
        ensure!(!matches!(self.status, "Ended" | "Error"), "the session has ended");
        Ok(())
    }
}

/// Does it, or says why a rep could not.
pub(super) fn act(state: &mut State, id: &str, verb: Verb) -> Result<()> {
    let conversation = state.conversations.get_mut(id).context("no such conversation")?;
    let session = conversation.sessions.last_mut().context("no session yet")?;
    let now = Now {
        status: session.status,
        rep: session.rep.clone(),
        others: session.others.clone(),
        bot: session.bot,
        waiting: session.status == "Waiting" || session.transferring,
    };
    match verb {
        Verb::Accept { rep } => {
            now.waits("accept")?;
            accept(state, id, rep.unwrap_or_default());
        }
        Verb::Decline => {
            now.waits("decline")?;
            state.work(id, "Assigned", "Initial");
            state.work(id, "Declined", "Initial");
        }
        Verb::Say { text } => send(state, id, &now, RepMessage::Text { text }, Speaker::Rep)?,
        Verb::Send { content, from } => send(state, id, &now, content, from)?,
        Verb::Typing => typing(state, id, &now.rep()?, "TypingStartedIndicator"),
        Verb::TypingStopped => typing(state, id, &now.rep()?, "TypingStoppedIndicator"),
        Verb::Delivered { entry } => receipt(state, id, &now.rep()?, "Delivery", entry)?,
        Verb::Read { entry } => receipt(state, id, &now.rep()?, "Read", entry)?,
        Verb::End => {
            now.live()?;
            state.finish(id, "Agent");
        }
        Verb::AutoEnd => {
            now.live()?;
            state.finish(id, "System");
        }
        Verb::Inactive => {
            now.rep()?;
            state.set_status(id, "Inactive", None);
        }
        Verb::Transfer { to } => transfer(state, id, &now, to)?,
        Verb::TransferQueue { queue, to, failure } => {
            now.rep()?;
            let before = std::mem::replace(&mut session.queue, queue);
            if failure.is_none() {
                return transfer(state, id, &now, to);
            }
            let failed = Routing { failure: failure.as_deref(), ..Routing::of("Transfer") };
            state.route(id, &failed);
            state.work(id, "TransferError", "Transfer");
            if let Some(session) = current(state, id) {
                session.queue = before;
            }
        }
        Verb::Conference { rep } => {
            let first = now.rep()?;
            ensure!(first != rep && !now.others.contains(&rep), "the rep is there already");
            session.others.push(rep.clone());
            state.route(id, &Routing::of("Conference"));
            state.work(id, "Assigned", "Conference");
            state.work(id, "Accepted", "Conference");
            state.participant(id, "add", &rep);
        }
        Verb::Leave { rep } => {
            let first = now.rep()?;
            ensure!(!now.others.is_empty(), "nobody else is there: end the session or transfer it");
            if first == rep {
                session.rep = Some(session.others.remove(0));
            } else {
                let at = session.others.iter().position(|other| *other == rep);
                session.others.remove(at.context("that rep is not there")?);
            }
            state.participant(id, "remove", &rep);
        }
        Verb::BotJoin => {
            now.waits("take")?;
            (session.bot, session.transferring) = (true, false);
            state.work(id, "Assigned", "Initial");
            state.work(id, "Accepted", "Initial");
            if now.status != "Active" {
                state.set_status(id, "Active", None);
            }
            state.participants(id, "add", log::BOT, &log::bot());
        }
        Verb::BotHandOver => {
            ensure!(now.bot, "no bot is in this session");
            state.route(id, &Routing::of("Transfer"));
            state.participants(id, "remove", log::BOT, &log::bot());
            if let Some(session) = current(state, id) {
                (session.bot, session.transferring) = (false, true);
            }
            state.due(Due::Accept(id.to_owned()));
        }
        Verb::AutoResponse { text } => {
            now.live()?;
            state.auto_response(id, text);
        }
        Verb::Queue { position, estimated_wait_s } => {
            now.waits("tell a place for")?;
            let item = session.id.clone();
            if estimated_wait_s.is_some() {
                state.route(id, &Routing { estimated_wait_s, ..Routing::of("Initial") });
            }
            let pending = state.record_id("0JR");
            let payload =
                json!({ "pendingServiceRoutingId": pending, "workItemId": item, "position": position });
            state.add(id, Draft::router("QueuePosition", payload).detail(&position.to_string()));
        }
        Verb::RoutingFails { reason, then } => {
            now.waits("fail")?;
            let kind = if session.transferring { "Transfer" } else { "Initial" };
            let submission = then == AfterFailure::Error;
            state.route(id, &Routing { failure: Some(&reason), submission, ..Routing::of(kind) });
            match then {
                AfterFailure::Wait => {}
                AfterFailure::End => state.finish(id, "System"),
                AfterFailure::Error => state.set_status(id, "Error", None),
            }
        }
        Verb::Progress { text } => {
            now.live()?;
            let payload = json!({ "progressIndicator": {
                "indicatorType": "ProgressUpdateIndicator", "timestamp": state.now_ms(),
                "progressMessage": { "formatType": "Text", "text": text },
            } });
            state.add(id, Draft::bot("ProgressIndicator", payload));
        }
        Verb::Raw { event, entry_type, payload, role } => {
            ensure!(payload.is_object(), "a payload is an object");
            let mut draft = Draft::system(entry_type, payload);
            draft.event = event.into();
            if let Some(role) = role {
                draft.sender["role"] = role.into();
            }
            let subject = conversation.subject.clone();
            state.pass(&subject, id, &draft);
        }
        Verb::SayElsewhere { text, elsewhere } => {
            let subject = conversation.subject.clone();
            let draft = Draft::rep(&now.rep.unwrap_or_default(), "Message", Value::Null);
            let payload = message::text_message(&draft.identifier, &text);
            let elsewhere = elsewhere.unwrap_or_else(new_id);
            state.pass(&subject, &elsewhere, &Draft { payload, ..draft });
        }
    }
    Ok(())
}

fn current<'a>(state: &'a mut State, id: &str) -> Option<&'a mut Session> {
    state.conversations.get_mut(id).and_then(Conversation::live)
}

fn accept(state: &mut State, id: &str, rep: Rep) {
    let work = state.record_id("0Bz");
    let Some(session) = current(state, id) else { return };
    let routing = if session.transferring { "Transfer" } else { "Initial" };
    let before = session.rep.replace(rep.clone());
    session.work = work;
    session.transferring = false;
    let (active, session_id) = (session.status == "Active", session.id.clone());
    state.work(id, "Assigned", routing);
    state.work(id, "Accepted", routing);
    if !active {
        state.set_status(id, "Active", None);
    }
    // After "inactive" the same rep may still be in the conversation.
    if before.as_ref() == Some(&rep) {
        return;
    }
    if let Some(before) = before {
        state.participant(id, "remove", &before);
    }
    state.participant(id, "add", &rep);
    if state.config.rep_acknowledges {
        let in_session =
            |entry: &&StoredEntry| is_of_customer(entry) && entry.session.as_ref() == Some(&session_id);
        let entries = state.conversations.get(id).map(|found| &found.entries).into_iter().flatten();
        let arrived: Vec<String> = entries.filter(in_session).map(|entry| entry.identifier.clone()).collect();
        arrived.iter().for_each(|entry| state.receipt(id, &rep, "Delivery", entry));
    }
    if state.auto.as_ref().is_some_and(|auto| auto.reply_to_early) {
        state.due(Due::Reply(id.to_owned()));
    } else if let Some(conversation) = state.conversations.get_mut(id) {
        conversation.to_answer = 0;
    }
    state.due(Due::Talk(id.to_owned()));
}

fn transfer(state: &mut State, id: &str, now: &Now, to: Option<Rep>) -> Result<()> {
    let rep = now.rep()?;
    ensure!(now.others.is_empty(), "two reps are there: one leaves");
    if let Some(session) = current(state, id) {
        session.transferring = true;
    }
    state.route(id, &Routing::of("Transfer"));
    state.work(id, "Transferred", "Transfer");
    state.participant(id, "remove", &rep);
    if let Some(session) = current(state, id) {
        session.rep = None;
    }
    match to {
        Some(to) => accept(state, id, to),
        None => state.due(Due::Accept(id.to_owned())),
    }
    Ok(())
}

fn is_of_customer(entry: &StoredEntry) -> bool {
    entry.entry_type == "Message" && entry.role() == "EndUser"
}

fn send(state: &mut State, id: &str, now: &Now, content: RepMessage, from: Speaker) -> Result<()> {
    let draft = match from {
        Speaker::Rep => {
            let late = state.config.late_agent_message && now.status == "Ended";
            let rep = match &now.rep {
                Some(rep) if now.status == "Active" => rep.clone(),
                rep if late => rep.clone().unwrap_or_default(),
                _ => bail!("the session is {}: nobody can write", now.status),
            };
            Draft::rep(&rep, "Message", Value::Null)
        }
        Speaker::Conferenced => {
            let rep = now.others.last().context("no second rep is in this session")?;
            Draft::rep(rep, "Message", Value::Null)
        }
        Speaker::Bot => {
            ensure!(now.bot, "no bot is in this session");
            Draft::bot("Message", Value::Null)
        }
        Speaker::System => {
            now.live()?;
            Draft::system("Message", Value::Null)
        }
    };
    let draft = if let RepMessage::File(file) = content {
        state.attach(file, draft)?
    } else {
        let message = content::message(&content).filter(Value::is_object);
        let message = message.context("a message is an object")?;
        let text = content::text_of(&message);
        Draft { payload: content::wrap(&draft.identifier, message), text, ..draft }
    };
    state.add(id, draft);
    Ok(())
}

fn typing(state: &mut State, id: &str, rep: &Rep, entry_type: &'static str) {
    let draft = Draft::rep(rep, entry_type, json!({ "timestamp": state.now_ms() }));
    state.add(id, draft);
}

fn receipt(state: &mut State, id: &str, rep: &Rep, kind: &str, entry: Option<String>) -> Result<()> {
    let entries = state.conversations.get(id).map(|found| &found.entries).into_iter().flatten();
    let mut of_customer = entries.filter(|entry| is_of_customer(entry)).map(|entry| &entry.identifier);
    let entry = match entry {
        Some(entry) => of_customer.find(|known| **known == entry).cloned(),
        None => of_customer.next_back().cloned(),
    };
    state.receipt(id, rep, kind, &entry.context("no such message of the customer")?);
    Ok(())
}

pub(super) fn view(state: &State, id: &str) -> Option<RepView> {
    let conversation = state.conversations.get(id)?;
    let sessions = conversation.sessions.iter().map(|session| session_view(state, session)).collect();
    let entries = conversation
        .entries
        .iter()
        .map(|entry| EntryView {
            identifier: entry.identifier.clone(),
            entry_type: entry.entry_type.clone().into_owned(),
            role: entry.role().to_owned(),
            sender: entry.sender_name.clone(),
            session: entry.session.clone(),
            text: entry.text.clone(),
            file: entry.file.clone(),
            delivered: conversation.delivered.contains(&entry.identifier),
            read: conversation.read.contains(&entry.identifier),
            at_ms: entry.transcripted_ms,
            payload: entry.parsed(),
        })
        .collect();
    Some(RepView {
        conversation: id.to_owned(),
        name: state.name_of(&conversation.subject),
        platform_key: conversation.subject.to_string(),
        closed: conversation.closed_ms.is_some(),
        routing_status: conversation.routing_status().to_owned(),
        customer_typing: conversation.customer_typing,
        sessions,
        entries,
    })
}

fn session_view(state: &State, session: &Session) -> SessionView {
    let mapped = state.config.flow.iter().flat_map(|flow| &flow.fields);
    let known =
        |name: &String| session.attributes.get(name).filter(|_| !session.dropped.contains(name)).cloned();
    SessionView {
        id: session.id.clone(),
        status: session.status.to_owned(),
        rep: session.rep.clone(),
        others: session.others.clone(),
        bot: session.bot,
        fields: mapped.filter_map(|(field, from)| Some((field.clone(), known(from)?))).collect(),
        routing_attributes: session.attributes.clone(),
        dropped_attributes: session.dropped.clone(),
        language: session.language.clone(),
        started_ms: session.started_ms,
        ended_ms: session.ended_ms,
    }
}

/// What became due for the automatic rep. Somebody else may have been quicker, or the session is over:
/// no harm.
pub(super) fn automatic(state: &mut State, due: Due) {
    let Some(auto) = state.auto.clone() else { return };
    match due {
        Due::Accept(id) => {
            let _ = act(state, &id, Verb::Accept { rep: None });
        }
        Due::Reply(id) if auto.reply => reply(state, &id, auto.end_after),
        Due::Reply(_) => {}
        Due::Talk(id) => {
            if answer(state, &id).is_some() {
                state.due(Due::Talk(id));
            }
        }
    }
}

/// Answers every customer text that has no answer yet.
fn reply(state: &mut State, id: &str, end_after: Option<u32>) {
    while state.conversations.get(id).is_some_and(|conversation| conversation.to_answer > 0) {
        let Some(answered) = answer(state, id) else { return };
        if let Some(conversation) = state.conversations.get_mut(id) {
            conversation.to_answer -= 1;
        }
        if end_after.is_some_and(|most| answered >= most) {
            return state.finish(id, "Agent");
        }
    }
}

/// `[<counter>] <conversation>`, if a rep is there; gives how often that was in this session.
fn answer(state: &mut State, id: &str) -> Option<u32> {
    let conversation = state.conversations.get_mut(id)?;
    let counter = conversation.answered + 1;
    let session = conversation.live().filter(|session| session.status == "Active")?;
    let rep = session.rep.clone()?;
    session.answered += 1;
    let answered = session.answered;
    conversation.answered = counter;
    let text = format!("[{counter}] {id}");
    let draft = Draft::rep(&rep, "Message", Value::Null);
    let payload = message::text_message(&draft.identifier, &text);
    state.add(id, Draft { payload, text: Some(text), ..draft });
    Some(answered)
}

/// Faults that make sense here.
pub(super) fn check(fault: &Fault) -> Result<()> {
    ensure!(!matches!(fault, Fault::Graph { .. }), "Graph errors are WhatsApp's");
    Ok(())
}
