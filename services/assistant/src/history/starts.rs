//! Where a conversation's newest turns begin only ever moves on: the next question reads from where
//! they began for the last one. Bounded; what is forgotten is found again in the log.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use domain::{ConversationKey, Seq};

/// Where the newest turns of conversations began when they were last asked for.
#[derive(Debug, Default)]
pub(crate) struct Starts(Mutex<Generations>);

/// The conversations that were asked about last, and those before them. Each at most [`MOST`].
#[derive(Debug, Default)]
struct Generations {
    new: HashMap<Asked, Start>,
    old: HashMap<Asked, Start>,
}

/// With what came before the session, or without.
type Asked = (ConversationKey, bool);

/// Some 100 bytes each.
const MOST: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Start {
    at: Seq,
    /// For which question; earlier ones, when they are read again, may need more.
    through: Seq,
}

impl Starts {
    /// Nothing before it is among the newest turns at `through`.
    pub(super) fn known(&self, key: &ConversationKey, earlier: bool, through: Seq) -> Option<Seq> {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = (*key, earlier);
        let start = generations.new.get(&asked).or_else(|| generations.old.get(&asked))?;
        (start.through <= through).then_some(start.at)
    }

    pub(super) fn remember(&self, key: &ConversationKey, earlier: bool, through: Seq, at: Seq) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.new.len() >= MOST {
            generations.old = std::mem::take(&mut generations.new);
        }
        generations.new.insert((*key, earlier), Start { at, through });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> ConversationKey {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        ConversationKey::from_bytes(bytes)
    }

    #[test]
    fn only_so_many_starts_are_remembered() {
        let starts = Starts::default();
        for n in 0..100_000 {
            starts.remember(&key(n), n % 2 == 0, 10, 5);
        }
        let generations = starts.0.lock().unwrap();
        assert!(generations.new.len() + generations.old.len() <= 2 * MOST);
        drop(generations);
        assert_eq!(starts.known(&key(0), true, 10), None);
        assert_eq!(starts.known(&key(99_999), false, 10), Some(5));
        assert_eq!(starts.known(&key(99_999), true, 10), None, "another question");
    }

    #[test]
    fn a_start_serves_later_questions_only() {
        let starts = Starts::default();
        starts.remember(&key(1), true, 10, 5);
        assert_eq!(starts.known(&key(1), true, 11), Some(5));
        assert_eq!(starts.known(&key(1), true, 9), None);
        starts.remember(&key(1), true, 20, 15);
        assert_eq!(starts.known(&key(1), true, 20), Some(15));
    }
}
