//! The contact directory against a model of it: whatever happens in whatever order, both agree.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use devstack::Valkey;
use domain::{ContactId, message::Customer};
use proptest::prelude::*;
use store::Store;
use support::{connect_under, contact, keying};

/// Few enough that they meet all the time.
const FEW: u8 = 4;

#[derive(Debug, Clone)]
enum Step {
    Message { ids: Ids, proposed: u8 },
    Restore { contact: u8, ids: Ids },
    Phone { contact: u8, phone: u8 },
    Email { contact: u8, email: u8 },
    Move { contact: u8, before: Ids, after: Ids },
    Merge { keep: u8, drop: u8 },
}

#[derive(Debug, Clone, Copy)]
struct Ids {
    bsuid: Option<u8>,
    parent: Option<u8>,
    phone: Option<u8>,
}

impl Ids {
    fn customer(self) -> Customer {
        Customer {
            bsuid: self.bsuid.map(|n| format!("US.{n}")),
            parent_bsuid: self.parent.map(|n| format!("US.ENT.{n}")),
            phone: self.phone.map(|n| format!("1555{n}")),
            ..Customer::default()
        }
    }

    fn users(self) -> Vec<Alias> {
        [self.bsuid.map(|n| ('b', n)), self.parent.map(|n| ('q', n))].into_iter().flatten().collect()
    }

    fn all(self) -> Vec<Alias> {
        self.users().into_iter().chain(self.phone.map(|n| ('p', n))).collect()
    }
}

type Alias = (char, u8);

#[derive(Debug, Default)]
struct Model {
    aliases: BTreeMap<Alias, (ContactId, bool)>,
    met: BTreeSet<ContactId>,
    merged: HashMap<ContactId, ContactId>,
    emails: HashMap<ContactId, BTreeSet<u8>>,
    /// Owners of recycled phone numbers, by the id that was proposed.
    recycled: HashMap<ContactId, u32>,
}

impl Model {
    fn today(&self, id: ContactId) -> ContactId {
        self.merged.get(&id).map_or(id, |further| self.today(*further))
    }

    fn owner(&self, alias: Alias) -> Option<(ContactId, bool)> {
        self.aliases.get(&alias).map(|(id, freed)| (self.today(*id), *freed))
    }

    fn exists(&self, id: ContactId) -> bool {
        self.met.contains(&id) || self.merged.contains_key(&id)
    }

    fn attach(&mut self, id: ContactId, alias: Alias, forced: bool) -> Option<ContactId> {
        let held = self.owner(alias);
        if held == Some((id, true)) && !forced {
            return None;
        }
        self.aliases.insert(alias, (id, false));
        held.filter(|(holder, freed)| *holder != id && !freed).map(|(holder, _)| holder)
    }

    fn attach_all(&mut self, id: ContactId, aliases: &[Alias]) -> Option<ContactId> {
        let lost: Vec<_> = aliases.iter().filter_map(|alias| self.attach(id, *alias, false)).collect();
        self.met.insert(id);
        lost.first().copied()
    }

    /// The contact, unless it is a new one for a recycled phone number, whose id is its own affair.
    fn message(&mut self, ids: Ids, proposed: ContactId, found: ContactId) -> (bool, Option<ContactId>) {
        let owners: Vec<_> = ids.all().into_iter().filter_map(|alias| self.owner(alias)).collect();
        let expected = match owners.iter().find(|(_, freed)| !freed) {
            Some((id, _)) => *id,
            None if owners.is_empty() => self.today(proposed),
            None => {
                *self.recycled.entry(proposed).or_default() += 1;
                // There are ids for so many owners of one number.
                assert!(!self.exists(found) || self.recycled[&proposed] > 3);
                found
            }
        };
        assert_eq!(found, expected);
        let created = !self.exists(found);
        (created, self.attach_all(found, &ids.all()))
    }

    fn merge(&mut self, keep: ContactId, drop: ContactId) {
        // Its aliases and what it gave up follow the redirect.
        self.merged.insert(drop, keep);
        self.met.remove(&drop);
        self.met.insert(keep);
        let emails = self.emails.remove(&drop).unwrap_or_default();
        self.emails.entry(keep).or_default().extend(emails);
    }

    fn moved(
        &mut self,
        id: ContactId,
        before: Ids,
        after: Ids,
    ) -> (ContactId, Option<ContactId>, Option<ContactId>) {
        let id = self.today(id);
        let mut merged = None;
        for alias in [before.users(), after.users()].concat() {
            if let Some((held, _)) = self.owner(alias)
                && held != id
            {
                self.merge(id, held);
                merged.get_or_insert(held);
            }
            self.attach(id, alias, true);
        }
        if let Some(gone) = before.phone.filter(|gone| after.phone != Some(*gone))
            && self.owner(('p', gone)).is_none_or(|(held, _)| held == id)
        {
            self.aliases.insert(('p', gone), (id, true));
        }
        let displaced = after.phone.and_then(|phone| self.attach(id, ('p', phone), true));
        self.met.insert(id);
        (id, merged, displaced)
    }
}

