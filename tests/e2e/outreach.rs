//! Templates that other systems ask for: to the phone, and what the customer's answer leads to.

use e2e::sim::{Act, Customer, PhoneMessage, RepView, Template};
use serde_json::{Value, json};
use xtask::stack::{NUMBER, Options, Stack, WABA, users};

use crate::{chat::Chat, until};

/// A stack with the broker's rights, two templates, and an API client.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) console: String,
    pub(crate) http: reqwest::Client,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// `channel`: what is different about it.
    pub(crate) async fn with(channel: Value) -> Self {
        let options = Options { users: Some(users().unwrap()), channel, ..Options::default() };
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

    pub(crate) async fn sent(&self, key: &str, body: &Value) -> String {
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

    pub(crate) async fn received(&self, customer: &Customer) -> Vec<PhoneMessage> {
        let phone = self.stack.control.phone(NUMBER, &customer.key()).await.unwrap();
        let messages = phone.map(|phone| phone.messages).unwrap_or_default();
        messages.into_iter().filter(|message| !message.from_customer && message.visible).collect()
    }

    pub(crate) async fn gets(&self, customer: &Customer, text: &str) -> PhoneMessage {
        let got =
            async || self.received(customer).await.into_iter().find(|message| message.text.contains(text));
        until(text, got).await
    }

    pub(crate) fn chat(&self, customer: &Customer) -> Chat<'_> {
        Chat { control: &self.stack.control, customer: customer.clone(), conversation: String::new() }
    }

    /// Nobody asked the broker for what is not theirs.
    pub(crate) async fn stop(self) {
        let log = std::fs::read_to_string(self.stack.nats.log()).unwrap();
        let refused: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
        assert!(refused.is_empty(), "{refused:#?}");
        self.stack.stop().await.unwrap();
    }

    pub(crate) async fn thread(&self, part: &str) -> RepView {
        let views = async || {
            let views = self.stack.control.conversations().await.unwrap();
            let with = |view: &RepView| view.texts("EndUser").iter().any(|text| text.contains(part));
            views.into_iter().find(with)
        };
        until(part, views).await
    }
}

pub(crate) fn customer(n: u32, name: &str) -> Customer {
    Customer { bsuid: Some(format!("ES.9000{n}")), ..Customer::phone(&format!("3460000000{n}"), name) }
}

pub(crate) fn order(to: &str) -> Value {
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

    world.stop().await;
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
