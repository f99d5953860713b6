//! Sends campaigns: asks for one message after another, and counts what becomes of them.

use anyhow::Context as _;
use campaigns::Config;
use clap::Parser as _;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    runtime::init_crypto();
    let _telemetry = runtime::telemetry::init("campaigns")?; // flushes when dropped
    let shutdown = runtime::shutdown_on_signal()?;
    let log = bus::connect(&config.bus).await.context("connect to the log")?;
    let key = Some(&config.store.master_key);
    let settings = configuration::settings(&config.settings.source, &log, key, &shutdown).await?;
    let store = store::Store::connect(&config.store).context("set up the cache")?;
    let keying = config.settings.keying();
    let listener = TcpListener::bind(config.listen_addr).await.context("bind LISTEN_ADDR")?;
    let parts = campaigns::Parts { log, store, settings, keying, clock: campaigns::Clock::default() };
    campaigns::run(config.campaigns, listener, parts, shutdown).await
}
