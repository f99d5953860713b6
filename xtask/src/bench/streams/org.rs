//! The simulated org, in a process of its own, with its live threads.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use devstack::Process;
use domain::{ContactId, ThreadId, settings::Integration};
use e2e::sim::{Addresses, ControlClient, PublicKey, Verb};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use salesforce::{
    Client, NewSession,
    identity::Signer,
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
    certificate: Option<Certificate>,
    _sim: Process,
    _dir: tempfile::TempDir,
}

/// For `localhost`, signed by itself.
struct Certificate {
    alone: PathBuf,
    with_key: PathBuf,
}

impl Certificate {
    fn new(dir: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (alone, with_key) = (dir.join("certificate.pem"), dir.join("certificate-and-key.pem"));
        let pem = |label, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
        };
        let certificate = pem("CERTIFICATE", made.cert.der());
        std::fs::write(&alone, &certificate)?;
        std::fs::write(&with_key, certificate + &pem("PRIVATE KEY", &made.signing_key.serialize_der()))?;
        Ok(Self { alone, with_key })
    }

    fn trusted(&self) -> Result<Arc<rustls::ClientConfig>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.alone)?)?;
        Ok(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
    }
}

/// The live threads, by number.
pub(super) struct Threads(Vec<ThreadId>);

impl Threads {
    pub(super) fn all(&self) -> &[ThreadId] {
        &self.0
    }
}

impl Org {
    /// `tls`: and HTTP/2, as Salesforce's hosts offer it.
    pub(super) async fn start(tls: bool) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut arguments = vec!["--record-capacity".to_owned(), RECORD.to_string()];
        let certificate = tls.then(|| Certificate::new(dir.path())).transpose()?;
        if let Some(certificate) = &certificate {
            arguments.extend(["--salesforce-tls".to_owned(), certificate.with_key.display().to_string()]);
        }
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
        Ok(Self { control: Arc::new(control), rsa, addresses, certificate, _sim: sim, _dir: dir })
    }

    /// What makes a process trust the org.
    pub(super) fn environment(&self) -> Option<(String, String)> {
        let certificate = self.certificate.as_ref()?;
        Some(("SSL_CERT_FILE".to_owned(), certificate.alone.display().to_string()))
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
        let options = salesforce::Options::default();
        let client = match &self.certificate {
            None => Client::new(&integration, options)?,
            Some(certificate) => {
                let signer = Signer::from_settings(&integration)?;
                Client::with_tls(&integration, signer, options, certificate.trusted()?)?
            }
        };
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

    /// From now on the org's limits hold.
    pub(super) async fn limit(&self) -> Result<()> {
        let switches = json!({ "token_limit": true, "message_limit": true });
        self.control.configure_salesforce(switches).await.map(drop)
    }

    /// Answers that said: too many requests.
    pub(super) async fn throttled(&self) -> Result<u64> {
        self.control.throttled().await
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
