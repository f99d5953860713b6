//! The WhatsApp Cloud API, simulated: customers with phones on one side, the API and its webhooks
//! on the other. As strict as `whatsapp-cloud-api.md` for the text loop.

mod api;
mod config;
mod delivery;
mod state;
pub mod wire;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
pub use config::*;
use serde_json::{Value, json};
use state::{State, Update};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::Direction;

use super::{
    faults::Rule,
    patch,
    record::{Record, What},
    server::Server,
};

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
        Server::start(addr, handler, &self.tracker, self.stop.clone()).await
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
        let challenge = fastrand::u32(..).to_string();
        let query =
            [("hub.mode", "subscribe"), ("hub.challenge", challenge.as_str()), ("hub.verify_token", &token)];
        let request = self.http.get(url).query(&query).timeout(Duration::from_secs(10));
        let response = request.send().await.context("call the endpoint")?;
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        self.record.control("whatsapp verify", json!({ "number": number, "status": status.as_u16() }));
        ensure!(status == 200, "the endpoint answered {status}");
        ensure!(body == challenge, "the endpoint did not answer with the challenge");
        Ok(())
    }

    /// A customer writes. Gives the wamid.
    pub fn say(&self, say: Say) -> Result<String> {
        let mut state = self.lock();
        ensure!(state.numbers.contains_key(&say.number), "no such number");
        ensure!(say.customer.phone.is_some() || say.customer.bsuid.is_some(), "a customer needs an id");
        let customer = state.meet(&say.customer);
        let person = state.customer(customer).clone();
        let wamid = state.next_wamid(customer, Direction::Inbound);
        let sent_at_ms = state.now_ms() - i64::try_from(say.age_ms).unwrap_or(i64::MAX);
        let mut message = json!({ "id": wamid, "timestamp": (sent_at_ms / 1_000).to_string() });
        for (key, value) in [
            ("from", &person.phone),
            ("from_user_id", &person.bsuid),
            ("from_parent_user_id", &person.parent_bsuid),
        ] {
            if let Some(value) = value {
                message[key] = value.clone().into();
            }
        }
        let shown = match (&say.text, &say.message) {
            (Some(text), None) => {
                message["type"] = "text".into();
                message["text"] = json!({ "body": text });
                text.clone()
            }
            (None, Some(Value::Object(members))) => {
                for (key, value) in members {
                    message[key] = value.clone();
                }
                format!("[{}]", message["type"].as_str().unwrap_or("unknown"))
            }
            _ => bail!("say either a text or a message object"),
        };
        let value = json!({
            "messaging_product": "whatsapp",
            "metadata": state.metadata(&say.number),
            "contacts": [state.contact(customer)],
            "messages": [message],
        });
        state.take_number(&say.number, true);
        state.put(
            &say.number,
            customer,
            PhoneMessage {
                wamid: wamid.clone(),
                from_customer: true,
                text: shown,
                at_ms: sent_at_ms,
                tick: "sent".to_owned(),
                visible: true,
                opaque: None,
            },
        );
        self.record.push(What::CustomerSaid {
            number: say.number.clone(),
            customer: person.key(),
            wamid: wamid.clone(),
            text: say.text,
            sent_at_ms,
        });
        let update = Update { field: "messages".into(), value, id: wamid.clone() };
        ensure!(state.enqueue(&say.number, update), "the outbox of this number is full");
        Ok(wamid)
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
