//! Appending.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client, HeaderMap,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_SCHEDULE, NATS_SCHEDULE_TARGET},
    jetstream::{self, ErrorCode, context::PublishErrorKind, message::PublishMessage, stream::Stream},
};
use bytes::Bytes;
use domain::{ConversationKey, Millis, Seq};
use proto::subjects::{self, Kind};
use tokio::{sync::watch, time::Instant};

use crate::{
    Config, Error, Reader, ReaderOptions,
    config::Connection,
    entry::trace_headers,
    streams::{CHECKPOINTS, HISTORY, LOG, MEMBERSHIP, PARKED},
};

/// The subject that the expected sequence is about, where it is not the message's own.
const EXPECTED_SEQUENCE_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

const FIRST_PAUSE_MS: u64 = 20;
const LONGEST_PAUSE_MS: u64 = 500;
/// People are told when an append takes longer.
const WORRY: Duration = Duration::from_secs(5);

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
    pub(crate) history: Stream<()>,
    pub(crate) parked: Stream<()>,
    pub(crate) membership: jetstream::kv::Store,
    pub(crate) checkpoints: jetstream::kv::Store,
    pub(crate) generation: watch::Receiver<u64>,
    media_keep: Duration,
    pub(crate) replicas: usize,
    /// At start-up.
    pub(crate) patience: Duration,
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
            history: stream(HISTORY).await?,
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
            media_keep: config.media_keep,
            replicas: config.nats_replicas,
            patience: config.nats_patience,
        })
    }

    /// False in control runs: every process owns every partition.
    pub(crate) fn has_leases(&self) -> bool {
        self.safeguards.lease
    }

    /// Files that people sent. Made when it is first opened.
    pub async fn media(&self) -> Result<crate::MediaStore, Error> {
        crate::media::open(&self.context, self.media_keep, self.replicas).await
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
        let headers = || self.once(trace_headers());
        Ok(self.publish(subject, payload, headers, deadline).await?.appended())
    }

    /// Adds what makes the broker refuse a second message on the subject.
    pub(crate) fn once(&self, mut headers: HeaderMap) -> HeaderMap {
        if self.safeguards.append_once {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        }
        headers
    }

    /// Appends a decision behind the one at `expected` (0: the first of its conversation).
    pub async fn append_decision(
        &self,
        key: &ConversationKey,
        expected: Seq,
        payload: Bytes,
    ) -> Result<Chained, Error> {
        let headers = || {
            let mut headers = trace_headers();
            if self.safeguards.decision_chain {
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
            }
            headers
        };
        match self.publish(&subjects::decision(key), payload, headers, None).await? {
            Published::Stored(seq) => Ok(Chained::Appended(seq)),
            Published::WrongLast(_) => Ok(Chained::Moved),
        }
    }

    /// Has the broker publish `payload` as the fact of kind `tm` with id `timer` at `at`. Setting
    /// the same timer again replaces it; once it has fired, setting it again does nothing. A time
    /// in the past fires at once.
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
        let fires_as = subjects::fact(key, Kind::Timer, timer);
        let headers = || {
            let mut headers = trace_headers();
            headers.insert(NATS_SCHEDULE, format!("@at {time}").as_str());
            headers.insert(NATS_SCHEDULE_TARGET, fires_as.as_str());
            // A timer is a fact, so it happens once: whoever performs a decision again sets no
            // timer that has fired.
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
            headers.insert(EXPECTED_SEQUENCE_SUBJECT, fires_as.as_str());
            headers
        };
        self.publish(&subjects::timer(key, timer), payload, headers, None).await.map(|_| ())
    }

    /// `headers` are made anew for each try: most need one only.
    pub(crate) async fn publish(
        &self,
        subject: &str,
        payload: Bytes,
        headers: impl Fn() -> HeaderMap,
        deadline: Option<Duration>,
    ) -> Result<Published, Error> {
        let published = self.publish_until_stored(subject, payload, headers);
        match deadline {
            // A timer per message costs more than one per body, which callers may have already.
            None => published.await,
            Some(left) => tokio::time::timeout(left, published).await.unwrap_or(Err(Error::Deadline)),
        }
    }

    async fn publish_until_stored(
        &self,
        subject: &str,
        payload: Bytes,
        headers: impl Fn() -> HeaderMap,
    ) -> Result<Published, Error> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE_MS;
        let mut warned = false;
        loop {
            let message = PublishMessage::build().payload(payload.clone()).headers(headers());
            let attempt = self.until_reconnect(async {
                self.context.send_publish(subject.to_owned(), message).await?.await
            });
            match attempt.await {
                Some(Ok(ack)) => return Ok(Published::Stored(ack.sequence)),
                Some(Err(error)) => match verdict(error.kind(), std::error::Error::source(&error)) {
                    Verdict::WrongLast(seq) => return Ok(Published::WrongLast(seq)),
                    Verdict::Refused(why) => return Err(Error::Refused(why)),
                    Verdict::Again => {
                        tracing::debug!(error = %error, "append again");
                        if !warned && started.elapsed() > WORRY {
                            warned = true;
                            tracing::warn!(error = %error, "the log has not stored an entry for {WORRY:?}, trying on");
                        }
                    }
                },
                // Its answer was lost with the connection: ask again at once.
                None => {
                    pause = FIRST_PAUSE_MS;
                    continue;
                }
            }
            // Decorrelated jitter: many lanes must not come back in step.
            pause = fastrand::u64(FIRST_PAUSE_MS..=(pause * 3).min(LONGEST_PAUSE_MS));
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Waits for an answer, but not beyond a reconnect: what was asked on the old connection is
    /// never answered, and waiting for the time-out would be the longest part of most recoveries.
    /// While there is no connection nothing is asked at all: the client would keep it and ask,
    /// long after we gave up. None: in doubt, ask again.
    pub(crate) async fn until_reconnect<T>(&self, ask: impl Future<Output = T>) -> Option<T> {
        let mut generation = self.generation.clone();
        generation.mark_unchanged();
        if !self.is_connected() {
            // Bounded, in case the event is lost.
            let _ = tokio::time::timeout(Duration::from_secs(1), generation.changed()).await;
        }
        generation.mark_unchanged();
        tokio::select! {
            biased;
            answer = ask => Some(answer),
            _ = generation.changed() => None,
        }
    }

    /// Reads the partitions that fall to this process, as the service `service`.
    pub fn reader(&self, service: &'static str, kinds: &'static [Kind], options: ReaderOptions) -> Reader {
        Reader::new(self.clone(), service, kinds, options)
    }
}

