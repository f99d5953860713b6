//! One followed thread: an event stream with its cursor, the gap before it, and what is appended.
//!
//! Order of durability: an entry is appended and acked before the next one is looked at; the cursor
//! is saved after that, and may lag but never lead. Whatever a stream did not bring is found in
//! `/entries` after every (re)connect, before anything that came on the new stream is read. The log
//! stores each entry once, so overlaps cost an append and nothing else.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{Cause, ConversationKey, Millis};
use opentelemetry::Context;
use proto::{
    subjects::{self, Kind},
    v1::{self, entry::Body},
};
use runtime::{error_chain, fields};
use salesforce::{Backoff, Error, EventStream, Frame, Happened, Retry, event::Envelope};
use tokens::{Access, Held};
use tokio::{sync::watch, time::Instant};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    follower::Shared,
    gap::{self, LastKnown, Recent},
    mapping,
    threads::Following,
};

/// Entries remembered as stored: more than a gap's overlap holds.
const RECENT: usize = 512;
/// What only an operator can mend is tried again so often.
const REFUSED_REST: Duration = Duration::from_secs(30);

/// The trace of the customer's message that the rep answers.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Context>>);

impl Trace {
    pub(crate) fn set(&self, trace: &Context) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trace.clone();
    }

    fn get(&self) -> Context {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Follows the thread of one conversation until nothing is wanted of it.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    key: ConversationKey,
    id: u64,
    wanted: watch::Receiver<Option<Following>>,
    trace: Trace,
    recent: Recent,
    /// `None`: not looked up yet.
    last: Option<LastKnown>,
    /// No entry of the thread is known: it may not exist yet.
    untouched: bool,
    cursor: Option<String>,
    /// Salesforce did not take the cursor: start from the token's.
    cursor_refused: bool,
    /// A token that is not taken any more.
    stale: Option<Arc<Held>>,
    announced: Option<Cause>,
    backoff: Backoff,
}

/// Why a stream is not up any more.
enum End {
    /// Look at what is wanted now.
    Changed,
    /// There is a new token.
    Renewed,
    /// The server ended it.
    Closed,
    Broken(Error),
    /// The log failed in a way that does not pass.
    Log(bus::Error),
    NoIntegration,
}

type Renewal = Pin<Box<dyn Future<Output = Result<Arc<Held>, Error>> + Send>>;

