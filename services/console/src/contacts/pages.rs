//! Pages of people: the list, what a search found, one person with what can be done.

use askama::Template;
use axum::{
    Form, Router,
    extract::{
        Path, Query, State,
        rejection::{FormRejection, QueryRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use domain::ContactId;
use serde::Deserialize;

use super::{
    Contact, Listed, contact_id, erase, export,
    find::{self, Hits},
    link_email, list, merge,
};
use crate::{
    Console,
    access::{Caller, May, Operate, Read},
    error::{RouteError, Told},
    lookup::patiently,
    pages::{Search, failed, page, wanted},
};

/// Of one page.
const MOST_ROWS: usize = 100;

pub(crate) fn router(console: Console) -> Router {
    Router::new()
        .route("/contacts", get(shown))
        .route("/contacts/search", post(searched))
        .route("/contacts/{id}", get(one))
        .route("/contacts/{id}/emails", post(linked))
        .route("/contacts/{id}/merge", post(merged))
        .route("/contacts/{id}/export", get(exported))
        .route("/contacts/{id}/erase", post(erased))
        .with_state(console)
}

#[derive(Template)]
#[template(path = "contacts_list.html")]
struct ListPage {
    caller: Caller,
    title: &'static str,
    contacts: Vec<Listed>,
    /// The address of the next page.
    next: Option<String>,
    /// These are what a search found.
    found: bool,
    ready: bool,
    problem: Option<Told>,
    /// Somebody was just erased.
    erased: bool,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    after: String,
    #[serde(default)]
    done: String,
}

async fn shown(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let listed = async {
        let Query(Asked { after, done }) = query.map_err(|_| RouteError::MalformedQuery)?;
        let (contacts, next) = list(&console, Some(&after), MOST_ROWS).await?;
        Ok((contacts, next, done == "erased"))
    };
    match listed.await {
        Ok((contacts, next, erased)) => {
            let list = ListPage {
                caller,
                title: "Contacts",
                contacts,
                next: next.map(|next| format!("/contacts?after={next}")),
                found: false,
                ready: console.board.read(|rows| rows.ready),
                problem: None,
                erased,
            };
            page(StatusCode::OK, &list)
        }
        Err(error) => failed(&caller, error),
    }
}

async fn searched(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    form: Result<Form<Search>, FormRejection>,
) -> Response {
    let found = async { find::search(&console, &wanted(form)?).await };
    let (status, problem, contacts) = match found.await {
        Ok(Hits::One(contact)) => return Redirect::to(&format!("/contacts/{contact}")).into_response(),
        Ok(Hits::Several(found)) => (StatusCode::OK, None, found),
        Err(error @ (RouteError::MalformedSearch | RouteError::UnknownContact)) => {
            (error.status(), Some(error.told()), Vec::new())
        }
        Err(error) => return failed(&caller, error),
    };
    let title = if contacts.is_empty() { "No contact found" } else { "Contacts found" };
    let (found, ready, erased) = (true, true, false);
    page(status, &ListPage { caller, title, contacts, next: None, found, ready, problem, erased })
}

#[derive(Template)]
#[template(path = "contacts_one.html")]
struct OnePage {
    caller: Caller,
    contact: Contact,
    /// What was just done.
    done: &'static str,
}

async fn one(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    Path(id): Path<String>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let asked = contact_id(&id);
    let found = async { patiently(find::contact(&console, asked?)).await };
    match found.await {
        // Merged: the address is the one that lasts.
        Ok(contact) if asked.is_ok_and(|asked| asked.to_string() != contact.id) => {
            Redirect::to(&format!("/contacts/{}", contact.id)).into_response()
        }
        Ok(contact) => {
            let done = match query.map(|Query(asked)| asked.done).unwrap_or_default().as_str() {
                "email" => "The e-mail address is linked: it finds this contact from now on.",
                "merged" => "Both are this contact now; the other id goes on meaning it.",
                _ => "",
            };
            page(StatusCode::OK, &OnePage { caller, contact, done })
        }
        Err(error) => failed(&caller, error),
    }
}

#[derive(Deserialize)]
struct Link {
    email: String,
}

async fn linked(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    form: Result<Form<Link>, FormRejection>,
) -> Response {
    let linked = async {
        let Form(Link { email }) = form.map_err(|_| RouteError::MalformedBody)?;
        link_email(&console, &caller, contact_id(&id)?, &email).await
    };
    done(&caller, linked.await, "email")
}

fn done(caller: &Caller, contact: Result<ContactId, RouteError>, what: &str) -> Response {
    match contact {
        Ok(contact) => Redirect::to(&format!("/contacts/{contact}?done={what}")).into_response(),
        Err(error) => failed(caller, error),
    }
}

#[derive(Deserialize)]
struct Merge {
    /// Whatever finds them; their id once it is confirmed.
    other: String,
    #[serde(default)]
    confirmed: bool,
}

#[derive(Template)]
#[template(path = "contacts_merge.html")]
struct MergePage {
    caller: Caller,
    keep: String,
    other: String,
    sides: Vec<(&'static str, Contact)>,
}

/// First shows both, then merges them.
async fn merged(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    form: Result<Form<Merge>, FormRejection>,
) -> Response {
    let wanted = async {
        let id = contact_id(&id)?;
        let Form(Merge { other, confirmed }) = form.map_err(|_| RouteError::MalformedBody)?;
        if confirmed {
            return Ok((id, contact_id(&other)?, true));
        }
        let other = match find::search(&console, &other).await? {
            Hits::One(contact) => contact,
            Hits::Several(found) => match found.as_slice() {
                [only] => contact_id(&only.id)?,
                [] => return Err(RouteError::UnknownContact),
                [_, _, ..] => return Err(RouteError::SeveralContacts),
            },
        };
        Ok((id, other, false))
    };
    let (id, other) = match wanted.await {
        Ok((id, other, false)) => (id, other),
        Ok((id, other, true)) => return done(&caller, merge(&console, &caller, id, other).await, "merged"),
        Err(error) => return failed(&caller, error),
    };
    let both = async {
        let keep = patiently(find::contact(&console, id)).await?;
        let other = patiently(find::contact(&console, other)).await?;
        if keep.id == other.id { Err(RouteError::SameContact) } else { Ok((keep, other)) }
    };
    match both.await {
        Ok((keep, other)) => {
            let (keep_id, other_id) = (keep.id.clone(), other.id.clone());
            let sides = vec![("Stays", keep), ("Becomes part of it", other)];
            page(StatusCode::OK, &MergePage { caller, keep: keep_id, other: other_id, sides })
        }
        Err(error) => failed(&caller, error),
    }
}

async fn exported(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
) -> Response {
    let exported = async { export::export(&console, &caller, contact_id(&id)?).await };
    exported.await.unwrap_or_else(|error| failed(&caller, error))
}

#[derive(Deserialize)]
struct Forget {
    /// The box was ticked.
    #[serde(default)]
    confirmed: bool,
    #[serde(default)]
    force: bool,
}

async fn erased(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    form: Result<Form<Forget>, FormRejection>,
) -> Response {
    let erased = async {
        let id = contact_id(&id)?;
        let Form(Forget { confirmed, force }) = form.map_err(|_| RouteError::MalformedBody)?;
        if !confirmed {
            return Err(RouteError::NotConfirmed);
        }
        erase::erase(&console, &caller, id, force).await
    };
    match erased.await {
        Ok(_) => Redirect::to("/contacts?done=erased").into_response(),
        Err(error) => failed(&caller, error),
    }
}
