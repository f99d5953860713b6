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
    content::{Choice, Content, ShownFile},
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

    fn read(&self, magic: &[u8]) -> Result<Bytes> {
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
    fn new(kind: &str, object: Value, shown: Option<&str>) -> Self {
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

    fn with_content(mut self, change: impl FnOnce(&mut Content)) -> Self {
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
fn quote(state: &mut State, incoming: &mut Incoming, number: &str, customer: usize, quoted: &str) {
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

/// A message that the customer can see.
fn target(state: &mut State, number: &str, chat: usize, wamid: &str) -> Result<PhoneMessage> {
    let place = state.place(wamid).filter(|place| place.number == number && place.customer == chat).cloned();
    let message =
        place.and_then(|place| state.message(&place).cloned()).context("no such message in this chat")?;
    ensure!(message.visible, "the customer does not see this message");
    Ok(message)
}

fn tapped(message: &PhoneMessage, kind: &str, found: impl Fn(&Content) -> Option<Choice>) -> Result<Choice> {
    let content = message.content.as_ref().filter(|content| content.kind == kind);
    content
        .and_then(|content| found(content))
        .with_context(|| format!("nothing like that to tap in a {kind}"))
}

fn incoming(state: &mut State, did: &Did, customer: usize, chat: usize) -> Result<Incoming> {
    let number = did.number.as_str();
    let by_id = |choices: &[Choice], id: &str| choices.iter().find(|choice| choice.id == id).cloned();
    Ok(match &did.act {
        Act::Text { body } => {
            let mut incoming = Incoming::new("text", json!({ "body": body }), Some(body));
            if did.quote.is_none() {
                incoming.content = None;
            }
            incoming
        }
        Act::Image { file, caption } => {
            media(state, number, "image", ("image/jpeg", b"\xff\xd8\xff\xe0"), file, caption.as_deref())?
        }
        Act::Video { file, caption } => {
            media(state, number, "video", ("video/mp4", b"\0\0\0\x18ftypmp42"), file, caption.as_deref())?
        }
        Act::Audio { file } => media(state, number, "audio", ("audio/mpeg", b"ID3\x04"), file, None)?,
        Act::Voice { file } => {
            media(state, number, "voice", ("audio/ogg; codecs=opus", b"OggS"), file, None)?
        }
        Act::Document { file, caption } => {
            media(state, number, "document", ("application/pdf", b"%PDF-1.7"), file, caption.as_deref())?
        }
        Act::Sticker { file, animated } => {
            let magic = b"RIFF\x40\0\0\0WEBP";
            let mut incoming = media(state, number, "sticker", ("image/webp", magic), file, None)?;
            incoming.members["sticker"]["animated"] = (*animated).into();
            incoming
        }
        Act::Location { latitude, longitude, name, address, url } => {
            let mut object = json!({ "latitude": latitude, "longitude": longitude });
            for (key, value) in [("name", name), ("address", address), ("url", url)] {
                if let Some(value) = value {
                    object[key] = value.as_str().into();
                }
            }
            Incoming::new("location", object, name.as_deref())
        }
        Act::Contacts { contacts } => Incoming::new("contacts", json!(contacts), None),
        Act::SharePhone => {
            let person = state.customer(customer);
            let phone = person.phone.clone().context("this customer has no phone")?;
            let name = person.name.clone().unwrap_or_else(|| phone.clone());
            let card = json!([{
                "name": { "formatted_name": name, "first_name": name },
                "phones": [{ "phone": format!("+{phone}"), "wa_id": phone, "type": "CELL" }],
                "origin": "contact_request",
            }]);
            Incoming::new("contacts", card, None)
        }
        Act::TapButton { wamid, id } => {
            let message = target(state, number, chat, wamid)?;
            let choice = tapped(&message, "interactive/button", |content| by_id(&content.buttons, id))?;
            let reply = json!({ "id": choice.id, "title": choice.title });
            let object = json!({ "type": "button_reply", "button_reply": reply });
            answer(state, number, customer, wamid, Incoming::new("interactive", object, Some(&choice.title)))
        }
        Act::TapRow { wamid, id } => {
            let message = target(state, number, chat, wamid)?;
            let choice = tapped(&message, "interactive/list", |content| by_id(&content.rows, id))?;
            let mut reply = json!({ "id": choice.id, "title": choice.title });
            if let Some(description) = &choice.description {
                reply["description"] = description.as_str().into();
            }
            let object = json!({ "type": "list_reply", "list_reply": reply });
            answer(state, number, customer, wamid, Incoming::new("interactive", object, Some(&choice.title)))
        }
        Act::TapQuickReply { wamid, index, without_context } => {
            let message = target(state, number, chat, wamid)?;
            let choice = tapped(&message, "template", |content| content.buttons.get(*index).cloned())?;
            let object = json!({ "text": choice.title, "payload": choice.id });
            let incoming = Incoming::new("button", object, Some(&choice.title));
            if *without_context { incoming } else { answer(state, number, customer, wamid, incoming) }
        }
        Act::FlowReply { wamid, response } => {
            let message = target(state, number, chat, wamid)?;
            tapped(&message, "interactive/flow", |content| content.buttons.first().cloned())?;
            let reply = json!({ "name": "flow", "body": "Sent", "response_json": response.to_string() });
            let object = json!({ "type": "nfm_reply", "nfm_reply": reply });
            answer(state, number, customer, wamid, Incoming::new("interactive", object, Some("Sent")))
        }
        Act::Order { catalog_id, text, product_items } => {
            let mut object = json!({ "catalog_id": catalog_id, "product_items": product_items });
            if let Some(text) = text {
                object["text"] = text.as_str().into();
            }
            Incoming::new("order", object, text.as_deref())
        }
        Act::React { wamid, emoji } => {
            let message = target(state, number, chat, wamid)?;
            let mut object = json!({ "message_id": wamid });
            if let Some(emoji) = emoji {
                object["emoji"] = emoji.as_str().into();
            }
            let mut incoming = Incoming::new("reaction", object, emoji.as_deref());
            // No webhook for what is older than 30 days (§2.2).
            incoming.silent = state.now_ms() - message.at_ms > 30 * 24 * 3_600_000;
            incoming.with_content(|content| content.target = Some(wamid.clone()))
        }
        Act::Edit { wamid, text } => edit(state, number, chat, wamid, text)?,
        Act::Revoke { wamid } => {
            let message = target(state, number, chat, wamid)?;
            ensure!(message.from_customer, "customers revoke their own messages");
            if let Some(place) = state.place(wamid).cloned()
                && let Some(message) = state.message(&place)
            {
                message.visible = false;
            }
            let mut incoming = Incoming::new("revoke", json!({ "original_message_id": wamid }), None);
            incoming.opens = false;
            incoming.with_content(|content| content.target = Some(wamid.clone()))
        }
        Act::RequestWelcome => Incoming::new("request_welcome", Value::Null, None),
        Act::Unsupported { kind } => {
            let object = kind.as_ref().map_or(Value::Null, |kind| json!({ "type": kind }));
            let details = "Message type is currently not supported.";
            failed(Incoming::new("unsupported", object, None), (131_051, "Message type unknown", details))
        }
        Act::TooLarge => {
            let details = "Unable to download the media sent by the user.";
            let incoming = Incoming::new("unsupported", Value::Null, None);
            failed(incoming, (131_052, "Media download error", details))
        }
        Act::Unknown { kind, object } => Incoming::new(kind, object.clone(), None),
    })
}

fn failed(mut incoming: Incoming, (code, title, details): (i64, &str, &str)) -> Incoming {
    let error =
        json!({ "code": code, "title": title, "message": title, "error_data": { "details": details } });
    incoming.members.insert("errors".to_owned(), json!([error]));
    incoming
}

fn answer(state: &mut State, number: &str, customer: usize, wamid: &str, mut incoming: Incoming) -> Incoming {
    quote(state, &mut incoming, number, customer, wamid);
    incoming
}

/// A file with its webhook object; `voice` is audio that was spoken.
fn media(
    state: &mut State,
    number: &str,
    kind: &str,
    (mime_type, magic): (&str, &[u8]),
    file: &File,
    caption: Option<&str>,
) -> Result<Incoming> {
    let bytes = file.read(magic)?;
    let mime_type = file.mime_type.clone().unwrap_or_else(|| mime_type.to_owned());
    let now_ms = state.now_ms();
    let life = (now_ms, state.config.media_inbound_days);
    let size = bytes.len() as u64;
    let id = state.library.put(number, &mime_type, file.filename.clone(), bytes, life);
    let stored = state.library.live(&id, now_ms).context("the file is too large to keep")?;
    let mut object = json!({ "id": id, "mime_type": mime_type, "sha256": stored.base64() });
    let sha256 = stored.hex();
    if let Some(caption) = caption {
        object["caption"] = caption.into();
    }
    if let (Some(filename), "document") = (&file.filename, kind) {
        object["filename"] = filename.as_str().into();
    }
    if matches!(kind, "audio" | "voice") {
        object["voice"] = (kind == "voice").into();
    }
    if state.config.media_url_in_webhooks {
        let ends_ms = now_ms + i64::try_from(state.config.media_url_ms).unwrap_or(i64::MAX / 2);
        object["url"] = (state.media_base() + &state.library.address(&id, ends_ms)).into();
    }
    let voice = kind == "voice";
    let kind = if voice { "audio" } else { kind };
    let shown =
        ShownFile { source: id, mime_type, sha256, bytes: size, filename: file.filename.clone(), voice };
    Ok(Incoming::new(kind, object, caption).with_content(|content| content.file = Some(shown)))
}

fn edit(state: &mut State, number: &str, chat: usize, wamid: &str, text: &str) -> Result<Incoming> {
    let message = target(state, number, chat, wamid)?;
    ensure!(message.from_customer, "customers edit their own messages");
    ensure!(state.now_ms() - message.at_ms <= 15 * 60_000, "messages can be edited for 15 minutes");
    let kind = message.kind().to_owned();
    let mut changed = message.content.as_ref().map(|content| content.object.clone()).unwrap_or_default();
    if kind == "text" {
        changed = json!({ "body": text });
    } else {
        ensure!(matches!(kind.as_str(), "image" | "video" | "document"), "this cannot be edited");
        changed["caption"] = text.into();
        changed.as_object_mut().map(|object| object.remove("url"));
    }
    let inner = json!({ "context": { "id": wamid }, "type": kind, kind.as_str(): changed });
    if let Some(place) = state.place(wamid).cloned()
        && let Some(message) = state.message(&place)
    {
        message.text = text.to_owned();
    }
    let object = json!({ "original_message_id": wamid, "message": inner });
    let mut incoming = Incoming::new("edit", object, Some(text));
    incoming.opens = false;
    Ok(incoming.with_content(|content| content.target = Some(wamid.to_owned())))
}
