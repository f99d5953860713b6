//! The client against a server that answers as recorded, and against sockets that misbehave.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use domain::{
    PhoneNumberId, Wamid,
    message::{Customer, Outgoing},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};
use whatsapp::client::{
    Class, Client, Config, ConfigError, Doubt, Message, Recipient, Scope, SendError, Sent,
};

fn recorded(name: &str) -> Value {
    let path = format!("{}/testdata/api/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

struct Seen {
    path: String,
    authorization: String,
    body: Value,
}

#[derive(Clone)]
struct Graph {
    answer: Arc<Value>,
    seen: mpsc::UnboundedSender<Seen>,
}

async fn answer(State(graph): State<Graph>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    let seen = Seen { path: uri.path().into(), authorization, body: serde_json::from_slice(&body).unwrap() };
    graph.seen.send(seen).unwrap();
    let response = &graph.answer["response"];
    let status =
        axum::http::StatusCode::from_u16(u16::try_from(response["status"].as_u64().unwrap()).unwrap());
    let mut answer = (status.unwrap(), response["body"].to_string()).into_response();
    for (name, value) in response["headers"].as_object().into_iter().flatten() {
        let name: axum::http::HeaderName = name.parse().unwrap();
        answer.headers_mut().insert(name, value.as_str().unwrap().parse().unwrap());
    }
    answer
}

/// A server that gives `answer` to everything, and what it saw.
async fn graph(answer_with: Value) -> (Client, mpsc::UnboundedReceiver<Seen>) {
    let (seen, saw) = mpsc::unbounded_channel();
    let state = Graph { answer: Arc::new(answer_with), seen };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer).with_state(state);
    #[expect(clippy::disallowed_methods, reason = "a server of the test, gone with its runtime")]
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (client(port), saw)
}

fn client(port: u16) -> Client {
    let graph_url = format!("http://127.0.0.1:{port}/v25.0").parse().unwrap();
    Client::new(&Config { graph_url, graph_timeout: Duration::from_millis(700) }).unwrap()
}

async fn send_to(client: &Client, customer: Customer, quotes: Option<&Wamid>) -> Result<Sent, SendError> {
    let to = Recipient::of(&customer).unwrap();
    let body = Outgoing::Text("Hello".into());
    let message = Message { to: &to, body: &body, media: None, quotes, opaque: "baton1.x.1" };
    client.send(&PhoneNumberId::new("220011223344001"), &"secret token".into(), message).await
}

async fn send(client: &Client) -> Result<Sent, SendError> {
    let ana =
        Customer { phone: Some("15550100199".into()), bsuid: Some("US.1".into()), ..Customer::default() };
    send_to(client, ana, None).await
}

async fn answered(name: &str) -> Result<Sent, SendError> {
    send(&graph(recorded(name)).await.0).await
}

#[tokio::test]
async fn a_text_goes_out_as_documented() {
    let (client, mut saw) = graph(recorded("send_text")).await;
    let sent = send(&client).await.unwrap();
    assert_eq!(sent.wamid, Wamid::new("wamid.HBgLMTU1NTAxMDAxOTkVAgARGBJCMDEwRDc3OEYyNEFGQkFDQUQA"));
    let seen = saw.recv().await.unwrap();
    assert_eq!(seen.path, "/v25.0/220011223344001/messages");
    assert_eq!(seen.authorization, "Bearer secret token");
    let mut expected = recorded("send_text")["request"]["body"].clone();
    expected["text"]["body"] = "Hello".into();
    expected["biz_opaque_callback_data"] = "baton1.x.1".into();
    assert_eq!(seen.body, expected);
}

#[tokio::test]
async fn a_customer_without_a_visible_phone_is_reached_by_the_user_id() {
    let (client, mut saw) = graph(recorded("send_text_to_bsuid")).await;
    let bruno = Customer { bsuid: Some("BR.50217733991846002178".into()), ..Customer::default() };
    send_to(&client, bruno, Some(&Wamid::new("wamid.1"))).await.unwrap();
    let body = saw.recv().await.unwrap().body;
    assert_eq!(body["recipient"], "BR.50217733991846002178");
    assert_eq!(body["context"]["message_id"], "wamid.1");
    assert!(body.get("to").is_none());
}

#[tokio::test]
async fn a_read_receipt_is_accepted() {
    let (client, mut saw) = graph(recorded("mark_read")).await;
    client.mark_read(&PhoneNumberId::new("1"), &"t".into(), &Wamid::new("wamid.1"), false).await.unwrap();
    assert_eq!(saw.recv().await.unwrap().body["status"], "read");
}

#[tokio::test]
async fn limits_are_told_with_their_scope() {
    for (name, expected) in [
        ("error_131056", Scope::Pair),
        ("error_130429", Scope::Number),
        ("error_131048", Scope::Number),
        ("error_131057", Scope::Number),
    ] {
        let error = answered(name).await.unwrap_err();
        assert!(matches!(error, SendError::Paced { scope, .. } if scope == expected), "{name}: {error:?}");
    }
    let error = answered("error_80007_waba_rate_limit").await.unwrap_err();
    let thirteen_minutes = Some(Duration::from_secs(13 * 60));
    assert!(
        matches!(error, SendError::Paced { scope: Scope::Account, retry_after, .. } if retry_after == thirteen_minutes)
    );
    let mut gateway = recorded("error_130429");
    gateway["response"] =
        serde_json::json!({"status": 429, "body": "<html>", "headers": {"retry-after": "7"}});
    let error = send(&graph(gateway).await.0).await.unwrap_err();
    let seven_seconds = Some(Duration::from_secs(7));
    assert!(
        matches!(error, SendError::Paced { retry_after, code: None, .. } if retry_after == seven_seconds)
    );
}

#[tokio::test]
async fn refusals_are_told_with_their_class() {
    for (name, code, class) in [
        ("error_190", 190, Class::Config),
        ("error_131030", 131030, Class::Config),
        ("error_131009", 131009, Class::Fix),
        ("error_131021", 131021, Class::Fix),
        ("error_100_unknown_object", 100, Class::Config),
    ] {
        match answered(name).await {
            Err(SendError::Refused(refusal)) => {
                assert_eq!((refusal.code, refusal.class), (code, class));
                assert!(!refusal.details.is_empty());
                assert_eq!(refusal.remedy().class, class);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_code_that_says_no_is_believed_with_any_status() {
    let body = serde_json::json!({"error": {"message": "(#131045) Incorrect certificate", "code": 131_045}});
    let answer = serde_json::json!({"response": {"status": 500, "body": body}});
    let error = send(&graph(answer).await.0).await.unwrap_err();
    assert!(matches!(&error, SendError::Refused(refusal) if refusal.class == Class::Config), "{error:?}");
}

#[tokio::test]
async fn server_errors_and_unreadable_answers_leave_doubt() {
    for name in ["error_131000", "error_131016", "error_2_transient"] {
        let error = answered(name).await.unwrap_err();
        assert!(matches!(error, SendError::InDoubt(Doubt::Failed { .. })), "{name}: {error:?}");
    }
    for (status, body) in [
        (200, Value::from("not what the Graph API says")),
        (200, serde_json::json!({"messages": []})),
        (200, Value::from("x".repeat(100_000))),
        (302, Value::Null),
        (404, Value::from("<html>")),
    ] {
        let answer = serde_json::json!({"response": {"status": status, "body": body}});
        let error = send(&graph(answer).await.0).await.unwrap_err();
        assert!(matches!(error, SendError::InDoubt(Doubt::Unreadable { .. })), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = send(&client(port)).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
}

#[tokio::test]
async fn once_the_request_was_written_there_is_doubt() {
    // Read the request, then: close; answer half; say nothing.
    for answer in [Some(""), Some("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"), None] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(listener.local_addr().unwrap().port());
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let read = socket.read(&mut buffer).await.unwrap();
            assert!(read > 0);
            match answer {
                Some(bytes) => socket.write_all(bytes.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        };
        let sending = send(&client);
        tokio::pin!(sending, serve);
        let error = tokio::select! {
            result = &mut sending => result,
            () = &mut serve => sending.await,
        };
        assert!(matches!(error, Err(SendError::InDoubt(_))), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn nothing_secret_stands_in_an_error() {
    let error = answered("error_131009").await.unwrap_err();
    let printed = format!("{error} {error:?}");
    for secret in ["secret token", "15550100199", "Hello"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn plain_http_is_for_loopback_only() {
    for (url, fine) in [
        ("https://graph.facebook.com/v25.0", true),
        ("http://localhost:1/v25.0", true),
        ("http://graph.facebook.com/v25.0", false),
        ("ftp://127.0.0.1/", false),
        ("data:x", false),
    ] {
        let config = Config { graph_url: url.parse().unwrap(), graph_timeout: Duration::from_secs(1) };
        let client = Client::new(&config);
        assert_eq!(client.is_ok(), fine, "{url}");
        assert!(fine || matches!(client, Err(ConfigError::Insecure)));
    }
}
