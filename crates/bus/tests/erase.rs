//! A conversation is forgotten whole, and no other.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use bus::{Chained, Config, Log};
use domain::{ConversationKey, Seq};
use proto::subjects::{self, Kind};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn fill(log: &Log, key: &ConversationKey) -> Seq {
    let fact = subjects::fact(key, Kind::WhatsApp, "a");
    log.append_fact(&fact, "said".into(), None).await.unwrap();
    let Chained::Appended(seq) = log.append_decision(key, 0, "decided".into()).await.unwrap() else {
        panic!("a chain was there");
    };
    seq
}

async fn everything(log: &Log, key: &ConversationKey) -> usize {
    log.read(vec![subjects::conversation(key)], 1, Seq::MAX, 100).await.unwrap().len()
}

#[tokio::test]
async fn one_conversation_is_forgotten_and_the_next_one_begins_its_own_chain() {
    let nats = devstack::Nats::start().await.unwrap();
    let log = bus::connect(&Config::at(&nats.url())).await.unwrap();
    let [mine, other] = [1, 2].map(|n| ConversationKey::from_bytes([n; 16]));
    let heads = [fill(&log, &mine).await, fill(&log, &other).await];
    // A timer that would be due at once after the erasure.
    let soon = i64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis(),
    )
    .unwrap()
        + 1_500;
    log.schedule(&mine, "t", soon, "due".into()).await.unwrap();
    log.schedule(&other, "t", soon, "due".into()).await.unwrap();
    eventually("the history has both", async || {
        let [a, b] = [log.history(&mine, 0, 10).await.unwrap(), log.history(&other, 0, 10).await.unwrap()];
        a.len() == 2 && b.len() == 2
    })
    .await;
    let past = log.history(&mine, 0, 10).await.unwrap();
    assert_eq!(past[1].1.seq, heads[0], "as it stood in the log");
    assert_eq!(past[0].1.address.as_ref().unwrap().kind, Kind::WhatsApp);
    assert_eq!(log.history(&mine, past[0].0, 10).await.unwrap().len(), 1);
    assert_eq!(log.history(&mine, 0, 1).await.unwrap().len(), 1);

    let mut told = std::pin::pin!(log.erasures().await.unwrap());
    assert!(log.erase_conversation(&mine, None).await.unwrap() >= 3);
    assert!(log.erase_history(&mine, PATIENCE).await.unwrap());
    log.tell_erased(&mine).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, futures::StreamExt::next(&mut told)).await.unwrap();
    assert_eq!(heard, Some(mine));

    assert_eq!(everything(&log, &mine).await, 0);
    assert!(log.head(&mine).await.unwrap().is_none());
    assert!(log.history(&mine, 0, 10).await.unwrap().is_empty());
    let mut keys = Vec::new();
    log.history_heads(|entry| keys.push(entry.address.unwrap().key)).await.unwrap();
    assert_eq!(keys, [other]);
    // The other's timer fires, ours does not.
    let fired = subjects::fact(&other, Kind::Timer, "t");
    eventually("the timer fires", async || log.last(&fired).await.unwrap().is_some()).await;
    assert_eq!(everything(&log, &mine).await, 0, "a timer outlived its conversation");

    // A worker with the old state is refused and finds no chain; a new one begins at nothing.
    let stale = log.append_decision(&mine, heads[0], "stale".into()).await.unwrap();
    assert_eq!(stale, Chained::Moved);
    assert!(log.head(&mine).await.unwrap().is_none());
    let begun = fill(&log, &mine).await;
    assert_eq!(log.head(&mine).await.unwrap().unwrap().seq, begun);

    // What came after a position stays.
    let first = log.read(vec![subjects::conversation(&mine)], 1, Seq::MAX, 1).await.unwrap()[0].seq;
    assert_eq!(log.erase_conversation(&mine, Some(begun)).await.unwrap(), 1);
    assert!(log.get(first).await.unwrap().is_none() && log.get(begun).await.unwrap().is_some());
    assert_eq!(log.erase_conversation(&mine, None).await.unwrap(), 1, "again is fine");
    assert_eq!(log.erase_conversation(&mine, None).await.unwrap(), 0);
}
