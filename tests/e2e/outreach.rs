//! Templates that other systems ask for: to the phone, and what the customer's answer leads to.

use e2e::sim::{Act, Customer, Happening, PhoneMessage, RepView, Template};
use serde_json::{Value, json};
use xtask::stack::{NUMBER, Options, Stack, WABA, users};

use crate::{chat::Chat, until};

/// A stack with the broker's rights, two templates, and an API client.
struct World {
    stack: Stack,
    console: String,
    http: reqwest::Client,
}

impl World {
    async fn start() -> Self {
        let options = Options { users: Some(users().unwrap()), ..Options::default() };
        let stack = Stack::start(options).await.unwrap();
        let console = stack.services().iter().find(|service| service.name() == "console").unwrap().url();
        runtime::init_crypto();
        let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
        let buttons = json!({ "type": "BUTTONS", "buttons": [
            { "type": "QUICK_REPLY", "text": "Yes please" }, { "type": "QUICK_REPLY", "text": "No thanks" },
        ] });
        let body = |text: &str| json!({ "type": "BODY", "text": text });
        let order = Template {
            components: vec![body("Hi {{1}}, order {{2}} left today.")],
            ..Template::text(WABA, "order_left", "en_US", "")
        };
        let sale = Template {
            category: "MARKETING".into(),
            parameter_format: "NAMED".into(),
            components: vec![body("{{name}}, chairs are 20% off. Interested?"), buttons],
            ..Template::text(WABA, "chairs", "en_US", "")
        };
        for template in [order, sale] {
            stack.control.set_template(&template).await.unwrap();
        }
        Self { stack, console, http }
    }

    /// Status and body of the answer.
    async fn post(&self, key: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}/api/v1/messages", self.console));
        let answer = request.header("idempotency-key", key).json(body).send().await.unwrap();
        let (status, location) = (answer.status().as_u16(), answer.headers().get("location").cloned());
        let body: Value = answer.json().await.unwrap();
        if status == 202 {
            let expected = format!("/api/v1/messages/{}", body["id"].as_str().unwrap());
            assert_eq!(location.unwrap().to_str().unwrap(), expected);
        }
        (status, body)
    }

    async fn sent(&self, key: &str, body: &Value) -> String {
        let (status, answer) = self.post(key, body).await;
        assert_eq!((status, answer["checked"].as_bool()), (202, Some(true)), "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Once it is told as that.
    async fn becomes(&self, id: &str, state: &str) -> Value {
        until(state, async || {
            let url = format!("{}/api/v1/messages/{id}", self.console);
            let told: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
            (told["state"] == state).then_some(told)
        })
        .await
    }

    async fn received(&self, customer: &Customer) -> Vec<PhoneMessage> {
        let phone = self.stack.control.phone(NUMBER, &customer.key()).await.unwrap();
        let messages = phone.map(|phone| phone.messages).unwrap_or_default();
        messages.into_iter().filter(|message| !message.from_customer && message.visible).collect()
    }

    async fn gets(&self, customer: &Customer, text: &str) -> PhoneMessage {
        let got =
            async || self.received(customer).await.into_iter().find(|message| message.text.contains(text));
        until(text, got).await
    }

    fn chat(&self, customer: &Customer) -> Chat<'_> {
        Chat { control: &self.stack.control, customer: customer.clone(), conversation: String::new() }
    }

    async fn thread(&self, part: &str) -> RepView {
        let views = async || {
            let views = self.stack.control.conversations().await.unwrap();
            let with = |view: &RepView| view.texts("EndUser").iter().any(|text| text.contains(part));
            views.into_iter().find(with)
        };
        until(part, views).await
    }
}

fn customer(n: u32, name: &str) -> Customer {
    Customer { bsuid: Some(format!("ES.9000{n}")), ..Customer::phone(&format!("3460000000{n}"), name) }
}

fn order(to: &str) -> Value {
    json!({
        "number": NUMBER, "to": to, "name": "Order updates",
        "template": { "name": "order_left", "language": "en_US", "body": ["Ana", "4711"] },
    })
}

fn sale(to: &str) -> Value {
    json!({
        "number": NUMBER, "to": to, "name": "Autumn sale",
        "template": {
            "name": "chairs", "language": "en_US", "body": { "name": "Bea" },
            "buttons": [{ "index": 0, "payload": "YES" }, { "index": 1, "payload": "NO" }],
        },
    })
}

