//! `cargo xtask …`: the project's commands.

use anyhow::Result;
use clap::Parser;
use xtask::{
    bench::{self, server},
    config_reference,
    containers::Containers,
    demo::{Demo, Playground},
    faults::Faults,
    keypair::Keys,
    log::Log,
    test,
    up::Up,
};

/// The project's commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Formatting, lints, every test.
    Test,
    /// Everything on free ports, with simulators of both APIs and a page to play with.
    Demo(Demo),
    /// The demo's page alone, for simulators that run elsewhere.
    Playground(Playground),
    /// Builds the images, runs the compose stack with simulators, breaks it under load and judges.
    Containers(Containers),
    /// Writes docs/configuration.md: every variable of every service, from the code.
    ConfigReference,
    /// A key pair for a Salesforce integration, with the JWK that Salesforce wants.
    Keys(Keys),
    /// The services for real credentials, without containers.
    Up(Up),
    /// Many conversations while everything is killed, paused and emptied in turn.
    Faults(Faults),
    /// The log's entries, decoded.
    Log(Log),
    /// Measures a part of Baton beside what it could be at best; build with --release.
    #[command(subcommand)]
    Bench(bench::Command),
    /// What a bench measures against.
    #[command(hide = true)]
    BenchServer(server::Args),
}

#[tokio::main]
async fn main() -> Result<()> {
    let command = Command::parse();
    runtime::init_crypto();
    match command {
        Command::Test => test::run().await,
        Command::Demo(demo) => demo.run().await,
        Command::Playground(playground) => playground.run().await,
        Command::Containers(containers) => containers.run().await,
        Command::ConfigReference => config_reference::write(),
        Command::Keys(keys) => keys.run(),
        Command::Up(up) => up.run().await,
        Command::Faults(faults) => faults.run().await,
        Command::Log(log) => log.run().await,
        Command::Bench(bench) => bench::run(bench).await,
        Command::BenchServer(args) => server::run(args).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn commands_are_well_formed() {
        super::Command::command().debug_assert();
    }
}
