//! A session's story, told from the log's entries. Pure.

mod delivery;
mod line;

use std::ops::Range;

use domain::{
    Cause, ConversationKey, Millis, Seq, SessionId,
    session::{Call, Conversation, Output, Owner},
};
use proto::{
    StoredDecision,
    subjects::{Address, Kind},
    v1::{self, entry::Body},
};
use schemars::JsonSchema;
use serde::Serialize;

use self::{delivery::Deliveries, line::Teller};
pub use self::{
    delivery::{Delivery, State as DeliveryState, Tick},
    line::{Line, OutputLine, Who},
};

/// An entry of a conversation, decoded.
#[derive(Clone)]
pub struct Record {
    pub seq: Seq,
    pub at: Millis,
    pub kind: Kind,
    pub content: Content,
}

#[derive(Clone)]
pub enum Content {
    Decision(Box<StoredDecision>),
    Other(Box<Body>),
    /// Written by something newer, or not by us: shown as a gap, never hidden.
    Unreadable,
}

impl Record {
    /// `None` for what is not a conversation's.
    pub fn of(entry: &bus::Entry) -> Option<Self> {
        let Address { kind, .. } = entry.address.clone()?;
        let content = match proto::decode(entry.payload.clone()) {
            Ok(Body::Decision(decision)) => match StoredDecision::try_from(decision) {
                Ok(stored) => Content::Decision(Box::new(stored)),
                Err(_) => Content::Unreadable,
            },
            Ok(body) => Content::Other(Box::new(body)),
            Err(_) => Content::Unreadable,
        };
        Some(Self { seq: entry.seq, at: entry.at, kind, content })
    }

    fn decision(&self) -> Option<&StoredDecision> {
        match &self.content {
            Content::Decision(stored) => Some(stored),
            Content::Other(_) | Content::Unreadable => None,
        }
    }

    fn body(&self) -> Option<&Body> {
        match &self.content {
            Content::Other(body) => Some(body),
            Content::Decision(_) | Content::Unreadable => None,
        }
    }
}

/// Which facts of a conversation are a session's: from its first to before the next session's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    pub facts: Range<Seq>,
    /// Where the decision stands that opened the next session; none while this one lasts.
    pub superseded_at: Option<Seq>,
}

impl Extent {
    /// From the conversation's decisions, in order.
    pub fn find<'a>(
        session: SessionId,
        decisions: impl IntoIterator<Item = (Seq, &'a StoredDecision)>,
    ) -> Option<Self> {
        let mut found: Option<Self> = None;
        for (seq, stored) in decisions {
            let Some(of) = &stored.decision.state.session else { continue };
            match &mut found {
                None if of.id == session => {
                    found = Some(Self { facts: of.first..Seq::MAX, superseded_at: None });
                }
                Some(extent) if of.id != session => {
                    extent.facts.end = of.first;
                    extent.superseded_at = Some(seq);
                    return found;
                }
                None | Some(_) => {}
            }
        }
        found
    }
}

/// What is told about a session, without its entries.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Summary {
    /// `OpencxSessionId`.
    #[schemars(with = "String")]
    pub id: SessionId,
    /// The conversation's key: what stands in subjects, logs and traces.
    pub conversation: String,
    pub contact: Option<String>,
    /// The business number at Meta.
    pub phone_number_id: String,
    pub opened_at: String,
    /// No later session of this conversation has begun.
    pub current: bool,
    pub handoffs: u32,
    /// When people last gave it back.
    pub human_until: Option<String>,
    pub owner: &'static str,
    pub epoch: u32,
    /// The Salesforce conversation that is followed now.
    pub thread: Option<String>,
}

impl Summary {
    pub fn of(key: &ConversationKey, state: &Conversation, current: bool) -> Option<Self> {
        let session = state.session.as_ref()?;
        Some(Self {
            id: session.id,
            conversation: key.to_string(),
            contact: state.contact.map(|contact| contact.to_string()),
            phone_number_id: state.number.as_str().to_owned(),
            opened_at: time(session.opened_at),
            current,
            handoffs: session.handoffs,
            human_until: session.human_until.map(time),
            owner: owner(&state.owner),
            epoch: state.epoch,
            thread: state.followed_thread().map(|(thread, _)| thread.to_string()),
        })
    }
}

