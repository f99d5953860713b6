//! The session machine: what Baton does about everything that happens to a conversation.
//!
//! [`decide`] is pure and exhaustive. Its input is a fact from the log with its position and time;
//! its answer is the new state and everything to be done. The answer is stored as one entry, so a
//! crash between deciding and doing is repaired by doing it again: every effect has an id that
//! derives from the decision ([`Cause`]), and repeating it changes nothing.
//!
//! ```text
//!              customer asks for a person
//!  Assistant ─────────────────────────────▶ Opening ──conversation created──▶ Waiting
//!      ▲                                    (retries)                          │  ▲
//!      │                                                         rep accepts   ▼  │ rerouted
//!      └──────────── messaging session ended at Salesforce ─────────────── Live ⇄ Inactive
//! ```
//!
//! Rules kept here and nowhere else:
//! - Exactly one owner answers the customer. Each change of owner raises the *epoch*; an
//!   assistant's answer carries the epoch it was asked under, and a stale one is dropped. A customer
//!   who writes on while an answer is in the making raises it too.
//! - A participant who leaves ends nothing (transfers and conferences do that); only the end of
//!   the messaging session brings the assistant back.
//! - What a rep wrote is sent whatever the state; outside the customer service window it is kept
//!   and sent, in order, once the customer has written.
//! - Nothing but a template is sent outside the customer service window.
//! - A message that comes while a thread is opening waits for it.

mod after_hours;
mod decide;
mod forward;
mod outreach;
mod quiet;
#[cfg(test)]
mod tests;
mod window;

pub use decide::decide;
pub use quiet::Unanswered;
pub use window::{CUSTOMER_SERVICE_WINDOW, WINDOW_MARGIN, window_is_open};

use crate::{
    Cause, ContactId, ConversationKey, EntryId, Millis, PhoneNumberId, SendId, Seq, SessionId, ThreadId,
    Wamid,
    message::{Customer, InboundMessage, Outgoing},
    outreach::{Mark, Outreach, Sent},
    settings::Policy,
};

/// What is known about a conversation after a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    pub number: PhoneNumberId,
    /// As the latest message told it.
    pub customer: Customer,
    pub contact: Option<ContactId>,
    pub session: Option<Session>,
    /// Raised with every change of owner.
    pub epoch: u32,
    /// When the customer last wrote, by Meta's clock: the customer service window counts from it.
    pub customer_wrote_at: Millis,
    /// The message that read marks and typing indicators refer to.
    pub last_wamid: Option<Wamid>,
    /// The WhatsApp group that this is the conversation of.
    pub group: Option<String>,
    /// The Salesforce conversation, once one was asked for; carried along when the customer's ids
    /// change.
    pub thread: Option<ThreadId>,
    /// Set once the Salesforce conversation exists. It lives for ever; later handoffs open a new
    /// messaging session in it.
    pub thread_created: bool,
    /// The messaging session that ended last: its late events concern nobody any more.
    pub ended_session: Option<String>,
    /// Messages of reps that wait for the customer service window, oldest first.
    pub parked: Option<Parked>,
    /// Somebody answers in the WhatsApp Business app: until then the assistant keeps quiet.
    pub quiet_until: Millis,
    /// Another responder has the thread (Conversation Routing): nothing is answered.
    pub elsewhere: bool,
    /// The customer wants no marketing messages.
    pub no_marketing: bool,
    /// What the business sent on its own, oldest first, at most [`Sent::LIMIT`].
    pub outreaches: Vec<Sent>,
    /// The time of the newest that was answered, here or in the conversation of the customer's phone
    /// number.
    pub outreach_answered: Millis,
    /// What waits for the assistant.
    pub unanswered: Option<Unanswered>,
    /// The customer's, as the assistant told it: picks what Baton itself says.
    pub language: Option<String>,
    pub owner: Owner,
}

impl Conversation {
    pub fn new(number: PhoneNumberId) -> Self {
        Self {
            number,
            customer: Customer::default(),
            contact: None,
            session: None,
            epoch: 0,
            customer_wrote_at: 0,
            last_wamid: None,
            group: None,
            thread: None,
            thread_created: false,
            ended_session: None,
            parked: None,
            quiet_until: 0,
            elsewhere: false,
            no_marketing: false,
            outreaches: Vec::new(),
            outreach_answered: 0,
            unanswered: None,
            language: None,
            owner: Owner::Assistant,
        }
    }

    /// The Salesforce conversation whose events matter now.
    pub fn followed_thread(&self) -> Option<(ThreadId, Cause)> {
        match &self.owner {
            Owner::Assistant => None,
            Owner::Opening(opening) => Some((opening.thread, opening.follow)),
            Owner::Waiting(thread) | Owner::Live(thread) | Owner::Inactive(thread) => {
                Some((thread.id, thread.follow))
            }
        }
    }

