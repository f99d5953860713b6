//! Receives WhatsApp webhooks and appends them to the log: each message, status and account event
//! is one entry, stored once however often it comes, and Meta gets its 200 when all of a body's
//! entries are stored. Keeps no state.

mod config;
pub mod entries;
mod intake;
mod metrics;
mod routes;

use std::{future::IntoFuture as _, sync::Arc};

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
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
    // Answers are one small write: waiting for more to send only delays them.
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(error = runtime::error_chain(&error), "TCP_NODELAY not set");
        }
    });
    let serve = axum::serve(listener, app).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tracing::info!(%address, "receiving webhooks");
    let grace_over = async {
        shutdown.cancelled().await;
        tokio::time::sleep(config.shutdown_grace).await;
    };
    tokio::select! {
        served = serve.into_future() => served.context("serve webhooks"),
        () = intake.watch_log(&log_reachable) => Ok(()),
        () = grace_over => {
            tracing::warn!("requests were still being answered when the grace period ended");
            Ok(())
        }
    }
}
