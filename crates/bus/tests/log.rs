//! Appending and reading, against a real broker.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{cell::Cell, time::Duration};

use bus::{Chained, Config, Entry, Error, Fact, Log};
use devstack::Nats;
use domain::{ConversationKey, Partition};
use futures::StreamExt as _;
use proto::subjects::{self, Kind};

async fn log(nats: &Nats) -> Log {
    bus::connect(&Config::at(&nats.url())).await.unwrap()
}

fn key(n: u8) -> ConversationKey {
    ConversationKey::from_bytes([n; 16])
}

#[tokio::test]
async fn a_fact_is_appended_once_however_many_try() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let subject = subjects::fact(&key(1), Kind::WhatsApp, "a");
    let all = futures::future::join_all((0..50).map(|_| log.append_fact(&subject, "x".into(), None))).await;
    let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|appended| !appended.existed).count(), 1);
    assert!(all.iter().all(|appended| appended.seq == all[0].seq));
    let stored = log.last(&subject).await.unwrap().unwrap();
    assert_eq!((stored.seq, &stored.payload[..]), (all[0].seq, &b"x"[..]));
    assert_eq!(stored.address.unwrap().kind, Kind::WhatsApp);
}

#[tokio::test]
async fn decisions_form_a_chain() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let Chained::Appended(first) = log.append_decision(&key(1), 0, "1".into()).await.unwrap() else {
        panic!()
    };
    assert_eq!(log.append_decision(&key(1), 0, "x".into()).await.unwrap(), Chained::Moved);
    let Chained::Appended(second) = log.append_decision(&key(1), first, "2".into()).await.unwrap() else {
        panic!()
    };
    assert_eq!(log.append_decision(&key(1), first, "x".into()).await.unwrap(), Chained::Moved);
    assert_eq!(log.head(&key(1)).await.unwrap().unwrap().seq, second);
    // Another conversation's chain is its own.
    assert!(matches!(log.append_decision(&key(2), 0, "1".into()).await.unwrap(), Chained::Appended(_)));
}

#[tokio::test]
async fn an_append_waits_for_the_broker_or_for_its_deadline() {
    let mut nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    nats.kill().await.unwrap();
    let subject = subjects::fact(&key(1), Kind::WhatsApp, "a");
    let late = log.append_fact(&subject, "x".into(), Some(Duration::from_millis(300))).await;
    assert!(matches!(late, Err(Error::Deadline)), "{late:?}");
    let (appended, restarted) = tokio::join!(log.append_fact(&subject, "x".into(), None), nats.restart());
    restarted.unwrap();
    appended.unwrap();
    let stored = log.read(vec![subjects::conversation(&key(1))], 1, u64::MAX, 10).await.unwrap();
    assert_eq!(stored.len(), 1);
}

#[tokio::test]
async fn entries_are_read_in_order_within_bounds() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    for n in 0..700 {
        let subject = subjects::fact(&key(1), Kind::WhatsApp, &n.to_string());
        log.append_fact(&subject, n.to_string().into(), None).await.unwrap();
        if n % 100 == 0 {
            log.append_fact(&subjects::fact(&key(2), Kind::WhatsApp, &n.to_string()), "other".into(), None)
                .await
                .unwrap();
        }
    }
    let filter = vec![subjects::conversation(&key(1))];
    let all = log.read(filter.clone(), 1, u64::MAX, usize::MAX).await.unwrap();
    assert_eq!(all.len(), 700);
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let some = log.read(filter.clone(), all[10].seq, all[20].seq, 1000).await.unwrap();
    assert_eq!((some.first().unwrap().seq, some.len()), (all[10].seq, 11));
    assert_eq!(log.read(filter, 1, u64::MAX, 5).await.unwrap().len(), 5);
    assert_eq!(log.get(all[3].seq).await.unwrap().unwrap().payload, "3");
    assert!(log.get(1_000_000).await.unwrap().is_none());
}

