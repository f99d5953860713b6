//! One entry in words.

use std::collections::HashMap;

use domain::{
    Cause, Millis, SendId, Seq,
    message::{Content as Said, Speaker},
    session::{Call, ControlAction, Origin, Output, Send, Withholding},
};
use proto::{
    StoredDecision,
    v1::{self, assistant_answer, entry::Body, salesforce_event, send_outcome, undelivered},
};
use serde::Serialize;

use super::{Content, Delivery, Record, delivery::Deliveries, owner, time};

#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Line {
    /// Its position in the log.
    pub seq: Seq,
    pub at: String,
    /// Since the line before.
    pub since_previous_ms: Option<Millis>,
    /// As it stands in the subject: wa, st, ai, th, sf, und, snd, tm, op, out, cs, dec.
    pub kind: &'static str,
    pub who: Who,
    /// Of a person or a bot, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub what: String,
    /// Words that were said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The fact that this decision or answer is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Seq>,
    /// The message that this record or receipt is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub send: Option<SendId>,
    /// From the fact to this decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputLine>,
}

impl Line {
    /// Something that people said to one another.
    pub fn is_message(&self) -> bool {
        self.text.is_some() && matches!(self.kind, "wa" | "sf" | "ai")
    }

    /// Time of day.
    pub fn clock(&self) -> &str {
        self.at.get(11..23).unwrap_or(&self.at)
    }

    pub fn day(&self) -> &str {
        self.at.get(..10).unwrap_or_default()
    }

    pub fn since(&self) -> String {
        self.since_previous_ms.map(|ms| format!("+{}", duration(ms))).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    Customer,
    Assistant,
    Rep,
    /// A bot or an automation in Salesforce.
    Bot,
    Salesforce,
    Whatsapp,
    Operator,
    Baton,
}

impl Who {
    pub fn label(self) -> &'static str {
        match self {
            Self::Customer => "Customer",
            Self::Assistant => "Assistant",
            Self::Rep => "Rep",
            Self::Bot => "Bot",
            Self::Salesforce => "Salesforce",
            Self::Whatsapp => "WhatsApp",
            Self::Operator => "Operator",
            Self::Baton => "Baton",
        }
    }

    pub fn class(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Assistant => "assistant",
            Self::Rep | Self::Bot => "rep",
            Self::Salesforce | Self::Whatsapp | Self::Operator | Self::Baton => "system",
        }
    }
}

/// Something that a decision asked for.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct OutputLine {
    pub cause: String,
    /// send, ask, follow, unfollow, call, timer.
    pub output: &'static str,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Where its answer or result stands in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Seq>,
}

