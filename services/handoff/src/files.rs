//! Customers' files for the rep: attached where Salesforce takes them, else a link to our copy.

use std::time::Duration;

use bus::{Failure, MediaStore};
use bytes::Bytes;
use domain::{ThreadId, derive, derive::Keying};
use salesforce::{Error, FileUpload, UploadPlan};
use url::Url;
use uuid::Uuid;

use crate::{calls::failure, forward::StoredFile, peer::Peer};

/// How long a link to our copy opens it.
const LINK_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) struct Files {
    pub(crate) media: MediaStore,
    pub(crate) keying: Keying,
    /// Where ingress can be reached from outside.
    pub(crate) public_url: Option<Url>,
}

impl Files {
    /// Attaches a file; what it says comes along as its caption. `Some`: why Salesforce does not
    /// take it.
    pub(crate) async fn attach(
        &self,
        peer: &Peer,
        thread: ThreadId,
        id: Uuid,
        file: &StoredFile,
        caption: &str,
    ) -> Result<Option<String>, Failure> {
        let limits = peer.attachment_limits().await.map_err(failure)?;
        let name = match salesforce::plan_upload(&file.name, &file.mime, file.bytes, &limits) {
            UploadPlan::Send { name } => name,
            UploadPlan::Refuse { why } => return Ok(Some(why)),
        };
        let Some(bytes) = self.media.read(&file.object, limits.max_bytes).await? else {
            return Ok(Some("it is not kept any more".into()));
        };
        let upload = FileUpload { name, mime: file.mime.clone(), bytes: Bytes::from(bytes), caption };
        let file_id = derive::uuid("file", &[id.as_bytes()]);
        match peer.send_file(thread, id, file_id, &upload).await {
            Ok(()) => Ok(None),
            Err(Error::FileTooLarge) => Ok(Some("it is too large for Salesforce".into())),
            Err(Error::FileTypeRefused) => Ok(Some("Salesforce does not take files of its type".into())),
            Err(error) => Err(failure(error)),
        }
    }

    /// What the rep reads instead of a file.
    pub(crate) fn instead(&self, file: &StoredFile, caption: &str, why: &str) -> String {
        let size = match file.bytes {
            0..1_000_000 => format!("{} KB", file.bytes.div_ceil(1_000)),
            bytes => format!("{} MB", bytes.div_ceil(1_000_000)),
        };
        let about = format!("{caption}\nThe file {} ({size}) is not attached: {why}.", file.name);
        match self.link(&file.object, &file.name) {
            // A text that ends with a link would be cut in two by Salesforce.
            Some(link) => format!("{about} Open it within 7 days at {link} ."),
            None => about,
        }
    }

    fn link(&self, object: &str, name: &str) -> Option<Url> {
        let life = i64::try_from(LINK_LIFE.as_millis()).ok()?;
        let expires = runtime::now().saturating_add(life);
        let ending = name.rsplit_once('.').map_or("bin", |(_, ending)| ending);
        let path = derive::media_path(&self.keying, object, expires, ending);
        self.public_url.as_ref()?.join(&path).ok()
    }
}
