//! Campaigns' pages. Everything works without scripts; with them, a campaign's page follows how it goes.

use askama::Template;
use axum::{
    Form, Router,
    extract::{
        DefaultBodyLimit, Multipart, Path, Query, State,
        rejection::{FormRejection, QueryRejection},
    },
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use campaign::{Pause, State as Standing, Stored, Summary};
use domain::{PhoneNumberId, settings::Channel};
use futures::TryStreamExt as _;
use serde::Deserialize;
use tokio_util::io::StreamReader;
use whatsapp::client::TemplateInfo;

use super::{
    Action,
    causes::{self, Cause},
    form::{self, DAYS, Fields, Shape},
    people::{COLUMNS, Filter},
    plot::{Plot, when},
    reasons, stream,
};
use crate::{
    Console,
    access::{Caller, May, Operate, Read},
    board::now,
    error::{RouteError, Told},
    messages::{HeaderFile, Rejected},
    pages::{failed, page},
};

/// Of the form that makes a campaign.
const MAX_FORM_BYTES: usize = 256 * 1024;

pub(crate) fn router(console: Console) -> Router {
    Router::new()
        .route("/campaigns", get(list).post(create).layer(DefaultBodyLimit::max(MAX_FORM_BYTES)))
        .route("/campaigns/new", get(new))
        .route("/campaigns/{id}", get(one))
        .route("/campaigns/{id}/stream", get(follow))
        .route("/campaigns/{id}/actions", post(act))
        .route("/campaigns/{id}/people", post(people))
        .route("/campaigns/{id}/edit", get(edit_form).post(edit).layer(DefaultBodyLimit::max(MAX_FORM_BYTES)))
        .route("/campaigns/{id}/delete", post(remove))
        .route("/campaigns/{id}/header", post(header_file).layer(DefaultBodyLimit::disable()))
        .route(
            "/campaigns/{id}/audience",
            post(audience).layer(DefaultBodyLimit::max(super::MAX_UPLOAD_BYTES)),
        )
        .with_state(console)
}

#[derive(Template)]
#[template(path = "campaigns_list.html")]
struct List {
    caller: Caller,
    rows: Vec<Row>,
}

struct Row {
    id: String,
    name: String,
    number: String,
    template: String,
    state: &'static str,
    class: &'static str,
    recipients: Option<u32>,
    created: String,
}

impl Row {
    fn of(Stored { definition, .. }: &Stored, console: &Console) -> Self {
        Self {
            id: definition.id.to_string(),
            name: definition.plan.name.clone(),
            number: number_name(console, &definition.plan.number),
            template: definition.plan.template.name.clone(),
            state: definition.state.as_str(),
            class: class(&definition.state),
            recipients: definition.audience.as_ref().map(|audience| audience.rows),
            created: definition.history.first().map(|change| when(change.at)).unwrap_or_default(),
        }
    }
}

/// As people know it; its id where it is not in the settings.
fn number_name(console: &Console, number: &PhoneNumberId) -> String {
    let settings = console.checks.settings();
    let channel = settings.as_ref().and_then(|settings| settings.channel(number));
    channel.map_or_else(|| number.as_str().to_owned(), named)
}

fn named(channel: &Channel) -> String {
    format!("{} {}", channel.name, channel.display_phone_number)
}

/// The badge's.
const fn class(state: &Standing) -> &'static str {
    match state {
        Standing::Draft | Standing::Ready | Standing::Finished => "",
        Standing::Validating { .. } | Standing::Scheduled => "assistant",
        Standing::Running => "live",
        Standing::Paused { .. } => "waiting",
        Standing::Cancelled => "inactive",
    }
}

fn refused(caller: &Caller, rejected: Rejected) -> Response {
    failed(caller, rejected.error)
}

async fn list(State(console): State<Console>, May { caller, .. }: May<Read>) -> Response {
    let all = async { Ok::<_, Rejected>(console.campaigns.campaigns().await?.list().await?) };
    match all.await {
        Ok(all) => page(
            StatusCode::OK,
            &List { caller, rows: all.iter().map(|stored| Row::of(stored, &console)).collect() },
        ),
        Err(rejected) => refused(&caller, rejected),
    }
}

#[derive(Default, Deserialize)]
struct Picked {
    #[serde(default)]
    number: String,
    /// Name and language, apart by a bar.
    #[serde(default)]
    template: String,
}

