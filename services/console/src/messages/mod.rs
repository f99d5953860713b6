//! Single templates that other systems ask for: a fact in the conversation of the recipient's phone number,
//! which handoff decides on like on any other.
//!
//! The fact's id derives from who asks and their `Idempotency-Key`, so that a repeat after a lost answer is
//! the same fact. What was asked for under a key is remembered for a day, so that another request under it
//! is refused.

mod follow;
mod header_file;
mod request;
mod templates;

use std::time::Duration;

use axum::{
    Json,
    body::{self, Bytes},
    extract::{
        DefaultBodyLimit, Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing,
};
use bus::{Records, Replaced};
use campaign::Known;
use domain::{PhoneNumberId, derive::uuid, message::Customer, outreach::Outreach, settings::Channel};
use futures::TryStreamExt as _;
use proto::v1::{self, entry::Body};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use self::{
    follow::{Followed, MessageId, follow},
    request::Wanted,
};
pub(crate) use self::{
    header_file::HeaderFile,
    request::category,
    templates::{Templates, known},
};
use crate::{
    Console,
    access::{May, Operate, Read, Right},
    actions::checked_nonce,
    error::RouteError,
    openapi::{Api, Operation, schema, taken},
};

/// Of a request: a hundred parameters of some length.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// How long the fact may take to get into the log.
const APPENDING: Duration = Duration::from_secs(5);

pub(crate) fn api() -> Api {
    let id = json!({"type": "string", "pattern": "^[0-9a-f]{32}-[0-9a-f]{32}$"});
    Api::new("Messages")
        .on(
            "post",
            "/messages",
            routing::post(send).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)),
            Operation::new("Send a template to one recipient", Right::Operate)
                .header(
                    "Idempotency-Key",
                    "A new one for each message, the same one for a repeat; kept for a day",
                    json!({"type": "string", "pattern": "^[A-Za-z0-9-]{8,128}$"}),
                )
                .body(taken::<Wanted>())
                .answers(202, "It is in the log; Location tells where to follow it", schema::<Sent>())
                .fails(&[RouteError::MalformedNonce, RouteError::MalformedMessage])
                .fails(&[RouteError::MalformedRecipient, RouteError::UnknownNumber])
                .fails(&[RouteError::TemplateUnfit, RouteError::NonceReused, RouteError::NoSettings]),
        )
        .on(
            "post",
            "/messages/files",
            routing::post(keep).layer(DefaultBodyLimit::disable()),
            Operation::new("Upload the file of a template's header: the body, with its type", Right::Operate)
                .query("name", "As recipients see it, where it is a document", json!({"type": "string"}))
                .body(json!({"type": "string", "format": "binary"}))
                .answers(201, "What names it in a message or a campaign", schema::<HeaderFile>())
                .fails(&[RouteError::UnfitFile]),
        )
        .get(
            "/messages/{id}",
            told,
            Operation::new("What became of a message", Right::Read)
                .id(id)
                .answers(200, "As far as it is known now", schema::<Followed>())
                .fails(&[RouteError::UnknownMessage]),
        )
}

/// A refusal, with everything that is wrong.
pub(crate) struct Rejected {
    pub(crate) error: RouteError,
    pub(crate) problems: Vec<String>,
}

impl From<RouteError> for Rejected {
    fn from(error: RouteError) -> Self {
        Self { error, problems: Vec::new() }
    }
}

