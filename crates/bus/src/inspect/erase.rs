//! Reading a conversation's whole past, and forgetting it.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{Consumer, DeliverPolicy, pull},
    stream::Stream,
};
use domain::{ConversationKey, Seq};
use futures::StreamExt as _;
use proto::subjects::{self, Address, Kind};
use tokio::{sync::mpsc, time::Instant};

use crate::{Entry, Error, Log, read::ephemeral, streams::DEAD_LETTERS};

const TRIES: usize = 3;
const BATCH: usize = 500;
/// Between two looks at how far the history is behind.
const PAUSE: Duration = Duration::from_millis(50);
const ERASED: &str = "erased.*";

type Broken = Box<dyn std::error::Error + Send + Sync>;

impl Log {
    /// At most `limit` entries of a conversation in the history, of those behind `after` (a position
    /// there; 0: from the beginning), in order, each with its position there. An entry's own
    /// position is the one that it had in the log.
    pub async fn history(
        &self,
        key: &ConversationKey,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<(Seq, Entry)>, Error> {
        let policy = DeliverPolicy::ByStartSequence { start_sequence: after + 1 };
        let mut found = Vec::new();
        self.recall(&format!("hist.{key}.>"), policy, limit, |began, at, entry| {
            if began {
                found.clear();
            }
            found.push((at, entry));
        })
        .await?;
        Ok(found)
    }

    /// The newest decision of every conversation that the history knows, one after another; one may
    /// come twice.
    pub async fn history_heads(&self, mut visit: impl FnMut(Entry)) -> Result<(), Error> {
        let policy = DeliverPolicy::LastPerSubject;
        self.recall("hist.*.dec", policy, usize::MAX, |_, _, entry| visit(entry)).await
    }

    /// The same, as fast as they are taken: at most a few hundred entries are in memory. Ends early when
    /// nobody takes them any more.
    pub async fn history_heads_into(&self, out: mpsc::Sender<Entry>) -> Result<(), Error> {
        let handed = HandedOver { out, batch: Vec::new() };
        self.recall("hist.*.dec", DeliverPolicy::LastPerSubject, usize::MAX, handed).await
    }

    /// `visit`: whether this is the first of a try, the position in the history, the entry.
    async fn recall(
        &self,
        filter: &str,
        policy: DeliverPolicy,
        limit: usize,
        mut visit: impl Visit,
    ) -> Result<(), Error> {
        let doing = "read the history";
        let mut problem: Broken = "the connection broke again and again".into();
        for _ in 0..TRIES {
            let made = self
                .until_reconnect(self.history.create_consumer(ephemeral(vec![filter.to_owned()], policy)));
            let mut consumer = match made.await {
                Some(Ok(consumer)) => consumer,
                Some(Err(e)) => return Err(Error::Broker { doing, source: e.into() }),
                None => continue,
            };
            let read = self.until_reconnect(drain(&mut consumer, limit, &mut visit)).await;
            let name = consumer.cached_info().name.clone();
            let _ = self.until_reconnect(self.history.delete_consumer(&name)).await;
            match read {
                Some(Ok(())) => return Ok(()),
                Some(Err(e)) => problem = e,
                None => {}
            }
        }
        Err(Error::Broker { doing, source: problem })
    }

    /// Forgets a conversation: what is in the log, timers that wait, what is parked and what was set
    /// aside. `before`: only what stands before this position of the log. Answers how many entries
    /// that were. The history follows by [`Log::erase_history`].
    pub async fn erase_conversation(&self, key: &ConversationKey, before: Option<Seq>) -> Result<u64, Error> {
        let partition = key.partition();
        let letters = self.stream_named(DEAD_LETTERS).await?;
        let mut purged = 0;
        // What waits is taken off first: nobody is to look for an entry that is gone.
        purged += self.purge(&self.parked, format!("park.*.{partition}.{key}.>"), None).await?;
        purged += self.purge(&self.stream, format!("timer.{partition}.{key}.>"), before).await?;
        purged += self.purge(&self.stream, subjects::conversation(key), before).await?;
        purged += self.purge(&letters, format!("dlq.*.{partition}.{key}.>"), None).await?;
        Ok(purged)
    }

    /// Forgets a conversation's history. The broker copies entries there a moment after they were
    /// stored, so what was on its way is waited for, at most for `patience`; false: it may come yet.
    pub async fn erase_history(&self, key: &ConversationKey, patience: Duration) -> Result<bool, Error> {
        let until = Instant::now() + patience;
        let settled = loop {
            let info = self.history.get_info().await;
            let info = info.map_err(|e| Error::broker("look at the history")(e.into()))?;
            if info.sources.iter().all(|source| source.lag == 0) {
                break true;
            }
            if Instant::now() >= until {
                break false;
            }
            tokio::time::sleep(PAUSE).await;
        };
        self.purge(&self.history, format!("hist.{key}.>"), None).await?;
        Ok(settled)
    }

    async fn purge(&self, stream: &Stream<()>, filter: String, before: Option<Seq>) -> Result<u64, Error> {
        let doing = "forget entries";
        for _ in 0..TRIES {
            let asked = self.until_reconnect(async {
                match before {
                    None => stream.purge().filter(filter.as_str()).await,
                    Some(seq) => stream.purge().sequence(seq).filter(filter.as_str()).await,
                }
            });
            match asked.await {
                Some(Ok(answer)) => return Ok(answer.purged),
                Some(Err(e)) => return Err(Error::Broker { doing, source: e.into() }),
                None => {}
            }
        }
        Err(Error::Broker { doing, source: "the connection broke again and again".into() })
    }

    /// Tells everybody who keeps conversations in memory that this one is forgotten. Nothing of it is
    /// stored.
    pub async fn tell_erased(&self, key: &ConversationKey) -> Result<(), Error> {
        let told = self.client.publish(format!("erased.{key}"), "".into()).await;
        told.map_err(|e| Error::Broker { doing: "tell of an erasure", source: e.into() })
    }

    /// What is forgotten from now on, in any process. Ends with the connection.
    pub async fn erasures(
        &self,
    ) -> Result<impl futures::Stream<Item = ConversationKey> + Send + use<>, Error> {
        let told = self.subscribe(ERASED).await?;
        Ok(told.filter_map(async |message| message.subject.rsplit('.').next()?.parse().ok()))
    }
}

/// Who is told of entries.
trait Visit {
    /// `began`: whether this is the first of a try; `at`: the position in the history.
    fn entry(&mut self, began: bool, at: Seq, entry: Entry);

