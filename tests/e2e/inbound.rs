//! Whatever a customer can send reaches the rep, in words that a person understands.

use e2e::sim::{Act, Customer, Did, File, Happening};
use serde_json::json;
use xtask::stack::{NUMBER, Options, Stack};

use crate::chat::{Chat, ana};

#[tokio::test]
async fn every_kind_of_message_reaches_the_rep() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let control = &stack.control;
    // One each: Salesforce takes 22 messages a minute of a conversation, and the rest waits.
    let chat = Chat::live(control, ana()).await;
    let sending = Chat::live(control, Customer::phone("15550100198", "Bo")).await;
    let changing = Chat::live(control, Customer::phone("15550100197", "Cy")).await;
    let file = |name: &str| File { filename: Some(name.into()), ..File::default() };

    // A name, as WhatsApp's maps give it; a link that opens anywhere.
    let location = Act::Location {
        latitude: 37.48,
        longitude: -122.15,
        name: Some("Depot".into()),
        address: None,
        url: None,
    };
    let card = json!({ "name": { "formatted_name": "Bo Li", "first_name": "Bo" },
                       "phones": [{ "phone": "+1 555 0100", "type": "WORK" }] });
    let order = Act::Order {
        catalog_id: "194836987003835".into(),
        text: Some("by Friday please".into()),
        product_items: vec![
            json!({ "product_retailer_id": "sku-7", "quantity": 2, "item_price": 30, "currency": "USD" }),
        ],
    };
    let unknown = Act::Unknown { kind: "hologram".into(), object: json!({ "id": "1" }) };
    for (act, reads) in [
        // In two: Salesforce makes an address at the end a message of its own.
        (location, &["[location] Depot", "https://maps.google.com/?q=37.48,-122.15"][..]),
        (Act::Contacts { contacts: vec![card] }, &["[contact] Bo Li, +1 555 0100"]),
        (order, &["[order] by Friday please\n2 × sku-7 at 30 USD"]),
        (Act::Unsupported { kind: Some("poll_creation".into()) }, &["does not pass on: poll_creation"]),
        (unknown, &["[hologram]"]),
    ] {
        chat.acts(act).await;
        for part in reads {
            chat.rep_reads(part).await;
        }
    }
    for (act, mime) in [
        (Act::Video { file: File::default(), caption: Some("the noise".into()) }, "video/mp4"),
        (Act::Voice { file: File::default() }, "audio/ogg"),
        (Act::Audio { file: File::default() }, "audio/"),
        (Act::Document { file: file("plan.pdf"), caption: None }, "application/pdf"),
    ] {
        let before = sending.view().await.files("EndUser").len();
        sending.acts(act).await;
        let got = |view: &e2e::sim::RepView| view.files("EndUser").get(before).map(|file| file.mime.clone());
        let got = sending.rep_sees(mime, got).await;
        assert!(got.starts_with(mime), "{got}");
    }

    // What is done to a message already there is a mark, never a deletion.
    let wamid = changing.acts(Act::Text { body: "my order is 1024".into() }).await;
    changing.rep_reads("my order is 1024").await;
    changing.acts(Act::Edit { wamid: wamid.clone(), text: "my order is 1042".into() }).await;
    changing.rep_reads("[changed a message to] my order is 1042").await;
    changing.acts(Act::Revoke { wamid }).await;
    changing.rep_reads("[deleted a message]").await;
    assert!(changing.view().await.texts("EndUser").contains(&"my order is 1024"), "still there");

    let mut forwarded = Did::new(NUMBER, &changing.customer, Act::Text { body: "have you seen this".into() });
    forwarded.forwarded = true;
    control.act(&forwarded).await.unwrap();
    changing.rep_reads("(forwarded) have you seen this").await;
    let mut asked = Did::new(NUMBER, &changing.customer, Act::Text { body: "is it in stock?".into() });
    asked.referral = Some(json!({
        "source_url": "https://fb.me/1", "source_id": "120", "source_type": "ad", "headline": "Autumn sale",
        "body": "Everything must go", "media_type": "image", "image_url": "https://example.com/a.jpg",
        "ctwa_clid": "c",
    }));
    control.act(&asked).await.unwrap();
    changing.rep_reads("Autumn sale").await;

    let identity = Happening::IdentityChanged { number: NUMBER.into(), customer: chat.customer.key() };
    control.happen(&identity).await.unwrap();
    chat.acts(Act::Text { body: "still me".into() }).await;
    chat.rep_reads("still me").await;
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_file_that_whatsapp_does_not_give_is_told_and_holds_nothing_up() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let chat = Chat::live(&stack.control, ana()).await;
    chat.acts(Act::TooLarge).await;
    chat.rep_reads("[sent something that WhatsApp does not pass on").await;
    chat.acts(Act::Text { body: "did you get it?".into() }).await;
    chat.rep_reads("did you get it?").await;
    stack.stop().await.unwrap();
}
