//! Streams that misbehave: switches of `miaw-api.md` §12 and trouble on order.

use e2e::sim::{AutoRep, ControlClient, Disturb, Fault, RepFile, RepMessage, Rule, Speaker, Verb, Who};
use serde_json::{Value, json};

use crate::{
    help::{World, id, until},
    streams::{Frame, assert_like_sample, opened, read},
};

async fn world(changes: Value) -> (World, String, String) {
    let world = World::start().await;
    world.sim.salesforce.configure(changes).unwrap();
    let (token, c) = (world.token("u1").await, id(1));
    assert_eq!(world.create(&token, &c).await.0, 201);
    (world, token, c)
}

async fn status(world: &World, token: &str) -> u16 {
    world.stream(token, "0").await.status().as_u16()
}

fn identifiers(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| frame.2["conversationEntry"]["identifier"].as_str().unwrap().to_owned())
        .collect()
}

fn order(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| frame.0.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_second_stream_meets_what_is_set() {
    let (world, token, _) = world(json!({ "max_streams": 2 })).await;
    let salesforce = &world.sim.salesforce;
    let (first, second) = (world.stream(&token, "0").await, world.stream(&token, "0").await);
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16(), status(&world, &token).await),
        (200, 200, 429)
    );
    salesforce.configure(json!({ "second_stream": "409" })).unwrap();
    assert_eq!(status(&world, &token).await, 409);
    salesforce.configure(json!({ "second_stream": "kill_old" })).unwrap();
    let third = world.stream(&token, "0").await;
    assert_eq!(third.status(), 200);
    assert_eq!(read(first, |_| false).await.unwrap_err(), "broken");
    assert_eq!(read(second, |_| false).await.unwrap_err(), "broken");
    until("one left", async || (salesforce.open_streams() == 1).then_some(())).await;
    salesforce.configure(json!({ "max_org_streams": 1 })).unwrap();
    let other = world.token("u2").await;
    assert_eq!(status(&world, &other).await, 429);
    salesforce.end_streams(&Who::everyone());
    assert_eq!(read(third, |_| false).await.unwrap_err(), "ended");
    until("closed", async || (salesforce.open_streams() == 0).then_some(())).await;
    assert_eq!(status(&world, &other).await, 200);
}

#[tokio::test]
async fn a_stream_may_end_with_its_token_and_need_its_header() {
    let (world, token, c) = world(json!({ "cut_at_exp": true, "require_last_event_id": true })).await;
    let salesforce = &world.sim.salesforce;
    let live = world.stream(&token, "0").await;
    assert_eq!(live.status(), 200);
    salesforce.set_clock_offset_ms(3_601_000);
    assert_eq!(read(live, |_| false).await.unwrap_err(), "broken");
    salesforce.set_clock_offset_ms(0);
    let live = world.stream(&token, "0").await;
    salesforce.expire_tokens(&Who::conversation(&c));
    assert_eq!(read(live, |_| false).await.unwrap_err(), "broken");
    let url = format!("{}/eventrouter/v1/sse", world.sim.addresses().salesforce);
    let token = world.token("u1").await;
    let request = world.http.get(url).bearer_auth(&token).header("x-org-id", "00DRT0000004QhW");
    assert_eq!(request.send().await.unwrap().status(), 400);
    // In real time, too.
    salesforce.configure(json!({ "token_ttl_s": 1 })).unwrap();
    let live = world.stream(&world.token("u1").await, "0").await;
    assert_eq!(read(live, |_| false).await.unwrap_err(), "broken");
}

#[tokio::test]
async fn frames_are_written_in_any_lawful_way() {
    for style in ["plain", "spaced", "crlf"] {
        let (world, token, c) = world(json!({
            "wire_style": style, "split_bytes": 3, "ping_interval_ms": 10, "ping_style": "with_id",
        }))
        .await;
        world.say(&token, &c, &id(100), "Grüße 👋 aus Köln").await;
        let live = world.stream(&token, "0").await;
        let frames =
            read(live, |frames| frames.iter().filter(|frame| frame.1 == "ping").count() == 2).await.unwrap();
        let message = &frames.iter().find(|frame| frame.1 == "CONVERSATION_MESSAGE").unwrap().2;
        let payload = opened(message)["conversationEntry"]["entryPayload"].clone();
        assert_eq!(payload["abstractMessage"]["staticContent"]["text"], "Grüße 👋 aus Köln", "{style}");
        let pings: Vec<_> =
            frames.iter().filter(|frame| frame.1 == "ping").map(|f| (f.0.as_str(), &f.2)).collect();
        assert_eq!(pings, [("1", &json!(1)), ("2", &json!(2))], "{style}");
    }
}

