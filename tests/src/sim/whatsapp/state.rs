//! Who is there, what was said, what waits for delivery.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    config::{Customer, Number, PhoneMessage, PhoneView, WhatsAppConfig},
    wire::{self, Direction},
};
use crate::sim::{
    faults::Faults,
    record::{Record, What, wall_ms},
};

/// Updates that wait for delivery, per number; more are refused to the test, not forgotten.
pub(super) const MAX_OUTBOX: usize = 1_000_000;

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: WhatsAppConfig,
    pub(super) record: Arc<Record>,
    pub(super) numbers: BTreeMap<String, Line>,
    pub(super) faults: Faults,
    pub(super) offset_ms: i64,
    customers: Vec<Customer>,
    /// Phone and BSUID to index.
    aliases: HashMap<String, usize>,
    chats: HashMap<(String, usize), Chat>,
    by_wamid: HashMap<String, Place>,
    counter: u64,
    pub(super) window_refusals: u64,
}

/// Where a message is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) number: String,
    pub(super) customer: usize,
    index: usize,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: Number,
    pub(super) outbox: VecDeque<Job>,
    pub(super) wake: Arc<Notify>,
    /// Whether its dispatcher runs.
    pub(super) dispatched: bool,
    /// Updates whose first copy was not answered 200 yet.
    pub(super) undelivered: usize,
    bucket: Bucket,
}

#[derive(Debug)]
pub(super) enum Job {
    Update(Update),
    Retry(super::delivery::Post),
}

#[derive(Debug)]
pub(super) struct Update {
    pub(super) field: String,
    pub(super) value: Value,
    pub(super) id: String,
}

#[derive(Debug, Default)]
struct Chat {
    messages: Vec<PhoneMessage>,
    /// When the customer last wrote, by the simulator's clock.
    last_said_ms: Option<i64>,
    bucket: Option<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(capacity: u32) -> Self {
        Self { tokens: f64::from(capacity), at: Instant::now() }
    }

    fn refill(&mut self, capacity: u32, per_second: f64) {
        let now = Instant::now();
        let gained = now.duration_since(self.at).as_secs_f64() * per_second;
        self.tokens = (self.tokens + gained).min(f64::from(capacity));
        self.at = now;
    }
}

