//! Appending and reading.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client, HeaderMap,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_SCHEDULE, NATS_SCHEDULE_TARGET},
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, pull},
        context::PublishErrorKind,
        message::PublishMessage,
        stream::Stream,
    },
};
use bytes::Bytes;
use domain::{ConversationKey, Millis, Partition, Seq};
use futures::{Stream as FuturesStream, StreamExt as _};
use proto::subjects::{self, Kind};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{
    Config, Entry, Error, Reader, ReaderOptions,
    config::Connection,
    entry::trace_headers,
    streams::{CHECKPOINTS, LOG, MEMBERSHIP, PARKED},
};

/// A fact is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub seq: Seq,
    /// It was there before: somebody else, or we, before an answer was lost.
    pub existed: bool,
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chained {
    Appended(Seq),
    /// The chain's head is another one than expected. Read it: if it answers the same fact it is
    /// as good as ours (it may be ours: an ack can be lost), otherwise our state was old.
    Moved,
}

/// The log, and what readers keep beside it. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    pub(crate) client: Client,
    pub(crate) context: jetstream::Context,
    pub(crate) stream: Stream<()>,
    pub(crate) parked: Stream<()>,
    pub(crate) membership: jetstream::kv::Store,
    pub(crate) checkpoints: jetstream::kv::Store,
    pub(crate) generation: watch::Receiver<u64>,
    safeguards: Arc<Safeguards>,
}

