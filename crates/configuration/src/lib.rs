//! The settings, kept in the broker: one document, sealed under MASTER_KEY, saved as a whole by
//! compare-and-swap, followed by every service without a restart.
//!
//! Each revision holds who made it and what it changes, sealed together with the document: no
//! change is without its record. The bucket (`BATON_SETTINGS`) keeps the last 1,000.
//!
//! The document is what a settings file holds, references to the environment and to files included
//! (`runtime::settings`): each service looks those up for itself.

mod source;

use std::{path::Path, sync::Arc, time::Duration};

use bus::{Follow, Log, Replaced, Revision, Revisions};
use domain::{
    Millis,
    settings::{Invalid, Settings, Webhook},
};
use runtime::settings::Live;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
pub use source::{Args, settings};
use store::{BadMasterKey, Seal, Sealed};
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the document is sealed for.
const PLACE: &str = "settings";
/// Sealed, and in a message. A broker that takes less than this is asked what it takes.
const MAX_BYTES: usize = 4 << 20;
/// What a message has beside its payload.
const OVERHEAD_BYTES: usize = 1024;
/// Longer words about a change are cut.
const MAX_WORDS: usize = 300;
/// For the broker to answer when a service starts.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// What is kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Configuration {
    revisions: Revisions,
    seal: Seal,
    max_bytes: usize,
    tasks: TaskTracker,
}

