//! What reps, bots and the org do, and what the customer's client answers.

use e2e::sim::{
    AfterFailure, CarouselItem, ChoiceFormat, ChoiceOption, Rep, RepMessage, Speaker, Verb, What,
};
use serde_json::{Value, json};

use crate::{
    help::{World, id},
    streams::{Frame, assert_like_sample, opened, read},
};

async fn accepted(world: &World) -> (String, String) {
    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    world.sim.salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
    (token, c)
}

fn choices(format: ChoiceFormat) -> RepMessage {
    let options =
        vec![ChoiceOption { title: "Billing".into(), id: Some("b".into()) }, ChoiceOption::new("Delivery")];
    RepMessage::Choices { format, text: "Pick a topic so that I can route you.".into(), options }
}

/// The frames that the given acts make.
async fn frames_of(world: &World, token: &str, act: impl AsyncFnOnce()) -> Vec<Frame> {
    let all = |frames: &[Frame]| frames.last().is_some_and(|frame| frame.1 == "LAST");
    let (_, body) = world.exchange(&world.good_identity("u1")).await;
    let last = body["lastEventId"].as_str().unwrap();
    act().await;
    let view = world.sim.salesforce.conversations().remove(0);
    let raw = Verb::Raw { event: "LAST".into(), entry_type: "Last".into(), payload: json!({}), role: None };
    world.sim.salesforce.rep(&view.conversation, raw).unwrap();
    let mut frames = read(world.stream(token, last).await, all).await.unwrap();
    frames.pop();
    frames
}

