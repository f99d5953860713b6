//! People, for programs.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    response::Response,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Contact, Listed, contact_id,
    erase::{self, Erased},
    export,
    find::{self, Hits},
    link_email, list, merge,
};
use crate::{
    Console,
    access::{May, Operate, Read, Right},
    error::RouteError,
    lookup::patiently,
    openapi::{Api, Operation, schema, taken},
};

/// Of one page of the list.
const MOST_LISTED: usize = 200;

pub(crate) fn api() -> Api {
    let whose = [RouteError::MalformedContact, RouteError::UnknownContact, RouteError::DirectoryAway];
    Api::new("Contacts")
        .get(
            "/contacts",
            all,
            Operation::new("People on the board, who moved last first", Right::Read)
                .query("after", "The next of the page before", json!({"type": "string"}))
                .answers(200, "At most 200", schema::<Page>())
                .fails(&[RouteError::MalformedQuery]),
        )
        .post(
            "/contacts/search",
            search,
            Operation::new(
                "People by id, e-mail address, user id, phone number or its beginning, or the beginning of a \
                 name",
                Right::Read,
            )
            .body(taken::<Search>())
            .answers(200, "At most 50", schema::<Found>())
            .fails(&[RouteError::MalformedBody, RouteError::MalformedSearch])
            .fails(&whose),
        )
        .get(
            "/contacts/{id}",
            one,
            Operation::new("A person: aliases, conversations, sessions, consent", Right::Read)
                .answers(200, "The person, under the id that they have today", schema::<Contact>())
                .fails(&whose),
        )
        .post(
            "/contacts/{id}/emails",
            link,
            Operation::new("Link an e-mail address", Right::Operate)
                .body(taken::<Link>())
                .answers(200, "The person", schema::<Contact>())
                .fails(&[RouteError::MalformedBody, RouteError::MalformedEmail])
                .fails(&whose),
        )
        .post(
            "/contacts/{id}/merge",
            join,
            Operation::new(
                "Another contact is the same person: all of it becomes this one's",
                Right::Operate,
            )
            .body(taken::<Merge>())
            .answers(200, "The person; the other id goes on meaning them", schema::<Contact>())
            .fails(&[RouteError::MalformedBody, RouteError::SameContact])
            .fails(&whose),
        )
        .get(
            "/contacts/{id}/export",
            exported,
            Operation::new("Everything of a person, as one document", Right::Operate)
                .answers(
                    200,
                    "Who they are, and every entry of their conversations",
                    json!({"type": "object", "required": ["contact", "conversations"]}),
                )
                .fails(&whose),
        )
        .post(
            "/contacts/{id}/erase",
            forget,
            Operation::new(
                "Erase a person: conversations, history, files, aliases. Not undone by anything",
                Right::Operate,
            )
            .body(taken::<Forget>())
            .answers(200, "Nothing of them is left", schema::<Erased>())
            .fails(&[RouteError::MalformedBody, RouteError::WithPeople, RouteError::ErasureUnfinished])
            .fails(&whose),
        )
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: String,
}

#[derive(Serialize, JsonSchema)]
struct Page {
    contacts: Vec<Listed>,
    /// What `after` asks the next page with.
    next: Option<String>,
    /// False while the log is being read.
    ready: bool,
}

async fn all(
    State(console): State<Console>,
    _: May<Read>,
    query: Result<Query<After>, QueryRejection>,
) -> Result<Json<Page>, RouteError> {
    let Query(After { after }) = query.map_err(|_| RouteError::MalformedQuery)?;
    let (contacts, next) = list(&console, Some(&after), MOST_LISTED).await?;
    Ok(Json(Page { contacts, next, ready: console.board.read(|rows| rows.ready) }))
}

#[derive(Deserialize, JsonSchema)]
struct Search {
    wanted: String,
}

#[derive(Serialize, JsonSchema)]
struct Found {
    contacts: Vec<Listed>,
}

async fn search(
    State(console): State<Console>,
    _: May<Read>,
    body: Result<Json<Search>, JsonRejection>,
) -> Result<Json<Found>, RouteError> {
    let Json(Search { wanted }) = body.map_err(|_| RouteError::MalformedBody)?;
    let contacts = match find::search(&console, &wanted).await? {
        Hits::Several(found) => found,
        Hits::One(contact) => {
            let person = patiently(find::person(&console, contact, find::Depth::Quick)).await?;
            vec![Listed::of_person(&person)]
        }
    };
    Ok(Json(Found { contacts }))
}

async fn one(
    State(console): State<Console>,
    _: May<Read>,
    Path(id): Path<String>,
) -> Result<Json<Contact>, RouteError> {
    Ok(Json(patiently(find::contact(&console, contact_id(&id)?)).await?))
}

#[derive(Deserialize, JsonSchema)]
struct Link {
    email: String,
}

async fn link(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Json<Link>, JsonRejection>,
) -> Result<Json<Contact>, RouteError> {
    let id = contact_id(&id)?;
    let Json(Link { email }) = body.map_err(|_| RouteError::MalformedBody)?;
    let contact = link_email(&console, &caller, id, &email).await?;
    Ok(Json(patiently(find::contact(&console, contact)).await?))
}

#[derive(Deserialize, JsonSchema)]
struct Merge {
    /// The contact's id.
    #[schemars(extend("format" = "uuid"))]
    other: String,
}

async fn join(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Json<Merge>, JsonRejection>,
) -> Result<Json<Contact>, RouteError> {
    let id = contact_id(&id)?;
    let Json(Merge { other }) = body.map_err(|_| RouteError::MalformedBody)?;
    let contact = merge(&console, &caller, id, contact_id(&other)?).await?;
    Ok(Json(patiently(find::contact(&console, contact)).await?))
}

async fn exported(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
) -> Result<Response, RouteError> {
    export::export(&console, &caller, contact_id(&id)?).await
}

#[derive(Deserialize, JsonSchema)]
struct Forget {
    /// Also while a rep, or the queue, has a conversation: the chat is ended first.
    #[serde(default)]
    force: bool,
}

async fn forget(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Json<Forget>, JsonRejection>,
) -> Result<Json<Erased>, RouteError> {
    let id = contact_id(&id)?;
    let Json(Forget { force }) = body.map_err(|_| RouteError::MalformedBody)?;
    Ok(Json(erase::erase(&console, &caller, id, force).await?))
}
