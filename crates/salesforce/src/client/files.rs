//! Customers' files for the rep (§5.1), and their choices among what was offered (§4).

use bytes::Bytes;
use domain::ThreadId;
use http::{Method, StatusCode};
use reqwest::multipart::{Form, Part};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{AccessToken, Client, Error, NewSession, Sent, clean, wire};

const MB: u64 = 1024 * 1024;
/// What several sources name as the most that the API takes.
const MOST_BYTES: u64 = 5 * MB;
/// What Salesforce's own sample knows; the official list is not public. Ending, then types that it
/// stands for, the first one being the usual.
const TAKEN: [(&str, &[&str]); 37] = [
    ("jpg", &["image/jpeg", "image/jpg"]),
    ("jpeg", &["image/jpeg"]),
    ("png", &["image/png"]),
    ("gif", &["image/gif"]),
    ("bmp", &["image/bmp"]),
    ("tiff", &["image/tiff"]),
    ("mp4", &["video/mp4"]),
    ("m4v", &["video/x-m4v"]),
    ("avi", &["video/x-msvideo"]),
    ("mov", &["video/quicktime"]),
    ("qt", &["video/quicktime"]),
    ("wmv", &["video/x-ms-wmv"]),
    ("flv", &["video/x-flv"]),
    ("webm", &["video/webm"]),
    ("mkv", &["video/x-matroska"]),
    ("3gp", &["video/3gpp"]),
    ("ogv", &["video/ogg"]),
    ("mpg", &["video/mpeg"]),
    ("mpeg", &["video/mpeg"]),
    ("mp3", &["audio/mpeg", "audio/mp3"]),
    ("m4a", &["audio/mp4", "audio/x-m4a"]),
    ("aac", &["audio/aac"]),
    ("wav", &["audio/wav", "audio/x-wav"]),
    ("flac", &["audio/flac"]),
    ("ogg", &["audio/ogg"]),
    ("oga", &["audio/ogg"]),
    ("wma", &["audio/x-ms-wma"]),
    ("amr", &["audio/amr"]),
    ("opus", &["audio/opus"]),
    ("txt", &["text/plain"]),
    ("csv", &["text/csv"]),
    ("pdf", &["application/pdf"]),
    ("xml", &["application/xml", "text/xml"]),
    ("doc", &["application/msword"]),
    ("docx", &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"]),
    ("xls", &["application/vnd.ms-excel"]),
    ("xlsx", &["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"]),
];

/// What an org takes as attachments of end users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachmentLimits {
    /// The org's switch.
    pub allowed: bool,
    pub max_bytes: u64,
}

impl Default for AttachmentLimits {
    fn default() -> Self {
        Self { allowed: true, max_bytes: MOST_BYTES }
    }
}

impl AttachmentLimits {
    /// From a token's context. Whether the size is in bytes or in megabytes is not public: no org
    /// allows less than a kilobyte.
    pub(super) fn told(allowed: Option<bool>, max_size: Option<f64>) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
        let bytes = max_size
            .filter(|size| *size > 0.0)
            .map(|size| if size < 1_000.0 { (size as u64).saturating_mul(MB) } else { size as u64 });
        Self { allowed: allowed.unwrap_or(true), max_bytes: bytes.unwrap_or(MOST_BYTES).min(MOST_BYTES) }
    }
}

/// What to do with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadPlan {
    /// Under this name, whose ending fits its type.
    Send { name: String },
    /// For people: why Salesforce would not take it.
    Refuse { why: String },
}

/// Decides before anything is uploaded.
pub fn plan_upload(name: &str, mime: &str, bytes: u64, limits: &AttachmentLimits) -> UploadPlan {
    let refuse = |why: &str| UploadPlan::Refuse { why: why.to_owned() };
    if !limits.allowed {
        return refuse("attachments of customers are switched off in Salesforce");
    }
    if bytes == 0 {
        return refuse("it is empty");
    }
    if bytes > limits.max_bytes {
        let limit = limits.max_bytes.div_ceil(MB);
        return UploadPlan::Refuse { why: format!("it is larger than the {limit} MB that Salesforce takes") };
    }
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let ending = ending.to_ascii_lowercase();
    let fits = |(_, mimes): &&(&str, &[&str])| mimes.contains(&mime.as_str());
    let named = TAKEN.iter().find(|(known, _)| *known == ending);
    match (named, TAKEN.iter().find(fits)) {
        // The name says what it is, and the type does not contradict.
        (Some(named), by_type) if fits(&named) || by_type.is_none() => {
            UploadPlan::Send { name: name.to_owned() }
        }
        (_, Some((usual, _))) => {
            let stem = if stem.is_empty() { "file" } else { stem };
            UploadPlan::Send { name: format!("{stem}.{usual}") }
        }
        (Some(_) | None, None) => refuse("Salesforce does not take files of its type"),
    }
}

/// A file to attach.
#[derive(Clone)]
pub struct FileUpload<'a> {
    /// As [`plan_upload`] says.
    pub name: String,
    pub mime: String,
    pub bytes: Bytes,
    /// Shown with it; may be empty.
    pub caption: &'a str,
}

