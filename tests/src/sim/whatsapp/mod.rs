//! The WhatsApp Cloud API, simulated: customers with phones on one side, the API and its webhooks
//! on the other. As strict as `whatsapp-cloud-api.md`; what it leaves out answers 501 (products,
//! carousels and calls; creating templates and groups).

mod acts;
mod api;
mod check;
mod config;
mod content;
mod delivery;
mod errors;
mod files;
mod form;
mod happenings;
mod inbound;
mod interactive;
mod levers;
mod limits;
mod manage;
mod media;
mod nodes;
mod portfolio;
mod recipient;
mod send;
mod setup;
mod state;
mod statuses;
mod templates;
mod threads;
mod webhooks;
pub mod wire;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

pub use acts::{Act, Did, File};
use anyhow::{Context as _, Result, ensure};
pub use config::*;
pub use content::{Choice, Content, ShownFile};
pub use happenings::Happening;
pub use media::{MediaTrouble, Trouble};
use serde_json::{Value, json};
pub use setup::{Routing, Setup};
use state::{State, Update};
pub use templates::{Held, Template};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{faults::Rule, patch, record::Record, server::Server};

/// The simulator's levers. The control API offers the same ones over HTTP.
#[derive(Debug)]
pub struct WhatsApp {
    state: Mutex<State>,
    record: Arc<Record>,
    http: reqwest::Client,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl WhatsApp {
    pub(super) fn new(
        config: WhatsAppConfig,
        record: Arc<Record>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Arc<Self>> {
        // Webhooks go to a plain local address: no trust store is needed, so none is loaded.
        let http = reqwest::Client::builder()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("build the webhook client")?;
        let state = Mutex::new(State::new(config, record.clone()));
        Ok(Arc::new(Self { state, record, http, tracker, stop }))
    }

    pub(super) async fn listen(self: &Arc<Self>, addr: SocketAddr) -> std::io::Result<Server> {
        let sim = self.clone();
        let handler = Arc::new(move |call| -> futures::future::BoxFuture<'static, _> {
            Box::pin(sim.clone().serve(call))
        });
        let server = Server::start(addr, handler, &self.tracker, self.stop.clone()).await?;
        self.lock().base_url = format!("http://{}", server.addr);
        Ok(server)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the state")
    }

    pub fn config(&self) -> WhatsAppConfig {
        self.lock().config.clone()
    }

    /// Changes the given members of the configuration.
    pub fn configure(&self, changes: Value) -> Result<WhatsAppConfig> {
        self.record.control("whatsapp config", changes.clone());
        let mut state = self.lock();
        state.config = patch(&state.config, changes)?;
        Ok(state.config.clone())
    }

    /// Adds or replaces a business number.
    pub fn set_number(self: &Arc<Self>, number: Number) {
        let id = number.phone_number_id.clone();
        self.record.control("whatsapp number", json!({ "phone_number_id": id }));
        self.lock().set_number(number);
        self.start_dispatcher(&id);
    }

    /// The verification handshake (`whatsapp-cloud-api.md` §1.1), as Meta does it when the callback
    /// is set. An error says what the endpoint did wrong.
    pub async fn verify(&self, number: &str) -> Result<()> {
        let (url, token) = {
            let state = self.lock();
            let line = state.numbers.get(number).context("no such number")?;
            (line.number.callback_url.clone(), line.number.verify_token.clone())
        };
        let status = self.handshake(&url, &token).await?;
        self.record.control("whatsapp verify", json!({ "number": number, "status": status }));
        Ok(())
    }

    async fn handshake(&self, url: &str, token: &str) -> Result<u16> {
        let challenge = fastrand::u32(..).to_string();
        let query =
            [("hub.mode", "subscribe"), ("hub.challenge", challenge.as_str()), ("hub.verify_token", token)];
        let request = self.http.get(url).query(&query).timeout(Duration::from_secs(10));
        let response = request.send().await.context("call the endpoint")?;
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        ensure!(status == 200, "the endpoint answered {status}");
        ensure!(body == challenge, "the endpoint did not answer with the challenge");
        Ok(status.as_u16())
    }

    /// Posts one change as it is: any recorded webhook's `value`.
    pub fn post_webhook(&self, raw: RawWebhook) -> Result<()> {
        let mut state = self.lock();
        ensure!(state.numbers.contains_key(&raw.number), "no such number");
        let update = Update { id: raw.field.clone(), field: raw.field, value: raw.value };
        ensure!(state.enqueue(&raw.number, update), "the outbox of this number is full");
        Ok(())
    }

    /// The chat of a customer (phone or BSUID) with a number.
    pub fn phone(&self, number: &str, customer: &str) -> Option<PhoneView> {
        let state = self.lock();
        Some(state.phone(number, state.known(customer)?))
    }

    /// Every chat there is.
    pub fn phones(&self) -> Vec<PhoneView> {
        self.lock().phones()
    }

    /// Updates (messages, statuses) that no webhook endpoint answered with 200 yet.
    pub fn undelivered(&self) -> usize {
        self.lock().numbers.values().map(|line| line.undelivered).sum()
    }

    /// Moves this simulator's clock ahead of (or behind) the real one.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.record.control("whatsapp clock", offset_ms.into());
        self.lock().offset_ms = offset_ms;
    }

    pub fn add_fault(&self, rule: Rule) {
        self.record.control("whatsapp fault", json!(rule));
        self.lock().faults.add(rule);
    }

    pub fn clear_faults(&self) {
        self.record.control("whatsapp faults cleared", Value::Null);
        self.lock().faults.clear();
    }

    pub fn faults(&self) -> Vec<Rule> {
        self.lock().faults.rules()
    }
}
