//! The event stream: order, replay, pings, cuts, stalls.

use std::collections::BTreeSet;

use e2e::sim::{Verb, Who};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::help::{World, id, until};

/// An event: id, name, data.
pub(crate) type Frame = (String, String, Value);

/// Frames, until there are enough.
pub(crate) async fn read(
    response: reqwest::Response,
    mut enough: impl FnMut(&[Frame]) -> bool,
) -> Result<Vec<Frame>, String> {
    let mut bytes = response.bytes_stream();
    let (mut text, mut frames) = (Vec::new(), Vec::new());
    let patience = std::time::Duration::from_secs(10);
    while !enough(&frames) {
        let chunk = tokio::time::timeout(patience, bytes.next()).await.map_err(|_| "silent".to_owned())?;
        let chunk = chunk.ok_or("ended")?.map_err(|_| "broken".to_owned())?;
        text.extend(chunk.iter().filter(|byte| **byte != b'\r'));
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let rest = text.split_off(end + 2);
            let frame = String::from_utf8(std::mem::replace(&mut text, rest)).unwrap();
            let field = |name: &str| {
                let value = frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                value.trim_start().to_owned()
            };
            frames.push((field("id:"), field("event:"), serde_json::from_str(&field("data:")).unwrap()));
        }
    }
    Ok(frames)
}

/// The members of a value, at every level.
pub(crate) fn shape(value: &Value) -> BTreeSet<String> {
    fn collect(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    keys.insert(format!("{path}.{key}"));
                    collect(value, &format!("{path}.{key}"), keys);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, &format!("{path}[]"), keys)),
            _ => {}
        }
    }
    let mut keys = BTreeSet::new();
    collect(value, "", &mut keys);
    keys
}

/// A frame's data with its payload parsed.
pub(crate) fn opened(data: &Value) -> Value {
    let mut data = data.clone();
    let payload = data["conversationEntry"]["entryPayload"].take();
    data["conversationEntry"]["entryPayload"] =
        serde_json::from_str(payload.as_str().expect("a string on the wire")).unwrap();
    data
}

/// `crates/salesforce/testdata/sse-….json`.
pub(crate) fn sample(name: &str) -> Value {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/salesforce/testdata");
    serde_json::from_slice(&std::fs::read(format!("{dir}/sse-{name}.json")).unwrap()).unwrap()
}

/// The same members, entry type, event and sender's role as the sample.
#[track_caller]
pub(crate) fn assert_like_sample(frame: &Frame, name: &str) {
    let (ours, sample) = (opened(&frame.2), opened(&sample(name)));
    assert_eq!(shape(&ours), shape(&sample), "{name}: {ours}");
    let of = |value: &Value| {
        let entry = &value["conversationEntry"];
        (entry["entryType"].clone(), entry["sender"]["role"].clone())
    };
    assert_eq!(of(&ours), of(&sample), "{name}");
    assert!(name.starts_with(&frame.1), "{name} is not {}", frame.1);
}

#[tokio::test]
async fn events_come_in_order_and_are_replayed_after_the_cursor() {
    let world = World::start().await;
    let (token, c) = (world.token("u1").await, id(1));
    let live = world.stream(&token, "0").await;
    world.create(&token, &c).await;
    world.say(&token, &c, &id(100), "Hi").await;
    world.sim.salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
    world.sim.salesforce.rep(&c, Verb::Say { text: "Hello".into() }).unwrap();
    let frames = read(live, |frames| frames.len() == 8).await.unwrap();
    let events: Vec<&str> = frames.iter().map(|frame| frame.1.trim_start_matches("CONVERSATION_")).collect();
    assert_eq!(
        events,
        [
            "ROUTING_RESULT",
            "SESSION_STATUS_CHANGED",
            "MESSAGE",
            "ROUTING_WORK_RESULT",
            "ROUTING_WORK_RESULT",
            "SESSION_STATUS_CHANGED",
            "PARTICIPANT_CHANGED",
            "MESSAGE",
        ]
    );
    assert!(frames.windows(2).all(|pair| pair[0].0.parse::<u64>().unwrap() < pair[1].0.parse().unwrap()));
    assert_eq!(frames[2].2["conversationEntry"]["identifier"], id(100));
    let again = read(world.stream(&token, &frames[4].0).await, |frames| frames.len() == 3).await.unwrap();
    assert_eq!(again[..], frames[5..]);
    world.sim.salesforce.configure(json!({ "replay": { "last": 1 } })).unwrap();
    let again = read(world.stream(&token, "0").await, |frames| !frames.is_empty()).await.unwrap();
    assert_eq!(again[..], frames[7..]);
}

