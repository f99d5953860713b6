//! `GET /eventrouter/v1/sse`: one stream per request, fed from the user's event log. A stream is a body
//! that the connection's task polls: it has no task, timer or channel of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use axum::{body::Body, http::HeaderValue};
use bytes::{Bytes, BytesMut};
use hyper::body::Frame;

use super::{
    Refusal, Salesforce, auth,
    config::{PingStyle, Replay, SecondStream, WireStyle},
    state::State,
    view::StreamView,
    wheel::Timer,
};
use crate::sim::{
    record::What,
    server::{Answer, Call, answer},
};

/// Frames written in one piece at most.
const BURST: usize = 64;

/// The open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<u64, Open>,
    opened: u64,
}

#[derive(Debug)]
struct Open {
    subject: Arc<str>,
    token: Arc<str>,
    last_event: u64,
    waker: Option<Waker>,
    ping_due: bool,
    pings: u32,
    over: Option<Over>,
    /// Written once, in no log.
    extra: VecDeque<Bytes>,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over {
    /// The connection breaks, for this reason.
    Cut(&'static str),
    /// The answer ends properly.
    Ended,
}

impl Streams {
    pub(super) fn wake(&mut self, streams: &[u64]) {
        for stream in streams {
            if let Some(waker) = self.open.get_mut(stream).and_then(|open| open.waker.take()) {
                waker.wake();
            }
        }
    }

    pub(super) fn wake_all(&mut self) {
        self.open.values_mut().filter_map(|open| open.waker.take()).for_each(Waker::wake);
    }

    pub(super) fn end(&mut self, stream: u64, over: Over) {
        if let Some(open) = self.open.get_mut(&stream) {
            open.over = Some(over);
        }
        self.wake(&[stream]);
    }

    /// False when it is no more.
    pub(super) fn ping(&mut self, stream: u64) -> bool {
        let Some(open) = self.open.get_mut(&stream) else { return false };
        open.ping_due = true;
        self.wake(&[stream]);
        true
    }

    pub(super) fn write(&mut self, stream: u64, frames: impl IntoIterator<Item = Bytes>) {
        if let Some(open) = self.open.get_mut(&stream) {
            open.extra.extend(frames);
        }
        self.wake(&[stream]);
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    pub(super) fn views(&self) -> Vec<StreamView> {
        let view = |(stream, open): (&u64, &Open)| StreamView {
            stream: *stream,
            subject: open.subject.to_string(),
            last_event: open.last_event,
        };
        self.open.iter().map(view).collect()
    }
}

enum Step {
    Write(Bytes),
    Over(Over),
    Wait,
}

impl State {
    fn open_stream(&mut self, call: &Call) -> Result<(u64, Arc<str>), Refusal> {
        let token = auth::bearer(self, call)?;
        let bad = |message: &str| Refusal::new(400, message, "BAD_REQUEST");
        match call.header("x-org-id") {
            None => return Err(bad("OrgId is required")),
            Some(org) if org != self.config.org_id => {
                return Err(bad("OrgId in the header and token must match"));
            }
            Some(_) => {}
        }
        let last_event_id = call.header("last-event-id").map(str::to_owned);
        let cursor = match &last_event_id {
            None if self.config.require_last_event_id => return Err(Refusal::parameter("Last-Event-Id")),
            None => None,
            Some(text) => Some(text.parse().map_err(|_| Refusal::parameter("Last-Event-Id"))?),
        };
        let (subject, own) = (token.subject.clone(), self.users.entry(token.subject).or_default());
        let before = own.streams.clone();
        let full = |most: Option<u32>, open: usize| most.is_some_and(|most| open >= most as usize);
        if !before.is_empty() && self.config.second_stream == SecondStream::Conflict {
            return Err(Refusal::new(409, "Another stream is open", "CONFLICT"));
        }
        if self.config.second_stream == SecondStream::KillOld {
            for old in before {
                self.streams.end(old, Over::Cut("replaced"));
            }
        } else if full(self.config.max_streams, before.len()) {
            self.violation("streams per user", &subject);
            return Err(Refusal::too_many(self));
        }
        if full(self.config.max_org_streams, self.streams.open.len()) {
            self.violation("streams per org", &subject);
            return Err(Refusal::too_many(self));
        }
        let cursor = self.replay_from(&subject, cursor);
        self.streams.opened += 1;
        let stream = self.streams.opened;
        if let Some(user) = self.users.get_mut(&subject) {
            user.streams.push(stream);
        }
        let access = call.bearer().unwrap_or_default();
        let (access, token) = match self.tokens.get_key_value(access) {
            Some((access, token)) => (access.clone(), token),
            None => return Err(Refusal::unauthorized(&call.path)),
        };
        let left_ms = u64::try_from(token.expires_ms - self.now_ms()).unwrap_or(0);
        self.streams.open.insert(
            stream,
            Open {
                subject: subject.clone(),
                token: access,
                last_event: cursor,
                waker: None,
                ping_due: false,
                pings: 0,
                over: None,
                extra: VecDeque::new(),
            },
        );
        let now = Instant::now();
        let interval = Duration::from_millis(self.config.ping_interval_ms.max(1));
        self.wheel.schedule(now + interval, Timer::Ping(stream));
        if self.config.cut_at_exp {
            self.wheel.schedule(now + Duration::from_millis(left_ms), Timer::Look(stream));
        }
        self.record.push(What::StreamOpened { stream, subject: subject.to_string(), last_event_id });
        Ok((stream, subject))
    }

    /// Where a stream with this `Last-Event-Id` starts.
    fn replay_from(&self, subject: &str, cursor: Option<u64>) -> u64 {
        let Some(user) = self.users.get(subject) else { return cursor.unwrap_or(0) };
        let last = user.last_event();
        let Some(cursor) = cursor else { return last };
        match self.config.replay {
            Replay::All => cursor,
            Replay::None => cursor.max(last),
            Replay::Last(most) => {
                let before = user.log.iter().rev().nth(most).map_or(0, |logged| logged.id);
                cursor.max(before)
            }
            Replay::WithinMs(ms) => {
                let since = self.now_ms() - i64::try_from(ms).unwrap_or(i64::MAX);
                let old = user.log.iter().rev().find(|logged| logged.at_ms < since);
                cursor.max(old.map_or(0, |logged| logged.id))
            }
        }
    }

    fn step(&mut self, stream: u64, waker: &Waker) -> Step {
        let now = self.now_ms();
        let Some(open) = self.streams.open.get_mut(&stream) else { return Step::Over(Over::Ended) };
        if let Some(over) = open.over {
            return Step::Over(over);
        }
        let expired = self.tokens.get(&open.token).is_none_or(|token| token.expires_ms <= now);
        if expired && self.config.cut_at_exp {
            return Step::Over(Over::Cut("expired"));
        }
        let Some(user) = self.users.get(&open.subject).filter(|user| !user.stalled) else {
            open.ping_due = false;
            open.waker = Some(waker.clone());
            return Step::Wait;
        };
        if let Some(frame) = open.extra.pop_front() {
            return Step::Write(frame);
        }
        let start = user.log.partition_point(|logged| logged.id <= open.last_event);
        let mut pending = user.log.iter().skip(start).take(BURST);
        if let Some(first) = pending.next() {
            open.last_event = first.id;
            let mut bytes = None;
            for logged in pending {
                let bytes = bytes.get_or_insert_with(|| BytesMut::from(&first.frame[..]));
                bytes.extend_from_slice(&logged.frame);
                open.last_event = logged.id;
            }
            return Step::Write(bytes.map_or_else(|| first.frame.clone(), BytesMut::freeze));
        }
        if open.ping_due {
            open.ping_due = false;
            open.pings += 1;
            return Step::Write(ping(self.config.ping_style, self.config.wire_style, open.pings));
        }
        open.waker = Some(waker.clone());
        Step::Wait
    }

    /// What a stream wrote last, once more.
    pub(super) fn repeat_on_stream(&mut self, stream: u64, count: usize) {
        let Some(open) = self.streams.open.get(&stream) else { return };
        let Some(user) = self.users.get(&open.subject) else { return };
        let end = user.log.partition_point(|logged| logged.id <= open.last_event);
        let frames = user.log.range(end.saturating_sub(count)..end).map(|logged| logged.frame.clone());
        let frames: Vec<Bytes> = frames.collect();
        self.streams.write(stream, frames);
    }

    /// After the interval was changed.
    pub(super) fn reschedule_pings(&mut self) {
        self.wheel.clear_pings();
        let at = Instant::now() + Duration::from_millis(self.config.ping_interval_ms.max(1));
        for stream in self.streams.open.keys() {
            self.wheel.schedule(at, Timer::Ping(*stream));
        }
    }
}

fn ping(style: PingStyle, wire: WireStyle, count: u32) -> Bytes {
    let frame = match style {
        PingStyle::Zero if wire == WireStyle::Plain => {
            return Bytes::from_static(b"event:ping\ndata:0\n\n");
        }
        PingStyle::Zero => "event:ping\ndata:0\n\n".to_owned(),
        PingStyle::Counter => format!("event:ping\ndata:{count}\n\n"),
        PingStyle::WithId => format!("id:{count}\nevent:ping\ndata:{count}\n\n"),
    };
    Bytes::from(match wire {
        WireStyle::Plain => frame,
        WireStyle::Spaced => frame.replace(':', ": "),
        WireStyle::Crlf => frame.replace('\n', "\r\n"),
    })
}

/// The body of an answer.
struct Feed {
    sim: Arc<Salesforce>,
    stream: u64,
    subject: Arc<str>,
    why: &'static str,
    over: bool,
    /// Of a frame written in pieces.
    rest: Bytes,
    /// Between two pieces the connection gets to flush.
    flush: bool,
}

impl hyper::body::Body for Feed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let feed = &mut *self;
        if feed.over {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut feed.flush) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let sim = feed.sim.clone();
        let (step, piece) = sim.with(|state| {
            let rest = std::mem::take(&mut feed.rest);
            let step = if rest.is_empty() { state.step(feed.stream, cx.waker()) } else { Step::Write(rest) };
            (step, state.config.split_bytes)
        });
        match step {
            Step::Write(mut bytes) => {
                if piece > 0 && bytes.len() > piece {
                    feed.rest = bytes.split_off(piece);
                    feed.flush = true;
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Step::Over(over) => {
                feed.over = true;
                match over {
                    Over::Ended => {
                        feed.why = "ended";
                        Poll::Ready(None)
                    }
                    // Not the proper end of a chunked body: the peer sees a broken connection.
                    Over::Cut(why) => {
                        feed.why = why;
                        Poll::Ready(Some(Err(io::Error::other(why))))
                    }
                }
            }
            Step::Wait => Poll::Pending,
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let (stream, why) = (self.stream, self.why.to_owned());
        self.sim.clone().with(|state| {
            let last_event = state.streams.open.remove(&stream).map_or(0, |open| open.last_event);
            if let Some(user) = state.users.get_mut(&self.subject) {
                user.streams.retain(|open| *open != stream);
            }
            let subject = self.subject.to_string();
            state.record.push(What::StreamClosed { stream, subject, why, last_event });
        });
    }
}

impl Salesforce {
    pub(super) fn open_stream(self: &Arc<Self>, call: &Call) -> Result<(Answer, Arc<str>), Refusal> {
        let (stream, subject) = self.with(|state| state.open_stream(call))?;
        let body = Body::new(Feed {
            sim: self.clone(),
            stream,
            subject: subject.clone(),
            why: "gone",
            over: false,
            rest: Bytes::new(),
            flush: false,
        });
        let mut response = answer(200, "text/event-stream", body);
        response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
        Ok((response, subject))
    }
}
