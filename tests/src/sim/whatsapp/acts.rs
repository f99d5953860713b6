//! What customers do, as the webhooks that it makes (`whatsapp-cloud-api.md` §2). Shapes are those
//! of `crates/whatsapp/testdata/messages`.

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    WhatsApp,
    config::{Customer, PhoneMessage, Say},
    content::Content,
    inbound::incoming,
    media::MAX_FILE,
    state::{Sent, State},
    wire::Direction,
};
use crate::sim::record::What;

/// A customer does something in the chat with a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Did {
    pub number: String,
    pub customer: Customer,
    pub act: Act,
    /// Quotes this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    #[serde(default)]
    pub forwarded: bool,
    #[serde(default)]
    pub frequently_forwarded: bool,
    /// In this group instead of the chat of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Through an advertisement: the `referral` object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<Value>,
    /// About a product: the `referred_product` object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Value>,
    /// So long ago: the timestamp and the window go by it.
    #[serde(default)]
    pub age_ms: u64,
}

impl Did {
    pub fn new(number: &str, customer: &Customer, act: Act) -> Self {
        Self {
            number: number.to_owned(),
            customer: customer.clone(),
            act,
            quote: None,
            forwarded: false,
            frequently_forwarded: false,
            group: None,
            referral: None,
            product: None,
            age_ms: 0,
        }
    }
}

/// What a customer can do. `wamid` names a message of the chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    Text {
        body: String,
    },
    Image {
        #[serde(default)]
        file: File,
        caption: Option<String>,
    },
    Video {
        #[serde(default)]
        file: File,
        caption: Option<String>,
    },
    Audio {
        #[serde(default)]
        file: File,
    },
    /// A voice note.
    Voice {
        #[serde(default)]
        file: File,
    },
    Document {
        #[serde(default)]
        file: File,
        caption: Option<String>,
    },
    Sticker {
        #[serde(default)]
        file: File,
        #[serde(default)]
        animated: bool,
    },
    Location {
        latitude: f64,
        longitude: f64,
        name: Option<String>,
        address: Option<String>,
        url: Option<String>,
    },
    /// Cards from the address book.
    Contacts {
        contacts: Vec<Value>,
    },
    /// The customer's own number, as asked for by `request_contact_info`.
    SharePhone,
    /// A reply button.
    TapButton {
        wamid: String,
        id: String,
    },
    /// A row of a list.
    TapRow {
        wamid: String,
        id: String,
    },
    /// The n-th quick reply of a template, from 0. `context` is sometimes missing in traffic.
    TapQuickReply {
        wamid: String,
        index: usize,
        #[serde(default)]
        without_context: bool,
    },
    /// The form of a flow.
    FlowReply {
        wamid: String,
        response: Value,
    },
    Order {
        catalog_id: String,
        text: Option<String>,
        product_items: Vec<Value>,
    },
    /// No emoji: the reaction is taken back.
    React {
        wamid: String,
        emoji: Option<String>,
    },
    /// Another text, or another caption. Within 15 minutes.
    Edit {
        wamid: String,
        text: String,
    },
    Revoke {
        wamid: String,
    },
    /// First opening of the chat.
    RequestWelcome,
    /// What Meta does not forward, with its type where it tells.
    Unsupported {
        kind: Option<String>,
    },
    /// A file over 100 MB.
    TooLarge,
    /// A type that nobody knows yet.
    Unknown {
        kind: String,
        object: Value,
    },
}

/// A file of a customer. Everything has a default that suits the verb.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// Instead of `bytes`: so many, made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

impl File {
    pub fn bytes(bytes: &[u8]) -> Self {
        Self { bytes: Some(STANDARD.encode(bytes)), ..Self::default() }
    }

    pub(super) fn read(&self, magic: &[u8]) -> Result<Bytes> {
        let bytes = match (&self.bytes, self.size) {
            (Some(bytes), None) => STANDARD.decode(bytes).context("the file is not base64")?,
            (None, size) => {
                let size = size.unwrap_or(magic.len() + 64);
                ensure!(size <= MAX_FILE, "customers' files end at 100 MB; `too_large` is what then comes");
                let mut bytes = magic.to_vec();
                bytes.resize(size.max(magic.len()), b'.');
                bytes
            }
            (Some(_), Some(_)) => bail!("either bytes or a size"),
        };
        Ok(bytes.into())
    }
}

/// A message on its way in.
pub(super) struct Incoming {
    /// `type`, its object and what else belongs to the message.
    pub(super) members: Map<String, Value>,
    pub(super) shown: String,
    pub(super) content: Option<Box<Content>>,
    /// Whether it opens the service window.
    pub(super) opens: bool,
    /// Nothing comes of it but a change on the phone.
    pub(super) silent: bool,
}

impl Incoming {
    pub(super) fn new(kind: &str, object: Value, shown: Option<&str>) -> Self {
        let content = Content::of(kind, &object);
        let shown = shown.map_or_else(|| content.placeholder(), str::to_owned);
        let mut members = Map::from_iter([("type".to_owned(), kind.into())]);
        if !object.is_null() {
            members.insert(kind.to_owned(), object);
        }
        Self { members, shown, content: Some(Box::new(content)), opens: true, silent: false }
    }

