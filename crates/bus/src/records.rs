//! Small entries, each replaced as a whole by compare-and-swap: campaigns, and what their runner keeps
//! of them. A KV bucket (`BATON_CAMPAIGNS`); what is large lies in the object store beside it
//! (`BATON_AUDIENCES`).

use std::time::Duration;

use async_nats::{
    HeaderMap, Subscriber, header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, jetstream::stream::Stream,
};
use bytes::Bytes;
use domain::Seq;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;

use crate::{
    Error, Log, MediaStore, Replaced, Revision,
    log::Published,
    streams::{CAMPAIGNS, LOG, REQUESTS, bucket_name, ensure_records},
};

const STORED_WITHIN: Duration = Duration::from_secs(15);
/// Keys that are read side by side.
const AT_ONCE: usize = 16;
const AUDIENCES: &str = "BATON_AUDIENCES";
/// Lists of recipients are personal data: none is kept for longer.
const AUDIENCES_KEPT: Duration = Duration::from_secs(180 * 24 * 3600);

/// The entries. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    log: Log,
    stream: Stream<()>,
    bucket: &'static str,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Records").field(&self.bucket).finish()
    }
}

impl Log {
    /// The campaigns' bucket. Made when it is first opened, where the broker lets us; else waited for.
    ///
    /// # Errors
    /// When it is not there in time, or not safe.
    pub async fn campaigns(&self) -> Result<Records, Error> {
        ensure_records(&self.context, CAMPAIGNS, self.replicas, self.patience).await?;
        let stream = self
            .context
            .get_stream_no_info(bucket_name(CAMPAIGNS))
            .await
            .map_err(|e| Error::Broker { doing: "open the campaigns' bucket", source: e.into() })?;
        Ok(Records { log: self.clone(), stream, bucket: CAMPAIGNS })
    }

    /// What was asked for under idempotency keys: each is forgotten after a day.
    pub async fn requests(&self) -> Result<Records, Error> {
        let stream = self
            .context
            .get_stream_no_info(bucket_name(REQUESTS))
            .await
            .map_err(|e| Error::Broker { doing: "open the requests' bucket", source: e.into() })?;
        Ok(Records { log: self.clone(), stream, bucket: REQUESTS })
    }

    /// Whom campaigns go to: kept for 180 days. Made when it is first opened.
    pub async fn audiences(&self) -> Result<MediaStore, Error> {
        let what = "Recipients of campaigns, and what became of them";
        crate::media::open_bucket(&self.context, AUDIENCES, what, AUDIENCES_KEPT, self.replicas).await
    }

    /// The position of the newest entry, 0 when there is none.
    pub async fn newest(&self) -> Result<Seq, Error> {
        let doing = "look at the log's end";
        let stream = self.context.get_stream(LOG).await;
        let stream = stream.map_err(|e| Error::Broker { doing, source: e.into() })?;
        Ok(stream.cached_info().state.last_sequence)
    }
}

impl Records {
    /// The newest revision, as the stream's leader knows it. Its payload is empty when it was deleted.
    pub async fn get(&self, key: &str) -> Result<Option<Revision>, Error> {
        Ok(self.log.last_in(&self.stream, &self.subject(key)).await?.map(Revision::of))
    }

    /// The keys under `prefix` (whole tokens, for example `c`), deleted ones included.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("list the campaigns")(e);
        let start = self.subject("");
        let filter = format!("{start}{prefix}.>");
        let mut subjects = self.stream.info_with_subjects(filter).await.map_err(|e| broken(e.into()))?;
        let mut keys = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(|e| broken(e.into()))?;
            keys.extend(subject.strip_prefix(&start).map(str::to_owned));
        }
        Ok(keys)
    }

    /// Everything under `prefix` that is not deleted, in no order.
    pub async fn all(&self, prefix: &str) -> Result<Vec<(String, Revision)>, Error> {
        let keys = self.keys(prefix).await?;
        let read = stream::iter(keys).map(|key| async move {
            let revision = self.get(&key).await?;
            Ok::<_, Error>(revision.map(|revision| (key, revision)))
        });
        let found: Vec<_> = read.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().filter(|(_, revision)| !revision.payload.is_empty()).collect())
    }

    /// Replaces the newest one, if that is still `expected` (0: there is none). Tries for 15 s.
    ///
    /// # Errors
    /// [`Error::Deadline`]: it may be stored all the same; [`Error::Refused`]: it is too large.
    pub async fn replace(&self, key: &str, expected: Seq, payload: Bytes) -> Result<Replaced, Error> {
        let headers = || {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
            headers
        };
        let subject = self.subject(key);
        match self.log.publish(&subject, payload.clone(), headers, Some(STORED_WITHIN)).await? {
            Published::Stored(seq) => Ok(Replaced::Stored(seq)),
            // It may be ours: an ack can be lost.
            Published::WrongLast(_) => Ok(match self.get(key).await? {
                Some(last) if last.payload == payload => Replaced::Stored(last.revision),
                last => Replaced::Changed { by_now: last.map_or(0, |last| last.revision) },
            }),
        }
    }

    /// Tells when something changes under `prefix`.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn news(&self, prefix: &str) -> Result<News, Error> {
        let announced = self.log.subscribe(&format!("{}{prefix}.>", self.subject(""))).await?;
        Ok(News { announced: Some(announced) })
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.bucket)
    }
}

/// When to look again. Announcements come before the entry is stored, and may be lost.
#[derive(Debug)]
pub struct News {
    announced: Option<Subscriber>,
}

impl News {
    /// Waits for an announcement, however long: for those who look now and then anyway.
    pub async fn next(&mut self) {
        if let Some(announced) = &mut self.announced {
            if announced.next().await.is_some() {
                return;
            }
            self.announced = None;
        }
        std::future::pending().await
    }

    /// Waits for an announcement, for at most `longest`.
    pub async fn wait(&mut self, longest: Duration) {
        let announced = async {
            match &mut self.announced {
                Some(announced) => announced.next().await,
                None => std::future::pending().await,
            }
        };
        if let Ok(None) = timeout(longest, announced).await {
            // Deaf from now on: looking now and then does as well.
            self.announced = None;
        }
    }
}
