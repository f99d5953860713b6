//! What an idle event stream costs this process, against a server in another one.
//!
//! ```sh
//! cargo run --release -p salesforce --example streams -- 2000 plain   # or: h1, h2 (over TLS)
//! ```

#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::unwrap_used, reason = "whatever fails, the figure is worthless")]

#[path = "../tests/support/tls.rs"]
mod tls;

use std::{process::Stdio, sync::Arc, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::settings::Integration;
use futures::{StreamExt as _, stream};
use salesforce::{AccessToken, AttachmentLimits, Client, EventStream, Options, identity::Signer, keys};
use secrecy::ExposeSecret as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, mode] if role == "serve" => serve(mode).await,
        [count, mode] => measure(count.parse().unwrap(), mode).await,
        _ => println!("usage: streams COUNT plain|h1|h2"),
    }
}

async fn serve(mode: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let identity = tls::Identity::new();
    println!("{port} {}", STANDARD.encode(&identity.certificate));
    match mode {
        "h1" => tls::Router::new(&identity, "http/1.1", 1).serve(listener).await,
        "h2" => tls::Router::new(&identity, "h2", 1_000).serve(listener).await,
        _ => {
            let tasks = TaskTracker::new();
            while let Ok((tcp, _)) = listener.accept().await {
                tasks.spawn(plain(tcp));
            }
        }
    }
}

async fn plain(mut tcp: TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if tcp.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let ping = "13\r\nevent:ping\ndata:0\n\n\r\n";
    tcp.write_all(format!("{head}{ping}").as_bytes()).await.unwrap();
    let _ = tcp.read_buf(&mut request).await;
}

async fn measure(count: usize, mode: &str) {
    let mut server = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["serve", mode])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let (port, certificate) = line.trim().split_once(' ').unwrap();
    let url = if mode == "plain" {
        format!("http://127.0.0.1:{port}")
    } else {
        format!("https://localhost:{port}")
    };
    let client = client(&url, &STANDARD.decode(certificate).unwrap());
    // As long as Salesforce's.
    let token = Arc::new(AccessToken {
        token: "x".repeat(1_800).into(),
        last_event_id: "0".into(),
        expires_at: 0,
        subject: String::new(),
        attachments: AttachmentLimits::default(),
    });
    let open = |count| {
        let (client, token) = (client.clone(), token.clone());
        let one = move |_| {
            let (client, token) = (client.clone(), token.clone());
            async move {
                let mut stream = EventStream::connect(&client, &token, "2147867834").await.unwrap();
                assert!(stream.next().await.unwrap().unwrap().is_ping());
                stream
            }
        };
        stream::iter(0..count).map(one).buffer_unordered(64).collect::<Vec<_>>()
    };
    let warm = open(64).await;
    let tasks = TaskTracker::new();
    let (before, start) = (resident(), Instant::now());
    for mut stream in open(count).await {
        // Waiting, as in a follower.
        tasks.spawn(async move { stream.next().await });
    }
    let took = start.elapsed();
    let grown = resident().saturating_sub(before);
    println!(
        "{mode}: {count} idle streams, {:.1} KiB each ({} KiB in all), connected in {:.2} s; {} bytes in place",
        grown as f64 / 1024.0 / count as f64,
        grown / 1024,
        took.as_secs_f64(),
        size_of::<EventStream>(),
    );
    drop(warm);
}

fn client(url: &str, certificate: &[u8]) -> Client {
    let pair = keys::generate_key_pair(2048).unwrap();
    let settings: Integration = serde_json::from_value(serde_json::json!({
        "id": "main", "instance_url": "https://acme.my.salesforce.com", "es_developer_name": "Name",
        "org_id": "00DRT0000004QhW", "auth_key_id": "k", "jwt_public_key": pair.public_pem,
        "jwt_private_key": pair.private_pem.expose_secret(), "messaging_url": url,
    }))
    .unwrap();
    let signer = Signer::from_settings(&settings).unwrap();
    Client::with_tls(&settings, signer, Options::default(), tls::trusting(certificate)).unwrap()
}

/// Bytes of memory in use.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
