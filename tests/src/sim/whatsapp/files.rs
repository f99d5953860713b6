//! The media endpoints (`whatsapp-cloud-api.md` §6): upload, look up, download, delete.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, FromRequest as _, Multipart},
    http::{HeaderValue, Request, header},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::{
    WhatsApp,
    errors::Refusal,
    media::{Stored, Trouble, judge_upload},
    state::State,
    wire,
};
use crate::sim::{
    record::What,
    server::{Answer, Call, answer},
};

/// Of a body that is made up.
const CHUNK: usize = 64 * 1_024;

/// The parts of an upload.
#[derive(Default)]
struct Upload {
    product: Option<String>,
    mime_type: Option<String>,
    file: Option<(Option<String>, String, Bytes)>,
}

async fn parts(call: &Call) -> Option<Upload> {
    let mut request = Request::new(Body::from(call.body.clone()));
    *request.headers_mut() = call.headers.clone();
    // The server has its own limit.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut multipart = Multipart::from_request(request, &()).await.ok()?;
    let mut upload = Upload::default();
    while let Some(field) = multipart.next_field().await.ok()? {
        match field.name().unwrap_or_default() {
            "messaging_product" => upload.product = Some(field.text().await.ok()?),
            "type" => upload.mime_type = Some(field.text().await.ok()?),
            "file" => {
                let name = field.file_name().map(str::to_owned);
                let kind = field.content_type().unwrap_or("application/octet-stream").to_owned();
                upload.file = Some((name, kind, field.bytes().await.ok()?));
            }
            _ => {}
        }
    }
    Some(upload)
}

impl WhatsApp {
    /// `POST /{phone_number_id}/media`.
    pub(super) async fn upload(&self, number: &str, version: &str, call: &Call) -> Result<Answer, Refusal> {
        self.authorised(number, call)?;
        let upload =
            parts(call).await.ok_or_else(|| Refusal::because(100, "The request is not multipart."))?;
        if upload.product.as_deref() != Some("whatsapp") {
            return Err(Refusal::because(100, "The parameter messaging_product is required."));
        }
        let Some((filename, part_type, bytes)) = upload.file else {
            return Err(Refusal::because(100, "The parameter file is required."));
        };
        // `type` is optional in traffic; the part's own type stands in.
        let mime_type = upload.mime_type.unwrap_or(part_type);
        let mut state = self.lock();
        judge_upload(&mime_type, &bytes, state.config.media_strict)
            .map_err(|(code, details)| Refusal::because(code, &details))?;
        let life = (state.now_ms(), state.config.media_uploaded_days);
        let size = bytes.len();
        let id = state.library.put(number, &mime_type, filename, bytes, life);
        drop(state);
        self.record.control("whatsapp upload", json!({ "number": number, "type": mime_type, "bytes": size }));
        Ok(wire::graph(200, version, &json!({ "id": id })))
    }

    /// `GET /{media_id}`.
    pub(super) fn media_info(&self, id: &str, version: &str, call: &Call) -> Result<Answer, Refusal> {
        let state = self.lock();
        let unknown = || Refusal::unknown_object("GET", id);
        let stored = own(&state, id, call).ok_or_else(unknown)?;
        if call.query.get("phone_number_id").is_some_and(|asked| *asked != stored.number) {
            return Err(unknown());
        }
        let ends_ms = state.now_ms() + i64::try_from(state.config.media_url_ms).unwrap_or(i64::MAX / 2);
        let body = json!({
            "url": state.media_base() + &state.library.address(id, ends_ms),
            "mime_type": stored.mime_type,
            "sha256": stored.hex(),
            "file_size": stored.bytes.len(),
            "id": id,
            "messaging_product": "whatsapp",
        });
        Ok(wire::graph(200, version, &body))
    }

    /// `DELETE /{media_id}`.
    pub(super) fn media_delete(&self, id: &str, version: &str, call: &Call) -> Result<Answer, Refusal> {
        let mut state = self.lock();
        let unknown = || Refusal::unknown_object("DELETE", id);
        let stored = own(&state, id, call).ok_or_else(unknown)?;
        if call.query.get("phone_number_id").is_some_and(|asked| *asked != stored.number) {
            return Err(unknown());
        }
        state.library.remove(id);
        Ok(wire::graph(200, version, &json!({ "success": true })))
    }