/// A conversation in which every message is decided on, among many others.
async fn talk(log: &Log, key: &ConversationKey, messages: u64, others: u64) -> (domain::Seq, domain::Seq) {
    let mut head = 0;
    let mut first = 0;
    let mut last = 0;
    for n in 0..messages {
        let subject = subjects::fact(key, Kind::WhatsApp, &n.to_string());
        last = log.append_fact(&subject, n.to_string().into(), None).await.unwrap().seq;
        first = if first == 0 { last } else { first };
        for kind in [Kind::WhatsApp, Kind::Timer] {
            let answers = if kind == Kind::WhatsApp {
                last
            } else {
                let subject = subjects::fact(key, kind, &n.to_string());
                log.append_fact(&subject, "due".into(), None).await.unwrap().seq
            };
            let body =
                proto::v1::entry::Body::Decision(proto::v1::Decision { answers, ..Default::default() });
            let Chained::Appended(seq) = log.append_decision(key, head, proto::encode(body)).await.unwrap()
            else {
                panic!("nobody else writes here")
            };
            head = seq;
        }
        let facts = (0..others).map(|other| Fact {
            kind: "wa",
            subject: subjects::fact(&self::key(200), Kind::WhatsApp, &format!("{key}-{n}-{other}")),
            payload: "other".into(),
            span: tracing::Span::none(),
        });
        log.append_facts(facts, 256, |_, _| {}).await.unwrap();
    }
    (first, last)
}

#[tokio::test]
async fn what_was_said_is_the_same_by_the_chain_and_by_reading_everything() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let near = talk(&log, &key(1), 40, 3).await;
    let far = talk(&log, &key(2), 40, 300).await;
    for (key, (first, last), is_far) in [(key(1), near, false), (key(2), far, true)] {
        assert_eq!(last - first > 5_000, is_far);
        let filters = vec![subjects::filter_of(&key, Kind::WhatsApp), subjects::decision(&key)];
        for (from, through) in [(first, last), (first + 1, last - 1), (last, last), (1, last)] {
            let all = log.read(filters.clone(), from, through, usize::MAX).await.unwrap();
            let seqs = |entries: &[Entry]| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
            let said = log.said(&key, from, through, 1_000).await.unwrap();
            assert_eq!(seqs(&said), seqs(&all), "{from}..={through}");
            // The newest of it.
            let some = log.said(&key, from, through, 10).await.unwrap();
            assert!(seqs(&all).ends_with(&seqs(&some)), "{:?}", seqs(&some));
            let decisions =
                |entries: &[Entry]| entries.iter().filter(|e| e.subject.ends_with(".dec")).count();
            assert_eq!(decisions(&some), decisions(&all).min(10));
        }
    }
    let decisions = log.decisions(&key(2), far.0, far.1, 5).await.unwrap();
    assert!(decisions.len() == 5 && decisions.windows(2).all(|pair| pair[0].seq > pair[1].seq));
    assert_eq!(log.decisions(&key(3), 1, u64::MAX, 5).await.unwrap().len(), 0);
}

#[tokio::test]
async fn the_heads_of_a_partition_are_its_newest_decisions() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let mut expected = Vec::new();
    for n in 1..=5 {
        let Chained::Appended(first) = log.append_decision(&key(n), 0, "old".into()).await.unwrap() else {
            panic!()
        };
        log.append_decision(&key(n), first, "new".into()).await.unwrap();
        expected.push(key(n));
    }
    let mut found = Vec::new();
    for partition in Partition::all() {
        for entry in log.heads(partition).await.unwrap() {
            assert_eq!(entry.payload, "new");
            found.push(entry.address.unwrap().key);
        }
    }
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn timers_fire_as_facts_also_when_they_are_late() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    log.schedule(&key(1), "1-0", now + 300, "soon".into()).await.unwrap();
    log.schedule(&key(1), "2-0", now - 60_000, "late".into()).await.unwrap();
    let fired = log.tail(vec![subjects::filter(key(1).partition(), Kind::Timer)], 1).take(2);
    let fired: Vec<_> = tokio::time::timeout(Duration::from_secs(20), fired.collect()).await.unwrap();
    let mut ids: Vec<_> = fired.iter().map(|entry| entry.address.clone().unwrap().id).collect();
    ids.sort();
    assert_eq!(ids, ["1-0", "2-0"]);
}

