//! Follows Salesforce replies, sends them to WhatsApp.
//!
//! Two readers of the log, each with one lane a conversation. One performs what decisions ask to
//! send, through the send ledger ([`ledger`]); the other keeps the event streams of the threads up
//! that decisions say are to be followed ([`threads`]), and appends what they bring. So a WhatsApp
//! outage, which makes sends wait, keeps nobody from being handed over to a person.

mod config;
mod follower;
pub mod gap;
mod gate;
pub mod ledger;
mod mapping;
mod metrics;
mod sender;
mod stream;
pub mod threads;
mod worker;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bus::{Log, ReaderOptions};
pub use config::{Config, Egress};
use domain::settings::Settings;
use follower::Followers;
use metrics::Metrics;
use proto::subjects::Kind;
use runtime::health::Health;
use sender::Sender;
use store::Store;
use tokens::Tokens;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use worker::{Following, Sending};

/// After the readers have handed over: for streams that are being closed.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Works until `shutdown`, then finishes what it has begun and hands its partitions over.
pub async fn run(
    config: Egress,
    listener: TcpListener,
    log: Log,
    store: Store,
    settings: Settings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    if !config.send_ledger {
        tracing::error!("the send ledger is off: customers will see messages twice. For control runs only");
    }
    let settings = Arc::new(settings);
    let metrics = Metrics::new();
    let tasks = TaskTracker::new();
    let health = Health::new();
    let whatsapp = whatsapp::Client::new(&config.whatsapp).context("set up the WhatsApp client")?;
    let sending = Sending {
        settings: Arc::clone(&settings),
        sender: Sender::new(log.clone(), whatsapp, config.send_grace, config.send_ledger, metrics.clone()),
    };
    let options = salesforce::Options { idle_max: config.stream_idle, ..salesforce::Options::default() };
    let tokens =
        Tokens::with_options(&settings, store.clone(), options).context("set up the Salesforce clients")?;
    let followers = Followers::new(&config, log.clone(), store, tokens, metrics, tasks.clone());
    let following = Following { log: log.clone(), followers: Arc::new(followers) };

    let (sends_ready, mut sends) = watch::channel(false);
    let (threads_ready, mut threads) = watch::channel(false);
    let condition = health.condition("log");
    let readiness = async {
        let both = async {
            sends.wait_for(|ready| *ready).await.is_ok() && threads.wait_for(|ready| *ready).await.is_ok()
        };
        let watch = async {
            if !both.await {
                return;
            }
            loop {
                condition.set(log.is_connected());
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        shutdown.run_until_cancelled(watch).await;
        Ok(())
    };
    let read = |service, kinds| log.reader(service, kinds, ReaderOptions::default());
    let outcome = tokio::try_join!(
        async {
            let reader = read("egress", &[Kind::Decision, Kind::Status]).notify_ready(sends_ready);
            reader.run(sending, shutdown.clone()).await.context("read what is to be sent")
        },
        async {
            let reader = read("egress-follow", &[Kind::Decision]).notify_ready(threads_ready);
            reader.run(following, shutdown.clone()).await.context("read what is to be followed")
        },
        async {
            let served = runtime::serve_health(listener, health.clone(), shutdown.clone()).await;
            served.context("serve health")
        },
        readiness,
    );
    tasks.close();
    if tokio::time::timeout(LAST_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("streams were still being closed when the grace period ended");
    }
    outcome.map(|_| ())
}