/// The samples are what the client's parser was built on: same members, at every level.
#[tokio::test]
async fn frames_have_the_shape_of_the_samples() {
    let world = World::start().await;
    let (token, c) = (world.token("u1").await, id(1));
    let live = world.stream(&token, "0").await;
    world.create(&token, &c).await;
    world.say(&token, &c, &id(100), "Hi").await;
    let salesforce = &world.sim.salesforce;
    for verb in [
        Verb::Accept { rep: None },
        Verb::Say { text: "Hello".into() },
        Verb::Typing,
        Verb::Transfer { to: Some(e2e::sim::Rep::second()) },
        Verb::End,
    ] {
        salesforce.rep(&c, verb).unwrap();
    }
    let by = format!("/conversation/{c}?esDeveloperName=Phone_Bridge_Client");
    assert_eq!(world.call("DELETE", &by, &token, &Value::Null).await.0, 204);
    let frames =
        read(live, |frames| frames.last().is_some_and(|frame| frame.1 == "CONVERSATION_CLOSE_CONVERSATION"))
            .await
            .unwrap();
    for (sample, at) in [
        ("CONVERSATION_ROUTING_RESULT-initial-ok", 0),
        ("CONVERSATION_SESSION_STATUS_CHANGED-waiting", 1),
        ("CONVERSATION_MESSAGE-enduser-echo-text", 2),
        ("CONVERSATION_ROUTING_WORK_RESULT-assigned", 3),
        ("CONVERSATION_ROUTING_WORK_RESULT-accepted", 4),
        ("CONVERSATION_SESSION_STATUS_CHANGED-active", 5),
        ("CONVERSATION_PARTICIPANT_CHANGED-agent-add", 6),
        ("CONVERSATION_MESSAGE-agent-text", 7),
        ("CONVERSATION_TYPING_STARTED_INDICATOR-agent", 8),
        ("CONVERSATION_ROUTING_RESULT-transfer", 9),
        ("CONVERSATION_ROUTING_WORK_RESULT-transferred", 10),
        ("CONVERSATION_PARTICIPANT_CHANGED-agent-remove", 11),
        ("CONVERSATION_SESSION_STATUS_CHANGED-ended-by-agent", 16),
        ("CONVERSATION_CLOSE_CONVERSATION", 18),
    ] {
        assert_like_sample(&frames[at], sample);
    }
}

#[tokio::test]
async fn the_stream_checks_org_and_token() {
    let world = World::start().await;
    let token = world.token("u1").await;
    let url = format!("{}/eventrouter/v1/sse", world.sim.addresses().salesforce);
    let get = async |org: Option<&str>, token: &str| {
        let mut request = world.http.get(&url).bearer_auth(token);
        if let Some(org) = org {
            request = request.header("X-Org-Id", org);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, if status == 200 { String::new() } else { response.text().await.unwrap() })
    };
    assert!(get(None, &token).await.1.contains("OrgId is required"));
    assert!(get(Some("00DRT0000004QhWAAU"), &token).await.1.contains("must match"));
    assert_eq!(get(Some("00DRT0000004QhW"), &token).await.0, 200);
    world.sim.salesforce.expire_tokens(&Who::everyone());
    assert_eq!(get(Some("00DRT0000004QhW"), &token).await, (401, "Jwt is expired".to_owned()));
}

#[tokio::test]
async fn pings_come_without_an_id_until_the_stream_is_stalled_or_cut() {
    let world = World::start().await;
    let salesforce = &world.sim.salesforce;
    salesforce.configure(json!({ "ping_interval_ms": 10, "require_sse_before_create": true })).unwrap();
    let (token, c) = (world.token("u1").await, id(1));
    assert_eq!(world.create(&token, &c).await.0, 400, "no stream yet");
    let live = world.stream(&token, "0").await;
    assert_eq!(world.create(&token, &c).await.0, 201);
    let frames = read(live, |frames| frames.iter().any(|frame| frame.1 == "ping")).await.unwrap();
    assert!(frames.iter().all(|frame| frame.0.is_empty() == (frame.1 == "ping")));

    salesforce.stall_streams(&Who::conversation(&c));
    let stalled = world.stream(&token, "0").await;
    let silent =
        tokio::time::timeout(std::time::Duration::from_millis(100), read(stalled, |f| !f.is_empty()));
    assert!(silent.await.is_err(), "not even pings");
    salesforce.resume_streams(&Who::everyone());

    let live = world.stream(&token, "0").await;
    until("open", async || (!salesforce.streams().is_empty()).then_some(())).await;
    let reader = tokio::spawn(read(live, |_| false));
    until("written", async || salesforce.streams().iter().any(|s| s.last_event > 0).then_some(())).await;
    assert_eq!(salesforce.cut_streams(&Who::conversation(&c)), 1);
    assert_eq!(reader.await.unwrap().unwrap_err(), "broken");
    until("closed", async || salesforce.streams().is_empty().then_some(())).await;
}
