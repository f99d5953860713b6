//! A child process that dies with its handle.

use std::{fs::File, path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `binary`; its output goes to `log`, or to ours when there is none.
    pub fn spawn(
        name: &str,
        binary: &Path,
        args: &[String],
        env: &[(String, String)],
        log: Option<&Path>,
    ) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(args).envs(env.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        if let Some(log) = log {
            let file = File::options().create(true).append(true).open(log).context("open log file")?;
            command.stdout(file.try_clone()?).stderr(file);
        }
        let child = command.spawn().with_context(|| format!("start {name} ({})", binary.display()))?;
        Ok(Self { name: name.to_owned(), child })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// None once it has been waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL, and wait until it is gone.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// SIGTERM, and wait for it to leave by itself.
    pub async fn stop(mut self) -> Result<std::process::ExitStatus> {
        self.signal("TERM")?;
        Ok(self.child.wait().await?)
    }

    pub async fn wait(&mut self) -> Result<std::process::ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// The exit status if it has already ended.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// `signal` as kill(1) names it: STOP, CONT, TERM, KILL.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let Some(id) = self.id() else { bail!("{} has ended", self.name) };
        let status =
            std::process::Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).status()?;
        if !status.success() {
            bail!("kill -{signal} {} ({}) failed", id, self.name);
        }
        Ok(())
    }
}
