//! All of Baton as processes, with real NATS, real Valkey and the simulators, judged from outside.
//! Each test runs a whole stack: run them one at a time (`cargo xtask test` does).
#![expect(clippy::unwrap_used, reason = "tests")]

mod assistant;
mod backup;
mod campaigns;
mod chat;
mod faults;
mod files;
mod handoff;
mod hooks;
mod inbound;
mod interleavings;
mod kinds;
mod leaks;
mod one_trace;
mod operators;
mod outbound;
mod outreach;
mod switches;
mod users;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks until there is something.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
