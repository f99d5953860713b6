//! The settings' pages and API: WhatsApp numbers, Salesforce integrations, the list of changes.
//!
//! There is one document ([`configuration`]). A change touches its own fields only and is based on the
//! revision that whoever makes it has seen; whoever comes second is told what was changed meanwhile.
//! Secrets go in and never come out. References to the environment and to files stay where they are
//! and are not taken: whoever may change settings here should not read this machine's files thereby.

mod answers;
mod api;
mod changes;
mod channel;
mod channel_pages;
mod document;
mod fields;
mod general;
mod hooks;
mod integration;
mod keys;
mod responder;
mod responder_pages;
mod salesforce_pages;
mod sheet;
mod status;
mod texts_pages;

use std::{path::Path, time::Duration};

pub(crate) use api::api;
use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use configuration::{Change, Configuration, Document, Error, Recorded};
use domain::settings::{Invalid, Settings};
use serde_json::{Value, json};
use tokio::time::timeout;

use self::status::Statuses;
use crate::{Console, access::Caller, error::RouteError};

/// Two RSA keys of 8,192 bits as PEM, form-encoded, and all texts.
const MAX_BODY_BYTES: usize = 96 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);
/// Changes that are looked through for what happened since a form was opened.
const MOST_SINCE: usize = 50;

/// Where the settings are.
#[derive(Debug, Clone, Default)]
pub enum Kept {
    /// The console was not told (BATON_SETTINGS).
    #[default]
    Nowhere,
    /// In a file, as it was when the console started: shown, not changed.
    File(Document),
    Broker(Box<Configuration>),
}

/// What the pages and the API work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Editor {
    kept: Kept,
    statuses: Statuses,
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum Refused {
    Route(RouteError),
    /// Each with its field, as it is called in the resource; an empty one: the whole.
    Invalid(Vec<Invalid>),
    /// Newest first.
    Changed(Vec<Recorded>),
}

impl From<RouteError> for Refused {
    fn from(error: RouteError) -> Self {
        Self::Route(error)
    }
}

impl Editor {
    pub(crate) fn new(kept: Kept, whatsapp: Option<whatsapp::Client>) -> Self {
        Self { kept, statuses: Statuses::new(whatsapp) }
    }

    fn is_editable(&self) -> bool {
        matches!(self.kept, Kept::Broker(_))
    }

    fn configuration(&self) -> Result<&Configuration, RouteError> {
        match &self.kept {
            Kept::Broker(configuration) => Ok(configuration),
            Kept::File(_) | Kept::Nowhere => Err(RouteError::SettingsReadOnly),
        }
    }

    async fn current(&self) -> Result<Document, RouteError> {
        match &self.kept {
            Kept::Nowhere => Ok(Document { value: json!({ "channels": [] }), revision: 0 }),
            Kept::File(document) => Ok(document.clone()),
            Kept::Broker(configuration) => patiently(configuration.current()).await,
        }
    }

    /// Makes the change in the newest document, if it is still the one that the change is `based_on`.
    /// The new revision; the same one where nothing changes.
    async fn change(
        &self,
        caller: &Caller,
        based_on: u64,
        make: impl FnOnce(&mut Value) -> Result<(), Refused> + Send,
    ) -> Result<u64, Refused> {
        let configuration = self.configuration()?;
        let before = patiently(configuration.current()).await?;
        if before.revision != based_on {
            return Err(self.since(based_on).await?);
        }
        let mut after = before.value.clone();
        make(&mut after)?;
        let touched = document::touched(&before.value, &after);
        if touched.is_empty() {
            return Ok(before.revision);
        }
        let change = Change { who: caller.name().to_owned(), what: touched.join(", ") };
        match timeout(PATIENCE, configuration.save(after.clone(), based_on, change)).await {
            Ok(Ok(revision)) => {
                self.statuses.forget();
                Ok(revision)
            }
            Ok(Err(Error::Invalid(found))) => Err(Refused::Invalid(document::named(found, &after))),
            Ok(Err(Error::Changed { .. })) => Err(self.since(based_on).await?),
            Ok(Err(error)) => Err(route_error(&error).into()),
            Err(_) => Err(RouteError::LogAway.into()),
        }
    }

