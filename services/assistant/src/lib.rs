//! Answers while no human does: reads the decisions that ask, appends the answers.
//!
//! By the built-in [`rules`] or by a model, as the channel says. The whole service can be replaced by
//! anything that keeps the contract in `docs/assistant-contract.md`, in any language.

mod answering;
mod config;
mod ears;
mod history;
mod metrics;
mod model;
pub mod rules;
mod triggers;
mod worker;

use anyhow::Context as _;
use bus::ReaderOptions;
pub use config::Config;
use ears::Ears;
use history::Starts;
use metrics::Metrics;
use model::Brain;
use proto::subjects::Kind;
use runtime::settings::{Derived, Live};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::worker::Worker;

/// Works until `shutdown`, then hands its partitions over.
///
/// # Errors
/// When the reader or the health endpoint cannot go on.
pub async fn run(
    listener: TcpListener,
    log: bus::Log,
    settings: Live,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let health = runtime::health::Health::new();
    let reads = health.condition("log");
    let (ready, mut is_ready) = watch::channel(false);
    let metrics = Metrics::new();
    let brain = Brain::new(metrics.clone()).context("set up the client for models")?;
    let ears = Ears::new(log.clone()).context("set up the client for voice messages")?;
    tracing::info!(faq = settings.now().faq.len(), "answering");
    let starts = Starts::default();
    let worker =
        Worker { log: log.clone(), starts, settings, rules: Derived::default(), brain, ears, metrics };
    let reader = log.reader("assistant", &[Kind::Decision], ReaderOptions::default()).notify_ready(ready);
    let watch_ready = async {
        // The sender goes when the reader ends: nothing to be ready for then.
        while is_ready.changed().await.is_ok() {
            reads.set(*is_ready.borrow());
        }
        reads.set(false);
    };
    // One that ends by itself ends the other.
    let ended = shutdown.child_token();
    let read = async {
        let _end = ended.clone().drop_guard();
        reader.run(worker, ended.clone()).await.context("read decisions")
    };
    let serve = async {
        let _end = ended.clone().drop_guard();
        runtime::serve_health(listener, health.clone(), ended.clone()).await.context("serve health")
    };
    let (read, served, ()) = tokio::join!(read, serve, watch_ready);
    read.and(served)
}
