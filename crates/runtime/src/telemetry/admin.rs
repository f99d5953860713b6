//! For operators: `GET /metrics` in Prometheus's text format, `GET` and `PUT /log-filter`.
//!
//! Nothing personal is shown, but how busy one is may be nobody's business: keep the address inside
//! the network. The filter is changed from the same machine only (`baton log-filter`), since libraries
//! at `trace` print what they send.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing_subscriber::{EnvFilter, reload};

/// A filter is a line.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// Served until it is dropped.
#[derive(Debug)]
pub(super) struct Admin {
    _stop: DropGuard,
}

#[derive(Clone)]
struct Levers {
    registry: Registry,
    directives: Arc<Mutex<String>>,
    handle: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
}

impl Admin {
    /// On a thread of its own: it answers also while the service is busy.
    pub(super) fn start(
        address: SocketAddr,
        registry: Registry,
        directives: String,
        handle: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("bind {address}"))?;
        listener.set_nonblocking(true)?;
        let levers = Levers { registry, directives: Arc::new(Mutex::new(directives)), handle };
        let app = router(levers).into_make_service_with_connect_info::<SocketAddr>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        thread::Builder::new().name("admin".into()).spawn(move || {
            let serve = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, app).await
            };
            if let Some(Err(error)) = runtime.block_on(stopped.run_until_cancelled(serve)) {
                tracing::error!(error = crate::error_chain(&error), "ADMIN_ADDR is not served any more");
            }
        })?;
        Ok(Self { _stop: stop.drop_guard() })
    }
}

fn router(levers: Levers) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/log-filter", get(shown).put(changed))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(levers)
}

async fn metrics(State(levers): State<Levers>) -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&levers.registry.gather(), &mut text) {
        Ok(()) => Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

async fn shown(State(levers): State<Levers>) -> String {
    levers.directives.lock().unwrap_or_else(PoisonError::into_inner).clone() + "\n"
}

async fn changed(
    State(levers): State<Levers>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    body: String,
) -> (StatusCode, String) {
    if !from.ip().is_loopback() {
        return (StatusCode::FORBIDDEN, "from this machine only\n".into());
    }
    let directives = body.trim();
    let filter = match super::log_filter(directives) {
        Ok(filter) if !directives.is_empty() => filter,
        Ok(_) => return (StatusCode::BAD_REQUEST, "a filter looks like info,egress=debug\n".into()),
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error:#}\n")),
    };
    if let Err(error) = levers.handle.reload(filter) {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
    }
    directives.clone_into(&mut levers.directives.lock().unwrap_or_else(PoisonError::into_inner));
    tracing::warn!(filter = directives, "the logs' filter was changed");
    (StatusCode::OK, format!("{directives}\n"))
}
