//! The pace against a real server.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use devstack::Valkey;
use domain::{Millis, PhoneNumberId};
use store::{Hold, LocalPace, PAIR_BURST, Pace, Paced, PacedBy, Pacer, Priority, Store};
use support::{connect, pair, without_expiry};

fn number() -> PhoneNumberId {
    PhoneNumberId::new("106540352242922")
}

fn millis(wait: Duration) -> Millis {
    i64::try_from(wait.as_millis()).unwrap()
}

/// The script and its double in this process decide alike over hours of traffic and holds.
#[tokio::test]
async fn with_the_cache_and_without_the_rules_are_the_same() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let mut local = LocalPace::default();
    let begin = tokio::time::Instant::now();
    let priorities = [Priority::Rep, Priority::Assistant, Priority::Notice, Priority::Campaign];
    let number = number();
    let mut random = fastrand::Rng::with_seed(45);
    let (mut passed, mut went, mut waited) = (0, 0, [0, 0]);
    for step in 0..6_000 {
        // Busy and quiet hours.
        let busy = step / 500 % 2 == 0;
        passed += if busy { random.u64(0..90) } else { random.u64(0..3_000) };
        let now = begin + Duration::from_millis(passed);
        let there = store.with_clock_at(1_700_000_000_000 + i64::try_from(passed).unwrap());
        let pair = pair(random.u32(0..if busy { 40 } else { 3 }));
        if random.u32(0..400) == 0 {
            let hold = if random.bool() { Hold::Number(&number) } else { Hold::Pair(&pair) };
            let lasting = Duration::from_millis(random.u64(0..5_000));
            there.block(hold, lasting).await.unwrap();
            local.block(hold, lasting, now);
        }
        let priority = priorities[random.usize(0..4)];
        let pace = Pace { number: &number, per_second: 7, pair: &pair, priority };
        let (a, b) = (there.pace(&pace).await.unwrap(), local.pace(&pace, now));
        match (a, b) {
            (Paced::Go, Paced::Go) => went += 1,
            (Paced::Wait(a, by), Paced::Wait(b, same)) => {
                assert!((millis(a) - millis(b)).abs() <= 1, "{step}: {a:?} {b:?}");
                assert_eq!(by, same, "{step}");
                waited[usize::from(by == PacedBy::Number)] += 1;
            }
            (Paced::Go, Paced::Wait(..)) | (Paced::Wait(..), Paced::Go) => panic!("{step}: {a:?} {b:?}"),
        }
    }
    assert!(went > 500 && waited[0] > 100 && waited[1] > 100, "{went} {waited:?}");
    assert_eq!(without_expiry(&valkey).await, [""; 0]);
}

/// Four hundred messages at one moment from eight replicas; how many may go.
async fn go(stores: &[Store], number: &PhoneNumberId, per_second: u32, pairs: u32) -> usize {
    let all = (0..400).map(|n| async move {
        let pair = pair(n % pairs);
        let pace = Pace { number, per_second, pair: &pair, priority: Priority::Rep };
        stores[n as usize % stores.len()].pace(&pace).await.unwrap()
    });
    futures::future::join_all(all).await.into_iter().filter(|paced| *paced == Paced::Go).count()
}

#[tokio::test]
async fn many_replicas_together_keep_the_pace_of_a_number_and_of_a_pair() {
    let valkey = Valkey::start().await.unwrap();
    let stores: Vec<Store> = (0..8).map(|_| connect(&valkey).with_clock_at(1_000_000)).collect();
    let [one, two] = ["1", "2"].map(PhoneNumberId::new);
    assert_eq!(go(&stores, &one, 80, 400).await, 80);
    assert_eq!(go(&stores, &two, 20, 400).await, 20, "another number has its own");
    let later: Vec<Store> = stores.iter().map(|store| store.with_clock_at(2_000_000)).collect();
    assert_eq!(go(&later, &one, 1_000, 1).await, PAIR_BURST as usize);
    assert_eq!(go(&later, &one, 1_000, 400).await, 399, "nobody but that customer waits");
}

#[tokio::test]
async fn what_one_replica_is_told_holds_all_back() {
    let valkey = Valkey::start().await.unwrap();
    let [one, two] = [Pacer::new(connect(&valkey)), Pacer::new(connect(&valkey))];
    let number = number();
    let [a, b, c] = [1, 2, 3].map(pair);
    let rep = |pair| Pace { number: &number, per_second: 80, pair, priority: Priority::Rep };
    one.block(Hold::Pair(&a), Duration::from_secs(64)).await.unwrap();
    let paced = two.pace(&rep(&a)).await;
    assert!(matches!(paced, Paced::Wait(wait, PacedBy::Pair) if wait.as_secs() > 60), "{paced:?}");
    assert_eq!(two.pace(&rep(&b)).await, Paced::Go);
    two.block(Hold::Number(&number), Duration::from_secs(600)).await.unwrap();
    for pacer in [&one, &two] {
        let paced = pacer.pace(&rep(&c)).await;
        assert!(matches!(paced, Paced::Wait(wait, PacedBy::Number) if wait.as_secs() > 590), "{paced:?}");
    }
}

#[tokio::test]
async fn an_outage_costs_one_wait_and_the_pace_holds_on() {
    let mut valkey = Valkey::start().await.unwrap();
    let pacer = Pacer::new(connect(&valkey));
    let number = number();
    let customer = pair(1);
    let rep = Pace { number: &number, per_second: 80, pair: &customer, priority: Priority::Rep };
    for _ in 0..40 {
        assert_eq!(pacer.pace(&rep).await, Paced::Go);
    }
    valkey.kill().await.unwrap();
    let started = Instant::now();
    assert_eq!(pacer.pace(&rep).await, Paced::Go);
    assert!(started.elapsed() < Duration::from_millis(800), "{:?}", started.elapsed());
    assert!(pacer.is_alone());
    let started = Instant::now();
    for _ in 0..4 {
        assert_eq!(pacer.pace(&rep).await, Paced::Go);
    }
    assert!(matches!(pacer.pace(&rep).await, Paced::Wait(_, PacedBy::Pair)), "46 at once");
    assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(pacer.block(Hold::Pair(&pair(2)), Duration::from_secs(60)).await.is_err());

    // It comes back empty: what this process knows still holds.
    valkey.restart_empty().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    for n in 100.. {
        let other = pair(n);
        let _ = pacer.pace(&Pace { pair: &other, ..rep }).await;
        if !pacer.is_alone() {
            break;
        }
        assert!(Instant::now() < deadline, "did not come back");
        tokio::task::yield_now().await;
    }
    assert!(matches!(pacer.pace(&rep).await, Paced::Wait(_, PacedBy::Pair)));
    let held = pair(2);
    assert!(matches!(pacer.pace(&Pace { pair: &held, ..rep }).await, Paced::Wait(_, PacedBy::Pair)));
}
