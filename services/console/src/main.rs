//! Shows people sessions, and lets them act.

use anyhow::Context as _;
use clap::Parser as _;
use console::{Config, Tool};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(tool) = Tool::asked() {
        return tool.run();
    }
    let config = Config::parse();
    config.check()?;
    let sign_in = config.sign_in()?;
    runtime::init_crypto();
    let _telemetry = runtime::telemetry::init("console")?; // flushes when dropped
    let shutdown = runtime::shutdown_on_signal()?;
    let log = bus::connect(&config.bus).await.context("connect to the log")?;
    let store = store::Store::connect(&config.store).context("set up the cache")?;
    let listener = TcpListener::bind(config.listen_addr).await.context("bind LISTEN_ADDR")?;
    let keying = config.keying.keying();
    console::run(listener, log, store, keying, sign_in, shutdown).await
}
