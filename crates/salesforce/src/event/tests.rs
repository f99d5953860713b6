use serde::Serialize;

use super::*;

#[derive(Serialize)]
struct Seen {
    part: u32,
    at: Millis,
    sender: Role,
    what: Happening,
}

fn seen(happened: Vec<Happened>) -> Vec<Seen> {
    happened
        .into_iter()
        .map(|Happened { part, at, sender, what, .. }| Seen { part, at, sender, what })
        .collect()
}

/// Every `sse-*.json` in `testdata` is a case; to add one, drop a file there.
#[test]
fn entries_are_read_as_recorded() {
    insta::glob!("../../testdata", "sse-*.json", |path| {
        let envelope = Envelope::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(envelope.conversation_id.to_string(), "5f0c9d1e-3b7a-4c62-9e41-8a2d6b7f1c03");
        insta::assert_json_snapshot!(seen(envelope.happened()));
    });
}

/// The history says the same in two forms.
#[test]
fn payloads_as_objects_and_as_strings_mean_the_same() {
    let entries = |file: &str| {
        let answer: Value = serde_json::from_str(file).unwrap();
        let entries: Vec<ConversationEntry> =
            serde_json::from_value(answer["conversationEntries"].clone()).unwrap();
        let thread = ThreadId(Uuid::nil());
        entries.iter().flat_map(|entry| read(thread, entry)).collect::<Vec<_>>()
    };
    let objects = entries(include_str!("../../testdata/entries-list-response-200-object-payload.json"));
    assert_eq!(
        objects,
        entries(include_str!("../../testdata/entries-list-response-200-string-payload.json"))
    );
    assert!(objects.iter().any(|happened| matches!(happened.what, Happening::RepMessage { .. })));
}

fn entry(role: &str, entry_type: &str, payload: Value) -> ConversationEntry {
    serde_json::from_value(serde_json::json!({
        "identifier": "e-1", "entryType": entry_type, "entryPayload": payload, "transcriptedTimestamp": 5,
        "sender": { "role": role }, "senderDisplayName": "Marta L"
    }))
    .unwrap()
}

fn what(role: &str, entry_type: &str, payload: Value) -> Vec<Happening> {
    let entry = entry(role, entry_type, payload);
    read(ThreadId(Uuid::nil()), &entry).into_iter().map(|happened| happened.what).collect()
}

#[test]
fn a_transfer_in_one_entry_is_two_happenings() {
    let participant = |operation: &str, name: &str, role: &str| serde_json::json!({ "operation": operation, "displayName": name, "participant": { "role": role } });
    let payload = serde_json::json!({ "entryType": "ParticipantChanged", "entries": [
        participant("remove", "Marta L", "Agent"), participant("add", "Helper", "Chatbot"),
        participant("add", "Jon P", "Agent"), participant("update", "Jon P", "Agent") ] });
    let entry = entry("System", "ParticipantChanged", payload);
    let happened = read(ThreadId(Uuid::nil()), &entry);
    assert_eq!(happened.iter().map(|h| h.part).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(happened[0].what, Happening::RepLeft { name: Some("Marta L".into()) });
    assert_eq!(happened[1].what, Happening::RepJoined { name: Some("Jon P".into()) });
}

#[test]
fn a_reps_message_is_never_lost_for_being_odd() {
    let text = |payload: Value| match &what("Agent", "Message", payload)[..] {
        [Happening::RepMessage { text, .. }] => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(Value::String("{broken".into())), "[message]");
    assert_eq!(text(Value::Null), "[message]");
    let message = |content: Value| {
        serde_json::json!({ "entryType": "Message", "abstractMessage": {
            "messageType": "StaticContentMessage", "staticContent": content } })
    };
    assert_eq!(text(message(Value::Null)), "[StaticContentMessage]");
    assert_eq!(text(message(serde_json::json!({ "formatType": "Hologram" }))), "[Hologram]");
    assert_eq!(text(message(serde_json::json!({ "formatType": "Hologram", "text": "hi" }))), "hi");
    let odd = serde_json::json!({ "formatType": "Text", "text": "hi", "attachments": 7, "title": [1], "items": null });
    assert_eq!(text(message(odd)), "hi");
}

#[test]
fn choices_are_read_from_either_place() {
    let choices = serde_json::json!({ "formatType": "Buttons", "text": "Pick", "optionItems": [
        { "titleItem": { "title": "Billing" } }, { "titleItem": { "title": "Delivery", "subTitle": "parcels" } } ] });
    for place in ["choices", "staticContent"] {
        let payload = serde_json::json!({ "entryType": "Message", "abstractMessage": { "messageType": "ChoicesMessage", place: choices } });
        let [Happening::BotMessage { text, .. }] = &what("Chatbot", "Message", payload)[..] else { panic!() };
        assert_eq!(text, "Pick\n• Billing\n• Delivery – parcels");
    }
}

#[test]
fn our_message_is_known_by_the_entrys_id_or_the_messages() {
    let id: Uuid = "3c3ae353-fb14-428e-90b4-01a6c1cc0aff".parse().unwrap();
    let message = |id: &str| serde_json::json!({ "entryType": "Message", "abstractMessage": { "id": id } });
    assert!(entry("EndUser", "Message", message(&id.to_string())).is_message(id));
    assert!(!entry("EndUser", "Message", message("other")).is_message(id));
    let mut renamed = entry("EndUser", "Message", message("other"));
    renamed.identifier = EntryId::new(id.to_string().to_uppercase());
    assert!(renamed.is_message(id));
}

#[test]
fn nothing_personal_prints() {
    let file = include_str!("../../testdata/sse-CONVERSATION_MESSAGE-agent-text.json");
    let envelope = Envelope::parse(file).unwrap();
    let printed = format!("{envelope:?} {:?}", envelope.happened());
    for secret in ["Marta", "Dana", "parcel", "005RT"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    let Err(error) = Envelope::parse(&file.replace("1795186825238", "\"Dana\"")) else { return };
    assert!(!error.to_string().contains("Dana"));
}
