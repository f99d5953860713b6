//! One conversation on the board. Holds personal data: never printed.

use std::fmt;

use domain::{
    ContactId, ConversationKey, Millis, PhoneNumberId, Seq, SessionId, ThreadId,
    message::{InboundMessage, Speaker},
    session::{Conversation, Origin, Output, Owner},
};
use proto::StoredDecision;

/// Characters of a message that a row shows.
const EXCERPT: usize = 140;

#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) key: ConversationKey,
    /// The latest one; none before the first decision, and none once it moved to the conversation
    /// under the customer's new ids. Such rows are not shown.
    pub(crate) session: Option<SessionId>,
    pub(crate) opened_at: Millis,
    pub(crate) number: PhoneNumberId,
    pub(crate) name: Option<String>,
    /// Digits, no plus.
    pub(crate) phone: Option<String>,
    /// As the state names it: whom it means today, the directory knows.
    pub(crate) contact: Option<ContactId>,
    pub(crate) thread: Option<ThreadId>,
    pub(crate) state: State,
    pub(crate) owner_since: Millis,
    /// Since when the customer waits for a rep.
    pub(crate) waiting_since: Option<Millis>,
    pub(crate) handoffs: u32,
    pub(crate) last: Option<Last>,
    pub(crate) active_at: Millis,
    /// Position of the newest decision.
    pub(crate) seq: Seq,
    /// The fact that began the wait, where its time is not known yet.
    pub(super) began: Option<Seq>,
    /// The board's version that changed it.
    pub(crate) changed: u64,
}

/// Who has the conversation, finer than [`Group`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Assistant,
    Opening,
    Waiting,
    Live,
    Inactive,
    /// The session is over; what the customer writes next opens another one.
    Closed,
}

/// What people filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Waiting,
    WithRep,
    Assistant,
    Closed,
}

/// The last message.
#[derive(Clone)]
pub(crate) struct Last {
    pub(crate) at: Millis,
    pub(crate) by: By,
    /// None where only its time is known.
    pub(crate) text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Customer,
    Assistant,
    Rep,
    Bot,
    /// A notice of Baton itself.
    Baton,
    /// Somebody in the WhatsApp Business app.
    Colleague,
    /// Another responder on the number.
    Other,
}

impl Row {
    pub(super) fn new(key: ConversationKey, number: PhoneNumberId) -> Self {
        Self {
            key,
            session: None,
            opened_at: 0,
            number,
            name: None,
            phone: None,
            contact: None,
            thread: None,
            state: State::Assistant,
            owner_since: 0,
            waiting_since: None,
            handoffs: 0,
            last: None,
            active_at: 0,
            seq: 0,
            began: None,
            changed: 0,
        }
    }

    pub(super) fn heard(&mut self, at: Millis, message: &InboundMessage) {
        let (speaker, content) = message.content.spoken();
        if !content.is_said() {
            return;
        }
        let by = match speaker {
            Speaker::Customer => By::Customer,
            Speaker::Colleague => By::Colleague,
            Speaker::OtherResponder => By::Other,
        };
        self.said(Last { at, by, text: Some(excerpt(&content.as_text())) });
    }

    /// A decision, newer than the last one or, while the last hour is read again, older.
    pub(super) fn decided(&mut self, seq: Seq, at: Millis, stored: &StoredDecision) {
        for send in stored.decision.sends() {
            let by = match send.origin {
                Origin::Assistant => By::Assistant,
                Origin::Rep => By::Rep,
                Origin::Bot => By::Bot,
                Origin::Notice | Origin::Campaign => By::Baton,
            };
            self.said(Last { at, by, text: Some(excerpt(&send.body.as_text())) });
        }
        self.active_at = self.active_at.max(at);
        let state = &stored.decision.state;
        if seq <= self.seq {
            // The newest decision does not say which session it was that ended.
            if self.state == State::Closed {
                self.in_session(state);
                self.session = self.session.filter(|_| !is_moved(stored));
            }
            return;
        }
        let first = self.seq == 0;
        self.seq = seq;
        self.name = state.customer.display_name().map(str::to_owned);
        self.phone.clone_from(&state.customer.phone);
        self.contact = state.contact;
        self.thread = state.thread;
        self.in_session(state);
        if is_moved(stored) {
            self.session = None;
        }
        if self.last.is_none() && state.customer_wrote_at > 0 {
            self.last = Some(Last { at: state.customer_wrote_at, by: By::Customer, text: None });
        }
        let now = State::of(state);
        if first {
            self.estimate(at, state);
        } else if now != self.state {
            let waited = self.waiting_since.filter(|_| self.state.is_waiting());
            self.owner_since = at;
            self.waiting_since = now.is_waiting().then(|| waited.unwrap_or(at));
        }
        self.state = now;
    }

    fn in_session(&mut self, state: &Conversation) {
        if let Some(session) = &state.session {
            self.session = Some(session.id);
            self.opened_at = session.opened_at;
            self.handoffs = session.handoffs;
        }
    }

