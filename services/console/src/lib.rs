//! Shows which sessions there are and what happened in them, and lets operators act: pages and a JSON
//! API over the log.

mod access;
mod actions;
mod api;
mod board;
mod campaigns;
mod config;
mod contacts;
mod doctor;
mod error;
mod lookup;
mod messages;
mod openapi;
mod overview;
mod pages;
mod sessions;
mod settings;
pub mod timeline;

use std::{net::SocketAddr, time::Duration};

pub use access::{Oidc, OidcArgs, People, SignIn, Tool};
use anyhow::Context as _;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, header},
    middleware,
    response::Response,
};
pub use config::Config;
pub use doctor::Outside;
use domain::derive::Keying;
use runtime::health::{Condition, Health};
pub use settings::Kept;
use store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access, board::Board, doctor::Checks, lookup::Lookup, messages::Templates, settings::Editor,
};

/// Bodies are one short form field.
const MAX_BODY_BYTES: usize = 4 * 1024;
/// How long answers that were begun may take to finish after the signal.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Console {
    pub(crate) lookup: Lookup,
    pub(crate) access: Access,
    pub(crate) board: Board,
    pub(crate) checks: Checks,
    pub(crate) editor: Editor,
    pub(crate) templates: Templates,
    pub(crate) campaigns: campaigns::Kept,
    /// What was asked for under which idempotency key.
    pub(crate) requests: bus::Records,
}

/// Everything but health. What is merged before the guard is for those who may look; each route says
/// what else it needs.
fn router(console: Console) -> Router {
    api::router(console.clone())
        .merge(overview::router(console.clone()))
        .merge(sessions::router(console.clone()))
        .merge(contacts::router(console.clone()))
        .merge(campaigns::router(console.clone()))
        .merge(doctor::router(console.clone()))
        .merge(settings::router(console.clone()))
        .merge(access::way_out(console.clone()))
        .merge(pages::router(console.clone()))
        .layer(middleware::from_fn_with_state(console.clone(), access::guard))
        .merge(access::router(console))
        .merge(pages::assets())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::map_response(headers))
}

/// Serves until `shutdown`, then answers what it has begun.
///
/// # Errors
/// When the listener fails, or the system has no randomness.
pub async fn run(
    listener: TcpListener,
    log: bus::Log,
    store: Store,
    keying: Keying,
    sign_in: SignIn,
    outside: Outside,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let health = Health::new();
    let connected = health.condition("log");
    let address = listener.local_addr().context("read the listener's address")?;
    let board = Board::new(shutdown.clone());
    let templates = Templates::new(outside.whatsapp.clone());
    let requests = log.requests().await.context("open what was asked for")?;
    let editor = Editor::new(outside.kept.clone(), outside.whatsapp.clone());
    let checks = Checks::new(log.clone(), store.clone(), outside);
    let console = Console {
        checks: checks.clone(),
        editor,
        templates,
        campaigns: campaigns::Kept::new(log.clone(), keying.clone(), shutdown.clone()),
        requests,
        access: Access::new(sign_in, store.clone(), keying.clone())?,
        lookup: Lookup::new(log.clone(), store, keying),
        board: board.clone(),
    };
    tracing::info!(%address, asks_who_it_is = console.access.asks(), "showing sessions");
    let (access, erased) = (console.access.clone(), console.clone());
    let app = router(console).merge(health.router());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let serve = axum::serve(listener, app).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let grace_over = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = async { serve.await } => served.context("serve pages"),
        () = watch(&log, &connected) => Ok(()),
        never = board.follow(&log) => match never {},
        never = checks.follow() => match never {},
        never = access.follow() => match never {},
        never = contacts::follow(&erased) => match never {},
        () = grace_over => Ok(()),
    }
}

/// Keeps readiness true to the connection; never ends.
async fn watch(log: &bus::Log, connected: &Condition) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        connected.set(log.is_connected());
    }
}

/// No script but ours runs, nothing comes from elsewhere, nobody frames it, nothing of it is kept.
async fn headers(mut response: Response) -> Response {
    let policy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src data:; \
                  form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
