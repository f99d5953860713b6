//! Every file in `testdata` is a case; to add one, drop a file there.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use bytes::Bytes;
use domain::message::{Content, Customer, Forwarded, MessageContext};
use whatsapp::webhook::{self, Event, Identity, ParseError};

const RECEIVED_AT: i64 = 1_795_500_000_000;

fn parse(json: impl Into<Bytes>) -> Result<Vec<Event>, ParseError> {
    webhook::parse(&json.into(), RECEIVED_AT)
}

/// The values that `Debug` hides. The test data is invented.
fn shown(event: &Event) -> String {
    let person = |c: &Customer| {
        let part = |name: &str, value: &Option<String>| {
            value.as_ref().map(|v| format!(" {name}={v:?}")).unwrap_or_default()
        };
        [
            part("phone", &c.phone),
            part("bsuid", &c.bsuid),
            part("parent", &c.parent_bsuid),
            part("name", &c.name),
            part("username", &c.username),
        ]
        .concat()
    };
    let raw = |raw: &Bytes| {
        serde_json::from_slice::<serde::de::IgnoredAny>(raw).expect("raw is JSON");
        format!(" raw={}B", raw.len())
    };
    match event {
        Event::Message(m) => {
            let message = &m.message;
            let read: String = message.content.as_text().chars().take(120).collect();
            let content = format!("{:?} {read:?}{}", message.content, around(&message.context));
            let identity = match &m.identity {
                Identity::Wamid => String::new(),
                Identity::Text(text) => format!(" identity={:?}", text.chars().take(80).collect::<String>()),
            };
            format!(
                "message {content}\n  waba={} number={} wamid={} at={}{identity}\n {}{}",
                m.waba.as_str(),
                message.number.as_str(),
                message.wamid.as_str(),
                message.sent_at,
                person(&message.customer),
                raw(&m.raw)
            )
        }
        Event::Status(s) => format!(
            "status {}\n  waba={} number={} wamid={} at={} opaque={:?} problems={:?}\n {}{}",
            s.status,
            s.waba.as_str(),
            s.number.as_str(),
            s.wamid.as_str(),
            s.at,
            s.opaque,
            s.problems,
            s.customer.as_ref().map(person).unwrap_or(" nobody".into()),
            raw(&s.raw)
        ),
        Event::Other(o) => format!(
            "other {:?}\n  waba={} number={:?}{}",
            o.field,
            o.waba.as_str(),
            o.number.as_ref().map(|n| n.as_str()),
            raw(&o.raw)
        ),
    }
}

fn around(context: &MessageContext) -> String {
    let MessageContext { quotes, forwarded, referral, product, group } = context;
    let mut parts = Vec::new();
    parts.extend(quotes.as_ref().map(|wamid| format!("quotes={}", wamid.as_str())));
    parts.extend((*forwarded != Forwarded::No).then(|| format!("forwarded={forwarded:?}")));
    parts.extend(referral.as_ref().map(|ad| format!("ad={:?} click={:?}", ad.headline, ad.click)));
    parts.extend(product.as_ref().map(|product| format!("product={product}")));
    parts.extend(group.as_ref().map(|group| format!("group={group}")));
    if parts.is_empty() { String::new() } else { format!("\n  {}", parts.join(" ")) }
}

#[test]
fn recorded_webhooks_parse_as_they_should() {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::glob!(
            "../testdata",
            "{messages,system,statuses,account,echoes,routing,calls,groups,batches,edge}/*.json",
            |path| {
                let shown = match parse(std::fs::read(path).unwrap()) {
                    Ok(events) => events.iter().map(shown).collect::<Vec<_>>().join("\n"),
                    Err(e) => format!("error: {e}"),
                };
                insta::assert_snapshot!(shown);
            }
        );
    });
}

/// A webhook of one message with these keys beside the usual ones.
fn with_message(message: &str) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{
            "metadata":{{"phone_number_id":"2"}},"messages":[{message}]}}}}]}}]}}"#
    )
}