#[tokio::test]
async fn a_template_is_sent_once_and_its_answer_opens_a_thread_with_the_campaign() {
    let world = World::start().await;
    let ana = customer(1, "Ana");
    let asked = order("+34 600 000 001");
    let (first, again) =
        tokio::join!(world.sent("order-4711-left", &asked), world.sent("order-4711-left", &asked));
    assert_eq!(first, again);
    let text = "Hi Ana, order 4711 left today.";
    world.gets(&ana, text).await;
    let told = world.becomes(&first, "read").await;
    let steps: Vec<_> = told["steps"].as_array().unwrap().iter().map(|step| &step["state"]).collect();
    assert_eq!(steps, ["pending", "accepted", "sent", "delivered", "read"]);
    let (status, told) = world.post("order-4711-left", &order("+34 600 000 009")).await;
    assert_eq!((status, &told["error"]), (409, &json!("idempotency_key_reused")));
    let (status, told) = world.post("order-4711-left", &order("+34 600 000 001")).await;
    assert_eq!((status, &told["id"], &told["repeated"]), (202, &json!(first), &json!(true)));
    assert_eq!(world.received(&ana).await.len(), 1, "sent once");

    // What Meta would refuse never gets into the log.
    let mut unfit = order("+34 600 000 001");
    unfit["template"]["body"] = json!(["Ana"]);
    let (status, told) = world.post("order-4711-again", &unfit).await;
    assert_eq!((status, &told["error"]), (422, &json!("template_unfit")), "{told}");
    assert_eq!(told["problems"].as_array().unwrap().len(), 1);

    // She goes by her user id; the template went to her phone number.
    let chat = world.chat(&ana);
    chat.acts(Act::Text { body: "Where is it now?".into() }).await;
    let view = world.thread("Where is it now?").await;
    let all = view.texts("EndUser").join("\n");
    assert!(all.contains("Order updates") && all.contains(text), "{all}");
    let attributes = &view.session().unwrap().routing_attributes;
    assert_eq!(attributes.get("Campaign").map(String::as_str), Some("Order updates"), "{attributes:?}");

    let log = std::fs::read_to_string(world.stack.nats.log()).unwrap();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    world.stack.stop().await.unwrap();
}

#[tokio::test]
async fn taps_rules_and_wishes_decide_what_becomes_of_an_answer() {
    let world = World::start().await;
    // A tap on the template opens a thread.
    let bea = customer(2, "Bea");
    world.sent("sale-for-bea", &sale("+34600000002")).await;
    let template = world.gets(&bea, "chairs are 20% off").await;
    let tap = Act::TapQuickReply { wamid: template.wamid.clone(), index: 0, without_context: true };
    world.chat(&bea).acts(tap).await;
    let view = world.thread("Yes please").await;
    assert_eq!(view.session().unwrap().routing_attributes["Campaign"], "Autumn sale");

    // By the rule the assistant answers.
    let cleo = customer(3, "Cleo");
    let mut asked = order("+34600000003");
    asked["reply"] = json!({ "to": "assistant" });
    world.sent("order-for-cleo", &asked).await;
    world.gets(&cleo, "order 4711 left").await;
    world.chat(&cleo).acts(Act::Text { body: "When are you open?".into() }).await;
    world.gets(&cleo, "We are open Monday to Friday").await;

    // Whoever wants none is told so, gets no marketing, and gets what they need.
    let dora = customer(4, "Dora");
    world.sent("sale-for-dora", &sale("+34600000004")).await;
    world.gets(&dora, "chairs are 20% off").await;
    world.chat(&dora).acts(Act::Text { body: "STOP".into() }).await;
    world.gets(&dora, "START").await;
    let withheld = until("a sale is withheld", async || {
        let key = format!("sale-again-{}", world.received(&dora).await.len());
        let id = world.sent(&key, &sale("+34600000004")).await;
        let url = format!("{}/api/v1/messages/{id}", world.console);
        let told: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
        (told["state"] == "withheld").then_some(told)
    })
    .await;
    assert_eq!(withheld["problem"]["error"], "opted_out");
    let id = world.sent("order-for-dora", &order("+34600000004")).await;
    world.becomes(&id, "read").await;

    // Nobody there.
    let failing = json!({ "failing": { "34600000005": { "code": 131_026, "late": true } } });
    world.stack.control.configure_whatsapp(failing).await.unwrap();
    let id = world.sent("order-for-nobody", &order("+34600000005")).await;
    let told = world.becomes(&id, "failed").await;
    assert_eq!(told["problem"]["code"], 131_026);
    assert_ne!(told["problem"]["what_to_do"], "");

    assert_eq!(world.stack.control.conversations().await.unwrap().len(), 1, "one was for a rep");
    world.stack.stop().await.unwrap();
}

