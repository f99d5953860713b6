//! HTTP/2: many streams on one connection, where the host offers it (ALPN).
//!
//! The first stream finds out which it is. On HTTP/2 the connections are counted and filled one
//! after the other, at most [`MOST_STREAMS`] streams each, which also bounds what one cut takes with
//! it. On HTTP/1.1 every stream dials for itself.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, response::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    sync::{Mutex, MutexGuard, mpsc, oneshot},
    time::timeout,
};

use super::{
    ENDPOINT,
    connect::{Io, dial},
};
use crate::{Client, Error, error::TimedOut};

/// On one connection, if the host does not want fewer.
const MOST_STREAMS: usize = 100;
/// Entries are a few kilobytes, and one that is longer waits for the reader.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// A connection that is gone takes all its streams with it: it is asked.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);

/// The connections of a client.
#[derive(Default)]
pub(crate) struct Pool {
    /// The host took HTTP/1.1 when it was last dialled: no need to wait for one another.
    alone: AtomicBool,
    /// Those with room may be anywhere among them. Held by their streams.
    open: Mutex<Vec<Weak<Connection>>>,
}

pub(super) struct Connection {
    sender: http2::SendRequest<Empty<Bytes>>,
    /// What the host allows, as it last said.
    most: AtomicUsize,
    /// Whoever drives the connection knows what the host allows.
    ask: mpsc::Sender<oneshot::Sender<usize>>,
}

/// A stream among others.
pub(super) struct Multiplexed {
    body: Incoming,
    /// Kept open by whoever uses it.
    _connection: Arc<Connection>,
}

/// How to reach the host.
pub(super) enum Way<'a> {
    Shared(Arc<Connection>),
    /// A new one. What the host allows on it is known with its first answer: until then nobody else
    /// comes along, nor dials again.
    First(Arc<Connection>, MutexGuard<'a, Vec<Weak<Connection>>>),
    Alone(Box<Io>),
}

/// A connection with room, or a new one.
pub(super) async fn way(client: &Client) -> Result<Way<'_>, Error> {
    let pool = &client.inner.pool;
    if client.inner.base.scheme() == "http" || pool.alone.load(Ordering::Relaxed) {
        let (io, h2) = dial(client).await?;
        if !h2 {
            return Ok(Way::Alone(Box::new(io)));
        }
        pool.alone.store(false, Ordering::Relaxed);
        return add(io, pool.open.lock().await).await;
    }
    // Whoever holds it dials. A host that is gone must not make all wait for one another's failures.
    let limit = client.inner.options.connect;
    let mut open =
        timeout(limit, pool.open.lock()).await.map_err(|_| Error::transport(ENDPOINT, TimedOut(limit)))?;
    open.retain(|connection| connection.strong_count() > 0);
    let found = open.iter().filter_map(Weak::upgrade).find(|connection| connection.has_room());
    if let Some(connection) = found {
        return Ok(Way::Shared(connection));
    }
    let (io, h2) = dial(client).await?;
    if h2 {
        return add(io, open).await;
    }
    pool.alone.store(true, Ordering::Relaxed);
    Ok(Way::Alone(Box::new(io)))
}

async fn add(io: Io, mut open: MutexGuard<'_, Vec<Weak<Connection>>>) -> Result<Way<'_>, Error> {
    let broken = |error: hyper::Error| Error::transport(ENDPOINT, error);
    let (sender, mut driver) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(io))
        .await
        .map_err(broken)?;
    let (ask, mut asked) = mpsc::channel::<oneshot::Sender<usize>>(16);
    #[expect(clippy::disallowed_methods, reason = "ends when the last stream of the connection is dropped")]
    tokio::spawn(async move {
        loop {
            tokio::select! {
                // Its streams are told the same.
                _ = &mut driver => return,
                Some(answer) = asked.recv() => {
                    let _ = answer.send(driver.current_max_send_streams());
                }
            }
        }
    });
    let connection = Arc::new(Connection { sender, most: AtomicUsize::new(MOST_STREAMS), ask });
    open.push(Arc::downgrade(&connection));
    Ok(Way::First(connection, open))
}

impl Connection {
    /// Asked by one who holds it, and under the pool's lock: nobody else can take the place.
    fn has_room(self: &Arc<Self>) -> bool {
        let most = self.most.load(Ordering::Relaxed).min(MOST_STREAMS);
        !self.sender.is_closed() && Arc::strong_count(self) <= most
    }

    pub(super) async fn get(
        self: Arc<Self>,
        request: Request<Empty<Bytes>>,
    ) -> Result<(Parts, Multiplexed), Error> {
        let mut sender = self.sender.clone();
        let broken = |error: hyper::Error| Error::transport(ENDPOINT, error);
        let response = sender.send_request(request).await.map_err(broken)?;
        let (answer, most) = oneshot::channel();
        if self.ask.send(answer).await.is_ok()
            && let Ok(most) = most.await
        {
            self.most.store(most, Ordering::Relaxed);
        }
        let (head, body) = response.into_parts();
        Ok((head, Multiplexed { body, _connection: self }))
    }
}

impl Multiplexed {
    pub(super) async fn read(&mut self, mut sink: impl FnMut(&[u8])) -> hyper::Result<bool> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(false) };
            match frame?.into_data() {
                Ok(bytes) if !bytes.is_empty() => {
                    sink(&bytes);
                    return Ok(true);
                }
                // Padding; trailers.
                Ok(_) | Err(_) => {}
            }
        }
    }
}