    /// The Salesforce conversation of this person on this channel. Always the same one.
    pub fn thread_id(&self, key: &ConversationKey) -> Option<ThreadId> {
        let derived = |contact: ContactId| {
            ThreadId(crate::derive::uuid("thread", &[key.as_bytes(), contact.0.as_bytes()]))
        };
        self.thread.or_else(|| self.contact.map(derived))
    }
}

impl Opening {
    /// This message waits for the thread.
    fn hold(&mut self, seq: Seq) {
        self.held = Some(match self.held {
            None => Held { from: seq, through: seq },
            Some(held) => Held { through: seq, ..held },
        });
    }
}

/// What reps wrote while the customer service window was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Oldest first, at most [`Parked::LIMIT`].
    pub messages: Vec<ParkedMessage>,
    /// When it fires they are given up.
    pub expiry: Cause,
    /// The template that asks the customer to write, if one was sent.
    pub rescue: Option<SendId>,
}

impl Parked {
    pub const LIMIT: usize = 30;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedMessage {
    pub body: Outgoing,
    pub quotes: Option<Wamid>,
    pub origin: Origin,
}

/// One episode of support.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub opened_at: Millis,
    /// Where in the log it began: transcripts start here.
    pub first: Seq,
    /// How often it was handed to people.
    pub handoffs: u32,
    /// When people last gave it back; the assistant is told.
    pub human_until: Option<Millis>,
    /// Up to here reps have seen everything: the next transcript starts behind it.
    pub shown_through: Seq,
}

/// Who answers the customer, and what that needs to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Assistant,
    /// A thread is being opened; the customer's messages wait for it.
    Opening(Opening),
    /// In the Omni-Channel queue.
    Waiting(Thread),
    /// A rep is present.
    Live(Thread),
    /// The rep or a rule set the messaging session inactive; the customer's next message wakes it.
    Inactive(Thread),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub thread: ThreadId,
    /// The output that asked egress to follow the thread.
    pub follow: Cause,
    pub brief: Brief,
    pub stage: Stage,
    /// Failed tries to create the conversation.
    pub failures: u32,
    /// The transcript goes up to here …
    pub transcript_through: Seq,
    /// … and these messages came afterwards.
    pub held: Option<Held>,
    /// The customer was told that it takes longer.
    pub told: bool,
    pub patience: Cause,
    /// What the event stream already showed, before our own call was answered.
    pub rep_present: bool,
    pub ended: bool,
    /// The team is away and gets a note only: what was said, in a messaging session that ends at once.
    pub note_only: bool,
}

/// What a rep and a routing flow should know about why.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Brief {
    pub reason: String,
    pub summary: Option<String>,
    /// Of the customer, as Salesforce writes it: `en_US`.
    pub language: Option<String>,
    pub priority: Option<String>,
    /// How the customer feels: `positive`, `neutral`, `negative` or `frustrated`.
    pub sentiment: Option<String>,
    /// What they answered.
    pub campaign: Option<Campaign>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Campaign {
    pub name: String,
    /// As the customer read it.
    pub text: String,
}

impl Brief {
    pub fn because(reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Self::default() }
    }
}

/// Holds words about the customer: never printed.
impl std::fmt::Debug for Brief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Brief(…)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Egress brings the event stream up first: nothing that happens in the thread is missed.
    Following,
    /// The call that creates the conversation is under way.
    Creating { call: Cause },
    /// Salesforce could not be reached; this timer tries again.
    Resting { timer: Cause },
}

/// A stretch of the log, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub from: Seq,
    pub through: Seq,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub id: ThreadId,
    pub follow: Cause,
    /// Salesforce's time of the newest status: older ones arrive late and are ignored.
    pub status_at: Millis,
    /// The customer was told that nobody is available.
    pub told_nobody: bool,
    /// When the customer was last told the place in the queue.
    pub told_place_at: Millis,
    /// What was forwarded is paid for up to here, see [`forward`].
    pub paid_until: Millis,
    /// Messages that wait for [`Thread::flush`], to travel together.
    pub held: Option<Held>,
    /// The timer that forwards them.
    pub flush: Option<Cause>,
}

impl Thread {
    pub fn new(id: ThreadId, follow: Cause) -> Self {
        Self {
            id,
            follow,
            status_at: 0,
            told_nobody: false,
            told_place_at: 0,
            paid_until: 0,
            held: None,
            flush: None,
        }
    }
}

