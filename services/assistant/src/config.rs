use std::net::SocketAddr;

use runtime::settings::Source;

/// Answers customers while no human does.
#[derive(Debug, Clone, clap::Parser)]
#[command(version)]
#[group(skip)]
pub struct Config {
    /// Where `/livez` and `/readyz` are served.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8082")]
    pub listen_addr: SocketAddr,
    #[command(flatten)]
    pub bus: bus::Config,
    /// The settings file (`faq`, and how each channel answers), or `broker`: the settings that are
    /// kept in the broker, followed without a restart.
    #[arg(long = "settings", env = "BATON_SETTINGS", value_name = "PATH")]
    pub source: Source,
    #[command(flatten)]
    pub opens: configuration::Args,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_well_formed() {
        Config::command().debug_assert();
    }
}