/// Who the customer is, as the last message told it. Personal data.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Customer {
    pub name: Option<String>,
    /// Digits, no plus.
    pub phone: Option<String>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Timeline {
    pub session: Summary,
    pub customer: Customer,
    pub ledger: Ledger,
    pub entries: Vec<Line>,
    /// There are more entries than are read at once; the last ones are missing.
    pub truncated: bool,
}

impl Timeline {
    /// The entries by day, in UTC.
    pub fn days(&self) -> impl Iterator<Item = (&str, &[Line])> {
        self.entries
            .chunk_by(|a, b| a.day() == b.day())
            .filter_map(|lines| Some((lines.first()?.day(), lines)))
    }
}

/// What came in and went out, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Ledger {
    /// Messages of the customer.
    pub received: u32,
    /// Of these: put before a rep, by themselves or in a transcript.
    pub forwarded: u32,
    /// Of the rest: answered by the assistant (silence included).
    pub answered: u32,
    /// Neither yet.
    pub open: u32,
    /// Messages to the customer.
    pub sent: u32,
    /// Of these: delivered or read, says WhatsApp.
    pub delivered: u32,
    /// Refused or failed.
    pub failed: u32,
    /// Neither yet.
    pub pending: u32,
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in, {} forwarded or answered", self.received, self.forwarded + self.answered)?;
        if self.open > 0 {
            write!(f, " ({} open)", self.open)?;
        }
        write!(f, "; {} out, {} delivered", self.sent, self.delivered)?;
        let rest = [(self.failed, "failed"), (self.pending, "pending")];
        let rest: Vec<_> =
            rest.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if rest.is_empty() { Ok(()) } else { write!(f, " ({})", rest.join(", ")) }
    }
}

/// `records`: the conversation's entries in order, at least from `extent` on. `None` when the
/// session has no decision in them.
pub fn timeline(
    key: &ConversationKey,
    session: SessionId,
    extent: &Extent,
    records: Vec<Record>,
    truncated: bool,
) -> Option<Timeline> {
    let facts = &extent.facts;
    let deliveries = Deliveries::of(&records, facts);
    let records: Vec<Record> =
        records.into_iter().filter(|record| belongs(record, facts, &deliveries)).collect();
    let state = records
        .iter()
        .rev()
        .filter_map(Record::decision)
        .map(|stored| &stored.decision.state)
        .find(|state| state.session.as_ref().is_some_and(|of| of.id == session))?;
    let mut teller = Teller::new(&records, &deliveries);
    Some(Timeline {
        session: Summary::of(key, state, extent.superseded_at.is_none())?,
        customer: Customer {
            name: state.customer.display_name().map(str::to_owned),
            phone: state.customer.phone.clone(),
        },
        ledger: ledger(&records, &deliveries),
        entries: records.iter().map(|record| teller.tell(record)).collect(),
        truncated,
    })
}

/// A stretch of a conversation in words, whatever sessions it is of. What a message became is told
/// as far as the stretch knows.
pub(crate) fn told(records: &[Record]) -> Vec<Line> {
    let deliveries = Deliveries::of(records, &(0..Seq::MAX));
    let mut teller = Teller::new(records, &deliveries);
    records.iter().map(|record| teller.tell(record)).collect()
}