impl std::fmt::Debug for FileUpload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileUpload({} bytes)", self.bytes.len())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileEntry<'a> {
    es_developer_name: &'a str,
    message: FileMessage<'a>,
    #[serde(flatten)]
    session: Option<wire::SessionStart<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileMessage<'a> {
    id: Uuid,
    file_id: Uuid,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
}

impl Client {
    /// Attaches a file as the end user. Ids are ours and stay the same over all repeats.
    ///
    /// # Errors
    /// [`Error::FileTooLarge`], [`Error::FileTypeRefused`]: say it in words instead. Otherwise as
    /// [`Client::send_text`].
    pub async fn send_file(
        &self,
        token: &AccessToken,
        id: ThreadId,
        message_id: Uuid,
        file_id: Uuid,
        file: &FileUpload<'_>,
        new_session: Option<&NewSession>,
    ) -> Result<Sent, Error> {
        const ENDPOINT: &str = "POST /conversation/{id}/file";
        let entry = FileEntry {
            es_developer_name: &self.inner.es_developer_name,
            message: FileMessage { id: message_id, file_id, text: file.caption },
            session: new_session.map(|session| wire::SessionStart {
                is_new_messaging_session: true,
                routing_attributes: clean(&session.routing_attributes),
                language: &session.language,
            }),
        };
        let malformed = |error| Error::transport(ENDPOINT, error);
        let entry = serde_json::to_string(&entry).map_err(|error| Error::transport(ENDPOINT, error))?;
        // The JSON comes first.
        let entry = Part::text(entry).mime_str("application/json").map_err(malformed)?;
        let part = |mime: &str| {
            let length = file.bytes.len() as u64;
            Part::stream_with_length(file.bytes.clone(), length).file_name(file.name.clone()).mime_str(mime)
        };
        let bytes = part(&file.mime).or_else(|_| part("application/octet-stream")).map_err(malformed)?;
        let form = Form::new().part("messageEntry", entry).part("fileData", bytes);
        let url = self.url(&["conversation", &id.to_string(), "file"]);
        let call = self.request(Method::POST, url, token).multipart(form);
        match self.call(ENDPOINT, call).await {
            Err(Error::Refused { status: StatusCode::PAYLOAD_TOO_LARGE, .. }) => Err(Error::FileTooLarge),
            Err(Error::Refused { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, .. }) => {
                Err(Error::FileTypeRefused)
            }
            answer => self.sent(token, id, message_id, answer).await,
        }
    }

    /// The end user's choice among the options of a message (`offered_in`: its id).
    pub async fn send_choice(
        &self,
        token: &AccessToken,
        id: ThreadId,
        message_id: Uuid,
        offered_in: Uuid,
        option: &str,
        title: &str,
    ) -> Result<Sent, Error> {
        let request = json!({
            "message": {
                "id": message_id,
                "messageType": "ChoicesResponseMessage",
                "inReplyToMessageId": offered_in,
                "choicesResponse": {
                    "formatType": "Selections",
                    "selectedOptions": [{
                        "optionIdentifier": option,
                        "optionTitle": { "itemType": "TitleItem", "title": title },
                    }],
                },
            },
            "esDeveloperName": self.inner.es_developer_name,
        });
        let url = self.url(&["conversation", &id.to_string(), "message"]);
        let call = self.request(Method::POST, url, token).json(&request);
        let answer = self.call("POST /conversation/{id}/message", call).await;
        self.sent(token, id, message_id, answer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_its_type_or_is_made_to() {
        let limits = AttachmentLimits::default();
        let name = |name: &str, mime: &str| match plan_upload(name, mime, 10, &limits) {
            UploadPlan::Send { name } => name,
            UploadPlan::Refuse { why } => why,
        };
        assert_eq!(name("a.jpg", "image/jpeg"), "a.jpg");
        assert_eq!(name("a.JPEG", "image/jpeg"), "a.JPEG");
        assert_eq!(name("a.bin", "image/jpeg"), "a.jpg");
        assert_eq!(name("voice", "audio/ogg; codecs=opus"), "voice.ogg");
        assert_eq!(name("a.csv", "application/octet-stream"), "a.csv");
        assert_eq!(name("a.exe", "application/pdf"), "a.pdf");
        assert_eq!(name("a.zip", "application/zip"), "Salesforce does not take files of its type");
        assert_eq!(name("a.webp", "image/webp"), "Salesforce does not take files of its type");
    }

    #[test]
    fn sizes_are_read_in_either_unit() {
        assert_eq!(AttachmentLimits::told(None, Some(3.0)).max_bytes, 3 * MB);
        assert_eq!(AttachmentLimits::told(None, Some(2_000_000.0)).max_bytes, 2_000_000);
        assert_eq!(AttachmentLimits::told(None, Some(100.0)).max_bytes, MOST_BYTES);
        let off = AttachmentLimits::told(Some(false), None);
        assert!(matches!(plan_upload("a.jpg", "image/jpeg", 1, &off), UploadPlan::Refuse { .. }));
        let large = plan_upload("a.jpg", "image/jpeg", 6 * MB, &AttachmentLimits::default());
        assert!(matches!(large, UploadPlan::Refuse { why } if why.contains("5 MB")));
    }
}
