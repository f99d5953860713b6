//! Webhook payloads, read tolerantly: what is JSON and ours is never refused, and what is not
//! understood is kept whole
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components>; §1.3, §2, §3).
//!
//! Ids and times come as strings or numbers, contacts in any order or not at all, phone numbers
//! may be hidden, types and fields appear without notice. So every value is first taken as it
//! stands, and looked into only where it is needed.

mod content;
mod event;
mod identity;
mod node;
mod wire;

use bytes::Bytes;
use domain::{
    Millis, PhoneNumberId, WabaId, Wamid,
    message::{Content, Customer, InboundMessage, MessageContext},
};
pub use event::{Event, Identity, Message, Other, Problem, Status};

/// The most events a body may hold. Meta sends up to 1,000 updates (§1.3); what is far above was
/// not made by Meta, and would cost one log entry each.
pub const MAX_EVENTS: usize = 10_000;

/// The longest id that is taken for one, in bytes: a wamid has up to 256 characters, a BSUID 131
/// (§2.1, §4.1). With it, and [`MAX_NAME_CHARS`], an event is not much larger than its JSON.
pub const MAX_ID_BYTES: usize = 512;
/// Names are chosen by customers and of any length: longer ones are cut.
pub const MAX_NAME_CHARS: usize = 256;

/// 512 characters (§3), in UTF-8.
const MAX_OPAQUE_BYTES: usize = 4 * crate::client::MAX_OPAQUE_CHARS;

/// Why a body gives no events. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("the body is not JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    /// JSON, but about another Meta product, or nothing we know.
    #[error("the body's object is not whatsapp_business_account")]
    NotOurs,
    #[error("the body holds more than {MAX_EVENTS} events")]
    TooMany,
}

/// Everything that `body` tells, in its order. `received_at` stands in for a timestamp that is
/// missing or cannot be read.
pub fn parse(body: &Bytes, received_at: Millis) -> Result<Vec<Event>, ParseError> {
    let text = std::str::from_utf8(body).map_err(|_| ParseError::NotJson { line: 0, column: 0 })?;
    let mut reader = Reader { body, received_at, events: Vec::new() };
    if let Some(usual) = wire::Usual::read(text) {
        for entry in &usual.entry {
            let waba = WabaId::new(entry.id.text().unwrap_or_default());
            for change in &entry.changes {
                reader.messages_and_statuses(&waba, &change.value)?;
            }
        }
        return Ok(reader.events);
    }
    let document: node::Node<'_> =
        serde_json::from_str(text).map_err(|e| ParseError::NotJson { line: e.line(), column: e.column() })?;
    let envelope = document.object::<wire::Envelope<'_>>().ok_or(ParseError::NotOurs)?;
    if envelope.object.text().as_deref() != Some("whatsapp_business_account") {
        return Err(ParseError::NotOurs);
    }
    for entry in envelope.entry.items_or_self() {
        let Some(wire::Entry { id, changes }) = entry.object() else {
            reader.whole(&WabaId::new(""), "", entry)?;
            continue;
        };
        let waba = WabaId::new(id.text().unwrap_or_default());
        for change in changes.items_or_self() {
            let Some(wire::Change { field, value }) = change.object() else {
                reader.whole(&waba, "", change)?;
                continue;
            };
            reader.change(&waba, &field.text().unwrap_or_default(), value)?;
        }
    }
    Ok(reader.events)
}

struct Reader<'a> {
    body: &'a Bytes,
    received_at: Millis,
    events: Vec<Event>,
}

/// What all events of one `value` share.
struct Scope<'s, 'a> {
    waba: &'s WabaId,
    field: &'s str,
    metadata: node::Node<'a>,
    number: Option<PhoneNumberId>,
    contacts: identity::Contacts<'a>,
    /// What kind of notice everything in here is; `None`: what customers said to us.
    copy: Option<&'static str>,
}

