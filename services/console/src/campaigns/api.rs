//! Campaigns as JSON. Lists of recipients come and go as CSV, in streams.

use axum::{
    Json, RequestExt as _,
    body::Body,
    extract::{
        DefaultBodyLimit, Path, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing,
};
use campaign::{Definition, Plan, Stored, Summary};
use futures::TryStreamExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::io::StreamReader;

use super::{Action, causes::Cause, people::Filter, reasons};
use crate::{
    Console,
    access::{May, Operate, Read, Right},
    board::now,
    error::RouteError,
    messages::{HeaderFile, Rejected, file_in, mime},
    openapi::{Api, Operation, schema, taken},
};

/// Of a plan: rules with many words.
const MAX_PLAN_BYTES: usize = 256 * 1024;

pub(crate) fn api() -> Api {
    let unknown = [RouteError::UnknownCampaign];
    let csv = || json!({"type": "string", "contentMediaType": "text/csv"});
    let about = || json!({"type": "object", "required": ["revision", "campaign", "progress", "causes"]});
    let plan = || {
        json!({"type": "object", "required": ["name", "number", "template"], "description":
        "name, number (a phone number ID), template {name, language, category, header, body, buttons, text}, \
         schedule {start_at, ends_at, quiet {from, to}, weekdays}, per_minute, reply {to}, \
         answered_within_seconds: docs/campaigns.md"})
    };
    Api::new("Campaigns")
        .get(
            "/campaigns",
            list,
            Operation::new("All campaigns, the newest first", Right::Read).answers(
                200,
                "All of them",
                json!({"type": "array", "items": {"type": "object"}}),
            ),
        )
        .on(
            "post",
            "/campaigns",
            routing::post(create).layer(DefaultBodyLimit::max(MAX_PLAN_BYTES)),
            Operation::new("Make a campaign, as a draft", Right::Operate)
                .body(plan())
                .answers(201, "Made; give it an audience", about())
                .fails(&[RouteError::MalformedCampaign, RouteError::NotNow]),
        )
        .get(
            "/campaigns/{id}",
            one,
            Operation::new("A campaign and how far it got", Right::Read)
                .answers(200, "As it is", about())
                .fails(&unknown),
        )
        .on(
            "put",
            "/campaigns/{id}",
            routing::put(edit).layer(DefaultBodyLimit::max(MAX_PLAN_BYTES)),
            Operation::new("Another plan for a campaign that was not started", Right::Operate)
                .query("revision", "What the change is based on", json!({"type": "integer"}))
                .body(plan())
                .answers(200, "Changed", about())
                .fails(&unknown)
                .fails(&[RouteError::MalformedCampaign, RouteError::NotNow, RouteError::CampaignChanged]),
        )
        .on(
            "delete",
            "/campaigns/{id}",
            routing::delete(remove),
            Operation::new("Remove a campaign that does not go on, and its recipients", Right::Operate)
                .query("revision", "What the change is based on", json!({"type": "integer"}))
                .nothing(204, "Gone")
                .fails(&unknown)
                .fails(&[RouteError::NotNow, RouteError::CampaignChanged]),
        )
        .on(
            "post",
            "/campaigns/{id}/audience",
            routing::post(audience).layer(DefaultBodyLimit::max(super::MAX_UPLOAD_BYTES)),
            Operation::new("Whom it goes to: a CSV file as the body, with headings", Right::Operate)
                .query(
                    "country",
                    "Where numbers without a country's code are dialled: DE",
                    json!({"type": "string"}),
                )
                .body(csv())
                .answers(200, "What was taken", schema::<Taken>())
                .fails(&unknown)
                .fails(&[RouteError::AudienceUnusable, RouteError::UnknownCountry])
                .fails(&[RouteError::NotNow, RouteError::UploadBusy]),
        )
        .post(
            "/campaigns/{id}/audience/people",
            people,
            Operation::new(
                "Whom it goes to: people with a conversation, by a filter; columns name, first_name, language",
                Right::Operate,
            )
            .body(taken::<Filter>())
            .answers(200, "What was taken", schema::<Taken>())
            .fails(&unknown)
            .fails(&[RouteError::MalformedCampaign, RouteError::AudienceUnusable])
            .fails(&[RouteError::NotNow, RouteError::UploadBusy, RouteError::CampaignChanged]),
        )
        .on(
            "put",
            "/campaigns/{id}/header",
            routing::put(header_file).layer(DefaultBodyLimit::disable()),
            Operation::new("The file of the template's header: the body, with its type", Right::Operate)
                .query("name", "As recipients see it, where it is a document", json!({"type": "string"}))
                .body(json!({"type": "string", "format": "binary"}))
                .answers(200, "Kept", about())
                .fails(&unknown)
                .fails(&[RouteError::UnfitFile, RouteError::NotNow, RouteError::CampaignChanged]),
        )
        .get(
            "/campaigns/{id}/rejected.csv",
            rejected,
            Operation::new("The rows that were not taken, and why", Right::Operate)
                .answers(200, "A CSV file", csv())
                .fails(&unknown),
        )
        .get(
            "/campaigns/{id}/export.csv",
            export,
            Operation::new("Every recipient and what became of them", Right::Operate)
                .answers(200, "A CSV file", csv())
                .fails(&unknown),
        )
        .post(
            "/campaigns/{id}/actions",
            act,
            Operation::new("Check, start, schedule, pause, resume or cancel it", Right::Operate)
                .body(taken::<Wanted>())
                .answers(200, "Done; what was done already changes nothing", about())
                .fails(&unknown)
                .fails(&[RouteError::MalformedCampaign, RouteError::NotNow, RouteError::CampaignChanged]),
        )
}

/// A campaign as it is.
#[derive(Serialize)]
struct About {
    revision: u64,
    campaign: Definition,
    /// None: it was never started.
    progress: Option<Summary>,
    causes: Vec<Cause>,
}

async fn about(console: &Console, stored: Stored) -> Result<Json<About>, Rejected> {
    let progress = console.campaigns.progress(stored.definition.id).await?;
    let causes =
        progress.as_ref().map(|progress| Cause::of(progress, &stored.definition)).unwrap_or_default();
    Ok(Json(About { revision: stored.revision, campaign: stored.definition, progress, causes }))
}

async fn list(State(console): State<Console>, _: May<Read>) -> Result<Json<Vec<Value>>, Rejected> {
    let all = console.campaigns.campaigns().await?.list().await?;
    let row = |Stored { definition, revision }: Stored| {
        json!({
            "id": definition.id, "name": definition.plan.name, "number": definition.plan.number.as_str(),
            "template": definition.plan.template.name, "state": definition.state, "revision": revision,
            "recipients": definition.audience.map(|audience| audience.rows),
        })
    };
    Ok(Json(all.into_iter().map(row).collect()))
}

fn plan(body: Result<Json<Plan>, JsonRejection>) -> Result<Plan, Rejected> {
    let malformed = |rejection: JsonRejection| Rejected {
        error: RouteError::MalformedCampaign,
        problems: vec![rejection.body_text()],
    };
    body.map(|Json(plan)| plan).map_err(malformed)
}

async fn create(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    body: Result<Json<Plan>, JsonRejection>,
) -> Result<Response, Rejected> {
    let stored = console.campaigns.campaigns().await?.create(plan(body)?, caller.name(), now()).await?;
    let location = format!("/api/v1/campaigns/{}", stored.definition.id);
    let location = HeaderValue::try_from(location).map_err(|_| RouteError::Internal)?;
    let about = about(&console, stored).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], about).into_response())
}

