//! When a message may go: the paces that WhatsApp allows, and what it told us to wait for.

use std::time::Duration;

use bus::Failure;
use domain::{PhoneNumberId, session::Origin};
use runtime::fields;
use store::{Hold, Pace, Paced, Priority};
use tokio::time::Instant;

use super::{Job, Sender};
use crate::{
    gate::Scope,
    ledger::{self, Later},
};

/// Before asking again whether WhatsApp takes messages.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A turn that is further away than this is not waited for in the lane.
const PATIENCE: Duration = Duration::from_secs(45);

impl Sender {
    /// Waits for the number's and the customer's turn, over all replicas.
    pub(super) async fn pace(&self, job: &Job<'_>) -> Result<(), Failure> {
        let pace = Pace {
            number: &job.state.number,
            per_second: job.channel.messages_per_second,
            pair: job.key,
            priority: match job.send.origin {
                Origin::Rep | Origin::Bot => Priority::Rep,
                Origin::Assistant => Priority::Assistant,
                Origin::Notice => Priority::Notice,
                Origin::Campaign => Priority::Campaign,
            },
        };
        let Some(pacer) = &self.pacer else { return Ok(()) };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (wait, by) = match pacer.pace(&pace).await {
                Paced::Go => return Ok(()),
                Paced::Wait(wait, by) => (wait, by),
            };
            self.metrics.paced(by);
            // Not all at once when it is their turn.
            let wait = wait + wait.min(Duration::from_millis(200)).mul_f64(fastrand::f64());
            if Instant::now() + wait > deadline {
                return Err(Failure::after(
                    wait,
                    "waiting for its turn: WhatsApp's rate for the customer or the number",
                ));
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = job.lease.cancelled() => return Err(Failure::soon("the lease was lost while waiting for a turn")),
            }
        }
    }

    /// Whether WhatsApp takes messages of the number, as far as is known.
    pub(super) fn pass(&self, number: &PhoneNumberId) -> Result<(), Failure> {
        self.gates.enter(number, Instant::now()).map_err(|wait| {
            // Not all at once when it opens.
            let wait = wait.min(LONGEST_PAUSE).mul_f64(1.0 + fastrand::f64() / 2.0);
            Failure::after(wait, "waiting until WhatsApp takes messages again")
        })
    }

    /// What it told us holds for what comes after, too.
    pub(super) async fn hold_back(&self, job: &Job<'_>, why: Later, rest: Option<Duration>) {
        let number = &job.state.number;
        // What one replica was told holds for all of them.
        let hold = match why {
            Later::Paced => Some(Hold::Number(number)),
            Later::PairPaced => Some(Hold::Pair(job.key)),
            Later::Unreachable | Later::Config | Later::Operator | Later::Transient => None,
        };
        if let (Some(hold), Some(rest), Some(pacer)) = (hold, rest, &self.pacer)
            && let Err(error) = pacer.block(hold, rest).await
        {
            tracing::debug!(
                { fields::ERROR } = runtime::error_chain(&error),
                "other replicas were not told to slow down"
            );
        }
        let (now, jitter) = (Instant::now(), fastrand::f64());
        match why {
            Later::Unreachable => self.gates.close(Scope::All, rest, now, jitter),
            Later::Paced => self.gates.close(Scope::Number(number.clone()), rest, now, jitter),
            Later::Config => self.gates.stop(number, rest.unwrap_or(ledger::CONFIG_REST), now, jitter),
            // It talks to us: only this one has to wait.
            Later::PairPaced | Later::Operator | Later::Transient => self.gates.open(number),
        }
    }
}

pub(super) fn later(why: Later, rest: Option<Duration>) -> Failure {
    let reason = match why {
        Later::Unreachable => "WhatsApp cannot be reached",
        Later::PairPaced | Later::Paced => "WhatsApp asks to slow down",
        Later::Config => "WhatsApp refuses the token, the account or the number",
        Later::Operator => "WhatsApp does not let it through until an operator has acted",
        Later::Transient => "WhatsApp refuses for now",
    };
    rest.map_or_else(|| Failure::soon(reason), |rest| Failure::after(rest, reason))
}
