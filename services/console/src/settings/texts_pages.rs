//! What Baton itself says on a number, language by language.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use domain::settings::{Invalid, Policy, Texts};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Refused, changes,
    channel::{self, PolicyEdit, View, named_texts},
    fields::{Form, Input, Kind},
    sheet::{Section, Sheet},
};
use crate::{
    Console,
    access::{Caller, Configure, May, Read},
    error::RouteError,
    pages::failed,
};

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    language: String,
    #[serde(default)]
    done: String,
}

/// As people call them; others stand under their code.
const NAMES: [(&str, &str); 7] = [
    ("ar", "Arabic"),
    ("de", "German"),
    ("es", "Spanish"),
    ("fr", "French"),
    ("hi", "Hindi"),
    ("it", "Italian"),
    ("pt", "Portuguese"),
];

fn called(language: &str) -> String {
    let known = NAMES.iter().find(|(code, _)| *code == language);
    known.map_or_else(|| language.to_owned(), |(_, name)| (*name).to_owned())
}

/// `de`; of `de_AT` the first part.
pub(super) fn code(text: &str) -> Option<String> {
    let code = text.trim().split(['_', '-']).next().unwrap_or_default().to_ascii_lowercase();
    let fits = (2..=3).contains(&code.len()) && code.chars().all(|c| c.is_ascii_lowercase());
    fits.then_some(code)
}

fn sheet(number: &View, language: &str) -> Sheet {
    let here = format!("/channels/whatsapp/{}/texts", number.phone_number_id);
    let built_in = Policy::default().translations;
    let own = number.policy.translations.get(language);
    let usual = built_in.get(language).cloned().unwrap_or_else(Texts::default);
    let input = |(name, when, usual): (&'static str, &'static str, String)| {
        let said = own.and_then(|own| own.get(name)).cloned().unwrap_or_default();
        Input::new(format!("texts.{name}"), when, Kind::Area, said).placeholder(usual)
    };
    let mut known: BTreeSet<String> = built_in.keys().cloned().collect();
    known.extend(number.policy.translations.keys().filter_map(|one| code(one)));
    known.insert(language.to_owned());
    let other = |code: String| (format!("{here}?language={code}"), called(&code), code == language);
    let also = if built_in.contains_key(language) {
        "Left empty, the words that are shown are said."
    } else {
        "Left empty, English is said."
    };
    Sheet {
        title: format!("{}: what Baton says in {}", number.name, called(language)),
        sub: "To customers who write in this language. What is said in the number’s own language stands on its page.".into(),
        up: (format!("/channels/whatsapp/{}", number.phone_number_id), number.name.clone()),
        action: format!("{here}?language={language}"),
        at_channels: true,
        others: known.into_iter().map(other).collect(),
        sections: vec![
            Section::new(called(language)).help(also).inputs(named_texts(usual).into_iter().map(input).collect()),
        ],
        ..Sheet::default()
    }
}

async fn show(
    console: &Console,
    caller: Caller,
    number: &str,
    language: &str,
    beside: (Option<&Form>, Vec<Invalid>, bool),
) -> Response {
    let (form, problems, done) = beside;
    let found = async {
        let document = console.editor.current().await?;
        let view = View::find(&document.value, number)?;
        Ok::<_, RouteError>((document.revision, view))
    };
    match found.await {
        Ok((revision, view)) => sheet(&view, language).show(console, caller, revision, form, problems, done),
        Err(error) => failed(&caller, error),
    }
}

pub(super) async fn shown(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    Path(number): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let language = code(&asked.language).unwrap_or_else(|| "es".to_owned());
    show(&console, caller, &number, &language, (None, Vec::new(), asked.done == "saved")).await
}

pub(super) async fn saved(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
    Query(asked): Query<Asked>,
    form: Form,
) -> Response {
    let Some(language) = code(&asked.language) else { return failed(&caller, RouteError::MalformedBody) };
    let said = named_texts(Texts::default()).into_iter();
    let said = said
        .map(|(name, ..)| (name.to_owned(), form.get(&format!("texts.{name}")).trim().to_owned()))
        .collect();
    let translations = BTreeMap::from([(language.clone(), said)]);
    let policy = PolicyEdit { translations, ..PolicyEdit::default() };
    let edit = channel::Edit { policy: Some(policy), ..channel::Edit::default() };
    let change = async {
        let make = |document: &mut Value| channel::apply(document, &number, &edit, false);
        console.editor.change(&caller, form.revision()?, make).await
    };
    let here = format!("/channels/whatsapp/{number}/texts?language={language}");
    match change.await {
        Ok(_) => Redirect::to(&format!("{here}&done=saved")).into_response(),
        Err(Refused::Route(error)) => failed(&caller, error),
        Err(Refused::Changed(changes)) => changes::conflict(caller, changes, here),
        Err(Refused::Invalid(problems)) => {
            show(&console, caller, &number, &language, (Some(&form), problems, false)).await
        }
    }
}
