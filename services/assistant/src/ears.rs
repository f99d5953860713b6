//! Makes text of voice messages, by an endpoint that speaks OpenAI's audio transcriptions
//! (<https://platform.openai.com/docs/api-reference/audio>).

use std::time::Duration;

use bus::{Log, MediaStore};
use domain::{ConversationKey, settings::Transcriber};
use proto::{
    subjects::{self, Kind},
    v1::media_fetched,
};
use reqwest::multipart::{Form, Part};
use runtime::{HttpTimeouts, http_client};
use serde::Deserialize;
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    history::{History, Who, clip},
    model::{authorized, below, body},
};

/// What the endpoint takes at most.
const MAX_FILE_BYTES: u64 = 25 << 20;
const MAX_BODY_BYTES: usize = 256 * 1024;
/// How long a voice message waits for its file, which egress fetches.
const FILE_PATIENCE: Duration = Duration::from_secs(8);
/// Of one turn.
const MOST_MESSAGES: usize = 3;
const LONGEST_TEXT: usize = 2_000;

#[derive(Debug)]
pub(crate) struct Ears {
    http: reqwest::Client,
    log: Log,
    /// Opened with the first voice message: most channels have no transcriber.
    media: OnceCell<MediaStore>,
}

#[derive(Deserialize)]
struct Transcription {
    text: String,
}

impl Ears {
    pub(crate) fn new(log: Log) -> Result<Self, reqwest::Error> {
        let timeouts = HttpTimeouts { read: Duration::from_secs(60), total: None, ..HttpTimeouts::default() };
        Ok(Self { http: http_client(timeouts)?, log, media: OnceCell::new() })
    }

    /// Puts words to the voice messages that nobody answered yet. What cannot be understood stays as
    /// it is: a line that says that there was one. Returns the words, for the question.
    pub(crate) async fn listen(
        &self,
        transcriber: &Transcriber,
        key: &ConversationKey,
        history: &mut History,
    ) -> Vec<String> {
        let unanswered = history.turns.iter_mut().rev().take_while(|turn| turn.who == Who::Customer);
        let mut heard = Vec::new();
        for turn in unanswered.filter(|turn| turn.voice.is_some()).take(MOST_MESSAGES) {
            let Some(voice) = &turn.voice else { continue };
            let hearing = tokio::time::timeout(
                FILE_PATIENCE + transcriber.timeout_seconds,
                self.hear(transcriber, key, &voice.id),
            );
            match hearing.await {
                Ok(Ok(text)) if !text.trim().is_empty() => {
                    let words = clip(text.trim(), LONGEST_TEXT);
                    turn.text = format!("[voice note] {words}");
                    heard.push(words);
                }
                Ok(Ok(_)) => {}
                Ok(Err(problem)) => tracing::warn!(problem, "a voice message was not understood"),
                Err(_) => tracing::warn!("a voice message was not understood in time"),
            }
        }
        heard.reverse();
        heard
    }

    async fn hear(
        &self,
        transcriber: &Transcriber,
        key: &ConversationKey,
        id: &str,
    ) -> Result<String, &'static str> {
        let (object, mime, name) = self.file(key, id).await?;
        let media = self.media.get_or_try_init(|| self.log.media()).await;
        let read = media.map_err(|_| "files cannot be read")?.read(&object, MAX_FILE_BYTES).await;
        let bytes = read.map_err(|_| "its file cannot be read")?.ok_or("its file is gone")?;
        let part =
            Part::bytes(bytes).file_name(name).mime_str(&mime).map_err(|_| "its file has no known type")?;
        let form = Form::new().text("model", transcriber.model.clone()).part("file", part);
        let request = self.http.post(below(&transcriber.base_url, "audio/transcriptions"));
        let request = authorized(request, &transcriber.api_key).timeout(transcriber.timeout_seconds);
        let response = request.multipart(form).send().await.map_err(|_| "the endpoint cannot be reached")?;
        if !response.status().is_success() {
            return Err("the endpoint refused it");
        }
        let body = body(response, MAX_BODY_BYTES).await.map_err(|_| "the endpoint's answer broke off")?;
        let body = body.ok_or("the endpoint answered too much")?;
        let read: Transcription =
            serde_json::from_slice(&body).map_err(|_| "the endpoint answered no text")?;
        Ok(read.text)
    }

    /// Where the bytes are: object, type and name.
    async fn file(&self, key: &ConversationKey, id: &str) -> Result<(String, String, String), &'static str> {
        let subject = subjects::fact(key, Kind::Media, id);
        let found = self.log.found_or_heard(&subject, Instant::now() + FILE_PATIENCE).await;
        let payload =
            found.map_err(|_| "the log cannot be read")?.ok_or("its file did not arrive in time")?;
        let fetched = proto::decode(payload).ok().and_then(proto::v1::entry::Body::into_media_fetched);
        match fetched.and_then(|fetched| fetched.result).ok_or("not what became of a file")? {
            media_fetched::Result::Stored(stored) => Ok((stored.object, stored.mime, stored.file_name)),
            media_fetched::Result::Failed(_) => Err("its file could not be fetched"),
        }
    }
}
