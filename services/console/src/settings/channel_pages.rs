//! Channels > WhatsApp.

use std::{collections::BTreeMap, sync::Arc};

use ::doctor::Finding;
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use configuration::Document;
use domain::settings::Invalid;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Refused,
    changes::conflict,
    channel::{self, Edit, Hours, PolicyEdit, Rescue, View, texts},
    document,
    fields::{Form, Input, Kind, refill},
    filled_in, general, integration,
    status::{Status, Template as Shown},
};
use crate::{
    Console,
    access::{Caller, Configure, May, Read},
    error::RouteError,
    pages::{failed, page},
};

pub(super) async fn leads_on(_: May<Read>) -> Redirect {
    Redirect::to("/channels/whatsapp")
}

#[derive(Deserialize, Default)]
pub(super) struct Asked {
    #[serde(default)]
    done: String,
}

impl Asked {
    pub(super) fn is(&self, done: &str) -> bool {
        self.done == done
    }
}

#[derive(Template)]
#[template(path = "channels_whatsapp.html")]
struct List {
    caller: Caller,
    editable: bool,
    fixed: bool,
    revision: u64,
    general: general::View,
    channels: Vec<(View, Option<Arc<Status>>)>,
    done: &'static str,
}

fn done(what: &str) -> &'static str {
    match what {
        "saved" => "Saved. Every service goes on with it by itself.",
        "on" => "The assistant answers on this number again.",
        "off" => "The assistant is off on this number: people reply.",
        "subscribed" => "The webhooks of the account come to Baton’s app now.",
        "removed" => "The number is removed: nothing that comes on it is taken any more.",
        _ => "",
    }
}

pub(super) async fn listed(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    Query(asked): Query<Asked>,
) -> Response {
    let document = match console.editor.current().await {
        Ok(document) => document,
        Err(error) => return failed(&caller, error),
    };
    let views = View::all(&document.value);
    let mut statuses = statuses(&console, &document).await;
    let channels = views.into_iter().map(|view| {
        let status = statuses.remove(&view.phone_number_id);
        (view, status)
    });
    let shown = List {
        editable: console.editor.is_editable() && caller.may_configure(),
        fixed: !console.editor.is_editable(),
        revision: document.revision,
        general: general::View::of(&document.value),
        channels: channels.collect(),
        done: done(&asked.done),
        caller,
    };
    page(StatusCode::OK, &shown)
}

async fn statuses(console: &Console, document: &Document) -> BTreeMap<String, Arc<Status>> {
    let channels = filled_in(&document.value).map(|settings| settings.channels).unwrap_or_default();
    let found = console.editor.statuses.of(&channels).await;
    let numbers = channels.iter().map(|channel| channel.phone_number_id.as_str().to_owned());
    numbers.zip(found).filter_map(|(number, status)| Some((number, status?))).collect()
}

#[derive(Template)]
#[template(path = "channels_number.html")]
struct One {
    caller: Caller,
    editable: bool,
    fixed: bool,
    revision: u64,
    /// None: it is being added.
    view: Option<View>,
    status: Option<Arc<Status>>,
    fields: Vec<Input>,
    policy: Vec<Input>,
    policy_open: bool,
    hours: Vec<Input>,
    hours_open: bool,
    texts: Vec<Input>,
    /// None: Meta was not asked.
    templates: Option<Vec<Shown>>,
    more_templates: bool,
    findings: Vec<Finding>,
    problems: Vec<String>,
    done: &'static str,
}

