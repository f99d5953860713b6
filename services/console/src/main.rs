//! Shows people sessions, and lets them act.

use anyhow::Context as _;
use clap::Parser as _;
use console::{Config, Kept, Outside, Tool};
use runtime::settings::Source;
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
    let settings = match config.settings() {
        Some(source) => {
            let key = Some(&config.store.master_key);
            // Sessions are shown without them; only troubleshooting sees less.
            configuration::settings(source, &log, key, &shutdown)
                .await
                .inspect_err(|error| {
                    let error = format!("{error:#}");
                    tracing::error!(
                        error,
                        "BATON_SETTINGS cannot be read: WhatsApp and Salesforce are not checked"
                    );
                })
                .ok()
        }
        None => None,
    };
    let kept = kept(&config, &log).await;
    let outside = Outside { kept, settings, whatsapp: Some(whatsapp::Client::new(&config.whatsapp)?) };
    let store = store::Store::connect(&config.store).context("set up the cache")?;
    let listener = TcpListener::bind(config.listen_addr).await.context("bind LISTEN_ADDR")?;
    let keying = config.keying.keying();
    console::run(listener, log, store, keying, sign_in, outside, shutdown).await
}

/// Where the settings are shown and changed. Without them the rest works.
async fn kept(config: &Config, log: &bus::Log) -> Kept {
    let read = match config.settings() {
        None => return Kept::Nowhere,
        Some(Source::File(path)) => runtime::settings::filled_in(path)
            .map(|value| Kept::File(configuration::Document { value, revision: 0 }))
            .map_err(anyhow::Error::from),
        Some(Source::Broker) => configuration::Configuration::open(log, &config.store.master_key)
            .await
            .map(|configuration| Kept::Broker(Box::new(configuration)))
            .map_err(anyhow::Error::from),
    };
    read.unwrap_or_else(|error| {
        let error = format!("{error:#}");
        tracing::error!(error, "BATON_SETTINGS cannot be read: settings are not shown");
        Kept::Nowhere
    })
}
