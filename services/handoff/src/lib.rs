//! Decides; opens Salesforce conversations and forwards the customer's messages.
//!
//! Every fact of a conversation is answered with exactly one decision, stored in a chain. The calls
//! that a decision asks of Salesforce are made before the conversation's next fact is looked at.

mod attributes;
mod calls;
mod config;
mod files;
mod forward;
mod masking;
mod metrics;
mod offers;
mod peer;
mod picture;
mod receipts;
mod transcript;
mod worker;

use std::sync::Arc;

use anyhow::Context as _;
use bus::{Log, ReaderOptions};
pub use config::{Config, Options, PublicLinks};
use domain::derive::Keying;
use proto::subjects::Kind;
use runtime::{
    health::{Health, serve_health},
    settings::Live,
};
use store::Store;
use tokens::Tokens;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::Calls, files::Files, masking::Masker, metrics::Metrics, receipts::Receipts, worker::Worker,
};

/// Works until `shutdown`, then hands its partitions over.
pub async fn run(
    keying: Keying,
    listener: TcpListener,
    log: Log,
    store: Store,
    settings: Live,
    options: Options,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let files = Files::new(log.media().await.context("open the object store")?, options.links, &keying);
    let tokens =
        Tokens::new(settings.clone(), store.clone()).context("set up the Salesforce integrations")?;
    let calls = Arc::new(Calls {
        tokens,
        settings: settings.clone(),
        store: store.clone(),
        files,
        keying: keying.clone(),
        masker: Masker::new(),
        pace: options.pace,
    });
    let receipts = Receipts { log: log.clone(), calls: Arc::clone(&calls) };
    let worker = Worker {
        log: log.clone(),
        store,
        settings,
        keying,
        calls: Arc::clone(&calls),
        metrics: Metrics::new(),
    };
    let health = Health::new();
    let membership = health.condition("membership");
    let (ready, mut is_ready) = watch::channel(false);
    let reader = log.reader("handoff", &Kind::FACTS, ReaderOptions::default()).notify_ready(ready);
    let passing_on = log.reader("handoff-receipts", &[Kind::Status], ReaderOptions::default());
    let serving = CancellationToken::new();
    tokio::try_join!(
        async {
            let worked = reader.run(worker, shutdown.clone()).await.context("read the log");
            serving.cancel();
            worked
        },
        async { passing_on.run(receipts, shutdown.clone()).await.context("read receipts") },
        async { serve_health(listener, health, serving.clone()).await.context("serve health") },
        async {
            if is_ready.wait_for(|ready| *ready).await.is_ok() {
                membership.set(true);
            }
            Ok(())
        },
    )?;
    Ok(())
}