#[derive(Template)]
#[template(path = "campaigns_new.html")]
struct New {
    caller: Caller,
    title: &'static str,
    /// Where the form goes.
    action: String,
    /// Of the campaign that is edited.
    revision: Option<u64>,
    problems: Vec<String>,
    channels: Vec<(String, String)>,
    number: String,
    /// None: Meta cannot be asked.
    templates: Option<Vec<Offered>>,
    picked: Option<(Offered, Shape)>,
    fields: Fields,
    days: [(&'static str, &'static str, campaign::Day); 7],
}

#[derive(Clone)]
struct Offered {
    id: String,
    name: String,
    language: String,
    category: String,
    body: String,
}

impl Offered {
    fn of(info: &TemplateInfo) -> Self {
        let body = info.components.iter().find(|component| component.kind == "BODY");
        Self {
            id: format!("{}|{}", info.name, info.language),
            name: info.name.clone(),
            language: info.language.clone(),
            category: info.category.to_lowercase(),
            body: body.map(|body| body.text.clone()).unwrap_or_default(),
        }
    }
}

impl New {
    fn said(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// What a blank's field begins with.
    fn blank<'a>(&'a self, blank: &'a form::Blank) -> &'a str {
        self.fields.get(&blank.id).map_or(blank.column.as_str(), String::as_str)
    }

    fn fixed(&self, blank: &form::Blank) -> bool {
        self.said(&format!("{}_from", blank.id)) == "fixed"
    }

    fn checked(&self, day: &str) -> bool {
        self.fields.is_empty() || self.fields.contains_key(&format!("day_{day}"))
    }
}

async fn new(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    query: Result<Query<Picked>, QueryRejection>,
) -> Response {
    let picked = query.map(|Query(picked)| picked).unwrap_or_default();
    form_page(&console, caller, &picked, None, Fields::new(), Vec::new()).await
}

async fn form_page(
    console: &Console,
    caller: Caller,
    picked: &Picked,
    edited: Option<(&str, u64)>,
    fields: Fields,
    problems: Vec<String>,
) -> Response {
    let Some(settings) = console.checks.settings() else { return failed(&caller, RouteError::NoSettings) };
    let choice = |channel: &Channel| (channel.phone_number_id.as_str().to_owned(), named(channel));
    let channels: Vec<_> = settings.channels.iter().map(choice).collect();
    let only = if let [(only, _)] = channels.as_slice() { only.clone() } else { String::new() };
    let number = if picked.number.is_empty() { only } else { picked.number.clone() };
    let channel = settings.channel(&PhoneNumberId::new(number.as_str()));
    let list = match channel {
        Some(channel) => console.templates.all(channel).await,
        None => None,
    };
    let approved = list.iter().flat_map(|list| list.iter()).filter(|info| info.is_approved());
    let found = approved.clone().find(|info| Offered::of(info).id == picked.template);
    let shown = New {
        caller,
        title: if edited.is_some() { "Edit campaign" } else { "New campaign" },
        action: edited.map_or_else(|| "/campaigns".into(), |(id, _)| format!("/campaigns/{id}/edit")),
        revision: edited.map(|(_, revision)| revision),
        channels,
        number: if channel.is_some() { number } else { String::new() },
        picked: found.map(|info| (Offered::of(info), Shape::of(info))),
        templates: list.is_some().then(|| approved.map(Offered::of).collect()),
        days: DAYS,
        fields,
        problems,
    };
    let status = if shown.problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    page(status, &shown)
}

async fn create(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    body: Result<Form<Fields>, FormRejection>,
) -> Response {
    let Ok(Form(fields)) = body else { return failed(&caller, RouteError::MalformedBody) };
    save(&console, caller, None, fields).await
}

/// What the form says, as a new campaign or in place of what was.
async fn save(console: &Console, caller: Caller, edited: Option<(&str, u64)>, fields: Fields) -> Response {
    let said = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let picked = Picked { number: said("number"), template: said("template") };
    let settings = console.checks.settings();
    let channel =
        settings.as_ref().and_then(|settings| settings.channel(&PhoneNumberId::new(picked.number.as_str())));
    let list = match channel {
        Some(channel) => console.templates.all(channel).await.unwrap_or_else(|| Vec::new().into()),
        None => Vec::new().into(),
    };
    let info = list.iter().find(|info| Offered::of(info).id == picked.template);
    let plan = info.map_or_else(
        || Err(vec!["the template cannot be looked at right now: pick it again".to_owned()]),
        |info| form::plan(&fields, info),
    );
    let mut plan = match plan {
        Ok(plan) => plan,
        Err(problems) => return form_page(console, caller, &picked, edited, fields, problems).await,
    };
    let saved = async {
        let campaigns = console.campaigns.campaigns().await?;
        Ok(match edited {
            None => campaigns.create(plan, caller.name(), now()).await?,
            Some((id, revision)) => {
                // The form has no file: the one before stays.
                let before = console.campaigns.get(id).await?.definition.plan.template;
                let wanted = &mut plan.template;
                if wanted.header.as_ref().is_some_and(campaign::HeaderUse::lacks_file)
                    && before.name == wanted.name
                {
                    wanted.header = before.header;
                }
                campaigns.edit(super::parse(id)?, revision, plan, caller.name(), now()).await?
            }
        })
    };
    match saved.await {
        Ok(stored) => Redirect::to(&format!("/campaigns/{}", stored.definition.id)).into_response(),
        Err(Rejected { problems, .. }) if !problems.is_empty() => {
            form_page(console, caller, &picked, edited, fields, problems).await
        }
        Err(rejected) => refused(&caller, rejected),
    }
}

async fn edit_form(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
) -> Response {
    let stored = match console.campaigns.get(&id).await {
        Ok(stored) => stored,
        Err(rejected) => return refused(&caller, rejected),
    };
    if !stored.definition.state.is_open() {
        return failed(&caller, RouteError::NotNow);
    }
    let fields = form::fields(&stored.definition.plan);
    let picked = Picked { number: fields["number"].clone(), template: fields["template"].clone() };
    form_page(&console, caller, &picked, Some((&id, stored.revision)), fields, Vec::new()).await
}

fn revision_in(fields: &Fields) -> Option<u64> {
    fields.get("revision")?.parse().ok()
}

async fn edit(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Form<Fields>, FormRejection>,
) -> Response {
    let Ok(Form(fields)) = body else { return failed(&caller, RouteError::MalformedBody) };
    let Some(revision) = revision_in(&fields) else { return failed(&caller, RouteError::MalformedBody) };
    save(&console, caller, Some((&id, revision)), fields).await
}

async fn remove(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Form<Fields>, FormRejection>,
) -> Response {
    let Ok(Form(fields)) = body else { return failed(&caller, RouteError::MalformedBody) };
    let Some(revision) = revision_in(&fields) else { return failed(&caller, RouteError::MalformedBody) };
    match console.campaigns.delete(&id, revision, caller.name()).await {
        Ok(()) => Redirect::to("/campaigns").into_response(),
        Err(rejected) => shown(&console, caller, &id, Some(rejected)).await,
    }
}

#[derive(Template)]
#[template(path = "campaigns_one.html")]
struct One {
    caller: Caller,
    row: Row,
    revision: u64,
    deletable: bool,
    stream: String,
    told: Option<Told>,
    problems: Vec<String>,
    /// Why it stands still, and what it waits for.
    why: &'static str,
    waiting: Option<String>,
    figures: Vec<(&'static str, u32, &'static str)>,
    recipients: u32,
    plot: Option<Plot>,
    causes: Vec<Cause>,
    text: String,
    language: String,
    about: Vec<(&'static str, String)>,
    columns: Vec<String>,
    /// What the header asks for, and the name of what was uploaded.
    header: Option<(&'static str, String)>,
    is_open: bool,
    /// The list of people that we know has all columns.
    pickable: bool,
    taken: Option<(u32, u32, u32)>,
    reasons: Vec<(&'static str, u32)>,
    groups: usize,
    /// Who no hour of the schedule suits, where that is not over.
    without_hour: u32,
    actions: Vec<Action>,
    history: Vec<(String, String, String)>,
}

impl One {
    fn of(
        console: &Console,
        caller: Caller,
        stored: &Stored,
        summary: Option<&Summary>,
        rejected: Option<Rejected>,
    ) -> Self {
        let definition = &stored.definition;
        let plan = &definition.plan;
        let report = definition.audience.as_ref().map(|audience| &audience.report);
        let (told, mut problems) =
            rejected.map_or((None, Vec::new()), |it| (Some(it.error.told()), it.problems));
        if told.is_none() {
            problems.clone_from(&definition.problems);
        }
        let figure = |summary: &Summary| {
            vec![
                ("Accepted", summary.accepted, ""),
                ("Delivered", summary.delivered, ""),
                ("Read", summary.read, ""),
                ("Failed", summary.failed, if summary.failed > 0 { "warn" } else { "" }),
                ("Replied", summary.replied, ""),
                ("Opted out", summary.opted_out, ""),
                ("Withheld", summary.withheld, ""),
                ("Not sent", causes::unsent(summary, definition), ""),
            ]
        };
        Self {
            row: Row::of(stored, console),
            revision: stored.revision,
            deletable: definition.state.is_open() || definition.state.is_over(),
            stream: format!("/campaigns/{}/stream", definition.id),
            told,
            problems,
            why: why(&definition.state),
            waiting: summary.and_then(|summary| summary.waiting.clone()),
            figures: summary.map(figure).unwrap_or_default(),
            recipients: definition.audience.as_ref().map_or(0, |audience| audience.rows),
            plot: summary.and_then(Plot::of),
            causes: summary.map(|summary| Cause::of(summary, definition)).unwrap_or_default(),
            text: preview(&plan.template),
            language: plan.template.language.clone(),
            about: about(stored, console),
            columns: definition.columns(),
            header: plan.template.header.as_ref().and_then(|header| match header {
                campaign::HeaderUse::Text { .. } => None,
                campaign::HeaderUse::Media { media, name, .. } => Some((media.word(), name.clone())),
            }),
            is_open: definition.state.is_open(),
            pickable: definition.columns().iter().all(|column| COLUMNS.contains(&column.as_str())),
            taken: report.map(|report| (report.accepted, report.rejected, report.unsure_zones)),
            reasons: report.map(reasons).unwrap_or_default(),
            groups: definition.audience.as_ref().map_or(0, |audience| audience.groups.len()),
            without_hour: if definition.state.is_over() { 0 } else { definition.without_hour(now()) },
            actions: if caller.may_operate() { Action::of(stored) } else { Vec::new() },
            history: (definition.history.iter().rev())
                .map(|change| (when(change.at), change.who.clone(), change.what.clone()))
                .collect(),
            caller,
        }
    }
}

/// The text with the columns' names where their values go.
fn preview(template: &campaign::TemplateUse) -> String {
    let columns = template.columns();
    let names: Vec<String> = columns.iter().map(|column| format!("‹{column}›")).collect();
    template.preview(&columns, &names)
}

/// What stands still, and what to do.
const fn why(state: &Standing) -> &'static str {
    match state {
        Standing::Paused { why } => match why {
            Pause::Operator => "Somebody paused it. Resume it when it may go on.",
            Pause::Template => {
                "Meta has paused, disabled or changed the template. See it in WhatsApp Manager; resume once it \
                 is approved."
            }
            Pause::Spam => {
                "Meta takes no more from this number because of complaints. Look at its quality; resume when \
                 the limit is lifted."
            }
            Pause::Payment => "Meta has a payment problem with the account. Mend it there, then resume.",
            Pause::Number => "The number may not send. Look at troubleshooting, then resume.",
        },
        Standing::Validating { .. } => "Meta is being asked about the template and the number.",
        Standing::Draft
        | Standing::Ready
        | Standing::Scheduled
        | Standing::Running
        | Standing::Finished
        | Standing::Cancelled => "",
    }
}

fn about(Stored { definition, .. }: &Stored, console: &Console) -> Vec<(&'static str, String)> {
    let schedule = &definition.plan.schedule;
    let mut about = vec![("Number", number_name(console, &definition.plan.number))];
    let moment = |at: Option<i64>| at.map(|at| format!("{} UTC", when(at)));
    about.extend(moment(schedule.start_at).map(|at| ("Starts", at)));
    about.extend(moment(schedule.ends_at).map(|at| ("Ends", at)));
    if let Some(quiet) = schedule.quiet {
        let text = |time: jiff::civil::Time| time.strftime("%H:%M").to_string();
        about.push(("Quiet hours", format!("{} to {}, recipient's time", text(quiet.from), text(quiet.to))));
    }
    if !schedule.weekdays.is_empty() {
        let on =
            DAYS.iter().filter(|(_, _, day)| schedule.weekdays.contains(day)).map(|(_, label, _)| *label);
        about.push(("Days", on.collect::<Vec<_>>().join(", ")));
    }
    let pace = definition.plan.per_minute.map(|pace| format!("at most {pace} a minute"));
    about.push(("Pace", pace.unwrap_or_else(|| "as fast as the number may, after live traffic".into())));
    let reply = match &definition.plan.reply {
        campaign::Reply::Rep => "to a rep".to_owned(),
        campaign::Reply::Assistant => "to the assistant".to_owned(),
        campaign::Reply::Keywords { rules } => format!("by {} keyword rules, else to a rep", rules.len()),
    };
    about.push(("Replies", reply));
    about
}

async fn shown(console: &Console, caller: Caller, id: &str, rejected: Option<Rejected>) -> Response {
    let found = async {
        let stored = console.campaigns.get(id).await?;
        let summary = console.campaigns.progress(stored.definition.id).await?;
        Ok::<_, Rejected>((stored, summary))
    };
    match found.await {
        Ok((stored, summary)) => {
            let status = rejected.as_ref().map_or(StatusCode::OK, |rejected| rejected.error.status());
            page(status, &One::of(console, caller, &stored, summary.as_ref(), rejected))
        }
        Err(rejected) => refused(&caller, rejected),
    }
}

async fn one(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    Path(id): Path<String>,
) -> Response {
    shown(&console, caller, &id, None).await
}

async fn follow(
    State(console): State<Console>,
    _: May<Read>,
    Path(id): Path<String>,
) -> Result<Response, Rejected> {
    let id = super::parse(&id)?;
    stream::follow(&console.campaigns, id).await
}

/// Of the form: what is empty does not matter.
#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    language: String,
    #[serde(default)]
    wrote_within_days: String,
    has_email: Option<String>,
}

async fn people(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Form<Described>, FormRejection>,
) -> Response {
    let Ok(Form(described)) = body else { return failed(&caller, RouteError::MalformedBody) };
    let said = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let Ok(days) = said(&described.wrote_within_days).map(|days| days.parse()).transpose() else {
        return failed(&caller, RouteError::MalformedBody);
    };
    let filter = Filter {
        number: None,
        language: said(&described.language),
        wrote_within_days: days,
        has_email: described.has_email.is_some(),
    };
    match console.campaigns.pick(&id, filter, &console.lookup, caller.name()).await {
        Ok(_) => Redirect::to(&format!("/campaigns/{id}#audience")).into_response(),
        Err(rejected) => shown(&console, caller, &id, Some(rejected)).await,
    }
}

async fn header_file(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    mut form: Multipart,
) -> Response {
    loop {
        let field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) | Err(_) => return failed(&caller, RouteError::MalformedBody),
        };
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().unwrap_or_default().to_owned();
        let kind = field.content_type().unwrap_or_default().to_owned();
        let file = StreamReader::new(field.map_err(std::io::Error::other));
        let kept = async {
            let file = HeaderFile::keep(console.lookup.log(), &name, &kind, file).await?;
            console.campaigns.set_header(&id, &file, caller.name()).await
        };
        return match kept.await {
            Ok(_) => Redirect::to(&format!("/campaigns/{id}")).into_response(),
            Err(rejected) => shown(&console, caller, &id, Some(rejected)).await,
        };
    }
}

