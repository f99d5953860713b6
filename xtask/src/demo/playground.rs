//! A phone, the log, and a rep's console on one page. The page talks to the simulators' control
//! API itself; only the log comes through here.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{
        Html, IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures::{Stream, StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{log, stack::Papers};

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPTS: [(&str, &str); 4] = [
    ("/page.js", include_str!("page/page.js")),
    ("/phone.js", include_str!("page/phone.js")),
    ("/rep.js", include_str!("page/rep.js")),
    ("/log.js", include_str!("page/log.js")),
];

/// What the page is about.
#[derive(Debug, Clone)]
pub struct Page {
    /// Base URL of the control API, as a browser reaches it.
    pub control: String,
    pub number: &'static str,
    pub nats: String,
    /// Base URL of the console, if it is known.
    pub console: Option<String>,
    /// Shown to whoever connects everything by hand.
    pub papers: Option<Papers>,
}

/// Its address, and what must be polled for it to answer.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    listen: SocketAddr,
    page: Page,
    shutdown: CancellationToken,
) -> Result<(SocketAddr, impl Future<Output = Result<()>>)> {
    let listener = TcpListener::bind(listen).await.context("bind the playground's address")?;
    let address = listener.local_addr()?;
    let stop = shutdown.clone();
    let mut router = Router::new()
        .route("/", get(index))
        .route("/style.css", get(async || typed("text/css; charset=utf-8", STYLE)))
        .route("/papers", get(papers))
        .route(
            "/log",
            get(async move |State(page): State<Page>| {
                Sse::new(events(page, stop)).keep_alive(KeepAlive::default())
            }),
        );
    for (path, script) in SCRIPTS {
        router = router.route(path, get(async move || typed("text/javascript; charset=utf-8", script)));
    }
    let router = router.with_state(page);
    let serving = async move {
        let serve = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        serve.await.context("serve the playground")
    };
    Ok((address, serving))
}

fn typed(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn index(State(page): State<Page>) -> Response {
    let html = PAGE
        .replace("{{control}}", &page.control)
        .replace("{{number}}", page.number)
        .replace("{{console}}", page.console.as_deref().unwrap_or_default());
    // Pictures that are sent are shown from memory.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:; \
         connect-src 'self' {}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        page.control
    );
    let mut headers = HeaderMap::new();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    (headers, Html(html)).into_response()
}

async fn papers(State(page): State<Page>) -> Response {
    match page.papers {
        Some(papers) => Json(papers).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Ends with the demo, or the graceful stop would wait for open pages.
fn events(page: Page, stop: CancellationToken) -> impl Stream<Item = Result<Event, Infallible>> {
    let entries =
        stream::once(async move { log::follow(&page.nats).await }).flat_map(|opened| match opened {
            Ok(entries) => entries,
            Err(error) => stream::once(async { Err(error) }).boxed(),
        });
    entries
        .map(|entry| {
            let data = match entry {
                Ok(entry) => entry.to_string(),
                Err(error) => {
                    serde_json::json!({ "kind": "error", "entry": format!("{error:#}") }).to_string()
                }
            };
            Ok(Event::default().data(data))
        })
        .take_until(stop.cancelled_owned())
}
