//! What customers do, against the recorded webhooks.

use e2e::sim::{Act, ControlClient, Customer, Did, File, Happening, Say, wire};
use serde_json::{Value, json};

use crate::{
    help::{NUMBER, World, ana, until},
    wa_send::{ANA, message},
};

fn known_ana() -> Customer {
    Customer { bsuid: Some("US.70131924466018321540".into()), ..ana() }
}

fn sample(name: &str) -> Value {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/whatsapp/testdata");
    let path = format!("{dir}/{name}.json");
    // Where the manifest stands elsewhere than the tests.
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["entry"][0]["changes"][0].clone()
}

/// The change with this id in it.
pub(crate) async fn change_with(world: &World, id: &str) -> Value {
    until("webhook", async || {
        let bodies = world.endpoint.bodies();
        let mut changes = bodies.iter().flat_map(|body| body["entry"][0]["changes"].as_array().unwrap());
        changes.rfind(|change| change.to_string().contains(id)).cloned()
    })
    .await
}

/// Without what differs each time.
fn plain(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for key in
                    ["timestamp", "sha256", "id", "message_id", "original_message_id", "url", "filename"]
                {
                    if members.get(key).is_some_and(Value::is_string) {
                        members.insert(key.to_owned(), "…".into());
                    }
                }
                members.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

async fn did(world: &World, act: Act) -> Value {
    let wamid = world.sim.whatsapp.act(Did::new(NUMBER, &known_ana(), act)).unwrap();
    change_with(world, &wamid).await
}

#[tokio::test]
async fn acts_look_like_the_recorded_webhooks() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.configure(json!({ "media_url_in_webhooks": false, "statuses": false })).unwrap();
    let first = whatsapp.say(Say::text(NUMBER, &known_ana(), "Hi")).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let file = File { filename: text("contract final (2).pdf"), ..File::default() };
    let items = json!([
        { "product_retailer_id": "SKU-1", "quantity": 2, "item_price": 19.99, "currency": "USD" },
        { "product_retailer_id": "SKU-2", "quantity": 1, "item_price": 5, "currency": "USD" },
    ]);
    let contacts = sample("messages/contacts")["value"]["messages"][0]["contacts"].clone();
    let venue = Act::Location {
        latitude: 37.7749,
        longitude: -122.4194,
        name: text("Example Plaza"),
        address: text("1 Example Plaza, Springfield"),
        url: text("https://example.com/plaza"),
    };
    let kind = || Some("poll_creation".to_owned());
    let order = Act::Order {
        catalog_id: "118273645500001".into(),
        text: text("Please wrap it"),
        product_items: items.as_array().unwrap().clone(),
    };
    let (target, default) = (first.clone(), File::default);
    for (act, name) in [
        (Act::Text { body: "Hello, is my order 4711 on its way?".into() }, "text"),
        (Act::Image { file: default(), caption: None }, "image_no_caption_no_url"),
        (Act::Video { file: default(), caption: text("It makes this noise") }, "video"),
        (Act::Audio { file: default() }, "audio_file"),
        (Act::Voice { file: default() }, "audio_voice"),
        (Act::Document { file, caption: text("Signed contract") }, "document"),
        (Act::Sticker { file: default(), animated: true }, "sticker_animated"),
        (venue, "location_venue"),
        (Act::Contacts { contacts: contacts.as_array().unwrap().clone() }, "contacts"),
        (order, "order"),
        (Act::React { wamid: target.clone(), emoji: text("👍") }, "reaction"),
        (Act::React { wamid: target.clone(), emoji: None }, "reaction_removed_absent"),
        (
            Act::Edit { wamid: target.clone(), text: "Hello, is my order 4712 on its way?".into() },
            "edit_text",
        ),
        (Act::Revoke { wamid: target }, "revoke"),
        (Act::RequestWelcome, "request_welcome"),
        (Act::Unsupported { kind: None }, "unsupported"),
        (Act::Unsupported { kind: kind() }, "unsupported_with_type"),
        (Act::TooLarge, "media_too_large_131052"),
    ] {
        let (got, mut sample) = (did(&world, act).await, sample(&format!("messages/{name}")));
        // Some samples leave the profile out, or name it otherwise.
        sample["value"]["contacts"] = got["value"]["contacts"].clone();
        assert_eq!(plain(got), plain(sample), "{name}");
    }
    assert!(!whatsapp.phone(NUMBER, ANA).unwrap().messages[0].visible, "revoked");
    let unknown = did(&world, Act::Unknown { kind: "hologram".into(), object: json!({ "x": 1 }) }).await;
    assert_eq!(unknown["value"]["messages"][0]["hologram"], json!({ "x": 1 }));
}

