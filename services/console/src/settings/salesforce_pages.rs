//! Settings > Integrations > Salesforce > MIAW.

use ::doctor::Finding;
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use domain::settings::Invalid;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Refused,
    changes::conflict,
    document,
    fields::{Form, Input, Kind, refill},
    hooks,
    integration::{self, Edit, Rule, SOURCES, View},
    keys::{self, Act},
};
use crate::{
    Console,
    access::{Caller, Configure, May, Operate, Read},
    error::RouteError,
    pages::{failed, page},
};

pub(super) async fn leads_on(_: May<Read>) -> Redirect {
    Redirect::to("/settings/salesforce")
}

#[derive(Template)]
#[template(path = "settings_salesforce.html")]
struct List {
    caller: Caller,
    editable: bool,
    integrations: Vec<View>,
    done: &'static str,
}

#[derive(Deserialize, Default)]
pub(super) struct Asked {
    #[serde(default)]
    done: String,
}

pub(super) async fn listed(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    Query(asked): Query<Asked>,
) -> Response {
    match console.editor.current().await {
        Ok(document) => {
            let done = if asked.done == "removed" { "The integration is removed." } else { "" };
            let (editable, integrations) = (console.editor.is_editable(), View::all(&document.value));
            page(StatusCode::OK, &List { caller, editable, integrations, done })
        }
        Err(error) => failed(&caller, error),
    }
}

#[derive(Template)]
#[template(path = "settings_integration.html")]
struct One {
    caller: Caller,
    /// May be changed here, by this caller.
    editable: bool,
    /// What stands instead of the forms.
    fixed: bool,
    revision: u64,
    /// None: it is being added.
    view: Option<View>,
    fields: Vec<Input>,
    advanced: Vec<Input>,
    advanced_open: bool,
    rules: Vec<Row>,
    sources: Vec<(&'static str, &'static str)>,
    /// Each key's id, and its JWK.
    jwks: Vec<(String, String)>,
    next_key: String,
    /// A key of the hook that was just made: this once.
    hook_made: String,
    hook_problem: String,
    steps: Vec<Finding>,
    problems: Vec<String>,
    done: &'static str,
}

/// A row of the mapping.
struct Row {
    rule: Rule,
    example: String,
}

impl Row {
    fn of(rule: Rule) -> Self {
        Self { example: rule.example(), rule }
    }
}

fn six(view: Option<&View>) -> Vec<Input> {
    let of = |get: fn(&View) -> &String| view.map(|view| get(view).clone()).unwrap_or_default();
    let has_key = view.is_some_and(|view| view.has_private_key);
    let kept = |name: &str| {
        let elsewhere = view.into_iter().flat_map(|view| &view.kept_elsewhere);
        elsewhere.filter_map(|kept| Some(kept.strip_prefix(name)?.strip_prefix(": ")?.to_owned())).next()
    };
    let private = match (kept("jwt_private_key"), has_key) {
        (Some(place), _) => format!("It is kept in {place}; paste another one to replace it"),
        (None, true) => "It is saved, and never shown; paste another one to replace it".into(),
        (None, false) => "-----BEGIN PRIVATE KEY-----".into(),
    };
    let private_help = if view.is_none() {
        "RSA, 2048 bits or more, the whole PEM with its BEGIN and END lines. Or leave it empty and press “Save with a new key pair”."
    } else {
        "RSA, 2048 bits or more, the whole PEM. Replacing it cuts handoffs until Salesforce knows the new one: better make a key beside it (Keys, below)."
    };
    let public = match kept("jwt_public_key") {
        Some(place) => format!("It is kept in {place}"),
        None => "Left empty, it is made from the private key".into(),
    };
    vec![
        Input::new("instance_url", "Instance URL", Kind::Line, of(|view| &view.instance_url))
            .help("Setup > My Domain: the org’s address, with https:// and nothing behind the host.")
            .placeholder("https://yourcompany.my.salesforce.com"),
        Input::new("es_developer_name", "ES Developer Name", Kind::Line, of(|view| &view.es_developer_name))
            .help("Setup > Embedded Service Deployments > your deployment (type Custom Client): its API Name, not its label.")
            .placeholder("Phone_Bridge_Client"),
        Input::new("org_id", "Salesforce Org ID", Kind::Line, of(|view| &view.org_id))
            .help("Setup > Company Information: Organization ID, 15 or 18 characters.")
            .placeholder("00D…"),
        Input::new("auth_key_id", "Auth Key ID", Kind::Line, of(|view| &view.auth_key_id))
            .help("Setup > User Verification > the key set: the key’s id (kid), byte for byte. For a key that is made here, choose one.")
            .placeholder("baton-1"),
        Input::new("jwt_private_key", "JWT Private Key", Kind::SecretArea, "")
            .help(private_help)
            .placeholder(private),
        Input::new("jwt_public_key", "JWT Public Key", Kind::Area, of(|view| &view.jwt_public_key))
            .help("The public half (PEM) or its certificate: what the key in Salesforce’s key set belongs to.")
            .placeholder(public),
    ]
}

