//! The built-in assistant's answers (`faq`): changed, checked, and their page.

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use domain::settings::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Refused, changes,
    channel_pages::{Asked, lines},
    document::{all, text},
    fields::{Form, Input, Kind},
    responder::texts,
    sheet::{Section, Sheet},
};
use crate::{
    Console,
    access::{Caller, Configure, May, Read},
    error::RouteError,
    pages::failed,
};

const MOST: usize = 200;
/// WhatsApp's limit of a text.
const LONGEST: usize = 4_096;
/// Rows for new ones below those that there are.
const BLANK: usize = 2;
pub(super) const HERE: &str = "/settings/answers";

/// One question that the built-in assistant can answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The answer is given when a message contains all words of any of these.
    pub(super) phrases: Vec<String>,
    pub(super) answer: String,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    /// All of them; what is not among them is removed.
    pub(super) entries: Vec<Entry>,
}

pub(super) fn of(document: &Value) -> Vec<Entry> {
    let entry =
        |one: &Value| Entry { phrases: texts(one, "phrases"), answer: text(one, "answer").to_owned() };
    all(document, "faq").iter().map(entry).collect()
}

pub(super) fn apply(document: &mut Value, edit: &Edit) -> Result<(), Refused> {
    let mut wrong = Vec::new();
    let mut say = |field: String, problem: &str| wrong.push(Invalid { field, problem: problem.to_owned() });
    if edit.entries.len() > MOST {
        say("faq".into(), "has 200 answers at most: a model knows more");
    }
    for (i, entry) in edit.entries.iter().enumerate() {
        let phrases = format!("faq[{i}].phrases");
        if entry.phrases.iter().all(|phrase| phrase.trim().is_empty()) {
            say(phrases, "is empty: by which words is the question known?");
        } else if entry.phrases.iter().any(|phrase| phrase.trim().is_empty() || phrase.chars().count() > 200)
        {
            say(phrases, "has lines of 1 to 200 characters");
        }
        if entry.answer.trim().is_empty() {
            say(format!("faq[{i}].answer"), "is empty");
        } else if entry.answer.chars().count() > LONGEST {
            say(format!("faq[{i}].answer"), "has 4096 characters at most: WhatsApp takes no more");
        }
    }
    if !wrong.is_empty() {
        return Err(Refused::Invalid(wrong));
    }
    let members = document.as_object_mut().ok_or(RouteError::Internal)?;
    members.insert("faq".into(), json!(edit.entries));
    Ok(())
}

fn sheet(entries: &[Entry], rows: usize) -> Sheet {
    let rows = rows.max(entries.len() + BLANK);
    let section = |i: usize| {
        let known = entries.get(i);
        let phrases = known.map(|entry| entry.phrases.join("\n")).unwrap_or_default();
        let answer = known.map(|entry| entry.answer.clone()).unwrap_or_default();
        let title = known.and_then(|entry| entry.phrases.first().cloned());
        Section::new(title.unwrap_or_else(|| "New answer".into())).inputs(vec![
            Input::new(format!("faq[{i}].phrases"), "Known by, one phrase a line", Kind::Area, phrases)
                .help("A message that has all words of one line, in any order, is answered.")
                .placeholder("opening hours\nwhen open"),
            Input::new(format!("faq[{i}].answer"), "Answer", Kind::Area, answer)
                .placeholder("We are open from 9 to 18."),
        ])
    };
    Sheet {
        title: "Answers".into(),
        sub: "What assistants without a model answer to questions they know, on all numbers. Clear both fields to remove one.".into(),
        action: HERE.into(),
        tab: "answers",
        sections: (0..rows).map(section).collect(),
        ..Sheet::default()
    }
}

fn rows(form: &Form) -> usize {
    (0..MOST + BLANK).take_while(|i| form.has(&format!("faq[{i}].answer"))).count()
}

/// As they were typed, with their rows: a row that was cleared is gone.
fn typed(form: &Form) -> Vec<(usize, Entry)> {
    let of = |i: usize| Entry {
        phrases: lines(form.get(&format!("faq[{i}].phrases"))),
        answer: form.get(&format!("faq[{i}].answer")).trim().replace("\r\n", "\n"),
    };
    (0..rows(form)).map(|i| (i, of(i))).filter(|(_, entry)| *entry != Entry::default()).collect()
}

async fn show(
    console: &Console,
    caller: Caller,
    form: Option<&Form>,
    problems: Vec<Invalid>,
    done: bool,
) -> Response {
    match console.editor.current().await {
        Ok(document) => {
            let sheet = sheet(&of(&document.value), form.map_or(0, rows));
            sheet.show(console, caller, document.revision, form, problems, done)
        }
        Err(error) => failed(&caller, error),
    }
}

pub(super) async fn shown(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    Query(asked): Query<Asked>,
) -> Response {
    show(&console, caller, None, Vec::new(), asked.is("saved")).await
}

pub(super) async fn saved(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    form: Form,
) -> Response {
    let typed = typed(&form);
    let edit = Edit { entries: typed.iter().map(|(_, entry)| entry.clone()).collect() };
    let change = async {
        let make = |document: &mut Value| apply(document, &edit);
        console.editor.change(&caller, form.revision()?, make).await
    };
    match change.await {
        Ok(_) => Redirect::to(&format!("{HERE}?done=saved")).into_response(),
        Err(Refused::Route(error)) => failed(&caller, error),
        Err(Refused::Changed(changes)) => changes::conflict(caller, changes, HERE.into()),
        Err(Refused::Invalid(problems)) => {
            // Beside the row that it was typed in.
            let row = |one: Invalid| {
                let parts = one.field.strip_prefix("faq[").and_then(|rest| rest.split_once(']'));
                let row = parts.and_then(|(i, rest)| Some((typed.get(i.parse::<usize>().ok()?)?.0, rest)));
                let field = row.map_or(one.field.clone(), |(row, rest)| format!("faq[{row}]{rest}"));
                Invalid { field, problem: one.problem }
            };
            let problems = problems.into_iter().map(row).collect();
            show(&console, caller, Some(&form), problems, false).await
        }
    }
}
