//! Both simulators in one process. Prints where they listen as one JSON line, then runs until a
//! signal or `POST /control/stop`.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::Parser;
use e2e::sim::{DEFAULT_CAPACITY, Options, SalesforceConfig, Sim};

/// Simulators of the WhatsApp Cloud API and of Salesforce Messaging.
#[derive(Debug, Parser)]
struct Config {
    /// Where the WhatsApp Cloud API listens.
    #[arg(long, env = "SIM_WHATSAPP", default_value = "127.0.0.1:0")]
    whatsapp: SocketAddr,
    /// Where the Salesforce API listens.
    #[arg(long, env = "SIM_SALESFORCE", default_value = "127.0.0.1:0")]
    salesforce: SocketAddr,
    /// A PEM file with a certificate and its key: the Salesforce API then speaks TLS, and HTTP/2 to whoever
    /// asks for it.
    #[arg(long, env = "SIM_SALESFORCE_TLS")]
    salesforce_tls: Option<PathBuf>,
    /// Where the control API listens. It has no authentication: keep it on loopback.
    #[arg(long, env = "SIM_CONTROL", default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Where the files of Salesforce's conversations are fetched from.
    #[arg(long, env = "SIM_FILES", default_value = "127.0.0.1:0")]
    files: SocketAddr,
    /// Switches of the Salesforce simulator that differ from their defaults, as one JSON object; the
    /// control API's `GET /control/salesforce/config` shows them all.
    #[arg(long, env = "SIM_SALESFORCE_CONFIG", default_value = "{}", value_parser = salesforce_config)]
    salesforce_config: Box<SalesforceConfig>,
    /// How many entries the record keeps.
    #[arg(long, env = "SIM_RECORD_CAPACITY", default_value_t = DEFAULT_CAPACITY)]
    record_capacity: usize,
}

fn salesforce_config(text: &str) -> Result<Box<SalesforceConfig>> {
    Ok(Box::new(SalesforceConfig::with(serde_json::from_str(text)?)?))
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the line on stdout is the program's interface")]
async fn main() -> Result<()> {
    let config = Config::parse();
    let sim = Sim::start(Options {
        whatsapp: config.whatsapp,
        salesforce: config.salesforce,
        salesforce_tls: config.salesforce_tls,
        control: config.control,
        files: config.files,
        record_capacity: config.record_capacity,
        salesforce_config: *config.salesforce_config,
        ..Options::default()
    })
    .await?;
    println!("{}", serde_json::to_string(&sim.addresses())?);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = sim.stopped() => {}
    }
    sim.shutdown().await;
    Ok(())
}
