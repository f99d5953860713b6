//! All of Baton as processes: nats-server, Valkey, the simulators and the services on free ports
//! with throw-away secrets, one channel and one integration. Everything dies with the handle.

mod build;
mod keys;
mod service;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
pub use build::BUILT;
pub(crate) use build::{Programs, programs, programs_with};
use configuration::{Change, Configuration};
use devstack::{Nats, Process, Valkey};
use e2e::sim::{Addresses, ControlClient, Flow, Number, PublicKey};
pub use keys::users;
use salesforce::keys::{KeyPair, generate_key_pair};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
pub use service::{SERVICES, Service};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The one channel's number, at the simulated Meta and in the settings.
pub const NUMBER: &str = "106540352242922";
pub const WABA: &str = "102290129340398";
const DISPLAYED: &str = "+1 555 010 0200";
const ORG_ID: &str = "00DRT0000004QhW";
const DEPLOYMENT: &str = "Phone_Bridge_Client";
const KEY_ID: &str = "baton-dev-1";
const ISSUER: &str = "baton-dev";
const INSTANCE: &str = "https://sim.my.salesforce.com";

/// A channel's number, from 0: the first is [`NUMBER`].
pub fn number(index: usize) -> String {
    if index == 0 { NUMBER.to_owned() } else { format!("1065403523{index:05}") }
}

/// How to run it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which of [`SERVICES`] run; by default all.
    pub services: Vec<&'static str>,
    /// Of every service.
    pub replicas: usize,
    /// Where logs go; absent: a directory that is removed with the stack.
    pub logs: Option<PathBuf>,
    /// More environment for every service, for example a trace collector's address or a safeguard
    /// that is switched off.
    pub env: Vec<(String, String)>,
    /// The broker's accounts (deploy/nats/users.conf); every service then comes as the user of its
    /// name. Absent: a broker without authentication.
    pub users: Option<devstack::Users>,
    /// How many channels there are ([`number`]); all are alike.
    pub numbers: usize,
    /// Where the settings are kept.
    pub kept: Kept,
    /// Members put in the place of those of the channel's `policy`.
    pub policy: serde_json::Value,
    /// Members put in the place of those of the channel, for example `responder`.
    pub channel: serde_json::Value,
    /// Members put in the place of those of the integration, for example `hook_keys`.
    pub integration: serde_json::Value,
}

/// Where a stack's settings are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In a file: the console shows them.
    File,
    /// In the broker, which has no accounts: the console changes them.
    Broker,
    /// In the broker, and nothing is saved yet: no number, no integration.
    Nowhere,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            services: SERVICES.into(),
            replicas: 1,
            logs: None,
            env: Vec::new(),
            users: None,
            numbers: 1,
            kept: Kept::File,
            policy: json!({}),
            channel: json!({}),
            integration: json!({}),
        }
    }
}

/// It, running.
#[derive(Debug)]
pub struct Stack {
    services: Vec<Service>,
    sim: Process,
    /// Acts as the customer and as the rep, makes trouble, reads the record.
    pub control: ControlClient,
    pub addresses: Addresses,
    pub nats: Nats,
    pub valkey: Valkey,
    /// The settings file, whether services read it or not.
    pub settings: PathBuf,
    logs: PathBuf,
    http: reqwest::Client,
    shared: Shared,
    /// Settings, keys and, unless asked otherwise, logs.
    _dir: TempDir,
}

/// Secrets that more than one party must know.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) app_secret: String,
    pub(crate) verify_token: String,
    pub(crate) access_token: String,
    pub(crate) public_pem: String,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What somebody who connects a number and an integration by hand finds at Meta and in Salesforce
/// Setup: here, at the simulators.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Papers {
    pub phone_number_id: &'static str,
    pub waba_id: &'static str,
    pub display_phone_number: &'static str,
    pub access_token: String,
    pub instance_url: &'static str,
    pub es_developer_name: &'static str,
    pub org_id: &'static str,
    pub issuer: &'static str,
    pub messaging_url: String,
}

