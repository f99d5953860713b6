//! The REST calls, against a strict stand-in.

mod support;

use std::{collections::BTreeMap, time::Duration};

use domain::ThreadId;
use salesforce::{
    Client, ConfigError, Created, Ended, Error, NewSession, Options, Retry, Sent,
    client::{Direction, EntriesQuery, RoutingStatus},
};
use secrecy::ExposeSecret as _;
use serde_json::json;
use support::{Case, EXPIRES, NOW, SUB, Server, entry, integration, options};
use uuid::Uuid;

const THREAD: ThreadId = ThreadId(Uuid::from_u128(0x5f0c9d1e_3b7a_4c62_9e41_8a2d6b7f1c03));
const MESSAGE: Uuid = Uuid::from_u128(0x3c3ae353_fb14_428e_90b4_01a6c1cc0aff);

fn session() -> NewSession {
    let attributes = [("Phone_Number", "+15550100123"), ("Customer_Name", "Da\nna"), ("Empty", " ")];
    let routing_attributes = attributes.map(|(name, value)| (name.into(), value.into()));
    NewSession { routing_attributes: BTreeMap::from(routing_attributes), language: "en_US".into() }
}

#[tokio::test]
async fn a_conversation_from_the_first_token_to_its_end() {
    let server = Server::start().await;
    let client = &server.client;
    let token = server.token().await;
    assert_eq!(token.last_event_id, "2147867834");
    assert_eq!(token.expires_at, EXPIRES);
    assert_eq!(token.subject, format!("v2/iamessage/AUTH/Bridge_Keys/uid:{SUB}"));
    assert_eq!(token.renew_at(NOW), EXPIRES - 360_000);

    assert_eq!(client.create_conversation(&token, THREAD, &session()).await.unwrap(), Created::Created);
    assert_eq!(client.create_conversation(&token, THREAD, &session()).await.unwrap(), Created::AlreadyExists);
    let found = client.conversation(&token, THREAD).await.unwrap();
    assert_eq!((found.conversation_id, found.routing_status), (THREAD, RoutingStatus::NeedsRouting));
    let all = client.list_conversations(&token, true).await.unwrap();
    assert_eq!((all.len(), all[0].conversation_id, all[0].end_timestamp), (2, THREAD, None));

    assert_eq!(client.send_text(&token, THREAD, MESSAGE, "Hi", None).await.unwrap(), Sent::Accepted);
    // The stand-in refuses repeats with 400; the history shows that it is there.
    assert_eq!(client.send_text(&token, THREAD, MESSAGE, "Hi", None).await.unwrap(), Sent::Already);
    let next = Uuid::from_u128(MESSAGE.as_u128() + 1);
    let sent = client.send_text(&token, THREAD, next, "Hi again", Some(&session())).await.unwrap();
    assert_eq!(sent, Sent::Accepted);

    assert_eq!(client.end_session(&token, THREAD).await.unwrap(), Ended::Ended);
    assert_eq!(client.close_conversation(&token, THREAD).await.unwrap(), Ended::Ended);
    for gone in ["error-404", "error-409", "error-412", "error-417"] {
        server.prepare(gone[6..].parse().unwrap(), &[], "");
        assert_eq!(client.end_session(&token, THREAD).await.unwrap(), Ended::Already, "{gone}");
    }
    let created = &server.seen()[1].body["routingAttributes"];
    assert_eq!(*created, json!({ "Phone_Number": "+15550100123", "Customer_Name": "Dana" }));
}

#[tokio::test]
async fn a_token_for_somebody_unverified_is_no_token() {
    let server = Server::start().await;
    let silent = include_str!("../testdata/token-authenticated-response-200-silent-unauth.json");
    server.prepare(200, &[], silent);
    let error = server.client.authenticate(SUB, NOW).await.unwrap_err();
    assert!(matches!(error, Error::NotVerified) && error.retry() == Retry::Never, "{error}");
    for status in [401, 403] {
        server.prepare(status, &[], "");
        assert!(matches!(server.client.authenticate(SUB, NOW).await, Err(Error::NotVerified)));
    }
    // Verified, but somebody else: as bad.
    server.prepare(200, &[], include_str!("../testdata/token-authenticated-response-200.json"));
    assert!(matches!(server.client.authenticate(SUB, NOW).await, Err(Error::NotVerified)));

    server.prepare(200, &[], include_str!("../testdata/token-authenticated-response-200.json"));
    let token = server.client.authenticate("phone-15550100123", NOW).await.unwrap();
    assert_eq!((token.expires_at, token.last_event_id.as_str()), (1_795_190_400_000, "2147867834"));
    assert!(!format!("{token:?}").contains(&token.token.expose_secret()[..10]));
}

#[tokio::test]
async fn a_token_that_hides_its_end_is_used_for_half_an_hour() {
    let server = Server::start().await;
    let body = json!({ "accessToken": "opaque", "context": { "endUser": {
        "subject": format!("v2/iamessage/AUTH/K/uid:{SUB}") } } });
    server.prepare(200, &[], body.to_string());
    let token = server.token().await;
    assert_eq!((token.expires_at, token.last_event_id.as_str()), (NOW + 1_800_000, "0"));
}

