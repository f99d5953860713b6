//! How far a partition was read. Pure: the partition's worker stores it by compare-and-swap.

use std::collections::BTreeSet;

use domain::Seq;
use serde::{Deserialize, Serialize};

/// As it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Of the claim under which it was written. Writing it first thing fences the owner before.
    pub(crate) epoch: u64,
    /// Everything up to here is finished.
    pub(crate) floor: Seq,
    /// Finished above the floor.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) done: BTreeSet<Seq>,
}

/// What was received, and what of it is finished.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    floor: Seq,
    /// The last one received.
    last: Seq,
    pending: BTreeSet<Seq>,
    done: BTreeSet<Seq>,
    dirty: bool,
}

impl Cursor {
    pub(crate) fn resume(checkpoint: Checkpoint) -> Self {
        Self { floor: checkpoint.floor, last: checkpoint.floor, done: checkpoint.done, ..Self::default() }
    }

    /// Where reading goes on.
    pub(crate) fn next(&self) -> Seq {
        self.last + 1
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Finished above the floor.
    pub(crate) fn done(&self) -> usize {
        self.done.len()
    }

    /// Whether the entry is to be worked on: not finished before, not received before.
    pub(crate) fn received(&mut self, seq: Seq) -> bool {
        self.last = self.last.max(seq);
        self.dirty = true;
        if seq <= self.floor || self.done.contains(&seq) {
            self.advance();
            return false;
        }
        self.pending.insert(seq)
    }

    pub(crate) fn finished(&mut self, seq: Seq) {
        if self.pending.remove(&seq) {
            self.done.insert(seq);
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.dirty = true;
        let floor = self.pending.first().map_or(self.last, |first| first - 1);
        self.floor = self.floor.max(floor);
        self.done = self.done.split_off(&(self.floor + 1));
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(crate) fn stored(&mut self) {
        self.dirty = false;
    }

    pub(crate) fn checkpoint(&self, epoch: u64) -> Checkpoint {
        Checkpoint { epoch, floor: self.floor, done: self.done.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_floor_moves_past_finished_entries_only() {
        let mut cursor = Cursor::resume(Checkpoint { epoch: 1, floor: 10, done: [12].into() });
        assert_eq!(cursor.next(), 11);
        assert!(cursor.received(11));
        assert!(!cursor.received(12), "it was finished by the owner before");
        assert!(cursor.received(15));
        cursor.finished(15);
        assert_eq!(cursor.checkpoint(2), Checkpoint { epoch: 2, floor: 10, done: [12, 15].into() });
        cursor.finished(11);
        assert_eq!(cursor.checkpoint(2), Checkpoint { epoch: 2, floor: 15, done: [].into() });
    }

    proptest! {
        /// Whatever finishes in whatever order, with crashes at any checkpoint: an entry is skipped
        /// only if it was finished, and everything is finished in the end.
        #[test]
        fn nothing_unfinished_is_ever_skipped(
            seqs in prop::collection::btree_set(1u64..200, 1..60),
            choices in prop::collection::vec((any::<prop::sample::Index>(), 0..10), 1..200),
        ) {
            let mut finished = BTreeSet::new();
            let mut cursor = Cursor::default();
            let mut stored = Checkpoint::default();
            let mut unread: Vec<Seq> = seqs.iter().copied().collect();
            let mut open: Vec<Seq> = Vec::new();
            for (index, what) in choices {
                match what {
                    0..=3 if !unread.is_empty() => {
                        let seq = unread.remove(0);
                        if cursor.received(seq) { open.push(seq) } else { prop_assert!(finished.contains(&seq)) }
                    }
                    4..=7 if !open.is_empty() => {
                        let seq = open.remove(index.index(open.len()));
                        finished.insert(seq);
                        cursor.finished(seq);
                    }
                    8 => stored = cursor.checkpoint(1),
                    9 => {
                        cursor = Cursor::resume(stored.clone());
                        open.clear();
                        unread = seqs.iter().copied().filter(|seq| *seq >= cursor.next()).collect();
                        prop_assert!(seqs.iter().filter(|seq| **seq <= stored.floor).all(|seq| finished.contains(seq)));
                    }
                    _ => {}
                }
            }
            for seq in unread {
                if cursor.received(seq) { open.push(seq) } else { prop_assert!(finished.contains(&seq)) }
            }
            open.into_iter().for_each(|seq| cursor.finished(seq));
            let end = cursor.checkpoint(1);
            prop_assert!(end.done.is_empty());
            prop_assert_eq!(end.floor, *seqs.last().unwrap());
        }
    }
}
