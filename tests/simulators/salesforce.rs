//! Tokens, conversations, messages, limits.

use e2e::sim::{AutoRep, Flow, Rep, Verb};
use serde_json::{Value, json};

use crate::help::{World, id, message, now, until};

#[tokio::test]
async fn only_a_good_identity_gives_a_verified_subject() {
    let world = World::start().await;
    let claims = json!({ "iss": "https://bridge.example.com", "sub": "u1", "exp": now() + 300 });
    let header = json!({ "alg": "RS256", "kid": "key-1" });
    let changed = |key: &str, value: Value| {
        let mut claims = claims.clone();
        claims[key] = value;
        claims
    };
    let verified = async |identity: &str| {
        let (status, body) = world.exchange(identity).await;
        assert_eq!(status, 200, "a failed check is silent");
        body["context"]["endUser"]["subject"] == "v2/iamessage/AUTH/Bridge_Keys/uid:u1"
    };
    assert!(verified(&world.identity(header.clone(), claims.clone())).await);
    assert!(verified(&world.identity(header.clone(), changed("exp", (now() - 50).into()))).await);
    for (header, claims) in [
        (header.clone(), changed("iss", "https://bridge.example.com/".into())),
        (header.clone(), changed("exp", (now() - 70).into())),
        (header.clone(), changed("sub", "".into())),
        (json!({ "alg": "RS256", "kid": "key-2" }), claims.clone()),
        (json!({ "alg": "RS256" }), claims.clone()),
        (json!({ "alg": "RS512", "kid": "key-1" }), claims.clone()),
    ] {
        assert!(!verified(&world.identity(header.clone(), claims.clone())).await, "{header} {claims}");
    }
    let other = World::with_other_keys().await;
    assert!(!verified(&other.identity(header, claims.clone())).await, "somebody else's key");
    world.sim.salesforce.configure(json!({ "verify_failure": "401" })).unwrap();
    assert_eq!(world.exchange("x.y.z").await.0, 401);
}

#[tokio::test]
async fn the_committed_identity_token_verifies_at_its_time() {
    let world = World::start().await;
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/salesforce/testdata");
    let jwk: Value =
        serde_json::from_slice(&std::fs::read(format!("{dir}/jwk-for-salesforce-upload.json")).unwrap())
            .unwrap();
    let signed = std::fs::read_to_string(format!("{dir}/identity-jwt-signed.txt")).unwrap();
    world.sim.salesforce.configure(json!({ "keys": [jwk] })).unwrap();
    let then = 1_795_187_000 - i64::try_from(now()).unwrap();
    world.sim.salesforce.set_clock_offset_ms(then * 1_000);
    let (_, body) = world.exchange(signed.trim()).await;
    assert_eq!(body["context"]["endUser"]["subject"], "v2/iamessage/AUTH/Bridge_Keys/uid:phone-15550100123");
}

