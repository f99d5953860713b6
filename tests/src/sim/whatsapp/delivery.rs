//! Webhooks on their way: several connections per number, batches, copies, retries with growing
//! pauses until 200.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use serde_json::json;
use tokio::sync::{Notify, Semaphore};

use super::{
    WhatsApp,
    config::{Encoding, Signature},
    state::{Job, Update},
    wire,
};
use crate::sim::record::What;

/// One signed body and its history.
#[derive(Debug, Clone)]
pub(super) struct Post {
    url: String,
    body: Bytes,
    signature: Option<String>,
    ids: Vec<String>,
    copy: u32,
    attempt: u32,
    born: Instant,
}

impl WhatsApp {
    /// Starts the dispatcher of a number that has none yet.
    pub(super) fn start_dispatcher(self: &Arc<Self>, number: &str) {
        let mut state = self.lock();
        let connections = state.config.connections.clamp(1, 1_024);
        let Some(line) = state.numbers.get_mut(number) else { return };
        if std::mem::replace(&mut line.dispatched, true) {
            return;
        }
        let (sim, number, wake) = (self.clone(), number.to_owned(), line.wake.clone());
        self.tracker.spawn(async move {
            let stop = sim.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = sim.dispatch(&number, &wake, Arc::new(Semaphore::new(connections))) => {}
            }
        });
    }

    /// One task fills the bodies, so that batches fill up; each body travels in a task of its own.
    async fn dispatch(self: &Arc<Self>, number: &str, wake: &Notify, connections: Arc<Semaphore>) {
        while let Ok(connection) = connections.clone().acquire_owned().await {
            let posts = loop {
                match self.next_posts(number).await {
                    Some(posts) => break posts,
                    None => wake.notified().await,
                }
            };
            let (sim, number) = (self.clone(), number.to_owned());
            self.tracker.spawn(async move {
                tokio::select! {
                    () = sim.stop.cancelled() => {}
                    _ = join_all(posts.into_iter().map(|post| sim.attempt(&number, post))) => {}
                }
                drop(connection);
            });
        }
    }

    /// The next thing to post: a retry, or fresh updates in one body and as many copies as ordered.
    async fn next_posts(&self, number: &str) -> Option<Vec<Post>> {
        let mut updates = match self.pop(number)? {
            Job::Retry(post) => return Some(vec![post]),
            Job::Update(update) => vec![update],
        };
        let (batch, wait) = {
            let config = &self.lock().config;
            (config.batch.clamp(1, 1_000), Duration::from_millis(config.batch_wait_ms))
        };
        if batch > 1 && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut retries = Vec::new();
        while updates.len() < batch {
            match self.pop(number) {
                Some(Job::Update(update)) => updates.push(update),
                Some(Job::Retry(post)) => retries.push(post),
                None => break,
            }
        }
        let mut posts = self.pack(number, updates)?;
        posts.extend(retries);
        Some(posts)
    }

    fn pop(&self, number: &str) -> Option<Job> {
        self.lock().numbers.get_mut(number)?.outbox.pop_front()
    }

    fn pack(&self, number: &str, updates: Vec<Update>) -> Option<Vec<Post>> {
        let state = self.lock();
        let config = &state.config;
        let line = state.numbers.get(number)?;
        let mut ids = Vec::new();
        let mut changes = Vec::new();
        let mut entries = Vec::new();
        for update in updates {
            // Only account events have a `time`, and so an entry of their own (§2.1).
            let of_account = update.value["messaging_product"].is_null();
            let change = json!({ "value": update.value, "field": update.field });
            ids.push(update.id);
            if of_account {
                let time = state.now_ms() / 1_000;
                entries.push(json!({ "id": line.number.waba_id, "time": time, "changes": [change] }));
            } else {
                changes.push(change);
            }
        }
        if !changes.is_empty() {
            entries.insert(0, json!({ "id": line.number.waba_id, "changes": changes }));
        }
        let body = json!({ "object": "whatsapp_business_account", "entry": entries }).to_string();
        let body = match config.encoding {
            Encoding::Escaped => wire::escape(&body),
            Encoding::Utf8 => body,
        };
        let signature = match config.signature {
            Signature::Good => Some(wire::sign(&line.number.app_secret, body.as_bytes())),
            Signature::Wrong => Some(wire::sign("not the app secret", body.as_bytes())),
            Signature::Missing => None,
        };
        let first = Post {
            url: line.callback().to_owned(),
            body: body.into(),
            signature,
            ids,
            copy: 0,
            attempt: 1,
            born: Instant::now(),
        };
        Some((0..config.duplicates.max(1)).map(|copy| Post { copy, ..first.clone() }).collect())
    }

    async fn attempt(self: &Arc<Self>, number: &str, mut post: Post) {
        let timeout = Duration::from_millis(self.lock().config.webhook_timeout_ms);
        let mut request = self
            .http
            .post(&post.url)
            .timeout(timeout)
            .header("content-type", "application/json")
            .header("user-agent", "facebookexternalua")
            .body(post.body.clone());
        if let Some(signature) = &post.signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let began = Instant::now();
        let status = request.send().await.map_or(0, |response| response.status().as_u16());
        self.record.push(What::Webhook {
            number: number.to_owned(),
            ids: post.ids.clone(),
            attempt: post.attempt,
            copy: post.copy,
            status,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        let pause = {
            let mut state = self.lock();
            if post.copy == 0 {
                state.hooked(&post.ids, if status == 200 { "DELIVERED" } else { "RETRYING" });
            }
            let config = &state.config;
            let growth = config.retry_factor.powf(f64::from(post.attempt - 1));
            let pause = (config.retry_first_ms as f64 * growth).min(config.retry_cap_ms as f64);
            let given_up = post.born.elapsed() > Duration::from_millis(config.retry_horizon_ms);
            if status != 200 && !given_up {
                Some(Duration::from_secs_f64(pause / 1_000.0))
            } else {
                if let Some(line) = state.numbers.get_mut(number).filter(|_| post.copy == 0) {
                    line.undelivered = line.undelivered.saturating_sub(post.ids.len());
                }
                None
            }
        };
        match pause {
            Some(pause) => {
                post.attempt += 1;
                self.retry_later(number.to_owned(), post, pause);
            }
            None if status != 200 => {
                self.lock().hooked(&post.ids, "FAILED");
                self.record.push(What::WebhookDropped { number: number.to_owned(), ids: post.ids });
            }
            None => {}
        }
    }

    fn retry_later(self: &Arc<Self>, number: String, post: Post, pause: Duration) {
        let sim = self.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = sim.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if let Some(line) = sim.lock().numbers.get_mut(&number) {
                line.outbox.push_back(Job::Retry(post));
                line.wake.notify_one();
            }
        });
    }
}
