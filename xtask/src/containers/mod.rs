//! `cargo xtask containers`: the compose stack as it is deployed, with simulators, broken under load
//! and judged. All images are built here, and the Docker Engine comes from Debian where it is
//! missing; so it needs root.

mod engine;
mod images;
mod trouble;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use e2e::{check, sim::ControlClient};
use engine::Engine;
use trouble::Trouble;

use crate::{
    check::{Place, walk_at},
    faults::{Scenario, customers, watch::Watch},
    say,
};

/// Of everything that is built here.
const TAG: &str = "check";
const PROJECT: &str = "baton-check";
/// How long a container may take to be healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Args)]
pub struct Containers {
    /// Programs as they are shipped, optimised: takes long, and says how large the images are.
    #[arg(long)]
    release: bool,
    /// How many customers write at the same time.
    #[arg(long, default_value_t = 40)]
    conversations: usize,
    /// Takes the images that the run before has built.
    #[arg(long)]
    built: bool,
    /// Only builds the images and tells their sizes.
    #[arg(long)]
    build_only: bool,
}

impl Containers {
    pub async fn run(&self) -> Result<()> {
        let root = devstack::workspace_root().canonicalize().context("find the workspace")?;
        let home = root.join(".baton/containers");
        std::fs::create_dir_all(&home).context("make a directory")?;
        let engine = Engine::ready(&home.join("engine")).await?;
        let outcome = self.with(&engine, &root, &home).await;
        let stopped = engine.stop().await;
        outcome.and(stopped)
    }

    async fn with(&self, engine: &Engine, root: &Path, home: &Path) -> Result<()> {
        if !self.built {
            say("building; the first time takes minutes");
            images::build(engine, home, self.release).await?;
        }
        for (image, size) in images::sizes(engine).await? {
            say(format_args!("{image:<14} {:>8.1} MB", bytes(size)));
        }
        if self.build_only {
            return Ok(());
        }
        let stack = Stack::prepare(engine, root, home).await?;
        let outcome = async {
            stack.up(&[]).await?;
            self.check(&stack).await
        };
        let outcome = outcome.await;
        if outcome.is_err() {
            let logs = home.join("failed.log");
            let said = stack
                .compose(&["logs", "--no-color", "--timestamps"])
                .await
                .unwrap_or_else(|e| e.to_string());
            let _ = std::fs::write(&logs, said);
            say(format_args!("what the containers said is in {}", logs.display()));
        }
        let down = stack.down().await;
        outcome.and(down)
    }

    async fn check(&self, stack: &Stack<'_>) -> Result<()> {
        let control = ControlClient::new(&format!("http://127.0.0.1:{}", stack.sim))?;
        let http = runtime::http_client(runtime::HttpTimeouts::default())?;
        let token = std::fs::read_to_string(stack.secrets.join("console_token"))?.trim().to_owned();
        let console = format!("http://127.0.0.1:{}", stack.console);
        walk_at(Place { control: &control, http: &http, console, token: Some(token) }).await?;
        let page = http.get(format!("http://127.0.0.1:{}/", stack.playground)).send().await?;
        ensure!(page.status() == 200, "the playground answers {}", page.status());

        let scenario = Scenario { conversations: self.conversations, duplicates: 2, ..Scenario::default() };
        scenario.prepare(&control).await.context("prepare the simulators")?;
        let watch = Watch::start(control.clone());
        let (over, is_over) = tokio::sync::watch::channel(false);
        let customers = customers::start(&scenario, control.clone(), watch.clone(), is_over);
        let started = Instant::now();
        customers.warm().await;
        say(format_args!("{:>6} ms  scale handoff to 3, egress to 2", started.elapsed().as_millis()));
        stack.up(&["--scale", "handoff=3", "--scale", "egress=2", "--no-recreate"]).await?;
        for (service, count) in [("handoff", 3), ("egress", 2)] {
            let running = stack.containers(service).await?.len();
            ensure!(running == count, "{running} containers of {service} instead of {count}");
        }
        customers.recovered().await;
        for trouble in Trouble::ALL {
            say(format_args!("{:>6} ms  {trouble}", started.elapsed().as_millis()));
            trouble.make(stack).await.with_context(|| format!("make trouble: {trouble}"))?;
            let silence = customers.recovered().await;
            say(format_args!("           over after {} ms", silence.as_millis()));
        }
        over.send_replace(true);
        let stuck = customers.finish().await;
        watch.settled(Duration::from_secs(2), Duration::from_secs(60)).await;
        let lost = control.extent().await?.lost;
        let report = check::check(&watch.stop().await?, lost);
        say(serde_json::to_string_pretty(&report)?);
        let refused = stack.refused_by_nats().await?;
        stuck.iter().take(20).for_each(|stuck| say(format_args!("stuck: {stuck}")));
        refused.iter().take(20).for_each(|line| say(format_args!("refused: {line}")));
        if !report.violations.is_empty() || !stuck.is_empty() || !refused.is_empty() {
            bail!(
                "{} violations, {} customers stuck, {} refusals of the broker",
                report.violations.len(),
                stuck.len(),
                refused.len()
            );
        }
        say("nothing lost, doubled or out of order");
        Ok(())
    }
}

