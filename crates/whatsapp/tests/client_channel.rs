//! Reads of numbers, accounts and templates, and the check of a channel, against recorded answers.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use domain::{PhoneNumberId, WabaId, Wamid};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use whatsapp::client::{
    App, CallError, Callback, Check, Client, Config, Control, Outcome, Recipient, Role, Wanted,
};

const NUMBER: &str = "220011223344001";
const WABA: &str = "104857600000001";
const NOW: i64 = 1_795_400_000_000;

fn recorded(name: &str) -> Value {
    let path = format!("{}/testdata/api/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// `{"status", "body"}` by method and path, and what was asked.
#[derive(Default)]
struct Meta {
    answers: HashMap<String, Value>,
    asked: Vec<(String, String, Value)>,
}

type Shared = Arc<Mutex<Meta>>;

async fn answer(
    State(meta): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut meta = meta.lock().unwrap();
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    meta.asked.push((format!("{method} {uri}"), authorization, body));
    let query = uri.query().unwrap_or_default();
    let key =
        match query.split('&').find(|part| part.starts_with("after=") || *part == "fields=health_status") {
            Some(part) => format!("{method} {}?{part}", uri.path()),
            None => format!("{method} {}", uri.path()),
        };
    let Some(answer) = meta.answers.get(&key) else {
        let unknown = recorded("error_100_unknown_object")["response"]["body"].to_string();
        return (StatusCode::BAD_REQUEST, unknown).into_response();
    };
    let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
    (StatusCode::from_u16(status).unwrap(), answer["body"].to_string()).into_response()
}

async fn meta(answers: &[(&str, Value)]) -> (Client, Shared) {
    let answers = answers.iter().map(|(key, answer)| ((*key).to_owned(), answer.clone())).collect();
    let meta = Arc::new(Mutex::new(Meta { answers, asked: Vec::new() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer).with_state(Arc::clone(&meta));
    #[expect(clippy::disallowed_methods, reason = "a server of the test, gone with its runtime")]
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let graph_url = format!("http://127.0.0.1:{port}/v25.0").parse().unwrap();
    let client = Client::new(&Config { graph_url, graph_timeout: Duration::from_secs(5) }).unwrap();
    (client, meta)
}

fn ok(body: Value) -> Value {
    json!({ "status": 200, "body": body })
}

fn sample(name: &str) -> Value {
    recorded(name)["response"].clone()
}

/// A channel with everything in order.
fn good() -> Vec<(&'static str, Value)> {
    let mut templates = sample("templates_list");
    templates["body"]["paging"] = json!({});
    vec![
        (
            "GET /v25.0/debug_token",
            ok(json!({ "data": {
                "app_id": "331100220033001", "type": "SYSTEM_USER", "application": "Baton", "is_valid": true,
                "expires_at": 0, "scopes": ["whatsapp_business_management", "whatsapp_business_messaging"],
            } })),
        ),
        ("GET /v25.0/220011223344001", sample("phone_number_get")),
        ("GET /v25.0/104857600000001/phone_numbers", sample("phone_numbers_list")),
        ("GET /v25.0/104857600000001/subscribed_apps", sample("subscribed_apps_get")),
        (
            "GET /v25.0/331100220033001/subscriptions",
            ok(json!({ "data": [{
                "object": "whatsapp_business_account", "callback_url": "https://baton.example.com/", "active": true,
                "fields": [{ "name": "messages", "version": "v25.0" }, { "name": "account_update", "version": "v25.0" }],
            }] })),
        ),
        ("GET /v25.0/220011223344001?fields=health_status", sample("health_status_available")),
        ("GET /v25.0/104857600000001/message_templates", templates),
    ]
}

fn app() -> App {
    App { id: "331100220033001".into(), secret: "app secret".into() }
}

async fn check(answers: &[(&str, Value)], change: impl FnOnce(&mut Wanted<'_>)) -> (Vec<Check>, Shared) {
    let (client, meta) = meta(answers).await;
    let (number, waba, token, app) = (PhoneNumberId::new(NUMBER), WabaId::new(WABA), "t".into(), app());
    let url = "https://baton.example.com/webhooks/whatsapp".parse().unwrap();
    let mut wanted = Wanted {
        number: &number,
        waba: &waba,
        token: &token,
        app: Some(&app),
        webhook_url: Some(&url),
        shared: false,
        templates: &[("order_update", "en_US")],
        now: NOW,
    };
    change(&mut wanted);
    (client.check_channel(&wanted).await, meta)
}

fn outcome<'a>(checks: &'a [Check], name: &str) -> &'a Outcome {
    &checks.iter().find(|check| check.name == name).unwrap().outcome
}

#[tokio::test]
async fn a_channel_in_order_passes_every_check() {
    let (checks, meta) = check(&good(), |_| ()).await;
    insta::assert_debug_snapshot!(checks);
    let asked = meta.lock().unwrap().asked.iter().map(|(what, ..)| what.clone()).collect::<Vec<_>>();
    assert_eq!(asked.len(), 7, "{asked:?}");
    assert!(asked[4].ends_with("/331100220033001/subscriptions"));
    assert_eq!(meta.lock().unwrap().asked[4].1, "Bearer 331100220033001|app secret");
}

/// The check, what Meta answers, and what is told of it.
type Case = (&'static str, Vec<(&'static str, Value)>, &'static str);

#[tokio::test]
async fn each_trouble_is_named_with_how_to_mend_it() {
    let with = |key: &'static str, change: fn(&mut Value)| {
        let mut answers = good();
        let (_, answer) = answers.iter_mut().find(|(known, _)| *known == key).unwrap();
        change(answer);
        answers
    };
    let node = "GET /v25.0/220011223344001";
    let token = "GET /v25.0/debug_token";
    let fields = "GET /v25.0/331100220033001/subscriptions";
    let templates = "GET /v25.0/104857600000001/message_templates";
    let cases: Vec<Case> = vec![
        ("token", with(token, |a| *a = sample("error_190")), "(code 190)"),
        ("token", with(token, |a| a["body"]["data"]["is_valid"] = false.into()), "not valid"),
        (
            "token",
            with(token, |a| a["body"]["data"]["expires_at"] = (NOW / 1_000 + 90_000).into()),
            "in 1 days",
        ),
        ("permissions", with(token, |a| a["body"]["data"]["scopes"] = json!(["email"])), "lacks"),
        ("number", with(node, |a| *a = sample("error_100_unknown_object")), "not found"),
        ("number", with(node, |a| a["body"]["status"] = "PENDING".into()), "PENDING"),
        (
            "account",
            with("GET /v25.0/104857600000001/phone_numbers", |a| a["body"]["data"] = json!([])),
            "not in this account",
        ),
        (
            "app subscription",
            with("GET /v25.0/104857600000001/subscribed_apps", |a| a["body"]["data"] = json!([])),
            "no events",
        ),
        ("webhook fields", with(fields, |a| a["body"]["data"][0]["fields"] = json!(["calls"])), "messages"),
        ("webhook fields", with(fields, |a| a["body"]["data"][0]["active"] = false.into()), "switched off"),
        (
            "webhook address",
            with(node, |a| {
                a["body"]["webhook_configuration"] = json!({"application": "https://other.example/"})
            }),
            "https://other.example/ (set for the app)",
        ),
        ("webhook address", with(node, |a| a["body"]["webhook_configuration"] = json!({})), "nowhere"),
        (
            "health",
            with("GET /v25.0/220011223344001?fields=health_status", |a| *a = sample("health_status_blocked")),
            "141002",
        ),
        ("quality and limits", with(node, |a| a["body"]["quality_rating"] = "RED".into()), "RED"),
        ("templates", with(templates, |a| a["body"]["data"][0]["status"] = "PAUSED".into()), "PAUSED"),
        ("templates", with(templates, |a| a["body"]["data"] = json!([])), "no template"),
    ];
    for (name, answers, words) in cases {
        let (checks, _) = check(&answers, |_| ()).await;
        match outcome(&checks, name) {
            Outcome::Wrong { what, how_to_mend } => {
                assert!(what.contains(words), "{name}: {what}");
                assert!(!how_to_mend.is_empty());
            }
            other @ (Outcome::Ok | Outcome::Skipped { .. }) => panic!("{name}, {words}: {other:?}"),
        }
        assert_eq!(checks.len(), 10, "nothing is left out");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_skipped_and_unknown_words_are_shown() {
    let (checks, _) = check(&good(), |wanted| wanted.app = None).await;
    assert!(matches!(outcome(&checks, "webhook fields"), Outcome::Skipped { .. }));
    assert_eq!(outcome(&checks, "app subscription"), &Outcome::Ok, "the token tells its app");

    let (checks, meta) = check(&[], |_| ()).await;
    assert!(checks[1..].iter().all(|check| matches!(check.outcome, Outcome::Skipped { .. })));
    assert_eq!(meta.lock().unwrap().asked.len(), 1, "nothing more is asked with a bad token");

    let mut answers = good();
    answers[1].1["body"]["status"] = "DREAMING".into();
    answers[1].1["body"]["quality_rating"] = "PURPLE".into();
    let (checks, _) = check(&answers, |_| ()).await;
    assert!(checks.iter().all(|check| check.outcome == Outcome::Ok), "{checks:?}");
    assert!(checks.iter().any(|check| check.seen.contains("DREAMING")));
    assert!(checks.iter().any(|check| check.seen.contains("PURPLE")));

    let (checks, _) = check(&good(), |wanted| wanted.shared = true).await;
    let Outcome::Wrong { what, .. } = outcome(&checks, "webhook fields") else { panic!() };
    assert!(what.contains("standby, messaging_handovers"), "{what}");
}

#[tokio::test]
async fn templates_come_in_pages_up_to_a_limit() {
    let first = sample("templates_list");
    let mut last = sample("templates_list");
    last["body"]["paging"] = json!({});
    let page = "GET /v25.0/104857600000001/message_templates";
    let next = "GET /v25.0/104857600000001/message_templates?after=MjQZD";
    let (waba, token) = (WabaId::new(WABA), "t".into());

    let (client, _) = meta(&[(page, first.clone()), (next, last)]).await;
    let all = client.templates(&waba, &token, 100).await.unwrap();
    assert_eq!((all.list.len(), all.more), (4, false));
    assert_eq!(all.list[0].body_variables(), ["1", "2"]);
    assert_eq!(all.list[1].body_variables(), ["first_name", "order_id"]);
    assert!(all.list[0].is_approved() && !all.list[1].is_approved());
    let some = client.templates(&waba, &token, 1).await.unwrap();
    assert_eq!((some.list.len(), some.more), (1, true));

    // A server that always has another page.
    let (client, meta) = meta(&[(page, first.clone()), (next, first)]).await;
    let some = client.templates(&waba, &token, 500).await.unwrap();
    assert!(some.more);
    assert_eq!(meta.lock().unwrap().asked.len(), 6);
}

#[tokio::test]
async fn an_app_is_subscribed_once_and_taken_off_again() {
    let path = "/v25.0/104857600000001/subscribed_apps";
    let (post, delete) = (format!("POST {path}"), format!("DELETE {path}"));
    let (client, meta) = meta(&[
        (post.as_str(), sample("subscribed_apps_post")),
        (delete.as_str(), ok(json!({"success": true}))),
    ])
    .await;
    let (waba, token) = (WabaId::new(WABA), "t".into());
    let callback = Callback {
        url: "https://baton.example.com/webhooks/whatsapp".parse().unwrap(),
        verify_token: "made-up-verify-token".into(),
    };
    client.subscribe_app(&waba, &token, Some(&callback)).await.unwrap();
    client.subscribe_app(&waba, &token, None).await.unwrap();
    client.unsubscribe_app(&waba, &token).await.unwrap();
    let asked = &meta.lock().unwrap().asked;
    assert_eq!(asked[0].2, recorded("subscribed_apps_post")["request"]["body"]);
    assert_eq!((&asked[1].2, &asked[2].0), (&Value::Null, &format!("DELETE {path}")));
}

#[tokio::test]
async fn the_history_of_a_message_is_read() {
    let (client, meta) =
        meta(&[("GET /v25.0/220011223344001/message_history", sample("message_history"))]).await;
    let (number, token) = (PhoneNumberId::new(NUMBER), "t".into());
    let events = client.message_history(&number, &token, &Wamid::new("wamid.a=")).await.unwrap();
    let told: Vec<_> =
        events.iter().map(|event| (event.delivery_status.as_str(), event.timestamp.as_str())).collect();
    assert_eq!(told, [("SENT", "1795400000"), ("READ", "1795400060")]);
    assert_eq!(events[1].webhook_update_state, "FAILED");
    assert!(meta.lock().unwrap().asked[0].0.ends_with("message_history?message_id=wamid.a%3D"));
}

#[tokio::test]
async fn threads_are_taken_passed_and_released() {
    let path = "/v25.0/220011223344001/thread_control";
    let post = format!("POST {path}");
    let (client, meta) = meta(&[(post.as_str(), sample("thread_control_take"))]).await;
    let (number, token) = (PhoneNumberId::new(NUMBER), "t".into());
    let to = Recipient::User("US.70131924466018321540".into());
    for (control, metadata, name) in [
        (Control::Take, "handoff to a rep", "thread_control_take"),
        (Control::Pass(Some(Role::AiAgent)), "rep ended the chat", "thread_control_pass"),
    ] {
        client.thread_control(&number, &token, &to, control, metadata).await.unwrap();
        let asked = meta.lock().unwrap().asked.pop().unwrap();
        assert_eq!(asked.2, recorded(name)["request"]["body"], "{name}");
    }
    client.thread_control(&number, &token, &to, Control::Release, &"x".repeat(3_000)).await.unwrap();
    let asked = meta.lock().unwrap().asked.pop().unwrap().2;
    assert_eq!(
        (asked["action"].as_str(), asked["metadata"].as_str().unwrap().len()),
        (Some("release"), 2_000)
    );
}

#[tokio::test]
async fn a_call_that_fails_says_how() {
    let (client, _) = meta(&[]).await;
    let error = client.phone_number(&PhoneNumberId::new("1"), &"secret".into()).await.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "{error:?}");
    assert!(error.what().contains("100") && !error.how_to_mend().is_empty());
    assert!(!format!("{error:?} {error}").contains("secret"));
    let (client, _) = meta(&[("GET /v25.0/1", json!({"status": 200, "body": "<html>"}))]).await;
    let error = client.phone_number(&PhoneNumberId::new("1"), &"secret".into()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreadable { .. }), "{error:?}");
}
