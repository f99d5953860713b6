//! The event stream, against a stand-in that sends what it is told, when it is told.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::channel::mpsc;
use salesforce::{AccessToken, Client, Error, EventStream, Frame, Options, Retry, event::Envelope};
use secrecy::SecretString;
use support::{Case, ORG, Server, integration, options};

const TRANSCRIPT: &[u8] = include_bytes!("../testdata/sse-wire-transcript.txt");
const SSE: &[(&str, &str)] = &[("content-type", "text/event-stream;charset=utf-8")];

type Sender = mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

fn token() -> AccessToken {
    AccessToken {
        token: SecretString::from("eyJh.eyJl.sig"),
        last_event_id: "0".into(),
        expires_at: 0,
        subject: String::new(),
        attachments: salesforce::AttachmentLimits::default(),
    }
}

async fn open(server: &Server) -> (Sender, EventStream) {
    let (sender, receiver) = mpsc::unbounded();
    server.prepare(200, SSE, Body::from_stream(receiver));
    let stream = EventStream::connect(&server.client, &token(), "2147867834").await.unwrap();
    (sender, stream)
}

fn send(sender: &Sender, bytes: &[u8]) {
    sender.unbounded_send(Ok(Bytes::copy_from_slice(bytes))).unwrap();
}

#[tokio::test]
async fn the_request_is_what_the_event_router_wants() {
    let server = Server::start().await;
    let (_sender, _stream) = open(&server).await;
    let seen = server.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/eventrouter/v1/sse"));
    let host = server.url.strip_prefix("http://").unwrap();
    for (name, value) in [
        ("accept", "text/event-stream"),
        ("authorization", "Bearer eyJh.eyJl.sig"),
        ("x-org-id", ORG),
        ("last-event-id", "2147867834"),
        ("cache-control", "no-cache"),
        ("accept-encoding", "identity"),
        ("host", host),
    ] {
        assert_eq!(seen.headers[name], value, "{name}");
    }
}

#[tokio::test]
async fn frames_arrive_however_the_bytes_are_split() {
    let server = Server::start().await;
    let (sender, mut stream) = open(&server).await;
    let wanted = salesforce::fuzz::sse(TRANSCRIPT);
    for piece in TRANSCRIPT.chunks(7) {
        send(&sender, piece);
    }
    let mut frames = Vec::new();
    while frames.len() < wanted.len() {
        frames.push(stream.next().await.unwrap().unwrap());
    }
    assert_eq!(frames, wanted);
    let entries = frames.iter().filter(|frame| !frame.is_ping());
    assert!(entries.clone().all(|frame| Envelope::parse(&frame.data).is_ok()));

    drop(sender);
    assert_eq!(stream.next().await.unwrap(), None, "the server ended it");
}

#[tokio::test]
async fn whoever_stops_waiting_loses_nothing() {
    let server = Server::start().await;
    let (sender, mut stream) = open(&server).await;
    send(&sender, b"id:1\nda");
    let waiting = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
    assert!(waiting.is_err());
    send(&sender, b"ta:x\n\n");
    let frame = stream.next().await.unwrap().unwrap();
    assert_eq!(
        frame,
        Frame { id: Some("1".into()), event: "message".into(), data: "x".into(), oversized: false }
    );
}

#[tokio::test]
async fn silence_is_an_error_and_every_byte_is_a_sign_of_life() {
    let server = Server::start().await;
    let (sender, mut stream) = open(&server).await;
    let idle = options().idle_max;
    let beat = tokio::time::interval(idle / 3);
    // Comments make no frame, but for three times as long as allowed they keep the stream alive.
    let alive = async {
        let mut beat = beat;
        for _ in 0..9 {
            beat.tick().await;
            send(&sender, b":\n");
        }
        send(&sender, b"event:ping\ndata:0\n\n");
    };
    let (frame, ()) = tokio::join!(stream.next(), alive);
    assert!(frame.unwrap().unwrap().is_ping());

    let error = stream.next().await.unwrap_err();
    assert!(matches!(error, Error::Silent { .. }) && error.retry() == Retry::Soon, "{error}");
}

#[tokio::test]
async fn being_away_is_not_taken_for_silence() {
    let server = Server::start().await;
    let (sender, mut stream) = open(&server).await;
    send(&sender, b"data:x\n\n");
    // Longer than `idle_max`, while the bytes lie in the socket.
    tokio::time::sleep(options().idle_max * 2).await;
    assert_eq!(stream.next().await.unwrap().unwrap().data, "x");
}

#[tokio::test]
async fn a_broken_connection_is_told_from_an_ended_stream() {
    let server = Server::start().await;
    let (sender, mut stream) = open(&server).await;
    send(&sender, b"data:x\n\nretry:2500\ndata:y");
    assert_eq!(stream.next().await.unwrap().unwrap().data, "x");
    sender.unbounded_send(Err(std::io::Error::other("cut"))).unwrap();
    let error = stream.next().await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error}");
    assert_eq!(stream.retry(), Some(Duration::from_millis(2500)));
}

#[tokio::test]
async fn refusals_are_read_like_those_of_the_rest_calls() {
    let server = Server::start().await;
    let cases: [Case; 7] = [
        (401, &[], "Jwt is expired", Retry::Renew),
        (401, &[], include_str!("../testdata/error-401-json.json"), Retry::Renew),
        (429, &[("retry-after", "9")], "", Retry::After(Duration::from_secs(9))),
        (503, &[("content-type", "text/html")], "<html>upstream</html>", Retry::Soon),
        (400, &[], "{\"message\":\"OrgId in the header and token must match\"}", Retry::Never),
        (302, &[("location", "https://elsewhere.example.com/")], "", Retry::Never),
        (200, &[("content-type", "text/html")], "<html>sign in</html>", Retry::Soon),
    ];
    for (status, headers, body, wanted) in cases {
        server.prepare(status, headers, body);
        let error = EventStream::connect(&server.client, &token(), "0").await.unwrap_err();
        assert_eq!(error.retry(), wanted, "{status}: {error}");
    }
    server.prepare(400, &[], vec![b'x'; 1024 * 1024]);
    let error = EventStream::connect(&server.client, &token(), "0").await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

#[tokio::test]
async fn connecting_is_bounded_in_time() {
    // Takes connections, never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let short =
        Options { connect: Duration::from_millis(300), total: Duration::from_millis(300), ..options() };
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let client = Client::new(&integration(&url), short).unwrap();
        let error = EventStream::connect(&client, &token(), "0").await.unwrap_err();
        assert!(matches!(error, Error::Transport { .. }) && error.retry() == Retry::Soon, "{error}");
    }
    drop(listener);
    let client = Client::new(&integration(&format!("http://127.0.0.1:{port}")), short).unwrap();
    assert!(matches!(EventStream::connect(&client, &token(), "0").await, Err(Error::Transport { .. })));
}
