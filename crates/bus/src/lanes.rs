//! One lane per conversation: one entry at a time in it, in order, lanes side by side. Pure: the
//! partition's worker runs the jobs and does the parking.
//!
//! A lane that is stuck, or longer than [`LANE`], is parked: what waits in it moves into the broker,
//! where it takes no memory here and holds no checkpoint up. While anything of a lane is parked, the
//! lane works on that first, and what arrives is parked behind it.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use domain::{ConversationKey, Seq};

/// Entries waiting in one lane before it is parked.
pub(crate) const LANE: usize = 256;
/// Parked lanes that try at the same time. The others wait for their turn, so that an outage of
/// everything does not become a storm of tries.
pub(crate) const PROBES: usize = 32;

#[derive(Debug)]
pub(crate) struct Lanes<E> {
    lanes: HashMap<ConversationKey, Lane<E>>,
    probing: usize,
    /// Parked lanes, waiting for one of the [`PROBES`].
    turns: VecDeque<ConversationKey>,
}

#[derive(Debug)]
struct Lane<E> {
    queue: VecDeque<(Seq, E)>,
    /// Oldest first; all older than what is in the queue, but for an entry under way.
    parked: VecDeque<Seq>,
    under_way: Option<UnderWay>,
    /// It stands in `turns`.
    in_line: bool,
    /// How long to wait before the next try.
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnderWay {
    Fresh,
    Parked(Seq),
}

/// What a lane does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Job<E> {
    Fresh(Seq, E),
    /// Only its position is kept: it is read again when it is its turn, not before the pause.
    Parked(Seq, Duration),
}

impl<E> Job<E> {
    pub(crate) fn seq(&self) -> Seq {
        match self {
            Self::Fresh(seq, _) | Self::Parked(seq, _) => *seq,
        }
    }
}

impl<E> Default for Lanes<E> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), probing: 0, turns: VecDeque::new() }
    }
}

impl<E> Default for Lane<E> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            parked: VecDeque::new(),
            under_way: None,
            in_line: false,
            pause: Duration::ZERO,
        }
    }
}

impl<E: Clone> Lanes<E> {
    /// What the owner before had parked.
    pub(crate) fn parked_before(&mut self, key: ConversationKey, seq: Seq) {
        self.parked(key, seq);
        self.line_up(key);
    }

    /// Takes an entry in. What is returned is to be parked at once, in this order, each then
    /// reported by [`Lanes::parked`].
    pub(crate) fn arrived(&mut self, key: ConversationKey, seq: Seq, entry: E) -> Vec<Seq> {
        let lane = self.lanes.entry(key).or_default();
        lane.queue.push_back((seq, entry));
        if lane.parked.is_empty() && lane.queue.len() <= LANE { Vec::new() } else { lane.take_waiting() }
    }

    pub(crate) fn parked(&mut self, key: ConversationKey, seq: Seq) {
        let lane = self.lanes.entry(key).or_default();
        // An entry that got stuck stands before what was parked behind it; one that was parked by
        // an owner that died right after stands there already.
        let at = lane.parked.partition_point(|parked| *parked < seq);
        if lane.parked.get(at) != Some(&seq) {
            lane.parked.insert(at, seq);
        }
    }

    /// The lane's next job, unless one is under way or it has to wait for its turn.
    pub(crate) fn start(&mut self, key: ConversationKey) -> Option<Job<E>> {
        let lane = self.lanes.get_mut(&key)?;
        if lane.under_way.is_some() {
            return None;
        }
        if lane.parked.is_empty() {
            let Some((seq, entry)) = lane.queue.front().cloned() else {
                self.lanes.remove(&key);
                return None;
            };
            lane.under_way = Some(UnderWay::Fresh);
            return Some(Job::Fresh(seq, entry));
        }
        self.line_up(key);
        None
    }

    /// The next parked job whose turn it is, and its lane.
    pub(crate) fn next_probe(&mut self) -> Option<(ConversationKey, Job<E>)> {
        while self.probing < PROBES {
            let key = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.in_line = false;
            if let (None, Some(seq)) = (lane.under_way, lane.parked.front()) {
                let seq = *seq;
                lane.under_way = Some(UnderWay::Parked(seq));
                self.probing += 1;
                return Some((key, Job::Parked(seq, lane.pause)));
            }
        }
        None
    }

    /// A job is finished. A parked one keeps its turn: the lane goes on with the next.
    pub(crate) fn finished(&mut self, key: ConversationKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.pause = Duration::ZERO;
        match lane.under_way.take() {
            Some(UnderWay::Fresh) => drop(lane.queue.pop_front()),
            Some(UnderWay::Parked(seq)) => {
                lane.parked.retain(|parked| *parked != seq);
                self.probing -= 1;
                if !lane.parked.is_empty() {
                    lane.in_line = true;
                    self.turns.push_front(key);
                }
            }
            None => {}
        }
    }

