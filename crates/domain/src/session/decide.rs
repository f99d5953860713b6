//! The transitions. One function a kind of fact, every arm spelt out.

use std::time::Duration;

use super::{
    Answer, Answered, At, Brief, Call, CallResult, Command, Context, ControlAction, Conversation, Decision,
    Fact, Happening, MessagingSessionStatus, Opening, Origin, Output, Owner, SalesforceEvent, Session, Stage,
    Thread,
};
use crate::{
    Cause, Millis, SessionId, derive,
    message::{Content, IdentityChange, InboundMessage},
    settings::{Nobody, Texts},
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
        Fact::Undelivered { send, reason, excerpt, lost } => {
            turn.undelivered(*send, *reason, excerpt, lost.as_ref());
        }
        Fact::Fired { timer } => turn.fired(*timer),
        Fact::Operator(command) => turn.operator(*command),
        Fact::Adopted(state) => turn.adopted(state),
        Fact::Outreach(outreach) => turn.outreach(outreach),
        Fact::Consent { wanted, .. } => turn.state.no_marketing = !wanted,
    }
    // Asked for under another owner: there is nothing left to ask.
    let epoch = turn.state.epoch;
    turn.state.unanswered.take_if(|waiting| waiting.epoch != epoch);
    Decision { state: turn.state, outputs: turn.outputs }
}

pub(super) struct Turn<'a> {
    pub(super) at: At,
    pub(super) context: &'a Context<'a>,
    pub(super) state: Conversation,
    pub(super) outputs: Vec<Output>,
}