#[tokio::test]
async fn a_tail_goes_on_when_the_broker_comes_back() {
    let mut nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let append = |n: u32| {
        let (log, subject) = (log.clone(), subjects::fact(&key(1), Kind::WhatsApp, &n.to_string()));
        async move { log.append_fact(&subject, n.to_string().into(), None).await.unwrap() }
    };
    append(0).await;
    let mut tail = Box::pin(log.tail(vec![subjects::conversation(&key(1))], 1));
    assert_eq!(tail.next().await.unwrap().payload, "0");
    nats.restart().await.unwrap();
    append(1).await;
    let next = tokio::time::timeout(Duration::from_secs(10), tail.next()).await.unwrap().unwrap();
    assert_eq!(next.payload, "1");
}

#[tokio::test]
async fn a_tail_over_all_conversations_brings_the_kinds_that_were_asked_for() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    for (n, kind) in
        [Kind::WhatsApp, Kind::Operator, Kind::Salesforce, Kind::WhatsApp].into_iter().enumerate()
    {
        let n = n.to_string();
        let subject = subjects::fact(&key(n.parse().unwrap()), kind, &n);
        log.append_fact(&subject, n.clone().into(), None).await.unwrap();
    }
    let filters = ["conv.*.*.wa.*", "conv.*.*.sf.*"].map(str::to_owned).to_vec();
    let seen: Vec<_> = log.tail(filters, 1).take(3).map(|entry| entry.payload).collect().await;
    assert_eq!(seen, ["0", "2", "3"]);
}

#[tokio::test]
async fn setting_up_again_changes_nothing_and_unsafe_streams_are_refused() {
    let nats = Nats::start().await.unwrap();
    log(&nats).await;
    log(&nats).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let mut stream = context.get_stream("CONVERSATIONS").await.unwrap().cached_info().config.clone();
    stream.metadata.insert("baton-partitions".into(), "32".into());
    context.update_stream(stream.clone()).await.unwrap();
    let refused = bus::connect(&Config::at(&nats.url())).await.unwrap_err().to_string();
    assert!(refused.contains("32 partitions"), "{refused}");
    stream.metadata.insert("baton-partitions".into(), "64".into());
    stream.max_messages = 10;
    context.update_stream(stream).await.unwrap();
    let refused = bus::connect(&Config::at(&nats.url())).await.unwrap_err().to_string();
    assert!(refused.contains("max_msgs"), "{refused}");
}

#[tokio::test]
async fn a_log_that_cannot_hold_its_horizon_is_refused() {
    let nats = Nats::start().await.unwrap();
    let config = Config { log_rate: 100_000, ..Config::at(&nats.url()) };
    let refused = bus::connect(&config).await.unwrap_err().to_string();
    assert!(refused.contains("LOG_MEMORY_MIB"), "{refused}");
}

#[tokio::test]
async fn a_timer_that_fired_is_not_set_again() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let set = async |at| log.schedule(&key(1), "1-0", at, "fired".into()).await.unwrap();
    set(now + 60_000).await;
    // Replaces the first: it fires once, now.
    set(now).await;
    let fires_as = subjects::fact(&key(1), Kind::Timer, "1-0");
    let mut facts = Box::pin(log.tail(vec![fires_as.clone()], 1));
    let fired = tokio::time::timeout(Duration::from_secs(20), facts.next()).await.unwrap().unwrap();
    assert_eq!(fired.payload, "fired");
    set(now).await;
    // A later timer has fired, an earlier one would have.
    log.schedule(&key(1), "2-0", now, "later".into()).await.unwrap();
    let mut later = Box::pin(log.tail(vec![subjects::fact(&key(1), Kind::Timer, "2-0")], 1));
    tokio::time::timeout(Duration::from_secs(20), later.next()).await.unwrap().unwrap();
    assert_eq!(log.read(vec![fires_as], 1, u64::MAX, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_conversation_idle_beyond_the_horizon_goes_on_from_its_last_decision() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let Chained::Appended(seq) = log.append_decision(&key(1), 0, "old".into()).await.unwrap() else {
        panic!()
    };
    assert_eq!(log.head(&key(1)).await.unwrap().unwrap().seq, seq);
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let history = context.get_stream("HISTORY").await.unwrap();
    while history.get_info().await.unwrap().state.messages == 0 {
        tokio::task::yield_now().await;
    }
    context.get_stream("CONVERSATIONS").await.unwrap().purge().await.unwrap();
    let head = log.head(&key(1)).await.unwrap().unwrap();
    assert_eq!((head.seq, &head.payload[..]), (0, &b"old"[..]));
    assert_eq!(head.address.unwrap().key, key(1));
    assert!(matches!(
        log.append_decision(&key(1), head.seq, "new".into()).await.unwrap(),
        Chained::Appended(_)
    ));
    assert!(log.head(&key(2)).await.unwrap().is_none());
}

/// Answers like nats-server's monitoring port, once.
async fn monitoring(sync_always: bool) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio_util::task::TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        let body = format!("{{\"config\": {{\"sync_interval\": 1, \"sync_always\": {sync_always}}}}}");
        stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).await.unwrap();
    });
    address
}

