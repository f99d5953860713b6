use std::{sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, ServerAddr,
    jetstream::{self, context::ContextBuilder},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;

use crate::Error;

#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Config {
    /// NATS servers, several separated by commas. Credentials may stand in the address
    /// (`nats://token@host` or `nats://user:password@host`).
    #[arg(long, env = "NATS_URL", default_value = "nats://127.0.0.1:4222", hide_env_values = true)]
    pub nats_url: SecretString,
    /// Copies of every stream: 3 in production, 1 on a single node.
    #[arg(long, env = "NATS_REPLICAS", default_value_t = 1)]
    pub nats_replicas: usize,
    /// How long the log keeps entries: at least as long as Meta may repeat a webhook (7 days).
    #[arg(long, env = "LOG_HORIZON", default_value = "7d", value_parser = humantime::parse_duration)]
    pub log_horizon: Duration,
    /// Facts a second that the log must hold over its horizon; with 260 bytes of broker memory each
    /// they must fit into LOG_MEMORY_MIB.
    #[arg(long, env = "LOG_RATE", default_value_t = 10)]
    pub log_rate: u32,
    /// Broker memory that the log's subjects may take, in MiB.
    #[arg(long, env = "LOG_MEMORY_MIB", default_value_t = 4096)]
    pub log_memory_mib: u64,
    /// How long files that people sent are kept.
    #[arg(long, env = "MEDIA_KEEP", default_value = "30d", value_parser = humantime::parse_duration)]
    pub media_keep: Duration,
    /// How long to wait for the broker at start-up.
    #[arg(long, env = "NATS_PATIENCE", default_value = "60s", value_parser = humantime::parse_duration)]
    pub nats_patience: Duration,
    /// Monitoring addresses of the brokers (`host:port`, several separated by commas). With them,
    /// start-up checks that the brokers sync to disk before they acknowledge (`sync_interval:
    /// always`), which no client can ask over NATS itself. Set it in production.
    #[arg(long, env = "NATS_MONITORING", value_delimiter = ',')]
    pub nats_monitoring: Vec<String>,
    /// For control runs of the fault test only: switches safeguards off (`append-once`,
    /// `decision-chain`, `lease`, `send-ledger`), so that the checker can show that it notices.
    #[arg(long, env = "BATON_UNSAFE_DISABLE", value_delimiter = ',', hide = true)]
    pub unsafe_disable: Vec<String>,
}

impl Config {
    /// For tests and tools: one server, defaults otherwise.
    pub fn at(url: &str) -> Self {
        Self {
            nats_url: url.into(),
            nats_replicas: 1,
            log_horizon: Duration::from_secs(7 * 24 * 3600),
            log_rate: 10,
            log_memory_mib: 4096,
            media_keep: crate::media::DEFAULT_KEEP,
            nats_patience: Duration::from_secs(60),
            nats_monitoring: Vec::new(),
            unsafe_disable: Vec::new(),
        }
    }

    pub(crate) fn disabled(&self, safeguard: &str) -> bool {
        let disabled = self.unsafe_disable.iter().any(|name| name == safeguard);
        if disabled {
            tracing::error!(safeguard, "a safeguard is switched off: control runs only");
        }
        disabled
    }
}

/// A connection and what hangs on it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) context: jetstream::Context,
    /// Counts reconnects: whoever holds a consumer makes a new one when it changes.
    pub(crate) generation: watch::Receiver<u64>,
}

/// With the credentials that stand in an address, which the client library leaves unused. A user
/// hears its own inboxes only (deploy/nats/users.conf), so that no service can listen to the answers
/// another one gets.
fn sign_in(options: ConnectOptions, address: &ServerAddr) -> ConnectOptions {
    match (address.username(), address.password()) {
        (Some(user), Some(password)) => options
            .user_and_password(user.to_owned(), password.to_owned())
            .custom_inbox_prefix(format!("_INBOX_{user}")),
        (Some(token), None) => options.token(token.to_owned()),
        (None, _) => options,
    }
}

pub(crate) async fn connect(config: &Config) -> Result<Connection, Error> {
    let addresses = config
        .nats_url
        .expose_secret()
        .split(',')
        .map(|address| address.trim().parse::<ServerAddr>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Error::Config("NATS_URL is not a list of NATS addresses".into()))?;
    let (generation, mut watcher) = watch::channel(0u64);
    let generation = Arc::new(generation);
    let options = ConnectOptions::new()
        // A half-open connection is noticed at the third ping, in 4.5 s, not in minutes.
        .ping_interval(Duration::from_millis(1500))
        .connection_timeout(Duration::from_secs(2))
        .request_timeout(Some(Duration::from_secs(2)))
        // The library's own backoff grows to 4 s, which alone would break the goal of 5 s.
        .reconnect_delay_callback(|attempts| {
            if attempts < 2 {
                Duration::from_millis(20)
            } else {
                Duration::from_millis(100 + fastrand::u64(0..150))
            }
        })
        .max_reconnects(None)
        .subscription_capacity(64 * 1024)
        .event_callback(move |event| {
            let generation = Arc::clone(&generation);
            async move {
                match event {
                    Event::Connected => generation.send_modify(|count| *count += 1),
                    Event::Disconnected => tracing::warn!("connection to NATS lost"),
                    Event::SlowConsumer(_) => tracing::warn!("NATS client is a slow consumer"),
                    Event::Closed
                    | Event::Draining
                    | Event::LameDuckMode
                    | Event::ServerError(_)
                    | Event::ClientError(_) => {}
                }
            }
        });
    let options = addresses.iter().fold(options, sign_in);
    let started = tokio::time::Instant::now();
    let client = loop {
        match options.clone().connect(addresses.clone()).await {
            Ok(client) => break client,
            Err(e) if started.elapsed() < config.nats_patience => {
                tracing::info!(error = %e, "NATS is not there yet");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(e) => return Err(Error::Broker { doing: "connect to NATS", source: e.into() }),
        }
    };
    // The first connection is no reconnection.
    let _ = tokio::time::timeout(Duration::from_secs(1), watcher.changed()).await;
    let context = ContextBuilder::new()
        .timeout(Duration::from_secs(2))
        // An ack that takes longer is asked for again under the same subject.
        .ack_timeout(Duration::from_secs(2))
        .max_ack_inflight(4096)
        .build(client.clone());
    Ok(Connection { client, context, generation: watcher })
}