/// The settings as they were saved, references not filled in. It holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// `{"channels": []}` when nothing was saved yet.
    pub value: Value,
    /// What a change is based on; 0 when nothing was saved yet.
    pub revision: u64,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// Who changes what. It is shown to whoever may see the list of changes: no secrets in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub who: String,
    /// In words, for example `channel 106540352242922 edited: quiet time`.
    pub what: String,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When the broker stored it.
    pub at: Millis,
    pub who: String,
    pub what: String,
    /// The revision it made.
    pub revision: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Everything that is wrong at once, each with its field.
    #[error("the settings cannot be used:\n  {}", lines(.0))]
    Invalid(Vec<Invalid>),
    /// Somebody else saved meanwhile; that stays.
    #[error("the settings were changed by somebody else: they are at revision {by_now} by now")]
    Changed { by_now: u64 },
    #[error("the settings are larger than the broker takes (max_payload)")]
    TooLarge,
    /// They were sealed with a key that is not in MASTER_KEY.
    #[error("the settings that are kept in the broker cannot be opened with this MASTER_KEY")]
    Sealed,
    #[error(transparent)]
    MasterKey(#[from] BadMasterKey),
    #[error("the settings in the broker")]
    Broker(#[source] bus::Error),
}

fn lines(found: &[Invalid]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

impl From<bus::Error> for Error {
    fn from(error: bus::Error) -> Self {
        match error {
            // The only thing that a broker has against a document.
            bus::Error::Refused(_) => Self::TooLarge,
            error @ (bus::Error::Broker { .. }
            | bus::Error::Deadline
            | bus::Error::Unsafe { .. }
            | bus::Error::Config(_)
            | bus::Error::NoEntry(_)) => Self::Broker(error),
        }
    }
}

/// A revision, before it is sealed.
#[derive(Serialize, Deserialize)]
struct Saved {
    who: String,
    what: String,
    document: Value,
}

impl Configuration {
    /// # Errors
    /// When the broker cannot be reached or the key is malformed; whether it is the right one shows
    /// when something is read.
    pub async fn open(log: &Log, master_key: &SecretString) -> Result<Self, Error> {
        Ok(Self {
            seal: Seal::new(master_key)?,
            revisions: log.settings().await?,
            max_bytes: log.max_payload().min(MAX_BYTES).saturating_sub(OVERHEAD_BYTES),
            tasks: TaskTracker::new(),
        })
    }

    /// The newest revision, as the broker's leader knows it.
    ///
    /// # Errors
    /// When the broker does not answer, or the document cannot be opened.
    pub async fn current(&self) -> Result<Document, Error> {
        match self.revisions.last().await? {
            Some(last) => self.document(&last),
            None => Ok(Document { value: empty(), revision: 0 }),
        }
    }

    /// Keeps `value` as the newest revision, which is returned, if the newest is still `based_on`.
    /// What cannot be used is not kept. References are looked up here, too: whoever saves must
    /// see what services see.
    ///
    /// # Errors
    /// [`Error::Broker`] with [`bus::Error::Deadline`]: it may be kept all the same; look.
    pub async fn save(&self, value: Value, based_on: u64, change: Change) -> Result<u64, Error> {
        check(value.clone())?;
        let saved = Saved { who: words(&change.who), what: words(&change.what), document: value };
        // Values and texts are always JSON.
        let plain = serde_json::to_vec(&saved).map_err(|_| Error::TooLarge)?;
        let Sealed(sealed) = self.seal.seal(PLACE, &plain).ok_or(Error::Sealed)?;
        if sealed.len() > self.max_bytes {
            return Err(Error::TooLarge);
        }
        match self.revisions.replace(based_on, sealed.into()).await? {
            Replaced::Stored(revision) => {
                tracing::info!(revision, "the settings were saved");
                Ok(revision)
            }
            Replaced::Changed { by_now } => Err(Error::Changed { by_now }),
        }
    }

    /// Settings that follow what is saved until `shutdown`; then they stay as they are. A revision
    /// that cannot be used leaves the one before in force, and is logged. Their `version` is the
    /// revision.
    ///
    /// # Errors
    /// When what is kept cannot be used at all: there is none before it that could stay in force.
    pub async fn live(&self, shutdown: CancellationToken) -> Result<Live, Error> {
        let until = Instant::now() + START_PATIENCE;
        let last = loop {
            match self.revisions.last().await {
                Ok(last) => break last,
                Err(error) if Instant::now() >= until => return Err(error.into()),
                Err(error) => {
                    tracing::info!(error = runtime::error_chain(&error), "the settings are not there yet");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        };
        let (known, settings) = match last {
            Some(last) => (last.revision, self.settings(&last)?),
            None => (0, none()),
        };
        tracing::info!(revision = known, channels = settings.channels.len(), "following the settings");
        let (feed, live) = Live::new(settings);
        let follow = self.revisions.follow(known).await?;
        let this = self.clone();
        self.tasks.spawn(async move {
            let _ = shutdown.run_until_cancelled(this.feed(follow, feed)).await;
        });
        Ok(live)
    }

    /// Until nobody holds the settings any more.
    async fn feed(&self, mut follow: Follow, feed: watch::Sender<Arc<Settings>>) {
        loop {
            let revision = tokio::select! {
                revision = follow.next() => revision,
                () = feed.closed() => return,
            };
            let number = revision.revision;
            match self.usable(&revision) {
                Ok(settings) => {
                    tracing::info!(
                        revision = number,
                        channels = settings.channels.len(),
                        "the settings changed"
                    );
                    feed.send_replace(Arc::new(settings));
                }
                Err(error) => {
                    let error = runtime::error_chain(&error);
                    tracing::error!(
                        revision = number,
                        error,
                        "the settings that were saved cannot be used here: those before stay in force"
                    );
                }
            }
        }
    }

    /// At most `most`, newest first.
    ///
    /// # Errors
    /// When the broker does not answer, or one cannot be opened: a key that changes were sealed
    /// with must stay in MASTER_KEY.
    pub async fn changes(&self, most: usize) -> Result<Vec<Recorded>, Error> {
        let newest = self.revisions.newest(most).await?;
        newest
            .into_iter()
            .map(|revision| {
                let (who, what) = match self.opened(&revision)? {
                    Some(saved) => (saved.who, saved.what),
                    None => ("somebody with the broker's tools".into(), "everything deleted".into()),
                };
                Ok(Recorded { at: revision.at, who, what, revision: revision.revision })
            })
            .collect()
    }

    fn document(&self, revision: &Revision) -> Result<Document, Error> {
        let value = self.opened(revision)?.map_or_else(empty, |saved| saved.document);
        Ok(Document { value, revision: revision.revision })
    }

    /// As a service takes them at start.
    fn settings(&self, revision: &Revision) -> Result<Settings, Error> {
        let Document { value, revision } = self.document(revision)?;
        Ok(Settings { version: revision, ..check(value)? })
    }

    /// As a service takes them while others are in force: a bucket that was emptied empties nothing.
    fn usable(&self, revision: &Revision) -> Result<Settings, Error> {
        if revision.payload.is_empty() {
            let problem = "were deleted in the broker".into();
            return Err(Error::Invalid(vec![Invalid { field: "settings".into(), problem }]));
        }
        self.settings(revision)
    }

    /// `None`: deleted.
    fn opened(&self, revision: &Revision) -> Result<Option<Saved>, Error> {
        if revision.payload.is_empty() {
            return Ok(None);
        }
        let sealed = String::from_utf8(revision.payload.to_vec()).map_err(|_| Error::Sealed)?;
        let plain = self.seal.open(PLACE, &Sealed(sealed)).ok_or(Error::Sealed)?;
        serde_json::from_slice(&plain).map(Some).map_err(|_| Error::Sealed)
    }
}

fn check(value: Value) -> Result<Settings, Error> {
    runtime::settings::check(value, Path::new(".")).map_err(Error::Invalid)
}

fn empty() -> Value {
    json!({ "channels": [] })
}

/// What is in force before anything was saved.
fn none() -> Settings {
    Settings {
        version: 0,
        autopilot: true,
        channels: Vec::new(),
        webhook: Webhook::default(),
        integrations: Vec::new(),
        faq: Vec::new(),
    }
}

fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}
