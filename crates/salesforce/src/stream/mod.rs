//! The event stream of one end user (§7).
//!
//! On HTTP/1.1 each has a connection of its own and keeps no buffer while it is silent; on HTTP/2
//! up to a hundred share one. `examples/streams.rs` measures both.

mod body;
mod connect;
mod multiplex;

use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, timeout_at};

use self::connect::Answer;
pub(crate) use self::multiplex::Pool;
use crate::{
    AccessToken, Client, Error,
    sse::{Frame, Parser},
};

const ENDPOINT: &str = "GET /eventrouter/v1/sse";

/// An open stream. It ends when it is dropped. Whoever owns it connects again: after the pause of
/// a [`crate::Backoff`], with the cursor that was stored last, and then fills the gap with
/// [`Client::entries_since`], always, because what is replayed is not public (§7.3).
pub struct EventStream {
    answer: Answer,
    parser: Parser,
    frames: VecDeque<Frame>,
    idle_max: Duration,
    heard: Instant,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl EventStream {
    /// Returns once Salesforce has answered 200: from here on nothing that happens is missed.
    /// `last_event_id` is the [`Frame::id`] stored last, else [`AccessToken::last_event_id`].
    ///
    /// # Errors
    /// As for the REST calls: 401 is [`Error::Unauthorized`], 429 [`Error::RateLimited`] …
    pub async fn connect(client: &Client, token: &AccessToken, last_event_id: &str) -> Result<Self, Error> {
        let answer = connect::connect(client, token, last_event_id).await?;
        Ok(Self {
            answer,
            parser: Parser::new(),
            frames: VecDeque::new(),
            idle_max: client.inner.options.idle_max,
            heard: Instant::now(),
        })
    }

    /// The next frame, pings included; `None` when the server ended the stream. Loses nothing when
    /// it is dropped while it waits.
    ///
    /// # Errors
    /// [`Error::Silent`] when not a byte came for the client's `idle_max`; [`Error::Transport`]
    /// when the connection broke. The stream is of no use after either.
    pub async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(Some(frame));
            }
            // Most streams are silent at any time: what was taken up is given back.
            self.frames = VecDeque::new();
            let until = self.heard + self.idle_max;
            if Instant::now() >= until {
                // We were away, not the server: let the runtime look what came in meanwhile.
                tokio::task::yield_now().await;
            }
            let (parser, frames) = (&mut self.parser, &mut self.frames);
            let more = timeout_at(until, self.answer.read(|bytes| parser.feed(bytes, frames)))
                .await
                .map_err(|_| Error::Silent { idle: self.idle_max })?
                .map_err(|error| Error::transport(ENDPOINT, error))?;
            if !more {
                return Ok(None);
            }
            // Comments, pings, half a frame: all show that somebody is there.
            self.heard = Instant::now();
        }
    }

    /// How long the server wants us to wait before the next connection, if it said so.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }
}
