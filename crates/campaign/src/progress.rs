//! How far a campaign got, counted from the log: pure.
//!
//! Two bytes a recipient (2 MB at a million rows): what became of them, and why it failed. Applying an
//! entry again changes nothing, so reading the log in its order from [`Progress::seq`] on makes every
//! count exact, whatever happened to those who counted before.

use std::collections::BTreeMap;

use domain::{Millis, Seq};
use serde::{Deserialize, Serialize};

/// What may become of a recipient's message; each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Meta took it.
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
    Replied,
    OptedOut,
    /// Not sent, on purpose.
    Withheld,
}

impl Mark {
    const fn bit(self) -> u8 {
        match self {
            Self::Accepted => 1,
            Self::Sent => 1 << 1,
            Self::Delivered => 1 << 2,
            Self::Read => 1 << 3,
            Self::Failed => 1 << 4,
            Self::Replied => 1 << 5,
            Self::OptedOut => 1 << 6,
            Self::Withheld => 1 << 7,
        }
    }

    /// What must have been before it: Meta leaves steps out (`whatsapp-cloud-api.md` §3).
    const fn implied(self) -> &'static [Self] {
        match self {
            Self::Accepted | Self::Failed | Self::Replied | Self::OptedOut | Self::Withheld => &[],
            Self::Sent => &[Self::Accepted],
            Self::Delivered => &[Self::Accepted, Self::Sent],
            Self::Read => &[Self::Accepted, Self::Sent, Self::Delivered],
        }
    }
}

/// Something in the log about one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub row: u32,
    pub mark: Mark,
    /// Meta's code or one of [`cause`]: why it failed or was withheld; else 0.
    pub code: i32,
}

/// Why, where Meta has no code for it.
pub mod cause {
    /// They had said that they want none.
    pub const OPTED_OUT: i32 = -1;
    pub const TOO_LATE: i32 = -2;
    /// Neither answer nor status, also after it was sent again.
    pub const UNKNOWN: i32 = -3;
    /// The header's file could not be had.
    pub const FILE: i32 = -4;
    /// More than 254 different ones.
    pub const OTHERS: i32 = -5;
    /// They were erased before their turn.
    pub const ERASED: i32 = -6;
}

/// How far a time group was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub chunk: u32,
    /// Within the chunk.
    pub row: u32,
    /// Recipients before it, all chunks together.
    pub done: u32,
}

/// What is shown of it, and kept beside the campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub rows: u32,
    /// Asked for: their fact is in the log.
    pub queued: u32,
    pub accepted: u32,
    pub sent: u32,
    pub delivered: u32,
    pub read: u32,
    pub failed: u32,
    pub replied: u32,
    pub opted_out: u32,
    pub withheld: u32,
    /// Failed and withheld ones by Meta's code, or one of [`cause`].
    pub causes: BTreeMap<i32, u32>,
    pub series: Series,
    /// Unix time in milliseconds of the newest entry that was counted.
    pub at: Millis,
    /// What the runner waits for, in a word; none while it sends.
    pub waiting: Option<String>,
}

/// How the counts grew. Steps get longer as time goes by, so that there are never many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Milliseconds.
    pub step: Millis,
    /// Unix time in milliseconds of the first.
    pub from: Millis,
    /// What came in each step.
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    pub accepted: u32,
    pub delivered: u32,
    pub read: u32,
    pub failed: u32,
    pub replied: u32,
}

impl Series {
    const FIRST_STEP: Millis = 60_000;
    const MOST: usize = 240;

    fn add(&mut self, at: Millis, mark: Mark) {
        if self.points.is_empty() {
            self.step = Self::FIRST_STEP;
            self.from = at - at.rem_euclid(self.step);
        }
        let mut place = self.place(at);
        while place >= Self::MOST {
            self.coarsen();
            place = self.place(at);
        }
        if place >= self.points.len() {
            self.points.resize(place + 1, Point::default());
        }
        let point = &mut self.points[place];
        let count = match mark {
            Mark::Accepted => &mut point.accepted,
            Mark::Delivered => &mut point.delivered,
            Mark::Read => &mut point.read,
            Mark::Failed => &mut point.failed,
            Mark::Replied => &mut point.replied,
            Mark::Sent | Mark::OptedOut | Mark::Withheld => return,
        };
        *count += 1;
    }

