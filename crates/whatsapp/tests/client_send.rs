//! Every kind that can be sent, as recorded requests have it (§5, §7).

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State};
use domain::{
    PhoneNumberId, Wamid,
    message::{
        Attachment, Buttons, ContactCard, File, Header, LinkButton, List, Location, MediaKind, Outgoing,
        Parameter, Section, Tap, Template, TemplateButton,
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use whatsapp::{
    client::{Client, Config, Message, Recipient},
    outgoing::fit,
};

fn request_of(name: &str) -> Value {
    let path = format!("{}/testdata/api/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let recorded: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    recorded["request"]["body"].clone()
}

struct World {
    client: Client,
    seen: Arc<Mutex<Vec<Value>>>,
}

async fn world() -> World {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answer = async |State(seen): State<Arc<Mutex<Vec<Value>>>>, body: Bytes| {
        seen.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        json!({"messages": [{"id": "wamid.x"}], "success": true}).to_string()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer).with_state(Arc::clone(&seen));
    #[expect(clippy::disallowed_methods, reason = "a server of the test, gone with its runtime")]
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let graph_url = format!("http://127.0.0.1:{port}/v25.0").parse().unwrap();
    let client = Client::new(&Config { graph_url, graph_timeout: Duration::from_secs(5) }).unwrap();
    World { client, seen }
}

impl World {
    /// What goes out for a body that fits into one message.
    async fn sent(
        &self,
        to: &Recipient,
        body: &Outgoing,
        media: Option<(&str, MediaKind)>,
        quotes: Option<&Wamid>,
    ) -> Value {
        let fitted = fit(body);
        let [body] = &fitted[..] else { panic!("{fitted:?}") };
        let message = Message { to, body, media, quotes, opaque: "o" };
        self.client.send(&PhoneNumberId::new("1"), &"t".into(), message).await.unwrap();
        self.seen.lock().unwrap().pop().unwrap()
    }
}

fn attachment(kind: Option<MediaKind>, mime: &str, caption: Option<&str>) -> Attachment {
    let file = File::Stored { object: "o".into() };
    Attachment { file, kind, name: "a.pdf".into(), mime: mime.into(), caption: caption.map(Into::into) }
}

fn tap(id: &str, title: &str, description: Option<&str>) -> Tap {
    Tap { id: id.into(), title: title.into(), description: description.map(Into::into) }
}

fn texts(texts: &[(Option<&str>, &str)]) -> Vec<Parameter> {
    texts.iter().map(|(name, text)| Parameter { name: name.map(Into::into), text: (*text).into() }).collect()
}

/// The recording, what is sent, and the upload that it names.
type Case = (&'static str, Outgoing, Option<(&'static str, MediaKind)>);

const QUOTED: &str = "wamid.HBgLMTU1NTAxMDAxOTkVAgASGBQzRUIwOTE5QkM2MjcyMjMwNjBDNQA=";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one case per kind")]
async fn every_kind_goes_out_as_recorded() {
    let world = world().await;
    let text = |text: &str| Outgoing::Text(text.into());
    let template = |name: &str, header, body, buttons| {
        Outgoing::Template(Template {
            name: name.into(),
            language: "en_US".into(),
            header,
            body,
            buttons,
            preview: None,
        })
    };
    let image = Header::Attachment(attachment(None, "image/jpeg", None));
    let cases: Vec<Case> = vec![
        ("send_text", text("Hello Ana, this is Dora from Example Shop."), None),
        ("send_text_reply", text("About this:"), None),
        ("send_text_to_bsuid", text("Hello Bruno"), None),
        ("send_text_wa_id_differs", text("Oi"), None),
        (
            "send_image_by_id",
            Outgoing::Attachment(attachment(None, "image/png", Some("Like this?"))),
            Some(("900000000000123", MediaKind::Image)),
        ),
        (
            "send_voice",
            Outgoing::Attachment(attachment(Some(MediaKind::Voice), "audio/ogg", None)),
            Some(("900000000000124", MediaKind::Voice)),
        ),
        (
            "send_sticker",
            Outgoing::Attachment(attachment(Some(MediaKind::Sticker), "image/webp", None)),
            Some(("900000000000125", MediaKind::Sticker)),
        ),
        (
            "send_document_by_link",
            Outgoing::Attachment(attachment(None, "application/pdf", Some("Invoice"))),
            Some(("1", MediaKind::Document)),
        ),
        (
            "send_location",
            Outgoing::Location(Location {
                latitude: "37.7749".into(),
                longitude: "-122.4194".into(),
                name: Some("Example Plaza".into()),
                address: Some("1 Example Plaza".into()),
            }),
            None,
        ),
        (
            "send_contacts",
            Outgoing::Contacts(vec![ContactCard {
                name: "Dora Klein".into(),
                phones: vec!["+15550100155".into()],
                ..ContactCard::default()
            }]),
            None,
        ),
        (
            "send_buttons",
            Outgoing::Buttons(Buttons {
                body: "Did that help?".into(),
                options: vec![tap("yes", "Yes", None), tap("talk_to_human", "Talk to a person", None)],
                ..Buttons::default()
            }),
            None,
        ),
        (
            "send_list",
            Outgoing::List(List {
                header: Some("Topics".into()),
                body: "What is it about?".into(),
                footer: Some("Example Shop".into()),
                button: "Choose".into(),
                sections: vec![Section {
                    title: Some("Orders".into()),
                    rows: vec![
                        tap("topic_delivery", "Delivery", Some("Where is my order")),
                        tap("topic_billing", "Billing", None),
                    ],
                }],
            }),
            None,
        ),
        (
            "send_cta_url",
            Outgoing::Link(LinkButton {
                body: "Your account page".into(),
                label: "Open".into(),
                url: "https://example.com/account".into(),
            }),
            None,
        ),
        ("send_reaction", Outgoing::Reaction { to: Wamid::new(QUOTED), emoji: "👍".into() }, None),
        ("send_template_held", template("new_campaign", None, vec![], vec![]), None),
        (
            "send_template_named",
            template(
                "order_update_named",
                None,
                texts(&[(Some("first_name"), "Ana"), (Some("order_id"), "4711")]),
                vec![],
            ),
            None,
        ),
        (
            "send_template_positional",
            template(
                "order_update",
                Some(image),
                texts(&[(None, "Ana"), (None, "47\n11")]),
                vec![
                    TemplateButton::QuickReply { index: 0, payload: "CAMPAIGN_YES".into() },
                    TemplateButton::Url { index: 1, text: "4711".into() },
                ],
            ),
            Some(("900000000000126", MediaKind::Image)),
        ),
    ];
    for (name, body, media) in cases {
        let mut expected = request_of(name);
        let to = match (expected.get("to"), expected.get("recipient")) {
            (Some(phone), None) => Recipient::Phone(phone.as_str().unwrap().trim_start_matches('+').into()),
            (None, Some(user)) => Recipient::User(user.as_str().unwrap().into()),
            other => panic!("{other:?}"),
        };
        let quotes = expected["context"]["message_id"].as_str().map(Wamid::new);
        // What Baton does on purpose.
        expected["biz_opaque_callback_data"] = "o".into();
        match name {
            "send_document_by_link" => {
                expected["document"] = json!({"id": "1", "filename": "a.pdf", "caption": "Invoice"});
            }
            // A name is not taken apart.
            "send_contacts" => {
                let name = json!({"formatted_name": "Dora Klein", "first_name": "Dora Klein"});
                expected["contacts"] = json!([{"name": name, "phones": [{"phone": "+15550100155"}]}]);
            }
            "send_template_positional" => {
                expected["template"]["language"] = json!({"code": "en_US"});
                expected["template"]["components"][1]["parameters"][1]["text"] = "47 11".into();
            }
            _ if expected["text"].is_object() => expected["text"]["preview_url"] = false.into(),
            _ => {}
        }
        if quotes.is_none() {
            expected.as_object_mut().unwrap().remove("context");
        }
        assert_eq!(world.sent(&to, &body, media, quotes.as_ref()).await, expected, "{name}");
    }
}

#[tokio::test]
async fn groups_are_named_as_such_and_reactions_quote_nothing() {
    let world = world().await;
    let group = Recipient::Group("120363000000000001".into());
    let quoted = Wamid::new(QUOTED);
    let sent = world.sent(&group, &Outgoing::Text("Hi".into()), None, Some(&quoted)).await;
    assert_eq!((&sent["recipient_type"], &sent["to"]), (&json!("group"), &json!("120363000000000001")));
    let reaction = Outgoing::Reaction { to: quoted.clone(), emoji: String::new() };
    let sent = world.sent(&group, &reaction, None, Some(&quoted)).await;
    assert_eq!((sent.get("context"), &sent["reaction"]["emoji"]), (None, &json!("")));
}

#[tokio::test]
async fn read_marks_and_typing_go_out_as_recorded() {
    let world = world().await;
    for (name, typing) in [("mark_read", false), ("mark_read_and_typing", true)] {
        let (number, token) = (PhoneNumberId::new("1"), "t".into());
        world.client.mark_read(&number, &token, &Wamid::new(QUOTED), typing).await.unwrap();
        assert_eq!(world.seen.lock().unwrap().pop().unwrap(), request_of(name));
    }
}
