//! What was said in a conversation, as the log has it. Bounded: the newest turns, each cut.

mod starts;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bus::{Failure, Log};
use domain::{
    ConversationKey, Seq,
    mask::mask,
    message::{InboundMessage, Media, MediaKind, Speaker},
    session::{Conversation, Origin, Output},
    settings::Masking,
};
use proto::{Malformed, StoredDecision, v1::entry::Body};

pub(crate) use self::starts::Starts;
use crate::metrics::Metrics;

/// Turns that are kept.
const TURNS: usize = 60;
/// Characters of all turns together; the newest are kept.
const CHARACTERS: usize = 16_000;
/// Of a turn, the first characters.
const TURN_CHARACTERS: usize = 4_000;
/// Decisions that are gone back over: two turns have two to four (message, quiet time, answer, what
/// Salesforce tells).
const DECISIONS: usize = 2 * TURNS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Customer,
    /// This assistant.
    Assistant,
    /// Baton itself: a notice.
    Notice,
    /// A rep, a bot in Salesforce, somebody in the WhatsApp Business app, another responder.
    Person,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) who: Who,
    pub(crate) text: String,
    /// It belongs to the present session.
    pub(crate) present: bool,
    /// A voice message, by the id that its file is told under.
    pub(crate) voice: Option<Voice>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Voice {
    pub(crate) id: String,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Turn({:?}, {} bytes)", self.who, self.text.len())
    }
}

/// Oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) turns: Vec<Turn>,
}

impl History {
    /// The present session up to the decision at `through`; with `earlier`, what came before it too,
    /// as far as the log's horizon reaches.
    pub(crate) async fn read(
        log: &Log,
        starts: &Starts,
        key: &ConversationKey,
        state: &Conversation,
        through: Seq,
        earlier: bool,
    ) -> Result<Self, Failure> {
        let first = state.session.as_ref().map_or(Seq::MAX, |session| session.first);
        let from = if earlier { 1 } else { first.min(through) };
        let from = starts.known(key, earlier, through).unwrap_or(from).max(from);
        let mut newest: VecDeque<(Seq, Turn)> = VecDeque::new();
        for entry in log.said(key, from, through, DECISIONS).await? {
            let id = entry.address.as_ref().map(|address| address.id.clone()).unwrap_or_default();
            // What cannot be read is left out: it must not keep the customer from an answer.
            let turns = proto::decode(entry.payload).and_then(|body| turns_of(&id, body, entry.seq >= first));
            for turn in turns.unwrap_or_default() {
                newest.push_back((entry.seq, turn));
                if newest.len() > TURNS {
                    newest.pop_front();
                }
            }
        }
        let (seqs, turns): (Vec<Seq>, Vec<Turn>) = newest.into_iter().unzip();
        let mut history = Self { turns };
        history.cut();
        if let Some(start) = seqs.get(seqs.len() - history.turns.len()) {
            starts.remember(key, earlier, through, *start);
        }
        Ok(history)
    }

    fn cut(&mut self) {
        let mut left = CHARACTERS;
        let kept = self.turns.iter().rev().take_while(|turn| {
            let length = turn.text.chars().count();
            let fits = length <= left;
            left = left.saturating_sub(length);
            fits
        });
        let kept = kept.count().max(1).min(self.turns.len());
        self.turns.drain(..self.turns.len() - kept);
    }

    pub(crate) fn masked(mut self, masking: &Masking, metrics: &Metrics) -> Self {
        if masking.is_on() {
            for turn in &mut self.turns {
                let masked = mask(&turn.text, masking);
                metrics.masked(&masked);
                turn.text = masked.text;
            }
        }
        self
    }

    /// How often the customer wrote in this session.
    pub(crate) fn customer_turns(&self) -> usize {
        self.present().filter(|turn| turn.who == Who::Customer).count()
    }

    pub(crate) fn present(&self) -> impl DoubleEndedIterator<Item = &Turn> {
        self.turns.iter().filter(|turn| turn.present)
    }

    /// What the assistant said last in this session.
    pub(crate) fn last_said(&self) -> Option<&str> {
        self.present().rev().find(|turn| turn.who == Who::Assistant).map(|turn| turn.text.as_str())
    }
}

fn turns_of(id: &str, body: Body, present: bool) -> Result<Vec<Turn>, Malformed> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is in the log was not said to anybody")]
    match body {
        Body::WhatsappMessage(message) => {
            let message = proto::convert::inbound(message)?;
            Ok(inbound(id, &message, present).into_iter().collect())
        }
        Body::Decision(decision) => {
            let stored = StoredDecision::try_from(decision)?;
            let turn = |send: &domain::session::Send| Turn {
                who: match send.origin {
                    Origin::Assistant => Who::Assistant,
                    Origin::Notice | Origin::Campaign => Who::Notice,
                    Origin::Rep | Origin::Bot => Who::Person,
                },
                text: clip(&send.body.as_text(), TURN_CHARACTERS),
                present,
                voice: None,
            };
            // What the customer's message before it answers was sent to their phone number, maybe in
            // another conversation.
            let answered = stored.decision.outputs.iter().filter_map(|output| match output {
                Output::Replied(replied) => Some(Turn {
                    who: Who::Notice,
                    text: clip(&format!("[answers our message] {}", replied.text), TURN_CHARACTERS),
                    present,
                    voice: None,
                }),
                _ => None,
            });
            Ok(answered.chain(stored.decision.sends().map(turn)).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn inbound(id: &str, message: &InboundMessage, present: bool) -> Option<Turn> {
    let (speaker, content) = message.content.spoken();
    if !content.is_said() && content.marked().is_none() {
        return None;
    }
    let is_voice = |media: &Media| matches!(media.kind, MediaKind::Voice | MediaKind::Audio);
    let voice = content.media().filter(|media| is_voice(media)).map(|_| Voice { id: id.to_owned() });
    let who = match speaker {
        Speaker::Customer => Who::Customer,
        Speaker::Colleague | Speaker::OtherResponder => Who::Person,
    };
    Some(Turn { who, text: clip(&content.as_text(), TURN_CHARACTERS), present, voice })
}

/// At most `limit` characters.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}
