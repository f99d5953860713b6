//! The REST calls. One client per integration; clones share its connections.

mod entries;
mod files;
mod receipts;
mod setup;
mod typing;
mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use domain::{
    Millis, ThreadId,
    net::is_loopback,
    settings::{Integration, OrgId},
};
use http::{Method, StatusCode};
use reqwest::{RequestBuilder, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

use self::setup::host;
pub(crate) use self::setup::tls;
pub use self::{
    entries::{Direction, EntriesQuery, History},
    files::{AttachmentLimits, FileUpload, UploadPlan, plan_upload},
    receipts::{MAX_ACKS, Receipt},
    setup::{ConfigError, Options},
    wire::{ConversationInfo, ConversationStatus, RoutingStatus},
};
use crate::{Error, error::refusal, identity::Signer, stream::Pool};

pub(crate) const USER_AGENT: &str = concat!("baton/", env!("CARGO_PKG_VERSION"));
/// Answers are a few kilobytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// When a token does not say: shorter than every lifetime that Salesforce documents (§2.5).
const ASSUMED_LIFETIME_MS: Millis = 30 * 60 * 1000;
/// A token ends at least this long before we stop using it (§2.5).
const LEAST_MARGIN_MS: Millis = 60 * 1000;

#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    http: reqwest::Client,
    /// For event streams: offers HTTP/2.
    pub(crate) stream_tls: Arc<rustls::ClientConfig>,
    pub(crate) pool: Pool,
    /// Scheme, host and port; the path is `/`.
    pub(crate) base: Url,
    pub(crate) org: OrgId,
    es_developer_name: String,
    signer: Signer,
    pub(crate) options: Options,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.inner.base.as_str()).finish_non_exhaustive()
    }
}

/// What opens the API for one end user.
#[derive(Debug, Clone)]
pub struct AccessToken {
    pub token: SecretString,
    /// The event stream's cursor when the token was made.
    pub last_event_id: String,
    /// By Salesforce's clock.
    pub expires_at: Millis,
    /// `v2/iamessage/AUTH/{keyset}/uid:{sub}`.
    pub subject: String,
    /// What the org takes as attachments.
    pub attachments: AttachmentLimits,
}

impl AccessToken {
    /// When to get another: `exp` less 10 % of the token's life, or a minute if that is more.
    pub fn renew_at(&self, issued_at: Millis) -> Millis {
        let life = self.expires_at.saturating_sub(issued_at).max(0);
        self.expires_at - (life / 10).max(LEAST_MARGIN_MS.min(life / 2))
    }
}

/// What a messaging session starts with: what the routing flow learns about the customer (§11).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NewSession {
    /// Names are the channel variable names of the parameter mappings. Empty values are left out
    /// and control characters removed; the caller keeps to the parameters' maximum lengths.
    pub routing_attributes: BTreeMap<String, String>,
    /// Such as `en_US`; left out when empty.
    pub language: String,
}

/// Names and phone numbers stand in attributes: never printed.
impl std::fmt::Debug for NewSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSession({} attributes, {})", self.routing_attributes.len(), self.language)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Created,
    /// 409: ours from an earlier try, if [`Client::conversation`] finds it.
    AlreadyExists,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// 202. Accepted, not delivered: the echo on the event stream proves that it is in the thread.
    Accepted,
    /// Refused as a repeat, and found in the history.
    Already,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Ended,
    /// There was nothing to end any more.
    Already,
}

impl Client {
    pub fn new(integration: &Integration, options: Options) -> Result<Self, ConfigError> {
        Self::with_signer(integration, Signer::from_settings(integration)?, options)
    }

    /// With other keys than the settings': [`crate::keys::KeyRing::signer`], while keys are changed.
    pub fn with_signer(
        integration: &Integration,
        signer: Signer,
        options: Options,
    ) -> Result<Self, ConfigError> {
        Self::with_tls(integration, signer, options, tls().map_err(ConfigError::Tls)?)
    }