    fn place(&self, at: Millis) -> usize {
        // The log's clock may go back a little.
        usize::try_from((at - self.from).max(0) / self.step.max(1)).unwrap_or(usize::MAX)
    }

    fn coarsen(&mut self) {
        let pairs = self.points.chunks(2).map(|pair| {
            pair.iter().fold(Point::default(), |sum, point| Point {
                accepted: sum.accepted + point.accepted,
                delivered: sum.delivered + point.delivered,
                read: sum.read + point.read,
                failed: sum.failed + point.failed,
                replied: sum.replied + point.replied,
            })
        });
        self.points = pairs.collect();
        self.step = self.step.saturating_mul(2);
    }
}

/// Everything that is known of a running campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Up to here the log was counted.
    pub seq: Seq,
    pub cursors: Vec<Cursor>,
    marks: Vec<u8>,
    /// Places in `codes`, from 1; 0: none.
    why: Vec<u8>,
    codes: Vec<i32>,
    settled: u32,
    pub summary: Summary,
}

/// A snapshot that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot of a campaign's progress cannot be read")]
pub struct Malformed;

/// What of a snapshot is not bytes by row.
#[derive(Serialize, Deserialize)]
struct Head {
    seq: Seq,
    cursors: Vec<Cursor>,
    codes: Vec<i32>,
    settled: u32,
    summary: Summary,
}

impl Progress {
    /// Of an audience with so many recipients and time groups, nothing sent yet; `seq`: the log's end.
    pub fn new(rows: u32, groups: usize, seq: Seq) -> Self {
        let length = usize::try_from(rows).unwrap_or(usize::MAX);
        Self {
            seq,
            cursors: vec![Cursor::default(); groups],
            marks: vec![0; length],
            why: vec![0; length],
            codes: Vec::new(),
            settled: 0,
            summary: Summary { rows, ..Summary::default() },
        }
    }

    /// Counts the events of the entry at `seq`, stored at `at`. False: it was counted already.
    pub fn apply(&mut self, seq: Seq, at: Millis, events: &[Event]) -> bool {
        if seq <= self.seq {
            return false;
        }
        self.seq = seq;
        for event in events {
            self.count(event, at);
        }
        self.summary.at = self.summary.at.max(at);
        true
    }

    /// What the log does not tell: nobody is asked for.
    pub fn leave_out(&mut self, row: u32, why: i32, at: Millis) {
        self.count(&Event { row, mark: Mark::Withheld, code: why }, at);
    }

    /// Nothing in the log before `seq` concerns it.
    pub fn skip_to(&mut self, seq: Seq) {
        self.seq = self.seq.max(seq);
    }

    fn count(&mut self, event: &Event, at: Millis) {
        let Ok(row) = usize::try_from(event.row) else { return };
        // Of another audience, or of somebody's imagination.
        let Some(before) = self.marks.get(row).copied() else { return };
        let mut now = before;
        for mark in event.mark.implied().iter().chain([&event.mark]) {
            if now & mark.bit() == 0 {
                now |= mark.bit();
                *self.counter(*mark) += 1;
                self.summary.series.add(at, *mark);
            }
        }
        self.marks[row] = now;
        self.settled += u32::from(!is_settled(before) && is_settled(now));
        let blamed = matches!(event.mark, Mark::Failed | Mark::Withheld);
        if blamed && event.code != 0 && self.why[row] == 0 {
            self.why[row] = self.place_of(event.code);
            let code = self.code_at(row).unwrap_or(cause::OTHERS);
            *self.summary.causes.entry(code).or_default() += 1;
        }
    }