/// The compose project.
pub(super) struct Stack<'a> {
    engine: &'a Engine,
    /// `--project-directory …`: before every command.
    options: Vec<String>,
    secrets: PathBuf,
    console: u16,
    sim: u16,
    playground: u16,
}

impl<'a> Stack<'a> {
    async fn prepare(engine: &'a Engine, root: &Path, home: &Path) -> Result<Self> {
        let secrets = home.join("secrets");
        let mut make = tokio::process::Command::new("sh");
        make.arg(root.join("deploy/secrets.sh")).arg("--sim").arg(&secrets);
        engine::run(make, "secrets.sh").await?;
        let [ingress, console, sim, playground] =
            [devstack::free_port()?, devstack::free_port()?, devstack::free_port()?, devstack::free_port()?];
        let env = home.join("env");
        let mut text = std::fs::read_to_string(root.join("deploy/sim.env")).context("read deploy/sim.env")?;
        let more = [
            ("BATON_ENV", env.display().to_string()),
            ("BATON_SECRETS", secrets.display().to_string()),
            ("BATON_VERSION", TAG.into()),
            ("NATS_IMAGE", format!("baton-nats:{TAG}")),
            ("VALKEY_IMAGE", format!("baton-valkey:{TAG}")),
            ("INGRESS_PORT", format!("127.0.0.1:{ingress}")),
            ("CONSOLE_PORT", console.to_string()),
            ("SIM_PORT", sim.to_string()),
            ("PLAYGROUND_PORT", playground.to_string()),
            ("NOFILE", open_files().to_string()),
            // As in `cargo xtask faults`: these customers are quicker than people, and what was cut
            // off before it reached WhatsApp is not waited for as long as in life.
            ("BATON_UNSAFE_DISABLE", "pace".into()),
            ("SEND_GRACE", "15s".into()),
            ("GRAPH_TIMEOUT", "4s".into()),
        ];
        // The last one said counts.
        text = text
            .lines()
            .filter(|line| !line.starts_with("BATON_ENV="))
            .map(|line| format!("{line}\n"))
            .collect();
        text.extend(more.iter().map(|(name, value)| format!("{name}={value}\n")));
        std::fs::write(&env, text).context("write the environment")?;
        let options = [
            ["--project-name".into(), PROJECT.into()],
            ["--project-directory".into(), root.display().to_string()],
            ["--file".into(), root.join("docker-compose.yml").display().to_string()],
            ["--env-file".into(), env.display().to_string()],
            ["--profile".into(), "sim".into()],
        ]
        .concat();
        let stack = Self { engine, options, secrets, console, sim, playground };
        // What a run before this one may have left.
        stack.down().await?;
        Ok(stack)
    }

    async fn compose(&self, args: &[&str]) -> Result<String> {
        let all: Vec<&str> = self.options.iter().map(String::as_str).chain(args.iter().copied()).collect();
        self.engine.compose(&all).await
    }

    async fn up(&self, more: &[&str]) -> Result<()> {
        let args: Vec<&str> = ["up", "-d", "--no-build"].into_iter().chain(more.iter().copied()).collect();
        self.compose(&args).await?;
        self.healthy().await
    }

    async fn down(&self) -> Result<()> {
        self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "20"]).await.map(drop)
    }

    /// Ids of a service's containers; of all, for an empty name.
    async fn containers(&self, service: &str) -> Result<Vec<String>> {
        let project = format!("label=com.docker.compose.project={PROJECT}");
        let of = format!("label=com.docker.compose.service={service}");
        let mut args = vec!["ps", "--quiet", "--no-trunc", "--filter", &project];
        if !service.is_empty() {
            args.extend(["--filter", &of]);
        }
        let mut found: Vec<String> = self.engine.docker(&args).await?.lines().map(str::to_owned).collect();
        found.sort();
        Ok(found)
    }

    async fn healthy(&self) -> Result<()> {
        let until = Instant::now() + HEALTHY_WITHIN;
        loop {
            let all = self.containers("").await?;
            let mut args = vec!["inspect", "--format", "{{.Name}} {{.State.Health.Status}}"];
            args.extend(all.iter().map(String::as_str));
            let states = self.engine.docker(&args).await?;
            let waiting: Vec<&str> = states.lines().filter(|line| !line.ends_with(" healthy")).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                bail!("not healthy: {}", waiting.join(", "));
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// What the broker did not let somebody say or hear.
    async fn refused_by_nats(&self) -> Result<Vec<String>> {
        let said = self.compose(&["logs", "--no-color", "nats"]).await?;
        Ok(said.lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect())
    }
}

/// As many as this machine lets a container have.
fn open_files() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    hard.unwrap_or(65_536).min(65_536)
}

fn bytes(size: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let megabytes = size as f64 / 1e6;
    megabytes
}
