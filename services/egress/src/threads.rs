//! Which Salesforce threads are to be followed: the newest decision of each conversation says it.

use std::collections::HashMap;

use domain::{
    Cause, ContactId, ConversationKey, Partition, PhoneNumberId, Seq, ThreadId, session::Conversation,
};

/// A thread that is to be followed, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    pub thread: ThreadId,
    /// The output that asked for it; told in the log once the stream is up.
    pub follow: Cause,
    pub contact: ContactId,
    /// Its channel names the integration.
    pub number: PhoneNumberId,
}

impl Following {
    /// What a decision's state asks for.
    pub fn of(state: &Conversation) -> Option<Self> {
        let (thread, follow) = state.followed_thread()?;
        Some(Self { thread, follow, contact: state.contact?, number: state.number.clone() })
    }
}

/// What a decision changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// Follow this, and nothing else, for the conversation.
    Follow(Following),
    Unfollow,
}

/// The newest known decision of each conversation of the partitions that are ours. The desired set
/// follows from states alone, so a decision may be told again, and an older one after a newer.
#[derive(Debug, Default)]
pub struct Threads {
    known: HashMap<ConversationKey, Known>,
}

#[derive(Debug)]
struct Known {
    decision: Seq,
    wanted: Option<Following>,
}

impl Threads {
    /// The decision at `seq` asks for `wanted`.
    pub fn decided(&mut self, key: ConversationKey, seq: Seq, wanted: Option<Following>) -> Change {
        let known = self.known.entry(key).or_insert(Known { decision: 0, wanted: None });
        // Replayed from before the head that was read when the partition was claimed.
        if seq < known.decision {
            return Change::Nothing;
        }
        known.decision = seq;
        if known.wanted == wanted {
            return Change::Nothing;
        }
        known.wanted.clone_from(&wanted);
        wanted.map_or(Change::Unfollow, Change::Follow)
    }

    /// The partition is not ours any more: its conversations, to be dropped at once.
    pub fn released(&mut self, partition: Partition) -> Vec<ConversationKey> {
        let ours = |key: &ConversationKey| key.partition() == partition;
        let gone = self.known.keys().copied().filter(ours).collect();
        self.known.retain(|key, _| !ours(key));
        gone
    }
}

#[cfg(test)]
mod tests {
    use domain::PARTITIONS;

    use super::*;

    fn key(byte: u8) -> ConversationKey {
        ConversationKey::from_bytes([byte; 16])
    }

    fn thread(follow: Seq) -> Option<Following> {
        let id = domain::derive::uuid("test", &[]);
        Some(Following {
            thread: ThreadId(id),
            follow: Cause { answers: follow, index: 0 },
            contact: ContactId(id),
            number: PhoneNumberId::new("1"),
        })
    }

    #[test]
    fn the_newest_decision_counts_whatever_the_order() {
        let mut threads = Threads::default();
        assert_eq!(threads.decided(key(1), 10, thread(3)), Change::Follow(thread(3).unwrap()));
        assert_eq!(threads.decided(key(1), 11, thread(3)), Change::Nothing);
        assert_eq!(threads.decided(key(1), 9, None), Change::Nothing);
        assert_eq!(threads.decided(key(1), 12, None), Change::Unfollow);
        assert_eq!(threads.decided(key(1), 11, thread(3)), Change::Nothing);
        // The next handoff asks for it anew: it is to be told again.
        assert_eq!(threads.decided(key(1), 13, thread(12)), Change::Follow(thread(12).unwrap()));
        assert_eq!(threads.decided(key(1), 14, thread(13)), Change::Follow(thread(13).unwrap()));
        assert_eq!(threads.decided(key(2), 14, None), Change::Nothing);
    }

    #[test]
    fn a_released_partition_is_forgotten_and_others_are_not() {
        let mut threads = Threads::default();
        let keys: Vec<_> = (0..=255).map(key).collect();
        for key in &keys {
            let _ = threads.decided(*key, 1, thread(1));
        }
        let gone = threads.released(key(7).partition());
        assert!(gone.contains(&key(7)));
        assert_eq!(threads.known.len() + gone.len(), keys.len());
        assert!(usize::from(PARTITIONS) > 1 && gone.len() < keys.len());
        assert_eq!(threads.decided(key(7), 1, thread(1)), Change::Follow(thread(1).unwrap()));
    }

    proptest::proptest! {
        /// Decisions told again and again, as after crashes: what is followed at the end is what
        /// the newest one says.
        #[test]
        fn the_end_depends_on_the_newest_only(told in proptest::collection::vec(1u64..30, 1..60)) {
            let wanted = |seq: Seq| if seq.is_multiple_of(3) { None } else { thread(seq / 4) };
            let mut threads = Threads::default();
            let mut followed = None;
            for seq in &told {
                match threads.decided(key(1), *seq, wanted(*seq)) {
                    Change::Nothing => {}
                    Change::Follow(following) => followed = Some(following),
                    Change::Unfollow => followed = None,
                }
            }
            proptest::prop_assert_eq!(followed, wanted(*told.iter().max().unwrap()));
        }
    }
}
