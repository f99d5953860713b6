//! What Meta tells of the numbers: asked when somebody looks, and kept for a minute.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::settings::Channel;
use futures::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;
use whatsapp::client::{CallError, TemplateInfo};

use super::Refused;
use crate::error::RouteError;

const FRESH: Duration = Duration::from_secs(60);
/// A page does not wait longer for Meta.
const PATIENCE: Duration = Duration::from_millis(2_500);
const MOST_KEPT: usize = 1_000;
const MOST_TEMPLATES: usize = 200;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Statuses(Arc<Inner>);

struct Inner {
    client: Option<whatsapp::Client>,
    known: Mutex<HashMap<String, (Instant, Arc<Status>)>>,
}

/// A number at Meta's. What Meta did not tell is empty.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(super) struct Status {
    pub(super) display_phone_number: String,
    pub(super) verified_name: String,
    pub(super) status: String,
    pub(super) quality: String,
    pub(super) throughput: String,
    pub(super) messaging_limit: String,
    /// Null where it could not be told.
    pub(super) subscribed: Option<bool>,
    /// What Meta had against telling it.
    pub(super) problem: String,
    pub(super) fix: String,
}

impl Status {
    /// Meta's word, and the class of its badge.
    pub(super) fn badge(&self) -> (&str, &'static str) {
        match self.status.as_str() {
            "" if !self.problem.is_empty() => ("not in order", "broken"),
            "" => ("not told", ""),
            "CONNECTED" => ("connected", "live"),
            "FLAGGED" | "RESTRICTED" | "RATE_LIMITED" | "PENDING" => (&self.status, "waiting"),
            _ => (&self.status, "broken"),
        }
    }
}

impl Statuses {
    pub(super) fn new(client: Option<whatsapp::Client>) -> Self {
        Self(Arc::new(Inner { client, known: Mutex::default() }))
    }

    pub(super) fn client(&self) -> Option<&whatsapp::Client> {
        self.0.client.as_ref()
    }

    /// Tokens may have changed.
    pub(super) fn forget(&self) {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Of each, in their order; `None`: Meta did not answer in time, or is not asked.
    pub(super) async fn of(&self, channels: &[Channel]) -> Vec<Option<Arc<Status>>> {
        let asked = channels.iter().map(|channel| async {
            let number = channel.phone_number_id.as_str();
            if let Some(known) = self.known(number) {
                return Some(known);
            }
            let status = Arc::new(timeout(PATIENCE, self.ask(channel)).await.ok()??);
            let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() < MOST_KEPT {
                known.insert(number.to_owned(), (Instant::now(), Arc::clone(&status)));
            }
            Some(status)
        });
        join_all(asked).await
    }

    fn known(&self, number: &str) -> Option<Arc<Status>> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(number).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, status)| Arc::clone(status))
    }

    async fn ask(&self, channel: &Channel) -> Option<Status> {
        let client = self.client()?;
        let token = &channel.access_token;
        let (node, apps, info) = tokio::join!(
            client.phone_number(&channel.phone_number_id, token),
            client.subscribed_apps(&channel.waba_id, token),
            client.debug_token(token, None)
        );
        let ours = info.map(|info| info.app_id).unwrap_or_default();
        let subscribed = apps.ok().filter(|_| !ours.is_empty());
        let subscribed = subscribed.map(|apps| apps.iter().any(|app| app.app.id == ours));
        Some(match node {
            Ok(node) => Status {
                display_phone_number: node.display_phone_number,
                verified_name: node.verified_name,
                status: node.status,
                quality: node.quality_rating,
                throughput: node.throughput.level,
                messaging_limit: node.whatsapp_business_manager_messaging_limit,
                subscribed,
                ..Status::default()
            },
            Err(error) => Status {
                problem: clean(&error.what(), channel),
                fix: error.how_to_mend().to_owned(),
                subscribed,
                ..Status::default()
            },
        })
    }

    /// The account's events come to the token's app from now on.
    pub(super) async fn subscribe(&self, channel: &Channel) -> Result<(), Refused> {
        let client = self.client().ok_or(RouteError::MetaAway)?;
        let done = client.subscribe_app(&channel.waba_id, &channel.access_token, None).await;
        self.forget();
        done.map_err(|error| refused(&error).into())
    }

    /// The newest 200, and whether there are more.
    pub(super) async fn templates(&self, channel: &Channel) -> Result<(Vec<Template>, bool), RouteError> {
        let client = self.client().ok_or(RouteError::MetaAway)?;
        let asked = client.templates(&channel.waba_id, &channel.access_token, MOST_TEMPLATES);
        let found = timeout(PATIENCE, asked).await.map_err(|_| RouteError::MetaAway)?;
        let found = found.map_err(|error| refused(&error))?;
        Ok((found.list.into_iter().map(Template::of).collect(), found.more))
    }
}

fn refused(error: &CallError) -> RouteError {
    match error {
        CallError::Refused(_) => RouteError::MetaRefused,
        CallError::Unreachable(_)
        | CallError::TimedOut
        | CallError::Paced { .. }
        | CallError::Failed { .. }
        | CallError::Unreadable { .. } => RouteError::MetaAway,
    }
}

/// Meta's words may quote the token.
fn clean(text: &str, channel: &Channel) -> String {
    use secrecy::ExposeSecret as _;
    let token = channel.access_token.expose_secret();
    if token.is_empty() { text.to_owned() } else { text.replace(token, "…") }
}

/// A template as the customer would see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Template {
    pub(super) name: String,
    pub(super) language: String,
    pub(super) status: String,
    pub(super) category: String,
    pub(super) header: String,
    pub(super) body: String,
    pub(super) footer: String,
    pub(super) buttons: Vec<String>,
    /// Names or positions of the body's variables.
    pub(super) variables: Vec<String>,
    pub(super) rejected_reason: String,
}

impl Template {
    fn of(info: TemplateInfo) -> Self {
        let variables = info.body_variables().into_iter().map(str::to_owned).collect();
        let part = |kind: &str| info.components.iter().find(|component| component.kind == kind);
        let text = |kind: &str| part(kind).map(|component| component.text.clone()).unwrap_or_default();
        let header = match part("HEADER") {
            Some(header) if header.text.is_empty() => format!("[{}]", header.format.to_lowercase()),
            Some(header) => header.text.clone(),
            None => String::new(),
        };
        let buttons = part("BUTTONS").map(|part| part.buttons.iter().map(|one| one.text.clone()).collect());
        Self {
            header,
            body: text("BODY"),
            footer: text("FOOTER"),
            buttons: buttons.unwrap_or_default(),
            variables,
            name: info.name,
            language: info.language,
            status: info.status,
            category: info.category,
            rejected_reason: if info.rejected_reason == "NONE" {
                String::new()
            } else {
                info.rejected_reason
            },
        }
    }

    pub(super) fn is_approved(&self) -> bool {
        self.status == "APPROVED"
    }
}
