//! Customers' files for the rep: attached where Salesforce takes them, converted where that is safe,
//! else told of in words, with a link to what Baton keeps.

use bus::{Failure, MediaStore};
use bytes::Bytes;
use domain::{ThreadId, derive, derive::Keying, links::FileLink};
use salesforce::{AttachmentLimits, Error, FileUpload, UploadPlan};
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

use crate::{
    calls::failure,
    config::PublicLinks,
    forward::StoredFile,
    peer::Peer,
    picture::{self, Picture},
};

/// Pictures that are converted at once: each may take 200 MB for a moment.
const CONVERSIONS: usize = 2;

pub(crate) struct Files {
    media: MediaStore,
    links: Option<Links>,
    conversions: Semaphore,
}

/// Links to what Baton keeps; ingress serves them.
struct Links {
    public: PublicLinks,
    keying: Keying,
}

/// Why the rep does not get a file.
pub(crate) struct Refusal {
    /// For people.
    why: String,
    /// Baton still has it.
    kept: bool,
}

impl Files {
    pub(crate) fn new(media: MediaStore, public: Option<PublicLinks>, keying: &Keying) -> Self {
        let links = public.map(|public| Links { public, keying: keying.clone() });
        Self { media, links, conversions: Semaphore::new(CONVERSIONS) }
    }

    /// Attaches a file; what it says comes along as its caption. `Some`: why it is not attached.
    pub(crate) async fn attach(
        &self,
        peer: &Peer,
        thread: ThreadId,
        id: Uuid,
        file: &StoredFile,
        caption: &str,
    ) -> Result<Option<Refusal>, Failure> {
        let limits = peer.attachment_limits().await.map_err(failure)?;
        let upload = match salesforce::plan_upload(&file.name, &file.mime, file.bytes, &limits) {
            UploadPlan::Send { name } => {
                let Some(bytes) = self.media.read(&file.object, limits.max_bytes).await? else {
                    return Ok(Some(forgotten()));
                };
                FileUpload { name, mime: file.mime.clone(), bytes: Bytes::from(bytes), caption }
            }
            UploadPlan::Refuse { why } => match self.converted(file, &limits).await? {
                Some(Picture { mime, ending, bytes }) => {
                    let stem = file.name.rsplit_once('.').map_or(file.name.as_str(), |(stem, _)| stem);
                    let name = format!("{stem}.{ending}");
                    FileUpload { name, mime: mime.to_owned(), bytes: Bytes::from(bytes), caption }
                }
                None => return Ok(Some(Refusal { why, kept: true })),
            },
        };
        self.upload(peer, thread, id, &upload).await
    }

    /// What every reader can open, made by us: a long transcript.
    pub(crate) async fn attach_text(
        &self,
        peer: &Peer,
        thread: ThreadId,
        id: Uuid,
        (name, text): (&str, String),
        caption: &str,
    ) -> Result<Option<Refusal>, Failure> {
        let limits = peer.attachment_limits().await.map_err(failure)?;
        let (mime, bytes) = ("text/plain", Bytes::from(text));
        match salesforce::plan_upload(name, mime, bytes.len() as u64, &limits) {
            UploadPlan::Send { name } => {
                let upload = FileUpload { name, mime: mime.to_owned(), bytes, caption };
                self.upload(peer, thread, id, &upload).await
            }
            UploadPlan::Refuse { why } => Ok(Some(Refusal { why, kept: false })),
        }
    }

    async fn upload(
        &self,
        peer: &Peer,
        thread: ThreadId,
        id: Uuid,
        upload: &FileUpload<'_>,
    ) -> Result<Option<Refusal>, Failure> {
        let file_id = derive::uuid("file", &[id.as_bytes()]);
        let refused = |why: &str| Ok(Some(Refusal { why: why.to_owned(), kept: true }));
        match peer.send_file(thread, id, file_id, upload).await {
            Ok(()) => Ok(None),
            Err(Error::FileTooLarge) => refused("it is too large for Salesforce"),
            Err(Error::FileTypeRefused) => refused("Salesforce does not take files of its type"),
            Err(error) => Err(failure(error)),
        }
    }

    /// A picture as Salesforce takes it. `None`: it is none, or cannot be made to.
    async fn converted(
        &self,
        file: &StoredFile,
        limits: &AttachmentLimits,
    ) -> Result<Option<Picture>, Failure> {
        let mime = file.mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let readable = (1..=picture::LARGEST_BYTES).contains(&file.bytes);
        if !limits.allowed || !readable || !picture::is_known(&mime) {
            return Ok(None);
        }
        // Closed never: it lives as long as we do.
        let _turn = self.conversions.acquire().await;
        let Some(bytes) = self.media.read(&file.object, picture::LARGEST_BYTES).await? else {
            return Ok(None);
        };
        let most = limits.max_bytes;
        let converted = tokio::task::spawn_blocking(move || picture::convert(&bytes, &mime, most)).await;
        Ok(converted.unwrap_or_else(|panic| {
            tracing::error!(error = runtime::error_chain(&panic), "a picture could not be converted");
            None
        }))
    }

    /// What the rep reads instead of a file.
    pub(crate) fn instead(&self, file: &StoredFile, caption: &str, refusal: &Refusal) -> String {
        let size = match file.bytes {
            0..1_000_000 => format!("{} KB", file.bytes.div_ceil(1_000)),
            bytes => format!("{} MB", bytes.div_ceil(1_000_000)),
        };
        let why = &refusal.why;
        let mut text = format!("{caption}\nThe file {} ({size}) is not attached: {why}.", file.name);
        if refusal.kept
            && let Some(links) = &self.links
        {
            let (address, days) = links.to(file);
            // Words behind it: Salesforce makes a message of its own of an address that ends a text
            // (`miaw-api.md` §4).
            text.push_str(&format!("\nDownload it at {address} within {days}."));
        }
        text
    }
}

fn forgotten() -> Refusal {
    Refusal { why: "it is not kept any more".into(), kept: false }
}

impl Links {
    /// The address, and how long it opens, in words.
    fn to(&self, file: &StoredFile) -> (Url, String) {
        let ending = file.name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let keep = self.public.keep;
        let expires_at = runtime::now().saturating_add(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        let link = FileLink { object: file.object.clone(), ending: ending.to_owned(), expires_at };
        let hours = keep.as_secs() / 3600;
        let words =
            if hours >= 48 { format!("{} days", hours / 24) } else { format!("{} hours", hours.max(1)) };
        (self.public.address(&link.token(&self.keying)), words)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_link_stands_inside_the_text_and_opens() {
        let keying = Keying::new(&SecretString::from("a secret for this test only, 32+"));
        let public = PublicLinks {
            base: "https://chat.example.com/baton".parse().unwrap(),
            keep: Duration::from_secs(7 * 24 * 3600),
        };
        let links = Links { public, keying: keying.clone() };
        let file = StoredFile {
            object: "0123abcd".into(),
            mime: "application/zip".into(),
            bytes: 1,
            name: "My holiday.zip".into(),
        };
        let (address, words) = links.to(&file);
        assert_eq!(words, "7 days");
        let token = address.as_str().strip_prefix("https://chat.example.com/baton/files/").unwrap();
        let link = FileLink::open(token, &keying, runtime::now()).unwrap();
        assert_eq!((link.object.as_str(), link.ending.as_str()), ("0123abcd", "zip"));
        assert!(!address.as_str().contains("oliday"), "no names in addresses");
    }
}