pub(crate) enum Published {
    Stored(Seq),
    WrongLast(Seq),
}

impl Published {
    /// Of a message that may be on its subject once.
    pub(crate) fn appended(self) -> Appended {
        match self {
            Self::Stored(seq) => Appended { seq, existed: false },
            Self::WrongLast(seq) => Appended { seq, existed: true },
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Stored, at this position: error 10071 is given for a committed message only.
    WrongLast(Seq),
    Refused(String),
    Again,
}

/// Errors that no repetition mends: the message itself is at fault.
const FINAL: [ErrorCode; 6] = [
    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
    ErrorCode::MESSAGE_SCHEDULES_DISABLED,
    ErrorCode::MESSAGE_SCHEDULES_PATTERN_INVALID,
    ErrorCode::MESSAGE_SCHEDULES_TARGET_INVALID,
    ErrorCode::MESSAGE_SCHEDULES_TTL_INVALID,
    ErrorCode::MESSAGE_SCHEDULES_ROLLUP_INVALID,
];

pub(crate) fn verdict(kind: PublishErrorKind, source: Option<&(dyn std::error::Error + 'static)>) -> Verdict {
    match kind {
        PublishErrorKind::WrongLastSequence => {
            Verdict::WrongLast(wrong_last(&source.map(ToString::to_string).unwrap_or_default()))
        }
        PublishErrorKind::MaxPayloadExceeded => Verdict::Refused("it is too large".into()),
        PublishErrorKind::Other => {
            let answer = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
            match answer {
                Some(answer) if FINAL.contains(&answer.error_code()) => Verdict::Refused(answer.to_string()),
                Some(_) | None => Verdict::Again,
            }
        }
        // `StreamNotFound` is what the client makes of "no responders": an election, a restart.
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => Verdict::Again,
    }
}

/// The position in "wrong last sequence: 17".
fn wrong_last(text: &str) -> Seq {
    text.split("sequence: ").nth(1).map_or(0, |rest| {
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_10071_means_stored_and_only_a_bad_message_is_refused() {
        let answer = |code: u64, kind: PublishErrorKind, text: &str| {
            let json = serde_json::json!({"code": 400, "err_code": code, "description": text});
            let error: jetstream::Error = serde_json::from_value(json).unwrap();
            verdict(kind, Some(&error))
        };
        let stored = answer(10071, PublishErrorKind::WrongLastSequence, "wrong last sequence: 17");
        assert_eq!(stored, Verdict::WrongLast(17));
        for (code, text) in [
            (10164, "wrong last sequence"),
            (10158, "duplicate message id is in process"),
            (10077, "maximum messages per subject exceeded"),
            (10008, "JetStream system temporarily unavailable"),
            (10023, "insufficient resources"),
        ] {
            assert_eq!(answer(code, PublishErrorKind::Other, text), Verdict::Again, "{code}");
        }
        for code in [10054, 10189, 10190] {
            assert!(matches!(answer(code, PublishErrorKind::Other, "no"), Verdict::Refused(_)), "{code}");
        }
        assert_eq!(verdict(PublishErrorKind::StreamNotFound, None), Verdict::Again);
        assert_eq!(verdict(PublishErrorKind::TimedOut, None), Verdict::Again);
        assert_eq!(wrong_last("something else"), 0);
    }
}
