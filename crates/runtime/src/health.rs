//! `/livez` says that the process answers, `/readyz` that it can do its work.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The named conditions that make a process ready. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, bool>>>);

/// One condition; whoever knows it holds it.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    health: Health,
}

impl Health {
    /// Ready until a condition is added.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that does not hold yet. `name` is shown in `/readyz`.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.conditions().insert(name, false);
        Condition { name, health: self.clone() }
    }

    pub fn is_ready(&self) -> bool {
        self.conditions().values().all(|holds| *holds)
    }

    /// `GET /livez` and `GET /readyz`, to merge into a service's own router.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(readyz))
            .with_state(self.clone())
    }

    fn conditions(&self) -> MutexGuard<'_, BTreeMap<&'static str, bool>> {
        // A map of booleans cannot be left half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    pub fn set(&self, holds: bool) {
        let before = self.health.conditions().insert(self.name, holds);
        if before != Some(holds) {
            tracing::info!(condition = self.name, holds, "readiness changed");
        }
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let conditions = health.conditions().clone();
    let ready = conditions.values().all(|holds| *holds);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(conditions))
}

/// Serves [`Health::router`] alone, for services without HTTP of their own, until `shutdown`.
pub async fn serve_health(
    listener: TcpListener,
    health: Health,
    shutdown: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, health.router()).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_only_while_every_condition_holds() {
        let health = Health::new();
        let [broker, cache] = ["broker", "cache"].map(|name| health.condition(name));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let client = crate::http_client(crate::HttpTimeouts::default()).unwrap();
        let ask = async {
            let readyz = async || {
                let answer = client.get(format!("http://{address}/readyz")).send().await.unwrap();
                (answer.status().as_u16(), answer.text().await.unwrap())
            };
            broker.set(true);
            assert_eq!(readyz().await, (503, r#"{"broker":true,"cache":false}"#.into()));
            cache.set(true);
            assert_eq!(readyz().await.0, 200);
            broker.set(false);
            assert_eq!(readyz().await.0, 503);
            let alive = client.get(format!("http://{address}/livez")).send().await.unwrap();
            assert_eq!(alive.status(), 200);
            shutdown.cancel();
        };
        let (served, ()) = tokio::join!(serve_health(listener, health.clone(), shutdown.clone()), ask);
        served.unwrap();
    }
}
