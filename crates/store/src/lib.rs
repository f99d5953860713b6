//! Redis or Valkey: what is quicker to look up here than in the log, and hints that may be lost.
//!
//! Here, too, is what all replicas share: the contact directory ([`Store::find_or_create_contact`]),
//! the pace of sending ([`Pacer`]) and budgets ([`Store::spend`]); each decision is one atomic
//! script.
//!
//! Nothing here is a source of truth. Every call answers quickly or fails, and callers go on
//! without: states come from the log, contact ids derive from identity, tokens are minted anew.
//!
//! Keys hold no personal data: people are keyed digests (`domain::derive::Keying`). Secrets are
//! encrypted (AES-256-GCM-SIV) under a master key from the environment.

mod budget;
mod contacts;
mod index;
mod live;
mod lock;
mod pace;
mod seal;
mod sign_ins;
mod state;
mod tokens;
mod uploads;

use std::time::Duration;

pub use budget::{Budget, Shape, Taken};
pub use contacts::{Filed, Found, Moved, Person};
use domain::Millis;
pub use lock::Lock;
pub use pace::{Hold, LocalPace, PAIR_BURST, PAIR_EVERY, Pace, Paced, PacedBy, Pacer, Priority};
use redis::{
    Client, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
pub use seal::{BadMasterKey, Seal, Sealed};
use secrecy::{ExposeSecret as _, SecretString};
pub use sign_ins::{FLOW_LONGEST, SIGN_IN_IDLE, SIGN_IN_LONGEST, SignedIn};
pub use tokens::StoredToken;

#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Config {
    /// Redis or Valkey.
    #[arg(long, env = "REDIS_URL", default_value = "redis://127.0.0.1:6379", hide_env_values = true)]
    pub redis_url: SecretString,
    /// Before every key, so that several deployments can share a server.
    #[arg(long, env = "REDIS_PREFIX", default_value = "baton")]
    pub redis_prefix: String,
    /// Keys for encryption at rest: `id:base64 of 32 bytes`, several separated by commas. The
    /// first encrypts, all decrypt.
    #[arg(long, env = "MASTER_KEY", hide_env_values = true)]
    pub master_key: SecretString,
}

/// How long a call may take before the caller goes on without the cache.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long hot state, mappings and aliases stay without being touched.
pub(crate) const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}")]
    Redis {
        doing: &'static str,
        #[source]
        source: RedisError,
    },
    #[error("{0} in the cache is unreadable")]
    Malformed(&'static str),
    #[error("the cache did not answer in time")]
    Away,
    #[error(transparent)]
    MasterKey(#[from] BadMasterKey),
}

pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, RedisError> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Redis { doing, source })
    }
}

#[derive(Clone)]
pub struct Store {
    connection: ConnectionManager,
    prefix: String,
    seal: Seal,
    /// Tests only.
    clock: Option<Millis>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A script that begins by setting `now`, in milliseconds: the first argument ([`Store::clock_arg`]),
/// where that is empty the server's clock.
pub(crate) fn timed(body: &str) -> redis::Script {
    const NOW: &str = r"
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
";
    redis::Script::new(&[NOW, body].concat())
}

impl Store {
    /// Connects when first used, and again whenever the connection is lost: a service starts and
    /// works without the cache. Fails on a malformed address or master key only.
    pub fn connect(config: &Config) -> Result<Self, Error> {
        let seal = Seal::new(&config.master_key)?;
        let client = Client::open(config.redis_url.expose_secret()).doing("parse REDIS_URL")?;
        let settings = ConnectionManagerConfig::new()
            .set_response_timeout(Some(PATIENCE))
            .set_connection_timeout(Some(PATIENCE))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(200));
        let connection = ConnectionManager::new_lazy_with_config(client, settings)
            .doing("set up the cache's connection")?;
        Ok(Self { connection, prefix: config.redis_prefix.clone(), seal, clock: None })
    }

    /// For tests: the same store, whose budgets, pace, sign-ins and contacts believe that it is `now`.
    #[doc(hidden)]
    #[must_use]
    pub fn with_clock_at(&self, now: Millis) -> Self {
        Self { clock: Some(now), ..self.clone() }
    }

    /// What scripts take for the time: empty is the server's.
    pub(crate) fn clock_arg(&self) -> String {
        self.clock.map_or_else(String::new, |now| now.to_string())
    }

    pub(crate) fn key(&self, kind: &str, id: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{id}", self.prefix)
    }

    pub(crate) fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
