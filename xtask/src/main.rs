//! `cargo xtask …`: the project's commands.

use anyhow::Result;
use clap::Parser;
use xtask::{demo::Demo, faults::Faults, log::Log, test, up::Up};

/// The project's commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Formatting, lints, every test.
    Test,
    /// Everything on free ports, with simulators of both APIs and a page to play with.
    Demo(Demo),
    /// The services for real credentials, without containers.
    Up(Up),
    /// Many conversations while everything is killed, paused and emptied in turn.
    Faults(Faults),
    /// The log's entries, decoded.
    Log(Log),
}

#[tokio::main]
async fn main() -> Result<()> {
    let command = Command::parse();
    runtime::init_crypto();
    match command {
        Command::Test => test::run().await,
        Command::Demo(demo) => demo.run().await,
        Command::Up(up) => up.run().await,
        Command::Faults(faults) => faults.run().await,
        Command::Log(log) => log.run().await,
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
