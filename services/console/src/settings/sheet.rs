//! A page that is one form, in sections.

use askama::Template;
use axum::{http::StatusCode, response::Response};
use domain::settings::Invalid;

use super::fields::{Form, Input, refill};
use crate::{Console, access::Caller, pages::page};

/// Fields that belong together.
#[derive(Debug, Clone, Default)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) help: String,
    pub(super) inputs: Vec<Input>,
}

impl Section {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(super) fn inputs(mut self, inputs: Vec<Input>) -> Self {
        self.inputs = inputs;
        self
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub(super) title: String,
    pub(super) sub: String,
    /// The page above it, and what that is called; nothing where the tabs lead there.
    pub(super) up: (String, String),
    /// Where the form goes to.
    pub(super) action: String,
    /// Below Channels, else below Settings.
    pub(super) at_channels: bool,
    /// The tab of the settings.
    pub(super) tab: &'static str,
    /// Ways to neighbours: address, words, whether it is this one.
    pub(super) others: Vec<(String, String, bool)>,
    pub(super) sections: Vec<Section>,
}

#[derive(Template)]
#[template(path = "settings_sheet.html")]
struct Shown {
    caller: Caller,
    editable: bool,
    fixed: bool,
    revision: u64,
    sheet: Sheet,
    tab: &'static str,
    problems: Vec<String>,
    done: bool,
}

impl Sheet {
    /// `form`: as it was sent, where it could not be saved.
    pub(super) fn show(
        mut self,
        console: &Console,
        caller: Caller,
        revision: u64,
        form: Option<&Form>,
        problems: Vec<Invalid>,
        done: bool,
    ) -> Response {
        let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let mut inputs: Vec<_> = self.sections.iter_mut().map(|section| &mut section.inputs).collect();
        let problems = refill(&mut inputs, form, problems);
        let shown = Shown {
            editable: console.editor.is_editable() && caller.may_configure(),
            fixed: !console.editor.is_editable(),
            revision: form.and_then(|form| form.revision().ok()).unwrap_or(revision),
            tab: self.tab,
            sheet: self,
            caller,
            problems,
            done,
        };
        page(status, &shown)
    }
}
