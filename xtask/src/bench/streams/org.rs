//! The simulated org, in a process of its own, with its live threads.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use devstack::Process;
use domain::{ContactId, ThreadId, settings::Integration};
use e2e::sim::{Addresses, ControlClient, PublicKey, Verb};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use salesforce::{
    Client, NewSession,
    keys::{KeyPair, generate_key_pair},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use store::StoredToken;

use super::{super::graph, plant::Plant};
use crate::{bench::release, stack::start_sim};

const KEY_ID: &str = "bench-key";
const ISSUER: &str = "https://bench.example.com";
const ORG_ID: &str = "00DRT0000004QhW";
const DEPLOYMENT: &str = "Bench_Client";
/// Threads that are opened side by side.
const AT_ONCE: usize = 64;
/// The record is of no use here.
const RECORD: usize = 1_000;

pub(super) struct Org {
    pub(super) control: Arc<ControlClient>,
    rsa: KeyPair,
    addresses: Addresses,
    _sim: Process,
    _dir: tempfile::TempDir,
}

/// The live threads, by number.
pub(super) struct Threads(Vec<ThreadId>);

impl Threads {
    pub(super) fn all(&self) -> &[ThreadId] {
        &self.0
    }
}

impl Org {
    pub(super) async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let arguments = ["--record-capacity".to_owned(), RECORD.to_string()];
        let (sim, addresses) = start_sim(&release::beside("sim")?, &arguments, dir.path()).await?;
        let rsa = generate_key_pair(2048)?;
        let control = ControlClient::new(&addresses.control)?;
        let switches = json!({
            "org_id": ORG_ID, "es_developer_name": DEPLOYMENT, "issuer": ISSUER,
            "keys": [PublicKey::pem(KEY_ID, &rsa.public_pem)],
            // What the org allows in a minute is not what is measured: a day's tokens are asked for at once.
            "token_limit": false, "message_limit": false, "token_ttl_s": 24 * 3_600,
        });
        control.configure_salesforce(switches).await?;
        Ok(Self { control: Arc::new(control), rsa, addresses, _sim: sim, _dir: dir })
    }

    /// As settings have it.
    pub(super) fn integration(&self) -> Value {
        json!({
            "id": "main",
            "instance_url": "https://sim.my.salesforce.com",
            "messaging_url": self.addresses.salesforce,
            "es_developer_name": DEPLOYMENT,
            "org_id": ORG_ID,
            "auth_key_id": KEY_ID,
            "issuer": ISSUER,
            "jwt_private_key": self.rsa.private_pem.expose_secret(),
            "jwt_public_key": self.rsa.public_pem,
        })
    }

    /// Threads with a rep in each. Their tokens are where handoff leaves them for egress.
    pub(super) async fn open(&self, plant: &Plant, threads: usize) -> Result<Threads> {
        let integration: Integration = serde_json::from_value(self.integration())?;
        let client = Client::new(&integration, salesforce::Options::default())?;
        let (client, integration) = (&client, &integration);
        let opened = stream::iter(0..threads).map(|thread| async move {
            let (contact, id) = (contact(thread), thread_id(thread));
            let at = runtime::now();
            let token = client.authenticate(&contact.to_string(), at).await?;
            let stored = StoredToken {
                token: token.token.clone(),
                last_event_id: token.last_event_id.clone(),
                expires_at: token.expires_at,
            };
            plant.store.save_token(&integration.id, contact, &stored, at).await?;
            client.create_conversation(&token, id, &NewSession::default()).await?;
            self.control.rep(&id.to_string(), &Verb::Accept { rep: None }).await?;
            anyhow::Ok(id)
        });
        Ok(Threads(opened.buffered(AT_ONCE).try_collect().await.context("open the threads")?))
    }

    /// The rep of the thread whose turn it is writes the message.
    pub(super) fn say(&self, live: &Threads, message: usize) -> impl Future<Output = Result<()>> + use<> {
        let thread = live.0[message % live.0.len()].to_string();
        let (control, text) = (Arc::clone(&self.control), graph::body(message));
        async move { control.rep(&thread, &Verb::Say { text }).await }
    }

    pub(super) async fn open_streams(&self) -> Result<usize> {
        Ok(usize::try_from(self.control.open_streams().await?)?)
    }

    /// Until as many streams are up.
    pub(super) async fn until_open(&self, threads: usize, patience: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let open = self.open_streams().await?;
            if open >= threads {
                return Ok(());
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "{open} of {threads} streams are up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(super) fn contact(thread: usize) -> ContactId {
    ContactId(domain::derive::uuid("bench-contact", &[&thread.to_be_bytes()]))
}

fn thread_id(thread: usize) -> ThreadId {
    ThreadId(domain::derive::uuid("bench-thread", &[&thread.to_be_bytes()]))
}