fn basics(view: Option<&View>, document: &Value) -> Vec<Input> {
    let of = |get: fn(&View) -> &String| view.map(|view| get(view).clone()).unwrap_or_default();
    let token = match view {
        Some(View { access_token_kept_in: Some(place), .. }) => {
            format!("It is kept in {place}; paste another one to replace it")
        }
        Some(view) if view.has_access_token => {
            "It is saved, and never shown; paste another one to replace it".into()
        }
        Some(_) | None => "EAA…".into(),
    };
    let mut teams = vec![(String::new(), "None: the assistant keeps the customer".to_owned())];
    teams.extend(integration::View::all(document).into_iter().map(|one| (one.id.clone(), one.id)));
    let team = view.and_then(|view| view.integration.clone()).unwrap_or_default();
    let tick = |on: bool| if on { "true" } else { "" };
    let mut inputs = vec![
        Input::new("waba_id", "WhatsApp Business Account ID", Kind::Line, of(|view| &view.waba_id))
            .help("WhatsApp Manager > Account tools > Phone numbers, or the app dashboard > WhatsApp > API Setup."),
        Input::new("access_token", "Access token", Kind::Secret, "")
            .help("Business settings > System users > Generate token, with whatsapp_business_messaging and whatsapp_business_management, never expiring.")
            .placeholder(token),
        Input::new("name", "Name", Kind::Line, of(|view| &view.name))
            .help("What the number is called here and in Salesforce.")
            .placeholder("Support"),
        Input::new("display_phone_number", "Phone number", Kind::Line, of(|view| &view.display_phone_number))
            .help("As people dial it, for display.")
            .placeholder("+34 600 000 000"),
        Input::new("integration", "Hands off to", Kind::Choice(teams), team)
            .help("The Salesforce integration whose reps take over."),
        Input::new("assistant", "The assistant answers on this number", Kind::Tick, tick(view.is_none_or(|view| view.assistant))),
        Input::new("messages_per_second", "Messages a second", Kind::Number, view.map_or(80, |view| view.messages_per_second).to_string())
            .help("What Meta lets the number send: 80, up to 1,000 after an upgrade, 20 if it is in the WhatsApp Business app as well."),
        Input::new("escalation_partner", "Several responders share the number (Conversation Routing)", Kind::Tick, tick(view.is_some_and(|view| view.escalation_partner))),
    ];
    if view.is_none() {
        let id = Input::new("phone_number_id", "Phone number ID", Kind::Line, "")
            .help("The app dashboard > WhatsApp > API Setup: digits, not the phone number itself.");
        inputs.insert(0, id);
    }
    inputs
}

fn policy(view: &View) -> Vec<Input> {
    let policy = &view.policy;
    let tick = |on: bool| if on { "true" } else { "" };
    let rescue = policy.rescue_template.clone().unwrap_or_default();
    let nobody = [
        ("keep-waiting", "The customer keeps the place in the queue"),
        ("back-to-assistant", "The assistant takes over again"),
    ];
    let nobody = nobody.map(|(value, words)| (value.to_owned(), words.to_owned())).into();
    let number = |name, label, value: u64| Input::new(name, label, Kind::Number, value.to_string());
    vec![
        number("quiet_seconds", "Quiet time, in seconds", policy.quiet_seconds)
            .help("The assistant answers when the customer has not written for so long: several short messages make one turn. 0 to 10."),
        number("longest_quiet_seconds", "… but at most, in seconds", policy.longest_quiet_seconds)
            .help("After the first of them. Up to 30."),
        number("auto_resolve_after_seconds", "A new session after, in seconds of silence", policy.auto_resolve_after_seconds)
            .help("Never while a rep has the conversation. 86400 is a day."),
        Input::new("assist_while_waiting", "The assistant helps on while the customer waits for a rep", Kind::Tick, tick(policy.assist_while_waiting)),
        number("opening_patience_seconds", "Told that it takes longer after, in seconds", policy.opening_patience_seconds),
        number("queue_notice_seconds", "Told the place in the queue at most every, in seconds", policy.queue_notice_seconds)
            .help("0: never."),
        Input::new("nobody_available", "When nobody is available", Kind::Choice(nobody), policy.nobody_available.clone()),
        Input::new("rescue_template", "Window rescue template", Kind::Line, rescue.name)
            .help("Sent once when a rep writes after WhatsApp’s 24 hours, so that the customer may answer. Left empty, the rep’s messages wait all the same. Approved templates stand below."),
        Input::new("rescue_language", "… its language", Kind::Line, rescue.language).placeholder("en_US"),
        Input::new("rescue_parameters", "… its parameters, one a line", Kind::Area, rescue.parameters.join("\n"))
            .help("{name} is the customer’s name."),
        number("parked_keep_seconds", "A rep’s messages wait for it at most, in seconds", policy.parked_keep_seconds),
        Input::new("language", "Language of the customers", Kind::Line, policy.language.clone())
            .help("As Salesforce writes it, where nothing tells better.")
            .placeholder("en_US"),
        number("echo_quiet_seconds", "The assistant is quiet after an answer in the WhatsApp Business app, in seconds", policy.echo_quiet_seconds),
        Input::new("stop_words", "Words that end the chat with the team, one a line", Kind::Area, policy.stop_words.join("\n"))
            .help("A message that is just one of them."),
        Input::new("opt_out_words", "Words that stop marketing messages, one a line", Kind::Area, policy.opt_out_words.join("\n"))
            .help("A message, or a button, that is just one of them. The customer is told."),
        Input::new("opt_in_words", "… and let them come again, one a line", Kind::Area, policy.opt_in_words.join("\n")),
        Input::new("read_receipts", "Customers see that messages were read, and that somebody types", Kind::Tick, tick(policy.read_receipts)),
    ]
}

