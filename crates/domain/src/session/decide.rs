//! The transitions. One function a kind of fact, every arm spelt out.

use std::time::Duration;

use super::{
    Answer, Answered, Ask, At, Call, CallResult, Command, Context, Conversation, Decision, Fact, Happening,
    Held, MessagingSessionStatus, Opening, Origin, Output, Owner, SalesforceEvent, Send, Session, Stage,
    Thread, Undeliverable,
};
use crate::{
    Cause, Millis, SendId, SessionId, derive,
    message::{Content, InboundMessage},
};

/// Between tries to open a thread while Salesforce is away: doubling, at most this.
const LONGEST_REST: Duration = Duration::from_secs(60);
const FIRST_REST: Duration = Duration::from_secs(2);

pub fn decide(state: Conversation, at: At, fact: &Fact, context: &Context<'_>) -> Decision {
    let mut turn = Turn { at, context, state, outputs: Vec::new() };
    match fact {
        Fact::Inbound(message) => turn.inbound(message),
        Fact::Answered(answered) => turn.answered(answered),
        Fact::Followed { follow } => turn.followed(*follow),
        Fact::Called { call, result } => turn.called(*call, *result),
        Fact::Salesforce(event) => turn.salesforce(event),
        Fact::Undelivered { reason, excerpt, .. } => turn.undelivered(*reason, excerpt),
        Fact::Fired { timer } => turn.fired(*timer),
        Fact::Operator(command) => turn.operator(*command),
    }
    Decision { state: turn.state, outputs: turn.outputs }
}

struct Turn<'a> {
    at: At,
    context: &'a Context<'a>,
    state: Conversation,
    outputs: Vec<Output>,
}