#[derive(Deserialize)]
struct Pressed {
    action: Action,
}

async fn act(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    body: Result<Form<Pressed>, FormRejection>,
) -> Response {
    let Ok(Form(Pressed { action })) = body else { return failed(&caller, RouteError::MalformedBody) };
    match console.campaigns.act(&id, action, caller.name()).await {
        Ok(stored) => Redirect::to(&format!("/campaigns/{}", stored.definition.id)).into_response(),
        Err(rejected) => shown(&console, caller, &id, Some(rejected)).await,
    }
}

/// The file is read as it comes: the other fields stand before it.
async fn audience(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
    mut form: Multipart,
) -> Response {
    let mut country = String::new();
    loop {
        let field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) | Err(_) => return failed(&caller, RouteError::MalformedBody),
        };
        match field.name() {
            Some("country") => country = field.text().await.unwrap_or_default(),
            Some("file") => {
                let file = StreamReader::new(field.map_err(std::io::Error::other));
                let uploaded = console.campaigns.upload(&id, file, &country, caller.name()).await;
                return match uploaded {
                    Ok(_) => Redirect::to(&format!("/campaigns/{id}#audience")).into_response(),
                    Err(rejected) => shown(&console, caller, &id, Some(rejected)).await,
                };
            }
            Some(_) | None => {}
        }
    }
}
