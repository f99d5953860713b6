//! Against a real server.

use std::time::{Duration, Instant};

use devstack::Valkey;
use domain::{ContactId, ConversationKey, IntegrationId, SessionId, ThreadId, derive, message::Customer};
use secrecy::{ExposeSecret as _, SecretString};
use store::{Config, Store, StoredToken, Taken};

fn connect(valkey: &Valkey) -> Store {
    Store::connect(&Config {
        redis_url: valkey.url().into(),
        redis_prefix: "test".into(),
        master_key: format!("k1:{}", "A".repeat(43) + "=").into(),
    })
    .expect("the address and the key are well formed")
}

fn keying() -> derive::Keying {
    derive::Keying::new(&SecretString::from("a secret for this test only, 32+"))
}

fn contact(name: &str) -> ContactId {
    ContactId(derive::uuid("contact", &[name.as_bytes()]))
}

fn customer(bsuid: Option<&str>, phone: Option<&str>) -> Customer {
    Customer { bsuid: bsuid.map(Into::into), phone: phone.map(Into::into), ..Customer::default() }
}

#[tokio::test]
async fn a_newer_state_is_never_replaced_by_an_older_one() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let key = ConversationKey::from_bytes([1; 16]);
    assert_eq!(store.load_state(&key).await.unwrap(), None);
    store.cache_state(&key, 7, b"seven").await.unwrap();
    store.cache_state(&key, 6, b"six").await.unwrap();
    assert_eq!(store.load_state(&key).await.unwrap(), Some((7, "seven".into())));
}

#[tokio::test]
async fn a_thousand_first_messages_at_once_make_one_contact() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let all = futures::future::join_all((0..1000).map(|n| {
        let store = store.clone();
        async move {
            let customer =
                if n % 2 == 0 { customer(Some("US.1"), Some("1555")) } else { customer(None, Some("1555")) };
            store.find_or_create_contact(&keying(), &customer, contact(&n.to_string())).await.unwrap()
        }
    }))
    .await;
    assert!(all.iter().all(|found| found.contact == all[0].contact));
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
async fn sessions_are_found_by_everything_they_are_filed_under() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let key = ConversationKey::from_bytes([2; 16]);
    let session = SessionId(derive::uuid("s", &[]));
    let thread = ThreadId(derive::uuid("t", &[]));
    store.index_session(&key, session, Some(thread), Some(contact("c"))).await.unwrap();
    assert_eq!(store.conversation_of_session(session).await.unwrap(), Some(key));
    assert_eq!(store.conversation_of_thread(thread).await.unwrap(), Some(key));
    assert_eq!(store.conversations_of_contact(contact("c")).await.unwrap(), [key]);
}

#[tokio::test]
async fn secrets_and_people_cannot_be_read_from_a_dump() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let integration = IntegrationId::new("main");
    let token =
        StoredToken { token: "the-access-token".into(), last_event_id: "12".into(), expires_at: 60_000 };
    store.save_token(&integration, contact("c"), &token, 0).await.unwrap();
    store
        .find_or_create_contact(&keying(), &customer(Some("US.1"), Some("15550100")), contact("c"))
        .await
        .unwrap();
    let read = store.load_token(&integration, contact("c")).await.unwrap().unwrap();
    assert_eq!(read.token.expose_secret(), "the-access-token");

    let mut connection =
        redis::Client::open(valkey.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut dump = keys.join("\n");
    for key in &keys {
        let value: String = redis::cmd("GET").arg(key).query_async(&mut connection).await.unwrap();
        dump.push_str(&value);
    }
    for planted in ["the-access-token", "15550100", "US.1"] {
        assert!(!dump.contains(planted), "{planted}");
    }
}

#[tokio::test]
async fn many_callers_never_overdraw_a_budget() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let takes = futures::future::join_all((0..64).map(|_| store.take("org", 20, 0.001, 1))).await;
    let granted = takes.into_iter().filter(|taken| *taken.as_ref().unwrap() == Taken::Now).count();
    assert_eq!(granted, 20);
}

#[tokio::test]
async fn a_cache_that_is_away_fails_quickly_and_comes_back_empty() {
    let mut valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let key = ConversationKey::from_bytes([3; 16]);
    store.cache_state(&key, 1, b"x").await.unwrap();
    valkey.kill().await.unwrap();
    let started = Instant::now();
    assert!(store.load_state(&key).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    valkey.restart_empty().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.load_state(&key).await.is_err() {
        assert!(Instant::now() < deadline, "did not come back");
        tokio::task::yield_now().await;
    }
    assert_eq!(store.load_state(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_lock_has_one_holder_and_only_the_holder_unlocks() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let ttl = Duration::from_secs(30);
    let held = store.try_lock("mint", ttl).await.unwrap().unwrap();
    assert!(store.try_lock("mint", ttl).await.unwrap().is_none());
    store.unlock(held).await.unwrap();
    let brief = store.try_lock("mint", Duration::from_millis(20)).await.unwrap().unwrap();
    let next = loop {
        if let Some(next) = store.try_lock("mint", ttl).await.unwrap() {
            break next;
        }
    };
    store.unlock(brief).await.unwrap(); // too late: it is the next one's
    assert!(store.try_lock("mint", ttl).await.unwrap().is_none());
    store.unlock(next).await.unwrap();
}

#[tokio::test]
async fn cursors_are_saved_one_by_one_or_together() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let integration = IntegrationId::new("main");
    store.save_cursor(&integration, contact("a"), "1").await.unwrap();
    let many: Vec<_> = ["a", "b"].map(|name| (contact(name), format!("9-{name}"))).into();
    store.save_cursors(&integration, &many).await.unwrap();
    store.save_cursors(&integration, &[]).await.unwrap();
    assert_eq!(store.load_cursor(&integration, contact("a")).await.unwrap().unwrap(), "9-a");
    assert_eq!(store.load_cursor(&integration, contact("b")).await.unwrap().unwrap(), "9-b");
    assert_eq!(store.load_cursor(&integration, contact("c")).await.unwrap(), None);
}