const DAYS: [(&str, &str, &str); 7] = [
    ("mon", "hours.week.mon", "Monday"),
    ("tue", "hours.week.tue", "Tuesday"),
    ("wed", "hours.week.wed", "Wednesday"),
    ("thu", "hours.week.thu", "Thursday"),
    ("fri", "hours.week.fri", "Friday"),
    ("sat", "hours.week.sat", "Saturday"),
    ("sun", "hours.week.sun", "Sunday"),
];

fn opening(view: &View) -> Vec<Input> {
    let hours = view.policy.hours.clone().unwrap_or_default();
    let after = [
        ("keep-waiting", "The customer waits in the queue, and is told until when"),
        ("message", "The customer is told when the team is back, and the assistant stays"),
        ("leave-note", "As well, and the team finds a note with what was said in Salesforce"),
    ];
    let after = after.map(|(value, words)| (value.to_owned(), words.to_owned())).into();
    let mut inputs = vec![
        Input::new(
            "hours.after",
            "When somebody wants a person outside of these hours",
            Kind::Choice(after),
            view.policy.after_hours.clone(),
        )
        .help("Without an assistant on this number they wait. Operators hand off at any hour."),
        Input::new("hours.time_zone", "Time zone of the team", Kind::Line, hours.time_zone.clone())
            .help("Left empty, the team is always there. Summer time is kept.")
            .placeholder("Europe/Madrid"),
    ];
    inputs.extend(DAYS.map(|(day, name, label)| {
        let spans = hours.week.get(day).map(|spans| spans.join(", ")).unwrap_or_default();
        let input = Input::new(name, label, Kind::Line, spans).placeholder("closed");
        if day == "mon" { input.help("Like 09:00-14:00, 16:00-18:30; up to 24:00.") } else { input }
    }));
    inputs.push(
        Input::new("hours.closed_on", "Closed on, one date a line", Kind::Area, hours.closed_on.join("\n"))
            .placeholder("2026-12-25"),
    );
    inputs
}

fn hours(form: &Form) -> Hours {
    let spans = |name: &str| {
        let spans = form.get(name).split([',', ';']).map(str::trim).filter(|span| !span.is_empty());
        spans.map(str::to_owned).collect::<Vec<_>>()
    };
    let week = DAYS.map(|(day, name, _)| (day.to_owned(), spans(name)));
    Hours {
        time_zone: form.get("hours.time_zone").trim().to_owned(),
        week: week.into_iter().filter(|(_, spans)| !spans.is_empty()).collect(),
        closed_on: lines(form.get("hours.closed_on")),
    }
}

fn sayings(view: &View) -> Vec<Input> {
    let own = |name: &str| view.policy.texts.get(name).cloned().unwrap_or_default();
    let input = |(name, when, usual): (&'static str, &'static str, String)| {
        // Some are called like a choice of the policy.
        Input::new(format!("texts.{name}"), when, Kind::Area, own(name)).placeholder(usual)
    };
    texts().into_iter().map(input).collect()
}

pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `with_policy`: the form of a number that is there has it.
fn edit(form: &Form, with_policy: bool) -> Result<Edit, Refused> {
    let mut wrong = Vec::new();
    let messages_per_second = form.number("messages_per_second", &mut wrong);
    let policy = with_policy.then(|| PolicyEdit {
        assist_while_waiting: Some(form.is_ticked("assist_while_waiting")),
        quiet_seconds: form.number("quiet_seconds", &mut wrong),
        longest_quiet_seconds: form.number("longest_quiet_seconds", &mut wrong),
        auto_resolve_after_seconds: form.number("auto_resolve_after_seconds", &mut wrong),
        opening_patience_seconds: form.number("opening_patience_seconds", &mut wrong),
        parked_keep_seconds: form.number("parked_keep_seconds", &mut wrong),
        queue_notice_seconds: form.number("queue_notice_seconds", &mut wrong),
        echo_quiet_seconds: form.number("echo_quiet_seconds", &mut wrong),
        language: form.text("language"),
        read_receipts: Some(form.is_ticked("read_receipts")),
        nobody_available: form.text("nobody_available"),
        hours: Some(hours(form)),
        after_hours: form.text("hours.after"),
        stop_words: Some(lines(form.get("stop_words"))),
        opt_out_words: Some(lines(form.get("opt_out_words"))),
        opt_in_words: Some(lines(form.get("opt_in_words"))),
        rescue_template: Some(Rescue {
            name: form.get("rescue_template").trim().to_owned(),
            language: form.get("rescue_language").trim().to_owned(),
            parameters: lines(form.get("rescue_parameters")),
        }),
        texts: texts()
            .into_iter()
            .map(|(name, ..)| (name.to_owned(), form.get(&format!("texts.{name}")).trim().to_owned()))
            .collect(),
        translations: BTreeMap::new(),
    });
    if !wrong.is_empty() {
        return Err(Refused::Invalid(wrong));
    }
    Ok(Edit {
        waba_id: form.text("waba_id"),
        display_phone_number: form.text("display_phone_number"),
        name: form.text("name"),
        access_token: form.typed("access_token"),
        integration: form.text("integration"),
        assistant: Some(form.is_ticked("assistant")),
        messages_per_second,
        escalation_partner: Some(form.is_ticked("escalation_partner")),
        policy,
        responder: None,
    })
}

#[derive(Default)]
struct Beside<'a> {
    form: Option<&'a Form>,
    problems: Vec<Invalid>,
    findings: Vec<Finding>,
    done: &'static str,
}

async fn one(console: &Console, caller: Caller, number: Option<&str>, beside: Beside<'_>) -> Response {
    let shown = async {
        let document = console.editor.current().await?;
        let view = number.map(|number| View::find(&document.value, number)).transpose()?;
        Ok::<_, RouteError>((document, view))
    };
    let (document, view) = match shown.await {
        Ok(shown) => shown,
        Err(error) => return failed(&caller, error),
    };
    let Beside { form, problems, findings, done } = beside;
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let mut fields = basics(view.as_ref(), &document.value);
    let mut policy = view.as_ref().map(policy).unwrap_or_default();
    let mut hours = view.as_ref().map(opening).unwrap_or_default();
    let mut texts = view.as_ref().map(sayings).unwrap_or_default();
    let problems = refill(&mut [&mut fields, &mut policy, &mut hours, &mut texts], form, problems);
    let typed = number.and_then(|number| channel::typed(&document.value, number).ok());
    let (at_meta, templates) = match &typed {
        Some(channel) => {
            let asked = std::slice::from_ref(channel);
            let (status, templates) =
                tokio::join!(console.editor.statuses.of(asked), console.editor.statuses.templates(channel));
            (status.into_iter().next().flatten(), templates.ok())
        }
        None => (None, None),
    };
    let more_templates = templates.as_ref().is_some_and(|(_, more)| *more);
    let shown = One {
        editable: console.editor.is_editable() && caller.may_configure(),
        fixed: !console.editor.is_editable(),
        revision: form.and_then(|form| form.revision().ok()).unwrap_or(document.revision),
        status: at_meta,
        policy_open: policy.iter().any(|input| !input.problem.is_empty()),
        hours_open: hours.iter().any(|input| !input.problem.is_empty()),
        templates: templates.map(|(templates, _)| templates),
        caller,
        view,
        fields,
        policy,
        hours,
        texts,
        more_templates,
        findings,
        problems,
        done,
    };
    page(status, &shown)
}

pub(super) async fn blank(State(console): State<Console>, May { caller, .. }: May<Configure>) -> Response {
    one(&console, caller, None, Beside::default()).await
}

pub(super) async fn shown(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    Path(number): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    one(&console, caller, Some(&number), Beside { done: done(&asked.done), ..Beside::default() }).await
}

async fn again(
    console: &Console,
    caller: Caller,
    number: Option<&str>,
    form: Option<&Form>,
    refused: Refused,
) -> Response {
    match refused {
        Refused::Route(error) => failed(&caller, error),
        Refused::Changed(changes) => {
            conflict(caller, changes, format!("/channels/whatsapp/{}", number.unwrap_or("new")))
        }
        Refused::Invalid(problems) => {
            one(console, caller, number, Beside { form, problems, ..Beside::default() }).await
        }
    }
}

