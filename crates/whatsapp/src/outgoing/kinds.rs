//! Which files WhatsApp takes, as what, and how large (§6.3).

use domain::message::MediaKind;

const MB: u64 = 1024 * 1024;
const KB: u64 = 1024;

const AUDIO: [&str; 5] = ["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"];
const IMAGE: [&str; 2] = ["image/jpeg", "image/png"];
const VIDEO: [&str; 2] = ["video/mp4", "video/3gpp"];

/// Why a file cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("WhatsApp takes at most {} MB", .limit / MB)]
    TooLarge { limit: u64 },
    #[error("the file is empty")]
    Empty,
}

/// `audio/ogg; codecs=opus` without its parameters, in lower case.
pub fn essence(mime: &str) -> String {
    mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The most bytes that WhatsApp takes of a kind.
pub const fn max_bytes(kind: MediaKind) -> u64 {
    match kind {
        MediaKind::Image => 5 * MB,
        MediaKind::Audio | MediaKind::Voice | MediaKind::Video => 16 * MB,
        MediaKind::Document => 100 * MB,
        // Animated ones; static ones have 100 KB, which the type does not tell.
        MediaKind::Sticker => 500 * KB,
    }
}

/// What to send a file as: the wanted kind if it fits, else the one of its type, else a document.
/// The list of document types is what Meta promises, others are often delivered in practice.
pub fn kind_for(mime: &str, bytes: u64, wanted: Option<MediaKind>) -> Result<MediaKind, Unfit> {
    if bytes == 0 {
        return Err(Unfit::Empty);
    }
    let mime = essence(mime);
    let natural = if IMAGE.contains(&mime.as_str()) {
        MediaKind::Image
    } else if AUDIO.contains(&mime.as_str()) {
        MediaKind::Audio
    } else if VIDEO.contains(&mime.as_str()) {
        MediaKind::Video
    } else {
        MediaKind::Document
    };
    let takes = |kind: MediaKind| {
        let typed = match kind {
            MediaKind::Image | MediaKind::Video => kind == natural,
            MediaKind::Audio => natural == MediaKind::Audio,
            MediaKind::Voice => mime == "audio/ogg",
            MediaKind::Sticker => mime == "image/webp",
            MediaKind::Document => true,
        };
        typed && bytes <= max_bytes(kind)
    };
    [wanted, Some(natural), Some(MediaKind::Document)]
        .into_iter()
        .flatten()
        .find(|kind| takes(*kind))
        .ok_or(Unfit::TooLarge { limit: max_bytes(MediaKind::Document) })
}

/// The usual ending of a file of this type.
pub fn ending_for(mime: &str) -> &'static str {
    match essence(mime).as_str() {
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/webp" => "webp",
        "image/gif" => "gif",
        "video/mp4" => "mp4",
        "video/3gpp" => "3gp",
        "audio/aac" => "aac",
        "audio/amr" => "amr",
        "audio/mpeg" => "mp3",
        "audio/mp4" => "m4a",
        "audio/ogg" => "ogg",
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "application/vnd.ms-powerpoint" => "ppt",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation" => "pptx",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_as_what_whatsapp_takes_them() {
        for (mime, bytes, wanted, kind) in [
            ("image/jpeg", 5 * MB, None, Ok(MediaKind::Image)),
            ("image/jpeg", 5 * MB + 1, None, Ok(MediaKind::Document)),
            ("IMAGE/PNG", 1, Some(MediaKind::Document), Ok(MediaKind::Document)),
            ("image/gif", 1, Some(MediaKind::Image), Ok(MediaKind::Document)),
            ("audio/ogg; codecs=opus", 1, Some(MediaKind::Voice), Ok(MediaKind::Voice)),
            ("audio/mpeg", 16 * MB + 1, None, Ok(MediaKind::Document)),
            ("image/webp", 400 * KB, Some(MediaKind::Sticker), Ok(MediaKind::Sticker)),
            ("image/webp", 1, None, Ok(MediaKind::Document)),
            ("application/zip", 100 * MB, None, Ok(MediaKind::Document)),
            ("application/zip", 100 * MB + 1, None, Err(Unfit::TooLarge { limit: 100 * MB })),
            ("video/mp4", 0, None, Err(Unfit::Empty)),
        ] {
            assert_eq!(kind_for(mime, bytes, wanted), kind, "{mime} {bytes}");
        }
    }
}
