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
    limits::{Bucket, Rate},
    media::Library,
    portfolio::Portfolio,
    setup::Setup,
    templates::Template,
    threads::Owner,
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
    pub(super) library: Library,
    pub(super) templates: Vec<Template>,
    pub(super) portfolio: Portfolio,
    /// Where this simulator listens.
    pub(super) base_url: String,
    pub(super) people: Vec<Person>,
    /// Phone, BSUID and group id to index.
    pub(super) aliases: HashMap<String, usize>,
    pub(super) chats: HashMap<(String, usize), Chat>,
    by_wamid: HashMap<String, Place>,
    history: HashMap<String, Vec<Event>>,
    /// Per business account: the hour's beginning and its management calls.
    pub(super) management: HashMap<String, (i64, u32)>,
    counter: u64,
    pub(super) window_refusals: u64,
    origin: Instant,
}

/// A customer, or a group as the business sees it.
#[derive(Debug, Default)]
pub(super) struct Person {
    pub(super) customer: Customer,
    /// The phone is known here and not shown to the business.
    pub(super) withheld: bool,
    /// Of a group: who wrote in it.
    pub(super) members: Option<Vec<usize>>,
}

/// Where a message is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) number: String,
    pub(super) customer: usize,
    pub(super) index: usize,
    pub(super) sent: Sent,
}

/// What statuses say about how a message was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) by_phone: bool,
    /// `service`, `utility`, `marketing`, `authentication`.
    pub(super) category: &'static str,
    pub(super) in_window: bool,
}

/// A status and what became of its webhook.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) status: &'static str,
    pub(super) at_ms: i64,
    /// `webhook_update_state`.
    pub(super) hook: &'static str,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: Number,
    pub(super) setup: Setup,
    pub(super) outbox: VecDeque<Job>,
    pub(super) wake: Arc<Notify>,
    /// Whether its dispatcher runs.
    pub(super) dispatched: bool,
    /// Updates whose first copy was not answered 200 yet.
    pub(super) undelivered: usize,
    bucket: Option<Bucket>,
}

impl Line {
    pub(super) fn accepts(&self, token: &str) -> bool {
        self.number.token == token && self.setup.token_valid
    }

