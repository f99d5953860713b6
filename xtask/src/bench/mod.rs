//! `cargo xtask bench NAME`: measures a part of Baton beside what it could be at best.

pub mod campaign;
pub mod egress;
mod figures;
mod graph;
pub mod ingress;
mod load;
mod payload;
mod process;
mod release;
pub mod server;
pub mod streams;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ingress beside a bare handler and a minimal one.
    Ingress(ingress::Args),
    /// Egress beside a bare loop that reads JetStream and POSTs.
    Egress(egress::Args),
    /// Egress with many live threads, and what happens when it is killed.
    Streams(streams::Args),
    /// Live conversations with a campaign beside them and without.
    Campaign(campaign::Args),
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ingress(args) => ingress::run(args).await,
        Command::Egress(args) => egress::run(args).await,
        Command::Streams(args) => streams::run(args).await,
        Command::Campaign(args) => campaign::run(args).await,
    }
}
