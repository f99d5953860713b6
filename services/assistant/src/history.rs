//! What was said in a conversation, as the log has it. Bounded: the newest turns, each cut.

use std::collections::VecDeque;

use bus::{Failure, Log};
use domain::{
    ConversationKey, Seq,
    mask::mask,
    message::{InboundMessage, Media, MediaKind, Speaker},
    session::{Conversation, Origin, Output},
    settings::Masking,
};
use proto::{Malformed, StoredDecision, subjects, subjects::Kind, v1::entry::Body};

use crate::metrics::Metrics;

/// Turns that are kept.
const TURNS: usize = 60;
/// Characters of all turns together; the newest are kept.
const CHARACTERS: usize = 16_000;
/// Of a turn, the first characters.
const TURN_CHARACTERS: usize = 4_000;
/// Entries read at once, and how often: a conversation has some hundreds in the log's horizon.
const BATCH: usize = 1_000;
const BATCHES: usize = 20;

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
    /// The present session up to `through`; with `earlier`, what came before it too, as far as the
    /// log's horizon reaches.
    pub(crate) async fn read(
        log: &Log,
        key: &ConversationKey,
        state: &Conversation,
        through: Seq,
        earlier: bool,
    ) -> Result<Self, Failure> {
        let first = state.session.as_ref().map_or(Seq::MAX, |session| session.first);
        let mut turns: VecDeque<Turn> = VecDeque::new();
        let mut from = if earlier { 1 } else { first.min(through) };
        for _ in 0..BATCHES {
            let filters = vec![subjects::filter_of(key, Kind::WhatsApp), subjects::decision(key)];
            let entries = log.read(filters, from, through, BATCH).await?;
            let (count, last) = (entries.len(), entries.last().map(|entry| entry.seq));
            for entry in entries {
                let id = entry.address.as_ref().map(|address| address.id.clone()).unwrap_or_default();
                // What cannot be read is left out: it must not keep the customer from an answer.
                let turns_of_it =
                    proto::decode(entry.payload).and_then(|body| turns_of(&id, body, entry.seq >= first));
                for turn in turns_of_it.unwrap_or_default() {
                    turns.push_back(turn);
                    if turns.len() > TURNS {
                        turns.pop_front();
                    }
                }
            }
            match last {
                Some(last) if count == BATCH && last < through => from = last + 1,
                Some(_) | None => break,
            }
        }
        let mut history = Self { turns: turns.into() };
        history.cut();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(who: Who, text: &str) -> Turn {
        Turn { who, text: text.into(), present: true, voice: None }
    }

    #[test]
    fn the_newest_turns_are_kept() {
        let mut history = History {
            turns: (0..30).map(|n| turn(Who::Customer, &format!("{n} {}", "x".repeat(1_000)))).collect(),
        };
        history.cut();
        assert_eq!(history.turns.len(), 15);
        assert!(history.turns.last().unwrap().text.starts_with("29 "));
        let mut history = History { turns: vec![turn(Who::Customer, &"x".repeat(CHARACTERS + 1))] };
        history.cut();
        assert_eq!(history.turns.len(), 1);
    }
}
