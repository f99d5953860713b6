//! Customers' files: fetched as soon as their message is in the log, since WhatsApp's addresses live
//! for minutes, and kept in the object store. What became of each is told in an entry of its own
//! (`md`), which whoever shows the message waits for.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bus::{Entry, Failure, Handler, Lease, Log, MediaStore};
use bytes::{Buf as _, Bytes};
use domain::message::{InboundMessage, Media, MediaKind};
use futures::Stream;
use proto::{
    subjects::{self, Kind},
    v1::{self, entry::Body, media_fetched},
};
use runtime::settings::Live;
use tokio::io::{AsyncRead, ReadBuf};
use whatsapp::{
    client::{Download, FetchError, inbound_limit},
    outgoing::{ending_for, essence},
};

/// How long after the message a failing fetch is tried again.
const PATIENCE: Duration = Duration::from_secs(100);
/// A file that arrived damaged is fetched anew so often in all, each time from a fresh address.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// Of a customer's file name.
const NAME_CHARS: usize = 100;

pub(crate) struct Fetching {
    pub(crate) settings: Live,
    pub(crate) log: Log,
    pub(crate) whatsapp: whatsapp::Client,
    pub(crate) media: MediaStore,
}

impl Handler for Fetching {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        let address =
            entry.address.as_ref().ok_or_else(|| Failure::never("the subject is not a conversation's"))?;
        let message = proto::decode(entry.payload.clone()).map_err(Failure::never)?.into_message();
        let message = message.ok_or_else(|| Failure::never("not a customer's message"))?;
        let message = proto::convert::inbound(message).map_err(Failure::never)?;
        let Some(media) = message.content.spoken().1.media() else { return Ok(()) };
        let subject = subjects::fact(&address.key, Kind::Media, &address.id);
        if self.log.last(&subject).await?.is_some() {
            return Ok(());
        }
        // A channel that ingress knows already may be new to us.
        self.settings.knowing(&message.number, entry.at).await;
        let result = match self.fetch_whole(&address.id, &message, media).await {
            Ok(stored) => media_fetched::Result::Stored(stored),
            Err(Trouble::Log(failure)) => return Err(failure),
            // A refusal may be of an address that was old, or of a token that is being replaced.
            Err(Trouble::Fetch(error @ (FetchError::Retry(_) | FetchError::Refused { .. })))
                if runtime::age(entry.at) < PATIENCE =>
            {
                return Err(Failure::soon(error));
            }
            Err(Trouble::Fetch(error)) => {
                tracing::warn!(error = runtime::error_chain(&error), "a customer's file was not fetched");
                media_fetched::Result::Failed(error.to_string())
            }
        };
        let body = Body::MediaFetched(v1::MediaFetched { result: Some(result) });
        self.log.append_fact(&subject, proto::encode(body), None).await?;
        Ok(())
    }
}

