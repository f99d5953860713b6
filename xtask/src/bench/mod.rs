//! `cargo xtask bench NAME`: measures a part of Baton beside what it could be at best.

pub mod ingress;
mod load;
mod payload;
mod process;
pub mod server;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ingress beside a bare handler and a minimal one.
    Ingress(ingress::Args),
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ingress(args) => ingress::run(args).await,
    }
}