fn more(view: Option<&View>) -> Vec<Input> {
    let of = |get: fn(&View) -> &String| view.map(|view| get(view).clone()).unwrap_or_default();
    let derived = of(|view| &view.derived_messaging_url);
    let messaging =
        if derived.is_empty() { "https://yourcompany.my.salesforce-scrt.com".into() } else { derived };
    let issuer = view.map_or(integration::ISSUER.to_owned(), |view| view.issuer.clone());
    let most = view.map_or(11_000, |view| view.max_live_sessions);
    vec![
        Input::new("issuer", "Issuer", Kind::Line, issuer)
            .help("Setup > User Verification: the key set’s issuer, byte for byte. Empty: baton.")
            .placeholder(integration::ISSUER),
        Input::new("messaging_url", "Messaging host", Kind::Line, of(|view| &view.messaging_url))
            .help("Left empty, it is derived from the Instance URL, as shown. The deployment’s code snippet (Install Code Snippet) has it as the SCRT2 URL.")
            .placeholder(messaging),
        Input::new("audience", "Audience", Kind::Line, of(|view| &view.audience))
            .help("Only for an org that checks the token’s aud. Left empty, tokens have none."),
        Input::new("max_live_sessions", "Messaging sessions at once", Kind::Number, most.to_string())
            .help("What the org takes at most. Whoever asks for a person beyond them waits, and is told so."),
    ]
}

fn edit(form: &Form) -> Result<Edit, Refused> {
    let mut wrong = Vec::new();
    let max_live_sessions = form.number("max_live_sessions", &mut wrong);
    if !wrong.is_empty() {
        return Err(Refused::Invalid(wrong));
    }
    Ok(Edit {
        instance_url: form.text("instance_url"),
        es_developer_name: form.text("es_developer_name"),
        org_id: form.text("org_id"),
        auth_key_id: form.text("auth_key_id"),
        jwt_private_key: form.typed("jwt_private_key"),
        jwt_public_key: form.typed("jwt_public_key"),
        issuer: form.text("issuer"),
        audience: form.text("audience"),
        messaging_url: form.text("messaging_url"),
        max_live_sessions,
        attributes: None,
    })
}

/// What a page is shown with beside the settings.
#[derive(Default)]
struct Beside<'a> {
    form: Option<&'a Form>,
    problems: Vec<Invalid>,
    steps: Vec<Finding>,
    done: &'static str,
    rules: Option<Vec<Rule>>,
    hook_made: String,
}

