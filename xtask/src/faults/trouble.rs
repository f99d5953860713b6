//! What can happen to a deployment.

use std::{fmt, time::Duration};

use anyhow::Result;

use crate::stack::{SERVICES, Stack};

/// The order of an upgrade.
const UPGRADE: [&str; 6] = ["egress", "handoff", "assistant", "campaigns", "console", "ingress"];

/// One fault. Making it takes as long as the fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// SIGKILL to a replica, which is then started again.
    Kill {
        service: &'static str,
        replica: usize,
    },
    /// SIGTERM to a replica, which leaves by itself and is started again: one step of an upgrade.
    Restart {
        service: &'static str,
        replica: usize,
    },
    /// SIGSTOP to a replica, SIGCONT after a while.
    Pause {
        service: &'static str,
        replica: usize,
        seconds: u64,
    },
    /// Held up and let go ten times a second: whatever takes two steps is caught between them.
    Stutter {
        service: &'static str,
        replica: usize,
        seconds: u64,
    },
    KillNats {
        down_ms: u64,
    },
    KillValkey {
        down_ms: u64,
    },
    /// Valkey comes back without its data.
    EmptyValkey,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { service, replica } => write!(f, "kill -9 {service}-{replica}"),
            Self::Restart { service, replica } => write!(f, "restart {service}-{replica}"),
            Self::Pause { service, replica, seconds } => {
                write!(f, "pause {service}-{replica} for {seconds} s")
            }
            Self::Stutter { service, replica, seconds } => {
                write!(f, "stutter {service}-{replica} for {seconds} s")
            }
            Self::KillNats { down_ms } => write!(f, "kill -9 nats-server for {down_ms} ms"),
            Self::KillValkey { down_ms } => write!(f, "kill -9 Valkey for {down_ms} ms"),
            Self::EmptyValkey => write!(f, "kill -9 Valkey and empty it"),
        }
    }
}

impl Trouble {
    /// Each service killed and paused, broker and cache killed, the cache emptied.
    pub fn each_once() -> Vec<Self> {
        let mut all = Vec::new();
        for (n, service) in SERVICES.into_iter().enumerate() {
            // Webhooks go to the first replica of ingress; the others share their work.
            let [kill, pause] = if service == "ingress" { [0, 0] } else { [n % 2, (n + 1) % 2] };
            all.push(Self::Kill { service, replica: kill });
            all.push(Self::Pause { service, replica: pause, seconds: 10 });
        }
        all.extend([Self::KillNats { down_ms: 500 }, Self::KillValkey { down_ms: 1000 }, Self::EmptyValkey]);
        all
    }

    /// An upgrade as docs/operations.md has it: one replica at a time, in that order.
    pub fn rolling(replicas: usize) -> Vec<Self> {
        let steps =
            UPGRADE.into_iter().flat_map(|service| (0..replicas).map(move |replica| (service, replica)));
        steps.map(|(service, replica)| Self::Restart { service, replica }).collect()
    }

    /// For about `time`, the same for the same seed.
    pub fn at_random(seed: u64, time: Duration) -> Vec<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut all = Vec::new();
        let mut planned = Duration::ZERO;
        while planned < time {
            let service = *random.choice(SERVICES.iter()).unwrap_or(&"handoff");
            let replica = random.usize(0..2);
            let trouble = match random.u8(0..10) {
                0..4 => Self::Kill { service, replica },
                4..7 => Self::Pause { service, replica, seconds: random.u64(1..12) },
                7 => Self::KillNats { down_ms: random.u64(0..4000) },
                8 => Self::KillValkey { down_ms: random.u64(0..4000) },
                _ => Self::EmptyValkey,
            };
            // What it takes to make it and to get over it, roughly.
            planned += Duration::from_secs(match trouble {
                Self::Pause { seconds, .. } | Self::Stutter { seconds, .. } => seconds + 3,
                Self::Kill { .. }
                | Self::Restart { .. }
                | Self::KillNats { .. }
                | Self::KillValkey { .. }
                | Self::EmptyValkey => 5,
            });
            all.push(trouble);
        }
        all
    }

    pub(super) async fn make(self, stack: &mut Stack) -> Result<()> {
        match self {
            Self::Kill { service, replica } => stack.restart(service, replica).await,
            Self::Restart { service, replica } => {
                stack.service(service, replica).stop().await?;
                stack.restart(service, replica).await?;
                stack.ready().await
            }
            Self::Pause { service, replica, seconds } => {
                stack.service(service, replica).signal("STOP")?;
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                stack.service(service, replica).signal("CONT")
            }
            Self::Stutter { service, replica, seconds } => {
                for _ in 0..seconds * 10 {
                    for signal in ["STOP", "CONT"] {
                        stack.service(service, replica).signal(signal)?;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                Ok(())
            }
            Self::KillNats { down_ms } => {
                stack.nats.kill().await?;
                tokio::time::sleep(Duration::from_millis(down_ms)).await;
                stack.nats.restart().await
            }
            Self::KillValkey { down_ms } => {
                stack.valkey.kill().await?;
                tokio::time::sleep(Duration::from_millis(down_ms)).await;
                stack.valkey.restart().await
            }
            Self::EmptyValkey => stack.valkey.restart_empty().await,
        }
    }
}
