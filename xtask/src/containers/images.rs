//! Images, all made here: nothing is pulled.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::{
    TAG,
    engine::{Engine, run},
};
use crate::stack::{Programs, SERVICES, programs_with};

const PACKAGES: [&str; 10] =
    ["ingress", "handoff", "assistant", "egress", "campaigns", "console", "runtime", "e2e", "xtask", "sbom"];

/// Stands in for the client that health checks ask with; the wheel has none.
const VALKEY_CLI: &str =
    "#!/bin/busybox sh\nprintf 'PING\\r\\n' | busybox nc -w 2 127.0.0.1 6379 | busybox grep -q PONG\n";

/// The services, the simulators, NATS and Valkey; prints their sizes.
pub(super) async fn build(engine: &Engine, home: &Path, release: bool) -> Result<()> {
    let flags: &[&str] = if release { &["--release"] } else { &[] };
    let programs = programs_with(&PACKAGES, flags).await?;
    for (image, more, packages) in [
        (format!("baton:{TAG}"), [].as_slice(), &PACKAGES[..7]),
        (format!("baton-sim:{TAG}"), ["sim", "xtask"].as_slice(), &PACKAGES[..9]),
    ] {
        let context = home.join("context");
        let root = fresh(&context)?.join("rootfs");
        let mut names = SERVICES.to_vec();
        names.push("baton");
        names.extend(more);
        lay_out(&root, &names.iter().map(|name| path(&programs, name)).collect::<Result<Vec<_>>>()?).await?;
        let sbom = root.join("usr/share/baton/sbom.cdx.json");
        std::fs::create_dir_all(sbom.parent().context("no directory")?)?;
        std::fs::write(sbom, bill(&programs, packages).await?).context("write the bill of materials")?;
        let dockerfile = devstack::workspace_root().join("deploy/Dockerfile").display().to_string();
        let context = context.display().to_string();
        let version = format!("VERSION={}", runtime::VERSION);
        engine
            .docker(&[
                "build",
                "--quiet",
                "--target",
                "prebuilt",
                "--build-arg",
                &version,
                "-f",
                &dockerfile,
                "-t",
                &image,
                &context,
            ])
            .await?;
    }
    servers(engine, home).await
}

async fn servers(engine: &Engine, home: &Path) -> Result<()> {
    let busybox = "/bin/busybox".to_owned();
    let nats = devstack::nats_server().await?.display().to_string();
    let root = fresh(&home.join("nats"))?.join("rootfs");
    lay_out(&root, &[nats, busybox.clone()]).await?;
    link(&root, "wget")?;
    engine.import(&root, &format!("baton-nats:{TAG}")).await?;

    let valkey = format!("{}:valkey-server", devstack::valkey_server().await?.display());
    let root = fresh(&home.join("valkey"))?.join("rootfs");
    lay_out(&root, &[valkey, busybox]).await?;
    link(&root, "sh")?;
    let cli = root.join("usr/local/bin/valkey-cli");
    std::fs::write(&cli, VALKEY_CLI)?;
    std::fs::set_permissions(&cli, std::fs::Permissions::from_mode(0o755))?;
    engine.import(&root, &format!("baton-valkey:{TAG}")).await
}

/// In bytes.
pub(super) async fn sizes(engine: &Engine) -> Result<Vec<(String, u64)>> {
    let mut sizes = Vec::new();
    for name in ["baton", "baton-sim", "baton-nats", "baton-valkey"] {
        let size =
            engine.docker(&["image", "inspect", "--format", "{{.Size}}", &format!("{name}:{TAG}")]).await?;
        sizes.push((name.to_owned(), size.trim().parse().context("read an image's size")?));
    }
    Ok(sizes)
}

fn fresh(dir: &Path) -> Result<std::path::PathBuf> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).context("empty a directory")?;
    }
    std::fs::create_dir_all(dir).context("make a directory")?;
    Ok(dir.to_owned())
}

fn path(programs: &Programs, name: &str) -> Result<String> {
    Ok(programs.get(name).with_context(|| format!("no program {name}"))?.display().to_string())
}

async fn lay_out(root: &Path, programs: &[String]) -> Result<()> {
    let mut command = Command::new("sh");
    command.arg(devstack::workspace_root().join("deploy/rootfs.sh")).arg(root).args(programs);
    run(command, "rootfs.sh").await.map(drop)
}

/// A command of busybox by its own name.
fn link(root: &Path, name: &str) -> Result<()> {
    std::fs::create_dir_all(root.join("bin"))?;
    let busybox = root.join("usr/local/bin/busybox");
    let place = root.join("bin/busybox");
    if busybox.exists() {
        std::fs::rename(busybox, place).context("move busybox")?;
    }
    std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).context("link a command")
}

async fn bill(programs: &Programs, packages: &[&str]) -> Result<String> {
    let mut command = Command::new(path(programs, "sbom")?);
    command.arg("--manifest-path").arg(devstack::workspace_root().join("Cargo.toml")).args(packages);
    run(command, "sbom").await
}
