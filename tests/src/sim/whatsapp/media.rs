//! Files: what is stored, what each kind of message takes (`whatsapp-cloud-api.md` §6.3), and the
//! trouble that downloads can have on order.

use std::collections::{HashMap, VecDeque};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Files and bytes kept; the oldest go first.
const MAX_FILES: usize = 20_000;
const MAX_BYTES: usize = 1 << 30;
const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;
/// The largest file there is, of any kind.
pub(super) const MAX_FILE: usize = 100 * MIB;

const DAY_MS: i64 = 24 * 3_600_000;

/// The kinds of §6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Audio,
    Document,
    Image,
    Sticker,
    Video,
}

impl Family {
    const ALL: [Self; 5] = [Self::Audio, Self::Document, Self::Image, Self::Sticker, Self::Video];

    /// Of a message's type; what is none of the others is a document.
    pub(super) fn of_type(kind: &str) -> Self {
        match kind {
            "audio" => Self::Audio,
            "image" => Self::Image,
            "sticker" => Self::Sticker,
            "video" => Self::Video,
            _ => Self::Document,
        }
    }

    fn of_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.mimes().contains(&bare(mime)))
    }

    pub(super) fn mimes(self) -> &'static [&'static str] {
        match self {
            Self::Audio => &["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"],
            Self::Document => &[
                "text/plain",
                "application/pdf",
                "application/msword",
                "application/vnd.ms-excel",
                "application/vnd.ms-powerpoint",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            ],
            Self::Image => &["image/jpeg", "image/png"],
            Self::Sticker => &["image/webp"],
            Self::Video => &["video/3gpp", "video/mp4"],
        }
    }

    /// In bytes. Stickers: the limit of animated ones, unless the bytes say that it is a still one.
    fn max(self, bytes: &[u8]) -> usize {
        let animated = bytes.windows(4).take(64).any(|chunk| chunk == b"ANIM");
        match self {
            Self::Audio | Self::Video => 16 * MIB,
            Self::Document => MAX_FILE,
            Self::Image => 5 * MIB,
            Self::Sticker if animated => 500 * KIB,
            Self::Sticker => 100 * KIB,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Audio => "Audio",
            Self::Document => "Document",
            Self::Image => "Image",
            Self::Sticker => "Sticker",
            Self::Video => "Video",
        }
    }

    /// Whether a file may go as this kind; if not, the failed status's code and details.
    pub(super) fn judge(
        self,
        declared: &str,
        bytes: &[u8],
        voice: bool,
        strict: bool,
    ) -> Result<(), (i64, String)> {
        let found = found(bytes, declared);
        let any_document = self == Self::Document && !strict;
        if !self.mimes().contains(&found) && !any_document {
            let mut mimes = self.mimes().to_vec();
            mimes.sort_unstable();
            let details = format!(
                "Unsupported {} mime type {found}. Please use one of {}.",
                self.name(),
                mimes.join(", ")
            );
            return Err((131_053, details));
        }
        if bytes.len() > self.max(bytes) {
            return Err((
                131_053,
                format!("Media file size too big. Max file size: {} bytes.", self.max(bytes)),
            ));
        }
        if voice && found != "audio/ogg" {
            return Err((131_053, format!("Voice messages must be audio/ogg, not {found}.")));
        }
        Ok(())
    }
}

/// Whether a file may be uploaded: the code and details of the refusal.
pub(super) fn judge_upload(declared: &str, bytes: &[u8], strict: bool) -> Result<(), (i64, String)> {
    let family = Family::of_mime(declared);
    let max = match family {
        Some(family) if strict => family.max(bytes),
        None if strict => {
            let mimes: Vec<&str> = Family::ALL.into_iter().flat_map(Family::mimes).copied().collect();
            let details = format!(
                "Param file must be a file with one of the following types: {}. Received file of type '{declared}'.",
                mimes.join(", ")
            );
            return Err((100, details));
        }
        Some(_) | None => MAX_FILE,
    };
    if bytes.len() > max {
        return Err((131_053, format!("Media file size too big. Max file size: {max} bytes.")));
    }
    Ok(())
}

