//! The brokers under test: one, or a cluster of three that syncs always, as in production.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use devstack::{Nats, Process, free_port, nats_server, wait_for_port};
use tempfile::TempDir;

pub(crate) enum Brokers {
    One(Box<Nats>),
    Three(Cluster),
}

pub(crate) struct Cluster {
    dir: TempDir,
    ports: Vec<(u16, u16)>,
    nodes: Vec<Option<Process>>,
    /// Killed last.
    victim: usize,
}

impl Brokers {
    pub(crate) async fn start(three: bool) -> Result<Self> {
        if !three {
            return Ok(Self::One(Box::new(Nats::start().await?)));
        }
        let ports = (0..3).map(|_| Ok((free_port()?, free_port()?))).collect::<Result<Vec<_>>>()?;
        let mut cluster =
            Cluster { dir: tempfile::tempdir()?, ports, nodes: vec![None, None, None], victim: 0 };
        for n in 0..3 {
            cluster.spawn(n).await?;
        }
        Ok(Self::Three(cluster))
    }

    /// All addresses, separated by commas.
    pub(crate) fn urls(&self) -> String {
        match self {
            Self::One(nats) => nats.url(),
            Self::Three(cluster) => {
                let urls: Vec<_> =
                    cluster.ports.iter().map(|(port, _)| format!("nats://127.0.0.1:{port}")).collect();
                urls.join(",")
            }
        }
    }

    pub(crate) fn replicas(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Three(_) => 3,
        }
    }

    /// Whom the next fault hits: in a cluster the one that leads the log.
    pub(crate) async fn aim(&mut self) -> Result<()> {
        if let Self::Three(cluster) = self {
            cluster.victim = cluster.leader().await?;
        }
        Ok(())
    }

    /// The one after the last.
    pub(crate) fn aim_at_next(&mut self) {
        if let Self::Three(cluster) = self {
            cluster.victim = (cluster.victim + 1) % 3;
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        match self {
            Self::One(nats) => nats.kill().await,
            Self::Three(cluster) => match cluster.nodes[cluster.victim].take() {
                Some(process) => process.kill().await,
                None => Ok(()),
            },
        }
    }

    /// SIGTERM: a member of a cluster hands its leaderships over before it goes.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        match self {
            Self::One(nats) => {
                nats.signal("TERM")?;
                nats.kill().await
            }
            Self::Three(cluster) => match cluster.nodes[cluster.victim].take() {
                Some(process) => process.stop().await.map(|_| ()),
                None => Ok(()),
            },
        }
    }

    pub(crate) async fn restart(&mut self) -> Result<()> {
        match self {
            Self::One(nats) => nats.restart().await,
            Self::Three(cluster) => cluster.spawn(cluster.victim).await,
        }
    }
}

impl Cluster {
    async fn leader(&self) -> Result<usize> {
        let addresses = self.ports.iter().map(|(port, _)| format!("nats://127.0.0.1:{port}"));
        let context = async_nats::jetstream::new(async_nats::connect(addresses.collect::<Vec<_>>()).await?);
        loop {
            if let Ok(stream) = context.get_stream("CONVERSATIONS").await
                && let Some(cluster) = &stream.cached_info().cluster
                && let Some(leader) = &cluster.leader
            {
                return leader.trim_start_matches('n').parse().context("not one of ours");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn spawn(&mut self, n: usize) -> Result<()> {
        let (port, route) = self.ports[n];
        let routes: Vec<_> =
            self.ports.iter().map(|(_, route)| format!("nats-route://127.0.0.1:{route}")).collect();
        let dir: PathBuf = self.dir.path().join(n.to_string());
        std::fs::create_dir_all(&dir)?;
        let config = format!(
            "host: 127.0.0.1\nport: {port}\nserver_name: n{n}\nping_interval: \"5s\"\nping_max: 2\n\
             jetstream {{\n  store_dir: \"{}\"\n  sync_interval: always\n  max_file: 4G\n  max_mem: 256M\n}}\n\
             cluster {{\n  name: recovery\n  listen: \"127.0.0.1:{route}\"\n  routes: [{}]\n}}\n",
            dir.display(),
            routes.join(", "),
        );
        let path = dir.join("nats.conf");
        std::fs::write(&path, config)?;
        let args = ["-c".into(), path.display().to_string()];
        self.nodes[n] =
            Some(Process::spawn("nats", &nats_server().await?, &args, &[], Some(&dir.join("log")))?);
        wait_for_port(port, Duration::from_secs(20)).await
    }
}
