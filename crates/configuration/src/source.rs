use anyhow::Context as _;
use bus::Log;
use runtime::settings::{Live, Source};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::Configuration;

/// For services that need MASTER_KEY for nothing else.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Opens the settings where they are kept in the broker (BATON_SETTINGS is `broker`); needed
    /// there only.
    #[arg(long, env = "MASTER_KEY", hide_env_values = true)]
    pub master_key: Option<SecretString>,
}

/// The settings: of a file as they are now, of the broker as they change until `shutdown`.
///
/// # Errors
/// When they cannot be read or used; when the broker's are asked for without a key.
pub async fn settings(
    source: &Source,
    log: &Log,
    master_key: Option<&SecretString>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Live> {
    match source {
        Source::File(path) => Ok(Live::fixed(runtime::settings::load(path)?)),
        Source::Broker => {
            let master_key =
                master_key.context("BATON_SETTINGS is `broker`: MASTER_KEY is needed to open them")?;
            let configuration = Configuration::open(log, master_key).await?;
            Ok(configuration.live(shutdown.clone()).await?)
        }
    }
}