#[tokio::test]
async fn a_conversation_lives_as_omni_channel_says() {
    let world = World::start().await;
    let salesforce = &world.sim.salesforce;
    salesforce.configure(json!({ "flow": Flow::default() })).unwrap();
    let (token, c) = (world.token("u1").await, id(1));
    assert_eq!(world.create(&token, &c).await, (201, json!({ "conversationId": c })));
    assert_eq!(world.say(&token, &c, &id(100), "Hi").await.0, 202);
    let get = async || world.call("GET", &format!("/conversation/{c}"), &token, &Value::Null).await.1;
    assert_eq!(get().await["routingStatus"], "INITIAL");
    salesforce.rep(&c, Verb::Say { text: "too early".into() }).unwrap_err();
    salesforce.rep(&c, Verb::Decline).unwrap();
    salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
    assert_eq!(get().await["routingStatus"], "ROUTED");
    salesforce.rep(&c, Verb::Say { text: "Hello".into() }).unwrap();
    salesforce.rep(&c, Verb::Transfer { to: None }).unwrap();
    assert_eq!(get().await["routingStatus"], "TRANSFER");
    salesforce.rep(&c, Verb::Accept { rep: Some(Rep::second()) }).unwrap();
    salesforce.rep(&c, Verb::Inactive).unwrap();
    assert_eq!(world.say(&token, &c, &id(101), "Still there?").await.0, 202);
    salesforce.rep(&c, Verb::Accept { rep: Some(Rep::second()) }).unwrap();
    salesforce.rep(&c, Verb::End).unwrap();
    assert_eq!(get().await["routingStatus"], "NEEDS_ROUTING");

    let view = salesforce.conversation(&c).unwrap();
    assert_eq!(view.name, "Dana Okafor (+15550100123)");
    assert_eq!(view.session().unwrap().fields["Phone_Number__c"], "+15550100123");
    assert_eq!((view.texts("EndUser"), view.texts("Agent")), (vec!["Hi", "Still there?"], vec!["Hello"]));
    let story: Vec<String> = view
        .entries
        .iter()
        .map(|entry| {
            let p = &entry.payload;
            let detail =
                [&p["sessionStatus"], &p["workType"], &p["routingType"], &p["entries"][0]["operation"]];
            let detail = detail.iter().find_map(|value| value.as_str()).unwrap_or(&entry.role);
            format!("{} {detail}", entry.entry_type)
        })
        .collect();
    assert_eq!(
        story,
        [
            "RoutingResult Initial",
            "SessionStatusChanged Waiting",
            "Message EndUser",
            "RoutingWorkResult Assigned",
            "RoutingWorkResult Declined",
            "RoutingWorkResult Assigned",
            "RoutingWorkResult Accepted",
            "SessionStatusChanged Active",
            "ParticipantChanged add",
            "Message Agent",
            "RoutingResult Transfer",
            "RoutingWorkResult Transferred",
            "ParticipantChanged remove",
            "RoutingWorkResult Assigned",
            "RoutingWorkResult Accepted",
            "ParticipantChanged add",
            "SessionStatusChanged Inactive",
            "Message EndUser",
            "SessionStatusChanged Waiting",
            "RoutingResult Initial",
            "RoutingWorkResult Assigned",
            "RoutingWorkResult Accepted",
            "SessionStatusChanged Active",
            "RoutingWorkResult Closed",
            "SessionStatusChanged Ended",
            "ParticipantChanged remove",
        ]
    );

    // The next message opens the next session; with the flag it brings attributes.
    assert_eq!(world.say(&token, &c, &id(102), "One more").await.0, 202);
    assert!(salesforce.conversation(&c).unwrap().session().unwrap().routing_attributes.is_empty());
    let path = format!("/conversation/{c}");
    let by = "?esDeveloperName=Phone_Bridge_Client";
    assert_eq!(world.call("DELETE", &format!("{path}/session{by}"), &token, &Value::Null).await.0, 204);
    let mut again = message(&id(103), "And more");
    again["isNewMessagingSession"] = true.into();
    again["routingAttributes"] = json!({ "Customer_Name": "Dana" });
    assert_eq!(world.call("POST", &format!("{path}/message"), &token, &again).await.0, 202);
    let view = salesforce.conversation(&c).unwrap();
    assert_eq!((view.sessions.len(), view.name.as_str()), (3, "Dana"));
    assert_eq!(world.call("DELETE", &format!("{path}{by}"), &token, &Value::Null).await.0, 204);
    assert_eq!(world.say(&token, &c, &id(104), "closed").await.0, 400);
}

#[tokio::test]
async fn without_a_flow_the_rep_sees_a_guest() {
    let world = World::start().await;
    let token = world.token("u1").await;
    world.create(&token, &id(1)).await;
    let view = world.sim.salesforce.conversation(&id(1)).unwrap();
    assert_eq!((view.name.as_str(), view.session().unwrap().fields.len()), ("Guest", 0));
    assert_eq!(view.platform_key, "v2/iamessage/AUTH/Bridge_Keys/uid:u1");
    assert_eq!(view.session().unwrap().routing_attributes["Customer_Name"], "Dana Okafor");
}

