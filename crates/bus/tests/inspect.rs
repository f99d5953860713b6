//! What people look at when something is wrong.

use std::time::Duration;

use bus::{Config, Entry, Failure, Handler, Lease, ReaderOptions};
use devstack::Nats;
use domain::ConversationKey;
use proto::subjects::{self, Kind};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

struct Refusing;

impl Handler for Refusing {
    async fn handle(&self, _entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        Err(Failure::never("made up"))
    }
}

#[tokio::test]
async fn dead_letters_are_listed_without_content_and_discarded_once() {
    let nats = Nats::start().await.unwrap();
    let log = bus::connect(&Config::at(&nats.url())).await.unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let reader = log.reader("test", &[Kind::WhatsApp], ReaderOptions::default());
    let stopped = stop.clone();
    tasks.spawn(async move { reader.run(Refusing, stopped).await.unwrap() });
    let mut at = Vec::new();
    for n in [1, 2] {
        let key = ConversationKey::from_bytes([n; 16]);
        let subject = subjects::fact(&key, Kind::WhatsApp, "a");
        at.push(log.append_fact(&subject, "secret words".into(), None).await.unwrap().seq);
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let letters = loop {
        let (letters, count) = log.dead_letters(10).await.unwrap();
        if count == 2 {
            break letters;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(letters.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [at[1], at[0]]);
    let first = &letters[0];
    assert_eq!((first.service.as_str(), first.kind), ("test", Some(Kind::WhatsApp)));
    assert_eq!((first.key, first.reason.as_str()), (ConversationKey::from_bytes([2; 16]), "made up"));
    assert!(!format!("{letters:?}").contains("secret words"));
    assert_eq!(log.dead_letters(1).await.unwrap().0.len(), 1);

    assert_eq!(log.beats("test").await.unwrap().len(), 1);
    assert!(log.beats("nobody").await.unwrap().is_empty());
    assert!(log.parked().await.unwrap().is_empty());
    assert!(log.stream_sizes().await.unwrap().iter().any(|stream| stream.messages == 2));

    assert!(log.discard_dead_letter(first.id).await.unwrap());
    assert!(!log.discard_dead_letter(first.id).await.unwrap());
    assert_eq!(log.dead_letters(10).await.unwrap().1, 1);
    assert!(log.get(at[1]).await.unwrap().is_some(), "the entry stays");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
