//! Who works on which partition. One table per service, changed by compare-and-swap, so that every
//! member sees the same order of changes. Pure: the reader does the reading and writing.
//!
//! Liveness is judged by "the member's beat has not changed for the TTL on my own monotonic clock",
//! never by comparing clocks. A member whose own beat is late stops starting effects at two thirds
//! of the TTL and drops everything at the TTL, before anybody else can conclude that it is gone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::Partition;
use serde::{Deserialize, Serialize};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use xxhash_rust::xxh3::xxh3_64;

/// The table as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) claims: BTreeMap<u16, Claim>,
    /// The newest epoch given out.
    pub(crate) epoch: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// It only has to change.
    pub(crate) beat: u64,
    /// It gives up what it has: nothing is to go to it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) leaving: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) owner: String,
    /// Grows with every claim: fences the owner before.
    pub(crate) epoch: u64,
}

/// One member's view of the others.
#[derive(Debug)]
pub(crate) struct Observer {
    me: String,
    ttl: Duration,
    /// Our own, never repeated: a member that was taken for dead and comes back must not be mistaken
    /// for the one that did not move.
    beat: u64,
    /// Beat, since when it has not changed, since when the member is known.
    seen: HashMap<String, (u64, Instant, Instant)>,
    looked: Option<Instant>,
}

/// What a member wants the table to be, and what it means for itself once it is stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) table: Table,
    /// To start, with their epochs.
    pub(crate) claim: Vec<(Partition, u64)>,
    /// To hand over: stop reading, drain, checkpoint, then say that it is released.
    pub(crate) shed: Vec<Partition>,
    /// Somebody else's already: stop at once.
    pub(crate) lost: Vec<Partition>,
    /// Others may have something to do now.
    pub(crate) tell: bool,
}

/// What a member does at the moment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Holdings {
    /// Running or draining, with the epoch they were claimed under.
    pub(crate) held: BTreeMap<Partition, u64>,
    /// Drained: to be given up.
    pub(crate) released: BTreeSet<Partition>,
    /// The process stops: claim nothing more.
    pub(crate) leaving: bool,
    /// The newest epoch found in a checkpoint: ours have to be newer, even if the table was lost.
    pub(crate) newest: u64,
}

impl Observer {
    pub(crate) fn new(me: String, ttl: Duration) -> Self {
        Self { me, ttl, beat: 0, seen: HashMap::new(), looked: None }
    }

    pub(crate) fn plan(&mut self, table: &Table, mine: &Holdings, now: Instant) -> Plan {
        let live = self.observe(table, now);
        let mut next = table.clone();
        next.members.retain(|member, _| live.contains(member));
        let before = table.members.get(&self.me);
        self.beat += 1;
        let me = Member { beat: self.beat, leaving: mine.leaving };
        let changed = before.is_none_or(|before| before.leaving != me.leaving);
        next.members.insert(self.me.clone(), me);
        next.epoch = next.epoch.max(mine.newest);
        next.claims.retain(|partition, claim| {
            let given_up = claim.owner == self.me && mine.released.contains(&Partition(*partition));
            live.contains(&claim.owner) && !given_up
        });

        let candidates: Vec<String> =
            live.into_iter().filter(|member| next.members.get(member).is_some_and(|m| !m.leaving)).collect();
        let settled: Vec<&String> = candidates.iter().filter(|member| self.is_settled(member, now)).collect();
        let tell = changed || next.claims.len() != table.claims.len();
        let mut plan = Plan { table: next, claim: Vec::new(), shed: Vec::new(), lost: Vec::new(), tell };
        for partition in Partition::all() {
            let held = mine.held.get(&partition).copied();
            let claim = plan.table.claims.get(&partition.0).cloned();
            match (&claim, held) {
                (Some(claim), Some(epoch)) if claim.owner == self.me && claim.epoch == epoch => {
                    let target = target(partition, settled.iter().map(|member| member.as_str()));
                    if mine.leaving || target.is_some_and(|target| target != self.me) {
                        plan.shed.push(partition);
                    }
                }
                (_, Some(_)) if !mine.released.contains(&partition) => plan.lost.push(partition),
                // Ours in the table, but dropped when our beat was late: nobody took it since.
                (Some(claim), None) if claim.owner == self.me && !mine.leaving => {
                    self.take(&mut plan, partition)
                }
                (None, _) if !mine.leaving => {
                    if target(partition, candidates.iter().map(String::as_str)) == Some(&self.me) {
                        self.take(&mut plan, partition);
                    }
                }
                (Some(_) | None, _) => {}
            }
        }
        if mine.leaving && mine.held.is_empty() {
            plan.table.members.remove(&self.me);
            plan.table.claims.retain(|_, claim| claim.owner != self.me);
        }
        plan
    }

