//! Both APIs as programs: as strict and as odd as the references say, with levers to act as a
//! customer or a rep, switches for what is not known, faults on order, and a record of everything.
//!
//! In a test: [`Sim::start`], then the methods of [`WhatsApp`] and [`Salesforce`]. From another
//! process: the binary `sim` and [`ControlClient`], whose methods are the same; the calls behind them are
//! listed in `control.rs`.

mod client;
mod control;
mod faults;
mod record;
mod salesforce;
mod server;
mod tls;
mod whatsapp;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, Result};
pub use client::ControlClient;
pub use faults::{Fault, Rule};
pub use record::{DEFAULT_CAPACITY, Entry, Extent, Record, What};
pub use salesforce::{
    AfterFailure, AutoRep, CarouselItem, ChoiceFormat, ChoiceOption, Disturb, DupConversation, DupMessage,
    EchoId, EntryView, FileView, FlagWhileLive, Flow, HistoryPayload, PARAMETER_LENGTH, PingStyle, PublicKey,
    Rep, RepFile, RepMessage, RepView, Replay, Salesforce, SalesforceConfig, SecondStream, SessionView,
    Speaker, StreamView, UrlSplit, Verb, VerifyFailure, Who, WireStyle,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use server::Server;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
pub use whatsapp::{
    Act, Choice, Content, Customer, Did, Encoding, Failing, File, Happening, Held, MediaTrouble, Number,
    PhoneMessage, PhoneView, RawWebhook, Routing, Say, Setup, ShownFile, Signature, Template, Trouble,
    WhatsApp, WhatsAppConfig, WindowRefusal, wire,
};

/// What to start. Ports of 0 are chosen by the system.
#[derive(Debug, Clone)]
pub struct Options {
    pub whatsapp: SocketAddr,
    pub salesforce: SocketAddr,
    /// A PEM file with a certificate for `localhost` and its key; none: without TLS.
    pub salesforce_tls: Option<PathBuf>,
    pub control: SocketAddr,
    /// Where the files of Salesforce's conversations are fetched from.
    pub files: SocketAddr,
    /// Entries the record keeps.
    pub record_capacity: usize,
    pub whatsapp_config: WhatsAppConfig,
    pub salesforce_config: SalesforceConfig,
}

impl Default for Options {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            whatsapp: any,
            salesforce: any,
            salesforce_tls: None,
            control: any,
            files: any,
            record_capacity: DEFAULT_CAPACITY,
            whatsapp_config: WhatsAppConfig::default(),
            salesforce_config: SalesforceConfig::default(),
        }
    }
}

/// Where they listen: base URLs without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    pub whatsapp: String,
    pub salesforce: String,
    pub control: String,
    /// Of Salesforce's conversations: another host in life.
    #[serde(default)]
    pub files: String,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    WhatsApp,
    Salesforce,
}

/// Both simulators and their control API. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Sim {
    pub whatsapp: Arc<WhatsApp>,
    pub salesforce: Arc<Salesforce>,
    pub record: Arc<Record>,
    servers: Arc<Servers>,
    /// Salesforce speaks TLS.
    secure: bool,
    control: Server,
    files: Server,
    tracker: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Servers {
    whatsapp: Server,
    salesforce: Server,
}

impl Servers {
    async fn set_up(&self, api: Api, up: bool) {
        match api {
            Api::WhatsApp => self.whatsapp.set_up(up).await,
            Api::Salesforce => self.salesforce.set_up(up).await,
        }
    }
}

impl Sim {
    pub async fn start(options: Options) -> Result<Self> {
        // Another part of the process may have installed it: the same one.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        let record = Arc::new(Record::new(options.record_capacity));
        let whatsapp = WhatsApp::new(options.whatsapp_config, record.clone(), tracker.clone(), stop.clone())?;
        let salesforce =
            Salesforce::new(options.salesforce_config, record.clone(), tracker.clone(), stop.clone());
        let tls = options.salesforce_tls.as_deref().map(tls::acceptor).transpose()?;
        let secure = tls.is_some();
        let servers = Arc::new(Servers {
            whatsapp: whatsapp.listen(options.whatsapp).await.context("bind the WhatsApp address")?,
            salesforce: salesforce
                .listen(tls, options.salesforce)
                .await
                .context("bind the Salesforce address")?,
        });
        let files = salesforce.listen_files(options.files).await.context("bind the files' address")?;
        let levers = control::Levers {
            whatsapp: whatsapp.clone(),
            salesforce: salesforce.clone(),
            record: record.clone(),
            servers: servers.clone(),
            stop: stop.clone(),
        };
        let control = levers.listen(options.control, &tracker).await.context("bind the control address")?;
        Ok(Self { whatsapp, salesforce, record, servers, secure, control, files, tracker, stop })
    }

    pub fn addresses(&self) -> Addresses {
        Addresses {
            whatsapp: format!("http://{}", self.servers.whatsapp.addr),
            salesforce: if self.secure {
                format!("https://localhost:{}", self.servers.salesforce.addr.port())
            } else {
                format!("http://{}", self.servers.salesforce.addr)
            },
            control: format!("http://{}", self.control.addr),
            files: format!("http://{}", self.files.addr),
        }
    }

    /// Down: the API's port refuses connections and the open ones are cut. Returns when it is so.
    pub async fn set_up(&self, api: Api, up: bool) {
        self.record.control(if up { "up" } else { "down" }, serde_json::json!(api));
        self.servers.set_up(api, up).await;
    }

    /// Until the control API was told to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Ends everything and waits for it.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl SalesforceConfig {
    /// The defaults with these members changed; unknown members are an error.
    pub fn with(changes: Value) -> Result<Self> {
        patch(&Self::default(), changes)
    }
}

/// `current` with the members of `changes` put in its place; unknown members are an error.
fn patch<T: Serialize + DeserializeOwned>(current: &T, changes: Value) -> Result<T> {
    let mut merged = serde_json::to_value(current)?;
    let (Value::Object(members), Value::Object(changes)) = (&mut merged, changes) else {
        anyhow::bail!("changes are a JSON object");
    };
    members.extend(changes);
    serde_json::from_value(merged).context("these changes do not fit the configuration")
}
