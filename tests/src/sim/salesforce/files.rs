//! Files (`miaw-api.md` §5): what end users upload, and the place where all files are fetched from. That
//! place is another host in life, so it is another port here; a token must never be sent to it.

use std::collections::{HashMap, VecDeque};

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, FromRequest as _, Multipart},
    http::{HeaderValue, Request, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Refusal, content,
    log::Draft,
    state::{State, new_id},
    verb::RepFile,
    view::FileView,
};
use crate::sim::server::{Answer, Call, answer};

/// Contents kept; the oldest go first.
const MAX_KEPT_BYTES: usize = 256 << 20;
pub(super) const PATH: &str = "/sfc/dist/version/download/";

#[derive(Debug, Default)]
pub(super) struct Files {
    /// `scheme://host` of the simulator's own place.
    pub(super) base: String,
    stored: HashMap<String, Stored>,
    /// From the oldest on.
    order: VecDeque<String>,
    bytes: usize,
}

#[derive(Debug)]
struct Stored {
    /// `d` of the link: what makes it a capability.
    secret: String,
    name: String,
    mime: String,
    data: Bytes,
    not_ready: u32,
    redirect: Option<String>,
}

/// `POST /conversation/{id}/file`, taken apart.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) entry: Map<String, Value>,
    pub(super) name: String,
    pub(super) mime: String,
    pub(super) data: Bytes,
}

impl Upload {
    /// `messageEntry` (JSON), then `fileData` with a file name, and nothing else.
    pub(super) async fn read(call: &Call) -> Result<Self, Refusal> {
        let malformed = || Refusal::new(400, "Malformed multipart request", "BAD_REQUEST");
        let mut request = Request::new(Body::from(call.body.clone()));
        if let Some(kind) = call.headers.get(header::CONTENT_TYPE) {
            request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
        }
        // The server has its own limit.
        DefaultBodyLimit::disable().apply(&mut request);
        let unsupported = || Refusal::new(415, "Unsupported media type", "UNSUPPORTED_MEDIA_TYPE");
        let mut parts = Multipart::from_request(request, &()).await.map_err(|_| unsupported())?;

        let part = parts.next_field().await.map_err(|_| malformed())?;
        let part = part.filter(|part| part.name() == Some("messageEntry"));
        let part = part.ok_or_else(|| Refusal::parameter("messageEntry"))?;
        if part.content_type().is_none_or(|kind| !kind.starts_with("application/json")) {
            return Err(Refusal::parameter("messageEntry"));
        }
        let text = part.bytes().await.map_err(|_| malformed())?;
        let Ok(Value::Object(entry)) = serde_json::from_slice(&text) else {
            return Err(Refusal::new(400, "Malformed JSON", "BAD_REQUEST"));
        };

        let part = parts.next_field().await.map_err(|_| malformed())?;
        let part = part.filter(|part| part.name() == Some("fileData"));
        let part = part.ok_or_else(|| Refusal::parameter("fileData"))?;
        let name = part.file_name().filter(|name| !name.is_empty()).map(str::to_owned);
        let name = name.ok_or_else(|| Refusal::parameter("fileData"))?;
        let mime = part.content_type().unwrap_or("application/octet-stream").to_owned();
        let data = part.bytes().await.map_err(|_| malformed())?;
        match parts.next_field().await {
            Ok(None) => Ok(Self { entry, name, mime, data }),
            Ok(Some(_)) => Err(Refusal::new(400, "One file at a time", "BAD_REQUEST")),
            Err(_) => Err(malformed()),
        }
    }

    /// Size and type, as the org allows them.
    pub(super) fn check(&self, state: &State) -> Result<(), Refusal> {
        let config = &state.config;
        if !config.files {
            return Err(Refusal::new(400, "Attachments are not enabled", "BAD_REQUEST"));
        }
        if self.data.len() > config.max_file_bytes {
            return Err(Refusal::new(413, "File size exceeds the maximum limit", "PAYLOAD_TOO_LARGE"));
        }
        let extension = self.name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
        if !extension.is_some_and(|extension| config.file_types.contains(&extension)) {
            return Err(Refusal::new(415, "Unsupported file type", "UNSUPPORTED_MEDIA_TYPE"));
        }
        Ok(())
    }
}

fn sha256(data: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data))
}