fn ids() -> impl Strategy<Value = Ids> {
    let one = || proptest::option::of(0..FEW);
    (one(), proptest::option::weighted(0.2, 0..FEW), one()).prop_map(|(bsuid, parent, phone)| Ids {
        bsuid,
        parent,
        phone,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let contact = || 0..FEW * 2;
    prop_oneof![
        5 => (ids(), contact()).prop_map(|(ids, proposed)| Step::Message { ids, proposed }),
        1 => (contact(), ids()).prop_map(|(contact, ids)| Step::Restore { contact, ids }),
        1 => (contact(), 0..FEW).prop_map(|(contact, phone)| Step::Phone { contact, phone }),
        2 => (contact(), 0..FEW).prop_map(|(contact, email)| Step::Email { contact, email }),
        3 => (contact(), ids(), ids())
            .prop_map(|(contact, before, after)| Step::Move { contact, before, after }),
        1 => (contact(), contact()).prop_map(|(keep, drop)| Step::Merge { keep, drop }),
    ]
}

fn person(n: u8) -> ContactId {
    contact(&n.to_string())
}

async fn take(store: &Store, model: &mut Model, step: &Step) {
    let keying = keying();
    match *step {
        Step::Message { ids, proposed } => {
            let found =
                store.find_or_create_contact(&keying, &ids.customer(), person(proposed)).await.unwrap();
            let (created, displaced) = model.message(ids, person(proposed), found.contact);
            assert_eq!((found.created, found.displaced), (created, displaced));
            assert_eq!(found.conflict, displaced.is_some());
        }
        Step::Restore { contact, ids } => {
            let filed = store.restore_contact(&keying, person(contact), &ids.customer()).await.unwrap();
            let id = model.today(person(contact));
            assert_eq!((filed.contact, filed.displaced), (id, model.attach_all(id, &ids.all())));
        }
        Step::Phone { contact, phone } => {
            let filed = store.link_phone(&keying, person(contact), &format!("+1555{phone}")).await.unwrap();
            let id = model.today(person(contact));
            assert_eq!((filed.contact, filed.displaced), (id, model.attach_all(id, &[('p', phone)])));
        }
        Step::Email { contact, email } => {
            let filed =
                store.link_email(&keying, person(contact), &format!("{email}@example.com")).await.unwrap();
            let id = model.today(person(contact));
            let displaced = model.attach_all(id, &[('e', email)]);
            model.emails.entry(id).or_default().insert(email);
            assert_eq!((filed.contact, filed.displaced), (id, displaced));
        }
        Step::Move { contact, before, after } => {
            let moved = store
                .alias_moved(&keying, person(contact), &before.customer(), &after.customer())
                .await
                .unwrap();
            let expected = model.moved(person(contact), before, after);
            assert_eq!((moved.contact, moved.merged, moved.displaced), expected);
        }
        Step::Merge { keep, drop } => {
            let (keep, drop) = (person(keep), person(drop));
            let merged = store.merge_contacts(keep, drop).await.unwrap();
            let (keep, drop) = (model.today(keep), model.today(drop));
            if keep != drop {
                model.merge(keep, drop);
            }
            model.met.insert(keep);
            assert_eq!(merged, keep);
        }
    }
}

async fn compare(store: &Store, model: &Model) {
    for n in 0..FEW {
        for (kind, mark, value) in [
            ("bsuid", 'b', format!("US.{n}")),
            ("parent", 'q', format!("US.ENT.{n}")),
            ("phone", 'p', format!("1555{n}")),
            ("email", 'e', format!("{n}@example.com")),
        ] {
            let found = store.contact_of_alias(&keying(), kind, &value).await.unwrap();
            assert_eq!(found, model.owner((mark, n)).map(|(id, _)| id), "{kind} {n}");
        }
    }
    for n in 0..FEW * 2 {
        let today = model.today(person(n));
        let found = store.person(person(n)).await.unwrap();
        let emails = model.emails.get(&today).into_iter().flatten();
        let emails: Vec<String> = emails.map(|n| format!("{n}@example.com")).collect();
        assert_eq!((found.contact, found.emails), (today, emails));
        assert_eq!(found.first_seen.is_some(), model.met.contains(&today));
    }
}

#[test]
fn the_directory_does_as_its_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let valkey = runtime.block_on(Valkey::start()).unwrap();
    let run = std::sync::atomic::AtomicU32::new(0);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        let run = run.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        runtime.block_on(async {
            // A directory of its own for every run.
            let store = connect_under(&valkey, &format!("run{run}"));
            let mut model = Model::default();
            for step in &steps {
                take(&store, &mut model, step).await;
            }
            compare(&store, &model).await;
        });
    });
}