    fn context(&mut self, key: &str, value: Value) {
        let context = self.members.entry("context").or_insert_with(|| json!({}));
        context[key] = value;
    }

    pub(super) fn with_content(mut self, change: impl FnOnce(&mut Content)) -> Self {
        if let Some(content) = &mut self.content {
            change(content);
        }
        self
    }
}

impl WhatsApp {
    /// A customer does something. Gives the wamid of the message that it makes.
    pub fn act(&self, did: Did) -> Result<String> {
        let mut state = self.lock();
        ensure!(state.numbers.contains_key(&did.number), "no such number");
        ensure!(did.customer.phone.is_some() || did.customer.bsuid.is_some(), "a customer needs an id");
        let customer = state.meet(&did.customer);
        let chat = match &did.group {
            Some(group) => {
                let group = state.group(group);
                let members = state.people[group].members.get_or_insert_default();
                if !members.contains(&customer) {
                    members.push(customer);
                }
                group
            }
            None => customer,
        };
        let mut incoming = incoming(&mut state, &did, customer, chat)?;
        if let Some(quoted) = &did.quote {
            quote(&mut state, &mut incoming, &did.number, customer, quoted);
            if let Some(content) = &mut incoming.content {
                content.quoted = Some(quoted.clone());
            }
        }
        for (on, key) in [(did.forwarded, "forwarded"), (did.frequently_forwarded, "frequently_forwarded")] {
            if on {
                incoming.context(key, true.into());
            }
        }
        if let Some(product) = did.product {
            incoming.context("referred_product", product);
        }
        if let Some(referral) = did.referral {
            incoming.members.insert("referral".to_owned(), referral);
        }
        if let Some(group) = did.group {
            incoming.members.insert("group_id".to_owned(), group.into());
        }
        receive(&mut state, &did.number, customer, chat, did.age_ms, incoming)
    }

    /// A customer writes. Gives the wamid.
    pub fn say(&self, say: Say) -> Result<String> {
        let incoming = match (say.text, say.message) {
            (Some(text), None) => {
                let mut incoming = Incoming::new("text", json!({ "body": text }), Some(&text));
                incoming.content = None;
                incoming
            }
            (None, Some(Value::Object(members))) => {
                let kind = members.get("type").and_then(Value::as_str).unwrap_or("unknown");
                let object = members.get(kind).cloned().unwrap_or_default();
                Incoming { members: members.clone(), ..Incoming::new(kind, object, None) }
            }
            _ => bail!("say either a text or a message object"),
        };
        let mut state = self.lock();
        ensure!(state.numbers.contains_key(&say.number), "no such number");
        ensure!(say.customer.phone.is_some() || say.customer.bsuid.is_some(), "a customer needs an id");
        let customer = state.meet(&say.customer);
        receive(&mut state, &say.number, customer, customer, say.age_ms, incoming)
    }
}

/// Puts a message into the chat and its webhook into the outbox.
fn receive(
    state: &mut State,
    number: &str,
    customer: usize,
    chat: usize,
    age_ms: u64,
    incoming: Incoming,
) -> Result<String> {
    let wamid = state.next_wamid(customer, Direction::Inbound);
    let sent_at_ms = state.now_ms() - i64::try_from(age_ms).unwrap_or(i64::MAX);
    let mut message = json!({ "id": wamid, "timestamp": (sent_at_ms / 1_000).to_string() });
    let seen = state.seen(customer);
    for (key, value) in
        [("from", &seen.phone), ("from_user_id", &seen.bsuid), ("from_parent_user_id", &seen.parent_bsuid)]
    {
        if let Some(value) = value {
            message[key] = value.clone().into();
        }
    }
    let text = incoming.members.get("text").and_then(|text| text["body"].as_str()).map(str::to_owned);
    for (key, value) in incoming.members {
        message[key] = value;
    }
    state.take_number(number, true);
    // Before the clock of the thread begins anew.
    let ours = state.route(number, chat);
    if incoming.opens {
        state.opened(number, chat, sent_at_ms);
    }
    let shown = PhoneMessage {
        wamid: wamid.clone(),
        from_customer: true,
        text: incoming.shown,
        at_ms: sent_at_ms,
        tick: "sent".to_owned(),
        visible: true,
        opaque: None,
        content: incoming.content,
    };
    state.put(number, chat, shown, Sent::default());
    state.record.push(What::CustomerSaid {
        number: number.to_owned(),
        customer: state.customer(customer).key(),
        wamid: wamid.clone(),
        text,
        sent_at_ms,
    });
    if incoming.silent {
        return Ok(wamid);
    }
    let contacts = json!([state.contact(customer)]);
    ensure!(state.arrive(number, ours, Some(contacts), message, &wamid), "the outbox of this number is full");
    Ok(wamid)
}

/// `context.from` tells whose message it is.
pub(super) fn quote(state: &mut State, incoming: &mut Incoming, number: &str, customer: usize, quoted: &str) {
    let place = state.place(quoted).cloned();
    let theirs = place.and_then(|place| state.message(&place).map(|message| message.from_customer));
    let from = match theirs {
        Some(true) => state.seen(customer).key(),
        Some(false) | None => {
            state.numbers.get(number).map(|line| line.number.display_phone_number.clone()).unwrap_or_default()
        }
    };
    incoming.context("from", from.into());
    incoming.context("id", quoted.into());
}
