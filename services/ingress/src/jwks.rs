//! The public keys that Salesforce checks our identity tokens with (`miaw-api.md` §2.2): those of one
//! integration, or of all. An org's keyset may fetch them here, so that a new key needs no paste.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use runtime::settings::{Derived, Live};
use salesforce::keys::{KeyRing, jwks};
use serde_json::Value;

use crate::problem::Problem;

/// A new key is seen within this many seconds.
const CACHED: &str = "public, max-age=300";

pub(crate) struct Published {
    settings: Option<Live>,
    /// Certificates are signed once.
    made: Derived<Keys>,
}

/// Each integration's id and keys.
type Keys = Vec<(String, Vec<Value>)>;

impl Published {
    pub(crate) fn router(settings: Option<Live>) -> Router {
        let published = Self { settings, made: Derived::default() };
        Router::new()
            .route("/.well-known/jwks.json", get(all))
            .route("/integrations/{integration}/jwks.json", get(one))
            .with_state(Arc::new(published))
    }

    fn keys(&self) -> Arc<Keys> {
        let Some(settings) = self.settings.as_ref().map(Live::now) else { return Arc::default() };
        self.made.of(&settings, |_| {
            let published = settings.integrations.iter().filter_map(|integration| {
                let ring = KeyRing::from_settings(integration);
                match ring.and_then(|ring| ring.jwks(&integration.issuer, runtime::now())) {
                    Ok(mut set) => {
                        let keys = set["keys"].as_array_mut().map(std::mem::take).unwrap_or_default();
                        Some((integration.id.as_str().to_owned(), keys))
                    }
                    Err(error) => {
                        let error = runtime::error_chain(&error);
                        tracing::error!(integration = integration.id.as_str(), error, "keys not published");
                        None
                    }
                }
            });
            published.collect()
        })
    }
}

async fn all(State(published): State<Arc<Published>>) -> Response {
    let keys: Vec<Value> = published.keys().iter().flat_map(|(_, keys)| keys.clone()).collect();
    answer(&keys)
}

async fn one(State(published): State<Arc<Published>>, Path(integration): Path<String>) -> Response {
    match published.keys().iter().find(|(id, _)| *id == integration) {
        Some((_, keys)) => answer(keys),
        None => Problem::new(
            StatusCode::NOT_FOUND,
            "no_integration",
            "there is no such integration, or its keys cannot be used",
            "Ask for /integrations/<id of the integration>/jwks.json.",
        )
        .into_response(),
    }
}

fn answer(keys: &[Value]) -> Response {
    ([(header::CACHE_CONTROL, CACHED)], Json(jwks(keys))).into_response()
}
