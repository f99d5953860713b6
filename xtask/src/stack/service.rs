//! One running replica of a service.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use devstack::Process;
use tokio::time::{Instant, sleep};

/// The services, in the order in which they start.
pub const SERVICES: [&str; 6] = ["handoff", "assistant", "egress", "campaigns", "console", "ingress"];

/// How long a service has to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it has to leave by itself.
const GRACE: Duration = Duration::from_secs(20);
/// Lines of its log shown when it fails.
const LAST_LINES: usize = 15;

#[derive(Debug)]
pub struct Service {
    name: &'static str,
    replica: usize,
    port: u16,
    program: PathBuf,
    env: Vec<(String, String)>,
    log: PathBuf,
    process: Option<Process>,
}

impl Service {
    pub(crate) fn new(
        name: &'static str,
        replica: usize,
        program: PathBuf,
        mut env: Vec<(String, String)>,
        logs: &std::path::Path,
        port: u16,
    ) -> Self {
        env.push(("LISTEN_ADDR".into(), format!("127.0.0.1:{port}")));
        let log = logs.join(format!("{name}-{replica}.log"));
        Self { name, replica, port, program, env, log, process: None }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// From 0.
    pub fn replica(&self) -> usize {
        self.replica
    }

    /// Base URL, without a trailing slash. It stays the same over restarts.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything it has printed since the stack was started.
    pub fn log(&self) -> &std::path::Path {
        &self.log
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Starts it; [`Service::ready`] waits until it works. SIGKILL first if it is running.
    pub async fn start(&mut self) -> Result<()> {
        self.kill().await?;
        self.process = Some(Process::spawn(self.name, &self.program, &[], &self.env, Some(&self.log))?);
        Ok(())
    }

    /// Until `/readyz` answers 200; an error when the process ends first.
    pub async fn ready(&mut self, http: &reqwest::Client) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let answer = http.get(format!("{}/readyz", self.url())).send().await;
            let process = self.process.as_mut().context("it was not started")?;
            if let Some(status) = process.ended()? {
                bail!(
                    "{}-{} ended ({status}) before it was ready:\n{}",
                    self.name,
                    self.replica,
                    self.tail()
                );
            }
            let waiting_for = match answer {
                Ok(answer) if answer.status() == 200 => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(_) => "an answer".into(),
            };
            if Instant::now() >= deadline {
                bail!("{}-{} is not ready: {waiting_for}\n{}", self.name, self.replica, self.tail());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// `signal` as kill(1) names it: STOP, CONT …
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.process.as_ref().context("it is not running")?.signal(signal)
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// SIGTERM, SIGKILL after the grace. An error when it did not leave cleanly.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // A Ctrl-C reaches the whole process group: it may have left already, and well.
        if let Some(status) = process.ended()? {
            if status.success() {
                return Ok(());
            }
            bail!("{}-{} had ended ({status}):\n{}", self.name, self.replica, self.tail());
        }
        // Dropping the handle kills.
        let status = tokio::time::timeout(GRACE, process.stop())
            .await
            .with_context(|| format!("{}-{} did not leave within {GRACE:?}", self.name, self.replica))??;
        if !status.success() {
            bail!("{}-{} left with {status}:\n{}", self.name, self.replica, self.tail());
        }
        Ok(())
    }

    fn tail(&self) -> String {
        tail(&self.log)
    }
}

/// The last lines of a log, indented.
pub(super) fn tail(path: &std::path::Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    last.iter().map(|line| format!("    {line}\n")).collect()
}