#[tokio::test]
async fn quotes_forwards_referrals_and_products_are_told() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let own = whatsapp.say(Say::text(NUMBER, &known_ana(), "Hi")).unwrap();
    let ours = world.send(&message("text", json!({ "body": "Hello" }))).await.1["messages"][0]["id"].clone();
    let act = |change: &dyn Fn(&mut Did), body: &str| {
        let mut did = Did::new(NUMBER, &known_ana(), Act::Text { body: body.into() });
        change(&mut did);
        whatsapp.act(did).unwrap()
    };
    let referral =
        sample("messages/referral_click_to_whatsapp_ad")["value"]["messages"][0]["referral"].clone();
    let product = json!({ "catalog_id": "118273645500001", "product_retailer_id": "SKU-1" });
    let quoted = ours.as_str().unwrap().to_owned();
    for (wamid, name) in [
        (act(&|did| did.quote = Some(quoted.clone()), "This one, please"), "reply_to_our_message"),
        (act(&|did| did.quote = Some(own.clone()), "I meant this"), "reply_to_own_message"),
        (act(&|did| did.forwarded = true, "Look what I got"), "forwarded"),
        (act(&|did| did.frequently_forwarded = true, "FW: FW: FW"), "frequently_forwarded"),
        (
            act(&|did| did.referral = Some(referral.clone()), "Hello! Can I get more info on this?"),
            "referral_click_to_whatsapp_ad",
        ),
        (
            act(
                &|did| (did.quote, did.product) = (Some(quoted.clone()), Some(product.clone())),
                "Do you have it in green?",
            ),
            "product_inquiry",
        ),
    ] {
        let got = change_with(&world, &wamid).await;
        assert_eq!(plain(got), plain(sample(&format!("messages/{name}"))), "{name}");
    }
}

#[tokio::test]
async fn what_was_sent_can_be_tapped() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &known_ana(), "Hi")).unwrap();
    let send = async |body: Value| {
        world.send(&message("interactive", body)).await.1["messages"][0]["id"].as_str().unwrap().to_owned()
    };
    let reply = json!({ "type": "reply", "reply": { "id": "talk_to_human", "title": "Talk to a person" } });
    let buttons =
        send(json!({ "type": "button", "body": { "text": "?" }, "action": { "buttons": [reply] } })).await;
    let row = json!({ "id": "topic_billing", "title": "Billing", "description": "Invoices and refunds" });
    let action = json!({ "button": "Topics", "sections": [{ "rows": [row] }] });
    let list = send(json!({ "type": "list", "body": { "text": "?" }, "action": action })).await;
    let parameters = json!({ "flow_message_version": "3", "flow_id": "1", "flow_cta": "Start" });
    let action = json!({ "name": "flow", "parameters": parameters });
    let flow = send(json!({ "type": "flow", "body": { "text": "?" }, "action": action })).await;
    let response = json!({ "flow_token": "ft_0001", "email": "ana@example.com", "topic": "billing" });
    for (act, name) in [
        (Act::TapButton { wamid: buttons.clone(), id: "talk_to_human".into() }, "interactive_button_reply"),
        (Act::TapRow { wamid: list, id: "topic_billing".into() }, "interactive_list_reply"),
        (Act::FlowReply { wamid: flow, response: response.clone() }, "interactive_flow_reply"),
    ] {
        let mut sample = sample(&format!("messages/{name}"));
        if let Some(text) = sample.pointer_mut("/value/messages/0/interactive/nfm_reply/response_json") {
            *text = response.to_string().into();
        }
        let mut got = plain(did(&world, act).await);
        // `id` is an id of ours here.
        let pointer = "/value/messages/0/interactive";
        let (mut want, real) = (plain(sample.clone()), sample.pointer(pointer).unwrap().clone());
        *want.pointer_mut(pointer).unwrap() = plain(real);
        assert_eq!(got.take(), want, "{name}");
    }
    let tap = |id: &str| Act::TapButton { wamid: buttons.clone(), id: id.into() };
    whatsapp.act(Did::new(NUMBER, &known_ana(), tap("no such button"))).unwrap_err();
}

