//! The contact directory against a real server.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use devstack::Valkey;
use domain::{ConversationKey, SessionId, derive, message::Customer};
use store::Store;
use support::{connect, contact, customer, keying, raw, without_expiry};

async fn whose(store: &Store, kind: &str, value: &str) -> Option<domain::ContactId> {
    store.contact_of_alias(&keying(), kind, value).await.unwrap()
}

async fn meets(store: &Store, bsuid: Option<&str>, phone: Option<&str>, proposed: &str) -> store::Found {
    store.find_or_create_contact(&keying(), &customer(bsuid, phone), contact(proposed)).await.unwrap()
}

#[tokio::test]
async fn a_thousand_first_messages_at_once_make_one_contact() {
    let valkey = Valkey::start().await.unwrap();
    let stores: Vec<Store> = (0..8).map(|_| connect(&valkey)).collect();
    let all = futures::future::join_all((0..1000).map(|n: usize| {
        let store = &stores[n % 8];
        async move {
            // With both ids, or the phone hidden, or from before there were user ids.
            let (bsuid, phone) = match n % 3 {
                0 => (Some("US.1"), Some("1555")),
                1 => (Some("US.1"), None),
                _ => (None, Some("1555")),
            };
            let proposed = contact(&n.to_string());
            (bsuid, store.find_or_create_contact(&keying(), &customer(bsuid, phone), proposed).await.unwrap())
        }
    }))
    .await;
    let created = all.iter().filter(|(_, found)| found.created).count();
    let known = whose(&stores[0], "bsuid", "US.1").await.unwrap();
    assert_eq!(whose(&stores[0], "phone", "1555").await, Some(known));
    // Nothing joins a user id and a phone number before the first message that has both.
    assert!(created <= 2);
    assert!(all.iter().filter(|(bsuid, _)| bsuid.is_some()).all(|(_, found)| found.contact == known));
}

#[tokio::test]
async fn a_thousand_first_messages_with_the_same_ids_create_once() {
    let valkey = Valkey::start().await.unwrap();
    let stores: Vec<Store> = (0..8).map(|_| connect(&valkey)).collect();
    let all = futures::future::join_all((0..1000).map(|n: usize| {
        let bsuid = n.is_multiple_of(2).then_some("US.1");
        let store = &stores[n % 8];
        async move {
            let customer = customer(bsuid, Some("1555"));
            store.find_or_create_contact(&keying(), &customer, contact(&n.to_string())).await.unwrap()
        }
    }))
    .await;
    assert!(all.iter().all(|found| found.contact == all[0].contact && !found.conflict));
    assert_eq!(all.iter().filter(|found| found.created).count(), 1);
}

#[tokio::test]
async fn a_hidden_phone_is_linked_when_it_shows_and_an_email_stays() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let keying = keying();
    let hidden =
        store.find_or_create_contact(&keying, &customer(Some("US.1"), None), contact("a")).await.unwrap();
    store.link_email(&keying, hidden.contact, "Ana@Example.com").await.unwrap();
    let shown = store
        .find_or_create_contact(&keying, &customer(Some("US.1"), Some("1555")), contact("b"))
        .await
        .unwrap();
    assert_eq!((shown.contact, shown.created), (hidden.contact, false));
    for (kind, value) in [("phone", "1555"), ("email", "ana@example.com")] {
        assert_eq!(store.contact_of_alias(&keying, kind, value).await.unwrap(), Some(hidden.contact));
    }
}

#[tokio::test]
async fn a_recycled_phone_goes_to_whom_the_bsuid_says() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let keying = keying();
    store.find_or_create_contact(&keying, &customer(None, Some("1555")), contact("before")).await.unwrap();
    let now =
        store.find_or_create_contact(&keying, &customer(Some("US.2"), None), contact("now")).await.unwrap();
    let both = store
        .find_or_create_contact(&keying, &customer(Some("US.2"), Some("1555")), contact("x"))
        .await
        .unwrap();
    assert_eq!((both.contact, both.conflict), (now.contact, true));
    assert_eq!(store.contact_of_alias(&keying, "phone", "1555").await.unwrap(), Some(now.contact));
}