/// Goes through the entries in order and remembers what the next one needs.
pub(super) struct Teller<'a> {
    deliveries: &'a Deliveries,
    /// When each fact was stored.
    facts: HashMap<Seq, Millis>,
    /// Where each asked-for thing was answered.
    answers: HashMap<Cause, Seq>,
    previous_at: Option<Millis>,
    /// Owner and epoch after the decision before.
    before: Option<(&'static str, u32)>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(records: &[Record], deliveries: &'a Deliveries) -> Self {
        Self {
            deliveries,
            facts: records.iter().map(|record| (record.seq, record.at)).collect(),
            answers: records
                .iter()
                .filter_map(|record| Some((answered(record.body()?)?.parse().ok()?, record.seq)))
                .collect(),
            previous_at: None,
            before: None,
        }
    }

    pub(super) fn tell(&mut self, record: &Record) -> Line {
        let mut line = Line {
            seq: record.seq,
            at: time(record.at),
            since_previous_ms: self.previous_at.replace(record.at).map(|before| record.at - before),
            kind: record.kind.as_str(),
            who: Who::Baton,
            name: None,
            what: String::new(),
            text: None,
            answers: None,
            send: None,
            took_ms: None,
            outputs: Vec::new(),
        };
        match &record.content {
            Content::Decision(stored) => self.decision(stored, record, &mut line),
            Content::Other(body) => (line.who, line.what) = self.fact(body, &mut line),
            Content::Unreadable => "an entry that this console cannot read".clone_into(&mut line.what),
        }
        line
    }

    fn decision(&mut self, stored: &StoredDecision, record: &Record, line: &mut Line) {
        let state = &stored.decision.state;
        let now = (owner(&state.owner), state.epoch);
        line.what = match self.before.replace(now) {
            Some((before, _)) if before != now.0 => {
                format!("decided on #{}: {before} → {} (epoch {})", stored.answers, now.0, now.1)
            }
            Some(_) | None => format!("decided on #{} ({}, epoch {})", stored.answers, now.0, now.1),
        };
        line.answers = Some(stored.answers);
        line.took_ms = self.facts.get(&stored.answers).map(|at| record.at - at);
        for (cause, output) in stored.outputs() {
            line.outputs.push(self.output(cause, output));
        }
    }

    fn output(&self, cause: Cause, output: &Output) -> OutputLine {
        let mut line = OutputLine {
            cause: cause.to_string(),
            output: "",
            what: String::new(),
            text: None,
            delivery: None,
            answered_at: self.answers.get(&cause).copied(),
        };
        (line.output, line.what) = match output {
            Output::Send(Send { id, body, quotes: _, origin, mark: _, not_after: _ }) => {
                line.text = Some(body.as_text());
                line.delivery = self.deliveries.get(*id).cloned();
                let of = match origin {
                    Origin::Assistant => "the assistant's message",
                    Origin::Rep => "the rep's message",
                    Origin::Bot => "the bot's message",
                    Origin::Notice => "a notice",
                    Origin::Campaign => "the template",
                };
                ("send", of.into())
            }
            Output::Seen { typing: true, .. } => ("seen", "show read and typing".into()),
            Output::Seen { typing: false, .. } => ("seen", "show read".into()),
            Output::Control(ControlAction::Take) => ("control", "take the thread".into()),
            Output::Control(ControlAction::Release) => ("control", "release the thread".into()),
            Output::Move(_) => ("move", "carry the session over to the customer's new ids".into()),
            Output::Ask(ask) if ask.helping => ("ask", "ask the assistant to help meanwhile".into()),
            Output::Ask(_) => ("ask", "ask the assistant".into()),
            Output::Follow { thread } => ("follow", format!("follow thread {thread}")),
            Output::Unfollow { thread } => ("unfollow", format!("thread {thread} is over")),
            Output::Withheld { why: Withholding::OptedOut, .. } => {
                ("withheld", "not sent: the customer wants no marketing messages".into())
            }
            Output::Withheld { why: Withholding::TooLate, .. } => {
                ("withheld", "not sent: it came too late".into())
            }
            Output::Replied(replied) => ("replied", format!("answers the campaign {}", replied.name)),
            Output::Consent { wanted: true } => ("consent", "marketing messages are welcome again".into()),
            Output::Consent { wanted: false } => ("consent", "no more marketing messages".into()),
            Output::Timer { at } => ("timer", format!("timer for {}", time(*at))),
            Output::Call(call) => {
                let what = match call {
                    Call::Open { from, through, brief, again, .. } => {
                        let verb =
                            if *again { "open a new messaging session" } else { "create the conversation" };
                        format!("{verb}, transcript #{from} to #{through}, reason: {}", brief.reason)
                    }
                    Call::Forward { from, through, .. } if from == through => {
                        format!("forward #{from} to people")
                    }
                    Call::Forward { from, through, .. } => format!("forward #{from} to #{through} to people"),
                    Call::Note { text, .. } => {
                        line.text = Some(text.clone());
                        "note for the rep".into()
                    }
                    Call::EndSession { .. } => "end the messaging session".into(),
                };
                ("call", what)
            }
        };
        line
    }

    fn fact(&self, body: &Body, line: &mut Line) -> (Who, String) {
        match body {
            Body::WhatsappMessage(message) => wrote(message, line),
            Body::WhatsappStatus(status) => {
                line.send = self.deliveries.send_of_status(status);
                let codes: Vec<_> = status.problems.iter().map(|problem| problem.code.to_string()).collect();
                let codes =
                    if codes.is_empty() { String::new() } else { format!(" (code {})", codes.join(", ")) };
                (Who::Whatsapp, format!("receipt: {}{codes}", status.status))
            }
            Body::AssistantAnswer(answer) => (Who::Assistant, self.answer(answer, line)),
            Body::Outreach(outreach) => {
                let text = outreach.template.as_ref().and_then(|template| template.preview.clone());
                line.text = text;
                let what = if outreach.mark.is_some() { "campaign" } else { "template" };
                (Who::Baton, format!("{what} {}", outreach.name))
            }
            Body::Consent(consent) => {
                let what = if consent.wanted { "welcome again" } else { "no longer wanted" };
                (Who::Customer, format!("marketing messages are {what}"))
            }
            Body::ThreadFollowed(_) => (Who::Baton, "follows the thread: its event stream is up".into()),
            Body::CallResult(result) => {
                let became = match result.result() {
                    v1::call_result::Result::Done => "done",
                    v1::call_result::Result::Unavailable => "Salesforce is unavailable",
                    v1::call_result::Result::Refused => "refused",
                    v1::call_result::Result::Unspecified => "unknown",
                };
                let detail =
                    if result.detail.is_empty() { String::new() } else { format!(" ({})", result.detail) };
                (Who::Salesforce, format!("call {}: {became}{detail}", result.call))
            }
            Body::SalesforceEvent(event) => salesforce(event, line),
            Body::Undelivered(undelivered) => {
                line.send = self.deliveries.send_of(&undelivered.send);
                line.text = Some(undelivered.excerpt.clone());
                let why = match &undelivered.reason {
                    Some(undelivered::Reason::WindowClosed(_)) => "the 24-hour window is closed".to_owned(),
                    Some(undelivered::Reason::Refused(refused)) => format!("refused (code {})", refused.code),
                    Some(undelivered::Reason::File(_)) => "the file could not be passed on".to_owned(),
                    Some(undelivered::Reason::Unknown(_)) | None => {
                        "it may or may not have arrived".to_owned()
                    }
                };
                (Who::Whatsapp, format!("not delivered: {why}"))
            }
            Body::TimerFired(fired) => (Who::Baton, format!("timer {} fired", fired.timer)),
            Body::OperatorCommand(command) => {
                line.name = Some(command.by.clone());
                let what = match command.command() {
                    v1::operator_command::Command::HandOff => "asks for a handoff",
                    v1::operator_command::Command::GiveBack => "gives the conversation back",
                    v1::operator_command::Command::Unspecified => "commands something unknown",
                };
                (Who::Operator, what.into())
            }
            Body::SendIntent(intent) => {
                line.send = self.deliveries.send_of(&intent.send);
                (Who::Baton, format!("sends to WhatsApp, attempt {}", intent.attempt))
            }
            Body::SendOutcome(outcome) => {
                line.send = self.deliveries.send_of(&outcome.send);
                (Who::Whatsapp, format!("attempt {}: {}", outcome.attempt, became(outcome)))
            }
            Body::MediaFetched(fetched) => (Who::Baton, file(fetched)),
            Body::Adopted(_) => (Who::Baton, "the customer's ids changed: the session goes on here".into()),
            Body::AccountEvent(event) => (Who::Whatsapp, format!("account event: {}", event.field)),
            // A decision is a content of its own.
            Body::Decision(_) => (Who::Baton, "decided".into()),
        }
    }

    fn answer(&self, answer: &v1::AssistantAnswer, line: &mut Line) -> String {
        line.answers = answer.ask.parse::<Cause>().ok().map(|cause| cause.answers);
        let mut what = match &answer.answer {
            Some(assistant_answer::Answer::Reply(reply)) => {
                line.text = Some(reply.as_text());
                "answered".to_owned()
            }
            Some(assistant_answer::Answer::Handoff(handoff)) => {
                format!("asks for a person: {}", handoff.reason)
            }
            Some(assistant_answer::Answer::Close(_)) => "closed the session".to_owned(),
            Some(assistant_answer::Answer::Silence(_)) => "kept silent".to_owned(),
            None => "answered nothing".to_owned(),
        };
        if let Some((_, epoch)) = self.before
            && epoch != answer.epoch
        {
            what.push_str(&format!(" (dropped: asked in epoch {}, now {epoch})", answer.epoch));
        }
        what
    }
}

