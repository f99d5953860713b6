//! The quiet time: the assistant is asked when the customer has stopped writing, so that several
//! short messages make one turn.
//!
//! What was written is kept in the state until it is answered: a customer who writes on while an
//! answer is in the making raises the epoch, which makes that answer stale, and the next question
//! holds everything that is unanswered.

use super::{
    Ask, Output, Owner,
    decide::{Turn, millis},
};
use crate::{Cause, Millis};

/// What the customer wrote and nobody answered yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// A line for each message; of more than [`Unanswered::LIMIT`] characters the newest.
    pub text: String,
    /// When the first of those was stored that the assistant was not asked about.
    pub since: Millis,
    /// Ends the quiet time. `None`: the assistant was asked.
    pub timer: Option<Cause>,
    /// It is nobody's any more once the conversation has another epoch.
    pub epoch: u32,
}

impl Unanswered {
    pub const LIMIT: usize = 4_000;
}

/// Holds what people wrote: never printed.
impl std::fmt::Debug for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unanswered(since {}, timer {:?}, epoch {})", self.since, self.timer, self.epoch)
    }
}

impl Turn<'_> {
    /// The assistant is asked about this and everything that waits: at once, or when the customer has
    /// been quiet.
    pub(super) fn ask(&mut self, text: String) {
        let before = self.state.unanswered.take();
        let (mut all, mut since) = (text, self.at.time);
        if let Some(before) = before {
            all = newest(format!("{}\n{all}", before.text));
            match before.timer {
                Some(_) => since = before.since,
                // The answer in the making knows too little: it is stale from now on.
                None => self.state.epoch += 1,
            }
        }
        let policy = self.context.policy;
        if policy.quiet_seconds.is_zero() {
            self.question(all);
            return;
        }
        let quiet = self.at.time.saturating_add(millis(policy.quiet_seconds));
        let longest = since.saturating_add(millis(policy.longest_quiet_seconds));
        let timer = self.push(Output::Timer { at: quiet.min(longest).max(self.at.time) });
        let epoch = self.state.epoch;
        self.state.unanswered = Some(Unanswered { text: newest(all), since, timer: Some(timer), epoch });
    }

    /// Whether this timer was the quiet time's.
    pub(super) fn quiet_is_over(&mut self, timer: Cause) -> bool {
        let Some(waiting) = self.state.unanswered.take_if(|waiting| waiting.timer == Some(timer)) else {
            return false;
        };
        let answers = match self.state.owner {
            Owner::Assistant => !self.state.elsewhere && self.at.time >= self.state.quiet_until,
            Owner::Opening(_) | Owner::Waiting(_) => self.context.policy.assist_while_waiting,
            Owner::Live(_) | Owner::Inactive(_) => false,
        };
        if !answers {
            return true;
        }
        if self.context.assistant_on {
            self.state.unanswered = Some(super::Unanswered { timer: None, ..waiting.clone() });
            self.question(waiting.text);
        } else if self.state.owner == Owner::Assistant {
            // Switched off in the meantime.
            self.without_assistant();
        }
        true
    }

    /// An answer under the present epoch: nothing is left to answer.
    pub(super) fn is_answered(&mut self) {
        self.state.unanswered.take_if(|waiting| waiting.timer.is_none());
    }

    pub(super) fn question(&mut self, text: String) {
        let helping = match self.state.owner {
            Owner::Opening(_) | Owner::Waiting(_) => true,
            Owner::Assistant | Owner::Live(_) | Owner::Inactive(_) => false,
        };
        let human_until = self.state.session.as_ref().and_then(|session| session.human_until);
        self.push(Output::Ask(Ask { epoch: self.state.epoch, text, helping, human_until }));
    }
}

fn newest(text: String) -> String {
    let over = text.chars().count().saturating_sub(Unanswered::LIMIT);
    if over == 0 { text } else { text.chars().skip(over).collect() }
}