impl Turn<'_> {
    fn inbound(&mut self, message: &InboundMessage) {
        match &message.content {
            Content::Text(_) | Content::Other { .. } => {}
            Content::Notice { .. } => return,
        }
        self.state.customer = message.customer.clone();
        self.state.contact.get_or_insert(self.context.contact);
        let silence = message.sent_at.saturating_sub(self.state.customer_wrote_at);
        self.state.customer_wrote_at = self.state.customer_wrote_at.max(message.sent_at);
        let resolved = self.state.owner == Owner::Assistant
            && silence > millis(self.context.policy.auto_resolve_after_seconds);
        if self.state.session.is_none() || resolved {
            let id =
                derive::uuid("session", &[self.context.key.as_bytes(), message.wamid.as_str().as_bytes()]);
            self.state.session = Some(Session {
                id: SessionId(id),
                opened_at: self.at.time,
                first: self.at.seq,
                handoffs: 0,
                human_until: None,
                shown_through: 0,
            });
        }

        let seq = self.at.seq;
        match &mut self.state.owner {
            Owner::Assistant if self.context.assistant_on => self.ask(message, false),
            Owner::Assistant if self.context.has_team => self.hand_off("the assistant is switched off"),
            Owner::Assistant => {}
            Owner::Opening(opening) => {
                opening.held = Some(match opening.held {
                    None => Held { from: seq, through: seq },
                    Some(held) => Held { through: seq, ..held },
                });
                self.ask_while_waiting(message);
            }
            Owner::Waiting(thread) => {
                let thread = thread.id;
                self.call(Call::Forward { thread, from: seq, through: seq });
                self.ask_while_waiting(message);
            }
            Owner::Live(thread) | Owner::Inactive(thread) => {
                let thread = thread.id;
                self.call(Call::Forward { thread, from: seq, through: seq });
            }
        }
    }

    fn answered(&mut self, Answered { epoch, answer, .. }: &Answered) {
        // Asked under another owner: whatever it says, it would talk over somebody.
        if *epoch != self.state.epoch {
            return;
        }
        match (&self.state.owner, answer) {
            (_, Answer::Silence) => {}
            (Owner::Assistant | Owner::Opening(_), Answer::Reply { text }) => {
                self.send(Origin::Assistant, text.clone());
            }
            (Owner::Waiting(thread), Answer::Reply { text }) => {
                let thread = thread.id;
                self.send(Origin::Assistant, text.clone());
                self.call(Call::Note { thread, text: format!("Assistant: {text}") });
            }
            (Owner::Assistant, Answer::Handoff { reason }) if self.context.has_team => self.hand_off(reason),
            (Owner::Assistant, Answer::Handoff { .. }) => {
                self.send(Origin::Notice, self.context.policy.texts.no_team.clone());
            }
            // Already on the way to a person.
            (Owner::Opening(_) | Owner::Waiting(_), Answer::Handoff { .. }) => {}
            // Cannot be: entering these states raised the epoch. A person is there in any case.
            (Owner::Live(_) | Owner::Inactive(_), Answer::Reply { .. } | Answer::Handoff { .. }) => {}
        }
    }

    fn followed(&mut self, follow: Cause) {
        let Owner::Opening(opening) = &self.state.owner else { return };
        if opening.follow == follow && opening.stage == Stage::Following {
            self.open();
        }
    }

    fn called(&mut self, call: Cause, result: CallResult) {
        let Owner::Opening(opening) = &mut self.state.owner else { return };
        if opening.stage != (Stage::Creating { call }) {
            return;
        }
        match result {
            CallResult::Done => self.opened(),
            CallResult::Unavailable | CallResult::Refused => {
                opening.failures = opening.failures.saturating_add(1);
                let told = std::mem::replace(&mut opening.told, true);
                let rest = rest_after(opening.failures, result);
                let timer = self.timer(rest);
                if let Owner::Opening(opening) = &mut self.state.owner {
                    opening.stage = Stage::Resting { timer };
                }
                if !told {
                    self.send(Origin::Notice, self.context.policy.texts.team_unreachable.clone());
                }
            }
        }
    }

    fn salesforce(&mut self, event: &SalesforceEvent) {
        let thread_is_ours = self
            .state
            .contact
            .is_some_and(|contact| Conversation::thread_id(&self.context.key, contact) == event.thread);
        if !thread_is_ours {
            return;
        }
        match &event.what {
            Happening::RepWrote { text } => {
                self.rep_present(event.at);
                self.send(Origin::Rep, text.clone());
            }
            Happening::BotWrote { text } => self.send(Origin::Bot, text.clone()),
            Happening::RepJoined => self.rep_present(event.at),
            Happening::Status { session, .. } if self.state.ended_session.as_ref() == Some(session) => {}
            Happening::Status { status, session } => self.status(*status, session, event.at),
            Happening::RoutingFailed => self.routing_failed(),
            Happening::Closed => self.give_back(),
            // Transfers and conferences: the messaging session goes on.
            Happening::RepLeft | Happening::Other { .. } => {}
        }
    }

    fn status(&mut self, status: MessagingSessionStatus, session: &str, at: Millis) {
        if status == MessagingSessionStatus::Ended {
            self.state.ended_session = Some(session.to_owned());
            match &mut self.state.owner {
                // Our own call is not answered yet; its answer completes the turn.
                Owner::Opening(opening) => opening.ended = true,
                Owner::Waiting(_) | Owner::Live(_) | Owner::Inactive(_) => self.give_back(),
                Owner::Assistant => {}
            }
            return;
        }
        match (&mut self.state.owner, status) {
            (_, MessagingSessionStatus::Active) => self.rep_present(at),
            (
                Owner::Waiting(thread) | Owner::Live(thread) | Owner::Inactive(thread),
                MessagingSessionStatus::Waiting | MessagingSessionStatus::Inactive,
            ) => {
                // Events may arrive out of order: only a newer status counts.
                if at <= thread.status_at {
                    return;
                }
                thread.status_at = at;
                let thread = thread.clone();
                let was_live = matches!(self.state.owner, Owner::Live(_));
                self.state.owner = if status == MessagingSessionStatus::Waiting {
                    Owner::Waiting(thread)
                } else {
                    Owner::Inactive(thread)
                };
                if was_live {
                    self.state.epoch += 1;
                }
            }
            (
                Owner::Assistant | Owner::Opening(_),
                MessagingSessionStatus::Waiting | MessagingSessionStatus::Inactive,
            )
            | (_, MessagingSessionStatus::Other | MessagingSessionStatus::Ended) => {}
        }
    }

    fn rep_present(&mut self, at: Millis) {
        match &mut self.state.owner {
            Owner::Opening(opening) => opening.rep_present = true,
            Owner::Waiting(thread) | Owner::Inactive(thread) if at >= thread.status_at => {
                thread.status_at = at;
                self.state.owner = Owner::Live(thread.clone());
                self.state.epoch += 1;
            }
            Owner::Live(thread) => thread.status_at = thread.status_at.max(at),
            Owner::Waiting(_) | Owner::Inactive(_) | Owner::Assistant => {}
        }
    }

    fn routing_failed(&mut self) {
        let told = match &mut self.state.owner {
            Owner::Waiting(thread) => std::mem::replace(&mut thread.told_nobody, true),
            Owner::Opening(opening) => std::mem::replace(&mut opening.told, true),
            Owner::Assistant | Owner::Live(_) | Owner::Inactive(_) => return,
        };
        if !told {
            self.send(Origin::Notice, self.context.policy.texts.nobody_available.clone());
        }
    }

    fn undelivered(&mut self, reason: Undeliverable, excerpt: &str) {
        let thread = match &self.state.owner {
            Owner::Waiting(thread) | Owner::Live(thread) | Owner::Inactive(thread) => thread.id,
            Owner::Assistant | Owner::Opening(_) => return,
        };
        let why = match reason {
            Undeliverable::WindowClosed => {
                "WhatsApp's 24-hour window is closed: the customer has to write first, or gets a template"
                    .to_owned()
            }
            Undeliverable::Refused { code } => format!("WhatsApp refused it (code {code})"),
            Undeliverable::Unknown => "WhatsApp gave no answer: it may or may not have arrived".to_owned(),
        };
        self.call(Call::Note { thread, text: format!("Not delivered: “{excerpt}”. {why}.") });
    }

    fn fired(&mut self, timer: Cause) {
        let Owner::Opening(opening) = &mut self.state.owner else { return };
        if opening.stage == (Stage::Resting { timer }) {
            self.open();
        } else if opening.patience == timer && !std::mem::replace(&mut opening.told, true) {
            self.send(Origin::Notice, self.context.policy.texts.team_unreachable.clone());
        }
        // Any other timer was overtaken.
    }

    fn operator(&mut self, command: Command) {
        match (&self.state.owner, command) {
            (Owner::Assistant, Command::HandOff) if self.context.has_team && self.state.session.is_some() => {
                self.hand_off("an operator asked for it");
            }
            (Owner::Waiting(thread) | Owner::Live(thread) | Owner::Inactive(thread), Command::GiveBack) => {
                // The end comes back as an event, and with it the assistant.
                let thread = thread.id;
                self.call(Call::EndSession { thread });
            }
            (Owner::Assistant, Command::HandOff | Command::GiveBack)
            | (Owner::Opening(_), Command::HandOff | Command::GiveBack)
            | (Owner::Waiting(_) | Owner::Live(_) | Owner::Inactive(_), Command::HandOff) => {}
        }
    }

    fn hand_off(&mut self, reason: &str) {
        let (Some(contact), Some(session)) = (self.state.contact, &mut self.state.session) else { return };
        session.handoffs += 1;
        self.state.epoch += 1;
        let thread = Conversation::thread_id(&self.context.key, contact);
        let follow = self.push(Output::Follow { thread });
        let patience = self.timer(self.context.policy.opening_patience_seconds);
        self.state.owner = Owner::Opening(Opening {
            thread,
            follow,
            reason: reason.to_owned(),
            stage: Stage::Following,
            failures: 0,
            transcript_through: self.at.seq,
            held: None,
            told: false,
            patience,
            rep_present: false,
            ended: false,
        });
        self.send(Origin::Notice, self.context.policy.texts.connecting.clone());
    }

    fn open(&mut self) {
        let again = self.state.thread_created;
        let (Owner::Opening(opening), Some(session)) = (&self.state.owner, &self.state.session) else {
            return;
        };
        let call = self.call(Call::Open {
            thread: opening.thread,
            session: session.id,
            reason: opening.reason.clone(),
            from: session.first.max(session.shown_through + 1),
            through: opening.transcript_through,
            again,
        });
        if let Owner::Opening(opening) = &mut self.state.owner {
            opening.stage = Stage::Creating { call };
        }
    }

    fn opened(&mut self) {
        let Owner::Opening(opening) = self.state.owner.clone() else { return };
        self.state.thread_created = true;
        let thread =
            Thread { id: opening.thread, follow: opening.follow, status_at: 0, told_nobody: opening.told };
        if let Some(Held { from, through }) = opening.held {
            self.call(Call::Forward { thread: opening.thread, from, through });
        }
        self.state.owner = if opening.rep_present {
            self.state.epoch += 1;
            Owner::Live(thread)
        } else {
            Owner::Waiting(thread)
        };
        if opening.ended {
            self.give_back();
        }
    }

    /// The messaging session is over: the assistant is back.
    fn give_back(&mut self) {
        let thread = match &self.state.owner {
            Owner::Assistant => return,
            Owner::Opening(opening) => opening.thread,
            Owner::Waiting(thread) | Owner::Live(thread) | Owner::Inactive(thread) => thread.id,
        };
        self.push(Output::Unfollow { thread });
        self.state.owner = Owner::Assistant;
        self.state.epoch += 1;
        if let Some(session) = &mut self.state.session {
            session.human_until = Some(self.at.time);
            session.shown_through = self.at.seq;
        }
        self.send(Origin::Notice, self.context.policy.texts.chat_ended.clone());
    }

    fn ask_while_waiting(&mut self, message: &InboundMessage) {
        if self.context.assistant_on && self.context.policy.assist_while_waiting {
            self.ask(message, true);
        }
    }

    fn ask(&mut self, message: &InboundMessage, helping: bool) {
        let human_until = self.state.session.as_ref().and_then(|session| session.human_until);
        let ask = Ask { epoch: self.state.epoch, text: message.content.as_text(), helping, human_until };
        self.push(Output::Ask(ask));
    }

    fn send(&mut self, origin: Origin, text: String) {
        if text.trim().is_empty() {
            return;
        }
        let cause = self.next_cause();
        let id = derive::uuid("send", &[self.context.key.as_bytes(), cause.to_string().as_bytes()]);
        self.push(Output::Send(Send { id: SendId(id), text, origin }));
    }

    fn timer(&mut self, after: Duration) -> Cause {
        let at = self.at.time.saturating_add(millis(after));
        self.push(Output::Timer { at })
    }

    fn call(&mut self, call: Call) -> Cause {
        self.push(Output::Call(call))
    }

    fn push(&mut self, output: Output) -> Cause {
        let cause = self.next_cause();
        self.outputs.push(output);
        cause
    }

    fn next_cause(&self) -> Cause {
        let index = u32::try_from(self.outputs.len()).unwrap_or(u32::MAX);
        Cause { answers: self.at.seq, index }
    }
}

fn rest_after(failures: u32, result: CallResult) -> Duration {
    match result {
        // Only an operator can mend a refusal: no use in hurrying.
        CallResult::Refused => LONGEST_REST,
        CallResult::Done | CallResult::Unavailable => {
            FIRST_REST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_REST)
        }
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
