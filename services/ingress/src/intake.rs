//! From a body to stored entries.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use domain::{ConversationKey, derive::Keying};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use runtime::{fields, settings::Live, telemetry::TRACE_ONLY};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};
use tracing::Span;
use whatsapp::{
    signature,
    webhook::{self, Event, ParseError},
};

use crate::{
    Webhook,
    entries::{self, Entry, Waves},
    keys::WebhookKeys,
    metrics::Metrics,
    routes::RouteError,
};

/// Bodies are accounted for in pieces of this size, so that a semaphore's permits suffice.
const PIECE_BYTES: usize = 1024;
/// Entries of one body that are on their way to the log side by side.
const APPENDS_AT_ONCE: usize = 256;
/// How often the log is asked whether it answers.
const PROBE_EVERY: Duration = Duration::from_secs(2);

pub struct Intake {
    pub(crate) keys: WebhookKeys,
    keying: Keying,
    settings: Option<Live>,
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
    /// When the broker takes only smaller messages than an entry can be.
    pub fn new(config: &Webhook, settings: Option<Live>, log: bus::Log) -> anyhow::Result<Self> {
        let largest = config.max_body_bytes + entries::ENTRY_OVERHEAD_BYTES;
        let limit = log.max_payload();
        if limit < largest {
            anyhow::bail!(
                "the NATS server takes messages of up to {limit} bytes, and a webhook may need {largest}: raise max_payload in its configuration"
            );
        }
        Ok(Self {
            keys: WebhookKeys::new(config, settings.clone()),
            keying: config.keying.keying(),
            settings,
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
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Limited::new(body, self.max_body_bytes);
        let _held = match self.hold(length, deadline).await {
            Ok(held) => held,
            Err(busy @ RouteError::Busy) => {
                // Most senders see no answer before they have sent everything.
                let _ =
                    timeout(self.read_timeout, async { while let Ok(Some(_)) = part(&mut body).await {} })
                        .await;
                return Err(busy);
            }
            Err(error) => return Err(error),
        };
        let body =
            timeout(self.read_timeout, whole(&mut body, length)).await.unwrap_or(Err(RouteError::TooSlow))?;
        let signature = headers.get(signature::HEADER).map(|value| value.as_bytes());
        self.keys.now().signatures.verify(signature, &body).map_err(RouteError::Signature)?;
        let events = match webhook::parse(&body, runtime::now()) {
            Ok(events) => events,
            Err(ParseError::NotOurs) => return Ok(Taken::NotOurs),
            Err(error @ ParseError::NotJson { .. }) => return Err(RouteError::NotJson(error)),
            Err(ParseError::TooMany) => return Err(RouteError::TooLarge),
        };
        let found = events.len();
        let mut ours: Vec<Event> = events;
        let settings = self.settings.as_ref().map(Live::now);
        // Events that name no number concern the whole account.
        ours.retain(|event| match (&settings, event.number()) {
            (Some(settings), Some(number)) => settings.channel(number).is_some(),
            (None, _) | (_, None) => true,
        });
        if ours.len() < found {
            self.metrics.foreign(found - ours.len());
        }
        // From here on, not from the head of the request: a slow sender must not use it up.
        let deadline = Instant::now() + self.publish_timeout;
        if ours.is_empty() {
            return Ok(Taken::NotOurs);
        }
        match timeout_at(deadline, self.store(ours)).await {
            Ok(stored) => stored.map(|()| Taken::Stored),
            Err(_) => Err(RouteError::NotInTime),
        }
    }

    /// Room in memory for the body.
    async fn hold(
        &self,
        length: Option<usize>,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, RouteError> {
        let bytes = length.unwrap_or(self.max_body_bytes);
        if bytes > self.max_body_bytes {
            return Err(RouteError::TooLarge);
        }
        match timeout_at(deadline, self.held.acquire_many(pieces(bytes))).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(RouteError::Busy),
        }
    }

    async fn store(&self, mut events: Vec<Event>) -> Result<(), RouteError> {
        if events.len() > 1 {
            // Boxed: what a batch needs would make the future of every request large.
            return Box::pin(self.store_batch(events)).await;
        }
        let Some(event) = events.pop() else { return Ok(()) };
        let entry = entries::entry(event, &self.keying);
        let _permit = self.permits(1).await?;
        let payload = proto::encode(entry.body);
        let appended =
            self.log.append_fact(&entry.subject, payload, None).await.map_err(RouteError::NotStored)?;
        self.metrics.stored(entry.kind, !appended.existed);
        Ok(())
    }

    async fn store_batch(&self, events: Vec<Event>) -> Result<(), RouteError> {
        let mut waves = Waves::new(events, &self.keying);
        let at_once = waves.width().clamp(1, APPENDS_AT_ONCE).min(self.max_appends);
        let _permits = self.permits(at_once).await?;
        while let Some(wave) = waves.next() {
            let facts = wave.map(|entry| {
                // One message is one trace: a body's only one has the request's; several get one
                // each, which says where it came from.
                let span = tracing::info_span!(
                    target: TRACE_ONLY, parent: None, "receive", { fields::KIND } = entry.kind
                );
                span.follows_from(Span::current());
                let Entry { kind, subject, body } = entry;
                bus::Fact { kind, subject, payload: proto::encode(body), span }
            });
            let stored = |kind, appended: bus::Appended| self.metrics.stored(kind, !appended.existed);
            self.log.append_facts(facts, at_once, stored).await.map_err(RouteError::NotStored)?;
        }
        Ok(())
    }

    /// For a whole body, first come first served: when there is more than the log can take, some
    /// bodies are stored in time, rather than each of them nearly.
    async fn permits(&self, appends: usize) -> Result<SemaphorePermit<'_>, RouteError> {
        let appends = u32::try_from(appends).unwrap_or(u32::MAX);
        self.appends.acquire_many(appends).await.map_err(|_| RouteError::Busy)
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

/// A body in one piece. Large ones come in parts: each is let go as soon as it is copied.
async fn whole(body: &mut Limited<Body>, length: Option<usize>) -> Result<Bytes, RouteError> {
    let Some(first) = part(body).await? else { return Ok(Bytes::new()) };
    let Some(second) = part(body).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(length.unwrap_or_default().max(first.len() + second.len()));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    drop((first, second));
    while let Some(next) = part(body).await? {
        whole.extend_from_slice(&next);
    }
    Ok(whole.freeze())
}

async fn part(body: &mut Limited<Body>) -> Result<Option<Bytes>, RouteError> {
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                // Trailers say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Err(error) if error.is::<LengthLimitError>() => return Err(RouteError::TooLarge),
            Err(_) => return Err(RouteError::Unreadable),
        }
    }
    Ok(None)
}

fn pieces(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES).max(1)).unwrap_or(u32::MAX)
}