    fn take(&self, plan: &mut Plan, partition: Partition) {
        plan.table.epoch += 1;
        let claim = Claim { owner: self.me.clone(), epoch: plan.table.epoch };
        plan.claim.push((partition, claim.epoch));
        plan.table.claims.insert(partition.0, claim);
    }

    fn observe(&mut self, table: &Table, now: Instant) -> BTreeSet<String> {
        // While we could not look, nobody could be seen: an outage of the broker kills no member.
        let gap = self.looked.map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked));
        if gap > self.ttl / 2 {
            for (_, since, _) in self.seen.values_mut() {
                *since = now;
            }
        }
        self.looked = Some(now);
        for (member, Member { beat, .. }) in &table.members {
            match self.seen.get_mut(member) {
                Some((known, since, _)) if known != beat => (*known, *since) = (*beat, now),
                Some(_) => {}
                None => {
                    self.seen.insert(member.clone(), (*beat, now, now));
                }
            }
        }
        self.seen.retain(|member, _| table.members.contains_key(member));
        let mut live: BTreeSet<String> = self
            .seen
            .iter()
            .filter(|(_, (_, since, _))| now.saturating_duration_since(*since) <= self.ttl)
            .map(|(member, _)| member.clone())
            .collect();
        live.insert(self.me.clone());
        live
    }

    /// Whether it is worth handing partitions over to a member: it has beaten for a while.
    fn is_settled(&self, member: &str, now: Instant) -> bool {
        member == self.me
            || self.seen.get(member).is_some_and(|(_, since, first)| {
                now.saturating_duration_since(*first) >= self.ttl / 2
                    && now.saturating_duration_since(*since) <= self.ttl / 2
            })
    }
}

/// Rendezvous hashing: a member that comes or goes moves only its own share.
fn target<'a>(partition: Partition, members: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    members.max_by_key(|member| (xxh3_64(format!("{partition}/{member}").as_bytes()), *member))
}

/// The right to work on a partition.
#[derive(Debug, Clone)]
pub struct Lease {
    pub(crate) epoch: u64,
    pub(crate) beat: Arc<Beat>,
    pub(crate) lost: CancellationToken,
    pub(crate) first_try: bool,
}

impl Lease {
    /// As far as this process can tell, nobody has worked on the entry before: it came after the partition
    /// was claimed, and this is its first try. An owner that lost the partition unawares may be at it
    /// all the same: this saves looking for traces first, and proves nothing.
    pub fn is_first_try(&self) -> bool {
        self.first_try
    }

    /// Whether a new effect may be started now. Ask right before each one.
    pub fn is_held(&self) -> bool {
        !self.lost.is_cancelled() && self.beat.age() < self.beat.ttl * 2 / 3
    }

    /// Grows with every change of ownership.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Resolves when the partition is somebody else's.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.lost.cancelled()
    }

    /// A lease that is never lost, for tests of handlers.
    pub fn for_test() -> Self {
        Self {
            epoch: 1,
            beat: Arc::new(Beat::new(Duration::from_secs(3600))),
            lost: CancellationToken::new(),
            first_try: false,
        }
    }

    /// As if the partition had been taken by another process.
    pub fn lose_for_test(&self) {
        self.lost.cancel();
    }
}

/// When this process last renewed its membership.
#[derive(Debug)]
pub(crate) struct Beat {
    started: Instant,
    /// Milliseconds after `started`.
    last: AtomicU64,
    pub(crate) ttl: Duration,
}

