//! Campaigns on the whole stack: who gets what, what they share, what stops them.

use e2e::sim::{Act, Customer, Happening, Say, Template, What};
use serde_json::{Value, json};
use xtask::stack::{NUMBER, WABA};

use crate::{
    outreach::{World, customer, order},
    until,
};

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

    async fn does(&self, id: &str, action: &str) {
        let url = format!("{}/api/v1/campaigns/{id}/actions", self.console);
        let done = self.http.post(url).json(&json!({ "action": action })).send().await.unwrap();
        assert_eq!(done.status(), 200, "{action}: {}", done.text().await.unwrap());
    }

    async fn export(&self, id: &str) -> String {
        let url = format!("{}/api/v1/campaigns/{id}/export.csv", self.console);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
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
    assert_eq!((&report["accepted"], &report["rejected"]), (&json!(7), &json!(3)), "{about}");
    assert_eq!(report["reasons"]["opted-out"], 1, "{about}");
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
    assert_eq!(about["progress"]["withheld"], 0, "{about}");
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
    world.stop().await;
}

/// `count` recipients; `n`: which list it is.
fn list(n: u32, count: u32) -> String {
    let row = |place: u32| format!("+3461{n}{place:06},Name{place}\n");
    format!("phone,first\n{}", (0..count).map(row).collect::<String>())
}

#[tokio::test]
async fn two_campaigns_share_a_numbers_pace_and_live_traffic_goes_first() {
    let world = World::with(json!({ "messages_per_second": 6 })).await;
    let control = &world.stack.control;
    // What it receives counts too.
    control.configure_whatsapp(json!({ "number_per_second": 8 })).await.unwrap();
    let first = world.campaign(&chairs("Autumn sale", None), list(1, 40)).await;
    let second = world.campaign(&chairs("Winter sale", None), list(2, 40)).await;
    let accepted = |about: &Value| about["progress"]["accepted"].as_u64().unwrap_or(0);
    for id in [&first, &second] {
        world.until_campaign(id, "its share", |about| accepted(about) >= 3).await;
    }
    let eva = Customer::phone("34600000077", "Eva");
    control.say(&Say::text(NUMBER, &eva, "When are you open?")).await.unwrap();
    world.gets(&eva, "We are open Monday to Friday").await;
    let mut running = 0;
    for id in [&first, &second] {
        let about = world.until_campaign(id, "it is told", |about| about["campaign"].is_object()).await;
        running += u32::from(about["campaign"]["state"]["is"] == "running");
    }
    assert!(running > 0, "she was answered while they went on");
    for id in [&first, &second] {
        let about = world
            .until_campaign(id, "finished", |about| {
                about["campaign"]["state"]["is"] == "finished" && accepted(about) == 40
            })
            .await;
        assert_eq!(about["progress"]["failed"], 0, "{about}");
    }
    let record = control.record(1).await.unwrap();
    let shown = |entry: &&e2e::sim::Entry| matches!(&entry.what, What::Shown { text, .. } if text.contains("20% off"));
    assert_eq!(record.iter().filter(shown).count(), 80);
    world.stop().await;
}

