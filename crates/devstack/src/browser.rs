//! A real browser for tests: chromium, steered by chromedriver, and the accessibility checker that is
//! put into its pages.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::{process::Command, sync::OnceCell};

use crate::{
    Process,
    binaries::{bring, in_path},
    free_port, wait_for_port,
};

/// The checker's script is inside; nothing else of the package is used.
const AXE_WHEEL: &str = "axe-playwright-python==0.1.8";
const AXE_IN_WHEEL: &str = "axe_playwright_python/axe.min.js";

/// A chromedriver of its own; its browsers end with it.
#[derive(Debug)]
pub struct Chromedriver {
    _process: Process,
    port: u16,
}

impl Chromedriver {
    /// # Errors
    /// Where there is none and none can be installed; what to install is told.
    pub async fn start(log: &Path) -> Result<Self> {
        let binary = chromedriver().await?;
        let port = free_port()?;
        let process = Process::spawn("chromedriver", &binary, &[format!("--port={port}")], &[], Some(log))?;
        wait_for_port(port, std::time::Duration::from_secs(60))
            .await
            .context("chromedriver did not come up")?;
        Ok(Self { _process: process, port })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// `BATON_CHROMEDRIVER`, else from `PATH`, else installed where that is possible: on Debian, as root.
pub async fn chromedriver() -> Result<PathBuf> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    let find = async || {
        if let Some(path) = std::env::var_os("BATON_CHROMEDRIVER") {
            return Ok(path.into());
        }
        if let Some(found) = in_path(&["chromedriver"]) {
            return Ok(found);
        }
        install().await?;
        in_path(&["chromedriver"]).context("the package chromium-driver brought no chromedriver")
    };
    Ok(FOUND.get_or_try_init(find).await?.clone())
}

async fn install() -> Result<()> {
    let missing = "the browser tests need chromium and chromedriver: \
                   `apt-get install chromium chromium-driver`, or BATON_CHROMEDRIVER";
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt as _;
        own.uid() == 0
    });
    if !is_root || in_path(&["apt-get"]).is_none() {
        bail!(missing);
    }
    for arguments in [
        &["update", "-qq"][..],
        &[
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "chromium",
            "chromium-driver",
            "fonts-dejavu-core",
        ],
    ] {
        let mut apt = Command::new("apt-get");
        let output =
            apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").output().await.context(missing)?;
        if !output.status.success() {
            bail!("{missing}\napt-get could not: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(())
}

/// The script of axe-core, to be run in a page.
pub async fn axe() -> Result<String> {
    let path = bring(AXE_WHEEL, AXE_IN_WHEEL).await?;
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}
