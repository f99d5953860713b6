//! Receives WhatsApp webhooks and appends them to the log.

use anyhow::Context as _;
use clap::Parser as _;
use ingress::Config;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    runtime::init_crypto();
    let _telemetry = runtime::telemetry::init("ingress")?; // flushes when dropped
    let shutdown = runtime::shutdown_on_signal()?;
    let log = bus::connect(&config.bus).await.context("connect to the log")?;
    let settings = match &config.webhook.source {
        Some(source) => {
            let key = config.opens.master_key.as_ref();
            Some(configuration::settings(source, &log, key, &shutdown).await?)
        }
        None => None,
    };
    let listener = TcpListener::bind(config.listen_addr).await.context("bind LISTEN_ADDR")?;
    ingress::run(config.webhook, listener, log, settings, shutdown).await
}