    /// What others changed.
    async fn since(&self, revision: u64) -> Result<Refused, RouteError> {
        let mut changes = self.changes(MOST_SINCE).await?;
        changes.retain(|change| change.revision > revision);
        Ok(Refused::Changed(changes))
    }

    async fn changes(&self, most: usize) -> Result<Vec<Recorded>, RouteError> {
        match &self.kept {
            Kept::Broker(configuration) => patiently(configuration.changes(most)).await,
            Kept::File(_) | Kept::Nowhere => Ok(Vec::new()),
        }
    }
}

/// With everything in its place that stands elsewhere; each problem with its path in the document.
fn filled_in(value: &Value) -> Result<Settings, Vec<Invalid>> {
    runtime::settings::check(value.clone(), Path::new("."))
}

async fn patiently<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, RouteError> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| route_error(&error)),
        Err(_) => Err(RouteError::LogAway),
    }
}

fn route_error(error: &Error) -> RouteError {
    match error {
        Error::Sealed | Error::MasterKey(_) => RouteError::SettingsSealed,
        Error::TooLarge => RouteError::SettingsTooLarge,
        Error::Invalid(_) => RouteError::SettingsInvalid,
        Error::Changed { .. } => RouteError::SettingsChanged,
        Error::Broker(_) => {
            tracing::warn!(error = runtime::error_chain(error), "the settings could not be reached");
            RouteError::LogAway
        }
    }
}

/// As JSON; pages show it beside the fields.
impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let told = |error: RouteError, name: &str, more: Value| {
            let mut body = json!(error.told());
            body[name] = more;
            (error.status(), Json(body)).into_response()
        };
        match self {
            Self::Route(error) => error.into_response(),
            Self::Invalid(found) => {
                let fields = found.into_iter().map(|one| json!({"field": one.field, "problem": one.problem}));
                told(RouteError::SettingsInvalid, "fields", fields.collect())
            }
            Self::Changed(changes) => {
                let changes = changes.into_iter().map(|change| json!(changes::Told::of(change)));
                told(RouteError::SettingsChanged, "changes", changes.collect())
            }
        }
    }
}

pub(crate) fn router(console: Console) -> Router {
    Router::new()
        .route("/settings", get(salesforce_pages::leads_on))
        .route("/settings/changes", get(changes::shown))
        .route(answers::HERE, get(answers::shown).post(answers::saved))
        .route("/settings/salesforce", get(salesforce_pages::listed))
        .route("/settings/salesforce/new", get(salesforce_pages::blank).post(salesforce_pages::added))
        .route("/settings/salesforce/{id}", get(salesforce_pages::shown).post(salesforce_pages::saved))
        .route("/settings/salesforce/{id}/attributes", post(salesforce_pages::mapped))
        .route("/settings/salesforce/{id}/keys", post(salesforce_pages::keys_changed))
        .route("/settings/salesforce/{id}/hook", post(salesforce_pages::hook_changed))
        .route("/settings/salesforce/{id}/test", post(salesforce_pages::tested))
        .route("/settings/salesforce/{id}/remove", post(salesforce_pages::removed))
        .route("/channels", get(channel_pages::leads_on))
        .route("/channels/whatsapp", get(channel_pages::listed))
        .route("/channels/whatsapp/webhook", post(channel_pages::general))
        .route("/channels/whatsapp/new", get(channel_pages::blank).post(channel_pages::added))
        .route("/channels/whatsapp/{number}", get(channel_pages::shown).post(channel_pages::saved))
        .route(
            "/channels/whatsapp/{number}/responder",
            get(responder_pages::shown).post(responder_pages::saved),
        )
        .route("/channels/whatsapp/{number}/texts", get(texts_pages::shown).post(texts_pages::saved))
        .route("/channels/whatsapp/{number}/assistant", post(channel_pages::switched))
        .route("/channels/whatsapp/{number}/subscribe", post(channel_pages::subscribed))
        .route("/channels/whatsapp/{number}/remove", post(channel_pages::removed))
        .route("/settings.js", get(script))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(console)
}

async fn script() -> Response {
    let kind = (axum::http::header::CONTENT_TYPE, "text/javascript; charset=utf-8");
    (StatusCode::OK, [kind], include_str!("../../assets/settings.js")).into_response()
}
