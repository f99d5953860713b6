//! `cargo xtask demo`: everything, with simulators, and a page to play with it.

mod alone;
pub mod playground;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Instant,
};

pub use alone::Playground;
use anyhow::{Context as _, Result};
use clap::Args;
use playground::Page;

use crate::{
    check, log, say,
    stack::{Kept, NUMBER, Options, Service, Stack},
};

#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// Walk the whole loop by script, stop everything, exit 0 only if every step held.
    #[arg(long)]
    check: bool,
    /// No number and no integration: what it takes to connect them is shown in the playground, under
    /// Setup.
    #[arg(long, conflicts_with = "check")]
    empty: bool,
    /// Replicas of every service.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
}

impl Demo {
    pub async fn run(&self) -> Result<()> {
        let shutdown = runtime::shutdown_on_signal()?;
        let logs = logs_dir();
        let kept = if self.empty { Kept::Nowhere } else { Kept::Broker };
        let options =
            Options { replicas: self.replicas, logs: Some(logs.clone()), kept, ..Options::default() };
        let started = Instant::now();
        say("building and starting; the first time takes minutes");
        let stack = tokio::select! {
            stack = Stack::start(options) => stack.with_context(|| format!("logs are in {}", logs.display()))?,
            () = shutdown.cancelled() => return Ok(()),
        };
        say(format_args!("ready after {} ms", started.elapsed().as_millis()));
        let outcome = if self.check {
            tokio::select! {
                walked = check::walk(&stack) => walked.map(drop),
                () = shutdown.cancelled() => Err(anyhow::anyhow!("stopped before the end")),
            }
        } else {
            play(&stack, &shutdown).await
        };
        let stopped = stack.stop().await.context("stop everything");
        outcome.and(stopped).with_context(|| format!("logs are in {}", logs.display()))?;
        // What went well needs no logs.
        let _ = std::fs::remove_dir_all(&logs);
        if self.check {
            say("every step held; everything is stopped");
        }
        Ok(())
    }
}

async fn play(stack: &Stack, shutdown: &tokio_util::sync::CancellationToken) -> Result<()> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (address, serving) = playground::serve(any, page(stack), shutdown.clone()).await?;
    let pointer = log::Pointer::leave(&stack.nats.url())?;
    say(format_args!("\nplayground  http://{address}/\n"));
    for service in stack.services() {
        say(format_args!("{:<11} {}", service.name(), service.url()));
    }
    say(format_args!("simulators  {} (control)", stack.addresses.control));
    say(format_args!(
        "            {} (WhatsApp)  {} (Salesforce)",
        stack.addresses.whatsapp, stack.addresses.salesforce
    ));
    say(format_args!("nats        {}\nvalkey      {}", stack.nats.url(), stack.valkey.url()));
    say(format_args!("logs        {}\n", stack.logs().display()));
    say("cargo xtask log --json --follow    shows the log as it grows; Ctrl-C here stops everything");
    let served = serving.await;
    drop(pointer);
    served
}

/// The playground of a stack.
pub fn page(stack: &Stack) -> Page {
    let console = stack.services().iter().find(|service| service.name() == "console");
    Page {
        control: stack.addresses.control.clone(),
        number: NUMBER,
        nats: stack.nats.url(),
        console: console.map(Service::url),
        papers: Some(stack.papers()),
    }
}

/// One directory a run.
fn logs_dir() -> PathBuf {
    let root = devstack::workspace_root();
    root.canonicalize().unwrap_or(root).join(format!(".baton/logs/{}", std::process::id()))
}
