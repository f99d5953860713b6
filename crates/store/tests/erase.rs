//! A person is forgotten whole, and nobody else.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use devstack::Valkey;
use domain::{SessionId, derive::uuid};
use support::{connect, contact, customer, dump, keying, pair};

#[tokio::test]
async fn a_person_is_forgotten_whole_and_begins_anew() {
    let valkey = Valkey::start().await.unwrap();
    let (store, keying) = (connect(&valkey), keying());
    let nothing = dump(&valkey).await;
    let ana = customer(Some("US.1"), Some("34600000001"));
    let found = store.find_or_create_contact(&keying, &ana, contact("ana")).await.unwrap();
    store.link_email(&keying, found.contact, "ana@example.com").await.unwrap();
    let older = customer(None, Some("34600000002"));
    store.restore_contact(&keying, found.contact, &older).await.unwrap();
    let (key, session) = (pair(1), SessionId(uuid("session", &[b"1"])));
    store.index_session(&key, session, None, Some(found.contact)).await.unwrap();
    store.cache_state(&key, 1, b"state").await.unwrap();
    // Merged from another, whose id goes on meaning this one.
    let second = customer(Some("US.9"), None);
    store.find_or_create_contact(&keying, &second, contact("second")).await.unwrap();
    store.link_email(&keying, contact("second"), "second@example.com").await.unwrap();
    store.merge_contacts(found.contact, contact("second")).await.unwrap();
    let present = store.present_contacts(&[contact("second"), contact("nobody")]).await.unwrap();
    assert_eq!(present, [contact("ana"), contact("nobody")]);
    assert!(store.present_contacts(&[]).await.unwrap().is_empty());
    assert_eq!(store.person(contact("second")).await.unwrap().emails.len(), 2);

    let ben = customer(Some("US.2"), Some("34600000003"));
    store.find_or_create_contact(&keying, &ben, contact("ben")).await.unwrap();
    let bens = {
        let with_ben = dump(&valkey).await;
        assert_ne!(with_ben, nothing);
        store.contact_of_alias(&keying, "bsuid", "US.2").await.unwrap()
    };

    store.erase_conversation(&key, &[session], &[]).await.unwrap();
    assert!(
        store.erase_contact(&keying, contact("ana"), std::slice::from_ref(&ana), &[]).await.unwrap() >= 7
    );
    for (kind, value) in [
        ("bsuid", "US.1"),
        ("bsuid", "US.9"),
        ("phone", "34600000001"),
        ("phone", "34600000002"),
        ("email", "ana@example.com"),
        ("email", "second@example.com"),
    ] {
        assert_eq!(store.contact_of_alias(&keying, kind, value).await.unwrap(), None, "{kind}");
    }
    let person = store.person(contact("ana")).await.unwrap();
    assert!(person.emails.is_empty() && person.first_seen.is_none());
    assert!(store.conversations_of_contact(contact("ana")).await.unwrap().is_empty());
    assert!(store.load_state(&key).await.unwrap().is_none());
    assert!(store.conversation_of_session(session).await.unwrap().is_none());
    assert_eq!(store.contact_of_alias(&keying, "bsuid", "US.2").await.unwrap(), bens);
    assert_eq!(
        store.erase_contact(&keying, contact("ana"), std::slice::from_ref(&ana), &[]).await.unwrap(),
        0
    );

    // Whoever writes next under the same id is met for the first time.
    let met = store.find_or_create_contact(&keying, &ana, contact("ana")).await.unwrap();
    assert!(met.created && !met.conflict);
    assert!(store.person(met.contact).await.unwrap().emails.is_empty());
}
