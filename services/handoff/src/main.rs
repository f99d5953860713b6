//! Decides about every fact of every conversation; opens Salesforce conversations and forwards
//! what customers write.

use anyhow::Context as _;
use clap::Parser as _;
use handoff::Config;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    runtime::init_crypto();
    let _telemetry = runtime::telemetry::init("handoff")?; // flushes when dropped
    let shutdown = runtime::shutdown_on_signal()?;
    let log = bus::connect(&config.bus).await.context("connect to the log")?;
    let key = Some(&config.store.master_key);
    let settings = configuration::settings(&config.settings.source, &log, key, &shutdown).await?;
    let store = store::Store::connect(&config.store).context("set up the cache")?;
    let listener = TcpListener::bind(config.listen_addr).await.context("bind LISTEN_ADDR")?;
    let keying = config.settings.keying();
    handoff::run(keying, listener, log, store, settings, config.options(), shutdown).await
}
