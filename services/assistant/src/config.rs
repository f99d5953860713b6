use std::{net::SocketAddr, path::PathBuf};

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
    /// The settings file: `faq`, and how each channel answers.
    #[arg(long = "settings", env = "BATON_SETTINGS", value_name = "PATH")]
    pub settings_path: PathBuf,
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
