//! From what a webhook tells to log entries: pure, and the only place that knows which subject an
//! event has.

use std::collections::HashMap;

use domain::{
    ConversationKey,
    derive::Keying,
    message::{Content, MessageContext},
};
use proto::{
    subjects::{self, Kind, SendRef},
    v1::{self, entry::Body, whats_app_status},
};
use whatsapp::webhook::{Event, Identity, Message, Other, Status};

/// Text beyond this stands in an entry's raw JSON only: with it twice, an entry could outgrow
/// what the broker takes. WhatsApp's own apps stop at 65,536 characters.
const LONGEST_TEXT_BYTES: usize = 256 * 1024;

/// The most that an entry adds to the JSON it keeps, in bytes.
pub const ENTRY_OVERHEAD_BYTES: usize = LONGEST_TEXT_BYTES + 64 * 1024;

/// An entry on its way into the log.
#[derive(Clone)]
pub struct Entry {
    pub kind: &'static str,
    pub subject: String,
    /// Shares the webhook's raw JSON.
    pub body: Body,
}

/// What people wrote is in there.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Whose conversation an event belongs to, if it does to any.
fn conversation(event: &Event, keying: &Keying) -> Option<ConversationKey> {
    match event {
        Event::Message(event) => {
            Some(keying.conversation(&event.message.number, &event.message.conversation()?))
        }
        Event::Status(event) => {
            let opaque = event.opaque.as_deref();
            // Our own word for the conversation first: a status may know less than we do.
            opaque.and_then(SendRef::conversation_in_opaque).or_else(|| {
                let customer = event.customer.as_ref()?.id()?;
                Some(keying.conversation(&event.number, &customer))
            })
        }
        Event::Other(_) => None,
    }
}

pub fn entry(event: Event, keying: &Keying) -> Entry {
    let key = conversation(&event, keying);
    entry_in(key, event, keying)
}

fn entry_in(key: Option<ConversationKey>, event: Event, keying: &Keying) -> Entry {
    match (event, key) {
        (Event::Message(event), Some(key)) => message(event, key, keying),
        (Event::Message(event), None) => account(
            Other { waba: event.waba, field: "messages".into(), number: None, raw: event.raw },
            keying,
        ),
        (Event::Status(event), Some(key)) => status(event, key, keying),
        (Event::Status(event), None) => account(event.into_other(), keying),
        (Event::Other(event), _) => account(event, keying),
    }
}

fn message(mut event: Message, key: ConversationKey, keying: &Keying) -> Entry {
    let id = match &event.identity {
        Identity::Wamid => keying.wamid(&event.message.wamid),
        Identity::Text(text) => keying.event(text.as_bytes()),
    };
    if event.raw.len() > LONGEST_TEXT_BYTES {
        event.message.context = MessageContext { referral: None, product: None, ..event.message.context };
        event.message.content = short(event.message.content);
    }
    let body = v1::WhatsAppMessage::new(&event.message, &event.waba, event.raw);
    Entry {
        kind: Kind::WhatsApp.as_str(),
        subject: subjects::fact(&key, Kind::WhatsApp, &id),
        body: Body::WhatsappMessage(body),
    }
}

/// The same with no more than its raw JSON needs beside it. No person's message is as long as those
/// that come here: their text is cut, and what is made of many parts is only named.
fn short(content: Content) -> Content {
    let named = |kind: &str| Content::Other { kind: kind.to_owned(), text: None };
    match content {
        Content::Text(text) => Content::Text(cut(text)),
        Content::Edited { message, text } => Content::Edited { message, text: cut(text) },
        Content::Other { kind, text } => Content::Other { kind, text: text.map(cut) },
        Content::Echo(inner) => Content::Echo(Box::new(short(*inner))),
        Content::Standby(inner) => Content::Standby(Box::new(short(*inner))),
        Content::OtherResponder(inner) => Content::OtherResponder(Box::new(short(*inner))),
        Content::ControlPassed { summary, .. } => {
            Content::ControlPassed { reason: None, summary: summary.map(cut) }
        }
        Content::Media(media) => named(media.kind.as_str()),
        Content::Location(_) => named("location"),
        Content::Contacts(_) => named("contacts"),
        Content::Choice(_) | Content::Form(_) => named("interactive"),
        Content::Order(_) => named("order"),
        Content::Reaction { .. } => named("reaction"),
        // Ids and marks, which the parser bounds.
        content @ (Content::Revoked { .. }
        | Content::Unsupported { .. }
        | Content::Identity(_)
        | Content::ControlTaken
        | Content::MarketingConsent { .. }
        | Content::Notice { .. }) => content,
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_TEXT_BYTES));
    text
}

