//! What ingress is measured against, each in a process of its own: the hidden subcommand
//! `bench-server`.

use anyhow::{Context as _, Result};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use clap::{Args as ClapArgs, ValueEnum};
use futures::{TryStreamExt as _, future::try_join_all};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use whatsapp::Signatures;

use super::payload;

/// Where the minimal handler publishes.
pub(super) const SUBJECT: &str = "bench";
/// The bare loop's stream and subjects, and its consumer.
pub(super) const LOOP: &str = "bench-loop";
pub(super) const LOOP_CONSUMER: &str = "loop";
/// As many as egress works on at once.
const LOOP_AT_ONCE: usize = 512;

#[derive(Debug, ClapArgs)]
pub struct Args {
    kind: Kind,
    #[arg(long)]
    port: u16,
    #[arg(long, default_value = "")]
    nats_url: String,
    #[arg(long, default_value = "")]
    graph_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Reads the body and answers 200.
    Bare,
    /// Verifies, parses, publishes each message as it stands, awaits the acks; keeps no promise
    /// beyond that.
    Minimal,
    /// What egress is measured against: reads JetStream and POSTs, many at once. It acknowledges what
    /// it has sent; no order, no pace, no ledger.
    Loop,
}

pub async fn run(args: Args) -> Result<()> {
    let app = match args.kind {
        Kind::Loop => return bare_loop(args).await,
        Kind::Bare => Router::new().route("/webhooks/whatsapp", post(|_: Bytes| async { StatusCode::OK })),
        Kind::Minimal => {
            let nats = async_nats::connect(&args.nats_url).await.context("connect to NATS")?;
            let minimal = Minimal {
                jetstream: async_nats::jetstream::new(nats),
                signatures: Signatures::new([&payload::app_secret()]),
            };
            Router::new().route("/webhooks/whatsapp", post(receive)).with_state(minimal)
        }
    };
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await.context("bind")?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
        // As ingress does; without it the comparison is of timers.
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, app).await.context("serve")
}

#[derive(Clone)]
struct Minimal {
    jetstream: async_nats::jetstream::Context,
    signatures: Signatures,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    value: Value<'a>,
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    from: &'a str,
    id: &'a str,
}

async fn receive(State(minimal): State<Minimal>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers.get(whatsapp::signature::HEADER).map(|value| value.as_bytes());
    if minimal.signatures.verify(signature, &body).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&body) else { return StatusCode::BAD_REQUEST };
    let messages =
        envelope.entry.into_iter().flat_map(|entry| entry.changes).flat_map(|change| change.value.messages);
    let jetstream = &minimal.jetstream;
    let published = messages.map(|raw| {
        let body = &body;
        async move {
            let message: Message<'_> = serde_json::from_str(raw.get())?;
            let subject = format!("{SUBJECT}.{}.{}", message.from, message.id.trim_start_matches("wamid."));
            // The same that ingress stores of it, a part of the body, without a copy.
            let ack = jetstream.publish(subject, body.slice_ref(raw.get().as_bytes())).await?;
            anyhow::Ok(ack.await?)
        }
    });
    match try_join_all(published).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn bare_loop(args: Args) -> Result<()> {
    runtime::init_crypto();
    let nats = async_nats::connect(&args.nats_url).await.context("connect to NATS")?;
    let stream = async_nats::jetstream::new(nats).get_stream(LOOP).await?;
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer(LOOP_CONSUMER).await.map_err(|e| anyhow::anyhow!(e))?;
    // Tells that it is there.
    let _there = TcpListener::bind(("127.0.0.1", args.port)).await.context("bind")?;
    let http = reqwest::Client::builder().build()?;
    let url = args.graph_url.as_str();
    let messages = consumer.messages().await?;
    messages
        .map_err(anyhow::Error::from)
        .try_for_each_concurrent(LOOP_AT_ONCE, |message| {
            let http = &http;
            async move {
                let number = message.subject.split('.').nth(1).unwrap_or_default();
                let request = http
                    .post(format!("{url}/{number}/messages"))
                    .bearer_auth("bench-token")
                    .header("content-type", "application/json")
                    .body(message.payload.clone());
                let answer = request.send().await?.error_for_status()?;
                answer.bytes().await?;
                message.ack().await.map_err(|e| anyhow::anyhow!(e))
            }
        })
        .await
}
