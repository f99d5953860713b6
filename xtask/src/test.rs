//! `cargo xtask test`: what CI runs.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use crate::{say, stack::BUILT};

/// Formatting, lints, every test; the first failure ends it.
pub async fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"]).await?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).await?;
    // Once, and all at once: every other selection of packages has other features.
    cargo(&["build", "--workspace", "--all-targets"]).await?;
    if has_nextest().await {
        cargo(&["nextest", "run", "--workspace", "-E", "not package(e2e)", "--no-tests=pass"]).await?;
        cargo(&["test", "--workspace", "--doc"]).await?;
        // Each runs a whole stack or a whole load: side by side they would measure one another.
        cargo(&["nextest", "run", "--workspace", "-E", "package(e2e)", "--test-threads=1"]).await
    } else {
        cargo(&["test", "--workspace", "--exclude", "e2e"]).await?;
        cargo(&["test", "--package", "e2e", "--", "--test-threads=1"]).await
    }
}

async fn cargo(args: &[&str]) -> Result<()> {
    say(format_args!("\n$ cargo {}", args.join(" ")));
    let programs = std::env::current_exe().context("find the programs")?;
    let programs = programs.parent().context("find the programs")?;
    let status = command(args).env(BUILT, programs).status().await.context("run cargo")?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}

async fn has_nextest() -> bool {
    let mut command = command(&["nextest", "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().await.is_ok_and(|status| status.success())
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(devstack::workspace_root()).args(args).kill_on_drop(true);
    command
}