/// The cause that an entry answers.
fn answered(body: &Body) -> Option<&str> {
    match body {
        Body::AssistantAnswer(answer) => Some(&answer.ask),
        Body::CallResult(result) => Some(&result.call),
        Body::ThreadFollowed(followed) => Some(&followed.follow),
        Body::TimerFired(fired) => Some(&fired.timer),
        Body::WhatsappMessage(_)
        | Body::WhatsappStatus(_)
        | Body::SalesforceEvent(_)
        | Body::Undelivered(_)
        | Body::OperatorCommand(_)
        | Body::Decision(_)
        | Body::SendIntent(_)
        | Body::SendOutcome(_)
        | Body::MediaFetched(_)
        | Body::Adopted(_)
        | Body::Outreach(_)
        | Body::Consent(_)
        | Body::AccountEvent(_) => None,
    }
}

fn wrote(message: &v1::WhatsAppMessage, line: &mut Line) -> (Who, String) {
    let Ok(message) = proto::convert::inbound(message.clone()) else {
        return (Who::Customer, "sent something that this console cannot read".into());
    };
    if let Said::Notice { kind } = &message.content {
        return (Who::Whatsapp, format!("notice: {kind}"));
    }
    let (speaker, content) = message.content.spoken();
    let who = match speaker {
        Speaker::Customer => Who::Customer,
        Speaker::Colleague => Who::Operator,
        Speaker::OtherResponder => Who::Assistant,
    };
    line.text = Some(content.as_text());
    let what = match (&message.content, content) {
        (Said::Echo(_), _) => "wrote in the WhatsApp Business app",
        (Said::OtherResponder(_), _) => "wrote (another responder)",
        (Said::Standby(_), _) => "wrote (another responder has the thread)",
        (_, Said::Text(_)) => "wrote",
        (_, Said::Media(media)) => return (who, format!("sent: {}", media.kind.as_str())),
        (_, Said::Other { kind, .. }) => return (who, format!("sent: {kind}")),
        (_, Said::Location(_)) => "sent: location",
        (_, Said::Contacts(_)) => "sent: contacts",
        (_, Said::Choice(_)) => "chose",
        (_, Said::Form(_)) => "answered a form",
        (_, Said::Order(_)) => "ordered",
        (_, Said::Reaction { .. }) => "reacted",
        (_, Said::Edited { .. }) => "changed a message",
        (_, Said::Revoked { .. }) => "deleted a message",
        (_, Said::Unsupported { .. }) => "sent something that WhatsApp does not pass on",
        (_, Said::Identity(_)) => "has another number or user id",
        (_, Said::ControlPassed { .. }) => "was passed on to us by another responder",
        (_, Said::ControlTaken) => "was taken by another responder",
        (_, Said::MarketingConsent { .. }) => "said whether marketing is welcome",
        (_, Said::Notice { .. } | Said::Echo(_) | Said::Standby(_) | Said::OtherResponder(_)) => {
            "sent something"
        }
    };
    (who, what.into())
}

