//! What an open stream costs the simulator, in memory and CPU: `cargo run -p e2e --example stream_cost
//! [streams]`, after `cargo build -p e2e --bin sim`. Two stretches of 30 s are measured.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement by hand")]

use std::time::{Duration, Instant};

use e2e::sim::{Addresses, AutoRep, ControlClient};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// Resident KiB and CPU milliseconds of a process.
fn usage(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    (rss.trim().trim_end_matches(" kB").parse().unwrap(), ticks * 10)
}

#[tokio::main]
async fn main() {
    let wanted: usize = std::env::args().nth(1).map_or(1_000, |text| text.parse().unwrap());
    // Examples are built into a folder beside the programs.
    let sim = std::env::current_exe().unwrap().parent().unwrap().with_file_name("sim");
    let config = json!({ "token_limit": false, "ping_interval_ms": 25_000 });
    let mut program = tokio::process::Command::new(sim)
        .env("SIM_SALESFORCE_CONFIG", config.to_string())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = program.id().unwrap();
    let line = BufReader::new(program.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let addresses: Addresses = serde_json::from_str(&line).unwrap();
    let control = ControlClient::new(&addresses.control).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let token_url =
        format!("{}/iamessage/api/v2/authorization/unauthenticated/access-token", addresses.salesforce);
    let host = addresses.salesforce.trim_start_matches("http://");
    let body = json!({
        "orgId": "00DRT0000004QhW", "esDeveloperName": "Phone_Bridge_Client", "capabilitiesVersion": "1",
        "platform": "Web",
    });
    let talk =
        AutoRep { accept_after_ms: 1, reply: false, talk_every_ms: Some(60_000), ..AutoRep::default() };
    control.set_auto_rep(Some(&talk)).await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..wanted {
        let answer: serde_json::Value =
            http.post(&token_url).json(&body).send().await.unwrap().json().await.unwrap();
        tokens.push(answer["accessToken"].as_str().unwrap().to_owned());
    }
    let (before, _) = usage(pid);
    let began = Instant::now();
    let mut open = Vec::new();
    for token in &tokens {
        let mut stream = TcpStream::connect(host).await.unwrap();
        let head = format!(
            "GET /eventrouter/v1/sse HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {token}\r\nX-Org-Id: 00DRT0000004QhW\r\nLast-Event-Id: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        open.push(stream);
    }
    let opened = began.elapsed();
    assert_eq!(control.open_streams().await.unwrap(), wanted as u64);
    let (after, cpu) = usage(pid);
    // One round of pings and what is left of the storm.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (later, cpu_later) = usage(pid);
    // Each in a conversation whose rep writes once a minute.
    let create_url = format!("{}/iamessage/api/v2/conversation", addresses.salesforce);
    for (n, token) in tokens.iter().enumerate() {
        let body = json!({ "conversationId": format!("5f0c9d1e-3b7a-4c62-9e41-{n:012}"), "esDeveloperName": "Phone_Bridge_Client" });
        assert_eq!(http.post(&create_url).bearer_auth(token).json(&body).send().await.unwrap().status(), 201);
    }
    let (busy, cpu_before) = usage(pid);
    let events = control.extent().await.unwrap().last;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let events = control.extent().await.unwrap().last - events;
    let (busy_later, cpu_busy) = usage(pid);
    println!(
        "with conversations {:.1} KiB each; {events} events in 30 s took {} ms CPU (pings included) and {} KiB",
        (busy - before) as f64 / wanted as f64,
        cpu_busy - cpu_before,
        busy_later - busy,
    );
    println!(
        "{wanted} streams in {opened:.1?}: {:.1} KiB each, {:.1} after pings; {} ms CPU in 30 s",
        (after - before) as f64 / wanted as f64,
        (later - before) as f64 / wanted as f64,
        cpu_later - cpu,
    );
}
