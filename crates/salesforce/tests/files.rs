//! Files, choices, receipts and typing: what goes over the wire, and what the answers mean.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{EntryId, ThreadId};
use salesforce::{
    AccessToken, AttachmentLimits, Error, FileUpload, NewSession, Receipt, Retry, Sent, UploadPlan,
    plan_upload,
};
use serde_json::{Value, json};
use support::{NAME, NOW, SUB, Seen, Server};
use uuid::Uuid;

const THREAD: ThreadId = ThreadId(Uuid::from_u128(0x5f0c9d1e_3b7a_4c62_9e41_8a2d6b7f1c03));
const MESSAGE: Uuid = Uuid::from_u128(0xac9130f4_547c_47d3_8e3a_655f20731ab2);
const FILE: Uuid = Uuid::from_u128(0xca3ab343_ac33_4b68_be9b_f77c6519a9d5);

fn upload(caption: &str) -> FileUpload<'_> {
    let bytes = Bytes::from_static(b"\xff\xd8binary\r\n--bytes");
    FileUpload { name: "damaged-box.jpg".into(), mime: "image/jpeg".into(), bytes, caption }
}

async fn ready() -> (Server, AccessToken) {
    let server = Server::start().await;
    let token = server.token().await;
    (server, token)
}

/// The parts of a multipart body: their head's lines, and their bytes.
fn parts(seen: &Seen) -> Vec<(Vec<String>, Vec<u8>)> {
    let kind = seen.headers["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body: String = seen.raw.iter().map(|&b| char::from(b)).collect();
    let body = body.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let body = body.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let part = |part: &str| {
        let (head, bytes) = part.split_once("\r\n\r\n").unwrap();
        let bytes = bytes.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        (head.split("\r\n").map(str::to_lowercase).collect(), bytes)
    };
    body.split(&format!("\r\n--{boundary}\r\n")).map(part).collect()
}

#[tokio::test]
async fn a_file_is_two_parts_and_the_json_comes_first() {
    let (server, token) = ready().await;
    server.prepare(202, &[], include_str!("../testdata/file-send-response-202.json"));
    let file = upload("photo of the damaged box");
    let sent = server.client.send_file(&token, THREAD, MESSAGE, FILE, &file, None).await.unwrap();
    assert_eq!(sent, Sent::Accepted);

    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.target, format!("/iamessage/api/v2/conversation/{THREAD}/file"));
    // Known in advance: nothing in between has to hold the whole of it.
    assert_eq!(seen.headers["content-length"].to_str().unwrap(), seen.raw.len().to_string());
    let [(entry_head, entry), (file_head, bytes)] = &parts(&seen)[..] else { panic!("not two parts") };
    assert_eq!(
        entry_head[..],
        ["content-disposition: form-data; name=\"messageentry\"", "content-type: application/json"]
    );
    let recorded = include_str!("../testdata/file-send-message-entry-part.json");
    let mut wanted: Value = serde_json::from_str(recorded).unwrap();
    // Optional: the recorded one is from a live session.
    wanted.as_object_mut().unwrap().retain(|name, _| name == "message" || name == "esDeveloperName");
    assert_eq!(serde_json::from_slice::<Value>(entry).unwrap(), wanted);
    assert_eq!(
        file_head[..],
        [
            "content-disposition: form-data; name=\"filedata\"; filename=\"damaged-box.jpg\"",
            "content-type: image/jpeg"
        ]
    );
    assert_eq!(bytes, &file.bytes);
}

#[tokio::test]
async fn a_file_can_open_a_session_and_needs_no_caption() {
    let (server, token) = ready().await;
    server.prepare(202, &[], "");
    let session = NewSession {
        routing_attributes: BTreeMap::from([("Channel".into(), "WhatsApp".into())]),
        language: "en_US".into(),
    };
    server.client.send_file(&token, THREAD, MESSAGE, FILE, &upload(""), Some(&session)).await.unwrap();
    let entry: Value = serde_json::from_slice(&parts(&server.seen().pop().unwrap())[0].1).unwrap();
    assert_eq!(
        entry,
        json!({ "esDeveloperName": NAME, "message": { "id": MESSAGE, "fileId": FILE }, "language": "en_US",
                "isNewMessagingSession": true, "routingAttributes": { "Channel": "WhatsApp" } })
    );
}

