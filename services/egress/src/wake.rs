//! The second wake-up beside the event streams: ingress was told by Salesforce that a conversation has
//! something new, and tells every egress; the one that follows it looks.

use std::{sync::Arc, time::Duration};

use bus::Log;
use runtime::error_chain;
use tokio_util::sync::CancellationToken;

use crate::follower::Followers;

/// After the broker did not let us listen.
const AGAIN: Duration = Duration::from_secs(1);

/// Until `shutdown`. Without it, events come by the streams alone.
pub(crate) async fn run(log: Log, followers: Arc<Followers>, shutdown: CancellationToken) {
    let listen = async {
        loop {
            match log.wakes().await {
                Ok(mut wakes) => {
                    while let Some(wake) = wakes.next().await {
                        if followers.wake(&wake.thread) {
                            wakes.taken(wake).await;
                        }
                    }
                }
                Err(error) => tracing::warn!(error = error_chain(&error), "not listening for wake-ups"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    shutdown.run_until_cancelled(listen).await;
}