#[tokio::test]
async fn events_are_repeated_and_reordered_on_order() {
    let (world, token, c) = world(json!({})).await;
    let salesforce = &world.sim.salesforce;
    let say = |text: &str| salesforce.rep(&c, Verb::Say { text: text.into() }).unwrap();
    salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
    say("one");
    let who = Who::conversation(&c);
    salesforce.repeat_events(&Disturb::new(&who, 2));
    let frames = read(world.stream(&token, "0").await, |frames| frames.len() == 9).await.unwrap();
    assert_eq!(identifiers(&frames[7..]), identifiers(&frames[5..7]));
    assert!(order(&frames).is_sorted());

    let live = world.stream(&token, &frames[7].0).await;
    until("written", async || salesforce.streams().iter().any(|s| s.last_event > 0).then_some(())).await;
    say("two");
    let last = order(&frames)[8] + 1;
    until("written", async || salesforce.streams().iter().any(|s| s.last_event == last).then_some(())).await;
    salesforce.repeat_events(&Disturb::new(&who, 1).with_same_id());
    salesforce.reorder_events(&Disturb::new(&who, 3));
    ["three", "four", "five"].into_iter().for_each(say);
    let frames = read(live, |frames| frames.len() == 6).await.unwrap();
    assert_eq!(frames[1], frames[2], "the same id");
    let texts: Vec<Value> = frames
        .iter()
        .map(|frame| {
            opened(&frame.2)["conversationEntry"]["entryPayload"]["abstractMessage"]["staticContent"]["text"]
                .clone()
        })
        .collect();
    assert_eq!(texts, ["one", "two", "two", "five", "four", "three"]);
    assert_eq!(salesforce.conversation(&c).unwrap().texts("Agent"), ["one", "two", "three", "four", "five"]);

    salesforce.reorder_events(&Disturb::new(&who, 100));
    say("six");
    assert_eq!(salesforce.reorder_events(&Disturb::new(&who, 0)), 1);
    read(world.stream(&token, &frames[5].0).await, |frames| !frames.is_empty()).await.unwrap();
}

#[tokio::test]
async fn what_one_act_makes_may_come_in_any_order() {
    let (world, token, c) = world(json!({ "shuffle": true })).await;
    let salesforce = &world.sim.salesforce;
    let mut orders = std::collections::BTreeSet::new();
    let mut cursor = "0".to_owned();
    let mut seen = 2;
    for _ in 0..20 {
        salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
        salesforce.rep(&c, Verb::Transfer { to: None }).unwrap();
        let frames =
            read(world.stream(&token, &cursor).await, |frames| frames.len() >= seen + 6).await.unwrap();
        seen = 0;
        assert!(order(&frames).is_sorted());
        cursor = frames.last().unwrap().0.clone();
        let at = |frame: &Frame| frame.2["conversationEntry"]["transcriptedTimestamp"].as_i64().unwrap();
        let mut right = frames.clone();
        right.sort_by_key(at);
        let transfer = |frames: &[Frame]| -> Vec<String> {
            frames[frames.len() - 3..].iter().map(|frame| frame.1.clone()).collect()
        };
        assert_eq!(
            transfer(&right),
            [
                "CONVERSATION_ROUTING_RESULT",
                "CONVERSATION_ROUTING_WORK_RESULT",
                "CONVERSATION_PARTICIPANT_CHANGED"
            ]
        );
        orders.insert(transfer(&frames));
    }
    assert!(orders.len() > 1, "never another order");
}

#[tokio::test]
async fn an_echo_may_come_after_the_history_has_it() {
    let (world, token, c) = world(json!({ "echo_delay_ms": 150 })).await;
    let live = world.stream(&token, "0").await;
    let began = std::time::Instant::now();
    assert_eq!(world.say(&token, &c, &id(100), "x").await.0, 202);
    let path = format!("/conversation/{c}/entries?entryTypeFilter=Message");
    let (_, body) = world.call("GET", &path, &token, &Value::Null).await;
    assert_eq!(body["conversationEntries"][0]["identifier"], id(100));
    let frames = read(live, |frames| frames.len() == 3).await.unwrap();
    assert_eq!(frames[2].2["conversationEntry"]["identifier"], id(100));
    assert!(began.elapsed() >= std::time::Duration::from_millis(150));
}

#[tokio::test]
async fn unknown_events_and_other_conversations_come_on_the_same_stream() {
    let (world, token, c) = world(json!({})).await;
    let salesforce = &world.sim.salesforce;
    let raw = Verb::Raw {
        event: "UNKNOWN_FUTURE_EVENT".into(),
        entry_type: "SomethingNew".into(),
        payload: json!({ "anything": { "nested": [1, 2, 3] } }),
        role: None,
    };
    salesforce.rep(&c, raw).unwrap();
    salesforce.rep(&c, Verb::SayElsewhere { text: "psst".into(), elsewhere: None }).unwrap();
    let frames = read(world.stream(&token, "0").await, |frames| frames.len() == 4).await.unwrap();
    assert_like_sample(&frames[2], "UNKNOWN_FUTURE_EVENT");
    assert_like_sample(&frames[3], "CONVERSATION_MESSAGE-agent-text");
    assert_ne!(frames[3].2["conversationId"], c);
    assert_eq!(salesforce.conversation(&c).unwrap().entries.len(), 2, "in no history");
}

