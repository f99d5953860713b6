//! Connections. `axum::serve` has no bound for what it reads ahead: with each connection's 400 KB,
//! bodies that have to wait would be in memory already.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What is read ahead per connection, in bytes: a head, and most bodies with it.
const READ_AHEAD_BYTES: usize = 32 * 1024;
/// When the process has too many files open, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then answers what was begun.
pub(crate) async fn serve(listener: TcpListener, app: Router, shutdown: &CancellationToken) {
    let mut http = http1::Builder::new();
    http.max_buf_size(READ_AHEAD_BYTES);
    let http = Arc::new(http);
    let connections = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, _)) => {
                connections.spawn(connection(Arc::clone(&http), socket, app.clone(), shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(error = runtime::error_chain(&error), "connection not accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(http: Arc<http1::Builder>, socket: TcpStream, app: Router, shutdown: CancellationToken) {
    // Answers are one small write: waiting for more to send only delays them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(error = runtime::error_chain(&error), "TCP_NODELAY not set");
    }
    let connection = http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = runtime::error_chain(&error), "connection broke off");
    }
}