fn status(event: Status, key: ConversationKey, keying: &Keying) -> Entry {
    let opaque = event.opaque.as_deref();
    let reference = opaque.and_then(SendRef::from_opaque).map(|reference| reference.to_string());
    let id = reference.clone().unwrap_or_else(|| keying.wamid(&event.wamid));
    let subject = subjects::status(&key, &id, &event.status);
    let problems = event
        .problems
        .into_iter()
        .map(|problem| whats_app_status::Problem { code: problem.code, title: problem.title });
    let body = v1::WhatsAppStatus {
        phone_number_id: event.number.as_str().to_owned(),
        wamid: event.wamid.as_str().to_owned(),
        status: event.status,
        at: event.at,
        reference,
        problems: problems.collect(),
        mark: opaque.and_then(SendRef::mark_in_opaque).map(Into::into),
        raw: event.raw,
    };
    Entry { kind: Kind::Status.as_str(), subject, body: Body::WhatsappStatus(body) }
}

fn account(event: Other, keying: &Keying) -> Entry {
    Entry {
        kind: "account",
        subject: subjects::account(&event.waba, &event.field, &keying.event(&event.raw)),
        body: Body::AccountEvent(v1::AccountEvent {
            waba_id: event.waba.as_str().to_owned(),
            field: event.field,
            raw: event.raw,
        }),
    }
}

/// The events of one body, in the order in which they are stored: in waves, each of which has at
/// most one event of a conversation. When a wave waits for the one before, every conversation is
/// stored in its order.
pub(crate) struct Waves<'a> {
    events: Vec<Option<Event>>,
    /// The wave, the place in `events`, the conversation; by wave.
    plan: Vec<(u32, usize, Option<ConversationKey>)>,
    keying: &'a Keying,
}

impl<'a> Waves<'a> {
    pub(crate) fn new(events: Vec<Event>, keying: &'a Keying) -> Self {
        let mut of = HashMap::with_capacity(events.len());
        let planned = |(place, event)| {
            let key = conversation(event, keying);
            let wave = key.map_or(0, |key| {
                let next: &mut u32 = of.entry(key).or_insert(0);
                *next += 1;
                *next - 1
            });
            (wave, place, key)
        };
        let mut plan: Vec<_> = events.iter().enumerate().map(planned).collect();
        plan.sort_by_key(|(wave, ..)| *wave); // stable
        Self { events: events.into_iter().map(Some).collect(), plan, keying }
    }

    /// How many events the first wave has: none has more.
    pub(crate) fn width(&self) -> usize {
        self.plan.iter().take_while(|(wave, ..)| *wave == 0).count()
    }

    /// Entries are made when they are asked for, so that a large body is not in memory twice.
    pub(crate) fn next(&mut self) -> Option<impl Iterator<Item = Entry>> {
        let (wave, ..) = self.plan.first()?;
        let end = self.plan.partition_point(|(other, ..)| other == wave);
        let (events, keying) = (&mut self.events, self.keying);
        let wave = self.plan.drain(..end);
        Some(wave.filter_map(|(_, place, key)| Some(entry_in(key, events.get_mut(place)?.take()?, keying))))
    }
}

#[cfg(test)]
mod tests {
    use domain::{SendId, message::Customer};
    use proto::subjects::Address;
    use secrecy::SecretString;

    use super::*;

    fn keying() -> Keying {
        Keying::new(&SecretString::from("test"))
    }

    fn entries(body: &str) -> Vec<Entry> {
        events(body).into_iter().map(|event| entry(event, &keying())).collect()
    }

