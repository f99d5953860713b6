//! How far a partition was read, and what is under suspicion. Pure: the partition's worker stores
//! it by compare-and-swap.
//!
//! A process that dies takes its half-finished entries with it, and one of them may be why. What was
//! unfinished when its owner vanished is struck once per take-over; from [`ALONE`] strikes on it
//! runs alone in its process and is recorded before it runs, so that the next death blames it and
//! nothing else; [`DEADLY`] more, and it is a dead letter. Whoever hands over in good order, or only
//! lost touch with the broker, strikes nothing.

use std::collections::{BTreeMap, BTreeSet};

use domain::Seq;
use serde::{Deserialize, Serialize};

/// Unfinished at this many take-overs in a row: a suspect.
pub(crate) const ALONE: u32 = 2;
/// Deaths while it ran alone.
pub(crate) const DEADLY: u32 = 3;

/// As it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Of the claim under which it was written. Writing it first thing fences the owner before.
    pub(crate) epoch: u64,
    /// The member that wrote it; none once it has handed over in good order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// Everything up to here was received.
    pub(crate) through: Seq,
    /// What of that is not finished.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) open: BTreeSet<Seq>,
    /// Parked entries that are being tried.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) probing: BTreeSet<Seq>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) strikes: BTreeMap<Seq, u32>,
    /// The suspect that runs at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alone: Option<Seq>,
}

/// How an entry is to be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Side by side with others.
    None,
    /// Only once a checkpoint names it: its owner before vanished with it.
    Recorded,
    /// Alone in this process, and recorded as such.
    Alone,
    /// Not at all: it took its process down again and again.
    Dead,
}

/// What was received, and what of it is finished.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    through: Seq,
    open: BTreeSet<Seq>,
    /// Of the open ones: received by us.
    in_hand: BTreeSet<Seq>,
    probing: BTreeSet<Seq>,
    strikes: BTreeMap<Seq, u32>,
    alone: Option<Seq>,
    /// Parked by the owner before, which could not write that down any more; not read yet.
    parked_ahead: BTreeSet<Seq>,
    /// The owner before vanished; it may have received entries up to here.
    doubtful: Seq,
    /// Where the log ended when the partition was claimed.
    claimed_at: Seq,
    /// What was received up to here stands in the checkpoint that is stored.
    recorded: Seq,
    last: Seq,
    dirty: bool,
}

impl Cursor {
    /// Goes on where a checkpoint ends. `end`: the log's last entry, which is as far as the owner
    /// before can have come.
    pub(crate) fn resume(checkpoint: Checkpoint, me: &str, end: Seq) -> Self {
        let Checkpoint { owner, through, open, probing, mut strikes, alone, .. } = checkpoint;
        let vanished = owner.as_deref().is_some_and(|owner| owner != me);
        if vanished {
            for seq in open.union(&probing) {
                let count = strikes.entry(*seq).or_default();
                // What only stood open beside the one that ran is suspected, not blamed.
                if alone == Some(*seq) || *count < ALONE {
                    *count += 1;
                }
            }
        }
        let last = open.first().map_or(through, |first| first - 1);
        let doubtful = if vanished { end } else { 0 };
        Self { through, open, strikes, last, doubtful, claimed_at: end, recorded: through, ..Self::default() }
    }

    /// Where reading goes on.
    pub(crate) fn next(&self) -> Seq {
        self.last + 1
    }

    /// Received and not finished.
    pub(crate) fn pending(&self) -> usize {
        self.in_hand.len()
    }

    /// Whether the entry is to be worked on: not finished before, not received before.
    pub(crate) fn received(&mut self, seq: Seq) -> bool {
        self.last = self.last.max(seq);
        if seq > self.through {
            self.through = seq;
            self.dirty = true;
            if !self.parked_ahead.remove(&seq) {
                self.open.insert(seq);
            }
        }
        self.open.contains(&seq) && self.in_hand.insert(seq)
    }

