//! All conversations that the board holds. Pure: entries in, rows out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bus::Entry;
use domain::{ContactId, ConversationKey, Millis, PhoneNumberId, Seq, SessionId, ThreadId};
use proto::{StoredDecision, subjects::Kind, v1::entry::Body};

use super::{
    minutes::Minutes,
    row::{Group, Order, Rank, Row},
};

/// Numbers that a page offers to filter by.
const MOST_NUMBERS: usize = 200;

pub(crate) struct Rows {
    by_key: HashMap<ConversationKey, Row>,
    ranks: BTreeSet<Rank>,
    most: usize,
    /// Conversations were left out, or have left.
    pub(crate) full: bool,
    /// False until the heads of all conversations were read.
    pub(crate) ready: bool,
    /// Counts changes.
    pub(crate) version: u64,
    /// The version at which it was read anew.
    pub(crate) begun: u64,
    pub(crate) minutes: Minutes,
}

/// What a list should hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) group: Option<Group>,
    pub(crate) number: Option<PhoneNumberId>,
    /// Behind this one.
    pub(crate) after: Option<Order>,
}

pub(crate) struct List {
    pub(crate) rows: Vec<Row>,
    /// There are more behind this one.
    pub(crate) next: Option<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Counts {
    pub(crate) waiting: usize,
    pub(crate) with_rep: usize,
    pub(crate) assistant: usize,
    pub(crate) closed: usize,
}

impl Rows {
    pub(crate) fn new(most: usize, version: u64) -> Self {
        Self {
            by_key: HashMap::new(),
            ranks: BTreeSet::new(),
            most,
            full: false,
            ready: false,
            version,
            begun: 0,
            minutes: Minutes::new(),
        }
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The newest decision of a conversation.
    pub(super) fn head(&mut self, entry: &Entry) {
        let Some(key) = entry.address.as_ref().map(|address| address.key) else { return };
        // What this console cannot read is for a newer one to show.
        if let Ok(stored) = StoredDecision::decode(entry.payload.clone()) {
            self.decided(key, entry.seq, entry.at, &stored);
        }
    }

    /// What the tail brings.
    pub(super) fn entry(&mut self, entry: &Entry) {
        let Some(address) = &entry.address else { return };
        if address.kind == Kind::Decision {
            let Ok(stored) = StoredDecision::decode(entry.payload.clone()) else { return };
            let sent = u32::try_from(stored.decision.sends().count()).unwrap_or(u32::MAX);
            self.minutes.count(entry.at, 0, sent);
            self.decided(address.key, entry.seq, entry.at, &stored);
        } else if address.kind == Kind::WhatsApp
            && let Some(message) = proto::decode(entry.payload.clone()).ok().and_then(Body::into_message)
            && let Ok(message) = proto::convert::inbound(message)
        {
            if message.content.is_said() {
                self.minutes.count(entry.at, 1, 0);
            }
            self.update(address.key, &message.number, |row| row.heard(entry.at, &message));
        }
    }

    pub(super) fn decided(&mut self, key: ConversationKey, seq: Seq, at: Millis, stored: &StoredDecision) {
        let state = &stored.decision.state;
        // Whom only a campaign wrote to is on nobody's board, and must not crowd others out.
        let nobody_wrote = state.customer_wrote_at == 0 && state.session.is_none();
        if nobody_wrote && !state.outreaches.is_empty() && !self.by_key.contains_key(&key) {
            return;
        }
        self.update(key, &state.number, |row| row.decided(seq, at, stored));
    }

    fn update(&mut self, key: ConversationKey, number: &PhoneNumberId, change: impl FnOnce(&mut Row)) {
        self.version += 1;
        let row = self.by_key.entry(key).or_insert_with(|| Row::new(key, number.clone()));
        self.ranks.remove(&row.rank());
        change(row);
        row.changed = self.version;
        self.ranks.insert(row.rank());
        while self.by_key.len() > self.most
            && let Some((_, _, least)) = self.ranks.pop_first()
        {
            self.by_key.remove(&least);
            self.full = true;
        }
    }

    /// Waits of which only the fact is known that began them.
    pub(super) fn waits_without_beginning(&self) -> Vec<(ConversationKey, Seq)> {
        self.by_key.values().filter_map(|row| Some((row.key, row.began?))).collect()
    }

    pub(super) fn began(&mut self, key: &ConversationKey, at: Millis) {
        if let Some(row) = self.by_key.get_mut(key) {
            row.began_at(at);
        }
    }

    fn shown(&self) -> impl Iterator<Item = &Row> {
        self.by_key.values().filter(|row| row.session.is_some())
    }

    /// At most `limit`, in [`Row::order`].
    pub(crate) fn list(&self, wanted: &Wanted, limit: usize) -> List {
        let mut found: Vec<(Order, &Row)> = self
            .shown()
            .filter(|row| wanted.takes(row))
            .map(|row| (row.order(), row))
            .filter(|(order, _)| wanted.after.is_none_or(|after| *order > after))
            .collect();
        found.sort_unstable_by_key(|(order, _)| *order);
        let more = found.len() > limit;
        found.truncate(limit);
        List {
            next: found.last().filter(|_| more).map(|(order, _)| *order),
            rows: found.into_iter().map(|(_, row)| row.clone()).collect(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for row in self.shown() {
            *match row.state.group() {
                Group::Waiting => &mut counts.waiting,
                Group::WithRep => &mut counts.with_rep,
                Group::Assistant => &mut counts.assistant,
                Group::Closed => &mut counts.closed,
            } += 1;
        }
        counts
    }

    /// The numbers that conversations are on, in order.
    pub(crate) fn numbers(&self) -> Vec<PhoneNumberId> {
        let numbers: BTreeMap<&str, &PhoneNumberId> =
            self.shown().map(|row| (row.number.as_str(), &row.number)).collect();
        numbers.into_values().take(MOST_NUMBERS).cloned().collect()
    }

    /// Since when the customer waits who waits longest.
    pub(crate) fn longest_wait(&self) -> Option<Millis> {
        self.shown().filter_map(|row| row.waiting_since).min()
    }

    pub(crate) fn session(&self, session: SessionId) -> Option<&Row> {
        self.by_key.values().find(|row| row.session == Some(session))
    }

    pub(crate) fn thread(&self, thread: ThreadId) -> Option<&Row> {
        self.shown().find(|row| row.thread == Some(thread))
    }

    /// By the beginning of the profile name or of a word in it, whatever the case. The one that
    /// moved last first.
    pub(crate) fn named(&self, beginning: &str, limit: usize) -> Vec<Row> {
        let beginning = beginning.to_lowercase();
        let is_meant = |row: &&Row| {
            row.name.as_deref().is_some_and(|name| {
                let name = name.to_lowercase();
                name.starts_with(&beginning) || name.split_whitespace().any(|w| w.starts_with(&beginning))
            })
        };
        let mut found: Vec<&Row> = self.shown().filter(is_meant).collect();
        found.sort_unstable_by_key(|row| (std::cmp::Reverse(row.active_at), row.key));
        found.into_iter().take(limit).cloned().collect()
    }

    /// Whose phone number (digits) begins so. The one that moved last first.
    pub(crate) fn phoned(&self, beginning: &str, limit: usize) -> Vec<Row> {
        let is_meant = |row: &&Row| row.phone.as_deref().is_some_and(|phone| phone.starts_with(beginning));
        let mut found: Vec<&Row> = self.shown().filter(is_meant).collect();
        found.sort_unstable_by_key(|row| (std::cmp::Reverse(row.active_at), row.key));
        found.into_iter().take(limit).cloned().collect()
    }

    /// The conversation of each contact that moved last, behind `after`, and whether there are more.
    pub(crate) fn contacts(&self, after: Option<(Millis, ContactId)>, limit: usize) -> (Vec<Row>, bool) {
        let mut latest: HashMap<ContactId, &Row> = HashMap::new();
        for row in self.shown() {
            let Some(contact) = row.contact else { continue };
            let known = latest.entry(contact).or_insert(row);
            if (row.active_at, row.key) > (known.active_at, known.key) {
                *known = row;
            }
        }
        let order = |at: Millis, contact: ContactId| (std::cmp::Reverse(at), contact);
        let mut found: Vec<_> = latest.into_iter().map(|(of, row)| (order(row.active_at, of), row)).collect();
        if let Some((at, contact)) = after {
            found.retain(|(place, _)| *place > order(at, contact));
        }
        found.sort_unstable_by_key(|(place, _)| *place);
        let more = found.len() > limit;
        (found.into_iter().take(limit).map(|(_, row)| row.clone()).collect(), more)
    }

    /// The conversations of any of these.
    pub(crate) fn of_contacts(&self, contacts: &[ContactId]) -> Vec<ConversationKey> {
        let is_theirs = |row: &&Row| row.contact.is_some_and(|contact| contacts.contains(&contact));
        self.by_key.values().filter(is_theirs).map(|row| row.key).collect()
    }

    /// Nothing of it stays but the key, so that open pages take it off.
    pub(super) fn forget(&mut self, key: ConversationKey) {
        let Some(number) = self.by_key.get(&key).map(|row| row.number.clone()) else { return };
        self.update(key, &number, |row| *row = Row::new(key, row.number.clone()));
    }

    /// Rows that changed after `version`, hidden ones, too.
    pub(crate) fn changed_since(&self, version: u64) -> impl Iterator<Item = &Row> {
        self.by_key.values().filter(move |row| row.changed > version)
    }
}

impl Wanted {
    pub(crate) fn takes(&self, row: &Row) -> bool {
        self.group.is_none_or(|group| group == row.state.group())
            && self.number.as_ref().is_none_or(|number| *number == row.number)
    }
}

impl Counts {
    pub(crate) fn of(&self, group: Group) -> usize {
        match group {
            Group::Waiting => self.waiting,
            Group::WithRep => self.with_rep,
            Group::Assistant => self.assistant,
            Group::Closed => self.closed,
        }
    }

    pub(crate) fn all(&self) -> usize {
        self.waiting + self.with_rep + self.assistant + self.closed
    }
}