    fn events(body: &str) -> Vec<Event> {
        let body = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages",
                "value":{{"metadata":{{"phone_number_id":"2"}},{body}}}}}]}}]}}"#
        );
        whatsapp::webhook::parse(&body.into(), 1).unwrap()
    }

    fn key_in(entry: &Entry) -> ConversationKey {
        entry.subject.parse::<Address>().unwrap().key
    }

    fn conversation_of(phone: &str) -> ConversationKey {
        let customer = Customer { phone: Some(phone.into()), ..Customer::default() };
        keying().conversation(&domain::PhoneNumberId::new("2"), &customer.id().unwrap())
    }

    #[test]
    fn a_message_stands_under_its_conversation_and_wamid() {
        let found =
            entries(r#""messages":[{"id":"wamid.1","from":"49","type":"text","text":{"body":"hi"}}]"#);
        let address: Address = found[0].subject.parse().unwrap();
        assert_eq!((address.key, address.kind), (conversation_of("49"), Kind::WhatsApp));
        assert_eq!(address.id, keying().wamid(&domain::Wamid::new("wamid.1")));
        let Body::WhatsappMessage(body) = found[0].body.clone() else { panic!() };
        assert_eq!(body.waba_id, "1");
        assert_eq!(proto::convert::inbound(body).unwrap().content, Content::Text("hi".into()));
        assert!(!found[0].subject.contains("49.") && !found[0].subject.contains("wamid"));
    }

    #[test]
    fn a_status_goes_where_our_opaque_data_says() {
        let key = conversation_of("49");
        let reference = SendRef { send: SendId(domain::derive::uuid("send", &[])), attempt: 1 };
        let opaque = reference.to_opaque_in(&key);
        // A failed send: without the opaque data it would count for a conversation "49123".
        let found = entries(&format!(
            r#""statuses":[{{"id":"w","status":"failed","recipient_id":"49123","biz_opaque_callback_data":"{opaque}",
                "errors":[{{"code":131047,"title":"Re-engagement message"}}]}}]"#
        ));
        assert_eq!(found[0].subject, subjects::status(&key, &reference.to_string(), "failed"));
        let Body::WhatsappStatus(body) = found[0].body.clone() else { panic!() };
        assert_eq!(body.problems[0].code, 131047);
        assert_eq!(body.reference, Some(reference.to_string()));
    }

    #[test]
    fn a_status_of_somebody_elses_send_stands_under_the_wamid() {
        let found = entries(
            r#""statuses":[{"id":"w","status":"read","recipient_id":"49","biz_opaque_callback_data":"{\"a\":1}"}]"#,
        );
        let wamid = keying().wamid(&domain::Wamid::new("w"));
        assert_eq!(found[0].subject, subjects::status(&conversation_of("49"), &wamid, "read"));
    }

    #[test]
    fn a_status_about_nobody_is_an_account_event() {
        let found = entries(r#""statuses":[{"id":"w","status":"failed"}]"#);
        assert!(found[0].subject.starts_with("account.1.messages."), "{:?}", found[0]);
    }

    #[test]
    fn a_standby_copy_does_not_take_the_place_of_the_message() {
        let message = r#"{"id":"w","from":"49","type":"text","text":{"body":"hi"}}"#;
        let direct = entries(&format!(r#""messages":[{message}]"#));
        let body = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"standby",
                "value":{{"metadata":{{"phone_number_id":"2"}},"standby":{{"messages":[{message}]}}}}}}]}}]}}"#
        );
        let copy = whatsapp::webhook::parse(&body.into(), 1).unwrap().remove(0);
        let copy = entry(copy, &keying());
        assert_eq!(key_in(&copy), key_in(&direct[0]));
        assert_ne!(copy.subject, direct[0].subject);
    }

    #[test]
    fn a_huge_text_is_whole_in_the_raw_json_only() {
        let text = "ä".repeat(1_400_000);
        let body =
            format!(r#""messages":[{{"id":"w","from":"49","type":"text","text":{{"body":"{text}"}}}}]"#);
        let found = entries(&body);
        assert!(proto::encode(found[0].body.clone()).len() < body.len() + ENTRY_OVERHEAD_BYTES);
        let Body::WhatsappMessage(body) = found[0].body.clone() else { panic!() };
        assert!(body.raw.len() > text.len());
    }

    #[test]
    fn waves_keep_the_order_within_a_conversation() {
        let found = entries(MIXED);
        let ids: Vec<_> = found.into_iter().map(|entry| entry.subject).collect();
        let keying = keying();
        let mut waves = Waves::new(events(MIXED), &keying);
        assert_eq!(waves.width(), 4);
        let mut stored: Vec<Vec<_>> = Vec::new();
        while let Some(wave) = waves.next() {
            stored.push(wave.map(|entry| entry.subject).collect());
        }
        let expected: [&[usize]; 2] = [&[0, 1, 3, 4], &[2]];
        assert_eq!(stored, expected.map(|wave| wave.iter().map(|&i| ids[i].clone()).collect::<Vec<_>>()));
    }

    const MIXED: &str = r#""messages":[{"id":"a1","from":"1"},{"id":"b1","from":"2"},
        {"id":"a2","from":"1"},{"id":"c"},{"id":"d"}]"#;
}