    /// With other roots of trust than the machine's; `tls` should be shared by all clients, since
    /// session tickets make storms of reconnects cheaper. ALPN is set here.
    pub fn with_tls(
        integration: &Integration,
        signer: Signer,
        options: Options,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, ConfigError> {
        let base = host(integration)?;
        let mut http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&tls))
            .connect_timeout(options.connect)
            .timeout(options.total)
            // The token must not follow anybody elsewhere, and a POST must not run twice unseen.
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(Duration::from_secs(30));
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        let mut stream_tls = rustls::ClientConfig::clone(&tls);
        stream_tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let inner = Inner {
            http: http.build().map_err(ConfigError::Http)?,
            stream_tls: Arc::new(stream_tls),
            pool: Pool::default(),
            base,
            org: integration.org_id.clone(),
            es_developer_name: integration.es_developer_name.clone(),
            signer,
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// An access token for the end user `sub` (opaque, stable, never another person's; §2.2).
    /// `now` dates the identity token. 200 of these a minute and org are allowed: keep them.
    ///
    /// # Errors
    /// [`Error::NotVerified`] when Salesforce answers with a token for somebody else than `sub`.
    pub async fn authenticate(&self, sub: &str, now: Millis) -> Result<AccessToken, Error> {
        const ENDPOINT: &str = "POST /authorization/authenticated/access-token";
        let inner = &self.inner;
        let identity = inner.signer.sign(sub, now)?;
        let request = wire::TokenRequest {
            org_id: inner.org.as_str(),
            es_developer_name: &inner.es_developer_name,
            capabilities_version: "1",
            platform: "Web",
            context: wire::App { app_name: "baton", client_version: env!("CARGO_PKG_VERSION") },
            authorization_type: "JWT",
            customer_identity_token: identity.expose_secret(),
        };
        let url = self.url(&["authorization", "authenticated", "access-token"]);
        let answer = match self.call(ENDPOINT, inner.http.post(url).json(&request)).await {
            // Whether a failed verification is an error or a silent 200 is not public (§12 no. 2).
            Err(Error::Unauthorized { .. } | Error::Refused { status: StatusCode::FORBIDDEN, .. }) => {
                return Err(Error::NotVerified);
            }
            answer => answer?,
        };
        let wire::TokenAnswer { access_token, last_event_id, context } = answer.json()?;
        let attachments = context.configuration.embedded_service_config.attachments;
        let attachments = AttachmentLimits::told(attachments.end_user_to_agent, attachments.max_file_size);
        let subject = context.end_user.subject;
        if !(subject.contains("/AUTH/") && subject.ends_with(&format!("/uid:{sub}"))) {
            return Err(Error::NotVerified);
        }
        Ok(AccessToken {
            expires_at: expiry(&access_token).unwrap_or(now + ASSUMED_LIFETIME_MS),
            token: access_token.into(),
            last_event_id: last_event_id.filter(|id| !id.is_empty()).unwrap_or_else(|| "0".into()),
            subject,
            attachments,
        })
    }

    /// Creates the conversation and, with it, a messaging session that is routed at once. `id` is
    /// ours: store it first, repeat with the same one (§3.1).
    pub async fn create_conversation(
        &self,
        token: &AccessToken,
        id: ThreadId,
        session: &NewSession,
    ) -> Result<Created, Error> {
        let request = wire::CreateRequest {
            conversation_id: id.to_string(),
            es_developer_name: &self.inner.es_developer_name,
            routing_attributes: clean(&session.routing_attributes),
            language: &session.language,
        };
        let call = self.request(Method::POST, self.url(&["conversation"]), token).json(&request);
        match self.call("POST /conversation", call).await {
            Ok(_) => Ok(Created::Created),
            Err(Error::Refused { status: StatusCode::CONFLICT, .. }) => Ok(Created::AlreadyExists),
            // Says nothing: the id may be taken, by an earlier try of ours. Then it is there to see.
            Err(error) if error.is_bad_request() => match self.conversation(token, id).await {
                Ok(_) => Ok(Created::AlreadyExists),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    pub async fn conversation(&self, token: &AccessToken, id: ThreadId) -> Result<ConversationStatus, Error> {
        let url = self.url(&["conversation", &id.to_string()]);
        self.call("GET /conversation/{id}", self.request(Method::GET, url, token)).await?.json()
    }

    /// The end user's conversations, the newest 50 at most.
    pub async fn list_conversations(
        &self,
        token: &AccessToken,
        closed_too: bool,
    ) -> Result<Vec<ConversationInfo>, Error> {
        let url = self.url(&["conversation", "list"]);
        let call = self
            .request(Method::GET, url, token)
            .query(&[("inclClosedConvs", closed_too.to_string().as_str()), ("limit", "50")]);
        let answer: wire::ListAnswer = self.call("GET /conversation/list", call).await?.json()?;
        Ok(answer.conversations)
    }

    /// Sends a text as the end user. `message_id` is ours and stays the same over all repeats.
    /// With `new_session` the message opens a messaging session: only when none is live (§10).
    /// One call per conversation at a time, or the order is lost.
    ///
    /// Where it may have arrived all the same, history is asked.
    ///
    /// # Errors
    /// [`Error::NoSession`]: send again with `new_session`. [`Error::NotFound`] or a refusal may
    /// mean that the conversation is closed: [`Client::list_conversations`] tells.
    pub async fn send_text(
        &self,
        token: &AccessToken,
        id: ThreadId,
        message_id: Uuid,
        text: &str,
        new_session: Option<&NewSession>,
    ) -> Result<Sent, Error> {
        let request = wire::SendRequest {
            message: wire::Message {
                id: message_id,
                message_type: "StaticContentMessage",
                static_content: wire::Text { format_type: "Text", text },
            },
            es_developer_name: &self.inner.es_developer_name,
            session: new_session.map(|session| wire::SessionStart {
                is_new_messaging_session: true,
                routing_attributes: clean(&session.routing_attributes),
                language: &session.language,
            }),
        };
        let url = self.url(&["conversation", &id.to_string(), "message"]);
        let call = self.request(Method::POST, url, token).json(&request);
        let answer = self.call("POST /conversation/{id}/message", call).await;
        self.sent(token, id, message_id, answer).await
    }

    /// A 400 or 409 may mean that this id arrived before, and without an answer it may have arrived
    /// now: history is asked then, before anybody repeats it. What a repeated id does is not public
    /// (§12 no. 7): at worst the rep reads it twice.
    async fn sent(
        &self,
        token: &AccessToken,
        id: ThreadId,
        message_id: Uuid,
        answer: Result<Answer, Error>,
    ) -> Result<Sent, Error> {
        match answer {
            Ok(_) => Ok(Sent::Accepted),
            Err(error) if error.may_have_arrived() => match self.has_message(token, id, message_id).await {
                Ok(true) => Ok(Sent::Already),
                Ok(false) | Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Ends the messaging session; the conversation stays open for the next one (§3.3).
    pub async fn end_session(&self, token: &AccessToken, id: ThreadId) -> Result<Ended, Error> {
        let url = self.url(&["conversation", &id.to_string(), "session"]);
        self.delete("DELETE /conversation/{id}/session", url, token).await
    }

    /// Closes the conversation for ever: a later one needs another id (§3.3).
    pub async fn close_conversation(&self, token: &AccessToken, id: ThreadId) -> Result<Ended, Error> {
        let url = self.url(&["conversation", &id.to_string()]);
        self.delete("DELETE /conversation/{id}", url, token).await
    }

    async fn delete(&self, endpoint: &'static str, url: Url, token: &AccessToken) -> Result<Ended, Error> {
        let call = self
            .request(Method::DELETE, url, token)
            .query(&[("esDeveloperName", self.inner.es_developer_name.as_str())]);
        match self.call(endpoint, call).await {
            Ok(_) => Ok(Ended::Ended),
            // What a second one answers is not public: all four are read as "ended" (§3.3).
            Err(
                Error::NotFound { .. }
                | Error::NoSession { .. }
                | Error::Refused { status: StatusCode::CONFLICT, .. }
                | Error::Unavailable { status: StatusCode::PRECONDITION_FAILED, .. },
            ) => Ok(Ended::Already),
            Err(error) => Err(error),
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.inner.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["iamessage", "api", "v2"]).extend(path);
        }
        url
    }

    fn request(&self, method: Method, url: Url, token: &AccessToken) -> RequestBuilder {
        self.inner
            .http
            .request(method, url)
            .bearer_auth(token.token.expose_secret())
            // DELETE needed it in one report; it does no harm elsewhere (§3.3).
            .header("X-Org-Id", self.inner.org.as_str())
    }

    async fn call(&self, endpoint: &'static str, request: RequestBuilder) -> Result<Answer, Error> {
        self.bounded_call(endpoint, request, MAX_ANSWER_BYTES).await
    }

    async fn bounded_call(
        &self,
        endpoint: &'static str,
        request: RequestBuilder,
        limit: usize,
    ) -> Result<Answer, Error> {
        // Addresses name conversations: they stay out of errors.
        let broken = |error: reqwest::Error| Error::transport(endpoint, error.without_url());
        let mut response = request.send().await.map_err(broken)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > limit {
                if !status.is_success() {
                    break;
                }
                return Err(Error::TooLarge { endpoint, limit });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(Answer { endpoint, status, body: body.freeze() })
        } else {
            Err(refusal(endpoint, status, &headers, &body))
        }
    }
}

/// A 2xx answer.
struct Answer {
    endpoint: &'static str,
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // serde's message could quote the answer: dropped.
        serde_json::from_slice(&self.body)
            .map_err(|_| Error::Unreadable { endpoint: self.endpoint, status: self.status })
    }
}

fn clean(attributes: &BTreeMap<String, String>) -> BTreeMap<&str, String> {
    attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.chars().filter(|c| !c.is_control()).collect::<String>()))
        .filter(|(_, value)| !value.trim().is_empty())
        .collect()
}

/// `exp` of an access token. The signature is Salesforce's business.
fn expiry(token: &str) -> Option<Millis> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let wire::AccessClaims { exp } = serde_json::from_slice(&claims).ok()?;
    exp.checked_mul(1000)
}