/// Calls below `/api/v1/campaigns`.
impl World {
    async fn campaign(&self, plan: &Value, list: String) -> String {
        let url = format!("{}/api/v1/campaigns", self.console);
        let made: Value = self.http.post(&url).json(plan).send().await.unwrap().json().await.unwrap();
        let id = made["campaign"]["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let taken = self.http.post(format!("{url}/{id}/audience")).body(list).send().await.unwrap();
        assert_eq!(taken.status(), 200, "{}", taken.text().await.unwrap());
        let start = self.http.post(format!("{url}/{id}/actions")).json(&json!({ "action": "start" }));
        assert_eq!(start.send().await.unwrap().status(), 200);
        id
    }

    async fn until_campaign(&self, id: &str, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, async || {
            let url = format!("{}/api/v1/campaigns/{id}", self.console);
            let about: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
            is_it(&about).then_some(about)
        })
        .await
    }
}

fn chairs(name: &str, per_minute: Option<u32>) -> Value {
    json!({
        "name": name, "number": NUMBER, "per_minute": per_minute,
        "template": {
            "name": "chairs", "language": "en_US", "category": "MARKETING",
            "text": "{{name}}, chairs are 20% off. Interested?", "body": [{ "name": "name", "column": "first" }],
            "buttons": [
                { "index": 0, "kind": "quick-reply", "payload": { "fixed": "YES" } },
                { "index": 1, "kind": "quick-reply", "payload": { "fixed": "NO" } },
            ],
        },
    })
}

#[tokio::test]
async fn a_campaign_reaches_everybody_once_and_tells_what_became_of_them() {
    let world = World::start().await;
    let control = &world.stack.control;
    let dora = customer(4, "Dora");
    world.sent("order-for-dora", &order("+34600000004")).await;
    world.gets(&dora, "order 4711 left").await;
    world.chat(&dora).acts(Act::Text { body: "STOP".into() }).await;
    world.gets(&dora, "START").await;
    let failing = json!({ "failing": { "34600000005": { "code": 131_049, "late": true } } });
    control.configure_whatsapp(failing).await.unwrap();

    let mut list = "phone,first\n".to_owned();
    for n in 1..=8 {
        list.push_str(&format!("+34 600 00 00 0{n},Name{n}\n"));
    }
    list.push_str("0034600000001,Again\nnobody,Nobody\n");
    let id = world.campaign(&chairs("Autumn sale", None), list).await;
    let about =
        world.until_campaign(&id, "finished", |about| about["campaign"]["state"]["is"] == "finished").await;
    let report = &about["campaign"]["audience"]["report"];
    assert_eq!((&report["accepted"], &report["rejected"]), (&json!(8), &json!(2)), "{about}");
    let ana = customer(1, "Ana");
    let template = world.gets(&ana, "Name1, chairs are 20% off").await;
    world
        .chat(&ana)
        .acts(Act::TapQuickReply { wamid: template.wamid, index: 0, without_context: false })
        .await;
    let view = world.thread("Yes please").await;
    assert_eq!(view.session().unwrap().routing_attributes["Campaign"], "Autumn sale");
    let about = world
        .until_campaign(&id, "all counted", |about| {
            let progress = &about["progress"];
            (&progress["read"], &progress["replied"], &progress["failed"])
                == (&json!(6), &json!(1), &json!(1))
        })
        .await;
    assert_eq!(about["progress"]["withheld"], 1, "{about}");
    assert!(about["causes"].as_array().unwrap().iter().any(|cause| cause["code"] == 131_049), "{about}");
    for n in [1, 2, 3, 6, 7, 8] {
        let got = world.received(&customer(n, "")).await;
        assert_eq!(got.iter().filter(|message| message.text.contains("20% off")).count(), 1, "{n}");
    }
    assert!(world.received(&dora).await.iter().all(|message| !message.text.contains("20% off")));

    // Meta pauses the template in the middle of the next one.
    let list = (10..60).map(|n| format!("+346000000{n},Name{n}\n")).collect::<String>();
    let id = world.campaign(&chairs("Winter sale", Some(60)), format!("phone,first\n{list}")).await;
    world
        .until_campaign(&id, "some went", |about| {
            about["progress"]["accepted"].as_u64().is_some_and(|n| n > 0)
        })
        .await;
    let pause = Happening::TemplateStatus {
        waba_id: WABA.into(),
        name: "chairs".into(),
        language: "en_US".into(),
        status: "PAUSED".into(),
        event: None,
        reason: None,
        other_info: Some(json!({ "title": "FIRST_PAUSE", "description": "Low quality" })),
    };
    control.happen(&pause).await.unwrap();
    let about =
        world.until_campaign(&id, "paused", |about| about["campaign"]["state"]["is"] == "paused").await;
    assert_eq!(about["campaign"]["state"]["why"], "template", "{about}");
    let page = world.http.get(format!("{}/campaigns/{id}", world.console)).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("Meta has paused, disabled or changed the template"));
    let log = std::fs::read_to_string(world.stack.nats.log()).unwrap();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    world.stack.stop().await.unwrap();
}
