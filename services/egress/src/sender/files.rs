//! Files on their way to customers: from our object store or from Salesforce to Meta, once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bus::{Failure, MediaStore};
use bytes::{Bytes, BytesMut};
use domain::{
    PhoneNumberId, SendId,
    message::{Attachment, Buttons, File, Header, MediaKind, Outgoing, Template},
    settings::Channel,
};
use salesforce::{Attachments, Download, FetchError};
use tokio::sync::Semaphore;
use whatsapp::{
    client::{Class, SendError},
    outgoing::{kind_for, max_bytes},
};

/// Files in memory at once: each may have 100 MB.
const TRANSFERS: usize = 4;
/// Uploads remembered for the retries of their sends.
const REMEMBERED: usize = 1_024;

pub(crate) struct Files {
    media: MediaStore,
    attachments: Attachments,
    transfers: Semaphore,
    uploads: Mutex<HashMap<SendId, (String, MediaKind)>>,
}

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

impl Files {
    pub(crate) fn new(media: MediaStore, attachments: Attachments) -> Self {
        Self { media, attachments, transfers: Semaphore::new(TRANSFERS), uploads: Mutex::default() }
    }

    /// The id and kind of the body's file, uploaded if it was not before. `None`: it has no file.
    pub(super) async fn uploaded(
        &self,
        whatsapp: &whatsapp::Client,
        number: &PhoneNumberId,
        channel: &Channel,
        send: SendId,
        body: &Outgoing,
    ) -> Result<Option<(String, MediaKind)>, Unsent> {
        let Some(attachment) = file_of(body) else { return Ok(None) };
        if let Some(known) = self.uploads.lock().unwrap_or_else(PoisonError::into_inner).get(&send) {
            return Ok(Some(known.clone()));
        }
        let limit = max_bytes(MediaKind::Document);
        // A file may not be ready at once: whoever waits for it keeps no other from being sent.
        let opened = match &attachment.file {
            File::Stored { object } => Opened::Stored(object),
            File::Salesforce { url } => {
                Opened::Download(self.attachments.open_when_ready(url, limit).await.map_err(unfetched)?)
            }
        };
        // Closed never: it lives as long as we do.
        let _transfer = self.transfers.acquire().await;
        let bytes = self.bytes(opened, limit).await?;
        let kind = kind_for(&attachment.mime, bytes.len() as u64, attachment.kind)
            .map_err(|unfit| Unsent::Unfit(unfit.to_string()))?;
        let uploaded = whatsapp
            .upload(number, &channel.access_token, &attachment.name, &attachment.mime, bytes)
            .await
            .map_err(unsent)?;
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.len() >= REMEMBERED {
            uploads.clear();
        }
        Ok(Some(uploads.entry(send).insert_entry((uploaded.id, kind)).get().clone()))
    }

    async fn bytes(&self, opened: Opened<'_>, limit: u64) -> Result<Bytes, Unsent> {
        match opened {
            Opened::Stored(object) => match self.media.read(object, limit).await? {
                Some(bytes) => Ok(bytes.into()),
                None => Err(Unsent::Unfit("the file is not kept any more".into())),
            },
            Opened::Download(mut download) => {
                let mut bytes = BytesMut::new();
                while let Some(chunk) = download.chunk().await.map_err(unfetched)? {
                    bytes.extend_from_slice(&chunk);
                }
                Ok(bytes.freeze())
            }
        }
    }
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
