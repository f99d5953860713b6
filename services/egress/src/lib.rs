//! Follows Salesforce replies, sends them to WhatsApp.
//!
//! Three readers of the log, each with one lane a conversation. One performs what decisions ask to
//! send, through the send ledger ([`ledger`]); the other keeps the event streams of the threads up
//! that decisions say are to be followed ([`threads`]), and appends what they bring; the third
//! fetches customers' files ([`media`]). So a WhatsApp outage, which makes sends wait, keeps nobody
//! from being handed over to a person, and a large file delays nothing else.

mod config;
mod follower;
pub mod gap;
mod gate;
pub mod ledger;
mod mapping;
mod media;
mod metrics;
mod sender;
mod stream;
pub mod threads;
mod wake;
mod worker;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use anyhow::Context as _;
use bus::{Log, ReaderOptions};
pub use config::{Config, Egress};
use follower::Followers;
use media::Fetching;
use metrics::Metrics;
use proto::subjects::Kind;
use runtime::{health::Health, settings::Live};
use sender::{Files, Sender};
use store::{Pacer, Store};
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
    settings: Live,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    config.check()?;
    if !config.send_ledger {
        tracing::error!("the send ledger is off: customers will see messages twice. For control runs only");
    }
    let metrics = Metrics::new();
    let tasks = TaskTracker::new();
    let health = Health::new();
    let whatsapp = whatsapp::Client::new(&config.whatsapp).context("set up the WhatsApp client")?;
    let media = log.media().await.context("open the object store")?;
    let pacer = config.pace.then(|| Arc::new(Pacer::new(store.clone())));
    let sending = Sending {
        settings: settings.clone(),
        sender: Sender::new(
            log.clone(),
            whatsapp.clone(),
            config.send_grace,
            config.send_ledger,
            metrics.clone(),
            pacer.clone(),
            Files::new(media.clone(), settings.clone(), store.clone())
                .context("set up the client for reps' files")?,
        ),
    };
    let fetching = Fetching { settings: settings.clone(), log: log.clone(), whatsapp, media };
    let options = salesforce::Options { idle_max: config.stream_idle, ..salesforce::Options::default() };
    let tokens =
        Tokens::with_options(settings, store.clone(), options).context("set up the Salesforce clients")?;
    let followers = Followers::new(&config, log.clone(), store, tokens, metrics, tasks.clone());
    let followers = Arc::new(followers);
    let following = Following { log: log.clone(), followers: Arc::clone(&followers) };

    let (sends_ready, mut sends) = watch::channel(false);
    let (threads_ready, mut threads) = watch::channel(false);
    let (files_ready, mut files) = watch::channel(false);
    let (members, mut replicas) = watch::channel(1_usize);
    let condition = health.condition("log");
    let readiness = async {
        let both = async {
            sends.wait_for(|ready| *ready).await.is_ok()
                && threads.wait_for(|ready| *ready).await.is_ok()
                && files.wait_for(|ready| *ready).await.is_ok()
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
            let reader = reader.notify_members(members);
            reader.run(sending, shutdown.clone()).await.context("read what is to be sent")
        },
        async {
            let reader = read("egress-follow", &[Kind::Decision]).notify_ready(threads_ready);
            reader.run(following, shutdown.clone()).await.context("read what is to be followed")
        },
        async {
            let reader = read("egress-media", &[Kind::WhatsApp]).notify_ready(files_ready);
            reader.run(fetching, shutdown.clone()).await.context("read what files customers sent")
        },
        async {
            let served = runtime::serve_health(listener, health.clone(), shutdown.clone()).await;
            served.context("serve health")
        },
        async {
            wake::run(log.clone(), followers, shutdown.clone()).await;
            Ok(())
        },
        readiness,
        async {
            // Without the cache each replica takes its part of a number's throughput.
            let share = async {
                while replicas.changed().await.is_ok() {
                    let count = u32::try_from(*replicas.borrow_and_update()).ok().and_then(NonZeroU32::new);
                    if let (Some(count), Some(pacer)) = (count, &pacer) {
                        pacer.set_replicas(count);
                    }
                }
            };
            shutdown.run_until_cancelled(share).await;
            Ok(())
        },
    );
    tasks.close();
    if tokio::time::timeout(LAST_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("streams were still being closed when the grace period ended");
    }
    outcome.map(|_| ())
}
