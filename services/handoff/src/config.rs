use std::net::SocketAddr;

/// Decides; opens Salesforce conversations and forwards the customer's messages.
#[derive(Debug, Clone, clap::Parser)]
#[command(version)]
pub struct Config {
    /// Where `/livez` and `/readyz` are served.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8081")]
    pub listen_addr: SocketAddr,
    #[command(flatten)]
    pub bus: bus::Config,
    #[command(flatten)]
    pub store: store::Config,
    #[command(flatten)]
    pub settings: runtime::settings::Args,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_well_formed() {
        super::Config::command().debug_assert();
    }
}
