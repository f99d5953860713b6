//! Builds the programs once and tells where they are.

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// Programs that are run, by name.
pub(crate) type Programs = HashMap<String, PathBuf>;

/// `packages` are built in the dev profile with the cargo that runs us.
pub(crate) async fn programs(packages: &[&str]) -> Result<Programs> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(devstack::workspace_root())
        .args(["build", "--quiet", "--bins", "--message-format=json-render-diagnostics"])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .stderr(std::process::Stdio::inherit())
        .output()
        .await
        .context("run cargo build")?;
    if !output.status.success() {
        bail!("the programs do not build");
    }
    let mut found = Programs::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line).context("read cargo's message")?;
        if let (Some(path), Some(name)) = (message["executable"].as_str(), message["target"]["name"].as_str())
        {
            found.insert(name.to_owned(), path.into());
        }
    }
    Ok(found)
}
