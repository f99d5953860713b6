//! Figures of a build without optimisation say nothing: a bench builds and runs itself again.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// Builds `packages` and this program in release mode, and runs `bench` with these arguments.
pub(super) async fn again(packages: &[&str], arguments: &[String]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = tokio::process::Command::new(&cargo);
    build.args(["build", "--quiet", "--release", "--package", "xtask"]);
    build.args(packages.iter().flat_map(|package| ["--package", package]));
    let built = build.current_dir(devstack::workspace_root()).status().await;
    if !built.context("run cargo")?.success() {
        bail!("the release build failed");
    }
    let ours = std::env::current_exe()?;
    let target = ours.parent().and_then(|profile| profile.parent()).context("no target directory")?;
    let mut command = tokio::process::Command::new(target.join("release/xtask"));
    // What starts a whole stack takes these programs.
    command.arg("bench").args(arguments).env(crate::stack::BUILT, target.join("release"));
    if !command.status().await.context("run the release build")?.success() {
        bail!("the release build's bench failed");
    }
    Ok(())
}

/// A service's program, beside this one.
pub(super) fn beside(service: &str) -> Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let binary = ours.parent().context("no directory")?.join(service);
    if !binary.exists() {
        bail!("no {}: build it with cargo build --release --package {service}", binary.display());
    }
    Ok(binary)
}
