//! One entry that is replaced as a whole and keeps its past: the configuration. A KV bucket
//! (`BATON_SETTINGS`, key `document`), written by compare-and-swap.

use std::time::Duration;

use async_nats::{
    HeaderMap, Subscriber,
    header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
    jetstream::{message::StreamMessage, stream::Stream},
};
use bytes::Bytes;
use domain::{Millis, Seq};
use futures::{
    StreamExt as _,
    future::{join_all, pending},
};
use tokio::{sync::watch, time::timeout};

use crate::{
    Error, Log,
    entry::millis,
    log::Published,
    read::none_is_fine,
    streams::{SETTINGS, bucket_name, ensure_settings},
};

const KEY: &str = "document";
/// For a write to be stored, elections included.
const STORED_WITHIN: Duration = Duration::from_secs(15);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A write is announced to everybody when it is made; this is for announcements that are lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The announcement comes before the entry is stored.
const LOOK_AGAIN: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(30),
    Duration::from_millis(150),
    Duration::from_millis(500),
    Duration::from_millis(1500),
];
/// Revisions that are read side by side; so many gone in a row: none are older.
const AT_ONCE: u64 = 16;

/// The entry and its past. Cheap to clone.
#[derive(Clone)]
pub struct Revisions {
    log: Log,
    stream: Stream<()>,
}

impl std::fmt::Debug for Revisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Revisions")
    }
}

/// The entry as it was saved once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub revision: Seq,
    /// When the broker stored it.
    pub at: Millis,
    /// Empty: somebody deleted it (`nats kv del`).
    pub payload: Bytes,
}

/// What became of replacing the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    Stored(Seq),
    /// Another revision than expected is the newest, and stays.
    Changed {
        by_now: Seq,
    },
}

impl Log {
    /// The configuration's bucket. Made when it is first opened, where the broker lets us; else
    /// waited for.
    ///
    /// # Errors
    /// When it is not there in time, or not safe.
    pub async fn settings(&self) -> Result<Revisions, Error> {
        ensure_settings(&self.context, self.replicas, self.patience).await?;
        let stream = self
            .context
            .get_stream_no_info(bucket_name(SETTINGS))
            .await
            .map_err(|e| Error::Broker { doing: "open the settings' bucket", source: e.into() })?;
        Ok(Revisions { log: self.clone(), stream })
    }
}

impl Revisions {
    /// The newest one, as the stream's leader knows it; none: nothing was ever saved.
    pub async fn last(&self) -> Result<Option<Revision>, Error> {
        Ok(self.log.last_in(&self.stream, &subject()).await?.map(Revision::of))
    }

    /// Replaces the newest one, if that is still `expected` (0: there is none). Tries for 15 s.
    ///
    /// # Errors
    /// [`Error::Deadline`]: it may be stored all the same; [`Error::Refused`]: it is too large.
    pub async fn replace(&self, expected: Seq, payload: Bytes) -> Result<Replaced, Error> {
        let headers = || {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
            headers
        };
        match self.log.publish(&subject(), payload.clone(), headers, Some(STORED_WITHIN)).await? {
            Published::Stored(seq) => Ok(Replaced::Stored(seq)),
            // It may be ours: an ack can be lost.
            Published::WrongLast(_) => Ok(match self.last().await? {
                Some(last) if last.payload == payload => Replaced::Stored(last.revision),
                last => Replaced::Changed { by_now: last.map_or(0, |last| last.revision) },
            }),
        }
    }

    /// At most `most`, newest first.
    pub async fn newest(&self, most: usize) -> Result<Vec<Revision>, Error> {
        let Some(last) = self.last().await?.filter(|_| most > 0) else { return Ok(Vec::new()) };
        let mut next = last.revision - 1;
        let mut found = vec![last];
        while found.len() < most && next > 0 {
            let first = next.saturating_sub(AT_ONCE - 1).max(1);
            let read = join_all((first..=next).rev().map(|seq| self.at(seq))).await;
            let read = read.into_iter().collect::<Result<Vec<_>, _>>()?;
            if read.iter().all(Option::is_none) {
                break;
            }
            found.extend(read.into_iter().flatten());
            next = first - 1;
        }
        found.truncate(most);
        Ok(found)
    }

    async fn at(&self, seq: Seq) -> Result<Option<Revision>, Error> {
        let ask = || async { none_is_fine(self.stream.get_raw_message(seq).await) };
        let found = self.log.ask("read a revision of the settings", ask).await?;
        Ok(found.filter(|message| message.subject.as_str() == subject()).map(Revision::of))
    }

    /// What comes after the revision `known` (0: there was none).
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn follow(&self, known: Seq) -> Result<Follow, Error> {
        let announced = Some(self.log.subscribe(&subject()).await?);
        let mut generation = self.log.generation.clone();
        generation.mark_unchanged();
        // Saved between the caller's look and the subscription.
        Ok(Follow { revisions: self.clone(), known, announced, generation, looks: LOOK_AGAIN.len() })
    }
}

impl Revision {
    pub(crate) fn of(message: StreamMessage) -> Self {
        Self { revision: message.sequence, at: millis(message.time), payload: message.payload }
    }
}

/// The newest revision, again and again, whatever becomes of the connection.
#[derive(Debug)]
pub struct Follow {
    revisions: Revisions,
    known: Seq,
    announced: Option<Subscriber>,
    generation: watch::Receiver<u64>,
    /// How often it was looked since the last announcement.
    looks: usize,
}

impl Follow {
    /// Waits for one that was not told yet. Those that were replaced at once may be left out.
    pub async fn next(&mut self) -> Revision {
        loop {
            match timeout(ANSWER_WITHIN, self.revisions.last()).await {
                // Also an older one: a bucket that was restored from a backup.
                Ok(Ok(Some(last))) if last.revision != self.known => {
                    self.known = last.revision;
                    return last;
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(error = %error, "the settings were not read"),
                Err(_) => tracing::debug!("the settings were not read in time"),
            }
            let pause = LOOK_AGAIN.get(self.looks).copied().unwrap_or(LOOK_EVERY);
            self.looks = self.looks.saturating_add(1);
            let announced = async {
                match &mut self.announced {
                    Some(announced) => announced.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                news = announced => match news {
                    Some(_) => self.looks = 0,
                    // Deaf from now on: it is looked every few seconds all the same.
                    None => self.announced = None,
                },
                Ok(()) = self.generation.changed() => self.looks = 0,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn subject() -> String {
    format!("$KV.{SETTINGS}.{KEY}")
}