impl State {
    fn keep(&mut self, stored: Stored) -> String {
        let ids = self.record_id("068");
        let base = self.config.file_base_url.as_deref().unwrap_or(&self.files.base);
        let (org, secret) = (&self.config.org_id, &stored.secret);
        let url = format!("{base}{PATH}?oid={org}&ids={ids}&d=%2Fa%2F{secret}&asPdf=false");
        let files = &mut self.files;
        files.bytes += stored.data.len();
        files.order.push_back(ids.clone());
        files.stored.insert(ids, stored);
        while files.bytes > MAX_KEPT_BYTES
            && let Some(oldest) = files.order.pop_front()
        {
            files.bytes -= files.stored.remove(&oldest).map_or(0, |stored| stored.data.len());
        }
        url
    }

    /// What the customer uploaded, as it stands in the thread: its view and the `abstractMessage`.
    pub(super) fn take_upload(
        &mut self,
        id: &str,
        upload: Upload,
        caption: Option<&str>,
    ) -> (FileView, Value) {
        let Upload { name, mime, data, .. } = upload;
        let error = self.config.upload_error.clone();
        let (size, sha256) = (data.len(), sha256(&data));
        let (url, result) = match error {
            Some(error) => {
                let message = "The attachment exceeds the limit";
                let result = json!({
                    "resultType": "ErrorAttachmentUploadResult", "errorType": error, "errorMessage": message,
                });
                (String::new(), result)
            }
            None => {
                let not_ready = self.config.file_not_ready;
                let (name, mime) = (name.clone(), mime.clone());
                let url = self.keep(Stored { secret: new_id(), name, mime, data, not_ready, redirect: None });
                (url, json!({ "resultType": "CompletedAttachmentUploadResult" }))
            }
        };
        let view = FileView { id: id.to_owned(), name, mime, size, sha256, url };
        let message = content::attachment(&view, caption, &result);
        (view, message)
    }

    /// What a rep attaches.
    pub(super) fn attach(&mut self, file: RepFile, draft: Draft) -> anyhow::Result<Draft> {
        let RepFile { name, mime, data, size, text, not_ready, redirect } = file;
        anyhow::ensure!(!name.is_empty() && !mime.is_empty(), "a file has a name and a type");
        let data = match data {
            Some(data) => STANDARD.decode(data)?,
            None => (0..size).map(|n| (n % 251) as u8).collect(),
        };
        let (size, sha256) = (data.len(), sha256(&data));
        let url = self.keep(Stored {
            secret: new_id(),
            name: name.clone(),
            mime: mime.clone(),
            data: data.into(),
            not_ready: not_ready.unwrap_or(self.config.file_not_ready),
            redirect,
        });
        let view = FileView { id: new_id(), name, mime, size, sha256, url };
        let message = content::attachment(&view, text.as_deref(), &Value::Null);
        let payload = content::wrap(&draft.identifier, message);
        Ok(Draft { payload, file: Some(view), ..draft })
    }

    /// `GET` of a link. No token is needed, and none may come.
    pub(super) fn download(&mut self, call: &Call, about: &mut Option<String>) -> Answer {
        let query = |name: &str| call.query.get(name).map_or("", String::as_str);
        let ids = query("ids").to_owned();
        *about = Some(ids.clone());
        if call.headers.contains_key(header::AUTHORIZATION) {
            self.violation("authorization sent to the file host", &ids);
        }
        let missing = || answer(404, "text/html", "<html><body>Not found</body></html>");
        if query("oid") != self.config.org_id {
            return missing();
        }
        let stored = self.files.stored.get_mut(&ids);
        let Some(stored) =
            stored.filter(|stored| query("d").strip_prefix("/a/") == Some(stored.secret.as_str()))
        else {
            return missing();
        };
        if stored.not_ready > 0 {
            stored.not_ready -= 1;
            return missing();
        }
        let header = |text: &str| HeaderValue::from_str(text).ok();
        if let Some(location) = stored.redirect.as_deref().and_then(header) {
            let mut response = answer(302, "text/html", "");
            response.headers_mut().insert(header::LOCATION, location);
            return response;
        }
        let mut response = answer(200, &stored.mime, stored.data.clone());
        let name: String = stored.name.chars().filter(|c| c.is_ascii() && *c != '"').collect();
        if let Some(disposition) = header(&format!("attachment; filename=\"{name}\"")) {
            response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
        }
        response
    }
}