fn only(events: Result<Vec<Event>, ParseError>) -> Event {
    let [event]: [Event; 1] = events.unwrap().try_into().unwrap();
    event
}

#[test]
fn what_is_no_json_and_what_is_not_ours_are_told_apart() {
    for broken in ["", "{", "nonsense", "{} {}", "{\"a\":\"\u{1}\"}"] {
        assert!(matches!(parse(broken.to_owned()), Err(ParseError::NotJson { .. })), "{broken}");
    }
    assert!(matches!(parse(Bytes::from_static(b"{\"a\":\"\xff\"}")), Err(ParseError::NotJson { .. })));
    for foreign in ["{}", "[]", "1", "null", r#"{"object":"page"}"#, r#"{"object":7,"entry":[]}"#] {
        assert_eq!(parse(foreign.to_owned()), Err(ParseError::NotOurs), "{foreign}");
    }
}

#[test]
fn what_has_another_shape_is_kept_whole() {
    for (rest, kept) in [
        (r#""entry":7"#, "7"),
        (r#""entry":[7]"#, "7"),
        (r#""entry":[{"id":1,"changes":"x"}]"#, "\"x\""),
        (r#""entry":[{"id":1,"changes":[{"field":"messages","value":[1]}]}]"#, "[1]"),
        (r#""entry":[{"id":1,"changes":[{"value":{"messages":{"a":1}}}]}]"#, r#"{"messages":{"a":1}}"#),
        (
            r#""entry":[{"id":1,"changes":[{"field":"messages","value":{"messages":["m"]}}]}]"#,
            r#"{"messages":["m"]}"#,
        ),
    ] {
        let body = format!(r#"{{"object":"whatsapp_business_account",{rest}}}"#);
        assert!(matches!(only(parse(body)), Event::Other(o) if o.raw == kept), "{rest}");
    }
}

#[test]
fn a_text_with_half_a_surrogate_pair_is_still_a_text() {
    let body = with_message(r#"{"id":"w","from":"49","type":"text","text":{"body":"hi \ud83d"}}"#);
    let Event::Message(m) = only(parse(body)) else { panic!("no message") };
    assert!(matches!(m.message.content, Content::Text(text) if text.starts_with("hi \u{fffd}")));
}

#[test]
fn a_message_keeps_its_json_byte_for_byte() {
    let json = r#"{"id":"w", "from":49,  "type":"text","text":{"body":"\u00e4\/"},"later":[1.50]}"#;
    let Event::Message(m) = only(parse(with_message(json))) else { panic!("no message") };
    assert_eq!(m.raw, json);
    assert_eq!(m.message.sent_at, RECEIVED_AT);
}

#[test]
fn absurd_numbers_of_events_are_refused() {
    let messages = vec!["{}"; webhook::MAX_EVENTS + 1].join(",");
    assert_eq!(parse(with_message(&messages)), Err(ParseError::TooMany));
}

#[test]
fn debug_output_names_nobody() {
    let body = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/messages/text.json")).unwrap();
    let printed = format!("{:?}", parse(body.clone()).unwrap());
    let events = parse(body).unwrap();
    let Event::Message(m) = &events[0] else { panic!("no message") };
    for secret in [m.message.customer.name.as_deref().unwrap(), m.message.wamid.as_str(), "15550100199"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn absurd_ids_and_names_do_not_make_an_event_larger_than_its_json() {
    let long = "9".repeat(100_000);
    for json in [
        format!(r#"{{"id":"{long}","from":"49","type":"text"}}"#),
        format!(r#"{{"id":"w","from":"{long}","type":"text"}}"#),
    ] {
        assert!(matches!(only(parse(with_message(&json))), Event::Other(_)));
    }
    let body = with_message(r#"{"id":"w","from":"49","type":"text"}"#).replace(
        "\"messages\":",
        &format!(r#""contacts":[{{"wa_id":"49","profile":{{"name":"{long}"}}}}],"messages":"#),
    );
    let Event::Message(m) = only(parse(body)) else { panic!("no message") };
    assert_eq!(m.message.customer.name.unwrap().len(), webhook::MAX_NAME_CHARS);
}
