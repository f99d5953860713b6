//! The load: keep-alive connections over plain sockets, so that the generator takes as little of
//! the machine as it can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

/// Connections at once, as many as Meta is thought to open.
pub(super) const CONNECTIONS: usize = 64;

pub(super) struct Outcome {
    /// Microseconds.
    pub(super) latencies: Histogram<u64>,
    pub(super) took: Duration,
    /// Answers other than 200; 503 is not among them where it is answered by sending again.
    pub(super) refused: u64,
    /// Answers 503 to requests that were then sent again.
    pub(super) repeated: u64,
}

struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(port: u16) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.context("connect")?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(4096) })
    }

    /// The status of the answer.
    async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.socket.write_all(request).await?;
        self.buffer.clear();
        let (status, end) = loop {
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end])?;
                let status = head.split(' ').nth(1).context("no status line")?.parse()?;
                let length = head
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                    .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())?;
                break (status, end + 4 + length);
            }
        };
        while self.buffer.len() < end {
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
        }
        Ok(status)
    }
}

pub(super) fn histogram() -> Histogram<u64> {
    // Up to a minute in microseconds, to three digits: always valid.
    Histogram::new_with_max(60_000_000, 3).expect("valid bounds")
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Default)]
struct Counts {
    refused: u64,
    repeated: u64,
}

/// Every connection sends its next request as soon as the last one is answered: the highest rate.
/// What is answered 503 is sent again, as Meta does.
pub(super) async fn closed_loop(port: u16, requests: Vec<Vec<u8>>) -> Result<Outcome> {
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(port).await?);
    }
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for mut connection in connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        workers.spawn(async move {
            let (mut latencies, mut counts) = (histogram(), Counts::default());
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let status = loop {
                    let sent = Instant::now();
                    let status = connection.exchange(request).await?;
                    latencies.saturating_record(micros(sent.elapsed()));
                    match status {
                        503 => counts.repeated += 1,
                        _ => break status,
                    }
                };
                counts.refused += u64::from(status != 200);
            }
            anyhow::Ok((latencies, counts))
        });
    }
    collect(workers, started).await
}

/// One request every `interval`, whether or not the last ones were answered. A latency counts
/// from the moment at which the request was due, so a stall is not hidden by the requests that it
/// held up.
pub(super) async fn open_loop(port: u16, requests: Vec<Vec<u8>>, interval: Duration) -> Result<Outcome> {
    let mut workers = JoinSet::new();
    let mut queues = Vec::new();
    for _ in 0..CONNECTIONS {
        let (queue, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        let mut connection = Connection::open(port).await?;
        queues.push(queue);
        workers.spawn(async move {
            let (mut latencies, mut counts) = (histogram(), Counts::default());
            while let Some((at, request)) = due.recv().await {
                let status = connection.exchange(&request).await?;
                latencies.saturating_record(micros(at.elapsed()));
                counts.refused += u64::from(status != 200);
            }
            anyhow::Ok((latencies, counts))
        });
    }
    let started = Instant::now();
    // A thread of its own: tokio's timers are as coarse as a millisecond.
    let pacing = std::thread::spawn(move || {
        let mut at = started;
        for (request, queue) in requests.into_iter().zip((0..queues.len()).cycle()) {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            // A worker that failed is found when it is collected.
            let _ = queues[queue].send((at, request));
            at += interval;
        }
    });
    let outcome = collect(workers, started).await;
    pacing.join().map_err(|_| anyhow::anyhow!("the pacing thread panicked"))?;
    outcome
}

async fn collect(
    mut workers: JoinSet<Result<(Histogram<u64>, Counts)>>,
    started: Instant,
) -> Result<Outcome> {
    let mut outcome = Outcome { latencies: histogram(), took: Duration::ZERO, refused: 0, repeated: 0 };
    while let Some(worker) = workers.join_next().await {
        let (latencies, counts) = worker??;
        outcome.latencies.add(&latencies)?;
        outcome.refused += counts.refused;
        outcome.repeated += counts.repeated;
    }
    outcome.took = started.elapsed();
    Ok(outcome)
}