impl Turn<'_> {
    fn inbound(&mut self, message: &InboundMessage) {
        match &message.content {
            Content::Text(_)
            | Content::Media(_)
            | Content::Location(_)
            | Content::Contacts(_)
            | Content::Choice(_)
            | Content::Form(_)
            | Content::Order(_)
            | Content::Unsupported { .. }
            | Content::Other { .. } => self.said(message),
            // It opens the window, wants no answer, and the rep sees it.
            Content::Reaction { .. } => {
                self.meet(message);
                self.unpark();
                self.mark();
            }
            Content::Edited { .. } | Content::Revoked { .. } => self.mark(),
            Content::Identity(change) => self.identity_changed(change),
            Content::Echo(content) => self.answered_in_the_app(&content.as_text()),
            Content::Standby(_) => {
                self.meet(message);
                self.state.elsewhere = true;
                self.open_session(message);
            }
            Content::OtherResponder(_) => self.state.elsewhere = true,
            Content::ControlPassed { reason, summary } => {
                self.meet(message);
                self.state.elsewhere = false;
                self.open_session(message);
                if self.state.owner == Owner::Assistant && self.context.has_team {
                    let reason = reason.as_deref().unwrap_or("another responder passed the conversation on");
                    self.want_a_person(Brief { summary: summary.clone(), ..Brief::because(reason) });
                }
            }
            Content::ControlTaken => {
                self.state.elsewhere = true;
                self.state.epoch += 1;
            }
            Content::MarketingConsent { wanted } => self.consent(*wanted),
            Content::Notice { .. } => {}
        }
    }

    /// What every sign of life of the customer tells.
    fn meet(&mut self, message: &InboundMessage) {
        // Some events name nobody, some name less than the messages before them.
        if let Some(customer) = message.customer.id().map(|_| &message.customer) {
            let name = customer.name.clone().or_else(|| self.state.customer.name.take());
            self.state.customer = crate::message::Customer { name, ..customer.clone() };
        }
        self.state.group.clone_from(&message.context.group);
        self.state.contact.get_or_insert(self.context.contact);
        self.state.customer_wrote_at = self.state.customer_wrote_at.max(message.sent_at);
    }

    /// The episode of support that a message belongs to: the present one, or a new one.
    fn open_session(&mut self, message: &InboundMessage) {
        if self.state.session.is_none() {
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
    }

    /// The customer said something that wants an answer.
    fn said(&mut self, message: &InboundMessage) {
        let silence = message.sent_at.saturating_sub(self.state.customer_wrote_at);
        if self.state.owner == Owner::Assistant
            && silence > millis(self.context.policy.auto_resolve_after_seconds)
        {
            self.state.session = None;
        }
        self.meet(message);
        self.state.last_wamid = Some(message.wamid.clone());
        self.state.elsewhere = false;
        self.open_session(message);
        self.unpark();
        if self.replied(message) {
            return;
        }

        let seq = self.at.seq;
        match &mut self.state.owner {
            Owner::Assistant if self.at.time < self.state.quiet_until => {}
            Owner::Assistant if self.context.assistant_on => {
                self.seen(true);
                self.ask(message.content.as_text());
            }
            Owner::Assistant => self.without_assistant(),
            Owner::Opening(opening) => {
                opening.hold(seq);
                self.ask_while_waiting(message);
            }
            Owner::Waiting(_) => {
                self.forward();
                if !self.stopped(message) {
                    self.ask_while_waiting(message);
                }
            }
            Owner::Live(_) | Owner::Inactive(_) => {
                self.forward();
                self.stopped(message);
            }
        }
    }

    pub(super) fn without_assistant(&mut self) {
        if self.context.has_team {
            self.want_a_person(Brief::because("the assistant is switched off"));
        }
    }

    /// Something about an earlier message: the rep sees it, nobody answers it.
    fn mark(&mut self) {
        let seq = self.at.seq;
        match &mut self.state.owner {
            Owner::Assistant => {}
            Owner::Opening(opening) => opening.hold(seq),
            Owner::Waiting(_) | Owner::Live(_) | Owner::Inactive(_) => self.forward(),
        }
    }

    /// A stop word ends the chat, once the rep has everything up to it.
    fn stopped(&mut self, message: &InboundMessage) -> bool {
        let Content::Text(text) = &message.content else { return false };
        let text = text.trim().to_lowercase();
        if !self.context.policy.stop_words.iter().any(|word| word.to_lowercase() == text) {
            return false;
        }
        self.flush();
        if let Some(thread) = self.state.owner.thread_mut().map(|thread| thread.id) {
            self.call(Call::EndSession { thread });
        }
        true
    }

    /// A person of the business has answered: the assistant does not talk over them.
    fn answered_in_the_app(&mut self, text: &str) {
        self.state.epoch += 1;
        self.state.quiet_until = self.at.time.saturating_add(millis(self.context.policy.echo_quiet_seconds));
        self.note(format!("Answered in the WhatsApp Business app: {text}"));
    }

    /// The customer goes by other ids. Under the same conversation key that is all; else what this
    /// conversation has goes to the one under the new ids.
    fn identity_changed(&mut self, IdentityChange { before, after }: &IdentityChange) {
        let name = self.state.customer.name.clone();
        let customer = crate::message::Customer { name: after.name.clone().or(name), ..after.clone() };
        self.state.customer = customer;
        if self.state.group.is_some() || before.id() == after.id() || after.id().is_none() {
            return;
        }
        self.push(Output::Move(Box::new(self.state.clone())));
        if let Some((thread, _)) = self.state.followed_thread() {
            self.push(Output::Unfollow { thread });
        }
        self.state.owner = Owner::Assistant;
        self.state.session = None;
        self.state.parked = None;
        self.state.epoch += 1;
    }

    /// What the conversation under the customer's earlier ids had.
    fn adopted(&mut self, before: &Conversation) {
        self.state.contact = before.contact.or(self.state.contact);
        self.state.customer_wrote_at = self.state.customer_wrote_at.max(before.customer_wrote_at);
        self.state.no_marketing |= before.no_marketing;
        self.state.outreach_answered = self.state.outreach_answered.max(before.outreach_answered);
        self.state.outreaches.splice(..0, before.outreaches.iter().cloned());
        let over = self.state.outreaches.len().saturating_sub(crate::outreach::Sent::LIMIT);
        self.state.outreaches.drain(..over);
        self.state.language = self.state.language.take().or_else(|| before.language.clone());
        if self.state.customer.id().is_none() {
            self.state.customer = before.customer.clone();
        }
        // The customer wrote under the new ids already, and somebody takes care of it.
        if self.state.owner != Owner::Assistant {
            return;
        }
        self.state.epoch = self.state.epoch.max(before.epoch) + 1;
        self.state.thread = before.thread;
        self.state.thread_created = before.thread_created;
        self.state.ended_session.clone_from(&before.ended_session);
        // What the customer wrote under the new ids before we were told of the change.
        let unseen = self.state.session.as_ref().map(|session| session.first);
        if let Some(session) = &before.session {
            let shown_through = self.at.seq;
            self.state.session = Some(Session { first: self.at.seq, shown_through, ..session.clone() });
        }
        match &before.owner {
            // The timer of the quiet time fires where it was set: nobody waits for it here.
            Owner::Assistant => {
                if let Some(waiting) = &before.unanswered
                    && self.context.assistant_on
                {
                    self.ask(waiting.text.clone());
                }
            }
            // Whatever the hours: it was decided before.
            Owner::Opening(opening) => self.hand_off(opening.brief.clone()),
            Owner::Waiting(thread) => self.state.owner = Owner::Waiting(self.refollowed(thread)),
            Owner::Live(thread) => self.state.owner = Owner::Live(self.refollowed(thread)),
            Owner::Inactive(thread) => self.state.owner = Owner::Inactive(self.refollowed(thread)),
        }
        if let Some(from) = unseen {
            self.forward_from(from);
        }
        if let Some(parked) = &before.parked {
            let expiry = self.timer(self.context.policy.parked_keep_seconds);
            self.state.parked = Some(super::Parked { expiry, ..parked.clone() });
        }
    }

    fn refollowed(&mut self, thread: &Thread) -> Thread {
        let follow = self.push(Output::Follow { thread: thread.id });
        Thread { follow, ..thread.clone() }
    }

    fn seen(&mut self, typing: bool) {
        if let (true, Some(wamid)) = (self.context.policy.read_receipts, self.state.last_wamid.clone()) {
            self.push(Output::Seen { wamid, typing });
        }
    }

    fn answered(&mut self, Answered { epoch, answer, language, .. }: &Answered) {
        // Asked under another owner, or about less than was said by now: whatever it says, it would
        // talk over somebody.
        if *epoch != self.state.epoch {
            return;
        }
        self.is_answered();
        if language.is_some() {
            self.state.language.clone_from(language);
        }
        match (&self.state.owner, answer) {
            (_, Answer::Silence) => {}
            (Owner::Assistant, Answer::Reply { .. } | Answer::Close { .. })
                if self.state.elsewhere || self.at.time < self.state.quiet_until => {}
            (Owner::Assistant | Owner::Opening(_), Answer::Reply { body }) => {
                self.send(Origin::Assistant, body.clone(), None);
            }
            (Owner::Waiting(_), Answer::Reply { body }) => {
                self.send(Origin::Assistant, body.clone(), None);
                self.note(format!("Assistant: {}", body.as_text()));
            }
            // What the customer writes next is another episode.
            (Owner::Assistant, Answer::Close { body }) => {
                if let Some(body) = body {
                    self.send(Origin::Assistant, body.clone(), None);
                }
                self.state.session = None;
            }
            (Owner::Assistant, Answer::Handoff(brief)) if self.context.has_team => {
                self.want_a_person(brief.clone());
            }
            (Owner::Assistant, Answer::Handoff(_)) => {
                self.send_text(Origin::Notice, self.texts().no_team.clone());
            }
            // Already on the way to a person, who decides when it is over.
            (Owner::Opening(_) | Owner::Waiting(_), Answer::Handoff(_) | Answer::Close { .. }) => {}
            // Cannot be: entering these states raised the epoch. A person is there in any case.
            (
                Owner::Live(_) | Owner::Inactive(_),
                Answer::Reply { .. } | Answer::Handoff(_) | Answer::Close { .. },
            ) => {}
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
                    self.send_text(Origin::Notice, self.texts().team_unreachable.clone());
                }
            }
        }
    }

    fn salesforce(&mut self, event: &SalesforceEvent) {
        if self.state.thread_id(&self.context.key) != Some(event.thread) {
            return;
        }
        match &event.what {
            Happening::RepWrote { bodies } => {
                self.rep_present(event.at);
                for body in bodies {
                    self.send(Origin::Rep, body.clone(), None);
                }
            }
            Happening::BotWrote { bodies } => {
                for body in bodies {
                    self.send(Origin::Bot, body.clone(), None);
                }
            }
            Happening::RepTyping => {
                if matches!(self.state.owner, Owner::Live(_)) {
                    self.seen(true);
                }
            }
            Happening::Queued { position, .. } => self.queued(*position),
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
        let (told, thread) = match &mut self.state.owner {
            Owner::Waiting(thread) => (std::mem::replace(&mut thread.told_nobody, true), Some(thread.id)),
            Owner::Opening(opening) => (std::mem::replace(&mut opening.told, true), None),
            Owner::Assistant | Owner::Live(_) | Owner::Inactive(_) => return,
        };
        match (self.context.policy.nobody_available, thread) {
            (Nobody::BackToAssistant, Some(thread)) if self.context.assistant_on => {
                self.call(Call::EndSession { thread });
                self.back_to_assistant(self.texts().nobody_goodbye.clone());
            }
            (Nobody::BackToAssistant | Nobody::KeepWaiting, _) => {
                if !told {
                    self.send_text(Origin::Notice, self.texts().nobody_available.clone());
                }
            }
        }
    }

    /// The place in the queue: a hint, and not too often.
    fn queued(&mut self, position: Option<u32>) {
        let every = self.context.policy.queue_notice_seconds;
        let (Owner::Waiting(thread), Some(position)) = (&mut self.state.owner, position) else { return };
        if every.is_zero() || self.at.time.saturating_sub(thread.told_place_at) < millis(every) {
            return;
        }
        thread.told_place_at = self.at.time;
        let text = self.texts().queue_position.replace("{position}", &position.to_string());
        self.send_text(Origin::Notice, text);
    }

    fn fired(&mut self, timer: Cause) {
        if self.parked_expired(timer) || self.flush_is_due(timer) || self.quiet_is_over(timer) {
            return;
        }
        let Owner::Opening(opening) = &mut self.state.owner else { return };
        if opening.stage == (Stage::Resting { timer }) {
            self.open();
        } else if opening.patience == timer && !std::mem::replace(&mut opening.told, true) {
            self.send_text(Origin::Notice, self.texts().team_unreachable.clone());
        }
        // Any other timer was overtaken.
    }

    fn operator(&mut self, command: Command) {
        match (&self.state.owner, command) {
            (Owner::Assistant, Command::HandOff) if self.context.has_team && self.state.session.is_some() => {
                self.hand_off(Brief::because("an operator asked for it"));
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

    /// Now, whatever the hours say.
    pub(super) fn hand_off(&mut self, brief: Brief) {
        if brief.language.is_some() {
            self.state.language.clone_from(&brief.language);
        }
        let text = self.texts().connecting.clone();
        self.open_thread(brief, text, false);
    }

    /// `note_only`: only for what was said to be there.
    pub(super) fn open_thread(&mut self, brief: Brief, text: String, note_only: bool) {
        let thread = self.state.thread_id(&self.context.key);
        let (Some(thread), Some(session)) = (thread, &mut self.state.session) else { return };
        session.handoffs += 1;
        self.state.epoch += 1;
        self.state.thread = Some(thread);
        if self.context.routing {
            self.push(Output::Control(ControlAction::Take));
        }
        let follow = self.push(Output::Follow { thread });
        let patience = self.timer(self.context.policy.opening_patience_seconds);
        self.state.owner = Owner::Opening(Opening {
            thread,
            follow,
            brief,
            stage: Stage::Following,
            failures: 0,
            transcript_through: self.at.seq,
            held: None,
            told: false,
            patience,
            rep_present: false,
            ended: false,
            note_only,
        });
        self.send_text(Origin::Notice, text);
    }

    fn open(&mut self) {
        let again = self.state.thread_created;
        let (Owner::Opening(opening), Some(session)) = (&self.state.owner, &self.state.session) else {
            return;
        };
        let call = self.call(Call::Open {
            thread: opening.thread,
            session: session.id,
            brief: opening.brief.clone(),
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
        let thread = Thread { told_nobody: opening.told, ..Thread::new(opening.thread, opening.follow) };
        self.state.owner = if opening.rep_present {
            self.state.epoch += 1;
            Owner::Live(thread)
        } else {
            Owner::Waiting(thread)
        };
        self.opened_with(opening.held);
        if opening.ended {
            self.give_back();
        } else if opening.note_only {
            self.note_is_left();
        }
    }

    /// The messaging session is over: the assistant is back.
    fn give_back(&mut self) {
        self.back_to_assistant(self.texts().chat_ended.clone());
    }

    fn back_to_assistant(&mut self, goodbye: String) {
        if self.state.owner != Owner::Assistant {
            self.assistant_is_back();
            self.send_text(Origin::Notice, goodbye);
        }
    }

    pub(super) fn assistant_is_back(&mut self) {
        let thread = match &self.state.owner {
            Owner::Assistant => return,
            Owner::Opening(opening) => opening.thread,
            Owner::Waiting(thread) | Owner::Live(thread) | Owner::Inactive(thread) => thread.id,
        };
        let unseen = self.state.owner.thread_mut().and_then(|thread| thread.held);
        self.push(Output::Unfollow { thread });
        if self.context.routing {
            self.push(Output::Control(ControlAction::Release));
        }
        self.state.owner = Owner::Assistant;
        self.state.epoch += 1;
        if let Some(session) = &mut self.state.session {
            session.human_until = Some(self.at.time);
            session.shown_through = unseen.map_or(self.at.seq, |held| held.from - 1);
        }
    }

    fn ask_while_waiting(&mut self, message: &InboundMessage) {
        if self.context.assistant_on && self.context.policy.assist_while_waiting {
            self.ask(message.content.as_text());
        }
    }

    /// What Baton says, in the customer's language as far as it is known.
    pub(super) fn texts(&self) -> &Texts {
        self.context.policy.texts_in(self.state.language.as_deref())
    }

    pub(super) fn timer(&mut self, after: Duration) -> Cause {
        let at = self.at.time.saturating_add(millis(after));
        self.push(Output::Timer { at })
    }

    pub(super) fn call(&mut self, call: Call) -> Cause {
        self.push(Output::Call(call))
    }

    pub(super) fn push(&mut self, output: Output) -> Cause {
        let cause = self.next_cause();
        self.outputs.push(output);
        cause
    }

    pub(super) fn next_cause(&self) -> Cause {
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

pub(super) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
