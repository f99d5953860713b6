//! `GET /eventrouter/v1/sse`: one stream per request, fed from the user's event log.

use std::{io, sync::Arc, time::Duration};

use axum::{body::Body, http::HeaderValue};
use bytes::{Bytes, BytesMut};
use futures::stream;
use tokio::{sync::watch, time::Instant};

use super::{Refusal, Salesforce, auth, config::Replay, state::State};
use crate::sim::{
    record::What,
    server::{Answer, Call, answer},
};

/// Frames written in one piece at most.
const BURST: usize = 64;

/// An open stream, as the state knows it.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) subject: String,
    pub(super) last_event: u64,
}

struct Feed {
    sim: Arc<Salesforce>,
    stream: u64,
    subject: String,
    cursor: u64,
    cuts: u64,
    changed: watch::Receiver<u64>,
    next_ping: Instant,
    token: String,
    why: &'static str,
    over: bool,
}

enum Step {
    Write(Bytes),
    Cut(&'static str),
    Wait,
}

impl Salesforce {
    pub(super) fn open_stream(self: &Arc<Self>, call: &Call) -> Result<(Answer, String), Refusal> {
        let feed = self.with(|state| {
            let token = auth::bearer(state, call)?;
            let bad = |message: &str| Refusal::new(400, message, "BAD_REQUEST");
            match call.header("x-org-id") {
                None => return Err(bad("OrgId is required")),
                Some(org) if org != state.config.org_id => {
                    return Err(bad("OrgId in the header and token must match"));
                }
                Some(_) => {}
            }
            let last_event_id = call.header("last-event-id").map(str::to_owned);
            let cursor = match &last_event_id {
                None if state.config.require_last_event_id => {
                    return Err(Refusal::parameter("Last-Event-Id"));
                }
                None => None,
                Some(text) => Some(text.parse().map_err(|_| Refusal::parameter("Last-Event-Id"))?),
            };
            let cursor = replay_from(state, &token.subject, cursor);
            let stream = state.next_stream;
            state.next_stream += 1;
            let subject = token.subject;
            state.streams.insert(stream, Open { subject: subject.clone(), last_event: cursor });
            state.record.push(What::StreamOpened { stream, subject: subject.clone(), last_event_id });
            let user = state.users.entry(subject.clone()).or_default();
            Ok(Feed {
                sim: self.clone(),
                stream,
                cursor,
                cuts: user.cuts,
                changed: user.changed.subscribe(),
                next_ping: Instant::now() + Duration::from_millis(state.config.ping_interval_ms),
                token: call.bearer().unwrap_or_default().to_owned(),
                why: "gone",
                over: false,
                subject,
            })
        })?;
        let subject = feed.subject.clone();
        let body = Body::from_stream(stream::unfold(feed, |mut feed| async move {
            let chunk = feed.next().await?;
            Some((chunk, feed))
        }));
        let mut response = answer(200, "text/event-stream", body);
        response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
        Ok((response, subject))
    }
}

/// Where a stream with this `Last-Event-Id` starts.
fn replay_from(state: &State, subject: &str, cursor: Option<u64>) -> u64 {
    let Some(user) = state.users.get(subject) else { return cursor.unwrap_or(0) };
    let last = user.last_event();
    let Some(cursor) = cursor else { return last };
    match state.config.replay {
        Replay::All => cursor,
        Replay::None => cursor.max(last),
        Replay::Last(most) => {
            let before = user.log.iter().rev().nth(most).map_or(0, |logged| logged.id);
            cursor.max(before)
        }
        Replay::WithinMs(ms) => {
            let old = user.log.iter().rev().find(|logged| logged.at.elapsed() > Duration::from_millis(ms));
            cursor.max(old.map_or(0, |logged| logged.id))
        }
    }
}

impl Feed {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.over {
            return None;
        }
        loop {
            self.changed.borrow_and_update();
            match self.step() {
                Step::Write(bytes) => return Some(Ok(bytes)),
                Step::Cut(why) => {
                    self.why = why;
                    self.over = true;
                    // Not the proper end of a chunked body: the peer sees a broken connection.
                    return Some(Err(io::Error::other(why)));
                }
                Step::Wait => {}
            }
            let stop = self.sim.stop.clone();
            tokio::select! {
                () = stop.cancelled() => return None,
                changed = self.changed.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.next_ping) => {
                    let (interval, stalled) = self.sim.with(|state| {
                        let stalled = state.users.get(&self.subject).is_some_and(|user| user.stalled);
                        (state.config.ping_interval_ms.max(1), stalled)
                    });
                    self.next_ping = Instant::now() + Duration::from_millis(interval);
                    if !stalled {
                        return Some(Ok(Bytes::from_static(b"event:ping\ndata:0\n\n")));
                    }
                }
            }
        }
    }

    fn step(&mut self) -> Step {
        self.sim.with(|state| {
            let now = state.now_ms();
            let expired = state.tokens.get(&self.token).is_none_or(|token| token.expires_ms <= now);
            if expired && state.config.cut_at_exp {
                return Step::Cut("expired");
            }
            let Some(user) = state.users.get(&self.subject) else { return Step::Wait };
            if user.cuts != self.cuts {
                return Step::Cut("cut");
            }
            if user.stalled {
                return Step::Wait;
            }
            let start = user.log.partition_point(|logged| logged.id <= self.cursor);
            let mut bytes = BytesMut::new();
            for logged in user.log.iter().skip(start).take(BURST) {
                bytes.extend_from_slice(&logged.frame);
                self.cursor = logged.id;
            }
            if bytes.is_empty() {
                return Step::Wait;
            }
            if let Some(open) = state.streams.get_mut(&self.stream) {
                open.last_event = self.cursor;
            }
            Step::Write(bytes.freeze())
        })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let (stream, subject) = (self.stream, self.subject.clone());
        let (why, last_event) = (self.why.to_owned(), self.cursor);
        self.sim.with(|state| {
            state.streams.remove(&stream);
            state.record.push(What::StreamClosed { stream, subject, why, last_event });
        });
    }
}