    /// A job was tried for too long. Returns what is to be parked, as [`Lanes::arrived`] does; a
    /// parked one goes to the end of the line.
    pub(crate) fn stuck(&mut self, key: ConversationKey, pause: Duration) -> Vec<Seq> {
        let Some(lane) = self.lanes.get_mut(&key) else { return Vec::new() };
        lane.pause = pause;
        match lane.under_way.take() {
            Some(UnderWay::Fresh) => lane.take_waiting(),
            Some(UnderWay::Parked(_)) => {
                self.probing -= 1;
                self.line_up(key);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn line_up(&mut self, key: ConversationKey) {
        if let Some(lane) = self.lanes.get_mut(&key)
            && lane.under_way.is_none()
            && !lane.in_line
        {
            lane.in_line = true;
            self.turns.push_back(key);
        }
    }
}

impl<E> Lane<E> {
    /// All but an entry under way, which stays until it is settled.
    fn take_waiting(&mut self) -> Vec<Seq> {
        let keep = usize::from(self.under_way == Some(UnderWay::Fresh));
        self.queue.drain(keep..).map(|(seq, _)| seq).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> ConversationKey {
        ConversationKey::from_bytes([n; 16])
    }

    fn park(lanes: &mut Lanes<Seq>, key: ConversationKey, seqs: Vec<Seq>) {
        seqs.into_iter().for_each(|seq| lanes.parked(key, seq));
    }

    #[test]
    fn a_lane_that_grows_too_long_is_parked_behind_the_entry_under_way() {
        let mut lanes = Lanes::default();
        assert!(lanes.arrived(key(1), 1, 1).is_empty());
        assert_eq!(lanes.start(key(1)), Some(Job::Fresh(1, 1)));
        for seq in 2..=LANE as Seq {
            assert!(lanes.arrived(key(1), seq, seq).is_empty());
        }
        let over = LANE as Seq + 1;
        let parked = lanes.arrived(key(1), over, over);
        assert_eq!(parked, (2..=over).collect::<Vec<_>>());
        park(&mut lanes, key(1), parked);
        let parked = lanes.stuck(key(1), Duration::from_secs(1));
        assert_eq!(parked, [1]);
        park(&mut lanes, key(1), parked);
        assert_eq!(lanes.start(key(1)), None, "it stands in line");
        assert_eq!(lanes.next_probe(), Some((key(1), Job::Parked(1, Duration::from_secs(1)))));
    }

    #[test]
    fn parked_lanes_take_turns() {
        let mut lanes: Lanes<Seq> = Lanes::default();
        for n in 0..=PROBES {
            lanes.parked_before(key(u8::try_from(n).unwrap()), n as Seq + 1);
        }
        let first: Vec<_> = std::iter::from_fn(|| lanes.next_probe()).map(|(key, _)| key).collect();
        assert_eq!(first.len(), PROBES);
        assert!(lanes.stuck(first[0], Duration::ZERO).is_empty());
        let last = key(u8::try_from(PROBES).unwrap());
        assert_eq!(lanes.next_probe().map(|(key, _)| key), Some(last), "whoever was stuck waits");
        assert_eq!(lanes.next_probe(), None);
        lanes.finished(last);
        assert_eq!(lanes.next_probe().map(|(key, _)| key), Some(first[0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever arrives, finishes or gets stuck: in every lane one job at a time, in order,
        /// each once, and all in the end.
        #[test]
        fn every_lane_keeps_its_order(
            steps in prop::collection::vec((0u8..6, 0u8..4, any::<prop::sample::Index>()), 1..600),
        ) {
            let mut lanes = Lanes::default();
            let mut next: Seq = 0;
            let mut sent: BTreeMap<ConversationKey, Vec<Seq>> = BTreeMap::new();
            let mut got: BTreeMap<ConversationKey, Vec<Seq>> = BTreeMap::new();
            let mut under_way: Vec<(ConversationKey, Seq)> = Vec::new();
            let settle = |lanes: &mut Lanes<Seq>, key, under_way: &mut Vec<_>| {
                if let Some(job) = lanes.start(key) {
                    under_way.push((key, job.seq()));
                }
                while let Some((key, job)) = lanes.next_probe() {
                    under_way.push((key, job.seq()));
                }
            };
            for (what, n, index) in steps {
                match what {
                    0..=2 => {
                        let key = key(n);
                        for _ in 0..if index.index(20) == 0 { LANE } else { 1 } {
                            next += 1;
                            sent.entry(key).or_default().push(next);
                            let parked = lanes.arrived(key, next, next);
                            park(&mut lanes, key, parked);
                            settle(&mut lanes, key, &mut under_way);
                        }
                    }
                    3 if !under_way.is_empty() => {
                        let (key, _) = under_way.swap_remove(index.index(under_way.len()));
                        let parked = lanes.stuck(key, Duration::ZERO);
                        park(&mut lanes, key, parked);
                        settle(&mut lanes, key, &mut under_way);
                    }
                    _ if !under_way.is_empty() => {
                        let (key, seq) = under_way.swap_remove(index.index(under_way.len()));
                        got.entry(key).or_default().push(seq);
                        lanes.finished(key);
                        settle(&mut lanes, key, &mut under_way);
                    }
                    _ => {}
                }
                let mut keys: Vec<_> = under_way.iter().map(|(key, _)| *key).collect();
                keys.sort_unstable();
                keys.dedup();
                prop_assert_eq!(keys.len(), under_way.len(), "one at a time");
            }
            while let Some((key, seq)) = under_way.pop() {
                got.entry(key).or_default().push(seq);
                lanes.finished(key);
                settle(&mut lanes, key, &mut under_way);
            }
            prop_assert_eq!(got, sent);
            prop_assert!(lanes.lanes.is_empty());
        }
    }
}
