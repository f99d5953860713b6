//! Event streams over TLS: many on a connection where the host offers HTTP/2, else one each.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::try_join_all;
use salesforce::{AccessToken, AttachmentLimits, Client, Error, EventStream, Options, identity::Signer};
use support::{
    integration, options,
    tls::{Identity, Router, trusting},
};
use tokio_util::task::TaskTracker;

struct Host {
    router: Router,
    client: Client,
    tasks: TaskTracker,
}

async fn host(protocol: &str, max_streams: u32) -> Host {
    let identity = Identity::new();
    let router = Router::new(&identity, protocol, max_streams);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let tasks = TaskTracker::new();
    tasks.spawn(router.clone().serve(listener));
    let settings = integration(&url);
    let signer = Signer::from_settings(&settings).unwrap();
    let options = Options { idle_max: Duration::from_secs(30), ..options() };
    let client = Client::with_tls(&settings, signer, options, trusting(&identity.certificate)).unwrap();
    Host { router, client, tasks }
}

async fn open(host: &Host, count: usize) -> Vec<EventStream> {
    let token = Arc::new(AccessToken {
        token: "eyJh.eyJl.sig".to_owned().into(),
        last_event_id: "0".into(),
        expires_at: 0,
        subject: String::new(),
        attachments: AttachmentLimits::default(),
    });
    let one = || async {
        let mut stream = EventStream::connect(&host.client, &token, "1").await?;
        assert!(stream.next().await?.unwrap().is_ping());
        Ok::<_, Error>(stream)
    };
    try_join_all((0..count).map(|_| one())).await.unwrap()
}

fn connections(host: &Host) -> usize {
    host.router.connections.load(Ordering::Relaxed)
}

async fn until_connections(host: &Host, wanted: usize) {
    let reached = async {
        while connections(host) != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap();
}

#[tokio::test]
async fn a_hundred_streams_share_a_connection() {
    let host = host("h2", 1_000).await;
    let streams = open(&host, 250).await;
    assert_eq!(connections(&host), 3);
    drop(streams);
    until_connections(&host, 0).await;
    let again = open(&host, 1).await;
    assert_eq!((again.len(), connections(&host)), (1, 1));
    host.tasks.close();
}

#[tokio::test]
async fn a_host_may_want_fewer() {
    let host = host("h2", 30).await;
    // One at a time at first: what the host allows is known once it has said so.
    let first = open(&host, 1).await;
    let streams = open(&host, 59).await;
    assert_eq!((first.len() + streams.len(), connections(&host)), (60, 2));
}

#[tokio::test]
async fn without_http2_every_stream_has_its_own() {
    let host = host("http/1.1", 1).await;
    let streams = open(&host, 20).await;
    assert_eq!((streams.len(), connections(&host)), (20, 20));
    drop(streams);
    until_connections(&host, 0).await;
}

#[tokio::test]
async fn a_cut_connection_ends_its_streams_and_the_next_is_another() {
    for protocol in ["h2", "http/1.1"] {
        let host = host(protocol, 100).await;
        let mut streams = open(&host, 5).await;
        let waiting = try_join_all(streams.iter_mut().map(EventStream::next));
        let cut = async {
            host.router.cut.cancel();
            futures::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = waiting => ended.map(|frames| frames.len()),
            () = cut => unreachable!(),
        };
        // Cut, not ended as HTTP would: no silence, and no end that looks like one.
        assert!(matches!(ended, Err(Error::Transport { .. })), "{protocol}: {ended:?}");
    }
}