impl Stack {
    /// Builds what is run, starts it and waits until every service is ready.
    pub async fn start(options: Options) -> Result<Self> {
        let mut packages = options.services.clone();
        packages.push("e2e");
        let programs = build::programs(&packages).await?;
        let program = |name: &str| programs.get(name).cloned().with_context(|| format!("no program {name}"));

        let dir = tempfile::tempdir().context("make a directory")?;
        let logs = options.logs.clone().unwrap_or_else(|| dir.path().join("logs"));
        std::fs::create_dir_all(&logs).context("make the directory of logs")?;
        let with_users = options.users.is_some();
        let (nats, valkey) = tokio::try_join!(Nats::start_for(options.users), Valkey::start())?;
        let (sim, addresses) = start_sim(&program("sim")?, &[], &logs).await?;
        let rsa = generate_key_pair(2048).context("make an RSA key")?;
        let shared = Shared {
            app_secret: keys::secret()?,
            verify_token: keys::secret()?,
            access_token: keys::secret()?,
            public_pem: rsa.public_pem.clone(),
        };
        let settings = write_settings(
            dir.path(),
            &addresses,
            &shared,
            &rsa,
            [&options.policy, &options.channel, &options.integration],
            options.numbers,
        )?;
        let master_key = keys::master_key()?;
        let source = match options.kept {
            Kept::File => settings.display().to_string(),
            Kept::Broker | Kept::Nowhere => "broker".into(),
        };
        if options.kept == Kept::Broker {
            save(&nats.url(), &master_key, &settings).await.context("save the settings in the broker")?;
        }
        let mut env: Vec<(String, String)> = [
            ("NATS_URL", nats.url()),
            ("REDIS_URL", valkey.url()),
            ("MASTER_KEY", master_key),
            ("BATON_SETTINGS", source),
            ("CONVERSATION_KEY_SECRET", keys::secret()?),
            ("WHATSAPP_APP_SECRETS", shared.app_secret.clone()),
            ("WHATSAPP_VERIFY_TOKEN", shared.verify_token.clone()),
            ("GRAPH_URL", format!("{}/v25.0", addresses.whatsapp)),
            // Everything is on this machine, whatever proxy it uses for the rest.
            ("NO_PROXY", "127.0.0.1,localhost".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        env.extend(options.env);
        let mut services = Vec::new();
        for name in options.services {
            for replica in 0..options.replicas.max(1) {
                let mut env = env.clone();
                env.push(("NATS_URL".into(), nats.url_of(name)));
                services.push(Service::new(
                    name,
                    replica,
                    program(name)?,
                    env,
                    &logs,
                    devstack::free_port()?,
                ));
            }
        }
        let control = ControlClient::new(&addresses.control)?;
        let http = runtime::http_client(runtime::HttpTimeouts::default())?;
        let mut stack =
            Self { services, sim, control, addresses, nats, valkey, settings, logs, http, shared, _dir: dir };
        stack.configure_sim(options.numbers).await.context("configure the simulators")?;
        // Where the broker has accounts, handoff alone may create what is missing there.
        let first = |service: &Service| with_users && service.name() == "handoff";
        for service in stack.services.iter_mut().filter(|service| first(service)) {
            service.start().await?;
            service.ready(&stack.http).await?;
        }
        for service in stack.services.iter_mut().filter(|service| !first(service)) {
            service.start().await?;
        }
        stack.ready().await?;
        Ok(stack)
    }

    /// Until every service is ready.
    pub async fn ready(&mut self) -> Result<()> {
        for service in &mut self.services {
            service.ready(&self.http).await?;
        }
        Ok(())
    }

    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// A replica of a service, from 0.
    ///
    /// # Panics
    /// When there is no such replica.
    pub fn service(&mut self, name: &str, replica: usize) -> &mut Service {
        let wanted = |service: &&mut Service| service.name() == name && service.replica() == replica;
        self.services.iter_mut().find(wanted).expect("the caller names a service that was started")
    }

    /// Kills a replica and starts it again, without waiting for it.
    pub async fn restart(&mut self, name: &str, replica: usize) -> Result<()> {
        self.service(name, replica).start().await
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Stops everything: what receives first, what others need last. The first trouble is
    /// reported after all have been stopped.
    pub async fn stop(mut self) -> Result<()> {
        let mut all = futures::future::join_all(self.services.iter_mut().rev().map(Service::stop)).await;
        if self.sim.ended()?.is_none() {
            all.push(self.sim.stop().await.map(drop));
        }
        all.push(self.valkey.kill().await);
        all.push(self.nats.kill().await);
        all.into_iter().collect()
    }

    /// For whoever connects everything by hand.
    pub fn papers(&self) -> Papers {
        Papers {
            phone_number_id: NUMBER,
            waba_id: WABA,
            display_phone_number: DISPLAYED,
            access_token: self.shared.access_token.clone(),
            instance_url: INSTANCE,
            es_developer_name: DEPLOYMENT,
            org_id: ORG_ID,
            issuer: ISSUER,
            messaging_url: self.addresses.salesforce.clone(),
        }
    }

    async fn configure_sim(&mut self, numbers: usize) -> Result<()> {
        // Whoever left ingress out sets the number.
        let ingress = self.services.iter().any(|service| service.name() == "ingress");
        let callback_url = ingress.then(|| format!("{}/webhooks/whatsapp", self.service("ingress", 0).url()));
        introduce(&self.control, &self.shared, callback_url, numbers).await
    }
}

/// Tells the simulators who calls them, and where the number's webhooks go.
pub(crate) async fn introduce(
    control: &ControlClient,
    shared: &Shared,
    callback_url: Option<String>,
    numbers: usize,
) -> Result<()> {
    let keys = [PublicKey::pem(KEY_ID, &shared.public_pem)];
    let org = json!({
        "org_id": ORG_ID, "es_developer_name": DEPLOYMENT, "issuer": ISSUER, "keys": keys, "flow": Flow::default(),
    });
    control.configure_salesforce(org).await?;
    let Some(callback_url) = callback_url else { return Ok(()) };
    for index in 0..numbers.max(1) {
        let number = Number {
            phone_number_id: number(index),
            waba_id: WABA.into(),
            display_phone_number: format!("155501{:05}", 200 + index),
            token: shared.access_token.clone(),
            app_secret: shared.app_secret.clone(),
            callback_url: callback_url.clone(),
            verify_token: shared.verify_token.clone(),
        };
        control.set_number(&number).await?;
    }
    Ok(())
}

/// As `baton settings import` does.
async fn save(nats_url: &str, master_key: &str, settings: &Path) -> Result<()> {
    let log = bus::connect(&bus::Config::at(nats_url)).await?;
    let configuration = Configuration::open(&log, &SecretString::from(master_key)).await?;
    let change = Change { who: "the demo".into(), what: "everything imported".into() };
    configuration.save(runtime::settings::filled_in(settings)?, 0, change).await?;
    Ok(())
}

/// The simulators tell where they listen in their first line.
pub(crate) async fn start_sim(
    program: &Path,
    arguments: &[String],
    logs: &Path,
) -> Result<(Process, Addresses)> {
    let log = logs.join("sim.log");
    std::fs::write(&log, "").context("empty the simulators' log")?;
    let mut process = Process::spawn("sim", program, arguments, &[], Some(&log))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(&log).context("read the simulators' log")?;
        if let Some((line, _)) = text.split_once('\n') {
            let addresses = serde_json::from_str(line).context("read the simulators' addresses")?;
            return Ok((process, addresses));
        }
        if let Some(status) = process.ended()? {
            bail!("the simulators ended ({status}):\n{}", service::tail(&log));
        }
        if Instant::now() >= deadline {
            bail!("the simulators did not start");
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn write_settings(
    dir: &Path,
    addresses: &Addresses,
    shared: &Shared,
    rsa: &KeyPair,
    [policy, channel, integration]: [&serde_json::Value; 3],
    numbers: usize,
) -> Result<PathBuf> {
    let files = [
        ("access-token", shared.access_token.as_str()),
        ("identity.pem", rsa.private_pem.expose_secret()),
        ("identity.pub.pem", rsa.public_pem.as_str()),
    ];
    for (name, text) in files {
        std::fs::write(dir.join(name), text).context("write a secret")?;
    }
    let mut settings = json!({
        "version": 1,
        "channels": [{
            "phone_number_id": NUMBER,
            "waba_id": WABA,
            "display_phone_number": DISPLAYED,
            "name": "Support",
            "access_token": { "file": "access-token" },
            "integration": "main",
            "policy": policy,
        }],
        "integrations": [{
            "id": "main",
            "instance_url": INSTANCE,
            "messaging_url": addresses.salesforce,
            "es_developer_name": DEPLOYMENT,
            "org_id": ORG_ID,
            "auth_key_id": KEY_ID,
            "issuer": ISSUER,
            "jwt_private_key": { "file": "identity.pem" },
            "jwt_public_key": { "file": "identity.pub.pem" },
        }],
        "faq": [{
            "phrases": ["opening hours", "when open", "what time open"],
            "answer": "We are open Monday to Friday, 9 to 18 h.",
        }],
    });
    // Nobody waits for a quiet customer who does not ask to.
    if policy.get("quiet_seconds").is_none() {
        settings["channels"][0]["policy"]["quiet_seconds"] = 0.into();
    }
    for (name, value) in channel.as_object().into_iter().flatten() {
        settings["channels"][0][name] = value.clone();
    }
    for index in 1..numbers {
        let mut another = settings["channels"][0].clone();
        another["phone_number_id"] = number(index).into();
        another["display_phone_number"] = format!("+1 555 01{:05}", 200 + index).into();
        another["name"] = format!("Support {index}").into();
        settings["channels"].as_array_mut().context("channels are a list")?.push(another);
    }
    for (name, value) in integration.as_object().into_iter().flatten() {
        settings["integrations"][0][name] = value.clone();
    }
    let path = dir.join("settings.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&settings)?).context("write the settings")?;
    // What a service would say about them, said once and early.
    runtime::settings::load(&path).context("check the settings")?;
    Ok(path)
}
