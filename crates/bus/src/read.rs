//! Reading, other than by partition.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, Consumer, DeliverPolicy, pull},
    message::StreamMessage,
    stream::{LastRawMessageError, LastRawMessageErrorKind, Stream},
};
use bytes::Bytes;
use domain::{ConversationKey, Partition, Seq};
use futures::{Stream as FuturesStream, StreamExt as _};
use proto::subjects::{self, Kind};
use tokio::time::Instant;

use crate::{Entry, Error, Log};

/// How often a read is begun again when the connection breaks under it.
const TRIES: usize = 3;

impl Log {
    /// The newest decision of a conversation. One that was idle for longer than the log's horizon
    /// has its last decision in the history only: that one's `seq` is 0, which is what the chain's
    /// next decision has to expect.
    pub async fn head(&self, key: &ConversationKey) -> Result<Option<Entry>, Error> {
        let subject = subjects::decision(key);
        if let Some(entry) = self.last(&subject).await? {
            return Ok(Some(entry));
        }
        let idle = self.last_in(&self.history, &format!("hist.{key}.dec")).await?;
        Ok(idle.map(|message| {
            let entry = Entry::stored(message);
            Entry { seq: 0, address: subject.parse().ok(), subject, ..entry }
        }))
    }

    /// The newest entry on a subject, wildcards allowed. Answered by the stream's leader: a
    /// follower's answer may be old.
    pub async fn last(&self, subject: &str) -> Result<Option<Entry>, Error> {
        Ok(self.last_in(&self.stream, subject).await?.map(Entry::stored))
    }

    pub(crate) async fn last_in(
        &self,
        stream: &Stream<()>,
        subject: &str,
    ) -> Result<Option<StreamMessage>, Error> {
        self.ask("read the last entry of a subject", || async {
            none_is_fine(stream.get_last_raw_message_by_subject(subject).await)
        })
        .await
    }

    /// The entry at a position; none when it is gone.
    pub async fn get(&self, seq: Seq) -> Result<Option<Entry>, Error> {
        let found = self
            .ask("read an entry", || async { none_is_fine(self.stream.get_raw_message(seq).await) })
            .await?;
        Ok(found.map(Entry::stored))
    }

    pub(crate) async fn ask<T, F: Future<Output = Result<T, LastRawMessageError>>>(
        &self,
        doing: &'static str,
        question: impl Fn() -> F,
    ) -> Result<T, Error> {
        for _ in 0..TRIES {
            match self.until_reconnect(question()).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(e)) => return Err(Error::Broker { doing, source: e.into() }),
                None => {}
            }
        }
        Err(Error::Broker { doing, source: "the connection broke again and again".into() })
    }

    /// At most `limit` entries of `from..=through` on any of the subjects, in order.
    pub async fn read(
        &self,
        filters: Vec<String>,
        from: Seq,
        through: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let policy = DeliverPolicy::ByStartSequence { start_sequence: from.max(1) };
        self.collect(filters, policy, through, limit).await
    }

    /// The newest decision of every conversation of a partition, within the log's horizon.
    pub async fn heads(&self, partition: Partition) -> Result<Vec<Entry>, Error> {
        let filters = vec![subjects::filter(partition, Kind::Decision)];
        self.collect(filters, DeliverPolicy::LastPerSubject, Seq::MAX, usize::MAX).await
    }

    async fn collect(
        &self,
        filters: Vec<String>,
        policy: DeliverPolicy,
        through: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut problem = "the connection broke again and again".into();
        for _ in 0..TRIES {
            let consumer =
                self.until_reconnect(self.stream.create_consumer(ephemeral(filters.clone(), policy))).await;
            let mut consumer = match consumer {
                Some(Ok(consumer)) => consumer,
                Some(Err(e)) => return Err(Error::Broker { doing: "create a consumer", source: e.into() }),
                None => continue,
            };
            let read = self.until_reconnect(drain(&mut consumer, through, limit)).await;
            // Not left to the inactive threshold: a stream takes 1,000 consumers by default
            // (nats-server 2.15).
            let _ = self.until_reconnect(self.stream.delete_consumer(&consumer.cached_info().name)).await;
            match read {
                Some(Ok(entries)) => return Ok(entries),
                Some(Err(e)) => problem = e,
                None => {}
            }
        }
        Err(Error::Broker { doing: "read entries", source: problem })
    }

    /// Everything on these subjects from `from` on, without end. Broken connections are mended; no
    /// entry is skipped or repeated.
    pub fn tail(&self, filters: Vec<String>, from: Seq) -> impl FuturesStream<Item = Entry> + Send + use<> {
        let everywhere = filters.len() > 1 && filters.iter().all(|filter| filter.starts_with("conv.*."));
        let (asked, wanted) =
            if everywhere { (vec!["conv.>".to_owned()], filters) } else { (filters, Vec::new()) };
        let tail = Tail { log: self.clone(), asked, wanted, next: from.max(1), open: None };
        futures::stream::unfold(tail, |mut tail| async move {
            let entry = tail.next().await;
            Some((entry, tail))
        })
    }

    /// A private consumer and its messages. Heartbeats every second: two missed end it.
    pub(crate) async fn follow(
        &self,
        filters: Vec<String>,
        policy: DeliverPolicy,
    ) -> Result<pull::Stream, Error> {
        let doing = "create a consumer";
        let opened = self.until_reconnect(async {
            let consumer = self
                .stream
                .create_consumer(ephemeral(filters, policy))
                .await
                .map_err(|e| Error::Broker { doing, source: e.into() })?;
            consumer
                .stream()
                .max_messages_per_batch(128)
                .expires(Duration::from_secs(20))
                .heartbeat(Duration::from_secs(1))
                .messages()
                .await
                .map_err(|e| Error::Broker { doing: "read entries", source: e.into() })
        });
        opened.await.unwrap_or_else(|| Err(Error::Broker { doing, source: "the connection broke".into() }))
    }

    /// The newest entry on a subject, wildcards allowed: the stored one, else the next that comes by
    /// `deadline`.
    pub async fn found_or_heard(&self, subject: &str, deadline: Instant) -> Result<Option<Bytes>, Error> {
        // Subscribed before looking, so that none falls in between.
        let mut news = self.subscribe(subject).await?;
        if let Some(entry) = self.last(subject).await? {
            return Ok(Some(entry.payload));
        }
        let heard = async {
            match news.next().await {
                Some(message) => message.payload,
                // Deaf: the look at the deadline finds what was stored meanwhile.
                None => std::future::pending().await,
            }
        };
        match tokio::time::timeout_at(deadline, heard).await {
            Ok(payload) => Ok(Some(payload)),
            Err(_) => Ok(self.last(subject).await?.map(|entry| entry.payload)),
        }
    }

    /// What is published on a subject from now on, stored or not yet. For waiting: look the stored
    /// ones up after subscribing, so that none falls in between.
    pub async fn subscribe(&self, subject: &str) -> Result<async_nats::Subscriber, Error> {
        let doing = "subscribe";
        let subscriber = self
            .client
            .subscribe(subject.to_owned())
            .await
            .map_err(|e| Error::Broker { doing, source: e.into() })?;
        // The server must know of it before the look-up.
        self.client.flush().await.map_err(|e| Error::Broker { doing, source: e.into() })?;
        Ok(subscriber)
    }
}

