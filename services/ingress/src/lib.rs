//! Receives WhatsApp webhooks and appends them to the log: each message, status and account event
//! is one entry, stored once however often it comes, and Meta gets its 200 when all of a body's
//! entries are stored. Keeps no state.

mod config;
pub mod entries;
mod intake;
mod metrics;
mod routes;
mod serve;

use std::sync::Arc;

use anyhow::Context as _;
pub use config::{Config, Webhook};
use intake::Intake;
pub use routes::router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves until `shutdown`, then answers what it has begun.
pub async fn run(
    config: Webhook,
    listener: TcpListener,
    log: bus::Log,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("read the listener's address")?;
    let health = runtime::health::Health::new();
    let log_reachable = health.condition("log");
    let intake = Arc::new(Intake::new(&config, log)?);
    let app = router(Arc::clone(&intake)).merge(health.router());
    tracing::info!(%address, "receiving webhooks");
    let grace_over = async {
        shutdown.cancelled().await;
        tokio::time::sleep(config.shutdown_grace).await;
    };
    tokio::select! {
        () = serve::serve(listener, app, &shutdown) => Ok(()),
        () = intake.watch_log(&log_reachable) => Ok(()),
        () = grace_over => {
            tracing::warn!("requests were still being answered when the grace period ended");
            Ok(())
        }
    }
}
