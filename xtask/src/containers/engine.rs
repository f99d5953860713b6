//! A Docker Engine to work with: the one that runs, else one of our own, from Debian's packages
//! where there is none.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use devstack::Process;
use tokio::{process::Command, time::Instant};

use crate::say;

/// The engine, compose, and what images are made of beside our own programs.
const PACKAGES: [&str; 4] = ["docker.io", "docker-compose", "iptables", "busybox-static"];
/// Building and starting included.
const LONGEST: Duration = Duration::from_secs(30 * 60);

pub(super) struct Engine {
    docker: PathBuf,
    /// Absent: the one that everybody here uses.
    host: Option<String>,
    /// `docker compose` or `docker-compose`.
    compose: Vec<String>,
    daemon: Option<Process>,
}

impl Engine {
    /// `home`: where an engine of our own keeps everything.
    pub(super) async fn ready(home: &Path) -> Result<Self> {
        let mut engine = Self { docker: client(), host: None, compose: Vec::new(), daemon: None };
        if engine.answers().await {
            say("using the Docker Engine that runs");
        } else {
            if find("dockerd").is_none() || find("busybox").is_none() {
                install().await?;
            }
            engine.docker = client();
            engine.start(home).await?;
        }
        let plugin = engine.command(&engine.docker).args(["compose", "version"]).output().await;
        engine.compose = if plugin.is_ok_and(|output| output.status.success()) {
            vec![engine.docker.display().to_string(), "compose".into()]
        } else {
            let program =
                find("docker-compose").context("neither `docker compose` nor docker-compose is there")?;
            vec![program.display().to_string()]
        };
        Ok(engine)
    }

    async fn start(&mut self, home: &Path) -> Result<()> {
        std::fs::create_dir_all(home).context("make the engine's directory")?;
        let home = home.canonicalize()?;
        let socket = home.join("docker.sock");
        let host = format!("unix://{}", socket.display());
        let log = home.join("dockerd.log");
        let at = |name: &str| home.join(name).display().to_string();
        let args = [
            ["--host".to_owned(), host.clone()],
            ["--data-root".to_owned(), at("data")],
            ["--exec-root".to_owned(), at("run")],
            ["--pidfile".to_owned(), at("dockerd.pid")],
        ]
        .concat();
        // Left behind by one that was killed.
        let _ = std::fs::remove_file(home.join("dockerd.pid"));
        let dockerd = find("dockerd").context("no dockerd")?;
        let mut daemon = Process::spawn("dockerd", &dockerd, &args, &[], Some(&log))?;
        self.host = Some(host);
        let until = Instant::now() + Duration::from_secs(60);
        while !self.answers().await {
            if let Some(status) = daemon.ended()? {
                bail!("dockerd ended ({status}); its log is {}", log.display());
            }
            if Instant::now() >= until {
                bail!("dockerd does not answer; its log is {}", log.display());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        say("started a Docker Engine of our own");
        self.daemon = Some(daemon);
        Ok(())
    }

    async fn answers(&self) -> bool {
        let mut ask = self.command(&self.docker);
        ask.args(["version", "--format", "{{.Server.Version}}"]).stderr(Stdio::null()).stdout(Stdio::null());
        ask.status().await.is_ok_and(|status| status.success())
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.kill_on_drop(true).stdin(Stdio::null());
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    /// What it prints.
    pub(super) async fn docker(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command(&self.docker);
        command.args(args);
        run(command, &format!("docker {}", args.join(" "))).await
    }

    pub(super) async fn compose(&self, args: &[&str]) -> Result<String> {
        let (program, first) = self.compose.split_first().context("no compose")?;
        let mut command = self.command(program);
        command.args(first).args(args);
        run(command, &format!("compose {}", args.join(" "))).await
    }

    /// An image out of a directory, with nothing below it.
    pub(super) async fn import(&self, root: &Path, name: &str) -> Result<()> {
        let tar = root.with_extension("tar");
        let mut pack = Command::new("tar");
        pack.args(["--owner=0", "--group=0", "--numeric-owner", "-C"])
            .arg(root)
            .arg("-cf")
            .arg(&tar)
            .arg(".");
        run(pack, "tar").await?;
        self.docker(&["import", &tar.display().to_string(), name]).await?;
        std::fs::remove_file(&tar).context("remove the archive")
    }

    /// Ends an engine of our own.
    pub(super) async fn stop(self) -> Result<()> {
        let Some(daemon) = self.daemon else { return Ok(()) };
        let left = tokio::time::timeout(Duration::from_secs(60), daemon.stop()).await;
        left.context("dockerd did not end")?.map(drop)
    }
}

/// Debian's own before another: it knows the builder that the engine has.
fn client() -> PathBuf {
    let debian = PathBuf::from("/usr/bin/docker");
    if debian.exists() { debian } else { "docker".into() }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|program| program.is_file())
}

async fn install() -> Result<()> {
    say(format_args!("installing {}", PACKAGES.join(", ")));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        // No service is started by its package: we start what we need.
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").kill_on_drop(true);
        command
    };
    run(apt(&["update", "-qq"]), "apt-get update").await?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(PACKAGES);
    run(apt(&args), "apt-get install (as root, on Debian)").await.map(drop)
}

pub(super) async fn run(mut command: Command, what: &str) -> Result<String> {
    command.kill_on_drop(true).stdin(Stdio::null());
    let output = tokio::time::timeout(LONGEST, command.output());
    let output =
        output.await.with_context(|| format!("{what}: too long"))?.with_context(|| what.to_owned())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        let said = text(&output.stdout) + &text(&output.stderr);
        let lines: Vec<_> = said.lines().collect();
        bail!("{what}: {}\n{}", output.status, lines[lines.len().saturating_sub(30)..].join("\n"));
    }
    Ok(text(&output.stdout))
}
