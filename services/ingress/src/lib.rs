//! Receives WhatsApp webhooks and appends them to the log: each message, status and account event
//! is one entry, stored once however often it comes, and Meta gets its 200 when all of a body's
//! entries are stored. Keeps no state.
//!
//! Beside that, what else is asked from outside: Salesforce's hooks, the public keys of the
//! integrations, and kept files for those who have a link.

mod config;
pub mod entries;
mod files;
mod hooks;
mod intake;
mod jwks;
mod keys;
mod metrics;
mod problem;
mod routes;
mod serve;

use std::sync::Arc;

use anyhow::Context as _;
pub use config::{Config, Webhook};
use files::Files;
use hooks::Hooks;
pub use hooks::SIGNATURE as HOOK_SIGNATURE;
use intake::Intake;
use jwks::Published;
pub use routes::router;
use runtime::settings::Live;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves until `shutdown`, then answers what it has begun. Without settings whatever comes is ours,
/// and there is no integration.
pub async fn run(
    config: Webhook,
    listener: TcpListener,
    log: bus::Log,
    settings: Option<Live>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("read the listener's address")?;
    let health = runtime::health::Health::new();
    let log_reachable = health.condition("log");
    config.check(settings.as_ref())?;
    let intake = Arc::new(Intake::new(&config, settings.clone(), log.clone())?);
    let app = router(Arc::clone(&intake))
        .merge(Hooks::router(settings.clone(), log.clone()))
        .merge(Published::router(settings))
        .merge(Files::router(config.keying.keying(), log))
        .merge(health.router());
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