struct Safeguards {
    append_once: bool,
    decision_chain: bool,
    lease: bool,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    pub(crate) async fn new(connection: Connection, config: &Config) -> Result<Self, Error> {
        let Connection { client, context, generation } = connection;
        let stream = |name: &'static str| {
            let context = context.clone();
            async move {
                context
                    .get_stream_no_info(name)
                    .await
                    .map_err(|e| Error::Broker { doing: "open a stream", source: e.into() })
            }
        };
        let bucket = |name: &'static str| {
            let context = context.clone();
            async move {
                context
                    .get_key_value(name)
                    .await
                    .map_err(|e| Error::Broker { doing: "open a bucket", source: e.into() })
            }
        };
        Ok(Self {
            stream: stream(LOG).await?,
            parked: stream(PARKED).await?,
            membership: bucket(MEMBERSHIP).await?,
            checkpoints: bucket(CHECKPOINTS).await?,
            safeguards: Arc::new(Safeguards {
                append_once: !config.disabled("append-once"),
                decision_chain: !config.disabled("decision-chain"),
                lease: !config.disabled("lease"),
            }),
            client,
            context,
            generation,
        })
    }

    /// False in control runs: every process owns every partition.
    pub(crate) fn has_leases(&self) -> bool {
        self.safeguards.lease
    }

    /// Whether the broker can be reached right now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// The largest payload that the broker takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// Appends a fact under a subject that is its identity, once: repeating it stores nothing.
    ///
    /// Tries until it is stored, or until the deadline. Success is an ack or error 10071 ("wrong
    /// last sequence": the subject has its message). Everything else means *again*: time-outs,
    /// elections, and the three codes by which a replicated stream rejects because of a first copy
    /// that is not committed yet (10164, 10158, 10077).
    pub async fn append_fact(
        &self,
        subject: &str,
        payload: Bytes,
        deadline: Option<Duration>,
    ) -> Result<Appended, Error> {
        let mut headers = trace_headers();
        if self.safeguards.append_once {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        }
        match self.publish(subject, payload, headers, deadline).await? {
            Published::Stored(seq) => Ok(Appended { seq, existed: false }),
            Published::WrongLast(seq) => Ok(Appended { seq, existed: true }),
        }
    }

    /// Appends a decision behind the one at `expected` (0: the first of its conversation).
    pub async fn append_decision(
        &self,
        key: &ConversationKey,
        expected: Seq,
        payload: Bytes,
    ) -> Result<Chained, Error> {
        let mut headers = trace_headers();
        if self.safeguards.decision_chain {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
        }
        match self.publish(&subjects::decision(key), payload, headers, None).await? {
            Published::Stored(seq) => Ok(Chained::Appended(seq)),
            Published::WrongLast(_) => Ok(Chained::Moved),
        }
    }

    /// Has the broker publish `payload` as the fact of kind `tm` with id `timer` at `at`. Setting
    /// the same timer again replaces it. A time in the past fires at once.
    pub async fn schedule(
        &self,
        key: &ConversationKey,
        timer: &str,
        at: Millis,
        payload: Bytes,
    ) -> Result<(), Error> {
        let time = jiff::Timestamp::from_millisecond(at)
            .map_err(|_| Error::Refused("a timer outside of time".into()))?
            .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
            .to_string();
        let mut headers = trace_headers();
        headers.insert(NATS_SCHEDULE, format!("@at {time}").as_str());
        headers.insert(NATS_SCHEDULE_TARGET, subjects::fact(key, Kind::Timer, timer).as_str());
        self.publish(&subjects::timer(key, timer), payload, headers, None).await.map(|_| ())
    }

    async fn publish(
        &self,
        subject: &str,
        payload: Bytes,
        headers: HeaderMap,
        deadline: Option<Duration>,
    ) -> Result<Published, Error> {
        let deadline = Instant::now() + deadline.unwrap_or(Duration::from_secs(365 * 24 * 3600));
        let mut pause = Duration::from_millis(20);
        loop {
            let message = PublishMessage::build().payload(payload.clone()).headers(headers.clone());
            let attempt = async { self.context.send_publish(subject.to_owned(), message).await?.await };
            let error = match timeout_at(deadline, attempt).await {
                Err(_) => return Err(Error::Deadline),
                Ok(Ok(ack)) => return Ok(Published::Stored(ack.sequence)),
                Ok(Err(error)) => error,
            };
            match error.kind() {
                PublishErrorKind::WrongLastSequence => {
                    let source =
                        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    return Ok(Published::WrongLast(wrong_last(&source)));
                }
                PublishErrorKind::MaxPayloadExceeded => return Err(Error::Refused("it is too large".into())),
                PublishErrorKind::StreamNotFound
                | PublishErrorKind::WrongLastMessageId
                | PublishErrorKind::TimedOut
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::MaxAckPending
                | PublishErrorKind::Other => {}
            }
            // Decorrelated jitter: many lanes must not come back in step.
            pause = Duration::from_millis(fastrand::u64(
                20..=u64::try_from(pause.as_millis()).unwrap_or(20).saturating_mul(3).clamp(21, 1000),
            ));
            tracing::debug!(error = %error, "append again");
            if timeout_at(deadline, tokio::time::sleep(pause)).await.is_err() {
                return Err(Error::Deadline);
            }
        }
    }

    /// The newest decision of a conversation.
    pub async fn head(&self, key: &ConversationKey) -> Result<Option<Entry>, Error> {
        self.last(&subjects::decision(key)).await
    }

    /// The newest entry on a subject, wildcards allowed. Answered by the stream's leader: a
    /// follower's answer may be old.
    pub async fn last(&self, subject: &str) -> Result<Option<Entry>, Error> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound;
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(Entry::stored(message))),
            Err(e) if e.kind() == NoMessageFound => Ok(None),
            Err(e) => Err(Error::Broker { doing: "read the last entry of a subject", source: e.into() }),
        }
    }

    /// The entry at a position; none when it is gone.
    pub async fn get(&self, seq: Seq) -> Result<Option<Entry>, Error> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound;
        match self.stream.get_raw_message(seq).await {
            Ok(message) => Ok(Some(Entry::stored(message))),
            Err(e) if e.kind() == NoMessageFound => Ok(None),
            Err(e) => Err(Error::Broker { doing: "read an entry", source: e.into() }),
        }
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

    /// The newest decision of every conversation of a partition.
    pub async fn heads(&self, partition: Partition) -> Result<Vec<Entry>, Error> {
        let filters = vec![subjects::filter(partition, Kind::Decision)];
        self.collect(filters, DeliverPolicy::LastPerSubject, Seq::MAX, usize::MAX).await
    }

    async fn collect(
        &self,
        filters: Vec<String>,
        deliver_policy: DeliverPolicy,
        through: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let broken =
            |doing: &'static str| move |e: Box<dyn std::error::Error + Send + Sync>| Error::broker(doing)(e);
        let mut consumer = self
            .stream
            .create_consumer(ephemeral(filters, deliver_policy))
            .await
            .map_err(|e| broken("create a consumer")(e.into()))?;
        let mut entries = Vec::new();
        loop {
            let pending = consumer.info().await.map_err(|e| broken("ask a consumer")(e.into()))?.num_pending;
            if pending == 0 || entries.len() >= limit {
                return Ok(entries);
            }
            let batch = usize::try_from(pending).unwrap_or(usize::MAX).min(500);
            let mut messages = consumer
                .fetch()
                .max_messages(batch)
                .expires(Duration::from_secs(2))
                .messages()
                .await
                .map_err(|e| broken("read entries")(e.into()))?;
            while let Some(message) = messages.next().await {
                let message = message.map_err(broken("read entries"))?;
                let Some((entry, _)) = Entry::delivered(&message) else { continue };
                if entry.seq > through || entries.len() >= limit {
                    return Ok(entries);
                }
                entries.push(entry);
            }
        }
    }

    /// Everything on these subjects from `from` on, without end. Broken connections are mended; no
    /// entry is skipped or repeated.
    pub fn tail(&self, filters: Vec<String>, from: Seq) -> impl FuturesStream<Item = Entry> + Send + use<> {
        let log = self.clone();
        futures::stream::unfold(
            (log, filters, from.max(1), None),
            |(log, filters, mut next, mut open)| async move {
                loop {
                    let messages = match &mut open {
                        Some(messages) => messages,
                        None => {
                            let policy = DeliverPolicy::ByStartSequence { start_sequence: next };
                            match log.follow(filters.clone(), policy).await {
                                Ok(messages) => open.insert(messages),
                                Err(_) => {
                                    tokio::time::sleep(Duration::from_millis(200)).await;
                                    continue;
                                }
                            }
                        }
                    };
                    match messages.next().await {
                        Some(Ok(message)) => {
                            let Some((entry, _)) = Entry::delivered(&message) else { continue };
                            next = entry.seq + 1;
                            return Some((entry, (log, filters, next, open)));
                        }
                        Some(Err(_)) | None => open = None,
                    }
                }
            },
        )
    }

    /// A private consumer and its messages. Heartbeats every second: two missed end it.
    pub(crate) async fn follow(
        &self,
        filters: Vec<String>,
        policy: DeliverPolicy,
    ) -> Result<pull::Stream, Error> {
        let consumer = self
            .stream
            .create_consumer(ephemeral(filters, policy))
            .await
            .map_err(|e| Error::Broker { doing: "create a consumer", source: e.into() })?;
        consumer
            .stream()
            .max_messages_per_batch(256)
            .expires(Duration::from_secs(20))
            .heartbeat(Duration::from_secs(1))
            .messages()
            .await
            .map_err(|e| Error::Broker { doing: "read entries", source: e.into() })
    }

    /// What is published on a subject from now on, stored or not yet. For waiting: look the stored
    /// ones up after subscribing, so that none falls in between.
    pub async fn subscribe(&self, subject: &str) -> Result<async_nats::Subscriber, Error> {
        let subscriber = self
            .client
            .subscribe(subject.to_owned())
            .await
            .map_err(|e| Error::Broker { doing: "subscribe", source: e.into() })?;
        // The server must know of it before the look-up.
        self.client.flush().await.map_err(|e| Error::Broker { doing: "subscribe", source: e.into() })?;
        Ok(subscriber)
    }

    /// Reads the partitions that fall to this process, as the service `service`.
    pub fn reader(&self, service: &'static str, kinds: &'static [Kind], options: ReaderOptions) -> Reader {
        Reader::new(self.clone(), service, kinds, options)
    }
}

enum Published {
    Stored(Seq),
    WrongLast(Seq),
}

/// The position in "wrong last sequence: 17".
fn wrong_last(text: &str) -> Seq {
    text.split("sequence: ").nth(1).map_or(0, |rest| {
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    })
}

fn ephemeral(filter_subjects: Vec<String>, deliver_policy: DeliverPolicy) -> pull::Config {
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
    use super::*;

    #[test]
    fn the_position_is_read_out_of_error_10071() {
        assert_eq!(wrong_last("wrong last sequence: 17 (code 400, error code 10071)"), 17);
        assert_eq!(wrong_last("something else"), 0);
    }
}
