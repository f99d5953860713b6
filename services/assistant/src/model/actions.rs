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