    /// Number beats account beats app (§1.7).
    pub(super) fn callback(&self) -> &str {
        let setup = &self.setup;
        let over = setup.number_callback.as_deref().or(setup.waba_callback.as_deref());
        over.unwrap_or(&self.number.callback_url)
    }
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
pub(super) struct Chat {
    pub(super) messages: Vec<PhoneMessage>,
    /// When the customer last wrote, by the simulator's clock.
    pub(super) last_said_ms: Option<i64>,
    pub(super) typing_until_ms: Option<i64>,
    /// The customer stopped marketing messages.
    pub(super) stopped: bool,
    pub(super) owner: Option<Owner>,
    bucket: Option<Bucket>,
}

impl State {
    pub(super) fn new(config: WhatsAppConfig, record: Arc<Record>) -> Self {
        Self {
            config,
            record,
            numbers: BTreeMap::new(),
            faults: Faults::default(),
            offset_ms: 0,
            library: Library::new(),
            templates: Vec::new(),
            portfolio: Portfolio::default(),
            base_url: String::new(),
            people: Vec::new(),
            aliases: HashMap::new(),
            chats: HashMap::new(),
            by_wamid: HashMap::new(),
            history: HashMap::new(),
            management: HashMap::new(),
            counter: 0,
            window_refusals: 0,
            origin: Instant::now(),
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        wall_ms() + self.offset_ms
    }

    /// For buckets: moves with the clock's offset and never jumps by itself.
    fn monotonic_ms(&self) -> f64 {
        self.origin.elapsed().as_secs_f64() * 1_000.0 + self.offset_ms as f64
    }

    pub(super) fn media_base(&self) -> String {
        self.config.media_base_url.clone().unwrap_or_else(|| self.base_url.clone())
    }

    pub(super) fn set_number(&mut self, mut number: Number) -> Arc<Notify> {
        if number.display_phone_number.is_empty() {
            number.display_phone_number = number.phone_number_id.clone();
        }
        let line = self.numbers.entry(number.phone_number_id.clone()).or_insert_with(|| Line {
            number: number.clone(),
            setup: Setup::default(),
            outbox: VecDeque::new(),
            wake: Arc::default(),
            dispatched: false,
            undelivered: 0,
            bucket: None,
        });
        line.number = number;
        line.wake.clone()
    }

    /// Finds the customer by phone or BSUID, learns what is new, or makes one.
    pub(super) fn meet(&mut self, customer: &Customer) -> usize {
        let names = [customer.phone.as_ref(), customer.bsuid.as_ref()];
        let known = names.into_iter().flatten().find_map(|alias| self.aliases.get(alias).copied());
        let index = known.unwrap_or_else(|| {
            self.people.push(Person::default());
            self.people.len() - 1
        });
        let auto = self.config.auto_bsuid;
        let person = &mut self.people[index].customer;
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

    /// A group, known by its id.
    pub(super) fn group(&mut self, id: &str) -> usize {
        if let Some(known) = self.aliases.get(id) {
            return *known;
        }
        let customer = Customer { bsuid: Some(id.to_owned()), ..Customer::default() };
        self.people.push(Person { customer, withheld: false, members: Some(Vec::new()) });
        self.aliases.insert(id.to_owned(), self.people.len() - 1);
        self.people.len() - 1
    }

    pub(super) fn known(&self, alias: &str) -> Option<usize> {
        self.aliases.get(alias).copied()
    }

    pub(super) fn customer(&self, index: usize) -> &Customer {
        &self.people[index].customer
    }

    /// As the business may see the customer.
    pub(super) fn seen(&self, index: usize) -> Customer {
        let person = &self.people[index];
        let mut customer = person.customer.clone();
        if person.withheld {
            customer.phone = None;
        }
        customer
    }

    pub(super) fn next_wamid(&mut self, customer: usize, direction: Direction) -> String {
        self.counter += 1;
        wire::wamid(&self.seen(customer).key(), direction, self.counter)
    }

    pub(super) fn chat(&mut self, number: &str, customer: usize) -> &mut Chat {
        self.chats.entry((number.to_owned(), customer)).or_default()
    }

    /// Puts a message into the chat, in the order of the calls.
    pub(super) fn put(&mut self, number: &str, customer: usize, message: PhoneMessage, sent: Sent) {
        let wamid = message.wamid.clone();
        let chat = self.chat(number, customer);
        if !message.from_customer && message.visible {
            chat.typing_until_ms = None;
        }
        chat.messages.push(message);
        let index = chat.messages.len() - 1;
        self.by_wamid.insert(wamid, Place { number: number.to_owned(), customer, index, sent });
    }

    /// The customer did something that opens the service window.
    pub(super) fn opened(&mut self, number: &str, customer: usize, at_ms: i64) {
        let chat = self.chat(number, customer);
        chat.last_said_ms = chat.last_said_ms.max(Some(at_ms));
    }

    pub(super) fn window_open(&mut self, number: &str, customer: usize) -> bool {
        let now = self.now_ms();
        let hours = i64::from(self.config.window_hours);
        let last = self.chat(number, customer).last_said_ms;
        last.is_some_and(|last| now - last < hours * 3_600_000)
    }

    /// Takes one message from the pair's bucket (capacity 45, one more each 6 s).
    pub(super) fn take_pair(&mut self, number: &str, customer: usize) -> bool {
        let config = &self.config;
        if !config.pair_limit {
            return true;
        }
        let per_second = 1_000.0 / config.pair_refill_ms.max(1) as f64;
        let rate = Rate { capacity: config.pair_burst, per_second, payback: config.pair_payback };
        let now = self.monotonic_ms();
        self.chat(number, customer).bucket.get_or_insert_with(|| Bucket::full(rate, now)).take(rate, now)
    }

    /// Takes one message from the number's bucket. What customers send counts, but is never refused.
    pub(super) fn take_number(&mut self, number: &str, inbound: bool) -> bool {
        if !self.config.number_limit {
            return true;
        }
        let (now, usual) = (self.monotonic_ms(), self.config.number_per_second);
        let Some(line) = self.numbers.get_mut(number) else { return false };
        let capacity = line.setup.messages_per_second.unwrap_or(usual);
        let rate = Rate { capacity, per_second: f64::from(capacity), payback: false };
        let bucket = line.bucket.get_or_insert_with(|| Bucket::full(rate, now));
        if inbound {
            bucket.force(rate, now);
            return true;
        }
        bucket.take(rate, now)
    }

    pub(super) fn place(&self, wamid: &str) -> Option<&Place> {
        self.by_wamid.get(wamid)
    }

    pub(super) fn message(&mut self, place: &Place) -> Option<&mut PhoneMessage> {
        self.chats.get_mut(&(place.number.clone(), place.customer))?.messages.get_mut(place.index)
    }

    pub(super) fn phone(&self, number: &str, customer: usize) -> PhoneView {
        let person = &self.people[customer].customer;
        let chat = self.chats.get(&(number.to_owned(), customer));
        let now_ms = self.now_ms();
        PhoneView {
            number: number.to_owned(),
            customer: person.key(),
            name: person.name.clone(),
            bsuid: person.bsuid.clone(),
            typing: chat.and_then(|chat| chat.typing_until_ms).is_some_and(|until| now_ms < until),
            messages: chat.map(|chat| chat.messages.clone()).unwrap_or_default(),
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
        let listens = line.setup.listens(&update.field);
        if !listens || line.outbox.len() >= MAX_OUTBOX {
            self.record.push(What::WebhookDropped { number: number.to_owned(), ids: vec![update.id] });
            return !listens;
        }
        line.undelivered += 1;
        line.outbox.push_back(Job::Update(update));
        line.wake.notify_one();
        true
    }

    /// `contacts[0]` of a message.
    pub(super) fn contact(&self, customer: usize) -> Value {
        let person = self.seen(customer);
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

    /// Statuses of a message so far.
    pub(super) fn events(&self, wamid: &str) -> &[Event] {
        self.history.get(wamid).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn happened(&mut self, wamid: &str, status: &'static str) {
        let at_ms = self.now_ms();
        let events = self.history.entry(wamid.to_owned()).or_default();
        events.push(Event { status, at_ms, hook: "PENDING" });
    }

    /// What became of the webhooks with these ids (`<wamid>:<status>`).
    pub(super) fn hooked(&mut self, ids: &[String], hook: &'static str) {
        for id in ids {
            let Some((wamid, status)) = id.rsplit_once(':') else { continue };
            let events = self.history.get_mut(wamid).map(Vec::as_mut_slice).unwrap_or_default();
            if let Some(event) = events.iter_mut().find(|event| event.status == status) {
                event.hook = hook;
            }
        }
    }
}
