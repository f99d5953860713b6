//! Answers customers while no human does.

use anyhow::Context as _;
use assistant::Config;
use clap::Parser as _;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    runtime::init_crypto();
    let _telemetry = runtime::telemetry::init("assistant")?; // flushes when dropped
    let shutdown = runtime::shutdown_on_signal()?;
    let log = bus::connect(&config.bus).await.context("connect to the log")?;
    let key = config.opens.master_key.as_ref();
    let settings = configuration::settings(&config.source, &log, key, &shutdown).await?;
    let listener = TcpListener::bind(config.listen_addr).await.context("bind LISTEN_ADDR")?;
    assistant::run(listener, log, settings, shutdown).await
}