impl Owner {
    fn thread_mut(&mut self) -> Option<&mut Thread> {
        match self {
            Self::Waiting(thread) | Self::Live(thread) | Self::Inactive(thread) => Some(thread),
            Self::Assistant | Self::Opening(_) => None,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every fact is a message, and one is looked at at a time"
)]
pub enum Fact {
    Inbound(InboundMessage),
    Answered(Answered),
    /// Egress follows the thread that `follow` asked for: its event stream is up.
    Followed {
        follow: Cause,
    },
    Called {
        call: Cause,
        result: CallResult,
    },
    Salesforce(SalesforceEvent),
    Undelivered {
        send: SendId,
        reason: Undeliverable,
        excerpt: String,
        /// What it was; `None` when the log has forgotten it.
        lost: Option<ParkedMessage>,
    },
    Fired {
        timer: Cause,
    },
    Operator(Command),
    /// The customer's ids changed: what the conversation under the old ones had.
    Adopted(Box<Conversation>),
    /// A campaign, or another system, wants a template sent.
    Outreach(Box<Outreach>),
    /// What the customer said about marketing messages in the conversation of their user id.
    Consent {
        number: PhoneNumberId,
        wanted: bool,
    },
}

/// The assistant's answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub ask: Cause,
    pub epoch: u32,
    pub answer: Answer,
    /// The customer's language, where the assistant can tell it: `es`, `pt_BR`.
    pub language: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    Reply {
        body: Outgoing,
    },
    Handoff(Brief),
    /// The customer has what they came for: the episode is over.
    Close {
        body: Option<Outgoing>,
    },
    Silence,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reply { .. } => "Reply",
            Self::Handoff(_) => "Handoff",
            Self::Close { .. } => "Close",
            Self::Silence => "Silence",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    Done,
    /// Salesforce did not answer, or not now.
    Unavailable,
    /// Salesforce answered no: configuration must be mended; we keep trying, slowly.
    Refused,
}

/// An event of a followed Salesforce conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalesforceEvent {
    pub thread: ThreadId,
    pub entry: EntryId,
    /// `transcriptedTimestamp`: Salesforce's clock.
    pub at: Millis,
    pub what: Happening,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Happening {
    /// From a person; more than one body where a text comes with files.
    RepWrote {
        bodies: Vec<Outgoing>,
    },
    /// From a bot or an automation in Salesforce: the customer sees it, ownership does not change.
    BotWrote {
        bodies: Vec<Outgoing>,
    },
    RepTyping,
    /// The place in the queue, from 1; the wait is an estimate.
    Queued {
        position: Option<u32>,
        wait_seconds: Option<u32>,
    },
    RepJoined,
    RepLeft,
    Status {
        status: MessagingSessionStatus,
        session: String,
    },
    /// Routing failed: nobody available, after hours, or a misconfigured flow.
    RoutingFailed,
    /// The end user's side closed the conversation.
    Closed,
    /// Kept for the timeline only.
    Other {
        event: String,
    },
}

impl std::fmt::Debug for Happening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RepWrote { .. } => f.write_str("RepWrote"),
            Self::BotWrote { .. } => f.write_str("BotWrote"),
            Self::RepTyping => f.write_str("RepTyping"),
            Self::Queued { position, .. } => write!(f, "Queued({position:?})"),
            Self::RepJoined => f.write_str("RepJoined"),
            Self::RepLeft => f.write_str("RepLeft"),
            Self::Status { status, .. } => write!(f, "Status({status:?})"),
            Self::RoutingFailed => f.write_str("RoutingFailed"),
            Self::Closed => f.write_str("Closed"),
            Self::Other { event } => write!(f, "Other({event})"),
        }
    }
}

/// `SessionStatusChanged.sessionStatus` (`miaw-api.md` §7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessagingSessionStatus {
    Waiting,
    Active,
    Inactive,
    Ended,
    /// `New`, `Paused`, `Consent`, `Error`, and what is invented later.
    Other,
}

/// Why a message did not reach the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undeliverable {
    /// Outside the 24-hour customer service window (131047).
    WindowClosed,
    /// WhatsApp refused it, at once or later. `code` as in Meta's error table.
    Refused { code: i32 },
    /// The file could not be fetched, or WhatsApp takes no such file.
    File,
    /// Sent twice without an answer or a receipt: it may or may not have arrived.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    HandOff,
    GiveBack,
}