#[tokio::test]
async fn every_refusal_says_whether_to_try_again() {
    let server = Server::start().await;
    let token = server.token().await;
    let cases: [Case; 12] = [
        (401, &[], "Jwt is expired", Retry::Renew),
        (401, &[], include_str!("../testdata/error-401-json.json"), Retry::Renew),
        (429, &[("retry-after", "7")], "", Retry::After(Duration::from_secs(7))),
        (429, &[], "{}", Retry::After(Duration::from_secs(2))),
        (417, &[], "{\"message\":\"No active messaging session\"}", Retry::Never),
        (500, &[], "", Retry::Soon),
        (503, &[("content-type", "text/html")], "<html>upstream</html>", Retry::Soon),
        (412, &[], "", Retry::Soon),
        (403, &[], "{\"code\":\"FORBIDDEN\"}", Retry::Never),
        (404, &[], "", Retry::Never),
        (302, &[("location", "https://elsewhere.example.com/")], "", Retry::Never),
        // Not from Salesforce.
        (200, &[("content-type", "text/html")], "<html>sign in</html>", Retry::Soon),
    ];
    for (status, headers, body, wanted) in cases {
        server.prepare(status, headers, body);
        let error = server.client.conversation(&token, THREAD).await.unwrap_err();
        assert_eq!(error.retry(), wanted, "{status}: {error}");
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains(&THREAD.to_string()) && !printed.contains("eyJ"), "{printed}");
    }
    server.prepare(417, &[], "");
    let error = server.client.send_text(&token, THREAD, MESSAGE, "Hi", None).await.unwrap_err();
    assert!(matches!(error, Error::NoSession { .. }));
}

#[tokio::test]
async fn a_refused_message_that_is_nowhere_stays_refused() {
    let server = Server::start().await;
    let token = server.token().await;
    server.client.create_conversation(&token, THREAD, &session()).await.unwrap();
    server.prepare(409, &[], "");
    let error = server.client.send_text(&token, THREAD, MESSAGE, "Hi", None).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(!server.client.has_message(&token, THREAD, MESSAGE).await.unwrap());
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let server = Server::start().await;
    let token = server.token().await;
    server.prepare(200, &[], vec![b' '; 1024 * 1024 + 1]);
    let error = server.client.conversation(&token, THREAD).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 1_048_576, .. }), "{error}");
    server.prepare(503, &[], vec![b' '; 1024 * 1024 + 1]);
    let error = server.client.conversation(&token, THREAD).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");

    let short = Options { total: Duration::from_millis(200), ..options() };
    let client = Client::new(&integration(&server.url), short).unwrap();
    let stuck = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    server.prepare(200, &[], axum::body::Body::from_stream(stuck));
    let error = client.conversation(&token, THREAD).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!source.contains(&THREAD.to_string()), "{source}");
}

#[tokio::test]
async fn history_is_read_page_by_page_in_order_and_once() {
    let server = Server::start().await;
    let token = server.token().await;
    server.client.create_conversation(&token, THREAD, &session()).await.unwrap();
    // Three entries a millisecond, so that pages end in the middle of one.
    let all: Vec<_> = (0..175).map(|n| entry(&format!("e-{n}"), NOW + n / 3)).collect();
    *server.stub.entries.lock().unwrap() = all;

    let history = server.client.entries_since(&token, THREAD, NOW + 5).await.unwrap();
    let ids: Vec<_> = history.entries.iter().map(|entry| entry.identifier.as_str().to_owned()).collect();
    let wanted: Vec<_> = (15..175).map(|n| format!("e-{n}")).collect();
    assert_eq!((ids, history.complete), (wanted, true));

    let query = EntriesQuery { limit: 500, direction: Direction::FromEnd, ..EntriesQuery::default() };
    assert_eq!(server.client.entries(&token, THREAD, &query).await.unwrap().len(), 50);
    let first = server.stub.entries.lock().unwrap()[0].clone();
    *server.stub.entries.lock().unwrap() =
        vec![json!({ "identifier": 7, "transcriptedTimestamp": NOW }), first];
    let history = server.client.entries_since(&token, THREAD, 0).await.unwrap();
    assert_eq!((history.entries.len(), history.complete), (1, true), "one odd entry hides no other");
}

#[tokio::test]
async fn history_without_end_is_cut_and_says_so() {
    let server = Server::start().await;
    let token = server.token().await;
    server.client.create_conversation(&token, THREAD, &session()).await.unwrap();
    *server.stub.entries.lock().unwrap() = (0..3_000).map(|n| entry(&format!("e-{n}"), NOW + n)).collect();
    let history = server.client.entries_since(&token, THREAD, NOW).await.unwrap();
    assert!(!history.complete);
    let last = history.entries.last().unwrap().transcripted_timestamp;
    let rest = server.client.entries_since(&token, THREAD, last).await.unwrap();
    assert!(rest.complete && rest.entries[0].transcripted_timestamp <= last);
}

#[test]
fn only_https_and_loopback_hosts_are_called() {
    for (url, fine) in [
        ("https://acme.my.salesforce-scrt.com", true),
        ("https://acme.my.salesforce-scrt.com/", true),
        ("http://127.0.0.1:9", true),
        ("http://[::1]:9", true),
        ("http://localhost:9", true),
        ("http://acme.my.salesforce-scrt.com", false),
        ("http://127.0.0.1.example.com", false),
        ("https://acme.my.salesforce-scrt.com/path", false),
        ("https://user@acme.my.salesforce-scrt.com", false),
        ("ftp://acme.my.salesforce-scrt.com", false),
    ] {
        let client = Client::new(&integration(url), Options::default());
        assert_eq!(client.is_ok(), fine, "{url}");
        assert!(fine || matches!(client, Err(ConfigError::Host)));
    }
    let mut broken = integration("https://acme.my.salesforce-scrt.com");
    broken.jwt_private_key = "pem".into();
    assert!(matches!(Client::new(&broken, Options::default()), Err(ConfigError::Identity(_))));
}
