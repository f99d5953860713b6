//! Moves settings between a file and the broker.
//!
//! ```text
//! settings import FILE    checks FILE, fills in what stands elsewhere, and keeps it in the broker
//! settings export FILE    writes what is kept there, secrets included, to a new FILE of mode 0600
//! settings changes        who changed what, newest first
//! ```
//!
//! Needs NATS_URL and MASTER_KEY. In the images: `baton settings import FILE`, which reads those
//! from files, too.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use configuration::{Change, Configuration};
use secrecy::SecretString;

/// Settings between a file and the broker.
#[derive(Debug, clap::Parser)]
#[command(version)]
struct Config {
    #[command(flatten)]
    bus: bus::Config,
    /// As the services have it.
    #[arg(long, env = "MASTER_KEY", hide_env_values = true)]
    master_key: SecretString,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Checks a settings file, fills in what stands elsewhere, and keeps it in the broker in the place
    /// of what is there.
    Import {
        file: PathBuf,
        /// Who is said to have done it.
        #[arg(long, default_value = "operator")]
        who: String,
    },
    /// Writes what is kept there, secrets included, to a new file that only its owner may read.
    Export { file: PathBuf },
    /// Prints who changed what, newest first.
    Changes {
        #[arg(long, default_value_t = 50)]
        most: usize,
    },
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a tool for people")]
async fn main() -> Result<()> {
    let Config { bus, master_key, command } = Config::parse();
    runtime::init_crypto();
    let log = bus::connect(&bus).await.context("connect to the broker")?;
    let configuration = Configuration::open(&log, &master_key).await?;
    match command {
        Command::Import { file, who } => {
            let value = runtime::settings::filled_in(&file)?;
            let based_on = configuration.current().await?.revision;
            let change = Change { who, what: "everything imported from a file".into() };
            let revision = configuration.save(value, based_on, change).await?;
            println!("kept as revision {revision}");
        }
        Command::Export { file } => {
            let kept = configuration.current().await?;
            let mut text = serde_json::to_string_pretty(&kept.value).context("write JSON")?;
            text.push('\n');
            let mut to = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file)
                .with_context(|| format!("make {}", file.display()))?;
            to.write_all(text.as_bytes()).with_context(|| format!("write {}", file.display()))?;
            println!("revision {} is in {}", kept.revision, file.display());
        }
        Command::Changes { most } => {
            for change in configuration.changes(most).await? {
                let at = jiff::Timestamp::from_millisecond(change.at)?;
                println!("{} {at} {}: {}", change.revision, change.who, change.what);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_well_formed() {
        super::Config::command().debug_assert();
    }
}