fn file(fetched: &v1::MediaFetched) -> String {
    match &fetched.result {
        Some(v1::media_fetched::Result::Stored(stored)) => {
            format!("the customer's file is kept: {}, {} bytes", stored.mime, stored.bytes)
        }
        Some(v1::media_fetched::Result::Failed(why)) => {
            format!("the customer's file could not be fetched: {why}")
        }
        None => "the customer's file: unknown".into(),
    }
}

fn salesforce(event: &v1::SalesforceEvent, line: &mut Line) -> (Who, String) {
    let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    match &event.what {
        Some(salesforce_event::What::RepWrote(text)) => {
            line.text = Some(text.as_text());
            line.name = named(&text.sender);
            (Who::Rep, "wrote".into())
        }
        Some(salesforce_event::What::BotWrote(text)) => {
            line.text = Some(text.as_text());
            line.name = named(&text.sender);
            (Who::Bot, "wrote".into())
        }
        Some(salesforce_event::What::RepJoined(rep)) => {
            line.name = named(&rep.name);
            (Who::Rep, "joined".into())
        }
        Some(salesforce_event::What::RepLeft(rep)) => {
            line.name = named(&rep.name);
            (Who::Rep, "left".into())
        }
        Some(salesforce_event::What::RepTyping(_)) => (Who::Rep, "is typing".into()),
        Some(salesforce_event::What::Queued(queued)) => {
            let place = queued.position.map_or_else(String::new, |position| format!(": number {position}"));
            (Who::Salesforce, format!("in the queue{place}"))
        }
        Some(salesforce_event::What::SessionStatus(status)) => {
            (Who::Salesforce, format!("messaging session: {}", status.status))
        }
        Some(salesforce_event::What::RoutingFailed(failed)) => {
            (Who::Salesforce, format!("routing failed: {}", failed.reason))
        }
        Some(salesforce_event::What::Closed(_)) => (Who::Salesforce, "conversation closed".into()),
        Some(salesforce_event::What::Other(other)) => (Who::Salesforce, format!("event: {}", other.event)),
        None => (Who::Salesforce, "event without content".into()),
    }
}

fn became(outcome: &v1::SendOutcome) -> String {
    match &outcome.outcome {
        Some(send_outcome::Outcome::Accepted(accepted)) if accepted.answered => "accepted".into(),
        Some(send_outcome::Outcome::Accepted(_)) => "accepted, as a receipt told".into(),
        Some(send_outcome::Outcome::Refused(refused)) => format!("refused (code {})", refused.code),
        Some(send_outcome::Outcome::InDoubt(_)) => "in doubt: neither answer nor receipt".into(),
        Some(send_outcome::Outcome::NotSent(_)) => "not sent".into(),
        None => "unknown".into(),
    }
}

fn duration(ms: Millis) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}
