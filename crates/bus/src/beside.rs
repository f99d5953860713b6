//! What is kept beside the log: parked entries and dead letters.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
    jetstream::{context::PublishErrorKind, message::PublishMessage},
};
use bytes::Bytes;
use domain::{ConversationKey, Partition, Seq};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::{Entry, Error, Log};

/// Where a service keeps what it could not handle: `park.<service>.<partition>.<key>.<seq>`.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    log: Log,
    service: String,
    partition: Partition,
    /// Ends every endless try.
    lost: CancellationToken,
}

/// The lease is lost: nothing more can be kept.
#[derive(Debug)]
pub(crate) struct Lost;

impl Beside {
    pub(crate) fn new(log: Log, service: &str, partition: Partition, lost: CancellationToken) -> Self {
        Self { log, service: service.to_owned(), partition, lost }
    }

    fn subject(&self, stream: &str, key: &ConversationKey, seq: Seq) -> String {
        format!("{stream}.{}.{}.{key}.{seq}", self.service, self.partition)
    }

    /// Remembers that the entry at `seq` waits: the entry itself stays in the log.
    pub(crate) async fn park(&self, key: &ConversationKey, seq: Seq) -> Result<(), Lost> {
        self.keep(self.subject("park", key, seq), Bytes::new(), HeaderMap::new()).await
    }

    /// Done with a parked entry. Until it is off the list, the lane does not go on: after a
    /// take-over it would be worked on again, behind later ones.
    pub(crate) async fn unpark(&self, key: &ConversationKey, seq: Seq) -> Result<(), Lost> {
        let subject = self.subject("park", key, seq);
        loop {
            match self.log.until_reconnect(async { self.log.parked.purge().filter(&subject).await }).await {
                Some(Ok(_)) => return Ok(()),
                Some(Err(_)) | None => self.pause().await?,
            }
        }
    }

    /// What is parked, oldest first.
    pub(crate) async fn parked(&self) -> Result<Vec<(ConversationKey, Seq)>, Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("read parked entries")(e);
        let filter = format!("park.{}.{}.>", self.service, self.partition);
        let mut subjects = self.log.parked.info_with_subjects(filter).await.map_err(|e| broken(e.into()))?;
        let mut parked = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(|e| broken(e.into()))?;
            let mut tokens = subject.rsplit('.');
            let seq = tokens.next().and_then(|token| token.parse().ok());
            let key = tokens.next().and_then(|token| token.parse().ok());
            parked.extend(key.zip(seq));
        }
        parked.sort_by_key(|(_, seq): &(ConversationKey, Seq)| *seq);
        Ok(parked)
    }

    /// Keeps an entry that cannot be handled, for people to look at.
    pub(crate) async fn bury(&self, key: &ConversationKey, entry: &Entry, reason: &str) -> Result<(), Lost> {
        let mut headers = HeaderMap::new();
        let reason: String =
            reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect();
        headers.insert("Baton-Reason", reason.as_str());
        headers.insert("Baton-Subject", entry.subject.as_str());
        self.keep(self.subject("dlq", key, entry.seq), entry.payload.clone(), headers).await
    }

    async fn keep(&self, subject: String, mut payload: Bytes, mut headers: HeaderMap) -> Result<(), Lost> {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        loop {
            let message = PublishMessage::build().payload(payload.clone()).headers(headers.clone());
            let attempt = async { self.log.context.send_publish(subject.clone(), message).await?.await };
            match self.log.until_reconnect(attempt).await {
                Some(Ok(_)) => return Ok(()),
                Some(Err(e)) if e.kind() == PublishErrorKind::WrongLastSequence => return Ok(()),
                // Our headers made it too large. The subject says where in the log it stands.
                Some(Err(e)) if e.kind() == PublishErrorKind::MaxPayloadExceeded => payload = Bytes::new(),
                Some(Err(_)) | None => self.pause().await?,
            }
        }
    }

    async fn pause(&self) -> Result<(), Lost> {
        let pause = tokio::time::sleep(Duration::from_millis(fastrand::u64(50..300)));
        self.lost.run_until_cancelled(pause).await.ok_or(Lost)
    }
}