/// Without parameters.
fn bare(mime: &str) -> &str {
    mime.split(';').next().unwrap_or_default().trim()
}

/// What the bytes are, where they tell; else what they were said to be.
fn found<'a>(bytes: &[u8], declared: &'a str) -> &'a str {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let brand = bytes.get(4..12).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.get(..16).unwrap_or(bytes)).to_ascii_lowercase();
    let declared = bare(declared);
    if starts(b"\xff\xd8\xff") {
        "image/jpeg"
    } else if starts(b"\x89PNG") {
        "image/png"
    } else if starts(b"GIF8") {
        "image/gif"
    } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        "image/webp"
    } else if starts(b"%PDF") {
        "application/pdf"
    } else if starts(b"OggS") {
        "audio/ogg"
    } else if starts(b"#!AMR") {
        "audio/amr"
    } else if starts(b"ID3") {
        "audio/mpeg"
    } else if brand.starts_with(b"ftyp3g") {
        "video/3gpp"
    } else if brand.starts_with(b"ftypM4A") {
        "audio/mp4"
    } else if brand.starts_with(b"ftyp") && !matches!(declared, "audio/mp4" | "video/3gpp") {
        "video/mp4"
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        "text/html"
    } else {
        declared
    }
}

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) number: String,
    pub(super) mime_type: String,
    pub(super) filename: Option<String>,
    pub(super) bytes: Bytes,
    sha256: [u8; 32],
    /// By the simulator's clock.
    ends_ms: i64,
}

impl Stored {
    /// As the answer to GET has it.
    pub(super) fn hex(&self) -> String {
        hex::encode(self.sha256)
    }

    /// As webhooks have it.
    pub(super) fn base64(&self) -> String {
        STANDARD.encode(self.sha256)
    }
}

/// Hex SHA-256.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// All files, and what is to go wrong with downloads.
#[derive(Debug, Default)]
pub(super) struct Library {
    files: HashMap<String, Stored>,
    order: VecDeque<String>,
    bytes: usize,
    counter: u64,
    key: u64,
    troubles: Vec<MediaTrouble>,
}

impl Library {
    pub(super) fn new() -> Self {
        Self { key: fastrand::u64(..), ..Self::default() }
    }

    /// Keeps a file for so many days and gives its id.
    pub(super) fn put(
        &mut self,
        number: &str,
        mime_type: &str,
        filename: Option<String>,
        bytes: Bytes,
        (now_ms, days): (i64, u32),
    ) -> String {
        self.counter += 1;
        let id = (900_000_000_000_000 + self.counter * 7_919).to_string();
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        self.bytes += bytes.len();
        self.order.push_back(id.clone());
        let ends_ms = now_ms + i64::from(days) * DAY_MS;
        let stored = Stored {
            number: number.to_owned(),
            mime_type: mime_type.to_owned(),
            filename,
            bytes,
            sha256,
            ends_ms,
        };
        self.files.insert(id.clone(), stored);
        while self.files.len() > MAX_FILES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(&oldest);
        }
        id
    }

    pub(super) fn live(&self, id: &str, now_ms: i64) -> Option<&Stored> {
        self.files.get(id).filter(|stored| now_ms < stored.ends_ms)
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let removed = self.files.remove(id);
        self.bytes -= removed.as_ref().map_or(0, |stored| stored.bytes.len());
        removed.is_some()
    }

    /// Path and query of a file's URL until `ends_ms`.
    pub(super) fn address(&self, id: &str, ends_ms: i64) -> String {
        let ext = ends_ms.div_euclid(1_000);
        format!("/whatsapp_business/attachments/?mid={id}&ext={ext}&hash={}", self.seal(id, ext))
    }

    fn seal(&self, id: &str, ext: i64) -> String {
        format!("AR{}", &hash(format!("{}/{id}/{ext}", self.key).as_bytes())[..24])
    }

    /// The file that such a URL shows, if it was made here and still lives.
    pub(super) fn open(&self, id: &str, ext: &str, seal: &str, now_ms: i64) -> Option<&Stored> {
        let ext: i64 = ext.parse().ok()?;
        let good = seal == self.seal(id, ext) && now_ms < ext.saturating_mul(1_000);
        if good { self.live(id, now_ms) } else { None }
    }

    pub(super) fn trouble(&mut self, trouble: MediaTrouble) {
        self.troubles.push(trouble);
    }

    pub(super) fn clear_troubles(&mut self) {
        self.troubles.clear();
    }

    /// What strikes the next download.
    pub(super) fn strikes(&mut self) -> Option<Trouble> {
        let first = self.troubles.first_mut()?;
        let trouble = first.trouble.clone();
        if let Some(count) = &mut first.count {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.troubles.remove(0);
            }
        }
        Some(trouble)
    }
}

