//! Who sends: one replica at a time. A claim that is not renewed lapses by the others' own clocks, as
//! everywhere else (`crates/bus`, membership). Two at once would be harmless: what is asked for is a fact
//! with an identity of its own.

use std::time::Duration;

use campaign::Campaigns;
use domain::Seq;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const NAME: &str = "lease";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    /// Empty: given up.
    owner: u64,
    /// It only has to change.
    beat: u64,
}

#[derive(Debug)]
pub(crate) struct Lease {
    campaigns: Campaigns,
    ttl: Duration,
    me: u64,
}

/// Held until it is lost or given up.
#[derive(Debug)]
pub(crate) struct Held {
    revision: Seq,
    beat: u64,
}

impl Lease {
    pub(crate) fn new(campaigns: Campaigns, ttl: Duration) -> Self {
        Self { campaigns, ttl, me: fastrand::u64(1..) }
    }

    fn pause(&self) -> Duration {
        self.ttl / 4
    }

    /// Waits until nobody else has it.
    pub(crate) async fn take(&self) -> Held {
        let mut known: Option<(Seq, Instant)> = None;
        loop {
            match self.campaigns.note::<Claim>(NAME).await {
                Ok(found) => {
                    let (claim, revision) = found.unwrap_or_default();
                    let since = match known {
                        Some((before, since)) if before == revision => since,
                        Some(_) | None => Instant::now(),
                    };
                    known = Some((revision, since));
                    if (claim.owner == 0 || since.elapsed() >= self.ttl)
                        && let Some(held) = self.claim(revision, claim.beat + 1).await
                    {
                        return held;
                    }
                }
                Err(error) => tracing::debug!(error = runtime::error_chain(&error), "the lease was not read"),
            }
            sleep(self.pause().min(Duration::from_secs(1))).await;
        }
    }

    async fn claim(&self, expected: Seq, beat: u64) -> Option<Held> {
        let claim = Claim { owner: self.me, beat };
        match self.campaigns.set_note(NAME, &claim, expected).await {
            Ok(Some(revision)) => Some(Held { revision, beat }),
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(error = runtime::error_chain(&error), "the lease was not taken");
                None
            }
        }
    }

    /// Keeps it, and cancels `work` when it is lost: before anybody else can have it.
    pub(crate) async fn keep(&self, held: &mut Held, work: &CancellationToken) {
        let mut renewed = Instant::now();
        let _lost = work.clone().drop_guard();
        loop {
            sleep(self.pause()).await;
            let asked = Instant::now();
            let left = (self.ttl * 2 / 3).saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.claim(held.revision, held.beat + 1)).await {
                Ok(Some(next)) => {
                    *held = next;
                    renewed = asked;
                }
                Ok(None) | Err(_) => {
                    let by_now = self.campaigns.note::<Claim>(NAME).await;
                    let mine = match &by_now {
                        Ok(Some((claim, revision))) if claim.owner == self.me => {
                            Some((claim.beat, *revision))
                        }
                        Ok(_) | Err(_) => None,
                    };
                    match mine {
                        // The answer was lost.
                        Some((beat, revision))
                            if revision > held.revision && renewed.elapsed() < self.ttl * 2 / 3 =>
                        {
                            *held = Held { revision, beat };
                            renewed = asked;
                        }
                        _ if by_now.is_ok() && mine.is_none() => return,
                        Some(_) | None if renewed.elapsed() >= self.ttl * 2 / 3 => return,
                        Some(_) | None => {}
                    }
                }
            }
        }
    }

    /// Others need not wait.
    pub(crate) async fn give_up(&self, held: Held) {
        let claim = Claim { owner: 0, beat: held.beat + 1 };
        if let Err(error) = self.campaigns.set_note(NAME, &claim, held.revision).await {
            tracing::debug!(error = runtime::error_chain(&error), "the lease lapses by itself");
        }
    }
}