#[tokio::test]
async fn rich_content_has_the_shape_of_the_samples() {
    let world = World::start().await;
    let (token, c) = accepted(&world).await;
    let salesforce = &world.sim.salesforce;
    let send = |content: RepMessage| salesforce.rep(&c, Verb::Send { content, from: Speaker::Rep }).unwrap();
    let url = || "https://www.example.com/x".to_owned();
    let frames = frames_of(&world, &token, async || {
        send(RepMessage::Carousel {
            items: vec![CarouselItem {
                title: "Small box".into(),
                subtitle: Some("up to 2 kg".into()),
                image: Some(url()),
                options: vec![ChoiceOption::new("Choose small")],
                links: vec![("Details".into(), url())],
            }],
        });
        send(RepMessage::RichLink { title: "Track your parcel".into(), url: url(), image: Some(url()) });
        send(RepMessage::Form { title: "Parcel details".into(), label: "Parcel number".into() });
        let content = RepMessage::WebView { title: "How did we do?".into(), url: url() };
        salesforce.rep(&c, Verb::Send { content, from: Speaker::System }).unwrap();
        salesforce.rep(&c, Verb::AutoResponse { text: "Thanks for writing.".into() }).unwrap();
        salesforce.rep(&c, Verb::TypingStopped).unwrap();
        assert_eq!(world.say(&token, &c, &id(100), "Hi").await.0, 202);
        salesforce.rep(&c, Verb::Delivered { entry: None }).unwrap();
        salesforce.rep(&c, Verb::Read { entry: Some(id(100)) }).unwrap();
        salesforce.rep(&c, Verb::Read { entry: Some(id(101)) }).unwrap_err();
        send(RepMessage::Raw { message: json!({ "messageType": "Odd" }) });
    })
    .await;
    for (frame, sample) in frames.iter().zip([
        "CONVERSATION_MESSAGE-agent-carousel",
        "CONVERSATION_MESSAGE-agent-richlink",
        "CONVERSATION_MESSAGE-agent-form",
        "CONVERSATION_MESSAGE-agent-webview",
        "CONVERSATION_MESSAGE-auto-response",
        "CONVERSATION_TYPING_STOPPED_INDICATOR-agent",
        "CONVERSATION_MESSAGE-enduser-echo-text",
        "CONVERSATION_DELIVERY_ACKNOWLEDGEMENT",
        "CONVERSATION_READ_ACKNOWLEDGEMENT",
    ]) {
        assert_like_sample(frame, sample);
    }
    let payload = opened(&frames[4].2)["conversationEntry"]["entryPayload"].clone();
    assert_eq!(payload["messageReason"], "AutomatedResponse");
    assert_eq!(frames[7].2["conversationEntry"]["relatedRecords"], json!([id(100)]));
    assert_eq!(
        opened(&frames[9].2)["conversationEntry"]["entryPayload"]["abstractMessage"]["messageType"],
        "Odd"
    );
    // Indicators and acknowledgements are on the stream only.
    let (_, body) =
        world.call("GET", &format!("/conversation/{c}/entries?limit=50"), &token, &Value::Null).await;
    let types: Vec<&str> = body["conversationEntries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["entryType"].as_str().unwrap())
        .collect();
    assert!(
        !types.iter().any(|kind| kind.contains("Typing") || kind.contains("Acknowledgement")),
        "{types:?}"
    );
}

#[tokio::test]
async fn a_bot_has_its_turn_before_the_rep() {
    let world = World::start().await;
    let salesforce = &world.sim.salesforce;
    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    let by_bot = |content: RepMessage| salesforce.rep(&c, Verb::Send { content, from: Speaker::Bot });
    by_bot(choices(ChoiceFormat::Buttons)).unwrap_err();
    let frames = frames_of(&world, &token, async || {
        salesforce.rep(&c, Verb::BotJoin).unwrap();
        by_bot(choices(ChoiceFormat::Buttons)).unwrap();
        by_bot(choices(ChoiceFormat::QuickReplies)).unwrap();
        salesforce.rep(&c, Verb::Progress { text: "Looking up your order".into() }).unwrap();
        salesforce.rep(&c, Verb::Accept { rep: None }).unwrap_err();
        salesforce.rep(&c, Verb::BotHandOver).unwrap();
        salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
        by_bot(choices(ChoiceFormat::Buttons)).unwrap_err();
    })
    .await;
    for (at, sample) in [
        (0, "CONVERSATION_ROUTING_WORK_RESULT-assigned"),
        (2, "CONVERSATION_SESSION_STATUS_CHANGED-active"),
        (3, "CONVERSATION_PARTICIPANT_CHANGED-chatbot-add"),
        (4, "CONVERSATION_MESSAGE-chatbot-buttons"),
        (5, "CONVERSATION_MESSAGE-chatbot-quickreplies"),
        (6, "CONVERSATION_PROGRESS_INDICATOR"),
        (7, "CONVERSATION_ROUTING_RESULT-transfer"),
        (8, "CONVERSATION_PARTICIPANT_CHANGED-chatbot-add"),
        (11, "CONVERSATION_PARTICIPANT_CHANGED-agent-add"),
    ] {
        assert_like_sample(&frames[at], sample);
    }
}

#[tokio::test]
async fn answers_to_choices_and_forms_must_fit_the_question() {
    let world = World::start().await;
    let (token, c) = accepted(&world).await;
    let salesforce = &world.sim.salesforce;
    for content in [
        choices(ChoiceFormat::ListPicker),
        RepMessage::Form { title: "Parcel details".into(), label: "Parcel number".into() },
    ] {
        salesforce.rep(&c, Verb::Send { content, from: Speaker::Rep }).unwrap();
    }
    let entries = salesforce.conversation(&c).unwrap().entries;
    let [question, form] =
        [entries[entries.len() - 2].identifier.clone(), entries.last().unwrap().identifier.clone()];
    let answer = async |n: u32, to: &str, option: &str| {
        let body = json!({
            "message": {
                "id": id(n), "messageType": "ChoicesResponseMessage", "inReplyToMessageId": to,
                "choicesResponse": {
                    "formatType": "Selections", "selectedOptions": [{ "optionIdentifier": option }],
                },
            },
            "esDeveloperName": "Phone_Bridge_Client",
        });
        world.call("POST", &format!("/conversation/{c}/message"), &token, &body).await.0
    };
    assert_eq!(answer(100, &question, "no such").await, 400);
    assert_eq!(answer(100, &form, "b").await, 400, "no choices there");
    assert_eq!(answer(100, &id(7), "b").await, 400, "no such message");
    let frames = frames_of(&world, &token, async || {
        assert_eq!(answer(100, &question, "b").await, 202);
        let mut body: Value = serde_json::from_slice(
            &std::fs::read(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../crates/salesforce/testdata/message-send-form-response-request.json"
            ))
            .unwrap(),
        )
        .unwrap();
        let path = format!("/conversation/{c}/message");
        assert_eq!(world.call("POST", &path, &token, &body).await.0, 400, "the sample's form is another");
        body["message"]["inReplyToMessageId"] = form.clone().into();
        assert_eq!(world.call("POST", &path, &token, &body).await.0, 202);
    })
    .await;
    let message =
        |frame: &Frame| opened(&frame.2)["conversationEntry"]["entryPayload"]["abstractMessage"].clone();
    assert_eq!(message(&frames[0])["inReplyToMessageId"], question);
    assert_eq!(message(&frames[0])["choicesResponse"]["selectedOptions"][0]["optionIdentifier"], "b");
    assert_eq!(message(&frames[1])["messageType"], "FormResponseMessage");
    assert_eq!(salesforce.conversation(&c).unwrap().texts("EndUser"), ["Billing", "88213"]);
}

