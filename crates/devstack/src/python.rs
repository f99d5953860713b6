//! Programs in Python, for tests: with packages that come from the index and stay where they are put.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(300);

/// `python3`, with these packages; dies with its handle.
pub fn command(packages: Option<&Path>) -> Command {
    let mut command = Command::new("python3");
    command.stdin(Stdio::null()).kill_on_drop(true).env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(packages) = packages {
        command.env("PYTHONPATH", packages);
    }
    command
}

/// Runs to its end, within five minutes.
pub async fn run(packages: Option<&Path>, arguments: &[&str]) -> Result<Output> {
    let mut command = command(packages);
    let ended = tokio::time::timeout(PATIENCE, command.args(arguments).output()).await;
    ended.context("python3 did not end within five minutes")?.context("run python3")
}

/// Where the packages of a requirements file are, below `home`; none if there is no index to get them
/// from. Where `CI` is set there must be one.
pub async fn packages(requirements: &Path, home: &Path) -> Result<Option<PathBuf>> {
    let versions = std::fs::read_to_string(requirements).context("read the requirements")?;
    let versions: String = versions.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let packages = home.join(versions);
    if packages.exists() {
        return Ok(Some(packages));
    }
    // Complete or not there at all.
    let unfinished = packages.with_extension(format!("{}.part", std::process::id()));
    let [to, from] = [&unfinished, requirements].map(|path| path.to_str().context("the path is not UTF-8"));
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", to?, "-r", from?];
    let output = run(None, &install).await?;
    if output.status.success() {
        // Another run may have been quicker.
        let _moved = std::fs::rename(&unfinished, &packages);
        return Ok(Some(packages));
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let no_index = ["No matching distribution found", "new connection", "name resolution", "Max retries"];
    ensure!(no_index.iter().any(|sign| why.contains(sign)), "pip failed: {why}");
    if std::env::var_os("CI").is_some() {
        bail!("pip has no index, and this must run in CI: {why}");
    }
    Ok(None)
}