/// Trouble with the next downloads (`GET <url>`), in the order in which it was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaTrouble {
    pub trouble: Trouble,
    /// How many downloads it strikes. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// What can be wrong with a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trouble {
    /// Other bytes of the same length: no hash fits.
    WrongHash,
    /// The connection breaks after half of what the length promised.
    Truncated,
    /// 302 to this address. Absent: to another host name of this simulator, which records a
    /// [violation](crate::sim::What::WaViolation) `token_leaked` when the token comes along.
    Redirect { to: Option<String> },
    /// So many bytes instead of the file, with their length declared or in chunks.
    Huge { bytes: u64, declared: bool },
    /// Another `Content-Type` than the webhook said.
    WrongMime { mime_type: String },
    /// 404, as of an expired URL.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_something_else_are_found_out() {
        let html = b"<!DOCTYPE html><html></html>";
        let (code, details) = Family::Video.judge("video/mp4", html, false, true).unwrap_err();
        assert_eq!(code, 131_053);
        assert_eq!(
            details,
            "Unsupported Video mime type text/html. Please use one of video/3gpp, video/mp4."
        );
        Family::Image.judge("image/jpeg", b"\xff\xd8\xff\xe0", false, true).unwrap();
        Family::Audio.judge("audio/ogg; codecs=opus", b"OggS", true, true).unwrap();
        Family::Document.judge("application/zip", b"PK", false, true).unwrap_err();
        Family::Document.judge("application/zip", b"PK", false, false).unwrap();
    }

    #[test]
    fn each_kind_has_its_limit_to_the_byte() {
        let of = |len: usize| vec![0; len];
        for (mime, max) in [
            ("image/png", 5 * MIB),
            ("video/mp4", 16 * MIB),
            ("audio/mpeg", 16 * MIB),
            ("image/webp", 100 * KIB),
        ] {
            judge_upload(mime, &of(max), true).unwrap();
            assert_eq!(judge_upload(mime, &of(max + 1), true).unwrap_err().0, 131_053, "{mime}");
        }
        assert_eq!(judge_upload("image/gif", b"GIF8", true).unwrap_err().0, 100);
        judge_upload("image/png", &of(5 * MIB + 1), false).unwrap();
    }

    #[test]
    fn a_url_ends_on_time_and_cannot_be_made_up() {
        let mut library = Library::new();
        let id = library.put("1", "text/plain", None, Bytes::from_static(b"x"), (0, 7));
        let url = library.address(&id, 300_000);
        let seal = url.rsplit('=').next().unwrap().to_owned();
        assert!(library.open(&id, "300", &seal, 299_999).is_some());
        assert!(library.open(&id, "300", &seal, 300_000).is_none());
        assert!(library.open(&id, "900", &seal, 0).is_none());
        assert!(library.live(&id, 7 * DAY_MS - 1).is_some() && library.live(&id, 7 * DAY_MS).is_none());
    }
}
