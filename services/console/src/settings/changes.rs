//! Who changed what, and when. Never to what: values may be secrets.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use configuration::Recorded;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Console,
    access::{Caller, May, Read},
    pages::{failed, page},
};

/// Of a page.
pub(super) const MOST: usize = 100;

/// A change as it is told.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Told {
    pub(crate) revision: u64,
    pub(crate) at: String,
    pub(crate) who: String,
    /// The paths that were touched.
    pub(crate) what: String,
}

impl Told {
    pub(super) fn of(recorded: Recorded) -> Self {
        let Recorded { at, who, what, revision } = recorded;
        let at = jiff::Timestamp::from_millisecond(at);
        let at = at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
        Self { revision, at, who, what }
    }
}

#[derive(Template)]
#[template(path = "settings_changes.html")]
struct Page {
    caller: Caller,
    editable: bool,
    changes: Vec<Told>,
}

pub(super) async fn shown(State(console): State<Console>, May { caller, .. }: May<Read>) -> Response {
    let editable = console.editor.is_editable();
    match console.editor.changes(MOST).await {
        Ok(changes) => {
            let changes = changes.into_iter().map(Told::of).collect();
            page(StatusCode::OK, &Page { caller, editable, changes })
        }
        Err(error) => failed(&caller, error),
    }
}

/// Somebody was faster.
#[derive(Template)]
#[template(path = "settings_conflict.html")]
struct Conflict {
    caller: Caller,
    changes: Vec<Told>,
    /// The page that the form stands on.
    back: String,
}

/// Others changed the settings under a form.
pub(super) fn conflict(caller: Caller, changes: Vec<Recorded>, back: String) -> Response {
    let changes = changes.into_iter().map(Told::of).collect();
    page(StatusCode::CONFLICT, &Conflict { caller, changes, back })
}
