//! The operator's services that a model may call: JSON in, JSON out. Only hosts that the settings
//! allow, only public addresses, whatever a name resolves to; no redirects.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use domain::settings::Action;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::client::body;

/// What the model is to read of an answer.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// In characters.
const LONGEST_RESULT: usize = 8_000;

#[derive(Debug)]
pub(super) struct Actions {
    http: reqwest::Client,
}

impl Actions {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        runtime::init_crypto();
        let http = reqwest::Client::builder()
            .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_secs(30))
            .dns_resolver(Arc::new(PublicOnly))
            // Through a proxy the check of addresses would be the proxy's.
            .no_proxy()
            .build()?;
        Ok(Self { http })
    }

    /// The answer, for the model. `once` is the same when the same question is answered again.
    /// `local`: services on this machine may be called, as in tests.
    pub(super) async fn run(
        &self,
        action: &Action,
        hosts: &[String],
        local: bool,
        arguments: &Value,
        once: &str,
    ) -> String {
        match self.call(action, hosts, local, arguments, once).await {
            Ok(result) => result,
            Err(problem) => json!({ "error": problem }).to_string(),
        }
    }

    async fn call(
        &self,
        action: &Action,
        hosts: &[String],
        local: bool,
        arguments: &Value,
        once: &str,
    ) -> Result<String, String> {
        if !action.is_allowed(local, hosts) {
            return Err("this service may not be called".into());
        }
        let mut request = self
            .http
            .post(action.url.clone())
            .timeout(action.timeout_seconds)
            .header("idempotency-key", once);
        for (name, value) in &action.headers {
            request = request.header(name, value.expose_secret());
        }
        let unreachable = |error: reqwest::Error| {
            tracing::warn!(
                action = action.name,
                error = runtime::error_chain(&error.without_url()),
                "an action was not answered"
            );
            "the service cannot be reached".to_owned()
        };
        let response = request.json(arguments).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = body(response, MAX_BODY_BYTES).await.map_err(unreachable)?;
        let body = body.ok_or("the service answered too much")?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_| "the service answered no JSON")?;
        let answer =
            if status.is_success() { answer } else { json!({ "error": answer, "status": status.as_u16() }) };
        let answer = answer.to_string();
        if answer.chars().count() > LONGEST_RESULT {
            return Err("the service answered too much".into());
        }
        Ok(answer)
    }
}

/// Resolves names to public addresses only.
#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> =
                found.filter(|address| domain::net::is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Json, Router,
        http::{HeaderMap, StatusCode},
        response::{IntoResponse as _, Redirect},
        routing::post,
    };

    use super::*;

    async fn server() -> String {
        let echo = async |headers: HeaderMap, Json(body): Json<Value>| {
            assert_eq!(headers["x-key"], "s3cret");
            Json(json!({ "once": headers["idempotency-key"].to_str().unwrap(), "got": body }))
        };
        let routes = Router::new()
            .route("/echo", post(echo))
            .route("/slow", post(async || std::future::pending::<()>().await))
            .route("/away", post(async || Redirect::temporary("/echo")))
            .route("/text", post(async || "shipped"))
            .route("/large", post(async || Json("x".repeat(MAX_BODY_BYTES))))
            .route("/long", post(async || Json("x".repeat(LONGEST_RESULT))))
            .route(
                "/refuses",
                post(async || (StatusCode::CONFLICT, Json(json!("no such order"))).into_response()),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // Ends with the test's runtime.
        tokio_util::task::TaskTracker::new().spawn(async move { axum::serve(listener, routes).await });
        url
    }

    fn action(url: &str) -> Action {
        serde_json::from_value(json!({
            "name": "order_status", "description": "d", "url": url, "parameters": { "type": "object" },
            "headers": { "x-key": "s3cret" }, "timeout_seconds": 1
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn an_action_answers_json_in_time_and_in_bounds_or_the_model_is_told_why_not() {
        let (server, actions) = (server().await, Actions::new().unwrap());
        let hosts = ["shop.example.com".to_owned()];
        for (path, expected) in [
            ("/echo", json!({ "once": "7-0-1-0", "got": { "order": "7" } })),
            ("/slow", json!({ "error": "the service cannot be reached" })),
            ("/away", json!({ "error": "the service answered no JSON" })),
            ("/text", json!({ "error": "the service answered no JSON" })),
            ("/large", json!({ "error": "the service answered too much" })),
            ("/long", json!({ "error": "the service answered too much" })),
            ("/refuses", json!({ "error": "no such order", "status": 409 })),
        ] {
            let action = action(&format!("{server}{path}"));
            let told = actions.run(&action, &hosts, true, &json!({ "order": "7" }), "7-0-1-0").await;
            assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn only_hosts_of_the_list_are_called_and_never_private_addresses() {
        let (server, actions) = (server().await, Actions::new().unwrap());
        let hosts = ["shop.example.com".to_owned(), "127.0.0.1".to_owned(), "localhost".to_owned()];
        let port = server.rsplit(':').next().unwrap();
        for (url, problem) in [
            (format!("{server}/echo"), "this service may not be called"),
            ("https://evil.example.net/echo".to_owned(), "this service may not be called"),
            ("https://shop.example.com.evil.net/echo".to_owned(), "this service may not be called"),
            ("http://shop.example.com/echo".to_owned(), "this service may not be called"),
            // The list allows the name; what it resolves to is private.
            (format!("https://localhost:{port}/echo"), "the service cannot be reached"),
        ] {
            let told = actions.run(&action(&url), &hosts, false, &json!({}), "1").await;
            assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json!({ "error": problem }), "{url}");
        }
    }
}
