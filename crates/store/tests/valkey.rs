//! Against a real server.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use devstack::Valkey;
use domain::{ConversationKey, IntegrationId, SessionId, ThreadId, derive};
use secrecy::ExposeSecret as _;
use store::{Budget, StoredToken, Taken};
use support::{connect, contact, customer, dump, keying, without_expiry};

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

    store.link_email(&keying(), contact("c"), "ana@example.com").await.unwrap();
    let kept = dump(&valkey).await;
    for planted in ["the-access-token", "15550100", "US.1", "ana@example.com"] {
        assert!(!kept.contains(planted), "{planted}");
    }
    assert_eq!(without_expiry(&valkey).await, [""; 0]);
}

#[tokio::test]
async fn live_sessions_are_counted_over_all_replicas_and_never_beyond_the_limit() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let thread = |n: u32| ThreadId(derive::uuid("t", &[&n.to_be_bytes()]));
    let entered = futures::future::join_all((0..64).map(|n| {
        let store = store.with_clock_at(1_000);
        async move { store.enter_live("main", thread(n), 20).await.unwrap() }
    }));
    let counted: Vec<u32> =
        (0..64).zip(entered.await).filter_map(|(n, entered)| entered.then_some(n)).collect();
    assert_eq!(counted.len(), 20);
    let at = |now: i64| store.with_clock_at(now);
    assert!(at(1_000).enter_live("main", thread(counted[0]), 20).await.unwrap(), "the same again");
    assert!(!at(1_000).enter_live("main", thread(99), 20).await.unwrap());
    assert!(at(1_000).enter_live("other", thread(99), 20).await.unwrap(), "another org's");
    store.leave_live("main", thread(counted[0])).await.unwrap();
    assert!(at(1_000).enter_live("main", thread(99), 20).await.unwrap());
    assert!(!at(1_000).enter_live("main", thread(100), 20).await.unwrap());
    // Nobody said that those ended.
    let days = 4 * 24 * 3_600_000;
    assert!(at(days).enter_live("main", thread(100), 20).await.unwrap());
}

#[tokio::test]
async fn many_callers_never_overdraw_a_budget() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let takes = futures::future::join_all((0..64).map(|_| store.take("org", 20, 0.001, 1))).await;
    let granted = takes.into_iter().filter(|taken| *taken.as_ref().unwrap() == Taken::Now).count();
    assert_eq!(granted, 20);
}

/// Never more than 22 in any minute, however the minute is cut, and no slower than that.
#[tokio::test]
async fn a_window_is_never_overdrawn_and_fully_used() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let budget = Budget::CONVERSATION_MESSAGES;
    let per = i64::try_from(budget.per.as_millis()).unwrap();
    let mut random = fastrand::Rng::with_seed(22);
    let (mut now, mut granted) = (1_000_000, Vec::new());
    while granted.len() < 200 {
        let cost = random.u32(1..4);
        match store.with_clock_at(now).spend(&budget, "a", cost).await.unwrap() {
            Taken::Now => granted.extend((0..cost).map(|_| now)),
            Taken::WaitFor(wait) => {
                let wait = i64::try_from(wait.as_millis()).unwrap();
                assert!(wait <= per);
                let early = store.with_clock_at(now + wait - 1).spend(&budget, "a", cost).await.unwrap();
                assert_eq!(early, Taken::WaitFor(Duration::from_millis(1)));
                now += wait;
                assert_eq!(store.with_clock_at(now).spend(&budget, "a", cost).await.unwrap(), Taken::Now);
                granted.extend((0..cost).map(|_| now));
            }
        }
        now += random.i64(0..2_000);
    }
    for (first, beyond) in granted.iter().zip(granted.iter().skip(22)) {
        assert!(beyond - first >= per, "23 within {} ms", beyond - first);
    }
    assert_eq!(store.spend(&budget, "b", 22).await.unwrap(), Taken::Now, "another conversation's");
    assert!(matches!(store.spend(&budget, "b", 1).await.unwrap(), Taken::WaitFor(_)));
    assert_eq!(without_expiry(&valkey).await, [""; 0]);
}

#[tokio::test]
async fn a_ramp_lets_a_burst_go_and_then_one_by_one() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let ramp = Budget::bucket("connects", 10, Duration::from_secs(2));
    let at = |now: i64| store.with_clock_at(now);
    assert_eq!(at(0).spend(&ramp, "org", 10).await.unwrap(), Taken::Now);
    let wait = Taken::WaitFor(Duration::from_millis(200));
    assert_eq!(at(0).spend(&ramp, "org", 1).await.unwrap(), wait);
    assert_eq!(at(200).spend(&ramp, "org", 1).await.unwrap(), Taken::Now);
    assert_eq!(at(200).spend(&ramp, "org", 1).await.unwrap(), wait);
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