pub(crate) fn none_is_fine(
    answer: Result<StreamMessage, LastRawMessageError>,
) -> Result<Option<StreamMessage>, LastRawMessageError> {
    match answer {
        Ok(message) => Ok(Some(message)),
        Err(e) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Everything that the consumer has, up to the limits. The consumer counts what it delivers, so
/// that nothing lost on the way goes unnoticed.
async fn drain(
    consumer: &mut Consumer<pull::Config>,
    through: Seq,
    limit: usize,
) -> Result<Vec<Entry>, Box<dyn std::error::Error + Send + Sync>> {
    let mut entries = Vec::new();
    let mut expected = 1;
    let mut pending = consumer.cached_info().num_pending;
    while pending > 0 && entries.len() < limit {
        let batch = usize::try_from(pending).unwrap_or(usize::MAX).min(500).min(limit - entries.len());
        let fetch = consumer.fetch().max_messages(batch).expires(Duration::from_secs(2));
        let mut messages = fetch.messages().await?;
        while let Some(message) = messages.next().await {
            let Some((entry, count, _)) = Entry::delivered(&message?) else {
                return Err("not an entry".into());
            };
            if count != expected {
                return Err("entries were lost on the way".into());
            }
            expected += 1;
            if entry.seq > through {
                return Ok(entries);
            }
            entries.push(entry);
        }
        let info = consumer.info().await?;
        pending = info.num_pending;
        if info.delivered.consumer_sequence >= expected {
            return Err("entries were lost on the way".into());
        }
    }
    Ok(entries)
}

struct Tail {
    log: Log,
    /// What the broker is asked for. Several filters over all conversations cost it more with every message
    /// that the reader is behind (2.15 compares them with each subject of a block, for each message), until
    /// it never catches up: then everything, and we choose.
    asked: Vec<String>,
    /// What is handed out of it; empty: all.
    wanted: Vec<String>,
    next: Seq,
    /// And the count that the next message must have.
    open: Option<(pull::Stream, u64)>,
}

impl Tail {
    async fn next(&mut self) -> Entry {
        loop {
            if self.open.is_none() {
                let policy = DeliverPolicy::ByStartSequence { start_sequence: self.next };
                self.open =
                    self.log.follow(self.asked.clone(), policy).await.ok().map(|messages| (messages, 1));
            }
            if let Some((messages, expected)) = &mut self.open {
                let message = self.log.until_reconnect(messages.next()).await.flatten();
                let delivered = message.and_then(|message| Entry::delivered(&message.ok()?));
                if let Some((entry, count, _)) = delivered
                    && count == *expected
                {
                    *expected += 1;
                    self.next = entry.seq + 1;
                    if self.wants(&entry.subject) {
                        return entry;
                    }
                    continue;
                }
            }
            // An error, a gap or a new connection: again from where we are.
            self.open = None;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(50..200))).await;
        }
    }

    fn wants(&self, subject: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|filter| matches(filter, subject))
    }
}

/// As the broker would say it.
fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (_, token) if token == Some(wanted) => {}
            (_, _) => return false,
        }
    }
    tokens.next().is_none()
}

pub(crate) fn ephemeral(filter_subjects: Vec<String>, deliver_policy: DeliverPolicy) -> pull::Config {
    pull::Config {
        deliver_policy,
        ack_policy: AckPolicy::None,
        filter_subjects,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: Duration::from_secs(10),
        ..pull::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn subjects_match_as_at_the_broker() {
        for (filter, subject, does) in [
            ("conv.*.*.dec", "conv.5.abc.dec", true),
            ("conv.*.*.dec", "conv.5.abc.wa", false),
            ("conv.*.*.dec", "conv.5.abc.dec.1", false),
            ("conv.*.*.snd.>", "conv.5.abc.snd.1.i", true),
            ("conv.*.*.snd.>", "conv.5.abc.snd", false),
            ("conv.*.*.wa.*", "conv.5.abc.wa.1", true),
            ("conv.*.*.wa.*", "conv.5.abc.wa", false),
        ] {
            assert_eq!(matches(filter, subject), does, "{filter} {subject}");
        }
    }
}
