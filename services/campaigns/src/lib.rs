//! Sends campaigns.
//!
//! One of the replicas works ([`lease`]). For every campaign that runs it asks for one recipient after
//! another, by appending a fact (`out`) into the conversation of the recipient's phone number; handoff
//! decides on it and egress sends it like anything else. The fact's subject is made of campaign and
//! recipient, so nobody is asked for twice, whoever crashes when. What became of each is counted from the
//! log ([`campaign::Progress`]).
//!
//! Whom to ask for next, and when, is decided without any I/O ([`planner`]). Live traffic goes first: a
//! number's turn is taken at the lowest priority before anything is appended.

mod check;
mod config;
mod lease;
mod limits;
mod metrics;
mod planner;
mod runner;
mod sender;
mod slot;
mod window;

use std::sync::Arc;

use anyhow::Context as _;
use bus::Log;
use campaign::Campaigns;
pub use config::{Config, Runner};
use domain::{Millis, derive::Keying};
use runtime::{health::Health, settings::Live};
use store::{Pacer, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{lease::Lease, metrics::Metrics, runner::Shared};

/// What time it is; moved in tests.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Millis + Send + Sync>);

impl Clock {
    pub fn new(now: impl Fn() -> Millis + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Millis {
        (self.0)()
    }
}

impl Default for Clock {
    /// This machine's.
    fn default() -> Self {
        Self::new(runtime::now)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// What it works with.
#[derive(Debug)]
pub struct Parts {
    pub log: Log,
    pub store: Store,
    pub settings: Live,
    pub keying: Keying,
    pub clock: Clock,
}

/// Works, or waits until the replica that does is gone, until `shutdown`.
///
/// # Errors
/// When the broker's buckets or the health endpoint cannot be had.
pub async fn run(
    config: Runner,
    listener: TcpListener,
    parts: Parts,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Parts { log, store, settings, keying, clock } = parts;
    let health = Health::new();
    let connected = health.condition("log");
    let whatsapp = whatsapp::Client::new(&config.whatsapp).context("set up the WhatsApp client")?;
    let campaigns = Campaigns::open(&log).await.context("open the campaigns")?;
    let lease = Lease::new(campaigns.clone(), config.campaign_lease);
    let pacer = Pacer::new(store);
    let shared = Shared {
        config,
        log: log.clone(),
        campaigns,
        whatsapp,
        settings,
        keying,
        pacer,
        clock,
        metrics: Metrics::new(),
    };
    let shared = Arc::new(shared);
    let work = async {
        while let Some(mut held) = shutdown.run_until_cancelled(lease.take()).await {
            tracing::info!("sending campaigns from here");
            let session = shutdown.child_token();
            let kept = async {
                tokio::select! {
                    () = lease.keep(&mut held, &session) => true,
                    // Ends by itself when the session is over.
                    () = session.cancelled() => false,
                }
            };
            let (lost, ()) = tokio::join!(kept, async {
                let _end = session.clone().drop_guard();
                runner::lead(&shared, &session).await;
            });
            if lost {
                tracing::warn!("the lease was lost: another replica sends campaigns now");
            } else {
                lease.give_up(held).await;
            }
        }
        Ok(())
    };
    let watch = async {
        let watch = async {
            loop {
                connected.set(log.is_connected());
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        };
        shutdown.run_until_cancelled(watch).await;
        Ok(())
    };
    let serve = async {
        runtime::serve_health(listener, health.clone(), shutdown.clone()).await.context("serve health")
    };
    tokio::try_join!(work, watch, serve).map(|_| ())
}