#[tokio::test]
async fn typing_and_acknowledgements_reach_the_rep() {
    let world = World::start().await;
    let (token, c) = accepted(&world).await;
    let salesforce = &world.sim.salesforce;
    for text in ["one", "two"] {
        salesforce.rep(&c, Verb::Say { text: text.into() }).unwrap();
    }
    let typing = async |kind: &str| {
        let body = json!({ "entryType": kind, "id": id(50) });
        world.call("POST", &format!("/conversation/{c}/entry"), &token, &body).await.0
    };
    let view = || salesforce.conversation(&c).unwrap();
    assert_eq!(typing("TypingStartedIndicator").await, 200);
    assert!(view().customer_typing);
    assert_eq!(typing("TypingStoppedIndicator").await, 200);
    assert!(!view().customer_typing);
    assert_eq!(typing("Typing").await, 400);

    let said: Vec<String> =
        view().entries.iter().filter(|e| e.text.is_some()).map(|e| e.identifier.clone()).collect();
    let ack = async |acks: Vec<(&str, &str)>| {
        let acks: Vec<Value> = acks
            .iter()
            .map(|(kind, entry)| json!({ "id": id(60), "entryType": kind, "conversationEntryId": entry }))
            .collect();
        let path = format!("/conversation/{c}/acknowledge-entries");
        world.call("POST", &path, &token, &json!({ "acks": acks })).await.0
    };
    assert_eq!(ack(vec![("Delivery", &said[0]), ("Delivery", &id(9))]).await, 400);
    let ticks = || -> Vec<(bool, bool)> {
        let view = view();
        said.iter().map(|entry| view.entry(entry).map(|e| (e.delivered, e.read)).unwrap()).collect()
    };
    assert_eq!(ticks(), [(false, false); 2], "all or nothing");
    assert_eq!(ack(vec![("Delivery", &said[0])]).await, 200);
    assert_eq!(ticks(), [(true, false), (false, false)]);
    assert_eq!(ack(vec![("Read", &said[1])]).await, 200);
    assert_eq!(ticks(), [(true, true), (false, true)], "read is a high-water mark");
    assert_eq!(ack(vec![("Read", &said[1]); 21]).await, 400);
    assert_eq!(ack(vec![]).await, 400);
    assert_eq!(ack(vec![("Seen", &said[1])]).await, 400);
    world.say(&token, &c, &id(100), "mine").await;
    assert_eq!(ack(vec![("Read", &id(100))]).await, 200);
    let record = world.sim.record.from(1, usize::MAX);
    assert!(record.iter().any(|entry| matches!(&entry.what, What::CustomerTyping { started: true, .. })));
    assert!(record.iter().any(
        |entry| matches!(&entry.what, What::SfViolation { rule, .. } if rule.starts_with("acknowledged"))
    ));
}