#[tokio::test]
async fn connecting_and_fetching_can_fail_too() {
    let (world, token, _) = world(json!({})).await;
    let salesforce = &world.sim.salesforce;
    let unavailable = Fault::Status { status: 503, retry_after: None };
    salesforce.add_fault(Rule::new("sse", unavailable.clone()).times(1)).unwrap();
    assert_eq!((status(&world, &token).await, status(&world, &token).await), (503, 200));
    salesforce.add_fault(Rule::new("download", unavailable).times(1)).unwrap();
    let url = format!("{}/sfc/dist/version/download/?oid=x", world.sim.addresses().files);
    let get = async || world.http.get(&url).send().await.unwrap().status().as_u16();
    assert_eq!((get().await, get().await), (503, 404));
}

#[tokio::test]
async fn a_script_in_another_process_has_the_same_levers() {
    let (world, token, c) = world(json!({})).await;
    let control = ControlClient::new(&world.sim.addresses().control).unwrap();
    let live = world.stream(&token, "0").await;
    control.rep(&c, &Verb::Accept { rep: None }).await.unwrap();
    let file = RepFile { name: "a.txt".into(), mime: "text/plain".into(), size: 3, ..RepFile::default() };
    let content = RepMessage::File(file);
    control.rep(&c, &Verb::Send { content, from: Speaker::Rep }).await.unwrap();
    let url = format!("{}/control/salesforce/rep", world.sim.addresses().control);
    let order =
        async |command: Value| world.http.post(&url).json(&command).send().await.unwrap().status().as_u16();
    let choices = json!({
        "conversation": c, "verb": "send",
        "content": {
            "kind": "choices", "format": "list_picker", "text": "Which?", "options": [{ "title": "One" }],
        },
    });
    assert_eq!(order(choices).await, 200);
    let queue = json!({ "conversation": c, "verb": "transfer_queue", "queue": "00GRT0000001bYd2AI" });
    assert_eq!(order(queue).await, 200);
    assert_eq!(
        order(json!({ "conversation": c, "verb": "routing_fails", "reason": "After hours" })).await,
        200
    );
    assert_eq!(order(json!({ "conversation": c, "verb": "no_such_verb" })).await, 400);
    let view = control.conversation(&c).await.unwrap().unwrap();
    assert_eq!(view.files("Agent")[0].size, 3);
    assert_eq!(view, world.sim.salesforce.conversation(&c).unwrap());

    assert_eq!(control.open_streams().await.unwrap(), 1);
    let who = Who::conversation(&c);
    control.repeat_events(&Disturb::new(&who, 1).with_same_id()).await.unwrap();
    control.reorder_events(&Disturb::new(&who, 0)).await.unwrap();
    control.end_streams(&who).await.unwrap();
    let all = view.entries.len();
    assert_eq!(read(live, |frames| frames.len() > all + 1).await.unwrap_err(), "ended");
}

#[tokio::test]
async fn an_automatic_rep_can_talk_by_itself() {
    let (world, _, c) = world(json!({})).await;
    let talk = AutoRep { accept_after_ms: 0, talk_every_ms: Some(1), ..AutoRep::default() };
    world.sim.salesforce.set_auto_rep(Some(talk));
    let said = || world.sim.salesforce.conversation(&c).unwrap().texts("Agent").len();
    until("talk", async || (said() > 3).then_some(())).await;
    world.sim.salesforce.set_auto_rep(None);
    let before = said();
    assert!(said() <= before + 1);
}

#[tokio::test]
async fn replay_goes_as_far_back_as_is_set() {
    let (world, token, c) =
        world(json!({ "replay": "none", "ping_interval_ms": 10, "ping_style": "counter" })).await;
    let salesforce = &world.sim.salesforce;
    let first = |frames: &[Frame]| !frames.is_empty();
    let frames = read(world.stream(&token, "0").await, first).await.unwrap();
    assert_eq!((frames[0].0.as_str(), frames[0].1.as_str(), &frames[0].2), ("", "ping", &json!(1)));
    salesforce.set_clock_offset_ms(60_000);
    salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
    salesforce.configure(json!({ "replay": { "within_ms": 30_000 } })).unwrap();
    let frames = read(world.stream(&token, "0").await, first).await.unwrap();
    assert_eq!(frames[0].1, "CONVERSATION_ROUTING_WORK_RESULT", "what is older is gone");
}
