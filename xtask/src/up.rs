//! `cargo xtask up`: the services for real credentials, without containers. What `.env` names is
//! used; a broker or a cache that it does not name is started here and keeps its data.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use devstack::Process;

use crate::{
    log, say,
    stack::{SERVICES, Service, programs},
};

#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Secrets and limits, as .env.sample shows them.
    #[arg(long, default_value = ".env")]
    env_file: PathBuf,
    /// The first of six ports on loopback: ingress has it, then console, assistant, egress, campaigns,
    /// handoff.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

impl Up {
    pub async fn run(&self) -> Result<()> {
        let shutdown = runtime::shutdown_on_signal()?;
        let text = std::fs::read_to_string(&self.env_file)
            .with_context(|| format!("read {}: copy .env.sample and fill it in", self.env_file.display()))?;
        let mut env = parse(&text)?;
        if let Some(settings) = env.get_mut("BATON_SETTINGS").filter(|settings| *settings != "broker") {
            *settings = std::path::absolute(&*settings)?.display().to_string();
        }
        let root = devstack::workspace_root();
        let home = root.canonicalize().unwrap_or(root).join(".baton/up");
        std::fs::create_dir_all(&home).context("make the directory for data and logs")?;
        say("building; the first time takes minutes");
        let programs = programs(&SERVICES).await?;
        let mut servers = Vec::new();
        if !env.contains_key("NATS_URL") {
            let (server, url) = nats(&home).await?;
            servers.push(server);
            env.insert("NATS_URL".into(), url);
        }
        if !env.contains_key("REDIS_URL") {
            let (server, url) = valkey(&home).await?;
            servers.push(server);
            env.insert("REDIS_URL".into(), url);
        }
        let mut services = Vec::new();
        for (name, port) in
            ["ingress", "console", "assistant", "egress", "campaigns", "handoff"].into_iter().zip(self.port..)
        {
            let program = programs.get(name).cloned().with_context(|| format!("no program {name}"))?;
            services.push(Service::new(name, 0, program, env.clone().into_iter().collect(), &home, port));
        }
        let pointer = log::Pointer::leave(&env["NATS_URL"])?;
        let outcome = tokio::select! {
            started = start(&mut services) => match started {
                Ok(()) => {
                    services.iter().for_each(|service| say(format_args!("{:<10} {}", service.name(), service.url())));
                    say(format_args!("logs and data are in {}; Ctrl-C stops everything", home.display()));
                    shutdown.cancelled().await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            () = shutdown.cancelled() => Ok(()),
        };
        drop(pointer);
        let stopped: Result<()> =
            futures::future::join_all(services.iter_mut().map(Service::stop)).await.into_iter().collect();
        for mut server in servers {
            // After a Ctrl-C it may have left by itself.
            if server.ended()?.is_none() {
                server.stop().await?;
            }
        }
        outcome.and(stopped)
    }
}

async fn start(services: &mut [Service]) -> Result<()> {
    let http = runtime::http_client(runtime::HttpTimeouts::default())?;
    for service in &mut *services {
        service.start().await?;
    }
    for service in services {
        service.ready(&http).await?;
    }
    Ok(())
}

/// One node that stores before it acknowledges.
async fn nats(home: &Path) -> Result<(Process, String)> {
    let port = devstack::free_port()?;
    let config = format!(
        "host: 127.0.0.1\nport: {port}\nserver_name: up\nping_interval: \"5s\"\nping_max: 2\n\
         write_deadline: \"5s\"\nmax_payload: 4MB\n\
         jetstream {{\n  store_dir: \"{}\"\n  sync_interval: always\n  max_file: 20G\n  max_mem: 512M\n}}\n",
        home.join("nats").display()
    );
    let path = home.join("nats.conf");
    std::fs::write(&path, config).context("write the broker's configuration")?;
    let args = ["-c".to_owned(), path.display().to_string()];
    let server =
        Process::spawn("nats", &devstack::nats_server().await?, &args, &[], Some(&home.join("nats.log")))?;
    devstack::wait_for_port(port, Duration::from_secs(60)).await.context("nats-server did not come up")?;
    Ok((server, format!("nats://127.0.0.1:{port}")))
}

async fn valkey(home: &Path) -> Result<(Process, String)> {
    let port = devstack::free_port()?;
    let data = home.join("valkey");
    std::fs::create_dir_all(&data).context("make the cache's directory")?;
    let (port_text, data) = (port.to_string(), data.display().to_string());
    let args =
        ["--port", &port_text, "--bind", "127.0.0.1", "--dir", &data, "--appendonly", "yes", "--save", ""]
            .map(str::to_owned);
    let server = Process::spawn(
        "valkey",
        &devstack::valkey_server().await?,
        &args,
        &[],
        Some(&home.join("valkey.log")),
    )?;
    devstack::wait_for_port(port, Duration::from_secs(60)).await.context("valkey-server did not come up")?;
    Ok((server, format!("redis://127.0.0.1:{port}")))
}

/// As docker compose reads it: `NAME=value`, `#` comments, double quotes with `\n` in them. Names
/// without a value count as absent.
fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let mut env = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            bail!("line {} is not NAME=value", number + 1)
        };
        let value = value.trim();
        let value = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\\n", "\n"),
            None => value.to_owned(),
        };
        if !value.is_empty() {
            env.insert(name.trim().to_owned(), value);
        }
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_are_read_as_compose_reads_them() {
        let env = parse("# secret\nA=1\n\nB=\"x\\ny\"\nC=\nD=a=b\n").unwrap();
        let found: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("A", "1"), ("B", "x\ny"), ("D", "a=b")]);
        assert!(parse("A").is_err());
    }
}
