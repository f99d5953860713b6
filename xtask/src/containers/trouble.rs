//! What is done to containers while people write.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{PROJECT, Stack};

#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    /// SIGKILL from outside, as a crash: the restart policy brings it back.
    Kill(&'static str),
    /// SIGTERM and start, as in a rolling restart.
    Restart(&'static str),
    /// Off the network, and back.
    Cut(&'static str, Duration),
}

impl Trouble {
    pub(super) const ALL: [Self; 12] = [
        Self::Kill("handoff"),
        Self::Kill("egress"),
        Self::Kill("assistant"),
        Self::Kill("ingress"),
        Self::Restart("handoff"),
        Self::Restart("egress"),
        Self::Cut("handoff", Duration::from_secs(8)),
        Self::Cut("egress", Duration::from_secs(8)),
        Self::Cut("valkey", Duration::from_secs(4)),
        Self::Cut("nats", Duration::from_secs(6)),
        Self::Kill("valkey"),
        Self::Kill("nats"),
    ];

    pub(super) async fn make(self, stack: &Stack<'_>) -> Result<()> {
        let (Self::Kill(service) | Self::Restart(service) | Self::Cut(service, _)) = self;
        let containers = stack.containers(service).await?;
        let container = containers.first().context("no container of it runs")?;
        let docker = async |args: &[&str]| stack.engine.docker(args).await;
        match self {
            Self::Kill(_) => {
                let ask = ["inspect", "--format", "{{.State.Pid}}", container];
                let pid = docker(&ask).await?.trim().to_owned();
                ensure!(pid.parse::<u32>().is_ok_and(|pid| pid > 1), "it does not run");
                let status = tokio::process::Command::new("kill").args(["-9", &pid]).status().await?;
                ensure!(status.success(), "kill -9 {pid} failed");
            }
            Self::Restart(_) => drop(docker(&["restart", "--time", "20", container]).await?),
            Self::Cut(_, length) => {
                let network = format!("{PROJECT}_baton");
                docker(&["network", "disconnect", &network, container]).await?;
                tokio::time::sleep(length).await;
                docker(&["network", "connect", "--alias", service, &network, container]).await?;
            }
        }
        stack.healthy().await
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(service) => write!(f, "kill -9 {service}"),
            Self::Restart(service) => write!(f, "restart {service}"),
            Self::Cut(service, length) => {
                write!(f, "cut {service} off the network for {} s", length.as_secs())
            }
        }
    }
}