#[tokio::test]
async fn transfers_fail_reps_confer_and_queues_move() {
    let world = World::start().await;
    let (token, c) = accepted(&world).await;
    let salesforce = &world.sim.salesforce;
    let act = |verb: Verb| salesforce.rep(&c, verb).unwrap();
    let queue = || "00GRT0000001bYd2AI".to_owned();
    let frames = frames_of(&world, &token, async || {
        act(Verb::TransferQueue {
            queue: queue(),
            to: None,
            failure: Some("No Agents are available".into()),
        });
        act(Verb::Say { text: "still me".into() });
        act(Verb::Conference { rep: Rep::second() });
        let content = RepMessage::Text { text: "and me".into() };
        act(Verb::Send { content, from: Speaker::Conferenced });
        act(Verb::Leave { rep: Rep::default() });
        act(Verb::Say { text: "now I alone".into() });
        act(Verb::TransferQueue { queue: queue(), to: None, failure: None });
        act(Verb::Queue { position: 3, estimated_wait_s: Some(95) });
        act(Verb::Accept { rep: None });
        act(Verb::AutoEnd);
    })
    .await;
    let entry = |at: usize| opened(&frames[at].2)["conversationEntry"]["entryPayload"].clone();
    assert_eq!(
        (&entry(0)["failureType"], &entry(0)["routingType"]),
        (&"RoutingError".into(), &"Transfer".into())
    );
    assert_eq!(entry(1)["workType"], "TransferError");
    assert_eq!(entry(3)["routingType"], "Conference");
    assert_like_sample(&frames[6], "CONVERSATION_PARTICIPANT_CHANGED-agent-add");
    let names: Vec<&str> = [2, 7, 9]
        .iter()
        .map(|at| frames[*at].2["conversationEntry"]["senderDisplayName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Marta L", "Jon P", "Jon P"]);
    assert_like_sample(&frames[8], "CONVERSATION_PARTICIPANT_CHANGED-agent-remove");
    assert_eq!(entry(10)["routingConfigurationDetails"]["queueId"], queue());
    assert_like_sample(&frames[13], "CONVERSATION_ROUTING_RESULT-initial-ok-with-ewt");
    assert_eq!(entry(13)["estimatedWaitTime"]["estimatedWaitTimeInSeconds"], 95);
    assert_like_sample(&frames[14], "CONVERSATION_QUEUE_POSITION");
    let ended = frames
        .iter()
        .find(|frame| opened(&frame.2)["conversationEntry"]["entryPayload"]["sessionStatus"] == "Ended");
    assert_like_sample(ended.unwrap(), "CONVERSATION_SESSION_STATUS_CHANGED-ended-by-system");
}

#[tokio::test]
async fn nobody_there_is_told_as_the_org_is_set_up() {
    let world = World::start().await;
    let salesforce = &world.sim.salesforce;
    let token = world.token("u1").await;
    salesforce.configure(json!({ "auto_response": "Thanks for writing.", "estimated_wait_s": 40 })).unwrap();
    world.create(&token, &id(1)).await;
    assert_eq!(salesforce.conversation(&id(1)).unwrap().texts("System"), ["Thanks for writing."]);
    let fail = |then| Verb::RoutingFails { reason: "After hours".into(), then };
    salesforce.rep(&id(1), fail(AfterFailure::Wait)).unwrap();
    assert_eq!(salesforce.conversation(&id(1)).unwrap().routing_status, "INITIAL");
    salesforce.rep(&id(1), fail(AfterFailure::End)).unwrap();
    assert_eq!(salesforce.conversation(&id(1)).unwrap().session().unwrap().status, "Ended");
    salesforce
        .configure(json!({ "routing_failure": "Flow execution failed", "routing_failure_then": "error" }))
        .unwrap();
    world.create(&token, &id(2)).await;
    let view = salesforce.conversation(&id(2)).unwrap();
    assert_eq!(view.entries[0].payload["failureType"], "SubmissionError");
    assert_eq!(view.session().unwrap().status, "Error");
    salesforce.configure(json!({ "routing_failure_then": "end" })).unwrap();
    world.say(&token, &id(2), &id(100), "Hello?").await;
    let view = salesforce.conversation(&id(2)).unwrap();
    assert_eq!((view.sessions.len(), view.session().unwrap().status.as_str()), (2, "Ended"));
}