async fn one(console: &Console, caller: Caller, id: Option<&str>, beside: Beside<'_>) -> Response {
    let shown = async {
        let document = console.editor.current().await?;
        let view = id.map(|id| View::find(&document.value, id)).transpose()?;
        Ok::<_, RouteError>((document, view))
    };
    let (document, view) = match shown.await {
        Ok(shown) => shown,
        Err(error) => return failed(&caller, error),
    };
    let Beside { form, mut problems, steps, done, rules, hook_made } = beside;
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let of_hook = problems.iter().position(|one| one.field == "hook_key");
    let hook_problem = of_hook.map(|at| problems.swap_remove(at).problem).unwrap_or_default();
    let (mut fields, mut advanced) = (six(view.as_ref()), more(view.as_ref()));
    if view.is_none() {
        let id = Input::new("id", "Name", Kind::Line, "main").help(
            "What it is called here and in the address of its public keys. It cannot be changed later.",
        );
        fields.insert(0, id);
    }
    let filled = form.filter(|form| !form.get("instance_url").is_empty() || view.is_none());
    let others = refill(&mut [&mut fields, &mut advanced], filled, problems);
    let rules = rules.or_else(|| view.as_ref().map(|view| view.attributes.clone())).unwrap_or_default();
    let one = id.and_then(|id| document::find(&document.value, integration::LIST, id));
    let jwks = id.map_or(Value::Null, |id| keys::published(&document.value, id));
    let jwk = |jwk: &Value| {
        (document::text(jwk, "kid").to_owned(), serde_json::to_string_pretty(jwk).unwrap_or_default())
    };
    let jwks = document::all(&jwks, "keys").iter().map(jwk).collect();
    let shown = One {
        editable: console.editor.is_editable() && caller.may_configure(),
        fixed: !console.editor.is_editable(),
        revision: form.and_then(|form| form.revision().ok()).unwrap_or(document.revision),
        advanced_open: advanced.iter().any(|input| !input.problem.is_empty()),
        next_key: one.map_or("baton-1".into(), keys::next_id),
        rules: rules.into_iter().map(Row::of).collect(),
        sources: SOURCES.iter().map(|(name, words, _)| (*name, *words)).collect(),
        problems: others,
        caller,
        view,
        fields,
        advanced,
        jwks,
        hook_made,
        hook_problem,
        steps,
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
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let done = match asked.done.as_str() {
        "saved" => "Saved. Every service goes on with it by itself.",
        "key" => {
            "The key pair is made. Register its public half in Salesforce (below), then test the connection."
        }
        _ => "",
    };
    one(&console, caller, Some(&id), Beside { done, ..Beside::default() }).await
}

/// What becomes of a refusal: the form again, the list of what others changed, or a page of its own.
async fn again(
    console: &Console,
    caller: Caller,
    id: Option<&str>,
    form: &Form,
    refused: Refused,
    rules: Option<Vec<Rule>>,
) -> Response {
    match refused {
        Refused::Route(error) => failed(&caller, error),
        Refused::Changed(changes) => {
            conflict(caller, changes, format!("/settings/salesforce/{}", id.unwrap_or("new")))
        }
        Refused::Invalid(problems) => {
            let beside = Beside { form: Some(form), problems, rules, ..Beside::default() };
            one(console, caller, id, beside).await
        }
    }
}

pub(super) async fn added(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    form: Form,
) -> Response {
    let id = form.get("id").trim().to_owned();
    save(&console, caller, &id, true, &form).await
}

pub(super) async fn saved(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    form: Form,
) -> Response {
    save(&console, caller, &id, false, &form).await
}

async fn save(console: &Console, caller: Caller, id: &str, new: bool, form: &Form) -> Response {
    let make_key = form.get("do") == "key";
    let change = async {
        let revision = form.revision()?;
        console.editor.configuration()?;
        let mut edit = edit(form)?;
        let key = if make_key && edit.jwt_private_key.is_none() {
            let key_id = edit.auth_key_id.take().unwrap_or_default();
            let key_id =
                if key_id.trim().is_empty() { "baton-1".to_owned() } else { key_id.trim().to_owned() };
            edit.jwt_public_key = None;
            let issuer = edit.issuer.clone().filter(|issuer| !issuer.trim().is_empty());
            Some((key_id, keys::make(issuer.unwrap_or(integration::ISSUER.into())).await?))
        } else {
            None
        };
        let make = |document: &mut Value| {
            if new {
                integration::check_id(id)?;
                document::element(document, integration::LIST, id, true)?;
            }
            if let Some((key_id, made)) = key {
                let one = document::element(document, integration::LIST, id, false)?;
                keys::add(one, &key_id, made)?;
            }
            integration::apply(document, id, &edit, false)
        };
        console.editor.change(&caller, revision, make).await
    };
    match change.await {
        Ok(_) => {
            let done = if make_key { "key" } else { "saved" };
            Redirect::to(&format!("/settings/salesforce/{id}?done={done}")).into_response()
        }
        Err(refused) => again(console, caller, Some(id).filter(|_| !new), form, refused, None).await,
    }
}

pub(super) async fn mapped(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    form: Form,
) -> Response {
    let lengths = form.all("max_length").into_iter();
    let rules = form.all("key").into_iter().zip(form.all("source")).zip(lengths);
    let rules: Vec<Rule> = rules
        .filter(|((key, _), _)| !key.trim().is_empty())
        .map(|((key, source), length)| Rule {
            key: key.trim().to_owned(),
            source: source.to_owned(),
            max_length: length.trim().parse().unwrap_or_default(),
        })
        .collect();
    let edit = Edit { attributes: Some(rules.clone()), ..Edit::default() };
    let change = async {
        let make = |document: &mut Value| integration::apply(document, &id, &edit, false);
        console.editor.change(&caller, form.revision()?, make).await
    };
    match change.await {
        Ok(_) => Redirect::to(&format!("/settings/salesforce/{id}?done=saved#attributes")).into_response(),
        Err(refused) => again(&console, caller, Some(&id), &form, refused, Some(rules)).await,
    }
}

pub(super) async fn keys_changed(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    form: Form,
) -> Response {
    let key_id = form.get("auth_key_id").trim();
    let change = async {
        let revision = form.revision()?;
        let made = if form.get("do") == "make" {
            keys::check_key_id(key_id)?;
            console.editor.configuration()?;
            let known = View::find(&console.editor.current().await?.value, &id)?;
            Some(keys::make(known.issuer).await?)
        } else {
            None
        };
        let make = |document: &mut Value| match (made, form.get("do")) {
            (Some(made), _) => {
                keys::add(document::element(document, integration::LIST, &id, false)?, key_id, made)?;
                integration::check(document, &id)
            }
            (None, "sign") => keys::act(document, &id, key_id, Act::Sign),
            (None, "remove") => keys::act(document, &id, key_id, Act::Remove),
            (None, _) => Err(RouteError::MalformedBody.into()),
        };
        console.editor.change(&caller, revision, make).await
    };
    match change.await {
        Ok(_) => Redirect::to(&format!("/settings/salesforce/{id}?done=saved#keys")).into_response(),
        Err(refused) => again(&console, caller, Some(&id), &form, refused, None).await,
    }
}

pub(super) async fn hook_changed(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    form: Form,
) -> Response {
    let pasted = form.typed("hook_key");
    let made = pasted.is_none() && form.get("do") == "make";
    let change = async {
        let revision = form.revision()?;
        let key = pasted.map_or_else(hooks::make, Ok)?;
        let make = |document: &mut Value| match form.get("do") {
            "make" => hooks::add(document, &id, &key),
            "remove" => hooks::remove(document, &id, form.get("id")),
            _ => Err(RouteError::MalformedBody.into()),
        };
        console.editor.change(&caller, revision, make).await?;
        Ok::<_, Refused>(key)
    };
    match change.await {
        // In the answer to this very request, and nowhere else.
        Ok(hook_made) if made => {
            one(&console, caller, Some(&id), Beside { hook_made, ..Beside::default() }).await
        }
        Ok(_) => Redirect::to(&format!("/settings/salesforce/{id}?done=saved#hook")).into_response(),
        Err(refused) => again(&console, caller, Some(&id), &form, refused, None).await,
    }
}

pub(super) async fn tested(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
) -> Response {
    let tried = async {
        let document = console.editor.current().await?;
        let integration = integration::typed(&document.value, &id)?;
        tracing::info!(by = caller.name(), "a connection to Salesforce was tested");
        Ok::<_, Refused>(::doctor::try_connection(&integration).await)
    };
    match tried.await {
        Ok(steps) => one(&console, caller, Some(&id), Beside { steps, ..Beside::default() }).await,
        Err(refused) => again(&console, caller, Some(&id), &Form::default(), refused, None).await,
    }
}

pub(super) async fn removed(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    form: Form,
) -> Response {
    let change = async {
        if !form.is_ticked("confirmed") {
            return Err(RouteError::NotConfirmed.into());
        }
        let make = |document: &mut Value| document::remove(document, integration::LIST, &id);
        console.editor.change(&caller, form.revision()?, make).await
    };
    match change.await {
        Ok(_) => Redirect::to("/settings/salesforce?done=removed").into_response(),
        Err(refused) => again(&console, caller, Some(&id), &form, refused, None).await,
    }
}