#[tokio::test]
async fn the_former_owner_of_a_phone_number_and_the_next_are_two_people() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    // Met by phone only, so the id that is proposed for the number is always the same one.
    let ana = meets(&store, None, Some("1555"), "of 1555").await.contact;
    let moved = store
        .alias_moved(&keying(), ana, &customer(None, Some("1555")), &customer(None, Some("1666")))
        .await
        .unwrap();
    assert_eq!((moved.contact, moved.merged, moved.displaced), (ana, None, None));
    assert_eq!(whose(&store, "phone", "1666").await, Some(ana));
    assert_eq!(whose(&store, "phone", "1555").await, Some(ana), "older references are still found");
    // A late message of hers, in her own conversation, does not take the number back.
    store.restore_contact(&keying(), ana, &customer(None, Some("1555"))).await.unwrap();

    let ben = meets(&store, None, Some("1555"), "of 1555").await;
    assert!(ben.created && !ben.conflict && ben.contact != ana);
    assert_eq!(whose(&store, "phone", "1555").await, Some(ben.contact));
    assert_eq!(meets(&store, None, Some("1555"), "of 1555").await.contact, ben.contact);
    assert_eq!(meets(&store, None, Some("1666"), "of 1666").await.contact, ana);

    store
        .alias_moved(&keying(), ben.contact, &customer(None, Some("1555")), &customer(None, Some("1777")))
        .await
        .unwrap();
    let eve = meets(&store, None, Some("1555"), "of 1555").await;
    assert!(eve.created && ![ana, ben.contact].contains(&eve.contact));
}

#[tokio::test]
async fn a_user_id_that_changes_is_the_same_person() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let ana = meets(&store, Some("US.1"), Some("1555"), "a").await.contact;
    let (before, after) = (customer(Some("US.1"), Some("1555")), customer(Some("US.2"), Some("1666")));
    assert_eq!(store.alias_moved(&keying(), ana, &before, &after).await.unwrap().contact, ana);
    // What is under way with the old id, and what comes with the new one.
    assert_eq!(meets(&store, Some("US.1"), Some("1555"), "b").await.contact, ana);
    assert_eq!(meets(&store, Some("US.2"), None, "c").await.contact, ana);
    let next = meets(&store, Some("US.9"), Some("1555"), "d").await;
    assert!(next.created && !next.conflict && next.contact != ana);
}

#[tokio::test]
async fn who_wrote_under_the_new_user_id_before_the_change_was_told_is_merged() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let ana = meets(&store, Some("US.1"), Some("1555"), "a").await.contact;
    let early = meets(&store, Some("US.2"), Some("1666"), "b").await.contact;
    assert_ne!(ana, early);
    let (before, after) = (customer(Some("US.1"), Some("1555")), customer(Some("US.2"), Some("1666")));
    let moved = store.alias_moved(&keying(), ana, &before, &after).await.unwrap();
    assert_eq!((moved.contact, moved.merged, moved.displaced), (ana, Some(early), None));
    assert_eq!(store.person(early).await.unwrap().contact, ana);
}

#[tokio::test]
async fn a_number_dialled_and_the_one_whatsapp_knows_are_one_person() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let ana = meets(&store, None, Some("551187654321"), "a").await.contact;
    let filed = store.link_phone(&keying(), ana, "+55 11 98765-4321").await.unwrap();
    assert_eq!((filed.contact, filed.displaced), (ana, None));
    assert_eq!(meets(&store, Some("BR.1"), Some("5511987654321"), "b").await.contact, ana);
    assert_eq!(whose(&store, "phone", "+55 11 8765 4321").await, Some(ana));
    let taken = store.link_phone(&keying(), contact("other"), "551187654321").await.unwrap();
    assert_eq!(taken.displaced, Some(ana));
}