/// Checks, or adds, as the button says.
pub(super) async fn added(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    form: Form,
) -> Response {
    let number = form.get("phone_number_id").trim().to_owned();
    if form.get("do") == "check" {
        return checked(&console, caller, &number, &form).await;
    }
    save(&console, caller, &number, true, &form).await
}

/// Asks Meta; saves nothing.
async fn checked(console: &Console, caller: Caller, number: &str, form: &Form) -> Response {
    let asked = async {
        let client = console.editor.statuses.client().ok_or(RouteError::MetaAway)?;
        let mut edit = edit(form, false)?;
        edit.integration = None;
        let mut document = json!({ "channels": [] });
        channel::apply(&mut document, number, &edit, true)?;
        let channel = channel::typed(&document, number)?;
        Ok::<_, Refused>(::doctor::check_channel(&channel, client).await)
    };
    match asked.await {
        Ok(findings) => {
            one(console, caller, None, Beside { form: Some(form), findings, ..Beside::default() }).await
        }
        Err(refused) => again(console, caller, None, Some(form), refused).await,
    }
}

pub(super) async fn saved(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
    form: Form,
) -> Response {
    save(&console, caller, &number, false, &form).await
}

async fn save(console: &Console, caller: Caller, number: &str, new: bool, form: &Form) -> Response {
    let change = async {
        let edit = edit(form, !new)?;
        let make = |document: &mut Value| channel::apply(document, number, &edit, new);
        console.editor.change(&caller, form.revision()?, make).await
    };
    match change.await {
        Ok(_) => Redirect::to(&format!("/channels/whatsapp/{number}?done=saved")).into_response(),
        Err(refused) => again(console, caller, (!new).then_some(number), Some(form), refused).await,
    }
}

/// What holds for all numbers.
pub(super) async fn general(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    form: Form,
) -> Response {
    let autopilot = form.typed("autopilot").map(|switch| switch == "on");
    let (app_secret, verify_token) = (form.typed("app_secret"), form.typed("verify_token"));
    let edit = general::Edit { autopilot, app_secret, verify_token };
    let change = async {
        let make = |document: &mut Value| general::apply(document, &edit);
        console.editor.change(&caller, form.revision()?, make).await
    };
    match change.await {
        Ok(_) => Redirect::to("/channels/whatsapp?done=saved").into_response(),
        Err(Refused::Invalid(_)) => failed(&caller, RouteError::SettingsInvalid),
        Err(Refused::Route(error)) => failed(&caller, error),
        Err(Refused::Changed(changes)) => conflict(caller, changes, "/channels/whatsapp".into()),
    }
}

/// The assistant, on or off.
pub(super) async fn switched(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
    form: Form,
) -> Response {
    let on = form.get("assistant") == "on";
    let change = async {
        let edit = Edit { assistant: Some(on), ..Edit::default() };
        let make = |document: &mut Value| channel::apply(document, &number, &edit, false);
        console.editor.change(&caller, form.revision()?, make).await
    };
    match change.await {
        Ok(_) => Redirect::to(&format!("/channels/whatsapp?done={}", if on { "on" } else { "off" }))
            .into_response(),
        Err(refused) => again(&console, caller, Some(&number), None, refused).await,
    }
}

pub(super) async fn subscribed(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
) -> Response {
    let asked = async {
        let channel = channel::typed(&console.editor.current().await?.value, &number)?;
        console.editor.statuses.subscribe(&channel).await
    };
    match asked.await {
        Ok(()) => {
            tracing::info!(by = caller.name(), number, "webhooks were subscribed to");
            Redirect::to("/channels/whatsapp?done=subscribed").into_response()
        }
        Err(refused) => again(&console, caller, Some(&number), None, refused).await,
    }
}

pub(super) async fn removed(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
    form: Form,
) -> Response {
    let change = async {
        if !form.is_ticked("confirmed") {
            return Err(RouteError::NotConfirmed.into());
        }
        let make = |document: &mut Value| document::remove(document, channel::LIST, &number);
        console.editor.change(&caller, form.revision()?, make).await
    };
    match change.await {
        Ok(_) => Redirect::to("/channels/whatsapp?done=removed").into_response(),
        Err(refused) => again(&console, caller, Some(&number), None, refused).await,
    }
}
