//! The page of how a number's assistant answers.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use domain::settings::Invalid;
use serde_json::Value;

use super::{
    Refused,
    channel::{self, View},
    channel_pages::{Asked, lines},
    document,
    fields::{Form, Input, Kind},
    responder::{self, Action, Edit, Masking, Model, Toggle, Transcriber},
    sheet::{Section, Sheet},
};
use crate::{
    Console,
    access::{Caller, Configure, May, Read},
    error::RouteError,
    pages::failed,
};

/// Rows for new actions below those that there are.
const BLANK_ACTIONS: usize = 1;

fn tick(on: bool) -> &'static str {
    if on { "true" } else { "" }
}

fn choice(choices: &[(&str, &str)]) -> Kind {
    Kind::Choice(choices.iter().map(|(value, words)| ((*value).to_owned(), (*words).to_owned())).collect())
}

fn kept(has: bool, elsewhere: Option<&String>) -> String {
    match elsewhere {
        Some(place) => format!("It is kept in {place}; paste another one to replace it"),
        None if has => "It is saved, and never shown; paste another one to replace it".into(),
        None => String::new(),
    }
}

fn rules(view: &responder::View) -> Section {
    let levels = [
        ("quick", "Quick: on any frustration, when nothing helps, at once when asked"),
        ("balanced", "Balanced: tries to understand first, asks what it is about before"),
        ("ai-first", "AI first: wants the whole problem and tries several answers before"),
        ("ai-only", "AI only: never hands over"),
    ];
    let toggle = |name: &'static str, label: &'static str, value: Toggle| {
        let choices = [("as-the-level-says", "As the level says"), ("yes", "Yes"), ("no", "No")];
        let value = match value {
            Toggle::AsTheLevelSays => "as-the-level-says",
            Toggle::Yes => "yes",
            Toggle::No => "no",
        };
        Input::new(name, label, choice(&choices), value)
    };
    Section::new("When it hands over").inputs(vec![
        Input::new("handoff.level", "How quickly", choice(&levels), view.level.clone()),
        toggle("handoff.request", "When a person is asked for", view.request),
        toggle("handoff.frustration", "On frustration", view.frustration),
        toggle("handoff.no_progress", "When nothing helps", view.no_progress),
        Input::new("handoff.topics", "Topics that are always handed over, one a line", Kind::Area, view.topics.join("\n"))
            .help("In plain words, up to 50: “legal threats”, “a lost parcel worth more than 500 €”. Start with few.")
            .wide(),
    ])
}

fn model(view: &responder::View) -> Section {
    let known = view.model.as_ref();
    let usual = Model::default();
    let number =
        |name: &'static str, label: &'static str, get: fn(&responder::ModelView) -> u64, usual: u32| {
            Input::new(name, label, Kind::Number, known.map_or(u64::from(usual), get).to_string())
        };
    let of = |get: fn(&responder::ModelView) -> &String| known.map(|model| get(model).clone());
    let key = known.map(|model| kept(model.has_api_key, model.api_key_kept_in.as_ref())).unwrap_or_default();
    let fields = [
        ("max_tokens", "max_tokens: most servers"),
        ("max_completion_tokens", "max_completion_tokens: OpenAI’s newer models"),
    ];
    let fallbacks = [("rules", "The built-in rules answer"), ("human", "The customer is handed over")];
    let field = of(|model| &model.max_tokens_field).unwrap_or(usual.max_tokens_field);
    let fallback = of(|model| &model.fallback).unwrap_or(usual.fallback);
    Section::new("Model")
        .help("Any endpoint that speaks OpenAI’s chat completions. Without an address the built-in rules answer, and what stands under Answers.")
        .inputs(vec![
            Input::new("model.base_url", "Address", Kind::Line, of(|model| &model.base_url).unwrap_or_default())
                .help("The part before /chat/completions. Https, but for a server on this machine or, without a key, in your own network.")
                .placeholder("https://api.example.com/v1"),
            Input::new("model.model", "Name of the model", Kind::Line, of(|model| &model.model).unwrap_or_default())
                .help("As the endpoint knows it."),
            Input::new("model.api_key", "API key", Kind::Secret, "")
                .help("Sent as a bearer token. A server of your own may need none.")
                .placeholder(key),
            Input::new("model.fallback", "When it fails or is too slow", choice(&fallbacks), fallback),
            Input::new("model.instructions", "Instructions", Kind::Area, of(|model| &model.instructions).unwrap_or_default())
                .help("Who the assistant is and what it should know, in your words. Up to 20,000 characters.")
                .wide(),
            number("model.timeout_seconds", "An answer takes at most, in seconds", |model| model.timeout_seconds, usual.timeout_seconds)
                .help("All calls together. 1 to 120."),
            number("model.attempts", "Tries of a call that fails", |model| model.attempts, usual.attempts).help("1 to 5."),
            number("model.max_tokens", "Tokens of a completion", |model| model.max_tokens, usual.max_tokens).help("16 to 8,000."),
            Input::new("model.max_tokens_field", "… told as", choice(&fields), field),
            number("model.token_budget", "Tokens of an answer, prompts included", |model| model.token_budget, usual.token_budget),
            number("model.tool_rounds", "Look-ups before it must answer", |model| model.tool_rounds, usual.tool_rounds).help("1 to 10."),
        ])
}

