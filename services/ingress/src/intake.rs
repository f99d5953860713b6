//! From a body to stored entries.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use domain::{ConversationKey, Millis, PhoneNumberId, derive::Keying};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use runtime::fields;
use secrecy::SecretString;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument as _, Span};
use whatsapp::{
    Signatures, signature,
    webhook::{self, Event, ParseError},
};

use crate::{
    Webhook,
    entries::{self, Entry},
    metrics::Metrics,
    routes::RouteError,
};

/// Bodies are accounted for in pieces of this size, so that a semaphore's permits suffice.
const PIECE_BYTES: usize = 1024;
/// Conversations of one body that are stored side by side.
const LANES_AT_ONCE: usize = 256;
/// How often the log is asked whether it answers.
const PROBE_EVERY: Duration = Duration::from_secs(2);

pub struct Intake {
    signatures: Signatures,
    pub(crate) verify_token: SecretString,
    keying: Keying,
    numbers: Option<HashSet<PhoneNumberId>>,
    log: bus::Log,
    publish_timeout: Duration,
    read_timeout: Duration,
    max_body_bytes: usize,
    held: Semaphore,
    appends: Semaphore,
    max_appends: usize,
    pub(crate) metrics: Metrics,
}

/// What became of a body that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Stored,
    /// Nothing in it for us.
    NotOurs,
}

impl Intake {
    /// # Errors
    /// When the settings file cannot be used, or the broker takes only smaller messages than an
    /// entry can be.
    pub fn new(config: &Webhook, log: bus::Log) -> anyhow::Result<Self> {
        let largest = config.max_body_bytes + entries::ENTRY_OVERHEAD_BYTES;
        let limit = log.max_payload();
        if limit < largest {
            anyhow::bail!(
                "the NATS server takes messages of up to {limit} bytes, and a webhook may need {largest}: raise max_payload in its configuration"
            );
        }
        Ok(Self {
            signatures: Signatures::new(&config.whatsapp_app_secrets),
            verify_token: config.whatsapp_verify_token.clone(),
            keying: config.keying.keying(),
            numbers: config.numbers()?,
            log,
            publish_timeout: config.publish_timeout,
            read_timeout: config.read_timeout,
            max_body_bytes: config.max_body_bytes,
            held: Semaphore::new(pieces(config.max_held_bytes.max(config.max_body_bytes)) as usize),
            appends: Semaphore::new(config.max_appends.max(1)),
            max_appends: config.max_appends.max(1),
            metrics: Metrics::new(),
        })
    }

    pub(crate) async fn take(&self, headers: &HeaderMap, body: Body) -> Result<Taken, RouteError> {
        let deadline = Instant::now() + self.publish_timeout;
        let _held = self.hold(headers, deadline).await?;
        let body = self.read(body).await?;
        let signature = headers.get(signature::HEADER).map(|value| value.as_bytes());
        self.signatures.verify(signature, &body).map_err(RouteError::Signature)?;
        let events = match webhook::parse(&body, now()) {
            Ok(events) => events,
            Err(ParseError::NotOurs) => return Ok(Taken::NotOurs),
            Err(error @ ParseError::NotJson { .. }) => return Err(RouteError::NotJson(error)),
            Err(ParseError::TooMany) => return Err(RouteError::TooLarge),
        };
        let found = events.len();
        let mut ours: Vec<Event> = events;
        ours.retain(|event| self.is_ours(event));
        if ours.len() < found {
            self.metrics.foreign(found - ours.len());
        }
        // From here on, not from the head of the request: a slow sender must not use it up.
        let deadline = Instant::now() + self.publish_timeout;
        match ours.len() {
            0 => return Ok(Taken::NotOurs),
            1 => {
                let _permit = self.permits(1, deadline).await?;
                for event in ours {
                    self.append(entries::entry(event, &self.keying), deadline).await?;
                }
            }
            // Boxed: what a batch needs would make the future of every request large.
            _ => Box::pin(self.store_batch(ours, deadline)).await?,
        }
        Ok(Taken::Stored)
    }

    /// Room in memory for the body.
    async fn hold(&self, headers: &HeaderMap, deadline: Instant) -> Result<SemaphorePermit<'_>, RouteError> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes: usize = length.unwrap_or(self.max_body_bytes);
        if bytes > self.max_body_bytes {
            return Err(RouteError::TooLarge);
        }
        match timeout_at(deadline, self.held.acquire_many(pieces(bytes))).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(RouteError::Busy),
        }
    }

    async fn read(&self, body: Body) -> Result<Bytes, RouteError> {
        let body = Limited::new(body, self.max_body_bytes).collect();
        match timeout(self.read_timeout, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(RouteError::TooLarge),
            Ok(Err(_)) => Err(RouteError::Unreadable),
            Err(_) => Err(RouteError::TooSlow),
        }
    }

    /// Events that name no number concern the whole account.
    fn is_ours(&self, event: &Event) -> bool {
        match (&self.numbers, event.number()) {
            (Some(ours), Some(number)) => ours.contains(number),
            (None, _) | (_, None) => true,
        }
    }

    /// For a whole body, first come first served: when there is more than the log can take, some
    /// bodies are stored in time, rather than each of them nearly.
    async fn permits(&self, lanes: usize, deadline: Instant) -> Result<SemaphorePermit<'_>, RouteError> {
        match timeout_at(deadline, self.appends.acquire_many(u32::try_from(lanes).unwrap_or(u32::MAX))).await
        {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(RouteError::Busy),
            Err(_) => Err(RouteError::NotInTime),
        }
    }

    async fn store_batch(&self, events: Vec<Event>, deadline: Instant) -> Result<(), RouteError> {
        let entries = events.into_iter().map(|event| entries::entry(event, &self.keying));
        let lanes = entries::lanes(entries);
        let at_once = lanes.len().min(LANES_AT_ONCE).min(self.max_appends);
        let _permits = self.permits(at_once, deadline).await?;
        let lanes = lanes.into_iter().map(|lane| async move {
            for entry in lane {
                // One message is one trace: a body's only one has the request's; several get one
                // each, which says where it came from.
                let span = tracing::info_span!(parent: None, "receive", { fields::KIND } = entry.kind);
                span.follows_from(Span::current());
                self.append(entry, deadline).instrument(span).await?;
            }
            Ok(())
        });
        stream::iter(lanes).buffer_unordered(at_once).try_collect().await
    }

    async fn append(&self, entry: Entry, deadline: Instant) -> Result<(), RouteError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let payload = proto::encode(entry.body);
        match self.log.append_fact(&entry.subject, payload, Some(left)).await {
            Ok(appended) => {
                self.metrics.stored(entry.kind, !appended.existed);
                Ok(())
            }
            Err(bus::Error::Deadline) => Err(RouteError::NotInTime),
            Err(error) => Err(RouteError::NotStored(error)),
        }
    }

    /// Keeps `/readyz` up to date; never ends.
    pub(crate) async fn watch_log(&self, reachable: &runtime::health::Condition) {
        // Nobody's conversation: what counts is that the stream's leader answers.
        let nobody = ConversationKey::from_bytes([0; 16]);
        loop {
            let answer = timeout(self.publish_timeout, self.log.head(&nobody)).await;
            reachable.set(matches!(answer, Ok(Ok(_))));
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }
}

fn pieces(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES).max(1)).unwrap_or(u32::MAX)
}

/// Stands in for timestamps that cannot be read.
fn now() -> Millis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since_epoch.as_millis()).unwrap_or(Millis::MAX)
}
