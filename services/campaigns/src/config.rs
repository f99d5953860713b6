use std::{net::SocketAddr, time::Duration};

/// Sends campaigns: asks for one message after another, and counts what becomes of them.
#[derive(Debug, Clone, clap::Parser)]
#[command(version)]
#[group(skip)]
pub struct Config {
    /// Where `/livez` and `/readyz` are served.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8084")]
    pub listen_addr: SocketAddr,
    #[command(flatten)]
    pub bus: bus::Config,
    #[command(flatten)]
    pub store: store::Config,
    #[command(flatten)]
    pub settings: runtime::settings::Args,
    #[command(flatten)]
    pub campaigns: Runner,
}

/// What is needed to work, without where the settings are and where the log is.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Runner {
    #[command(flatten)]
    pub whatsapp: whatsapp::client::Config,
    /// One replica sends at a time; another takes over when it was not heard of for so long.
    #[arg(long, env = "CAMPAIGN_LEASE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub campaign_lease: Duration,
    /// How often progress is kept: so much is counted again after a crash.
    #[arg(long, env = "CAMPAIGN_SAVE_EVERY", default_value = "2s", value_parser = humantime::parse_duration)]
    pub campaign_save_every: Duration,
    /// Whether all WhatsApp Business Accounts are in one business portfolio, whose messaging limit
    /// they share; else each has a limit of its own.
    #[arg(long, env = "ONE_PORTFOLIO", default_value_t = true, action = clap::ArgAction::Set)]
    pub one_portfolio: bool,
}
