//! The rep's side of the org: what is seen, what is done, and a rep on autopilot.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::{
    Salesforce,
    config::{AutoRep, EntryView, Rep, RepView, SessionView, Verb},
    message,
    state::{self, Conversation, Draft, Due, Session, State, new_id},
};
use crate::sim::faults::Fault;

/// Does it, or says why a rep could not.
pub(super) fn act(state: &mut State, id: &str, verb: Verb) -> Result<()> {
    let late = state.config.late_agent_message;
    let conversation = state.conversations.get_mut(id).context("no such conversation")?;
    let session = conversation.sessions.last_mut().context("no session yet")?;
    let (status, rep) = (session.status, session.rep.clone());
    let waiting = status == "Waiting" || session.transferring;
    match verb {
        Verb::Accept { rep: new } => {
            ensure!(waiting, "the session is {status}: nothing to accept");
            accept(state, id, new.unwrap_or_default());
        }
        Verb::Decline => {
            ensure!(waiting, "the session is {status}: nothing to decline");
            state.work(id, "Assigned", "Initial");
            state.work(id, "Declined", "Initial");
        }
        Verb::Say { text } => {
            let rep = match (rep, status) {
                (Some(rep), "Active") => rep,
                (rep, "Ended") if late => rep.unwrap_or_default(),
                _ => bail!("the session is {status}: nobody can write"),
            };
            say(state, id, &rep, text);
        }
        Verb::Typing => {
            let rep = rep.filter(|_| status == "Active").context("no rep is in this session")?;
            let draft = Draft {
                event: "CONVERSATION_TYPING_STARTED_INDICATOR",
                entry_type: "TypingStartedIndicator",
                payload: json!({ "timestamp": state.now_ms() }),
                ..by(&rep)
            };
            state.add(id, draft);
        }
        Verb::End => {
            ensure!(status != "Ended", "the session has ended");
            message::finish(state, id, "Agent");
        }
        Verb::Inactive => {
            ensure!(status == "Active" && rep.is_some(), "no rep is in this session");
            state.set_status(id, "Inactive", None);
        }
        Verb::Transfer { to } => {
            let rep = rep.filter(|_| status == "Active").context("no rep is in this session")?;
            session.transferring = true;
            state.route(id, "Transfer", None);
            state.work(id, "Transferred", "Transfer");
            state.participant(id, "remove", &rep);
            if let Some(session) = current(state, id) {
                session.rep = None;
            }
            if let Some(to) = to {
                accept(state, id, to);
            }
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
    let active = session.status == "Active";
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
    if state.auto.as_ref().is_some_and(|auto| auto.reply_to_early) {
        state.due.push(Due::Reply(id.to_owned()));
    } else if let Some(conversation) = state.conversations.get_mut(id) {
        conversation.to_answer = 0;
    }
}

fn by(rep: &Rep) -> Draft {
    Draft {
        event: "",
        entry_type: "",
        identifier: new_id(),
        payload: json!({}),
        sender: state::agent(rep),
        sender_name: rep.name.clone(),
        text: None,
        message_id: None,
        detail: None,
    }
}

fn say(state: &mut State, id: &str, rep: &Rep, text: String) {
    let draft = by(rep);
    let payload = message::text_message(&draft.identifier, &text);
    state.add(
        id,
        Draft { event: "CONVERSATION_MESSAGE", entry_type: "Message", payload, text: Some(text), ..draft },
    );
}

pub(super) fn view(state: &State, id: &str) -> Option<RepView> {
    let conversation = state.conversations.get(id)?;
    let sessions = conversation.sessions.iter().map(|session| session_view(state, session)).collect();
    let entries = conversation
        .entries
        .iter()
        .map(|entry| EntryView {
            identifier: entry.identifier.clone(),
            entry_type: entry.entry_type.to_owned(),
            role: entry.sender["role"].as_str().unwrap_or_default().to_owned(),
            sender: entry.sender_name.clone(),
            session: entry.session.clone(),
            text: entry.text.clone(),
            at_ms: entry.transcripted_ms,
            payload: entry.payload.clone(),
        })
        .collect();
    Some(RepView {
        conversation: id.to_owned(),
        name: state.users.get(&conversation.subject).map_or_else(|| "Guest".into(), |user| user.name.clone()),
        platform_key: conversation.subject.clone(),
        closed: conversation.closed_ms.is_some(),
        routing_status: conversation.routing_status().to_owned(),
        sessions,
        entries,
    })
}

fn session_view(state: &State, session: &Session) -> SessionView {
    let mapped = state.config.flow.iter().flat_map(|flow| &flow.fields);
    SessionView {
        id: session.id.clone(),
        status: session.status.to_owned(),
        rep: session.rep.clone(),
        fields: mapped
            .filter_map(|(field, from)| Some((field.clone(), session.attributes.get(from)?.clone())))
            .collect(),
        routing_attributes: session.attributes.clone(),
        language: session.language.clone(),
        started_ms: session.started_ms,
        ended_ms: session.ended_ms,
    }
}

impl Salesforce {
    /// Lets the automatic rep do what became due while the lock was held.
    pub(super) fn dispatch(self: &Arc<Self>, auto: &AutoRep, due: Vec<Due>) {
        for due in due {
            let (sim, auto) = (self.clone(), auto.clone());
            let pause = match due {
                Due::Accept(_) => auto.accept_after_ms,
                Due::Reply(_) => auto.reply_after_ms,
            };
            self.tracker.spawn(async move {
                tokio::select! {
                    () = sim.stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(pause)) => {}
                }
                sim.with(|state| match &due {
                    Due::Accept(id) => {
                        // Somebody else may have been quicker, or the session is over: no harm.
                        let _ = act(state, id, Verb::Accept { rep: None });
                    }
                    Due::Reply(id) if auto.reply => reply(state, id, &auto),
                    Due::Reply(_) => {}
                });
            });
        }
    }
}

/// Answers every customer text that has no answer yet: `[<counter>] <conversation>`.
fn reply(state: &mut State, id: &str, auto: &AutoRep) {
    while let Some(conversation) = state.conversations.get_mut(id) {
        if conversation.to_answer == 0 {
            return;
        }
        let answered = conversation.answered + 1;
        let Some(session) = conversation.live().filter(|session| session.status == "Active") else { return };
        let Some(rep) = session.rep.clone() else { return };
        session.answered += 1;
        let ends = auto.end_after.is_some_and(|most| session.answered >= most);
        conversation.to_answer -= 1;
        conversation.answered = answered;
        say(state, id, &rep, format!("[{answered}] {id}"));
        if ends {
            message::finish(state, id, "Agent");
            return;
        }
    }
}

/// Faults that make sense here.
pub(super) fn check(fault: &Fault) -> Result<()> {
    ensure!(!matches!(fault, Fault::Graph { .. }), "Graph errors are WhatsApp's");
    Ok(())
}