/// A late answer or receipt belongs to the session that asked for it.
fn belongs(record: &Record, facts: &Range<Seq>, deliveries: &Deliveries) -> bool {
    let asked = |cause: &str| cause.parse::<Cause>().is_ok_and(|cause| facts.contains(&cause.answers));
    match &record.content {
        Content::Decision(stored) => facts.contains(&stored.answers),
        Content::Unreadable => facts.contains(&record.seq),
        Content::Other(body) => match body.as_ref() {
            Body::WhatsappStatus(status) => match deliveries.send_of_status(status) {
                Some(_) => true,
                None => facts.contains(&record.seq) && !deliveries.is_of_another_session(status),
            },
            Body::SendIntent(v1::SendIntent { send, .. })
            | Body::SendOutcome(v1::SendOutcome { send, .. })
            | Body::Undelivered(v1::Undelivered { send, .. }) => deliveries.send_of(send).is_some(),
            Body::AssistantAnswer(answer) => asked(&answer.ask),
            Body::CallResult(result) => asked(&result.call),
            Body::ThreadFollowed(followed) => asked(&followed.follow),
            Body::TimerFired(fired) => asked(&fired.timer),
            Body::WhatsappMessage(_)
            | Body::MediaFetched(_)
            | Body::Adopted(_)
            | Body::SalesforceEvent(_)
            | Body::OperatorCommand(_)
            | Body::Outreach(_)
            | Body::Consent(_)
            | Body::AccountEvent(_)
            | Body::Decision(_) => facts.contains(&record.seq),
        },
    }
}

fn ledger(records: &[Record], deliveries: &Deliveries) -> Ledger {
    let mut ledger = Ledger::default();
    let decisions: Vec<&StoredDecision> = records.iter().filter_map(Record::decision).collect();
    // Forwards are done before the conversation's next fact is looked at; a transcript is there
    // when its call came back as done.
    let shown: Vec<_> = decisions
        .iter()
        .flat_map(|stored| stored.outputs())
        .filter_map(|(cause, output)| match output {
            Output::Call(Call::Forward { from, through, .. }) => Some(*from..=*through),
            Output::Call(Call::Open { from, through, .. }) => {
                is_done(records, cause).then_some(*from..=*through)
            }
            Output::Call(Call::Note { .. } | Call::EndSession { .. })
            | Output::Send(_)
            | Output::Seen { .. }
            | Output::Control(_)
            | Output::Move(_)
            | Output::Ask(_)
            | Output::Follow { .. }
            | Output::Unfollow { .. }
            | Output::Timer { .. }
            | Output::Withheld { .. }
            | Output::Replied(_)
            | Output::Consent { .. } => None,
        })
        .collect();
    for record in records {
        let Some(Body::WhatsappMessage(message)) = record.body() else { continue };
        if proto::convert::inbound(message.clone()).is_ok_and(|message| !message.content.is_said()) {
            continue;
        }
        ledger.received += 1;
        if shown.iter().any(|stretch| stretch.contains(&record.seq)) {
            ledger.forwarded += 1;
        } else if is_answered(records, &decisions, record.seq) {
            ledger.answered += 1;
        } else {
            ledger.open += 1;
        }
    }
    for delivery in deliveries.all() {
        ledger.sent += 1;
        match delivery.state {
            DeliveryState::Delivered | DeliveryState::Read => ledger.delivered += 1,
            DeliveryState::Failed => ledger.failed += 1,
            DeliveryState::Waiting
            | DeliveryState::Sending
            | DeliveryState::InDoubt
            | DeliveryState::Accepted
            | DeliveryState::Sent => ledger.pending += 1,
        }
    }
    ledger
}

fn is_done(records: &[Record], call: Cause) -> bool {
    let done = v1::call_result::Result::Done;
    records.iter().filter_map(Record::body).any(|body| {
        matches!(body, Body::CallResult(result) if result.result() == done && result.call.parse() == Ok(call))
    })
}

fn is_answered(records: &[Record], decisions: &[&StoredDecision], message: Seq) -> bool {
    let asks = decisions
        .iter()
        .filter(|stored| stored.answers == message)
        .flat_map(|stored| stored.outputs())
        .filter(|(_, output)| matches!(output, Output::Ask(_)));
    let answered = |cause: Cause| {
        records
            .iter()
            .filter_map(Record::body)
            .any(|body| matches!(body, Body::AssistantAnswer(answer) if answer.ask.parse() == Ok(cause)))
    };
    asks.into_iter().any(|(cause, _)| answered(cause))
}

pub(crate) fn owner(owner: &Owner) -> &'static str {
    match owner {
        Owner::Assistant => "assistant",
        Owner::Opening(_) => "opening",
        Owner::Waiting(_) => "waiting",
        Owner::Live(_) => "live",
        Owner::Inactive(_) => "inactive",
    }
}

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn time(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests;