    /// Since when, as far as the state itself tells.
    fn estimate(&mut self, at: Millis, state: &Conversation) {
        let (since, began) = match &state.owner {
            Owner::Assistant => {
                let opened = state.session.as_ref().map(|of| of.human_until.unwrap_or(of.opened_at));
                (opened.unwrap_or(at), None)
            }
            Owner::Opening(opening) => (at, Some(opening.follow.answers)),
            Owner::Waiting(thread) | Owner::Live(thread) | Owner::Inactive(thread) => {
                let told = (thread.status_at > 0).then_some(thread.status_at);
                (told.unwrap_or(at), told.is_none().then_some(thread.follow.answers))
            }
        };
        let waiting = State::of(state).is_waiting();
        self.owner_since = since;
        self.waiting_since = waiting.then_some(since);
        self.began = began.filter(|_| waiting);
    }

    /// When the wait began that [`Row::began`] is about.
    pub(super) fn began_at(&mut self, at: Millis) {
        self.waiting_since = self.waiting_since.map(|since| since.min(at));
        if self.state == State::Opening {
            self.owner_since = self.owner_since.min(at);
        }
        self.began = None;
    }

    fn said(&mut self, said: Last) {
        self.active_at = self.active_at.max(said.at);
        if self.last.as_ref().is_none_or(|last| said.at >= last.at) {
            self.last = Some(said);
        }
    }

    /// The least of these leaves a full board first.
    pub(super) fn rank(&self) -> Rank {
        let with_people = match self.state {
            State::Opening | State::Waiting | State::Live | State::Inactive => true,
            State::Assistant | State::Closed => false,
        };
        (with_people, self.active_at, self.key)
    }

    /// Who waits stands first, the longest wait before all; then what moved last.
    pub(crate) fn order(&self) -> Order {
        match self.waiting_since {
            Some(since) => Order(0, since, self.key),
            None => Order(1, Millis::MAX - self.active_at, self.key),
        }
    }
}

pub(super) type Rank = (bool, Millis, ConversationKey);

/// A row's place in the list, and how far a page went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(u8, Millis, ConversationKey);

impl fmt::Display for Order {
    /// Sorts as text, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:020}-{}", self.0, self.1, self.2)
    }
}

impl std::str::FromStr for Order {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or(());
        Ok(Self(
            part()?.parse().map_err(|_| ())?,
            part()?.parse().map_err(|_| ())?,
            part()?.parse().map_err(|_| ())?,
        ))
    }
}

impl State {
    fn of(state: &Conversation) -> Self {
        match &state.owner {
            Owner::Assistant if state.session.is_none() => Self::Closed,
            Owner::Assistant => Self::Assistant,
            Owner::Opening(_) => Self::Opening,
            Owner::Waiting(_) => Self::Waiting,
            Owner::Live(_) => Self::Live,
            Owner::Inactive(_) => Self::Inactive,
        }
    }

    const fn is_waiting(self) -> bool {
        matches!(self, Self::Opening | Self::Waiting)
    }

    pub(crate) const fn group(self) -> Group {
        match self {
            Self::Opening | Self::Waiting => Group::Waiting,
            Self::Live | Self::Inactive => Group::WithRep,
            Self::Assistant => Group::Assistant,
            Self::Closed => Group::Closed,
        }
    }

    /// As [`crate::timeline::owner`] says it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Opening => "opening",
            Self::Waiting => "waiting",
            Self::Live => "live",
            Self::Inactive => "inactive",
            Self::Closed => "closed",
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Opening => "connecting",
            Self::Waiting => "waiting",
            Self::Live => "with a rep",
            Self::Inactive => "rep inactive",
            Self::Closed => "closed",
        }
    }
}

impl Group {
    pub(crate) const ALL: [Self; 4] = [Self::Waiting, Self::WithRep, Self::Assistant, Self::Closed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::WithRep => "with_rep",
            Self::Assistant => "assistant",
            Self::Closed => "closed",
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::WithRep => "With a rep",
            Self::Assistant => "Assistant",
            Self::Closed => "Closed",
        }
    }
}

impl std::str::FromStr for Group {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|group| group.as_str() == text).ok_or(())
    }
}

impl By {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Assistant => "assistant",
            Self::Rep => "rep",
            Self::Bot => "bot",
            Self::Baton => "baton",
            Self::Colleague => "colleague",
            Self::Other => "other",
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Customer => "Customer",
            Self::Assistant => "Assistant",
            Self::Rep => "Rep",
            Self::Bot => "Bot",
            Self::Baton => "Notice",
            Self::Colleague => "Business app",
            Self::Other => "Other responder",
        }
    }
}

/// Its session goes on in the conversation under the customer's new ids.
fn is_moved(stored: &StoredDecision) -> bool {
    stored.decision.outputs.iter().any(|output| matches!(output, Output::Move(_)))
}

fn excerpt(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(EXCERPT) {
        words.truncate(end);
        words.push('…');
    }
    words
}
