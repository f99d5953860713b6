//! Customers' files for the rep: attached where Salesforce takes them, else told of in words.

use bus::{Failure, MediaStore};
use bytes::Bytes;
use domain::{ThreadId, derive};
use salesforce::{Error, FileUpload, UploadPlan};
use uuid::Uuid;

use crate::{calls::failure, forward::StoredFile, peer::Peer};

pub(crate) struct Files {
    pub(crate) media: MediaStore,
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
        format!("{caption}\nThe file {} ({size}) is not attached: {why}.", file.name)
    }
}