impl From<bus::Error> for Rejected {
    fn from(error: bus::Error) -> Self {
        RouteError::from(error).into()
    }
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        let Self { error, problems } = self;
        if problems.is_empty() {
            return error.into_response();
        }
        let told = error.told();
        let body = json!({
            "error": told.error, "message": told.message, "what_to_do": told.what_to_do, "problems": problems,
        });
        (error.status(), Json(body)).into_response()
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct Sent {
    #[serde(flatten)]
    followed: Followed,
    /// The same request came before.
    repeated: bool,
    /// False: Meta could not be asked about the template, which is sent as it is.
    checked: bool,
}

#[derive(Deserialize)]
struct Called {
    #[serde(default)]
    name: String,
}

async fn keep(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    query: Result<Query<Called>, QueryRejection>,
    headers: HeaderMap,
    body: body::Body,
) -> Result<(StatusCode, Json<HeaderFile>), RouteError> {
    let Query(Called { name }) = query.map_err(|_| RouteError::UnfitFile)?;
    let kept = HeaderFile::keep(console.lookup.log(), &name, mime(&headers), file_in(body)).await?;
    tracing::info!(by = caller.name(), "a header's file was uploaded");
    Ok((StatusCode::CREATED, Json(kept)))
}

/// What a body says it is.
pub(crate) fn mime(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

/// A body, as it comes.
pub(crate) fn file_in(body: body::Body) -> impl AsyncRead + Unpin + Send {
    StreamReader::new(Box::pin(body.into_data_stream().map_err(std::io::Error::other)))
}

async fn send(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    headers: HeaderMap,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Result<Response, Rejected> {
    let nonce = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let nonce = checked_nonce(nonce.ok_or(RouteError::MalformedNonce)?)?;
    let Json(wanted) = body.map_err(|rejection| Rejected {
        error: RouteError::MalformedMessage,
        problems: vec![rejection.body_text()],
    })?;
    let problems = wanted.problems();
    if !problems.is_empty() {
        return Err(Rejected { error: RouteError::MalformedMessage, problems });
    }
    let customer = wanted.customer()?;
    let number = PhoneNumberId::new(wanted.number.as_str());
    let settings = console.checks.settings().ok_or(RouteError::NoSettings)?;
    let channel = settings.channel(&number).ok_or(RouteError::UnknownNumber)?;

    let lookup = &console.lookup;
    let whom = customer.id().ok_or(RouteError::MalformedRecipient)?;
    let key = lookup.keying().conversation(&number, &whom);
    let id = MessageId { key, fact: uuid("message", &[caller.name().as_bytes(), nonce.as_bytes()]) };
    let asked = Asked::of(&console, id, &wanted)?;
    let mut repeated = asked.before().await?;
    let there = lookup.log().last(&id.subject()).await?;
    let (seq, checked) = match there {
        Some(entry) => {
            // Else the key is older than a day; or the same came twice at once.
            repeated = repeated || asked.before().await?;
            if !repeated {
                return Err(RouteError::NonceReused.into());
            }
            (entry.seq, true)
        }
        None => {
            let (outreach, checked) = outreach(&console, &wanted, customer, channel).await?;
            repeated |= asked.remember().await?;
            let fact = proto::encode(Body::Outreach(v1::Outreach::from(&outreach)));
            let appended = lookup.log().append_fact(&id.subject(), fact, Some(APPENDING)).await?;
            (appended.seq, checked)
        }
    };
    follow::wait(lookup, &key, seq).await;
    let followed = follow(lookup, id).await?;
    tracing::info!(by = caller.name(), conversation = %key, seq, repeated, "a template was asked for");
    let location =
        HeaderValue::try_from(format!("/api/v1/messages/{id}")).map_err(|_| RouteError::Internal)?;
    let sent = Sent { followed, repeated, checked };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(sent)).into_response())
}

/// As it goes into the log, and whether Meta was asked about it.
async fn outreach(
    console: &Console,
    wanted: &Wanted,
    customer: Customer,
    channel: &Channel,
) -> Result<(Outreach, bool), Rejected> {
    let template = &wanted.template;
    let known: Option<Option<Known>> =
        console.templates.find(channel, &template.name, &template.language).await;
    let Some(known) = known else { return Ok((wanted.outreach(customer, None), false)) };
    let problems = wanted.unfit(known.as_ref());
    if !problems.is_empty() {
        return Err(Rejected { error: RouteError::TemplateUnfit, problems });
    }
    Ok((wanted.outreach(customer, known.as_ref()), true))
}

/// What was asked for under a key.
struct Asked {
    records: Records,
    key: String,
    /// A keyed digest.
    body: Bytes,
}

impl Asked {
    fn of(console: &Console, id: MessageId, wanted: &Wanted) -> Result<Self, RouteError> {
        let body = serde_json::to_vec(wanted).map_err(|_| RouteError::Internal)?;
        let body = Bytes::from(console.lookup.keying().event(&body));
        Ok(Self { records: console.requests.clone(), key: id.fact.simple().to_string(), body })
    }

    /// Whether the same was asked before.
    async fn before(&self) -> Result<bool, RouteError> {
        match self.records.get(&self.key).await? {
            None => Ok(false),
            Some(before) if before.payload == self.body => Ok(true),
            Some(_) => Err(RouteError::NonceReused),
        }
    }

    /// Whether somebody else did meanwhile.
    async fn remember(&self) -> Result<bool, RouteError> {
        match self.records.replace(&self.key, 0, self.body.clone()).await? {
            Replaced::Stored(_) => Ok(false),
            Replaced::Changed { .. } => self.before().await,
        }
    }
}

async fn told(
    State(console): State<Console>,
    _: May<Read>,
    Path(id): Path<String>,
) -> Result<Json<Followed>, RouteError> {
    Ok(Json(follow(&console.lookup, id.parse()?).await?))
}