impl State {
    pub(super) fn new(config: WhatsAppConfig, record: Arc<Record>) -> Self {
        Self {
            config,
            record,
            numbers: BTreeMap::new(),
            faults: Faults::default(),
            offset_ms: 0,
            customers: Vec::new(),
            aliases: HashMap::new(),
            chats: HashMap::new(),
            by_wamid: HashMap::new(),
            counter: 0,
            window_refusals: 0,
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        wall_ms() + self.offset_ms
    }

    pub(super) fn set_number(&mut self, mut number: Number) -> Arc<Notify> {
        if number.display_phone_number.is_empty() {
            number.display_phone_number = number.phone_number_id.clone();
        }
        let per_second = self.config.number_per_second;
        let line = self.numbers.entry(number.phone_number_id.clone()).or_insert_with(|| Line {
            number: number.clone(),
            outbox: VecDeque::new(),
            wake: Arc::default(),
            dispatched: false,
            undelivered: 0,
            bucket: Bucket::full(per_second),
        });
        line.number = number;
        line.wake.clone()
    }

    /// Finds the customer by phone or BSUID, learns what is new, or makes one.
    pub(super) fn meet(&mut self, customer: &Customer) -> usize {
        let names = [customer.phone.as_ref(), customer.bsuid.as_ref()];
        let known = names.into_iter().flatten().find_map(|alias| self.aliases.get(alias).copied());
        let index = known.unwrap_or_else(|| {
            self.customers.push(Customer::default());
            self.customers.len() - 1
        });
        let auto = self.config.auto_bsuid;
        let person = &mut self.customers[index];
        let learn = |old: &mut Option<String>, new: &Option<String>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        learn(&mut person.phone, &customer.phone);
        learn(&mut person.bsuid, &customer.bsuid);
        learn(&mut person.parent_bsuid, &customer.parent_bsuid);
        learn(&mut person.name, &customer.name);
        learn(&mut person.username, &customer.username);
        if auto && person.bsuid.is_none() {
            person.bsuid = person.phone.as_ref().map(|phone| format!("US.{phone:0>20}"));
        }
        let aliases: Vec<String> =
            [&person.phone, &person.bsuid, &person.parent_bsuid].into_iter().flatten().cloned().collect();
        for alias in aliases {
            self.aliases.insert(alias, index);
        }
        index
    }

    pub(super) fn known(&self, alias: &str) -> Option<usize> {
        self.aliases.get(alias).copied()
    }

    pub(super) fn customer(&self, index: usize) -> &Customer {
        &self.customers[index]
    }

    pub(super) fn next_wamid(&mut self, customer: usize, direction: Direction) -> String {
        self.counter += 1;
        wire::wamid(&self.customers[customer].key(), direction, self.counter)
    }

    fn chat(&mut self, number: &str, customer: usize) -> &mut Chat {
        self.chats.entry((number.to_owned(), customer)).or_default()
    }

    /// Puts a message into the chat, in the order of the calls.
    pub(super) fn put(&mut self, number: &str, customer: usize, message: PhoneMessage) {
        let wamid = message.wamid.clone();
        let from_customer = message.from_customer;
        let at_ms = message.at_ms;
        let chat = self.chat(number, customer);
        chat.messages.push(message);
        if from_customer {
            chat.last_said_ms = chat.last_said_ms.max(Some(at_ms));
        }
        let index = chat.messages.len() - 1;
        self.by_wamid.insert(wamid, Place { number: number.to_owned(), customer, index });
    }

    pub(super) fn window_open(&mut self, number: &str, customer: usize) -> bool {
        let now = self.now_ms();
        let hours = i64::from(self.config.window_hours);
        let last = self.chat(number, customer).last_said_ms;
        last.is_some_and(|last| now - last < hours * 3_600_000)
    }

    /// Takes one message from the pair's bucket (capacity 45, one more each 6 s).
    pub(super) fn take_pair(&mut self, number: &str, customer: usize) -> bool {
        let WhatsAppConfig { pair_limit, pair_burst, pair_refill_ms, .. } = self.config;
        if !pair_limit {
            return true;
        }
        let bucket = self.chat(number, customer).bucket.get_or_insert_with(|| Bucket::full(pair_burst));
        bucket.refill(pair_burst, 1_000.0 / pair_refill_ms.max(1) as f64);
        let free = bucket.tokens >= 1.0;
        bucket.tokens -= f64::from(u8::from(free));
        free
    }

    /// Takes one message from the number's bucket. What customers send counts, but is never refused.
    pub(super) fn take_number(&mut self, number: &str, inbound: bool) -> bool {
        let WhatsAppConfig { number_limit, number_per_second, .. } = self.config;
        let Some(line) = self.numbers.get_mut(number) else { return false };
        if !number_limit {
            return true;
        }
        line.bucket.refill(number_per_second, f64::from(number_per_second));
        let free = line.bucket.tokens >= 1.0;
        if free || inbound {
            line.bucket.tokens = (line.bucket.tokens - 1.0).max(0.0);
        }
        free
    }

    pub(super) fn place(&self, wamid: &str) -> Option<Place> {
        self.by_wamid.get(wamid).cloned()
    }

    pub(super) fn message(&mut self, place: &Place) -> Option<&mut PhoneMessage> {
        self.chats.get_mut(&(place.number.clone(), place.customer))?.messages.get_mut(place.index)
    }

    pub(super) fn phone(&self, number: &str, customer: usize) -> PhoneView {
        let person = &self.customers[customer];
        PhoneView {
            number: number.to_owned(),
            customer: person.key(),
            name: person.name.clone(),
            bsuid: person.bsuid.clone(),
            messages: self
                .chats
                .get(&(number.to_owned(), customer))
                .map(|chat| chat.messages.clone())
                .unwrap_or_default(),
        }
    }

    pub(super) fn phones(&self) -> Vec<PhoneView> {
        let mut chats: Vec<_> = self.chats.keys().collect();
        chats.sort();
        chats.into_iter().map(|(number, customer)| self.phone(number, *customer)).collect()
    }

    /// Queues one webhook update of a number. False: the outbox is full.
    #[must_use]
    pub(super) fn enqueue(&mut self, number: &str, update: Update) -> bool {
        let Some(line) = self.numbers.get_mut(number) else { return false };
        if line.outbox.len() >= MAX_OUTBOX {
            self.record.push(What::WebhookDropped { number: number.to_owned(), ids: vec![update.id] });
            return false;
        }
        line.undelivered += 1;
        line.outbox.push_back(Job::Update(update));
        line.wake.notify_one();
        true
    }

    /// `contacts[0]` of a message.
    pub(super) fn contact(&self, customer: usize) -> Value {
        let person = &self.customers[customer];
        let mut contact = json!({ "profile": {} });
        for (key, value) in [("name", &person.name), ("username", &person.username)] {
            if let Some(value) = value {
                contact["profile"][key] = value.clone().into();
            }
        }
        for (key, value) in
            [("wa_id", &person.phone), ("user_id", &person.bsuid), ("parent_user_id", &person.parent_bsuid)]
        {
            if let Some(value) = value {
                contact[key] = value.clone().into();
            }
        }
        contact
    }

    pub(super) fn metadata(&self, number: &str) -> Value {
        let display = self.numbers.get(number).map(|line| line.number.display_phone_number.clone());
        json!({ "display_phone_number": display, "phone_number_id": number })
    }

    /// Moves a message's tick and queues the status; never down, as phones show it.
    pub(super) fn tick(&mut self, wamid: &str, status: &str) {
        const RANKS: [&str; 4] = ["accepted", "sent", "delivered", "read"];
        let Some(place) = self.place(wamid) else { return };
        let rank = |tick: &str| RANKS.iter().position(|known| *known == tick);
        let Some(message) = self.message(&place) else { return };
        if status == "failed" || rank(status) > rank(&message.tick) {
            message.tick = status.to_owned();
        }
        let opaque = message.opaque.clone();
        let person = self.customers[place.customer].clone();
        self.record.push(What::Tick {
            number: place.number.clone(),
            customer: person.key(),
            wamid: wamid.to_owned(),
            status: status.to_owned(),
            opaque: opaque.clone(),
        });
        let mut entry = json!({
            "id": wamid, "status": status, "timestamp": (self.now_ms() / 1_000).to_string(),
        });
        if let Some(phone) = &person.phone {
            entry["recipient_id"] = phone.clone().into();
        }
        if let Some(opaque) = opaque {
            entry["biz_opaque_callback_data"] = opaque.into();
        }
        let mut value = json!({ "messaging_product": "whatsapp", "metadata": self.metadata(&place.number) });
        if status == "failed" {
            entry["errors"] = json!([wire::status_error(131047)]);
        } else {
            let mut contact = self.contact(place.customer);
            if let Some(contact) = contact.as_object_mut() {
                contact.remove("profile");
            }
            value["contacts"] = json!([contact]);
            if let Some(bsuid) = person.bsuid {
                entry["recipient_user_id"] = bsuid.into();
            }
            if matches!(status, "sent" | "delivered") {
                entry["pricing"] = json!({
                    "billable": false, "pricing_model": "PMP", "type": "free_customer_service",
                    "category": "service",
                });
            }
        }
        value["statuses"] = json!([entry]);
        let update = Update { field: "messages".into(), value, id: format!("{wamid}:{status}") };
        let _queued = self.enqueue(&place.number, update);
    }
}
