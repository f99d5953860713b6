//! `cargo xtask playground`: the page alone, for a stack and simulators that run elsewhere, as in
//! containers.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use e2e::sim::ControlClient;
use tokio::time::{Instant, sleep};

use super::playground::{self, Page};
use crate::{
    say,
    stack::{NUMBER, Shared, introduce},
};

/// How long the simulators may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Args)]
pub struct Playground {
    #[arg(long, default_value = "127.0.0.1:8094")]
    listen: SocketAddr,
    /// Base URL of the simulators' control API.
    #[arg(long)]
    control: String,
    /// The same as a browser reaches it, where that differs.
    #[arg(long)]
    shown_control: Option<String>,
    /// The broker, whose log is shown.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: String,
    /// First tells the simulators who calls them: a directory as `deploy/secrets.sh --sim` makes it.
    #[arg(long, value_name = "DIRECTORY", requires = "callback_url")]
    set_up: Option<PathBuf>,
    /// Where the number's webhooks go.
    #[arg(long)]
    callback_url: Option<String>,
}

impl Playground {
    pub async fn run(&self) -> Result<()> {
        let shutdown = runtime::shutdown_on_signal()?;
        if let Some(dir) = &self.set_up {
            self.set_up(dir).await.context("set the simulators up")?;
        }
        let control = self.shown_control.clone().unwrap_or_else(|| self.control.clone());
        let nats = self.nats_url.clone();
        let page = Page { control, number: NUMBER, nats, console: None, papers: None };
        let (address, serving) = playground::serve(self.listen, page, shutdown).await?;
        say(format_args!("playground  http://{address}/"));
        serving.await
    }

    async fn set_up(&self, dir: &std::path::Path) -> Result<()> {
        let read = |name: &str| -> Result<String> {
            let text = std::fs::read_to_string(dir.join(name)).with_context(|| format!("read {name}"))?;
            Ok(text.trim_end().to_owned())
        };
        let shared = Shared {
            app_secret: read("whatsapp_app_secrets")?,
            verify_token: read("whatsapp_verify_token")?,
            access_token: read("whatsapp_access_token")?,
            public_pem: read("salesforce_jwt_public_key")?,
        };
        let control = ControlClient::new(&self.control)?;
        let until = Instant::now() + PATIENCE;
        while control.extent().await.is_err() {
            if Instant::now() >= until {
                bail!("the simulators do not answer");
            }
            sleep(Duration::from_millis(100)).await;
        }
        introduce(&control, &shared, self.callback_url.clone(), 1).await
    }
}
