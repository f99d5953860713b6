//! Builds the programs once and tells where they are.

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// Programs that are run, by name.
pub(crate) type Programs = HashMap<String, PathBuf>;

/// Names a directory of programs that are built already: `cargo xtask test` builds everything once,
/// and another selection of packages would be built with other features, all over again.
pub const BUILT: &str = "BATON_PROGRAMS";

/// `packages` are built in the dev profile with the cargo that runs us, unless they are built.
pub(crate) async fn programs(packages: &[&str]) -> Result<Programs> {
    programs_with(packages, &[]).await
}

/// The same, with flags for cargo: `--release`.
pub(crate) async fn programs_with(packages: &[&str], flags: &[&str]) -> Result<Programs> {
    if let Some(dir) = std::env::var_os(BUILT).filter(|_| flags.is_empty()) {
        let name = |package: &&str| match *package {
            "e2e" => "sim".to_owned(),
            "runtime" => "baton".to_owned(),
            package => package.to_owned(),
        };
        let dir = PathBuf::from(dir);
        return Ok(packages.iter().map(name).map(|name| (name.clone(), dir.join(name))).collect());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(devstack::workspace_root())
        .args(["build", "--quiet", "--bins", "--message-format=json-render-diagnostics"])
        .args(flags)
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