    fn counter(&mut self, mark: Mark) -> &mut u32 {
        let summary = &mut self.summary;
        match mark {
            Mark::Accepted => &mut summary.accepted,
            Mark::Sent => &mut summary.sent,
            Mark::Delivered => &mut summary.delivered,
            Mark::Read => &mut summary.read,
            Mark::Failed => &mut summary.failed,
            Mark::Replied => &mut summary.replied,
            Mark::OptedOut => &mut summary.opted_out,
            Mark::Withheld => &mut summary.withheld,
        }
    }

    fn place_of(&mut self, code: i32) -> u8 {
        let known = self.codes.iter().position(|known| *known == code);
        let place = known.unwrap_or_else(|| {
            if self.codes.len() < 254 {
                self.codes.push(code);
                self.codes.len() - 1
            } else {
                254
            }
        });
        u8::try_from(place + 1).unwrap_or(u8::MAX)
    }

    fn code_at(&self, row: usize) -> Option<i32> {
        let place = usize::from(*self.why.get(row)?).checked_sub(1)?;
        Some(self.codes.get(place).copied().unwrap_or(cause::OTHERS))
    }

    /// The recipient's fact is in the log.
    pub fn advance(&mut self, group: usize, cursor: Cursor) {
        if let Some(known) = self.cursors.get_mut(group) {
            *known = cursor;
        }
        self.summary.queued = self.cursors.iter().map(|cursor| cursor.done).sum();
    }

    /// Asked for, and nobody knows yet what became of them.
    pub fn in_flight(&self) -> u32 {
        self.summary.queued.saturating_sub(self.settled)
    }

    /// All that was asked for has an outcome: taken by Meta, failed or withheld.
    pub fn is_settled(&self) -> bool {
        self.in_flight() == 0
    }

    pub fn rows(&self) -> u32 {
        self.summary.rows
    }

    /// A word for what became of a row, and why where it failed; for exports.
    pub fn row(&self, row: u32) -> (&'static str, Option<i32>) {
        let Ok(row) = usize::try_from(row) else { return ("unknown", None) };
        let Some(marks) = self.marks.get(row) else { return ("unknown", None) };
        let is = |mark: Mark| marks & mark.bit() != 0;
        let word = if is(Mark::OptedOut) {
            "opted out"
        } else if is(Mark::Replied) {
            "replied"
        } else if is(Mark::Failed) {
            "failed"
        } else if is(Mark::Withheld) {
            "withheld"
        } else if is(Mark::Read) {
            "read"
        } else if is(Mark::Delivered) {
            "delivered"
        } else if is(Mark::Sent) {
            "sent"
        } else if is(Mark::Accepted) {
            "accepted"
        } else {
            "pending"
        };
        (word, self.code_at(row))
    }

    /// As bytes: a length, JSON, then two bytes a row.
    pub fn snapshot(&self) -> Vec<u8> {
        let head = Head {
            seq: self.seq,
            cursors: self.cursors.clone(),
            codes: self.codes.clone(),
            settled: self.settled,
            summary: self.summary.clone(),
        };
        // Numbers and texts are always JSON.
        let head = serde_json::to_vec(&head).unwrap_or_default();
        let mut bytes = Vec::with_capacity(8 + head.len() + 2 * self.marks.len());
        bytes.extend_from_slice(&(head.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&self.marks);
        bytes.extend_from_slice(&self.why);
        bytes
    }

    pub fn restore(bytes: &[u8]) -> Result<Self, Malformed> {
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or(Malformed)?;
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| Malformed)?;
        let (head, rows) = rest.split_at_checked(length).ok_or(Malformed)?;
        let Head { seq, cursors, codes, settled, summary } =
            serde_json::from_slice(head).map_err(|_| Malformed)?;
        let count = usize::try_from(summary.rows).map_err(|_| Malformed)?;
        if rows.len() != count.saturating_mul(2) {
            return Err(Malformed);
        }
        let (marks, why) = rows.split_at(count);
        Ok(Self { seq, cursors, marks: marks.to_vec(), why: why.to_vec(), codes, settled, summary })
    }
}