#[tokio::test]
async fn brokers_that_acknowledge_before_they_sync_are_refused() {
    let nats = Nats::start().await.unwrap();
    let watched = async |address| {
        bus::connect(&Config { nats_monitoring: vec![address], ..Config::at(&nats.url()) }).await
    };
    watched(monitoring(true).await).await.unwrap();
    let refused = watched(monitoring(false).await).await.unwrap_err().to_string();
    assert!(refused.contains("sync_interval: always"), "{refused}");
    let unknown =
        watched(format!("127.0.0.1:{}", devstack::free_port().unwrap())).await.unwrap_err().to_string();
    assert!(unknown.contains("NATS_MONITORING"), "{unknown}");
}

#[tokio::test]
async fn what_the_broker_cannot_do_is_said_at_once() {
    let nats = Nats::start().await.unwrap();
    let three = Config { nats_replicas: 3, ..Config::at(&nats.url()) };
    let refused = bus::connect(&three).await.unwrap_err().to_string();
    assert!(refused.contains("CONVERSATIONS") && refused.contains("replicas"), "{refused}");
}

#[tokio::test]
async fn a_bucket_that_forgets_is_refused() {
    let nats = Nats::start().await.unwrap();
    log(&nats).await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let bucket = context.get_stream("KV_BATON_CHECKPOINTS").await.unwrap();
    let mut forgets = bucket.cached_info().config.clone();
    forgets.max_age = Duration::from_secs(3600);
    context.update_stream(forgets).await.unwrap();
    let refused = bus::connect(&Config::at(&nats.url())).await.unwrap_err().to_string();
    assert!(refused.contains("forgets"), "{refused}");
}

/// `count` facts on subjects of their own; each says its place.
fn facts(count: u32) -> impl Iterator<Item = Fact> {
    (0..count).map(|n| Fact {
        kind: "wa",
        subject: subjects::fact(&key(1), Kind::WhatsApp, &n.to_string()),
        payload: n.to_string().into(),
        span: tracing::Span::none(),
    })
}

async fn said(log: &Log) -> Vec<String> {
    let stored = log.read(vec![subjects::conversation(&key(1))], 1, u64::MAX, usize::MAX).await.unwrap();
    stored.into_iter().map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn facts_are_appended_side_by_side_in_order_and_once() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    log.append_fact(&subjects::fact(&key(1), Kind::WhatsApp, "0"), "0".into(), None).await.unwrap();
    for existed in [1, 300] {
        let mut appended = Vec::new();
        log.append_facts(facts(300), 16, |_, one| appended.push(one)).await.unwrap();
        assert!(appended.iter().map(|one| one.seq).eq(1..=300));
        assert_eq!(appended.iter().filter(|one| one.existed).count(), existed);
    }
    let expected: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(said(&log).await, expected);
}

#[tokio::test]
async fn facts_sent_to_a_broker_that_dies_are_appended_when_it_is_back() {
    let mut nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    // Takes what it is sent and answers nothing.
    nats.signal("STOP").unwrap();
    let sent = Cell::new(0);
    let facts = facts(50).inspect(|_| sent.set(sent.get() + 1));
    let mut count = 0;
    let append = log.append_facts(facts, 32, |_, _| count += 1);
    let trouble = async {
        while sent.get() < 32 {
            tokio::task::yield_now().await;
        }
        nats.kill().await.unwrap();
        nats.restart().await.unwrap();
    };
    let (appended, ()) = tokio::join!(append, trouble);
    appended.unwrap();
    assert_eq!((count, said(&log).await.len()), (50, 50));
}
