//! Conversation Routing: two responders on one number.

use e2e::sim::{Act, Did, Happening, Say, What};
use serde_json::{Value, json};

use crate::{
    help::{NUMBER, TOKEN, World, ana},
    wa_inbound::change_with,
    wa_send::{ANA, message},
};

async fn control(world: &World, body: Value) -> (u16, Value) {
    let mut body = body;
    body["messaging_product"] = "whatsapp".into();
    let url = format!("{}/v25.0/{NUMBER}/thread_control", world.sim.addresses().whatsapp);
    let response = world.http.post(url).bearer_auth(TOKEN).json(&body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn text() -> Value {
    message("text", json!({ "body": "x" }))
}

#[tokio::test]
async fn the_other_responder_hands_over_to_us() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp
        .set_setup(
            NUMBER,
            json!({ "routing": { "we_are_escalation": false, "our_role": "customer_service" } }),
        )
        .unwrap();
    let first = whatsapp.say(Say::text(NUMBER, &ana(), "I want to talk to a person")).unwrap();
    let got = change_with(&world, &first).await;
    assert_eq!(
        (&got["field"], &got["value"]["standby"]["messages"][0]["id"]),
        (&json!("standby"), &json!(first))
    );
    assert_eq!(got["value"]["messages"], Value::Null, "one level deeper");
    let voice = whatsapp.act(Did::new(NUMBER, &ana(), Act::Voice { file: Default::default() })).unwrap();
    assert_eq!(change_with(&world, &voice).await["value"]["standby"]["messages"][0]["audio"]["voice"], true);

    let reply = json!({ "type": "text", "text": { "body": "Sure, a colleague will take over.", "preview_url": "true" },
        "biz_opaque_callback_data": "{\"originator\":\"bizai\"}" });
    let sends = Happening::OtherSends { number: NUMBER.into(), customer: ANA.into(), message: reply };
    let echo = whatsapp.happen(sends).unwrap().unwrap();
    let got = change_with(&world, "message_echoes").await["value"]["standby"]["message_echoes"][0].clone();
    assert_eq!((&got["id"], &got["message"]["to"]), (&json!(echo), &json!(ANA)));
    let status = change_with(&world, "\"status\":\"delivered\"").await;
    assert_eq!(status["value"]["standby"]["statuses"][0]["id"], echo.as_str());

    assert_eq!(world.send(&text()).await.1["error"]["code"], 131_005, "not the owner");
    let rule = |entry: &e2e::sim::Entry| matches!(&entry.what, What::WaViolation { rule, .. } if rule == "not_owner");
    assert!(world.sim.record.from(1, 1_000).iter().any(rule));
    let (_, refused) = control(&world, json!({ "to": ANA, "action": "take" })).await;
    assert_eq!(refused["error"]["code"], 2_494_191);
    assert_eq!(refused["error"]["message"], "(#2494191) Thread control take is not permitted");

    let summary = json!({ "type": "summary", "summary": { "text": "Late order." } });
    let passes = Happening::OtherPasses {
        number: NUMBER.into(),
        customer: ANA.into(),
        metadata: Some("customer_request".into()),
        context: Some(summary.clone()),
        again: true,
    };
    assert_eq!(whatsapp.happen(passes).unwrap().as_deref(), Some(voice.as_str()));
    let got = change_with(&world, "control_passed").await;
    assert_eq!(got["field"], "messaging_handovers");
    assert_eq!(got["value"]["sender"]["phone_number"], ANA);
    assert_eq!(got["value"]["recipient"]["phone_number_id"], NUMBER);
    assert_eq!(got["value"]["metadata"], Value::Null);
    assert_eq!(
        got["value"]["control_passed"],
        json!({ "previous_owner_role": "ai_agent", "new_owner_role": "customer_service",
                "metadata": "customer_request", "conversation_context": summary })
    );
    let again = change_with(&world, "\"messages\",\"value\":{\"contacts\"").await;
    assert_eq!(again["value"]["messages"][0]["id"], voice.as_str(), "the same message, now ours");
    assert_eq!(world.send(&text()).await.0, 200);
    let ours = whatsapp.say(Say::text(NUMBER, &ana(), "thanks")).unwrap();
    assert_eq!(change_with(&world, &ours).await["field"], "messages");
    let takes = Happening::OtherTakes { number: NUMBER.into(), customer: ANA.into(), metadata: None };
    whatsapp.happen(takes).unwrap();
    assert_eq!(
        change_with(&world, "control_taken").await["value"]["control_taken"]["new_owner_role"],
        "ai_agent"
    );
}

#[tokio::test]
async fn the_escalation_partner_takes_passes_and_releases() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.set_setup(NUMBER, json!({ "routing": {} })).unwrap();
    let say = |text: &str| whatsapp.say(Say::text(NUMBER, &ana(), text)).unwrap();
    let field = async |wamid: String| change_with(&world, &wamid).await["field"].as_str().unwrap().to_owned();
    assert_eq!(field(say("1")).await, "standby");
    let (status, answer) =
        control(&world, json!({ "to": ANA, "action": "take", "metadata": "handoff" })).await;
    assert!(status == 200 && answer["request_id"].is_string());
    assert_eq!(field(say("2")).await, "messages");
    let pass = json!({ "to": ANA, "action": "pass", "control_pass": { "target_role": "ai_agent" } });
    assert_eq!(control(&world, pass.clone()).await.0, 200);
    assert_eq!(field(say("3")).await, "standby");
    assert_eq!(control(&world, pass).await.1["error"]["code"], 131_005, "passed already");
    assert_eq!(world.send(&text()).await.0, 200, "a free-form message takes the thread");
    assert_eq!(field(say("4")).await, "messages");
    assert_eq!(control(&world, json!({ "to": ANA, "action": "release" })).await.0, 200);
    assert_eq!(control(&world, json!({ "to": ANA, "action": "release" })).await.0, 200, "idle already");
    assert_eq!(field(say("5")).await, "standby", "routed anew");
    control(&world, json!({ "to": ANA, "action": "take" })).await;
    whatsapp.advance(24.0 * 3_600.0);
    assert_eq!(field(say("6")).await, "standby", "idle after 24 hours");
    for (body, code) in [
        (json!({ "action": "take" }), 131_008),
        (json!({ "to": ANA, "recipient": "US.1", "action": "take" }), 131_009),
        (json!({ "to": ANA, "action": "steal" }), 131_009),
        (json!({ "to": ANA, "action": "take", "metadata": "x".repeat(2_001) }), 131_009),
        (json!({ "to": "15550100111", "action": "take" }), 131_009),
    ] {
        assert_eq!(control(&world, body.clone()).await.1["error"]["code"], code, "{body}");
    }
}