fn limits(view: &responder::View) -> Section {
    Section::new("What it may see and send").inputs(vec![
        Input::new("masking.cards", "Payment card numbers are masked", Kind::Tick, tick(view.masking.cards))
            .help("Before a model, and Salesforce, see them."),
        Input::new("masking.emails", "E-mail addresses are masked", Kind::Tick, tick(view.masking.emails)),
        Input::new(
            "masking.national_ids",
            "National ids are masked",
            Kind::Tick,
            tick(view.masking.national_ids),
        )
        .help("US social security numbers, Brazilian CPF, Spanish DNI and NIE."),
        Input::new(
            "link_hosts",
            "Hosts that it may send links to, one a line",
            Kind::Area,
            view.link_hosts.join("\n"),
        )
        .help("With everything below them; without scheme and path. None: no links.")
        .placeholder("shop.example.com"),
        Input::new(
            "action_hosts",
            "Hosts that actions may call, one a line",
            Kind::Area,
            view.action_hosts.join("\n"),
        )
        .placeholder("api.shop.example.com"),
    ])
}

fn voice(view: &responder::View) -> Section {
    let known = view.transcriber.as_ref();
    let key = known.map(|one| kept(one.has_api_key, one.api_key_kept_in.as_ref())).unwrap_or_default();
    Section::new("Voice messages")
        .help("An endpoint that speaks OpenAI’s audio transcriptions makes text of them. Without one they are passed on as they are.")
        .inputs(vec![
            Input::new("transcriber.base_url", "Address", Kind::Line, known.map(|one| one.base_url.clone()).unwrap_or_default())
                .help("The part before /audio/transcriptions."),
            Input::new("transcriber.model", "Name of the model", Kind::Line, known.map(|one| one.model.clone()).unwrap_or_default()),
            Input::new("transcriber.api_key", "API key", Kind::Secret, "").placeholder(key),
            Input::new("transcriber.timeout_seconds", "Takes at most, in seconds", Kind::Number, known.map_or(10, |one| one.timeout_seconds).to_string())
                .help("1 to 60."),
        ])
}

