//! A phone, the log, and a rep's console on one page. The page talks to the simulators' control
//! API itself; only the log comes through here.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::State,
    response::{
        Html,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures::{Stream, StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::log;

const PAGE: &str = include_str!("playground.html");

#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Base URL of the control API, as a browser reaches it.
    pub(super) control: String,
    pub(super) number: &'static str,
    pub(super) nats: String,
}

/// Its address, and what must be polled for it to answer.
pub(super) async fn serve(
    listen: SocketAddr,
    page: Page,
    shutdown: CancellationToken,
) -> Result<(SocketAddr, impl Future<Output = Result<()>>)> {
    let listener = TcpListener::bind(listen).await.context("bind the playground's address")?;
    let address = listener.local_addr()?;
    let stop = shutdown.clone();
    let router = Router::new()
        .route("/", get(index))
        .route(
            "/log",
            get(async move |State(page): State<Page>| {
                Sse::new(events(page, stop)).keep_alive(KeepAlive::default())
            }),
        )
        .with_state(page);
    let serving = async move {
        let serve = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        serve.await.context("serve the playground")
    };
    Ok((address, serving))
}

async fn index(State(page): State<Page>) -> Html<String> {
    Html(PAGE.replace("{{control}}", &page.control).replace("{{number}}", page.number))
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
