//! Files that stand in the headers of templates: kept once, sent to many.

use bus::Log;
use campaign::{HEADER_FILES, HeaderUse, Media};
use domain::message::MediaKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use whatsapp::outgoing::{kind_for, max_bytes};

use crate::{actions, error::RouteError};

const MAX_NAME_CHARS: usize = 120;
const MAX_TYPE_CHARS: usize = 100;

/// As it is named in what is sent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderFile {
    /// What the upload answered.
    object: String,
    media: Kind,
    /// As recipients see it, where it is a document.
    name: String,
    mime: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Image,
    Video,
    Document,
}

impl From<&HeaderFile> for HeaderUse {
    fn from(HeaderFile { object, media, name, mime }: &HeaderFile) -> Self {
        let media = match media {
            Kind::Image => Media::Image,
            Kind::Video => Media::Video,
            Kind::Document => Media::Document,
        };
        Self::Media { object: object.clone(), media, name: name.clone(), mime: mime.clone() }
    }
}

impl HeaderFile {
    /// The file fits no memory: it goes into the store as it comes. It is as large as it may be.
    pub(crate) const MAX_BYTES: u64 = max_bytes(MediaKind::Document);

    /// Keeps a file, or says that WhatsApp takes no such one.
    pub(crate) async fn keep(
        log: &Log,
        name: &str,
        mime: &str,
        file: impl AsyncRead + Unpin + Send,
    ) -> Result<Self, RouteError> {
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
        let mime = mime.trim().to_lowercase();
        let plain =
            !mime.is_empty() && mime.len() <= MAX_TYPE_CHARS && mime.bytes().all(|b| b.is_ascii_graphic());
        if name.is_empty() || !plain {
            return Err(RouteError::UnfitFile);
        }
        let store = log.media().await?;
        let object = format!("{HEADER_FILES}{}", actions::nonce()?);
        let kept = store.put(&object, &mut file.take(Self::MAX_BYTES + 1)).await?;
        let media = match kind_for(&mime, kept.bytes, None) {
            Ok(MediaKind::Image) => Some(Kind::Image),
            Ok(MediaKind::Video) => Some(Kind::Video),
            Ok(MediaKind::Document) => Some(Kind::Document),
            Ok(MediaKind::Audio | MediaKind::Voice | MediaKind::Sticker) | Err(_) => None,
        };
        let Some(media) = media else {
            store.delete(&object).await?;
            return Err(RouteError::UnfitFile);
        };
        Ok(Self { object, media, name, mime })
    }

    pub(crate) fn is_foreign(&self) -> bool {
        HeaderUse::from(self).is_foreign() || self.object.is_empty()
    }
}