impl Follower {
    pub(crate) fn new(
        shared: Arc<Shared>,
        key: ConversationKey,
        id: u64,
        wanted: watch::Receiver<Option<Following>>,
        trace: &Trace,
    ) -> Self {
        Self {
            shared,
            key,
            id,
            wanted,
            trace: trace.clone(),
            recent: Recent::new(RECENT),
            last: None,
            untouched: true,
            cursor: None,
            cursor_refused: false,
            stale: None,
            announced: None,
            backoff: Backoff::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut followed: Option<Following> = None;
        loop {
            let Some(following) = self.wanted.borrow_and_update().clone() else {
                if self.shared.leave(&self.key, self.id, &self.wanted) {
                    return;
                }
                continue;
            };
            if followed.as_ref().is_some_and(|before| !same_stream(before, &following)) {
                let Self { shared, key, id, wanted, trace, .. } = self;
                self = Self::new(shared, key, id, wanted, &trace);
            }
            let end = self.follow(&following).await;
            let pause = self.pause(&following, &end);
            followed = Some(following);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.wanted.mark_changed();
                }
            }
        }
    }

    /// Says why the stream ended; how long to wait before the next.
    fn pause(&mut self, following: &Following, end: &End) -> Duration {
        let refused = REFUSED_REST.mul_f64(1.0 + fastrand::f64());
        let (reason, pause) = match end {
            End::Changed => ("unfollowed", Duration::ZERO),
            End::Renewed => ("renewed", Duration::ZERO),
            End::Closed => ("closed", self.backoff.pause(fastrand::f64())),
            End::Broken(error) => match error.retry() {
                Retry::Soon => ("broken", self.backoff.pause(fastrand::f64())),
                Retry::Renew => ("token refused", self.backoff.pause(fastrand::f64())),
                Retry::After(asked) => ("paced", asked + self.backoff.pause(fastrand::f64())),
                Retry::Never => ("refused", refused),
            },
            End::Log(_) => ("log", refused),
            End::NoIntegration => ("no integration", refused),
        };
        self.shared.metrics.stream_ended(reason);
        let error = match end {
            End::Broken(error) => error_chain(error),
            End::Log(error) => error_chain(error),
            End::NoIntegration => "the channel has no integration".to_owned(),
            End::Changed | End::Renewed | End::Closed => String::new(),
        };
        if pause > Duration::ZERO {
            tracing::warn!(
                { fields::CONVERSATION } = %self.key,
                { fields::THREAD } = %following.thread,
                { fields::REASON } = reason,
                { fields::ERROR } = error,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "event stream is down",
            );
        }
        pause
    }

    /// Brings a stream up and reads it until it ends.
    async fn follow(&mut self, following: &Following) -> End {
        let shared = Arc::clone(&self.shared);
        let Some(access) = shared.tokens.access(&following.number, following.contact) else {
            return End::NoIntegration;
        };
        // Closed never: they live as long as we do.
        let _stream = shared.streams.acquire().await;
        let connecting = shared.connecting.acquire().await;
        // Boxed, as all that passes: most streams are silent, and what is held while one is would be held
        // for each of them.
        if let Err(error) = Box::pin(self.know(following)).await {
            return End::Log(error);
        }
        let (held, mut stream) = match Box::pin(self.open(&access, following)).await {
            Ok(opened) => opened,
            Err(error) => return End::Broken(error),
        };
        if let Err(end) = Box::pin(self.catch_up(&access, &held, following)).await {
            return end;
        }
        drop(connecting);
        if let Err(error) = Box::pin(self.announce(following.follow)).await {
            return End::Log(error);
        }
        let _up = shared.metrics.stream_up();
        tracing::info!(
            { fields::CONVERSATION } = %self.key,
            { fields::THREAD } = %following.thread,
            "thread followed"
        );
        let mut renewal = renewal(access.clone(), Arc::clone(&held), until(held.renew_at));
        let mut leave_at: Option<Instant> = None;
        loop {
            tokio::select! {
                frame = stream.next() => match frame {
                    Ok(Some(frame)) => {
                        self.backoff.reset();
                        self.backoff.server_asks(stream.retry());
                        if let Err(end) = Box::pin(self.frame(&access, &held, following, frame)).await {
                            return end;
                        }
                    }
                    Ok(None) => return End::Closed,
                    Err(error) => return End::Broken(error),
                },
                changed = self.wanted.changed() => {
                    let now = self.wanted.borrow_and_update().clone();
                    match now {
                        _ if changed.is_err() => return End::Changed,
                        None => leave_at = Some(Instant::now() + shared.linger),
                        Some(now) if same_stream(&now, following) => {
                            leave_at = None;
                            if let Err(error) = Box::pin(self.announce(now.follow)).await {
                                return End::Log(error);
                            }
                            // Nothing changed: somebody knows of something new ([`crate::wake`]).
                            if let Err(end) = Box::pin(self.catch_up(&access, &held, following)).await {
                                return end;
                            }
                        }
                        Some(_) => return End::Changed,
                    }
                }
                () = tokio::time::sleep_until(leave_at.unwrap_or_else(Instant::now)), if leave_at.is_some() => {
                    return End::Changed;
                }
                renewed = &mut renewal => match renewed {
                    Ok(_) => return End::Renewed,
                    Err(error) => {
                        // The stream lives on, until Salesforce ends it.
                        tracing::warn!({ fields::ERROR } = error_chain(&error), "token not renewed");
                        renewal = self::renewal(access.clone(), Arc::clone(&held), REFUSED_REST);
                    }
                },
            }
        }
    }

    /// What the log knows of the thread: where its gap begins.
    async fn know(&mut self, following: &Following) -> Result<(), bus::Error> {
        if self.last.is_some() {
            return Ok(());
        }
        let log = &self.shared.log;
        let newest = format!("conv.{}.{}.{}.*", self.key.partition(), self.key, Kind::Salesforce.as_str());
        let newest = log.last(&newest).await?;
        let known = newest.and_then(|entry| match proto::decode(entry.payload) {
            Ok(Body::SalesforceEvent(event)) if event.thread == following.thread.to_string() => {
                Some((LastKnown::Entry(event.at), false))
            }
            // Followed then, and everything before it was stored.
            Ok(Body::ThreadFollowed(_)) => Some((LastKnown::Log(entry.at), true)),
            Ok(_) | Err(_) => None,
        });
        let (last, untouched) = match known {
            Some(known) => known,
            None => {
                let asked = log.get(following.follow.answers).await?;
                (asked.map_or(LastKnown::Nothing, |entry| LastKnown::Log(entry.at)), true)
            }
        };
        self.last = Some(last);
        self.untouched = untouched;
        Ok(())
    }

    async fn open(
        &mut self,
        access: &Access,
        following: &Following,
    ) -> Result<(Arc<Held>, EventStream), Error> {
        let mut held = match self.stale.take() {
            Some(stale) => access.renewed(&stale).await?,
            None => access.token().await?,
        };
        if self.cursor.is_none() && !self.cursor_refused {
            self.cursor = match self.shared.store.load_cursor(&access.org().id, following.contact).await {
                Ok(cursor) => cursor,
                Err(error) => {
                    tracing::debug!({ fields::ERROR } = error_chain(&error), "no cursor from the cache");
                    None
                }
            };
        }
        let mut renewed = false;
        loop {
            let cursor = self.cursor.clone().unwrap_or_else(|| held.token.last_event_id.clone());
            match EventStream::connect(&access.org().client, &held.token, &cursor).await {
                Ok(stream) => return Ok((held, stream)),
                Err(error) if error.retry() == Retry::Renew && !renewed => {
                    held = access.renewed(&held).await?;
                    renewed = true;
                }
                // The gap is filled in any case.
                Err(Error::Refused { .. }) if self.cursor.take().is_some() => self.cursor_refused = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// [`Self::fill`]; a token that is refused is not used again.
    async fn catch_up(
        &mut self,
        access: &Access,
        held: &Arc<Held>,
        following: &Following,
    ) -> Result<(), End> {
        let filled = self.fill(access, held, following).await;
        if matches!(&filled, Err(End::Broken(Error::Unauthorized { .. }))) {
            self.stale = Some(Arc::clone(held));
        }
        filled
    }

    /// Appends what happened in the thread while no stream was up.
    async fn fill(&mut self, access: &Access, held: &Held, following: &Following) -> Result<(), End> {
        let mut since = gap::since(self.last.unwrap_or(LastKnown::Nothing), runtime::now());
        loop {
            let client = &access.org().client;
            let history = match client.entries_since(&held.token, following.thread, since).await {
                Ok(history) => history,
                // Not created yet: handoff waits for us to do it. How that is answered to somebody
                // who asks for it is only known for 404.
                Err(Error::NotFound { .. }) => return Ok(()),
                Err(Error::Refused { .. }) if self.untouched => return Ok(()),
                Err(error) => return Err(End::Broken(error)),
            };
            for entry in &history.entries {
                for happened in salesforce::event::read(following.thread, entry) {
                    if self.take(&happened).await? {
                        self.shared.metrics.gap_filled();
                    }
                }
            }
            let newest = history.entries.last().map_or(since, |entry| entry.transcripted_timestamp);
            if history.complete || newest <= since {
                return Ok(());
            }
            since = newest;
        }
    }

    async fn frame(
        &mut self,
        access: &Access,
        held: &Held,
        following: &Following,
        frame: Frame,
    ) -> Result<(), End> {
        if frame.is_ping() {
            return Ok(());
        }
        match Envelope::parse(&frame.data) {
            // A stream carries all conversations of its end user.
            Ok(envelope) if envelope.conversation_id == following.thread => {
                for happened in envelope.happened() {
                    self.take(&happened).await?;
                }
            }
            Ok(_) => {}
            Err(error) => {
                self.shared.metrics.entry("unreadable");
                tracing::warn!(
                    { fields::ERROR } = %error,
                    oversized = frame.oversized,
                    "unreadable event: looking into the history instead"
                );
                self.fill(access, held, following).await?;
            }
        }
        if let Some(id) = frame.id {
            let saved = self.shared.store.save_cursor(&access.org().id, following.contact, &id).await;
            if let Err(error) = saved {
                tracing::debug!({ fields::ERROR } = error_chain(&error), "cursor not kept");
            }
            self.cursor = Some(id);
            self.cursor_refused = false;
        }
        Ok(())
    }

    /// Appends it, unless it says nothing or is in the log. True: it was new.
    async fn take(&mut self, happened: &Happened) -> Result<bool, End> {
        self.untouched = false;
        let id = mapping::id(happened);
        if self.recent.contains(&id) {
            self.shared.metrics.entry("known");
            return Ok(false);
        }
        let mut new = false;
        match mapping::entry(happened) {
            None => self.shared.metrics.entry("ignored"),
            Some(event) => {
                let span = tracing::info_span!(
                    "salesforce entry",
                    { fields::CONVERSATION } = %self.key,
                    { fields::THREAD } = %happened.thread,
                );
                let _ = span.set_parent(self.trace.get());
                let subject = subjects::fact(&self.key, Kind::Salesforce, &id);
                let payload = proto::encode(Body::SalesforceEvent(event));
                match self.shared.log.append_fact(&subject, payload, None).instrument(span).await {
                    Ok(appended) => {
                        new = !appended.existed;
                        self.shared.metrics.entry(if new { "appended" } else { "known" });
                    }
                    Err(error @ bus::Error::Refused(_)) => {
                        // Larger than any message that Salesforce allows. Trying again changes nothing.
                        self.shared.metrics.entry("refused");
                        tracing::error!(
                            { fields::ERROR } = error_chain(&error),
                            "an entry does not fit into the log"
                        );
                    }
                    Err(error) => return Err(End::Log(error)),
                }
            }
        }
        self.recent.insert(&id);
        self.last = Some(match self.last {
            Some(LastKnown::Entry(at)) => LastKnown::Entry(at.max(happened.at)),
            Some(LastKnown::Log(_) | LastKnown::Nothing) | None => LastKnown::Entry(happened.at),
        });
        Ok(new)
    }

    /// Tells in the log that the stream is up, once for each output that asked for it.
    async fn announce(&mut self, follow: Cause) -> Result<(), bus::Error> {
        if self.announced == Some(follow) {
            return Ok(());
        }
        let span = tracing::info_span!("thread followed", { fields::CONVERSATION } = %self.key);
        let _ = span.set_parent(self.trace.get());
        let subject = subjects::fact(&self.key, Kind::Salesforce, &format!("up-{follow}"));
        let body = Body::ThreadFollowed(v1::ThreadFollowed { follow: follow.to_string() });
        self.shared.log.append_fact(&subject, proto::encode(body), None).instrument(span).await?;
        self.announced = Some(follow);
        Ok(())
    }
}

/// Only the cause differs: the stream that is up serves it as well.
fn same_stream(one: &Following, other: &Following) -> bool {
    (one.thread, one.contact, &one.number) == (other.thread, other.contact, &other.number)
}

fn renewal(access: Access, held: Arc<Held>, after: Duration) -> Renewal {
    Box::pin(async move {
        tokio::time::sleep(after).await;
        // Not there while it sleeps.
        Box::pin(access.renewed(&held)).await
    })
}

fn until(at: Millis) -> Duration {
    u64::try_from(at.saturating_sub(runtime::now())).map_or(Duration::ZERO, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for every live thread: what it holds while its stream is silent is memory times
    /// twenty thousand.
    #[test]
    fn a_silent_thread_holds_little() {
        fn size<F: Future>(_: impl Fn(Follower) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(Follower::run) <= 2_048);
    }
}
