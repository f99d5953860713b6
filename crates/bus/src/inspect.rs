//! What people look at when something is wrong: dead letters, parked entries, who is there, the
//! streams' sizes. And what is done when a person is to be forgotten.

mod erase;

use std::collections::BTreeMap;

use async_nats::jetstream::stream::Stream;
use domain::{ConversationKey, Millis, Partition, Seq};
use futures::StreamExt as _;
use proto::subjects::{Address, Kind};

use crate::{
    Error, Log,
    entry::millis,
    membership::Table,
    streams::{DEAD_LETTERS, HISTORY, LOG, PARKED},
};

/// An entry that a service could not handle. Its content stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Of the letter, not of the entry.
    pub id: Seq,
    pub service: String,
    pub partition: Partition,
    pub key: ConversationKey,
    /// Where the entry stands in the log.
    pub seq: Seq,
    /// Of the entry, if its subject could be read.
    pub kind: Option<Kind>,
    /// When the service gave up.
    pub at: Millis,
    /// As the service told it.
    pub reason: String,
}

/// A stream, as the broker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSize {
    pub name: &'static str,
    pub messages: u64,
    pub bytes: u64,
}

impl Log {
    /// Those of the newest entries, newest first, at most `limit`; and how many there are.
    pub async fn dead_letters(&self, limit: usize) -> Result<(Vec<DeadLetter>, usize), Error> {
        let stream = self.stream_named(DEAD_LETTERS).await?;
        let mut places = self.places(&stream, "dlq.>").await?;
        let count = places.len();
        places.sort_by_key(|place| std::cmp::Reverse(place.seq));
        places.truncate(limit);
        let mut letters = Vec::with_capacity(places.len());
        for Place { subject, service, partition, key, seq } in places {
            // Discarded meanwhile.
            let Some(message) = self.last_in(&stream, &subject).await? else { continue };
            let header = |name: &str| message.headers.get(name).map(|value| value.as_str());
            let address: Option<Address> = header("Baton-Subject").and_then(|subject| subject.parse().ok());
            letters.push(DeadLetter {
                id: message.sequence,
                service,
                partition,
                key,
                seq,
                kind: address.map(|address| address.kind),
                at: millis(message.time),
                reason: header("Baton-Reason").unwrap_or_default().to_owned(),
            });
        }
        Ok((letters, count))
    }

    /// Takes a letter off the list; the entry stays in the log. False: it was not there any more.
    pub async fn discard_dead_letter(&self, id: Seq) -> Result<bool, Error> {
        let stream = self.stream_named(DEAD_LETTERS).await?;
        let there = self
            .ask("read a dead letter", || async {
                crate::read::none_is_fine(stream.get_raw_message(id).await)
            })
            .await?;
        if there.is_none() {
            return Ok(false);
        }
        stream.delete_message(id).await.map_err(|e| Error::broker("discard a dead letter")(e.into()))
    }

    /// How many entries of each service wait in the log for what they need.
    pub async fn parked(&self) -> Result<BTreeMap<String, usize>, Error> {
        let mut counts = BTreeMap::new();
        for place in self.places(&self.parked, "park.>").await? {
            *counts.entry(place.service).or_default() += 1;
        }
        Ok(counts)
    }

    /// What shows that a service's processes live: it changes with every beat of any of them.
    pub async fn beats(&self, service: &str) -> Result<BTreeMap<String, u64>, Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("read the members")(e);
        let table = self.membership.get(service).await.map_err(|e| broken(e.into()))?;
        let Some(table) = table else { return Ok(BTreeMap::new()) };
        let table: Table = serde_json::from_slice(&table).map_err(|e| broken(e.into()))?;
        Ok(table.members.into_iter().map(|(member, state)| (member, state.beat)).collect())
    }

    /// How much the streams hold.
    pub async fn stream_sizes(&self) -> Result<Vec<StreamSize>, Error> {
        let mut sizes = Vec::new();
        for name in [LOG, HISTORY, PARKED, DEAD_LETTERS] {
            let stream = self.context.get_stream(name).await;
            let stream = stream.map_err(|e| Error::broker("look at a stream")(e.into()))?;
            let state = &stream.cached_info().state;
            sizes.push(StreamSize { name, messages: state.messages, bytes: state.bytes });
        }
        Ok(sizes)
    }

    async fn stream_named(&self, name: &'static str) -> Result<Stream<()>, Error> {
        let stream = self.context.get_stream_no_info(name).await;
        stream.map_err(|e| Error::broker("open a stream")(e.into()))
    }

    async fn places(&self, stream: &Stream<()>, filter: &str) -> Result<Vec<Place>, Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("list subjects")(e);
        let mut subjects = stream.info_with_subjects(filter).await.map_err(|e| broken(e.into()))?;
        let mut places = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(|e| broken(e.into()))?;
            places.extend(Place::of(subject));
        }
        Ok(places)
    }
}

/// What a subject beside the log says (`beside.rs`).
struct Place {
    subject: String,
    service: String,
    partition: Partition,
    key: ConversationKey,
    seq: Seq,
}

impl Place {
    fn of(subject: String) -> Option<Self> {
        let mut tokens = subject.split('.').skip(1);
        let service = tokens.next()?.to_owned();
        let partition = Partition(tokens.next()?.parse().ok()?);
        let key = tokens.next()?.parse().ok()?;
        let seq = tokens.next()?.parse().ok()?;
        Some(Self { service, partition, key, seq, subject })
    }
}