const fn is_settled(marks: u8) -> bool {
    marks & (Mark::Accepted.bit() | Mark::Failed.bit() | Mark::Withheld.bit()) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(row: u32, mark: Mark, code: i32) -> Event {
        Event { row, mark, code }
    }

    #[test]
    fn steps_that_meta_left_out_are_counted_once() {
        let mut progress = Progress::new(3, 1, 10);
        progress.advance(0, Cursor { chunk: 0, row: 3, done: 3 });
        assert_eq!(progress.in_flight(), 3);
        assert!(progress.apply(11, 1_000, &[event(0, Mark::Read, 0)]));
        assert!(progress.apply(12, 1_000, &[event(0, Mark::Delivered, 0), event(1, Mark::Failed, 131_026)]));
        assert!(progress.apply(13, 1_000, &[event(1, Mark::Failed, 131_049), event(9, Mark::Read, 0)]));
        assert!(progress.apply(14, 1_000, &[event(2, Mark::Withheld, cause::OPTED_OUT)]));
        let Summary { accepted, sent, delivered, read, failed, withheld, causes, .. } = &progress.summary;
        assert_eq!((*accepted, *sent, *delivered, *read, *failed, *withheld), (1, 1, 1, 1, 1, 1));
        assert_eq!(*causes, BTreeMap::from([(131_026, 1), (cause::OPTED_OUT, 1)]));
        assert!(progress.is_settled());
        assert_eq!(progress.row(1), ("failed", Some(131_026)));
        assert_eq!(progress.row(0), ("read", None));
    }

    #[test]
    fn a_long_campaign_has_few_points() {
        let mut series = Series::default();
        for minute in 0..10_000 {
            series.add(minute * 60_000, Mark::Accepted);
        }
        assert!(series.points.len() <= Series::MOST);
        assert_eq!(series.points.iter().map(|point| point.accepted).sum::<u32>(), 10_000);
        assert_eq!(series.step, 64 * 60_000);
    }

    #[test]
    fn what_is_no_snapshot_is_said_to_be_none() {
        let snapshot = Progress::new(3, 1, 10).snapshot();
        for length in 0..snapshot.len() {
            assert_eq!(Progress::restore(&snapshot[..length]), Err(Malformed));
        }
    }

    fn marks() -> impl Strategy<Value = Mark> {
        prop::sample::select(vec![
            Mark::Accepted,
            Mark::Sent,
            Mark::Delivered,
            Mark::Read,
            Mark::Failed,
            Mark::Replied,
            Mark::OptedOut,
            Mark::Withheld,
        ])
    }

    proptest! {
        /// A reader that dies goes on from a snapshot, and reads some entries again.
        #[test]
        fn counting_again_changes_nothing(
            events in prop::collection::vec((0..6_u32, marks(), 0..3_i32), 1..60),
            died in 0..60_usize, again in 0..60_usize,
        ) {
            let apply = |progress: &mut Progress, from: usize| {
                for (place, (row, mark, code)) in events.iter().enumerate().skip(from) {
                    progress.apply(place as Seq + 1, place as Millis * 50_000, &[event(*row, *mark, *code)]);
                }
            };
            let mut once = Progress::new(5, 2, 0);
            apply(&mut once, 0);
            let mut first = Progress::new(5, 2, 0);
            let died = died.min(events.len());
            for (place, (row, mark, code)) in events.iter().enumerate().take(died) {
                first.apply(place as Seq + 1, place as Millis * 50_000, &[event(*row, *mark, *code)]);
            }
            let mut second = Progress::restore(&first.snapshot()).unwrap();
            prop_assert_eq!(&second, &first);
            apply(&mut second, again.min(died));
            prop_assert_eq!(&second, &once);
            // And the same events in entries of their own once more.
            let counts = |progress: &Progress| Summary { at: 0, ..progress.summary.clone() };
            let before = counts(&once);
            for (place, (row, mark, code)) in events.iter().enumerate() {
                once.apply((events.len() + place) as Seq + 1, 0, &[event(*row, *mark, *code)]);
            }
            let after = counts(&once);
            prop_assert_eq!((after.accepted, after.failed, after.read), (before.accepted, before.failed, before.read));
        }
    }
}