    /// An entry turns out to be parked already: the lanes take it from there, once.
    pub(crate) fn is_parked(&mut self, seq: Seq) {
        if seq > self.through {
            self.parked_ahead.insert(seq);
        } else if self.open.remove(&seq) {
            self.dirty = true;
        }
    }

    /// A parked entry is about to be tried.
    pub(crate) fn probe(&mut self, seq: Seq) {
        self.probing.insert(seq);
        self.dirty = true;
    }

    /// How to work on an entry that was received.
    pub(crate) fn care(&self, seq: Seq) -> Care {
        match self.strikes.get(&seq) {
            Some(strikes) if *strikes >= ALONE + DEADLY => Care::Dead,
            Some(strikes) if *strikes >= ALONE => Care::Alone,
            Some(_) | None if seq <= self.doubtful && self.is_unrecorded(seq) => Care::Recorded,
            Some(_) | None => Care::None,
        }
    }

    /// It came after the claim: no owner before can have received it.
    pub(crate) fn is_new(&self, seq: Seq) -> bool {
        seq > self.claimed_at
    }

    fn is_unrecorded(&self, seq: Seq) -> bool {
        seq > self.recorded || self.probing.contains(&seq)
    }

    /// To be stored before the suspect runs.
    pub(crate) fn run_alone(&mut self, seq: Seq) {
        self.alone = Some(seq);
        self.dirty = true;
    }

    pub(crate) fn finished(&mut self, seq: Seq) {
        self.in_hand.remove(&seq);
        self.dirty |= self.open.remove(&seq);
        self.ran(seq);
    }

    /// It did not take the process down, whatever else became of it.
    pub(crate) fn ran(&mut self, seq: Seq) {
        self.dirty |= self.probing.remove(&seq);
        self.harmless(seq);
    }

    /// The suspicion is lifted, while it may still be tried.
    pub(crate) fn harmless(&mut self, seq: Seq) {
        self.dirty |= self.strikes.remove(&seq).is_some();
        self.not_alone(seq);
    }