    /// No more are asked for before this is done. False: none are wanted.
    fn rest(&mut self) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }
}

impl<F: FnMut(bool, Seq, Entry)> Visit for F {
    fn entry(&mut self, began: bool, at: Seq, entry: Entry) {
        self(began, at, entry);
    }
}

struct HandedOver {
    out: mpsc::Sender<Entry>,
    batch: Vec<Entry>,
}

impl Visit for HandedOver {
    fn entry(&mut self, _: bool, _: Seq, entry: Entry) {
        self.batch.push(entry);
    }

    async fn rest(&mut self) -> bool {
        for entry in self.batch.drain(..) {
            if self.out.send(entry).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Everything that the consumer has, up to the limit; it counts what it delivers.
async fn drain(
    consumer: &mut Consumer<pull::Config>,
    limit: usize,
    visit: &mut impl Visit,
) -> Result<(), Broken> {
    let mut seen = 0;
    let mut pending = consumer.cached_info().num_pending;
    while pending > 0 && seen < limit {
        let batch = usize::try_from(pending).unwrap_or(usize::MAX).min(BATCH).min(limit - seen);
        let fetch = consumer.fetch().max_messages(batch).expires(Duration::from_secs(2));
        let mut messages = fetch.messages().await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let (entry, count, _) = Entry::delivered(&message).ok_or("not an entry")?;
            if usize::try_from(count) != Ok(seen + 1) {
                return Err("entries were lost on the way".into());
            }
            visit.entry(seen == 0, entry.seq, origin(entry, &message));
            seen += 1;
        }
        if !visit.rest().await {
            return Ok(());
        }
        let info = consumer.info().await?;
        pending = info.num_pending;
        if usize::try_from(info.delivered.consumer_sequence) != Ok(seen) {
            return Err("entries were lost on the way".into());
        }
    }
    Ok(())
}

/// As it was in the log. The broker tells where a copy comes from: `<stream> <position> …`, and the
/// subject where it knows it (nats-server 2.15, header `Nats-Stream-Source`).
fn origin(entry: Entry, message: &jetstream::Message) -> Entry {
    let source = message.headers.as_ref().and_then(|headers| headers.get("Nats-Stream-Source"));
    let source = source.map(|value| value.as_str()).unwrap_or_default();
    let seq = source.split(' ').nth(1).and_then(|seq| seq.parse().ok()).unwrap_or_default();
    let known: Option<Address> = source.rsplit(' ').next().and_then(|subject| subject.parse().ok());
    let address = known.filter(|address| !address.id.contains('*')).or_else(|| {
        let mut tokens = entry.subject.split('.').skip(1);
        let key: ConversationKey = tokens.next()?.parse().ok()?;
        let kind: Kind = tokens.next()?.parse().ok()?;
        Some(Address { partition: key.partition(), key, kind, id: String::new() })
    });
    Entry { seq, address, ..entry }
}