#[tokio::test]
async fn refused_files_say_why() {
    let (server, token) = ready().await;
    let send = async || server.client.send_file(&token, THREAD, MESSAGE, FILE, &upload(""), None).await;
    server.prepare(413, &[], include_str!("../testdata/error-413-file-too-large.json"));
    let error = send().await.unwrap_err();
    assert!(matches!(error, Error::FileTooLarge) && error.retry() == Retry::Never, "{error}");
    server.prepare(415, &[], include_str!("../testdata/error-415-file-type.json"));
    let error = send().await.unwrap_err();
    assert!(matches!(error, Error::FileTypeRefused) && error.retry() == Retry::Never, "{error}");
    server.prepare(417, &[], "");
    assert!(matches!(send().await, Err(Error::NoSession { .. })));
    server.prepare(503, &[], "");
    assert_eq!(send().await.unwrap_err().retry(), Retry::Soon);

    // Refused as a repeat, and there: sent.
    server.stub.conversations.lock().unwrap().insert(THREAD.to_string());
    server.stub.entries.lock().unwrap().push(support::entry(&MESSAGE.to_string(), NOW));
    server.prepare(409, &[], "");
    assert_eq!(send().await.unwrap(), Sent::Already);
}

#[tokio::test]
async fn the_orgs_limits_come_with_the_token() {
    let server = Server::start().await;
    let recorded = include_str!("../testdata/token-authenticated-response-200.json")
        .replace("uid:phone-15550100123", &format!("uid:{SUB}"));
    server.prepare(200, &[], recorded.clone());
    let limits = server.token().await.attachments;
    assert_eq!(limits, AttachmentLimits { allowed: true, max_bytes: 5 * 1024 * 1024 });

    let mut answer: Value = serde_json::from_str(&recorded).unwrap();
    let config = &mut answer["context"]["configuration"]["embeddedServiceConfig"]["attachments"];
    *config = json!({ "endUserToAgent": false, "maxFileSize": 2_000_000 });
    server.prepare(200, &[], answer.to_string());
    let limits = server.token().await.attachments;
    assert_eq!(limits, AttachmentLimits { allowed: false, max_bytes: 2_000_000 });
    assert!(matches!(plan_upload("a.jpg", "image/jpeg", 1, &limits), UploadPlan::Refuse { .. }));
}

#[tokio::test]
async fn a_choice_answers_the_message_that_offered_it() {
    let (server, token) = ready().await;
    server.prepare(202, &[], include_str!("../testdata/message-send-response-202.json"));
    let recorded: Value =
        serde_json::from_str(include_str!("../testdata/message-send-choices-response-request.json")).unwrap();
    let id = |value: &Value| value.as_str().unwrap().parse::<Uuid>().unwrap();
    let message = &recorded["message"];
    let option = &message["choicesResponse"]["selectedOptions"][0]["optionIdentifier"];
    let sent = server
        .client
        .send_choice(
            &token,
            THREAD,
            id(&message["id"]),
            id(&message["inReplyToMessageId"]),
            option.as_str().unwrap(),
            "Delivery",
        )
        .await
        .unwrap();
    assert_eq!(sent, Sent::Accepted);
    let mut recorded = recorded;
    recorded.as_object_mut().unwrap().remove("language");
    assert_eq!(server.seen().pop().unwrap().body, recorded);
}

#[tokio::test]
async fn receipts_and_typing_are_as_recorded() {
    let (server, token) = ready().await;
    let uuid = |text: &str| text.parse::<Uuid>().unwrap();
    let entry = || EntryId::new("c3dd75f6-8085-48e6-ac92-5f09a227f039");
    let acks = [
        (uuid("b183256e-a16e-4121-b07a-6fc42fd7b23a"), Receipt::Delivered, entry()),
        (uuid("8f39aaa5-729a-453c-b891-da33e83a9d40"), Receipt::Read, entry()),
    ];
    server.prepare(200, &[], "");
    server.client.acknowledge(&token, THREAD, &acks).await.unwrap();
    server.prepare(200, &[], "{}");
    let typing = uuid("03c472ca-4495-48b4-b8d8-89d2b47a5c1d");
    server.client.typing(&token, THREAD, typing, true).await.unwrap();
    server.prepare(200, &[], "");
    server.client.typing(&token, THREAD, typing, false).await.unwrap();

    let path = format!("/iamessage/api/v2/conversation/{THREAD}");
    let seen: Vec<_> = server.seen().into_iter().skip(1).map(|seen| (seen.target, seen.body)).collect();
    let recorded = |file: &str| serde_json::from_str::<Value>(file).unwrap();
    assert_eq!(
        seen,
        [
            (
                format!("{path}/acknowledge-entries"),
                recorded(include_str!("../testdata/acknowledge-entries-request.json"))
            ),
            (
                format!("{path}/entry"),
                recorded(include_str!("../testdata/entry-typing-started-request.json"))
            ),
            (format!("{path}/entry"), json!({ "entryType": "TypingStoppedIndicator", "id": typing })),
        ]
    );

    let many: Vec<_> =
        (0..30).map(|n| (Uuid::from_u128(n), Receipt::Delivered, EntryId::new(n.to_string()))).collect();
    server.prepare(200, &[], "");
    server.client.acknowledge(&token, THREAD, &many).await.unwrap();
    assert_eq!(server.seen().pop().unwrap().body["acks"].as_array().unwrap().len(), 20);
}