    /// It could not be started.
    pub(crate) fn not_alone(&mut self, seq: Seq) {
        if self.alone == Some(seq) {
            self.alone = None;
            self.dirty = true;
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(crate) fn stored(&mut self) {
        self.dirty = false;
        self.recorded = self.through;
    }

    /// `owner`: none when it is the last word before a hand-over.
    pub(crate) fn checkpoint(&self, epoch: u64, owner: Option<&str>) -> Checkpoint {
        // Reading is in order: what was open before the last one received and did not come again is
        // gone from the log.
        let open: BTreeSet<Seq> =
            self.open.iter().copied().filter(|seq| *seq > self.last || self.in_hand.contains(seq)).collect();
        Checkpoint {
            epoch,
            owner: owner.map(str::to_owned),
            through: self.through,
            probing: self.probing.clone(),
            strikes: self.strikes.clone(),
            alone: self.alone,
            open,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vanished(through: Seq, open: &[Seq]) -> Checkpoint {
        let owner = Some("before".into());
        Checkpoint { epoch: 1, owner, through, open: open.iter().copied().collect(), ..Checkpoint::default() }
    }

    #[test]
    fn only_what_was_not_finished_is_worked_on_again() {
        let mut cursor = Cursor::resume(vanished(14, &[11, 13]), "me", 20);
        assert_eq!(cursor.next(), 11);
        assert!(cursor.received(11));
        assert!(!cursor.received(12), "it was finished by the owner before");
        assert!(cursor.received(13));
        assert!(cursor.received(15));
        cursor.finished(15);
        cursor.finished(11);
        let stored = cursor.checkpoint(2, Some("me"));
        assert_eq!((stored.through, stored.open), (15, [13].into()));
        cursor.finished(13);
        assert_eq!(Cursor::resume(cursor.checkpoint(2, None), "you", 20).next(), 16);
    }

    #[test]
    fn an_open_entry_that_left_the_log_holds_nothing_up() {
        let mut cursor = Cursor::resume(vanished(14, &[11, 13]), "me", 20);
        assert!(cursor.received(13));
        cursor.finished(13);
        assert_eq!(cursor.checkpoint(2, Some("me")).open, [].into());
    }

    #[test]
    fn what_its_owner_parked_before_it_vanished_is_not_read_again() {
        let mut cursor = Cursor::resume(vanished(14, &[11, 13]), "me", 20);
        [13, 15].into_iter().for_each(|seq| cursor.is_parked(seq));
        let received = [11, 13, 14, 15, 16].map(|seq| cursor.received(seq));
        assert_eq!(received, [true, false, false, false, true]);
        let stored = cursor.checkpoint(2, Some("me"));
        assert_eq!((stored.through, stored.open), (16, [11, 16].into()));
    }

    #[test]
    fn neither_a_hand_over_nor_a_lost_connection_strikes() {
        let mut handed_over = vanished(14, &[11]);
        handed_over.owner = None;
        assert_eq!(Cursor::resume(handed_over, "me", 20).care(11), Care::None);
        assert_eq!(Cursor::resume(vanished(14, &[11]), "before", 20).care(11), Care::None);
    }

    #[test]
    fn an_entry_that_takes_its_process_down_is_dead_in_the_end() {
        let mut checkpoint = vanished(14, &[11, 12]);
        let mut deaths = 1;
        let cursor = loop {
            let mut cursor = Cursor::resume(checkpoint, &format!("owner {deaths}"), 20);
            assert!(cursor.received(11) && cursor.received(12));
            if cursor.care(11) == Care::Dead {
                break cursor;
            }
            if cursor.care(11) == Care::Alone {
                cursor.run_alone(11);
            }
            deaths += 1;
            checkpoint = cursor.checkpoint(deaths, Some(&format!("owner {}", deaths - 1)));
        };
        assert_eq!(deaths, u64::from(ALONE + DEADLY));
        assert_eq!(cursor.care(12), Care::Alone, "it was there each time, but never ran");
    }

    #[test]
    fn what_may_have_killed_its_owner_is_written_down_before_it_runs() {
        let mut cursor = Cursor::resume(vanished(14, &[11]), "me", 20);
        assert!([11, 15, 21].into_iter().all(|seq| cursor.received(seq)));
        assert_eq!([11, 15, 21].map(|seq| cursor.care(seq)), [Care::None, Care::Recorded, Care::None]);
        cursor.stored();
        assert_eq!(cursor.care(15), Care::None);
    }

    #[test]
    fn a_parked_entry_is_found_out_like_any_other() {
        let mut cursor = Cursor::resume(Checkpoint::default(), "a", 20);
        for owner in ["b", "c"] {
            cursor.probe(7);
            cursor = Cursor::resume(cursor.checkpoint(1, Some("before")), owner, 20);
        }
        assert_eq!(cursor.care(7), Care::Alone);
        cursor.probe(7);
        cursor.ran(7);
        assert_eq!(cursor.checkpoint(1, None).strikes, [].into());
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
                    8 => stored = cursor.checkpoint(1, Some("somebody")),
                    9 => {
                        cursor = Cursor::resume(stored.clone(), "me", 200);
                        open.clear();
                        unread = seqs.iter().copied().filter(|seq| *seq >= cursor.next()).collect();
                        prop_assert!(seqs.iter().filter(|seq| **seq < cursor.next()).all(|seq| finished.contains(seq)));
                    }
                    _ => {}
                }
            }
            for seq in unread {
                if cursor.received(seq) { open.push(seq) } else { prop_assert!(finished.contains(&seq)) }
            }
            open.into_iter().for_each(|seq| cursor.finished(seq));
            let end = cursor.checkpoint(1, None);
            prop_assert!(end.open.is_empty());
            prop_assert_eq!(end.through, *seqs.last().unwrap());
        }
    }
}