#[tokio::test]
async fn the_form_of_requests_is_checked() {
    let world = World::start().await;
    let (token, stranger, c) = (world.token("u1").await, world.token("u2").await, id(1));
    for wrong in [c.to_uppercase(), c.replace("-4c62-", "-1c62-"), c.replace("-9e41-", "-1e41-"), "x".into()]
    {
        assert_eq!(world.create(&token, &wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(world.create(&token, &c).await.0, 201);
    assert_eq!(world.create(&token, &c).await.0, 409);
    assert_eq!(world.create("nonsense", &c).await.0, 401);
    assert_eq!(world.say(&stranger, &c, &id(9), "x").await.0, 403);
    assert_eq!(world.say(&token, &id(2), &id(9), "x").await.0, 404);
    let path = format!("/conversation/{c}/message");
    let change = |change: fn(&mut Value)| {
        let mut body = message(&id(9), "x");
        change(&mut body);
        body
    };
    for body in [
        change(|b| b["unknown"] = 1.into()),
        change(|b| b["message"]["unknown"] = 1.into()),
        change(|b| b["message"]["id"] = "9".into()),
        change(|b| b["message"]["messageType"] = "ChoicesMessage".into()),
        change(|b| b["message"]["staticContent"]["formatType"] = "RichLink".into()),
        change(|b| b["message"]["staticContent"]["text"] = "".into()),
        change(|b| b["esDeveloperName"] = "Other".into()),
        change(|b| b["routingAttributes"] = json!({ "n": 1 })),
    ] {
        assert_eq!(world.call("POST", &path, &token, &body).await.0, 400, "{body}");
    }
    assert_eq!(world.call("GET", "/conversation/1/events", &token, &Value::Null).await.0, 501);
    let (_, list) = world.call("GET", "/conversation/list?limit=5", &token, &Value::Null).await;
    assert_eq!(
        (&list["openConversationsFound"], &list["conversations"][0]["conversationId"]),
        (&1.into(), &c.into())
    );
}

#[tokio::test]
async fn a_repeated_message_is_one_entry_and_history_pages() {
    let world = World::start().await;
    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    for n in [100, 101, 101, 102] {
        assert_eq!(world.say(&token, &c, &id(n), &n.to_string()).await.0, 202);
    }
    let entries = async |query: &str| {
        let path = format!("/conversation/{c}/entries?{query}");
        let (status, body) = world.call("GET", &path, &token, &Value::Null).await;
        assert_eq!(status, 200);
        body["conversationEntries"].as_array().unwrap().clone()
    };
    let newest = entries("entryTypeFilter=Message&limit=2").await;
    assert_eq!([&newest[0]["identifier"], &newest[1]["identifier"]], [&json!(id(102)), &json!(id(101))]);
    assert_eq!(entries("direction=FromStart").await.len(), 5);
    let since = newest[0]["transcriptedTimestamp"].as_i64().unwrap() + 1;
    assert_eq!(entries(&format!("direction=FromStart&startTimestamp={since}")).await.len(), 0);
    assert!(newest[0]["entryPayload"].is_object());
    world.sim.salesforce.configure(json!({ "history_payload": "string", "dup_message": "409" })).unwrap();
    assert!(entries("limit=1").await[0]["entryPayload"].is_string());
    assert_eq!(world.say(&token, &c, &id(102), "x").await.0, 409);
}

#[tokio::test]
async fn the_23rd_message_in_a_minute_and_the_201st_token_are_refused() {
    let world = World::start().await;
    world.sim.salesforce.configure(json!({ "retry_after_s": 7 })).unwrap();
    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    for n in 0..22 {
        assert_eq!(world.say(&token, &c, &id(100 + n), "x").await.0, 202);
    }
    assert_eq!(world.say(&token, &c, &id(200), "x").await.0, 429);
    assert_eq!(world.say(&token, &c, &id(100), "x").await.0, 202, "a repeat costs nothing");
    let identity = world.good_identity("u1");
    for _ in 0..199 {
        assert_eq!(world.exchange(&identity).await.0, 200);
    }
    assert_eq!(world.exchange(&identity).await.0, 429);
}

#[tokio::test]
async fn the_automatic_rep_accepts_answers_and_ends() {
    let world = World::start().await;
    let salesforce = &world.sim.salesforce;
    salesforce.set_auto_rep(Some(AutoRep {
        accept_after_ms: 1,
        reply_after_ms: 1,
        end_after: Some(3),
        ..AutoRep::default()
    }));
    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    for n in 0..3 {
        world.say(&token, &c, &id(100 + n), "x").await;
    }
    let view = until("the end", async || {
        let view = salesforce.conversation(&c)?;
        (view.session()?.status == "Ended").then_some(view)
    })
    .await;
    assert_eq!(view.texts("Agent"), [format!("[1] {c}"), format!("[2] {c}"), format!("[3] {c}")]);
}