enum Trouble {
    Log(Failure),
    Fetch(FetchError),
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl Fetching {
    async fn fetch_whole(
        &self,
        id: &str,
        message: &InboundMessage,
        media: &Media,
    ) -> Result<media_fetched::Stored, Trouble> {
        let mut tried = 1;
        loop {
            match self.fetch(id, message, media).await {
                Err(Trouble::Fetch(FetchError::Damaged)) if tried < TRIES => {
                    tokio::time::sleep(PAUSE * tried).await;
                    tried += 1;
                }
                result => return result,
            }
        }
    }

    async fn fetch(
        &self,
        id: &str,
        message: &InboundMessage,
        media: &Media,
    ) -> Result<media_fetched::Stored, Trouble> {
        let settings = self.settings.now();
        let channel = settings.channel(&message.number).ok_or_else(|| {
            Trouble::Log(Failure::never("the settings have no channel for the number that got the file"))
        })?;
        let token = &channel.access_token;
        let (sha256, limit) = (media.sha256.as_deref(), inbound_limit(media.kind));
        let opened = self.whatsapp.fetch_media(&message.number, token, &media.id, sha256, limit);
        let (info, download) = opened.await?;
        let end = Arc::new(Mutex::new(End::default()));
        let mut reader = Reader::new(download, Arc::clone(&end));
        let kept = self.media.put(id, &mut reader).await;
        let End { sha256, error } = std::mem::take(&mut *end.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(error) = error {
            return Err(error.into());
        }
        let kept = kept.map_err(|error| Trouble::Log(error.into()))?;
        let mime = if media.mime.is_empty() { essence(&info.mime_type) } else { essence(&media.mime) };
        Ok(media_fetched::Stored {
            object: id.to_owned(),
            file_name: file_name(media, &mime),
            mime,
            bytes: kept.bytes,
            sha256,
        })
    }
}

/// The customer's name for it without what file systems and headers mind, ending as its type says.
fn file_name(media: &Media, mime: &str) -> String {
    let plain = |c: char| {
        !c.is_control()
            && !is_invisible(c)
            && !matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
    };
    let name: String = media.file_name.iter().flat_map(|name| name.chars()).filter(|c| plain(*c)).collect();
    let name: String = name.trim_matches(['.', ' ']).chars().take(NAME_CHARS).collect();
    let ending = ending_for(mime);
    let stem = match media.kind {
        MediaKind::Voice => "voice-note",
        MediaKind::Image | MediaKind::Video | MediaKind::Audio | MediaKind::Document | MediaKind::Sticker => {
            media.kind.as_str()
        }
    };
    match name.rsplit_once('.') {
        _ if name.is_empty() => format!("{stem}.{ending}"),
        // A type that we do not know leaves the name as it is.
        Some((_, known)) if ending == "bin" || known.eq_ignore_ascii_case(ending) => name,
        Some(_) | None => format!("{name}.{ending}"),
    }
}

/// What turns the direction of what follows or does not show: with it a program's name can look like
/// a picture's. The joiners that emoji and some scripts need stay.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// How a transfer ended, for whoever cannot see through an I/O error.
#[derive(Default)]
struct End {
    sha256: String,
    error: Option<FetchError>,
}

type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A download as bytes to be read.
struct Reader {
    chunks: Chunks,
    left: Bytes,
}

impl Reader {
    fn new(download: Download, end: Arc<Mutex<End>>) -> Self {
        let chunks = futures::stream::unfold(Some((download, end)), |state| async move {
            let (mut download, end) = state?;
            let told = |change: &mut dyn FnMut(&mut End)| {
                change(&mut end.lock().unwrap_or_else(PoisonError::into_inner));
            };
            match download.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some((download, end)))),
                Ok(None) => {
                    told(&mut |end| end.sha256 = download.sha256());
                    None
                }
                Err(error) => {
                    let mut error = Some(error);
                    told(&mut |end| end.error = error.take());
                    Some((Err(io::Error::other("the transfer failed")), None))
                }
            }
        });
        Self { chunks: Box::pin(chunks), left: Bytes::new() }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match std::task::ready!(self.chunks.as_mut().poll_next(context)) {
                Some(Ok(chunk)) => self.left = chunk,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left[..count]);
        self.left.advance(count);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_fit_their_type() {
        let named = |name: Option<&str>, kind, mime: &str| {
            let media = Media {
                kind,
                id: String::new(),
                mime: mime.into(),
                sha256: None,
                file_name: name.map(Into::into),
                caption: None,
            };
            file_name(&media, mime)
        };
        assert_eq!(named(Some("../../etc/passwd"), MediaKind::Document, "application/pdf"), "etcpasswd.pdf");
        assert_eq!(named(Some("Bill.PDF"), MediaKind::Document, "application/pdf"), "Bill.PDF");
        assert_eq!(named(Some("a.exe"), MediaKind::Document, "application/x-thing"), "a.exe");
        let turned = "in\u{202e}fdp\u{2066}.\u{200f}e\u{0}xe\u{feff}";
        assert_eq!(named(Some(turned), MediaKind::Document, "application/pdf"), "infdp.exe.pdf");
        assert_eq!(
            named(Some("نامه\u{200c}ها.pdf"), MediaKind::Document, "application/pdf"),
            "نامه\u{200c}ها.pdf"
        );
        assert_eq!(named(None, MediaKind::Voice, "audio/ogg"), "voice-note.ogg");
        assert_eq!(named(None, MediaKind::Image, "image/jpeg"), "image.jpg");
    }
}
