//! `GET /files/{token}`: a file that Baton keeps, for whoever has a signed link that has not expired
//! (`domain::links`). Always as a download and never as anything that a browser would show: what
//! customers send must not run under our name.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bus::{Log, MediaStore};
use bytes::Bytes;
use domain::{
    derive::Keying,
    links::{FileLink, Unopened},
};
use opentelemetry::{KeyValue, global, metrics::Counter};
use runtime::fields;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::problem::Problem;

/// Downloads at once. Each holds two pieces in memory.
const AT_ONCE: usize = 32;
const PIECE_BYTES: usize = 64 * 1024;
/// For the broker to come up with the file.
const FOUND_WITHIN: Duration = Duration::from_secs(5);
/// For the next piece to be read, and to be taken.
const PIECE_WITHIN: Duration = Duration::from_secs(30);
/// For all of it: 100 MB at 3 Mbit/s.
const ALL_WITHIN: Duration = Duration::from_secs(300);

pub(crate) struct Files {
    keying: Keying,
    log: Log,
    media: OnceCell<MediaStore>,
    slots: Arc<Semaphore>,
    downloads: TaskTracker,
    answered: Counter<u64>,
}

impl Files {
    pub(crate) fn router(keying: Keying, log: Log) -> Router {
        let answered = global::meter("ingress")
            .u64_counter(runtime::metrics::FILES)
            .with_description("requests for kept files, by what they were answered")
            .build();
        let files = Self {
            keying,
            log,
            media: OnceCell::new(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            downloads: TaskTracker::new(),
            answered,
        };
        Router::new().route("/files/{token}", get(file)).with_state(Arc::new(files))
    }

    async fn open(&self, token: &str) -> Result<Response, Problem> {
        let link =
            FileLink::open(token, &self.keying, runtime::now()).map_err(|unopened| match unopened {
                Unopened::Forged => gone(StatusCode::NOT_FOUND, "no_file", unopened),
                Unopened::Expired => gone(StatusCode::GONE, "expired", unopened),
            })?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| busy())?;
        let found = async {
            // Not at the start: handoff, which makes the store, may start later.
            let media = self.media.get_or_try_init(|| self.log.media()).await?;
            let Some(info) = media.info(&link.object).await? else { return Ok(None) };
            Ok::<_, bus::Error>(media.get(&link.object).await?.map(|bytes| (info, bytes)))
        };
        let found = timeout(FOUND_WITHIN, found).await.map_err(|_| busy())?.map_err(|error| {
            tracing::warn!(error = runtime::error_chain(&error), "a kept file could not be read");
            busy()
        })?;
        let Some((info, bytes)) = found else {
            return Err(gone(StatusCode::GONE, "forgotten", "the file is not kept any more"));
        };
        let name = match link.ending.as_str() {
            "" => "attachment; filename=\"file\"".to_owned(),
            ending => format!("attachment; filename=\"file.{ending}\""),
        };
        let mut response = self.pieces(bytes, slot).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(info.bytes));
        if let Ok(name) = HeaderValue::from_str(&name) {
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        headers
            .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Ok(response)
    }

    /// Read and sent on side by side: a receiver that stands still must not hold a slot.
    fn pieces(&self, mut bytes: impl AsyncRead + Unpin + Send + 'static, slot: OwnedSemaphorePermit) -> Body {
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(1);
        self.downloads.spawn(async move {
            let _slot = slot;
            let copy = async {
                loop {
                    let mut piece = Vec::with_capacity(PIECE_BYTES);
                    let mut rest = (&mut bytes).take(PIECE_BYTES as u64);
                    let next = match timeout(PIECE_WITHIN, rest.read_to_end(&mut piece)).await {
                        Ok(Ok(0)) => return,
                        Ok(Ok(_)) => Ok(Bytes::from(piece)),
                        // Broken off, so that nobody takes a part for the whole.
                        Ok(Err(error)) => Err(error),
                        Err(_) => Err(io::ErrorKind::TimedOut.into()),
                    };
                    let broken = next.is_err();
                    let sent = timeout(PIECE_WITHIN, sender.send(next)).await;
                    if broken || !matches!(sent, Ok(Ok(()))) {
                        return;
                    }
                }
            };
            let _ = timeout(ALL_WITHIN, copy).await;
        });
        Body::from_stream(futures::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        }))
    }
}

async fn file(State(files): State<Arc<Files>>, Path(token): Path<String>) -> Response {
    let opened = files.open(&token).await;
    let outcome = opened.as_ref().map_or_else(|problem| problem.error, |_| "given");
    files.answered.add(1, &[KeyValue::new(fields::REASON, outcome)]);
    opened.unwrap_or_else(axum::response::IntoResponse::into_response)
}

fn gone(status: StatusCode, error: &'static str, message: impl ToString) -> Problem {
    Problem::new(status, error, message.to_string(), "Ask the customer to send the file again.")
}

fn busy() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "busy",
        "the file cannot be given at the moment",
        "Open the link again.",
    )
}