fn action(i: usize, known: Option<&responder::ActionView>) -> Section {
    let of =
        |get: fn(&responder::ActionView) -> &String| known.map(|one| get(one).clone()).unwrap_or_default();
    let name = |field: &str| format!("actions[{i}].{field}");
    let parameters = known.map(|one| &one.parameters).filter(|parameters| !parameters.is_null());
    let parameters = parameters.and_then(|all| serde_json::to_string_pretty(all).ok()).unwrap_or_default();
    let headers = known.map(|one| one.headers.join(", ")).filter(|names| !names.is_empty());
    let headers =
        headers.map(|names| format!("Saved, and never shown: {names}. What is typed replaces all."));
    let section = match known {
        Some(known) => Section::new(format!("Action {}", known.name)).help("Clear its name to remove it."),
        None => Section::new("New action")
            .help("A service of yours that the model may call: it gets a POST with the arguments as JSON and answers with JSON."),
    };
    section.inputs(vec![
        Input::new(name("name"), "Name", Kind::Line, of(|one| &one.name)).placeholder("order_status"),
        Input::new(name("url"), "Address", Kind::Line, of(|one| &one.url))
            .help("Https, on a host that actions may call.")
            .placeholder("https://api.shop.example.com/orders"),
        Input::new(
            name("description"),
            "When to use it, for the model",
            Kind::Area,
            of(|one| &one.description),
        ),
        Input::new(name("parameters"), "JSON schema of its arguments", Kind::Area, parameters)
            .help("Of type object. Left empty: it has none.")
            .placeholder("{\"type\": \"object\", \"properties\": {\"order\": {\"type\": \"string\"}}}"),
        Input::new(name("headers"), "Headers, one a line", Kind::SecretArea, "")
            .placeholder(headers.unwrap_or_else(|| "authorization: Bearer …".into())),
        Input::new(
            name("timeout_seconds"),
            "Takes at most, in seconds",
            Kind::Number,
            known.map_or(5, |one| one.timeout_seconds).to_string(),
        ),
    ])
}

fn sections(view: &responder::View, rows: usize) -> Vec<Section> {
    let mut all = vec![rules(view), model(view), limits(view), voice(view)];
    let rows = rows.max(view.actions.len() + BLANK_ACTIONS);
    all.extend((0..rows).map(|i| action(i, view.actions.get(i))));
    all
}

fn toggle(text: &str) -> Toggle {
    match text {
        "yes" => Toggle::Yes,
        "no" => Toggle::No,
        _ => Toggle::AsTheLevelSays,
    }
}

fn edit(form: &Form) -> Result<Edit, Refused> {
    let mut wrong = Vec::new();
    let base_url = form.get("model.base_url").to_owned();
    let mut model = Model {
        model: form.get("model.model").to_owned(),
        api_key: form.typed("model.api_key"),
        instructions: form.get("model.instructions").replace("\r\n", "\n"),
        max_tokens_field: form.get("model.max_tokens_field").to_owned(),
        fallback: form.get("model.fallback").to_owned(),
        base_url,
        ..Model::default()
    };
    for (name, place) in [
        ("model.timeout_seconds", &mut model.timeout_seconds),
        ("model.attempts", &mut model.attempts),
        ("model.max_tokens", &mut model.max_tokens),
        ("model.token_budget", &mut model.token_budget),
        ("model.tool_rounds", &mut model.tool_rounds),
    ] {
        *place = form.number(name, &mut wrong).unwrap_or(*place);
    }
    let transcriber = Transcriber {
        base_url: form.get("transcriber.base_url").to_owned(),
        model: form.get("transcriber.model").to_owned(),
        api_key: form.typed("transcriber.api_key"),
        timeout_seconds: form.number("transcriber.timeout_seconds", &mut wrong),
    };
    let actions = (0..rows(form)).filter_map(|i| typed_action(form, i, &mut wrong)).collect();
    if !wrong.is_empty() {
        return Err(Refused::Invalid(wrong));
    }
    Ok(Edit {
        level: form.text("handoff.level"),
        frustration: Some(toggle(form.get("handoff.frustration"))),
        no_progress: Some(toggle(form.get("handoff.no_progress"))),
        request: Some(toggle(form.get("handoff.request"))),
        topics: Some(lines(form.get("handoff.topics"))),
        masking: Some(Masking {
            cards: form.is_ticked("masking.cards"),
            emails: form.is_ticked("masking.emails"),
            national_ids: form.is_ticked("masking.national_ids"),
        }),
        link_hosts: Some(lines(form.get("link_hosts"))),
        action_hosts: Some(lines(form.get("action_hosts"))),
        model: Some(model),
        transcriber: Some(transcriber),
        actions: Some(actions),
    })
}

