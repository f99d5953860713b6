//! The least of the Graph API that a bench of the delivery path needs: it takes texts, and judges
//! whether they keep the pace that `whatsapp-cloud-api.md` §10 asks for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinSet};

use super::load;

/// Messages a second and number.
const PER_SECOND: f64 = 80.0;
/// To one customer at once, and one more in so many seconds.
const PAIR_BURST: f64 = 45.0;
const PAIR_SECONDS: f64 = 6.0;

pub(super) struct Graph {
    state: Arc<Shared>,
    port: u16,
    /// Serves as long as it lives.
    _server: JoinSet<()>,
}

struct Shared {
    began: Instant,
    /// When each message was handed to the log, in microseconds since `began`; 0: not yet.
    handed: Vec<AtomicU64>,
    seen: Mutex<Seen>,
}

/// What arrived.
struct Seen {
    arrivals: usize,
    /// By message, how often it arrived.
    times: Vec<u8>,
    /// Microseconds.
    latencies: Histogram<u64>,
    numbers: HashMap<String, Bucket>,
    /// By customer: their bucket, and the last message they got.
    customers: HashMap<(String, String), (Bucket, usize)>,
    verdict: Verdict,
}

/// What must not happen.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(super) struct Verdict {
    pub(super) twice: usize,
    pub(super) out_of_order: usize,
    /// More than a number may send.
    pub(super) number_too_fast: usize,
    /// More than a customer may get.
    pub(super) pair_too_fast: usize,
    /// Requests that were not understood.
    pub(super) unreadable: usize,
}

impl Verdict {
    pub(super) fn add(&mut self, other: Self) {
        let Self { twice, out_of_order, number_too_fast, pair_too_fast, unreadable } = other;
        self.twice += twice;
        self.out_of_order += out_of_order;
        self.number_too_fast += number_too_fast;
        self.pair_too_fast += pair_too_fast;
        self.unreadable += unreadable;
    }

    pub(super) fn is_clean(self) -> bool {
        self.twice + self.out_of_order + self.number_too_fast + self.pair_too_fast + self.unreadable == 0
    }
}

/// Since the last reset.
pub(super) struct Arrived {
    pub(super) count: usize,
    pub(super) latencies: Histogram<u64>,
    pub(super) verdict: Verdict,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(capacity: f64, at: Instant) -> Self {
        Self { left: capacity, at }
    }

    /// Whether there was one left. What goes too fast counts all the same.
    fn take(&mut self, capacity: f64, per_second: f64, now: Instant) -> bool {
        self.left = (self.left + (now - self.at).as_secs_f64() * per_second).min(capacity);
        self.at = now;
        let free = self.left >= 1.0 - 1e-6;
        self.left = (self.left - 1.0).max(0.0);
        free
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    to: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    body: std::borrow::Cow<'a, str>,
}

impl Graph {
    /// For so many messages, which [`body`] numbers from 0.
    pub(super) async fn start(messages: usize) -> Result<Self> {
        let seen = Seen {
            arrivals: 0,
            times: vec![0; messages],
            latencies: load::histogram(),
            numbers: HashMap::new(),
            customers: HashMap::new(),
            verdict: Verdict::default(),
        };
        let state = Arc::new(Shared {
            began: Instant::now(),
            handed: (0..messages).map(|_| AtomicU64::new(0)).collect(),
            seen: Mutex::new(seen),
        });
        let app = Router::new().route("/v25.0/{number}/messages", post(take)).with_state(Arc::clone(&state));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("bind")?;
        let port = listener.local_addr()?.port();
        let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
            let _ = socket.set_nodelay(true);
        });
        let mut server = JoinSet::new();
        server.spawn(async move {
            // It ends with the set.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { state, port, _server: server })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v25.0", self.port)
    }

    /// The message is about to be given to the log.
    pub(super) fn handing(&self) -> Handing {
        Handing(Arc::clone(&self.state))
    }

    pub(super) fn arrivals(&self) -> usize {
        self.seen().arrivals
    }

    /// What arrived since this was asked last.
    pub(super) fn take_arrived(&self) -> Arrived {
        let mut seen = self.seen();
        Arrived {
            count: std::mem::take(&mut seen.arrivals),
            latencies: std::mem::replace(&mut seen.latencies, load::histogram()),
            verdict: std::mem::take(&mut seen.verdict),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes when messages are given to the log.
#[derive(Clone)]
pub(super) struct Handing(Arc<Shared>);

impl Handing {
    pub(super) fn note(&self, message: usize) {
        if let Some(handed) = self.0.handed.get(message) {
            handed.store(self.0.now(), Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// Microseconds, from 1.
    fn now(&self) -> u64 {
        load::micros(self.began.elapsed()).max(1)
    }

    fn take(&self, number: &str, body: &[u8]) -> Option<()> {
        let (now, at) = (self.now(), Instant::now());
        let message: Message<'_> = serde_json::from_slice(body).ok()?;
        let index: usize = message.text.body.split(' ').nth(1)?.parse().ok()?;
        let handed = self.handed.get(index)?.load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut *seen;
        seen.arrivals += 1;
        seen.latencies.saturating_record(now.saturating_sub(handed));
        let times = seen.times.get_mut(index)?;
        *times = times.saturating_add(1);
        seen.verdict.twice += usize::from(*times > 1);
        let bucket = seen.numbers.entry(number.to_owned()).or_insert_with(|| Bucket::full(PER_SECOND, at));
        seen.verdict.number_too_fast += usize::from(!bucket.take(PER_SECOND, PER_SECOND, at));
        let customer = (number.to_owned(), message.to.into_owned());
        let (bucket, last) =
            seen.customers.entry(customer).or_insert_with(|| (Bucket::full(PAIR_BURST, at), index));
        seen.verdict.pair_too_fast += usize::from(!bucket.take(PAIR_BURST, 1.0 / PAIR_SECONDS, at));
        seen.verdict.out_of_order += usize::from(*last > index);
        *last = index;
        Some(())
    }
}

/// The text of a message.
pub(super) fn body(message: usize) -> String {
    format!("Message {message} of a rep to a customer: your order is on its way, it arrives on Monday.")
}

async fn take(
    State(state): State<Arc<Shared>>,
    Path(number): Path<String>,
    body: Bytes,
) -> impl IntoResponse {
    let arrived = state.take(&number, &body);
    let id = state.now();
    if arrived.is_none() {
        state.seen.lock().unwrap_or_else(PoisonError::into_inner).verdict.unreadable += 1;
        return (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/plain")], String::new());
    }
    let answer = format!(
        r#"{{"messaging_product":"whatsapp","contacts":[{{"input":"15550100199","wa_id":"15550100199"}}],"messages":[{{"id":"wamid.HBgLMTU1NTAxMDAxOTkVAgARGBI{id:016}AA=="}}]}}"#
    );
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], answer)
}

/// How long messages may still be on their way.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