#[tokio::test]
async fn a_merge_loses_nothing_and_older_references_find_whom_was_kept() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let mut parent = customer(Some("US.2"), Some("1666"));
    parent.parent_bsuid = Some("US.ENT.2".into());
    let keep = meets(&store, Some("US.1"), Some("1555"), "keep").await.contact;
    let drop = store.find_or_create_contact(&keying(), &parent, contact("drop")).await.unwrap().contact;
    store.link_email(&keying(), keep, "ana@example.com").await.unwrap();
    store.link_email(&keying(), drop, " Ana.Work@example.com ").await.unwrap();
    let [old, late] = [2, 3].map(|n| ConversationKey::from_bytes([n; 16]));
    let session = SessionId(derive::uuid("s", &[]));
    store.index_session(&old, session, None, Some(drop)).await.unwrap();

    assert_eq!(store.merge_contacts(keep, drop).await.unwrap(), keep);
    assert_eq!(store.merge_contacts(drop, keep).await.unwrap(), keep, "once more changes nothing");
    for (kind, value) in [
        ("phone", "1555"),
        ("phone", "1666"),
        ("bsuid", "US.1"),
        ("bsuid", "US.2"),
        ("parent", "US.ENT.2"),
        ("email", "ANA@example.com"),
        ("email", "ana.work@example.com"),
    ] {
        assert_eq!(whose(&store, kind, value).await, Some(keep), "{kind}");
    }
    let person = store.person(drop).await.unwrap();
    assert_eq!(person.contact, keep);
    assert_eq!(person.emails, ["Ana.Work@example.com", "ana@example.com"]);
    assert!(person.first_seen.is_some());
    // A session that still carries the older id.
    store.index_session(&late, session, None, Some(drop)).await.unwrap();
    assert_eq!(store.conversations_of_contact(keep).await.unwrap(), [old, late]);
    assert_eq!(store.restore_contact(&keying(), drop, &parent).await.unwrap().contact, keep);
    assert_eq!(meets(&store, Some("US.3"), None, "drop").await.contact, keep);
    assert_eq!(without_expiry(&valkey).await, [""; 0]);
}

#[tokio::test]
async fn merges_in_a_ring_at_once_end_with_one_person() {
    let valkey = Valkey::start().await.unwrap();
    let stores: Vec<Store> = (0..4).map(|_| connect(&valkey)).collect();
    let people: Vec<_> = (0..20).map(|n| contact(&n.to_string())).collect();
    for (n, person) in people.iter().enumerate() {
        let met = customer(Some(&format!("US.{n}")), None);
        stores[0].restore_contact(&keying(), *person, &met).await.unwrap();
    }
    let merges = (0..20).map(|n| stores[n % 4].merge_contacts(people[n], people[(n + 1) % 20]));
    futures::future::try_join_all(merges).await.unwrap();
    let mut all = Vec::new();
    for (n, person) in people.iter().enumerate() {
        all.push(stores[0].person(*person).await.unwrap().contact);
        all.push(whose(&stores[0], "bsuid", &format!("US.{n}")).await.unwrap());
    }
    assert!(all.iter().all(|person| *person == all[0]));
}

#[tokio::test]
async fn what_a_person_has_stays_while_they_are_met() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let (day, begin) = (24 * 3600 * 1000, 1_700_000_000_000);
    let at = |days: i64| store.with_clock_at(begin + days * day);
    let ana = meets(&at(0), Some("US.1"), Some("1555"), "a").await.contact;
    at(0).link_email(&keying(), ana, "ana@example.com").await.unwrap();
    // Thirteen days later by the server's expiry.
    let mut connection = raw(&valkey).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("test:*").query_async(&mut connection).await.unwrap();
    for key in &keys {
        let _: i64 =
            redis::cmd("EXPIRE").arg(key).arg(day / 1000).query_async(&mut connection).await.unwrap();
    }
    // Only the user id is told, the phone is hidden by now.
    meets(&at(13), Some("US.1"), None, "b").await;
    for key in &keys {
        let left: i64 = redis::cmd("TTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!(left > 13 * day / 1000, "{left}");
    }
    // What expired all the same is put back.
    let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut connection).await.unwrap();
    assert_eq!(store.restore_contact(&keying(), ana, &customer(None, None)).await.unwrap().contact, ana);
}

#[tokio::test]
async fn a_person_has_no_more_aliases_and_addresses_than_are_kept() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let at = |now: i64| store.with_clock_at(1_700_000_000_000 + now);
    let ana = contact("a");
    for n in 0..80 {
        let met = Customer { phone: Some(format!("1555{n}")), ..Customer::default() };
        at(n).restore_contact(&keying(), ana, &met).await.unwrap();
        at(n).link_email(&keying(), ana, &format!("{n:02}@example.com")).await.unwrap();
    }
    let mut connection = raw(&valkey).await;
    let aliases: i64 =
        redis::cmd("ZCARD").arg(format!("test:aliases:{ana}")).query_async(&mut connection).await.unwrap();
    assert_eq!(aliases, 64);
    let emails = store.person(ana).await.unwrap().emails;
    assert_eq!((emails.len(), emails[0].as_str()), (32, "48@example.com"));
    // One that fell out of the index finds the person all the same, through a merge too.
    store.merge_contacts(contact("b"), ana).await.unwrap();
    assert_eq!(whose(&store, "phone", "15550").await, Some(contact("b")));
}