/// Something to do. Its id is a [`Cause`]: the answered fact and the place in this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Egress: a message to the customer.
    Send(Send),
    /// Egress: shows the customer that this message was read and, for some seconds, that an answer
    /// is being written. A courtesy: tried once, and not when it is late.
    Seen { wamid: Wamid, typing: bool },
    /// Egress: who answers on this number, where several responders share it.
    Control(ControlAction),
    /// Handoff: the customer's ids changed; [`Fact::Adopted`] in the conversation under the new
    /// ones.
    Move(Box<Conversation>),
    /// Assistant: a question.
    Ask(Ask),
    /// Egress: keep the event stream of this thread up, and say so ([`Fact::Followed`]).
    Follow { thread: ThreadId },
    /// Egress: the thread is over.
    Unfollow { thread: ThreadId },
    /// Handoff: a call to Salesforce, before the conversation's next fact is looked at.
    Call(Call),
    /// The broker: [`Fact::Fired`] at this time.
    Timer { at: Millis },
    /// For the record: an outreach that is not sent.
    Withheld { mark: Option<Mark>, why: Withholding },
    /// For the record: this message of the customer answers an outreach.
    Replied(Replied),
    /// Handoff: [`Fact::Consent`] in the conversation of the customer's phone number, where that is
    /// another one: campaigns are sent there.
    Consent { wanted: bool },
}

#[derive(Clone, PartialEq, Eq)]
pub struct Send {
    pub id: SendId,
    pub body: Outgoing,
    /// The message that it quotes.
    pub quotes: Option<Wamid>,
    pub origin: Origin,
    /// Of a campaign's send.
    pub mark: Option<Mark>,
    /// Not sent later than this, where it did not go out before; 0: whenever.
    pub not_after: Millis,
}

/// What a message of the customer answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Replied {
    pub mark: Option<Mark>,
    /// Of the campaign.
    pub name: String,
    /// As the customer read it.
    pub text: String,
    /// They want no more of them.
    pub opted_out: bool,
}

/// Holds what was written to a customer: never printed.
impl std::fmt::Debug for Replied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replied").field("mark", &self.mark).finish_non_exhaustive()
    }
}

/// Why an outreach is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withholding {
    OptedOut,
    TooLate,
}

/// `thread_control` (`whatsapp-cloud-api.md` §13.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlAction {
    Take,
    Release,
}

impl std::fmt::Debug for Send {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, body, quotes: _, origin, mark: _, not_after: _ } = self;
        write!(f, "Send({id}, {body:?}, {origin:?})")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Assistant,
    Rep,
    /// A bot or automation in Salesforce.
    Bot,
    /// Baton itself.
    Notice,
    /// A campaign, or another system: a template.
    Campaign,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Ask {
    pub epoch: u32,
    pub text: String,
    /// The customer waits for a person: only answer what is surely known.
    pub helping: bool,
    /// When people last gave this session back.
    pub human_until: Option<Millis>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask")
            .field("epoch", &self.epoch)
            .field("helping", &self.helping)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum Call {
    /// Creates the conversation (or, where it exists, opens a new messaging session in it), then
    /// sends the header and the transcript of `from..=through`. Answered by [`Fact::Called`].
    Open {
        thread: ThreadId,
        session: SessionId,
        brief: Brief,
        from: Seq,
        through: Seq,
        again: bool,
    },
    /// The customer's messages in this stretch of the log.
    Forward {
        thread: ThreadId,
        from: Seq,
        through: Seq,
    },
    /// A line for the rep that the customer did not write.
    Note {
        thread: ThreadId,
        text: String,
    },
    EndSession {
        thread: ThreadId,
    },
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open { thread, again, through, .. } => {
                write!(f, "Open({thread}, through {through}, again {again})")
            }
            Self::Forward { thread, from, through } => write!(f, "Forward({thread}, {from}..={through})"),
            Self::Note { thread, .. } => write!(f, "Note({thread})"),
            Self::EndSession { thread } => write!(f, "EndSession({thread})"),
        }
    }
}

/// A fact with its place in the log.
#[derive(Debug, Clone, Copy)]
pub struct At {
    pub seq: Seq,
    /// When the log stored it: the only clock a decision knows.
    pub time: Millis,
}

/// What a decision may know besides state and fact. Everything in it is fixed by the time the
/// decision is stored, and the chain refuses a second decision on the same fact.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    pub key: ConversationKey,
    /// The contact directory's answer for this fact's customer.
    pub contact: ContactId,
    pub policy: &'a Policy,
    /// Both switches are on.
    pub assistant_on: bool,
    /// The channel has somewhere to hand off to.
    pub has_team: bool,
    /// Several responders share the number, and we are the one that takes over.
    pub routing: bool,
    /// What was sent to the customer's phone number, where another conversation goes by that.
    pub outreaches: &'a [Sent],
}

/// The one answer to a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub state: Conversation,
    pub outputs: Vec<Output>,
}

impl Decision {
    /// What goes to the customer.
    pub fn sends(&self) -> impl Iterator<Item = &Send> {
        self.outputs
            .iter()
            .filter_map(|output| if let Output::Send(send) = output { Some(send) } else { None })
    }
}