async fn one(
    State(console): State<Console>,
    _: May<Read>,
    Path(id): Path<String>,
) -> Result<Json<About>, Rejected> {
    let stored = console.campaigns.get(&id).await?;
    about(&console, stored).await
}

#[derive(Deserialize)]
struct Based {
    revision: u64,
}

fn based(query: Result<Query<Based>, QueryRejection>) -> Result<u64, RouteError> {
    Ok(query.map_err(|_| RouteError::CampaignChanged)?.0.revision)
}

async fn edit(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    query: Result<Query<Based>, QueryRejection>,
    body: Result<Json<Plan>, JsonRejection>,
) -> Result<Json<About>, Rejected> {
    let (id, plan) = (super::parse(&id)?, plan(body)?);
    let campaigns = console.campaigns.campaigns().await?;
    let stored = campaigns.edit(id, based(query)?, plan, caller.name(), now()).await?;
    about(&console, stored).await
}

async fn remove(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    query: Result<Query<Based>, QueryRejection>,
) -> Result<StatusCode, Rejected> {
    console.campaigns.delete(&id, based(query)?, caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, JsonSchema)]
struct Taken {
    accepted: u32,
    rejected: u32,
    /// Rows that were not taken, by reason.
    reasons: Vec<(&'static str, u32)>,
}

#[derive(Deserialize)]
struct Whence {
    #[serde(default)]
    country: String,
}

async fn audience(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    query: Result<Query<Whence>, QueryRejection>,
    request: Request,
) -> Result<Json<Taken>, Rejected> {
    let Query(Whence { country }) = query.map_err(|_| RouteError::UnknownCountry)?;
    let bytes = request.with_limited_body().into_body().into_data_stream().map_err(std::io::Error::other);
    let report = console.campaigns.upload(&id, StreamReader::new(bytes), &country, caller.name()).await?;
    Ok(Json(Taken { accepted: report.accepted, rejected: report.rejected, reasons: reasons(&report) }))
}

#[derive(Deserialize)]
struct Called {
    #[serde(default)]
    name: String,
}

async fn header_file(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    query: Result<Query<Called>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<About>, Rejected> {
    let Query(Called { name }) = query.map_err(|_| RouteError::UnfitFile)?;
    let stored = console.campaigns.get(&id).await?;
    if !stored.definition.state.is_open() {
        return Err(RouteError::NotNow.into());
    }
    let file = HeaderFile::keep(console.lookup.log(), &name, mime(&headers), file_in(body)).await?;
    let stored = console.campaigns.set_header(&id, &file, caller.name()).await?;
    about(&console, stored).await
}

async fn people(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Json<Filter>, JsonRejection>,
) -> Result<Json<Taken>, Rejected> {
    let Json(filter) = body.map_err(|_| RouteError::MalformedCampaign)?;
    let report = console.campaigns.pick(&id, filter, &console.lookup, caller.name()).await?;
    Ok(Json(Taken { accepted: report.accepted, rejected: report.rejected, reasons: reasons(&report) }))
}

async fn rejected(
    State(console): State<Console>,
    _: May<Operate>,
    Path(id): Path<String>,
) -> Result<Response, Rejected> {
    let rows = console.campaigns.campaigns().await?.rejected(super::parse(&id)?).await?;
    Ok(csv("rejected.csv", Body::from_stream(rows)))
}

async fn export(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
) -> Result<Response, Rejected> {
    let id = super::parse(&id)?;
    let rows = console.campaigns.campaigns().await?.export(id, now()).await?;
    tracing::info!(by = caller.name(), campaign = %id, "campaign exported");
    Ok(csv("campaign.csv", Body::from_stream(rows)))
}

fn csv(name: &str, body: Body) -> Response {
    let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned());
    let named = (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
    ([kind, named], body).into_response()
}

#[derive(Deserialize, JsonSchema)]
struct Wanted {
    action: Action,
}

async fn act(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<About>, Rejected> {
    let Json(Wanted { action }) = body.map_err(|_| RouteError::MalformedCampaign)?;
    let stored = console.campaigns.act(&id, action, caller.name()).await?;
    about(&console, stored).await
}