#[tokio::test]
async fn phones_are_hidden_and_ids_rotate() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let mut who = known_ana();
    who.username = Some("@ana".into());
    whatsapp.say(Say::text(NUMBER, &who, "Hi")).unwrap();
    whatsapp.happen(Happening::PhoneWithheld { customer: ANA.into(), withheld: true }).unwrap();
    let wamid = whatsapp.say(Say::text(NUMBER, &who, "hidden")).unwrap();
    let change = change_with(&world, &wamid).await;
    let (message_got, contact) = (&change["value"]["messages"][0], &change["value"]["contacts"][0]);
    assert_eq!((&message_got["from"], &contact["wa_id"]), (&Value::Null, &Value::Null));
    assert_eq!((&message_got["from_user_id"], &contact["user_id"]), (&json!(who.bsuid), &json!(who.bsuid)));
    let mut body = message("text", json!({ "body": "to you" }));
    body.as_object_mut().unwrap().remove("to");
    body["recipient"] = json!(who.bsuid);
    let sent = world.send(&body).await.1["messages"][0]["id"].as_str().unwrap().to_owned();
    let status = change_with(&world, &format!("{sent}\",\"recipient_user_id")).await;
    assert!(!status.to_string().contains(ANA), "{status}");

    let new = Happening::UserIdChanged { number: NUMBER.into(), customer: ANA.into(), bsuid: "US.2".into() };
    let wamid = whatsapp.happen(new).unwrap().unwrap();
    let system = change_with(&world, &wamid).await["value"]["messages"][0]["system"].clone();
    assert_eq!((&system["user_id"], &system["previous_user_id"]), (&json!("US.2"), &json!(who.bsuid)));
    assert_eq!(world.send(&body).await.1["error"]["code"], 131_009, "the old id is nobody's");
    body["recipient"] = "US.2".into();
    assert_eq!(world.send(&body).await.0, 200);

    whatsapp.happen(Happening::PhoneWithheld { customer: "US.2".into(), withheld: false }).unwrap();
    let moved = Happening::NumberChanged {
        number: NUMBER.into(),
        customer: ANA.into(),
        phone: "15550100188".into(),
        bsuid: Some("US.3".into()),
    };
    let wamid = whatsapp.happen(moved).unwrap().unwrap();
    let change = change_with(&world, &wamid).await;
    let mut want = sample("system/user_changed_number");
    let system = &mut want["value"]["messages"][0]["system"];
    (system["user_id"], system["previous_user_id"]) = ("US.3".into(), "US.2".into());
    assert_eq!(plain(change), plain(want));
    assert_eq!(whatsapp.phone(NUMBER, ANA), None, "the old number is somebody else's");
    assert_eq!(whatsapp.phone(NUMBER, "15550100188").unwrap().messages.len(), 4);
}

#[tokio::test]
async fn echoes_preferences_and_sharing_a_phone() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &known_ana(), "Hi")).unwrap();
    let said = |message: Value| Happening::AppEcho { number: NUMBER.into(), customer: ANA.into(), message };
    let text = json!({ "type": "text", "text": { "body": "Sent from the Business app" } });
    let wamid = whatsapp.happen(said(text)).unwrap().unwrap();
    assert_eq!(plain(change_with(&world, &wamid).await), plain(sample("echoes/smb_text")));
    assert_eq!(whatsapp.phone(NUMBER, ANA).unwrap().received(), ["Sent from the Business app"]);
    let edit = json!({ "type": "edit", "edit": { "original_message_id": wamid,
        "message": { "type": "text", "text": { "body": "Edited in the app" } } } });
    let edited = whatsapp.happen(said(edit)).unwrap().unwrap();
    let mut want = sample("echoes/smb_edit");
    let got = change_with(&world, &edited).await;
    want["value"]["contacts"] = got["value"]["contacts"].clone();
    assert_eq!(plain(got), plain(want));

    let stop = Happening::Preference { number: NUMBER.into(), customer: ANA.into(), value: "stop".into() };
    whatsapp.happen(stop).unwrap();
    let mut got = change_with(&world, "user_preferences").await;
    let mut want = sample("account/user_preferences_stop");
    for value in [&mut got, &mut want] {
        value["value"]["user_preferences"][0]["timestamp"] = 0.into();
    }
    assert_eq!(got, want);

    let shared = did(&world, Act::SharePhone).await;
    let card = &shared["value"]["messages"][0]["contacts"][0];
    assert_eq!((&card["origin"], &card["phones"][0]["wa_id"]), (&json!("contact_request"), &json!(ANA)));
}

#[tokio::test]
async fn a_script_can_do_it_over_http() {
    let world = World::start().await;
    let control = ControlClient::new(&world.sim.addresses().control).unwrap();
    let act = Act::Voice { file: File { size: Some(10_000), ..File::default() } };
    let wamid = control.act(&Did::new(NUMBER, &ana(), act)).await.unwrap();
    let phone = control.phone(NUMBER, ANA).await.unwrap().unwrap();
    let file = phone.messages[0].content.clone().unwrap().file.unwrap();
    assert_eq!((phone.messages[0].wamid.as_str(), file.voice, file.bytes), (wamid.as_str(), true, 10_000));
    let url = format!("{}/control/whatsapp/media?id={}", world.sim.addresses().control, file.source);
    let media: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(media["sha256"], file.sha256.as_str());
    let message = &change_with(&world, &wamid).await["value"]["messages"][0];
    let hash = hex_of(message["audio"]["sha256"].as_str().unwrap());
    assert_eq!(hash, file.sha256);
    control.advance(60.0).await.unwrap();
    assert_eq!(
        control.set_setup(NUMBER, json!({ "quality_rating": "RED" })).await.unwrap().quality_rating,
        "RED"
    );
    control.set_setup(NUMBER, json!({ "no_such_thing": 1 })).await.unwrap_err();
    // One line of shell is enough.
    let url = format!("{}/control/whatsapp/act", world.sim.addresses().control);
    let body = json!({ "number": NUMBER, "customer": { "phone": ANA }, "act": { "verb": "image" } });
    let answer: Value = world.http.post(url).json(&body).send().await.unwrap().json().await.unwrap();
    assert!(answer["wamids"][0].as_str().unwrap().starts_with("wamid."));
    assert_eq!(wire::escape("/"), "\\/");
}

fn hex_of(base64: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    hex::encode(STANDARD.decode(base64).unwrap())
}