    /// `GET <url>`. Status and page of a refusal are inferred but for the 404.
    pub(super) fn download(&self, call: &Call) -> Answer {
        let mut state = self.lock();
        let token = call.bearer().unwrap_or_default();
        if !state.numbers.values().any(|line| line.accepts(token)) {
            return answer(401, "text/html", "");
        }
        if call.header("user-agent").is_none_or(str::is_empty) {
            return answer(400, "text/html", "");
        }
        let query = |name: &str| call.query.get(name).map_or("", String::as_str);
        let now_ms = state.now_ms();
        let mid = query("mid");
        let mut line_tokens = state.numbers.values().filter(|line| line.accepts(token));
        let stored = state.library.open(mid, query("ext"), query("hash"), now_ms);
        let stored =
            stored.filter(|stored| line_tokens.any(|line| line.number.phone_number_id == stored.number));
        let Some(stored) = stored.cloned() else { return answer(404, "text/html", "") };
        let trouble = state.library.strikes();
        let elsewhere = state.base_url.replace("127.0.0.1", "localhost");
        drop(state);
        show(&stored, trouble, &elsewhere)
    }

    /// Where no request for a file may ever end with our token.
    pub(super) fn elsewhere(&self, call: &Call) -> Answer {
        if call.header("authorization").is_some() {
            self.record.push(What::WaViolation {
                number: String::new(),
                customer: String::new(),
                rule: "token_leaked".to_owned(),
                code: 0,
            });
        }
        answer(200, "application/octet-stream", "not the file")
    }
}

/// The file, if the token may see it.
fn own<'a>(state: &'a State, id: &str, call: &Call) -> Option<&'a Stored> {
    let token = call.token();
    let stored = state.library.live(id, state.now_ms())?;
    state.numbers.get(&stored.number).filter(|line| line.accepts(token)).map(|_| stored)
}

fn show(stored: &Stored, trouble: Option<Trouble>, elsewhere: &str) -> Answer {
    let mut mime_type = stored.mime_type.clone();
    let mut length = Some(stored.bytes.len() as u64);
    let body = match trouble {
        None => Body::from(stored.bytes.clone()),
        Some(Trouble::WrongHash) => {
            let mut bytes = stored.bytes.to_vec();
            bytes.iter_mut().for_each(|byte| *byte ^= 0x20);
            Body::from(bytes)
        }
        Some(Trouble::Truncated) => {
            let half = stored.bytes.slice(..stored.bytes.len() / 2);
            let broken = stream::once(async {
                // The first half goes out before.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("broken on order"))
            });
            Body::from_stream(stream::iter([Ok(half)]).chain(broken))
        }
        Some(Trouble::Redirect { to }) => {
            let to = to.unwrap_or_else(|| format!("{elsewhere}/elsewhere"));
            let mut response = answer(302, "text/html", "");
            if let Ok(to) = HeaderValue::from_str(&to) {
                response.headers_mut().insert(header::LOCATION, to);
            }
            return response;
        }
        Some(Trouble::Huge { bytes, declared }) => {
            length = declared.then_some(bytes);
            zeros(bytes)
        }
        Some(Trouble::WrongMime { mime_type: other }) => {
            mime_type = other;
            Body::from(stored.bytes.clone())
        }
        Some(Trouble::Gone) => return answer(404, "text/html", ""),
    };
    let mut response = answer(200, &mime_type, body);
    let name = stored.filename.as_deref().unwrap_or("whatsapp").replace(['"', ';', '\r', '\n'], "_");
    for (header, value) in [
        ("content-disposition", format!("inline;filename={name}")),
        ("etag", fastrand::u64(..).to_string()),
        ("cache-control", "private, no-cache, no-store, must-revalidate".to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(header, value);
        }
    }
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// A body of so many zeros, made as it is read.
fn zeros(bytes: u64) -> Body {
    let chunks = stream::unfold(bytes, |left| async move {
        let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        (len > 0).then(|| (Bytes::from(vec![0; len]), left - len as u64))
    });
    Body::from_stream(chunks.map(Ok::<_, std::convert::Infallible>))
}