impl Beat {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0), ttl }
    }

    /// `at`: before the renewal was sent, so that our clock runs out first.
    pub(crate) fn renewed(&self, at: Instant) {
        let millis =
            u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Release);
    }

    /// Until everything has to be dropped.
    pub(crate) fn left(&self) -> Duration {
        self.ttl.saturating_sub(self.age())
    }

    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Acquire)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    /// Members on one table, with a clock that the test moves.
    struct World {
        table: Table,
        now: Instant,
        members: Vec<Member>,
    }

    struct Member {
        observer: Observer,
        mine: Holdings,
        /// Does not act: killed, or paused.
        down: bool,
        beat: Instant,
    }

    impl World {
        fn new(count: usize) -> Self {
            let now = Instant::now();
            let members = (0..count)
                .map(|n| Member {
                    observer: Observer::new(format!("m{n}"), TTL),
                    mine: Holdings::default(),
                    down: false,
                    beat: now,
                })
                .collect();
            Self { table: Table::default(), now, members }
        }

        /// One member looks and writes; as in the real thing nobody else writes in between.
        fn act(&mut self, n: usize) {
            let member = &mut self.members[n];
            if member.down {
                return;
            }
            if self.now - member.beat > TTL {
                member.mine.held.clear();
            }
            let plan = member.observer.plan(&self.table, &member.mine, self.now);
            self.table = plan.table;
            member.beat = self.now;
            for partition in std::mem::take(&mut member.mine.released) {
                member.mine.held.remove(&partition);
            }
            for partition in plan.lost {
                member.mine.held.remove(&partition);
            }
            // Draining takes no time here.
            member.mine.released.extend(plan.shed);
            member.mine.held.extend(plan.claim);
        }

        fn round(&mut self, step: Duration) {
            self.now += step;
            (0..self.members.len()).for_each(|n| self.act(n));
        }

        /// Who may start effects on a partition, by its own clock.
        fn owners(&self, partition: Partition) -> usize {
            self.members
                .iter()
                .filter(|m| m.mine.held.contains_key(&partition) && self.now - m.beat < TTL * 2 / 3)
                .count()
        }

        fn all_owned_once(&self) -> bool {
            Partition::all().all(|p| self.owners(p) == 1)
        }
    }

    #[test]
    fn one_process_takes_everything_at_once() {
        let mut world = World::new(1);
        world.round(Duration::ZERO);
        assert!(world.all_owned_once());
    }

    #[test]
    fn partitions_spread_and_come_back_within_the_ttl() {
        let mut world = World::new(3);
        (0..20).for_each(|_| world.round(Duration::from_millis(500)));
        assert!(world.all_owned_once());
        assert!(world.members.iter().all(|m| m.mine.held.len() > 8));
        world.members[0].down = true;
        (0..8).for_each(|_| world.round(Duration::from_millis(500)));
        assert!(world.all_owned_once());
    }

    #[test]
    fn an_outage_of_the_broker_moves_nothing() {
        let mut world = World::new(3);
        (0..20).for_each(|_| world.round(Duration::from_millis(500)));
        let before: Vec<_> = world.table.claims.values().map(|claim| claim.owner.clone()).collect();
        world.round(Duration::from_secs(60));
        (0..3).for_each(|_| world.round(Duration::from_millis(500)));
        assert!(world.all_owned_once());
        assert_eq!(before, world.table.claims.values().map(|claim| claim.owner.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn whoever_leaves_hands_everything_over() {
        let mut world = World::new(2);
        (0..20).for_each(|_| world.round(Duration::from_millis(500)));
        world.members[1].mine.leaving = true;
        (0..4).for_each(|_| world.round(Duration::from_millis(500)));
        assert!(!world.table.members.contains_key("m1"));
        assert!(world.members[0].mine.held.len() == usize::from(domain::PARTITIONS));
    }

    #[test]
    fn whoever_was_taken_for_dead_and_comes_back_is_alive() {
        let mut world = World::new(2);
        (0..20).for_each(|_| world.round(Duration::from_millis(500)));
        world.members[1].down = true;
        for _ in 0..9 {
            world.now += Duration::from_millis(500);
            world.act(0);
        }
        assert!(!world.table.members.contains_key("m1"));
        world.members[1].down = false;
        world.act(1);
        world.act(0);
        assert!(world.table.members.contains_key("m1"), "its beat is not the one it had when it was gone");
    }

    proptest! {
        /// However members pause, die and come back: no partition has two owners that may act,
        /// epochs never repeat, and when all is calm every partition has an owner.
        #[test]
        fn never_two_owners(steps in prop::collection::vec((0usize..3, 0u64..2500, any::<bool>()), 1..60)) {
            let mut world = World::new(3);
            let mut epochs = BTreeSet::new();
            for (n, millis, toggle) in steps {
                if toggle {
                    world.members[n].down = !world.members[n].down;
                }
                world.now += Duration::from_millis(millis / 4);
                world.act(n);
                for partition in Partition::all() {
                    prop_assert!(world.owners(partition) <= 1, "{partition} has two owners");
                }
                let claims: BTreeSet<_> = world.table.claims.values().map(|claim| claim.epoch).collect();
                prop_assert_eq!(claims.len(), world.table.claims.len());
                epochs.extend(claims);
            }
            world.members.iter_mut().for_each(|member| member.down = false);
            (0..30).for_each(|_| world.round(Duration::from_millis(500)));
            prop_assert!(world.all_owned_once());
        }
    }
}
