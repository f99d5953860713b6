//! Files on their way to customers: from our object store or from Salesforce to Meta, once.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::{Failure, MediaStore};
use bytes::{Bytes, BytesMut};
use domain::{
    PhoneNumberId, SendId,
    message::{Attachment, Buttons, File, Header, MediaKind, Outgoing, Template},
    settings::{Channel, Settings},
};
use futures::Stream;
use runtime::settings::{Derived, Live};
use salesforce::{Attachments, ConfigError, Download, FetchError};
use store::Store;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::Semaphore,
    time::Instant,
};
use whatsapp::{
    client::{Body, Class, SendError},
    outgoing::{kind_for, max_bytes},
};

/// Files on their way at once: of each a piece is in memory.
const TRANSFERS: usize = 8;
/// Of a kept file, read at once.
const PIECE: usize = 64 * 1024;
/// Files whose server does not say how long they are: each is in memory as a whole, up to 100 MB.
const BUFFERED: usize = 1;
/// Uploads remembered for the retries of their sends.
const REMEMBERED: usize = 1_024;
/// WhatsApp keeps an uploaded file for 30 days (`whatsapp-cloud-api.md` §6.1).
const REUSED_FOR: Duration = Duration::from_secs(25 * 24 * 3600);
/// Before the cache is asked again.
const LOOKED_UP_FOR: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Files {
    media: MediaStore,
    settings: Live,
    /// `None`: there can be no client, which has been said.
    attachments: Derived<Option<Attachments>>,
    transfers: Semaphore,
    buffered: Semaphore,
    uploads: Mutex<HashMap<SendId, Uploaded>>,
    store: Store,
    /// Of templates, by number and object; and when that was looked up.
    headers: tokio::sync::Mutex<HashMap<(PhoneNumberId, String), (Uploaded, Instant)>>,
}

/// WhatsApp's id of a file, and what it goes as.
type Uploaded = (String, MediaKind);

/// Why a file is not at Meta's.
pub(crate) enum Unsent {
    Later(Failure),
    /// For people.
    Unfit(String),
}

impl From<bus::Error> for Unsent {
    fn from(error: bus::Error) -> Self {
        Self::Later(error.into())
    }
}

/// Files are where the integrations' conversations are.
fn client(settings: &Settings) -> Result<Attachments, ConfigError> {
    let hosts: Vec<_> =
        settings.integrations.iter().filter_map(|integration| integration.messaging_url().ok()).collect();
    Attachments::new(&hosts)
}