/// How many actions the form has room for.
fn rows(form: &Form) -> usize {
    (0..64).take_while(|i| form.has(&format!("actions[{i}].name"))).count()
}

/// None where the name was cleared.
fn typed_action(form: &Form, i: usize, wrong: &mut Vec<Invalid>) -> Option<Action> {
    let name = |field: &str| format!("actions[{i}].{field}");
    let get = |field: &str| form.get(&name(field)).trim().to_owned();
    let mut say = |field: &str, problem: &str| {
        wrong.push(Invalid { field: name(field), problem: problem.to_owned() });
    };
    if get("name").is_empty() {
        return None;
    }
    let parameters = get("parameters");
    let parsed = serde_json::from_str::<Value>(&parameters);
    if !parameters.is_empty() && parsed.is_err() {
        say("parameters", "is no JSON");
    }
    let typed = get("headers");
    let pairs = typed.lines().map(str::trim).filter(|line| !line.is_empty());
    let pairs = pairs.map(|line| line.split_once(':').map(|(name, value)| (name.trim(), value.trim())));
    let headers: Option<BTreeMap<String, String>> =
        pairs.map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
    if headers.is_none() {
        say("headers", "are written like authorization: Bearer …, one a line");
    }
    let timeout_seconds = form.number(&name("timeout_seconds"), wrong);
    Some(Action {
        name: get("name"),
        description: get("description"),
        url: get("url"),
        parameters: parsed.ok(),
        headers: headers.filter(|headers| !headers.is_empty()),
        timeout_seconds,
    })
}

fn sheet(number: &View, rows: usize) -> Sheet {
    Sheet {
        title: format!("How the assistant of {} answers", number.name),
        sub: "By rules or a model, when it hands over, what it may look up, what it must not see.".into(),
        up: (format!("/channels/whatsapp/{}", number.phone_number_id), number.name.clone()),
        action: format!("/channels/whatsapp/{}/responder", number.phone_number_id),
        at_channels: true,
        sections: sections(&number.responder, rows),
        ..Sheet::default()
    }
}

async fn show(
    console: &Console,
    caller: Caller,
    number: &str,
    form: Option<&Form>,
    problems: Vec<Invalid>,
    done: bool,
) -> Response {
    let document = match console.editor.current().await {
        Ok(document) => document,
        Err(error) => return failed(&caller, error),
    };
    match View::find(&document.value, number) {
        Ok(view) => {
            let sheet = sheet(&view, form.map_or(0, rows));
            sheet.show(console, caller, document.revision, form, problems, done)
        }
        Err(error) => failed(&caller, error),
    }
}

pub(super) async fn shown(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    Path(number): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    show(&console, caller, &number, None, Vec::new(), asked.is("saved")).await
}

pub(super) async fn saved(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
    form: Form,
) -> Response {
    let change = async {
        let edit = channel::Edit { responder: Some(edit(&form)?), ..channel::Edit::default() };
        let make = |document: &mut Value| {
            document::find(document, channel::LIST, &number).ok_or(RouteError::UnknownChannel)?;
            channel::apply(document, &number, &edit, false)
        };
        console.editor.change(&caller, form.revision()?, make).await
    };
    let here = format!("/channels/whatsapp/{number}/responder");
    match change.await {
        Ok(_) => Redirect::to(&format!("{here}?done=saved")).into_response(),
        Err(Refused::Route(error)) => failed(&caller, error),
        Err(Refused::Changed(changes)) => super::changes::conflict(caller, changes, here),
        Err(Refused::Invalid(problems)) => {
            show(&console, caller, &number, Some(&form), problems, false).await
        }
    }
}