#[tokio::test]
async fn the_portfolios_limit_is_waited_for_and_who_wants_none_gets_none() {
    let world = World::start().await;
    let control = &world.stack.control;
    control.set_setup(NUMBER, json!({ "messaging_limit": "TIER_5" })).await.unwrap();
    let failing = json!({ "failing": { "34611000001": { "code": 131_050, "late": true } } });
    control.configure_whatsapp(failing).await.unwrap();
    let id = world.campaign(&chairs("Autumn sale", None), list(1, 8)).await;
    let about = world
        .until_campaign(&id, "the limit", |about| about["progress"]["waiting"] == "messaging limit")
        .await;
    assert_eq!(about["campaign"]["state"]["is"], "running", "{about}");
    let about = world
        .until_campaign(&id, "what fits", |about| {
            about["progress"]["accepted"] == 5 && about["progress"]["failed"] == 1
        })
        .await;
    assert_eq!((&about["progress"]["queued"], &about["progress"]["opted_out"]), (&json!(5), &json!(1)));
    // Meta lets it have more; whoever resumes has it asked.
    control.set_setup(NUMBER, json!({ "messaging_limit": "TIER_100" })).await.unwrap();
    until("all are reached", async || {
        // A pause that is over before anybody looked is none.
        for action in ["pause", "resume"] {
            let url = format!("{}/api/v1/campaigns/{id}/actions", world.console);
            let _ = world.http.post(url).json(&json!({ "action": action })).send().await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        let url = format!("{}/api/v1/campaigns/{id}", world.console);
        let about: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
        let progress = &about["progress"];
        (about["campaign"]["state"]["is"] == "finished"
            && progress["accepted"] == 8
            && progress["failed"] == 1)
            .then_some(())
    })
    .await;
    let beyond = |entry: &e2e::sim::Entry| matches!(&entry.what, What::WaViolation { rule, .. } if rule == "messaging_limit");
    assert!(!control.record(1).await.unwrap().iter().any(beyond), "never more than Meta allows");

    // What Meta said of one of them is known to the next campaign.
    let id = world.campaign(&chairs("Winter sale", None), list(1, 8)).await;
    let about =
        world.until_campaign(&id, "finished", |about| about["campaign"]["state"]["is"] == "finished").await;
    let report = &about["campaign"]["audience"]["report"];
    assert_eq!((&report["accepted"], &report["reasons"]["opted-out"]), (&json!(7), &json!(1)), "{about}");
    let url = format!("{}/api/v1/campaigns/{id}/rejected.csv", world.console);
    let rejected = world.http.get(url).send().await.unwrap().text().await.unwrap();
    assert!(rejected.contains("they want no marketing messages"), "{rejected}");
    world.stop().await;
}

#[tokio::test]
async fn a_campaign_is_paused_resumed_and_cancelled_and_tells_whom_it_left_out() {
    let world = World::start().await;
    let accepted = |about: &Value| about["progress"]["accepted"].as_u64().unwrap_or(0);
    let id = world.campaign(&chairs("Autumn sale", Some(60)), list(1, 50)).await;
    world.until_campaign(&id, "some went", |about| accepted(about) >= 2).await;
    world.does(&id, "pause").await;
    let paused = world
        .until_campaign(&id, "nothing on its way", |about| {
            about["campaign"]["state"]["is"] == "paused" && about["progress"]["queued"] == accepted(about)
        })
        .await;
    // Others go on meanwhile.
    let other = world.campaign(&chairs("Another", None), list(2, 5)).await;
    world.until_campaign(&other, "finished", |about| about["campaign"]["state"]["is"] == "finished").await;
    let about = world.until_campaign(&id, "it is told", |about| about["campaign"].is_object()).await;
    assert_eq!(accepted(&about), accepted(&paused), "nothing went while it was paused");
    world.does(&id, "resume").await;
    world.until_campaign(&id, "it goes on", |about| accepted(about) > accepted(&paused)).await;
    world.does(&id, "cancel").await;
    let about = world
        .until_campaign(&id, "it stands", |about| {
            about["campaign"]["state"]["is"] == "cancelled" && about["progress"]["queued"] == accepted(about)
        })
        .await;
    let cause = about["causes"][0].clone();
    assert_eq!(cause["count"], 50 - accepted(&about), "{about}");
    assert!(world.export(&id).await.contains("not sent,,the campaign was cancelled before their turn"));

    // No hour suits all of America.
    let mut plan = chairs("Toll-free", None);
    plan["schedule"] = json!({ "quiet": { "from": "00:10:00", "to": "00:00:00" } });
    let id = world.campaign(&plan, "phone,first\n+18005552671,Carol\n".into()).await;
    let about =
        world.until_campaign(&id, "finished", |about| about["campaign"]["state"]["is"] == "finished").await;
    assert_eq!((accepted(&about), &about["causes"][0]["count"]), (0, &json!(1)), "{about}");
    let page = world.http.get(format!("{}/campaigns/{id}", world.console)).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("no hour of the schedule suits"));
    assert!(world.export(&id).await.contains("not sent,,no hour of the schedule suits"));
    world.stop().await;
}

#[tokio::test]
async fn a_headers_file_is_uploaded_once_for_everybody() {
    let world = World::start().await;
    let control = &world.stack.control;
    let components = vec![
        json!({ "type": "HEADER", "format": "IMAGE" }),
        json!({ "type": "BODY", "text": "Look, {{1}}!" }),
    ];
    let look = Template { components, ..Template::text(WABA, "look", "en_US", "") };
    control.set_template(&look).await.unwrap();
    let api = format!("{}/api/v1", world.console);
    let plan = json!({
        "name": "Look", "number": NUMBER,
        "template": {
            "name": "look", "language": "en_US", "category": look.category, "text": "Look, {{1}}!",
            "body": [{ "column": "first" }],
            "header": { "kind": "media", "media": "image", "object": "", "name": "", "mime": "" },
        },
    });
    let made: Value =
        world.http.post(format!("{api}/campaigns")).json(&plan).send().await.unwrap().json().await.unwrap();
    let id = made["campaign"]["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let list = world.http.post(format!("{api}/campaigns/{id}/audience")).body(list(3, 20));
    assert_eq!(list.send().await.unwrap().status(), 200);
    let start = world.http.post(format!("{api}/campaigns/{id}/actions")).json(&json!({ "action": "start" }));
    let told: Value = start.send().await.unwrap().json().await.unwrap();
    assert_eq!(told["problems"][0], "the header's file is not uploaded yet", "{told}");
    let put = async |kind: &str| {
        let url = format!("{api}/campaigns/{id}/header?name=chairs.jpg");
        let put = world.http.put(url).header("content-type", kind.to_owned());
        let answer = put.body(&b"\xff\xd8\xff\xe0 a picture"[..]).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(put("audio/ogg").await.1["error"], "unfit_file");
    let (status, about) = put("image/jpeg").await;
    assert_eq!(status, 200, "{about}");
    world.does(&id, "start").await;
    world
        .until_campaign(&id, "all are reached", |about| {
            about["campaign"]["state"]["is"] == "finished" && about["progress"]["accepted"] == 20
        })
        .await;

    // Another system sends the same file.
    let mut file = about["campaign"]["template"]["header"].clone();
    file.as_object_mut().unwrap().remove("kind");
    let mut single = order("+34600000009");
    single["template"] = json!({ "name": "look", "language": "en_US", "body": ["Ana"], "header": file });
    world.sent("look-for-ana", &single).await;
    world.gets(&Customer::phone("34600000009", ""), "Look, Ana!").await;
    file["object"] = json!("somebody-elses");
    single["template"]["header"] = file;
    let url = format!("{api}/messages");
    let refused =
        world.http.post(url).header("idempotency-key", "look-for-bo").json(&single).send().await.unwrap();
    assert_eq!(refused.status(), 400);

    let record = control.record(1).await.unwrap();
    let uploads = record.iter().filter(
        |entry| matches!(&entry.what, What::WaRequest { endpoint, .. } if endpoint.contains("media_upload")),
    );
    assert_eq!(uploads.count(), 1);
    world.stop().await;
}