impl Files {
    /// # Errors
    /// When there can be no client for reps' files.
    pub(crate) fn new(media: MediaStore, settings: Live, store: Store) -> Result<Self, ConfigError> {
        let now = settings.now();
        let attachments = Derived::new(Arc::clone(&now), Some(client(&now)?));
        let (transfers, buffered) = (Semaphore::new(TRANSFERS), Semaphore::new(BUFFERED));
        let (uploads, headers) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { media, settings, attachments, transfers, buffered, uploads, store, headers })
    }

    /// The client for reps' files, as the settings are now.
    fn attachments(&self) -> Arc<Option<Attachments>> {
        let settings = self.settings.now();
        self.attachments.of(&settings, |before| match client(&settings) {
            Ok(client) => Some(client),
            Err(error) => {
                let error = runtime::error_chain(&error);
                tracing::error!(error, "the client for reps' files is kept as it was");
                before.cloned().flatten()
            }
        })
    }

    /// The id and kind of the body's file, uploaded if it was not before. `None`: it has no file.
    pub(super) async fn uploaded(
        &self,
        whatsapp: &whatsapp::Client,
        number: &PhoneNumberId,
        channel: &Channel,
        send: SendId,
        body: &Outgoing,
    ) -> Result<Option<Uploaded>, Unsent> {
        let Some(attachment) = file_of(body) else { return Ok(None) };
        if let (Outgoing::Template(_), File::Stored { object }) = (body, &attachment.file) {
            return self.shared(whatsapp, number, channel, attachment, object).await.map(Some);
        }
        if let Some(known) = self.uploads.lock().unwrap_or_else(PoisonError::into_inner).get(&send) {
            return Ok(Some(known.clone()));
        }
        let uploaded = self.upload(whatsapp, number, channel, attachment).await?;
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.len() >= REMEMBERED {
            uploads.clear();
        }
        Ok(Some(uploads.entry(send).insert_entry(uploaded).get().clone()))
    }

    /// The file of a template's header goes to many: it is uploaded once for a number, by whoever needs
    /// it first; the others wait.
    async fn shared(
        &self,
        whatsapp: &whatsapp::Client,
        number: &PhoneNumberId,
        channel: &Channel,
        attachment: &Attachment,
        object: &str,
    ) -> Result<Uploaded, Unsent> {
        let place = (number.clone(), object.to_owned());
        let mut headers = self.headers.lock().await;
        if let Some((uploaded, at)) = headers.get(&place)
            && at.elapsed() < LOOKED_UP_FOR
        {
            return Ok(uploaded.clone());
        }
        // Without the cache it is uploaded again: that costs a little and harms nobody.
        let known = self.store.uploaded(number, object).await.unwrap_or_default();
        let uploaded = match (known, attachment.kind) {
            (Some(id), Some(kind)) => (id, kind),
            (Some(_) | None, _) => {
                let uploaded = self.upload(whatsapp, number, channel, attachment).await?;
                let kept = self.store.remember_upload(number, object, &uploaded.0, REUSED_FOR).await;
                if let Err(error) = kept {
                    tracing::debug!(error = runtime::error_chain(&error), "an upload was not remembered");
                }
                uploaded
            }
        };
        if headers.len() >= REMEMBERED {
            headers.clear();
        }
        headers.insert(place, (uploaded.clone(), Instant::now()));
        Ok(uploaded)
    }

    async fn upload(
        &self,
        whatsapp: &whatsapp::Client,
        number: &PhoneNumberId,
        channel: &Channel,
        attachment: &Attachment,
    ) -> Result<Uploaded, Unsent> {
        let limit = max_bytes(MediaKind::Document);
        // A file may not be ready at once: whoever waits for it keeps no other from being sent.
        let opened = match &attachment.file {
            File::Stored { object } => Opened::Stored(object),
            File::Salesforce { url } => {
                let client = self.attachments();
                let Some(client) = client.as_ref() else {
                    return Err(Unsent::Later(Failure::soon("there is no client for reps' files")));
                };
                Opened::Download(client.open_when_ready(url, limit).await.map_err(unfetched)?)
            }
        };
        // Closed never: they live as long as we do.
        let _transfer = self.transfers.acquire().await;
        let _whole = match &opened {
            Opened::Download(download) if download.length().is_none() => Some(self.buffered.acquire().await),
            Opened::Download(_) | Opened::Stored(_) => None,
        };
        let (bytes, length) = self.bytes(opened, limit).await?;
        let kind = kind_for(&attachment.mime, length, attachment.kind)
            .map_err(|unfit| Unsent::Unfit(unfit.to_string()))?;
        let token = &channel.access_token;
        let uploaded = whatsapp
            .upload_stream(number, token, &attachment.name, &attachment.mime, bytes, length)
            .await
            .map_err(unsent)?;
        Ok((uploaded.id, kind))
    }

    /// What is to be uploaded, read as it goes, and how long it is.
    async fn bytes(&self, opened: Opened<'_>, limit: u64) -> Result<(Body, u64), Unsent> {
        match opened {
            Opened::Stored(object) => {
                let gone = || Unsent::Unfit("the file is not kept any more".into());
                let length = self.media.info(object).await?.ok_or_else(gone)?.bytes;
                if length > limit {
                    return Err(Unsent::Unfit(format!("the file is larger than {} MB", limit / 1_048_576)));
                }
                let kept = self.media.get(object).await?.ok_or_else(gone)?;
                Ok((Body::wrap_stream(pieces(Box::pin(kept))), length))
            }
            Opened::Download(mut download) => match download.length() {
                Some(length) => Ok((Body::wrap_stream(chunks(download)), length)),
                None => {
                    let mut bytes = BytesMut::new();
                    while let Some(chunk) = download.chunk().await.map_err(unfetched)? {
                        bytes.extend_from_slice(&chunk);
                    }
                    let length = bytes.len() as u64;
                    Ok((bytes.freeze().into(), length))
                }
            },
        }
    }
}

fn pieces(kept: Pin<Box<dyn AsyncRead + Send>>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold(kept, async |mut kept| {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = kept.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (piece.freeze(), kept)))
    })
}

/// A transfer that breaks breaks the upload, and both are tried again.
fn chunks(download: Download) -> impl Stream<Item = Result<Bytes, FetchError>> + Send + 'static {
    futures::stream::try_unfold(download, async |mut download| {
        Ok(download.chunk().await?.map(|chunk| (chunk, download)))
    })
}

/// A file that is there.
enum Opened<'a> {
    Stored(&'a str),
    Download(Download),
}

fn unfetched(error: FetchError) -> Unsent {
    match error {
        FetchError::Retry(_) => Unsent::Later(Failure::soon(error)),
        FetchError::Gone
        | FetchError::TooLarge { .. }
        | FetchError::ForeignHost
        | FetchError::Refused { .. } => Unsent::Unfit(error.to_string()),
    }
}

fn file_of(body: &Outgoing) -> Option<&Attachment> {
    let header = match body {
        Outgoing::Attachment(attachment) => return Some(attachment),
        Outgoing::Buttons(Buttons { header, .. }) | Outgoing::Template(Template { header, .. }) => header,
        Outgoing::Text(_)
        | Outgoing::Location(_)
        | Outgoing::Contacts(_)
        | Outgoing::List(_)
        | Outgoing::Link(_)
        | Outgoing::Reaction { .. } => return None,
    };
    match header {
        Some(Header::Attachment(attachment)) => Some(attachment),
        Some(Header::Text(_)) | None => None,
    }
}

/// An upload shows nobody anything: whatever is not a clear no is tried again.
fn unsent(error: SendError) -> Unsent {
    match &error {
        SendError::Refused(refusal) => match refusal.class {
            Class::Retry | Class::Config | Class::Pace(_) => Unsent::Later(Failure::soon(error)),
            Class::Fix | Class::Final | Class::Template => Unsent::Unfit(error.to_string()),
        },
        SendError::Paced { retry_after: Some(rest), .. } => {
            let rest = *rest;
            Unsent::Later(Failure::after(rest, error))
        }
        SendError::NotSent(_) | SendError::InDoubt(_) | SendError::Paced { .. } => {
            Unsent::Later(Failure::soon(error))
        }
    }
}