impl<'s, 'a> Scope<'s, 'a> {
    fn new(
        waba: &'s WabaId,
        field: &'s str,
        value: &wire::Value<'a>,
        contacts: &node::Items<'a>,
        updates: usize,
        copy: Option<&'static str>,
    ) -> Self {
        let contacts = identity::Contacts::new(contacts, updates);
        Self { waba, field, metadata: value.metadata, number: value.number(), contacts, copy }
    }
}

impl<'a> Reader<'a> {
    fn add(&mut self, event: Event) -> Result<(), ParseError> {
        if self.events.len() >= MAX_EVENTS {
            return Err(ParseError::TooMany);
        }
        self.events.push(event);
        Ok(())
    }

    /// Keeps a value that is not taken apart.
    fn whole(&mut self, waba: &WabaId, field: &str, value: node::Node<'a>) -> Result<(), ParseError> {
        let Some(raw) = value.bytes_in(self.body) else { return Ok(()) };
        let number = value.object::<wire::Value<'_>>().and_then(|value| value.number());
        self.add(Event::Other(Other { waba: waba.clone(), field: field.to_owned(), number, raw }))
    }

    fn change(&mut self, waba: &WabaId, field: &str, node: node::Node<'a>) -> Result<(), ParseError> {
        let before = self.events.len();
        if let Some(value) = node.object::<wire::Value<'a>>() {
            self.value(waba, field, &value, node)?;
        }
        // Nothing in it that we know: account events, calls, groups, fields of the future.
        if self.events.len() == before { self.whole(waba, field, node) } else { Ok(()) }
    }

    fn value(
        &mut self,
        waba: &WabaId,
        field: &str,
        value: &wire::Value<'a>,
        node: node::Node<'a>,
    ) -> Result<(), ParseError> {
        let scope = |contacts: &node::Items<'a>, updates, copy| {
            Scope::new(waba, field, value, contacts, updates, copy)
        };
        match field {
            "messages" => self.messages_and_statuses(waba, value),
            // One level deeper (§13.2).
            "standby" => {
                let Some(standby) = value.standby.object::<wire::Value<'a>>() else { return Ok(()) };
                let updates = standby.messages.len() + standby.message_echoes.len() + standby.statuses.len();
                let scope = |copy| scope(&standby.contacts, updates, Some(copy));
                self.messages(&scope("standby"), &standby.messages)?;
                self.echoes(&scope("standby.echo"), &standby.message_echoes)?;
                self.statuses(&scope("standby.status"), &standby.statuses)
            }
            "message_echoes" | "smb_message_echoes" => {
                let echoes = &value.message_echoes;
                self.echoes(&scope(&value.contacts, echoes.len(), Some("echo")), echoes)
            }
            "messaging_handovers" => self.handover(waba, value, node),
            "user_preferences" | "user_id_update" => {
                let updates = [&*value.user_preferences, &*value.user_id_update].concat();
                let scope = scope(&value.contacts, updates.len(), None);
                updates.iter().try_for_each(|update| self.update(&scope, *update))
            }
            _ => Ok(()),
        }
    }

    /// What the field `messages` tells.
    fn messages_and_statuses(&mut self, waba: &WabaId, value: &wire::Value<'a>) -> Result<(), ParseError> {
        let (messages, statuses) = (&value.messages, &value.statuses);
        let updates = messages.len() + statuses.len();
        let scope = Scope::new(waba, "messages", value, &value.contacts, updates, None);
        self.messages(&scope, messages)?;
        self.statuses(&scope, statuses)?;
        if updates > 0 { self.beside(&scope, value, messages.first()) } else { Ok(()) }
    }

    fn messages(&mut self, scope: &Scope<'_, 'a>, messages: &[node::Node<'a>]) -> Result<(), ParseError> {
        for node in messages {
            let event = self.message(scope, *node);
            let event = event.unwrap_or_else(|| self.part(scope, "messages", *node));
            self.add(event)?;
        }
        Ok(())
    }

    /// `None`: no conversation of one customer can be told from it.
    fn message(&self, scope: &Scope<'_, 'a>, node: node::Node<'a>) -> Option<Event> {
        let wire = node.object::<wire::Message<'_>>()?;
        let wamid = wire.id.filled()?;
        let system = wire.system.object::<wire::System<'_>>();
        let customer = identity::sender(&wire, system.as_ref(), &scope.contacts);
        let kind = content::kind(&wire);
        let context = content::context(&wire);
        let (content, identity) = match (scope.copy, kind.as_str()) {
            (Some(copy), _) => {
                let said = Box::new(content::of(&wire, kind));
                (Content::Standby(said), Identity::Text(format!("{copy}/{wamid}")))
            }
            (None, "system") => {
                let named = system.as_ref().and_then(|system| system.kind.filled());
                let kind = named.map_or_else(|| kind.clone(), |named| content::cleaned(&named));
                let changed = matches!(kind.as_str(), "user_changed_number" | "user_changed_user_id");
                let change = system
                    .as_ref()
                    .filter(|_| changed)
                    .and_then(|system| identity::changed(system, &customer));
                let notice = Content::Notice { kind };
                (change.map_or(notice, Content::Identity), Identity::Wamid)
            }
            (None, _) => (content::of(&wire, kind), Identity::Wamid),
        };
        let said = Said { wamid, timestamp: wire.timestamp, customer, content, context, identity };
        self.in_conversation(scope, said, node)
    }

    /// What somebody else sent in our name: the owner in the Business app (§2.7), or another
    /// responder, with the request it made under `message` (§13.2).
    fn echoes(&mut self, scope: &Scope<'_, 'a>, echoes: &[node::Node<'a>]) -> Result<(), ParseError> {
        for node in echoes {
            let event = node.object::<wire::Echo<'_>>().and_then(|wire| {
                let wamid = wire.id.filled()?;
                let sent = wire.message.object::<wire::Echoed<'_>>().unwrap_or_default();
                let customer = identity::addressee(&wire, &sent, &scope.contacts);
                let kind = scope.copy.unwrap_or("echo");
                let identity = Identity::Text(format!("{kind}/{wamid}"));
                // The other responder's request stands under `message`, the owner's message does not.
                let message = if wire.message.is_null() { *node } else { wire.message };
                let message = message.object::<wire::Message<'_>>().unwrap_or_default();
                let said = Box::new(content::of(&message, content::kind(&message)));
                let content = match kind {
                    "echo" => Content::Echo(said),
                    _ => Content::OtherResponder(said),
                };
                let context = MessageContext::default();
                let said = Said { wamid, timestamp: wire.timestamp, customer, content, context, identity };
                self.in_conversation(scope, said, *node)
            });
            let event = event.unwrap_or_else(|| self.part(scope, "message_echoes", *node));
            self.add(event)?;
        }
        Ok(())
    }

    fn statuses(&mut self, scope: &Scope<'_, 'a>, statuses: &[node::Node<'a>]) -> Result<(), ParseError> {
        for node in statuses {
            let event = self.status(scope, *node);
            let event = event.unwrap_or_else(|| self.part(scope, "statuses", *node));
            self.add(event)?;
        }
        Ok(())
    }

    fn status(&self, scope: &Scope<'_, 'a>, node: node::Node<'a>) -> Option<Event> {
        let wire = node.object::<wire::Status<'_>>()?;
        let wamid = wire.id.filled()?;
        let status = wire.status.filled()?;
        // Calls have statuses too, which must not touch a message's; a group's statuses come one
        // per participant under one wamid (§2.7, §3).
        let about_a_call = wire.kind.text().is_some_and(|kind| kind == "call");
        let to_a_group = wire.recipient_type.text().is_some_and(|kind| kind == "group");
        if about_a_call || to_a_group {
            return None;
        }
        if wamid.len() > MAX_ID_BYTES {
            return None;
        }
        let customer = identity::recipient(&wire, &scope.contacts);
        if let Some(copy) = scope.copy {
            let identity = Identity::Text(format!("{copy}/{wamid}/{status}"));
            let content = Content::Notice { kind: copy.into() };
            let context = MessageContext::default();
            let said = Said { wamid, timestamp: wire.timestamp, customer, content, context, identity };
            return self.in_conversation(scope, said, node);
        }
        Some(Event::Status(Status {
            waba: scope.waba.clone(),
            number: scope.number.clone()?,
            wamid: Wamid::new(wamid),
            status: content::cleaned(&status),
            at: self.time(wire.timestamp),
            customer: customer.id().is_some_and(|id| id.as_str().len() <= MAX_ID_BYTES).then_some(customer),
            opaque: wire
                .biz_opaque_callback_data
                .filled()
                .filter(|text| text.len() <= MAX_OPAQUE_BYTES)
                .map(Into::into),
            problems: wire.errors.items().into_iter().filter_map(problem).collect(),
            raw: node.bytes_in(self.body)?,
        }))
    }

    /// Keys of `value` that stand beside messages: what went wrong on Meta's side, and another
    /// responder's summary (§2.6, §13.2).
    fn beside(
        &mut self,
        scope: &Scope<'_, 'a>,
        value: &wire::Value<'a>,
        first: Option<&node::Node<'a>>,
    ) -> Result<(), ParseError> {
        for error in value.errors.iter() {
            let event = self.part(scope, "errors", *error);
            self.add(event)?;
        }
        if value.conversation_context.is_null() {
            return Ok(());
        }
        let node = value.conversation_context;
        let about = first.filter(|_| scope.contacts.one()).and_then(|first| {
            let wire = first.object::<wire::Message<'_>>()?;
            let identity = Identity::Text(format!("conversation_context/{}", wire.id.filled()?));
            let customer = identity::sender(&wire, None, &scope.contacts);
            let content = Content::Notice { kind: "conversation_context".into() };
            let context = MessageContext::default();
            let said =
                Said { wamid: "".into(), timestamp: wire.timestamp, customer, content, context, identity };
            self.in_conversation(scope, said, node)
        });
        let event = about.unwrap_or_else(|| self.part(scope, "conversation_context", node));
        self.add(event)
    }

    /// Another responder gave us the conversation or took it (§13.2). Has no `metadata`.
    fn handover(
        &mut self,
        waba: &WabaId,
        value: &wire::Value<'a>,
        node: node::Node<'a>,
    ) -> Result<(), ParseError> {
        let Some(customer) =
            value.sender.object::<wire::HandoverSender<'_>>().map(|sender| identity::hander(&sender))
        else {
            return Ok(());
        };
        let kind = value.kind.text().map_or_else(|| "handover".to_owned(), |kind| content::cleaned(&kind));
        let id = customer.id().map(|id| id.as_str().to_owned()).unwrap_or_default();
        let time = value.timestamp.text().unwrap_or_default();
        let scope = Scope {
            waba,
            field: "messaging_handovers",
            metadata: node::Node::default(),
            number: value.number(),
            contacts: identity::Contacts::default(),
            copy: None,
        };
        let identity = Identity::Text(format!("handover/{kind}/{id}/{time}"));
        let content = match kind.as_str() {
            "control_passed" => content::passed(value.control_passed),
            "control_taken" => Content::ControlTaken,
            _ => Content::Notice { kind },
        };
        let context = MessageContext::default();
        let said =
            Said { wamid: "".into(), timestamp: value.timestamp, customer, content, context, identity };
        let event = self.in_conversation(&scope, said, node);
        // Without a customer the value is kept whole by the caller.
        event.map_or(Ok(()), |event| self.add(event))
    }

    /// A change of what a customer allows or is called (§2.7, §4.8).
    fn update(&mut self, scope: &Scope<'_, 'a>, node: node::Node<'a>) -> Result<(), ParseError> {
        let event = node.object::<wire::Update<'_>>().and_then(|wire| {
            let customer = identity::updated(&wire, &scope.contacts);
            let kind = content::cleaned(scope.field);
            let identity = Identity::Text(format!("{kind}/{}", node.source()));
            let wanted = wire.value.text().and_then(|value| match &*value {
                "stop" => Some(false),
                "resume" => Some(true),
                _ => None,
            });
            let content = match (scope.field, wanted) {
                ("user_preferences", Some(wanted)) => Content::MarketingConsent { wanted },
                _ => Content::Notice { kind },
            };
            let context = MessageContext::default();
            let said =
                Said { wamid: "".into(), timestamp: wire.timestamp, customer, content, context, identity };
            self.in_conversation(scope, said, node)
        });
        let event = event.unwrap_or_else(|| self.part(scope, scope.field, node));
        self.add(event)
    }

    /// `None`: whose conversation it belongs to cannot be told.
    fn in_conversation(&self, scope: &Scope<'_, 'a>, said: Said<'_>, raw: node::Node<'a>) -> Option<Event> {
        let Said { wamid, timestamp, customer, content, context, identity } = said;
        let ids = [&customer.phone, &customer.bsuid, &customer.parent_bsuid].into_iter().flatten();
        if ids.map(String::len).chain([wamid.len()]).any(|bytes| bytes > MAX_ID_BYTES) {
            return None;
        }
        context.group.is_none().then(|| customer.id()).map_or(Some(()), |id| id.map(|_| ()))?;
        let message = InboundMessage {
            number: scope.number.clone()?,
            wamid: Wamid::new(wamid),
            sent_at: self.time(timestamp),
            customer,
            content,
            context,
        };
        Some(Event::Message(Message {
            waba: scope.waba.clone(),
            message,
            identity,
            raw: raw.bytes_in(self.body)?,
        }))
    }

    /// One element of an array of `value`, kept in a value of its own with its metadata.
    fn part(&self, scope: &Scope<'_, 'a>, array: &str, node: node::Node<'a>) -> Event {
        let contact = scope.contacts.of_element(node);
        let contacts =
            contact.map(|contact| format!("\"contacts\":[{}],", contact.source())).unwrap_or_default();
        let metadata = match scope.metadata.is_null() {
            true => String::new(),
            false => format!("\"metadata\":{},", scope.metadata.source()),
        };
        let raw = format!("{{{metadata}{contacts}{}:[{}]}}", node::quoted(array), node.source());
        let number = scope.number.clone();
        Event::Other(Other {
            waba: scope.waba.clone(),
            field: scope.field.to_owned(),
            number,
            raw: raw.into(),
        })
    }

    /// Seconds since the epoch, as a string or a number; one client saw milliseconds (§2.1).
    fn time(&self, timestamp: node::Node<'_>) -> Millis {
        /// The year 5138 in seconds, and 1973 in milliseconds.
        const MILLISECONDS_FROM: i64 = 100_000_000_000;
        match timestamp.integer() {
            Some(seconds @ 1..MILLISECONDS_FROM) => seconds * 1000,
            Some(millis @ MILLISECONDS_FROM..100_000_000_000_000) => millis,
            Some(_) | None => self.received_at,
        }
    }
}

/// What a message or a notice is made of.
struct Said<'t> {
    wamid: std::borrow::Cow<'t, str>,
    timestamp: node::Node<'t>,
    customer: Customer,
    content: Content,
    context: MessageContext,
    identity: Identity,
}

fn problem(node: node::Node<'_>) -> Option<Problem> {
    let wire = node.object::<wire::Problem<'_>>()?;
    let code = wire.code.integer().and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
    let title = wire.title.filled().or_else(|| wire.message.filled()).unwrap_or_default();
    Some(Problem { code, title: title.chars().take(200).collect() })
}
