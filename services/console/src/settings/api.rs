//! The settings as JSON: the same changes and checks as the pages'.

use axum::{
    Json,
    extract::{
        DefaultBodyLimit, Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    routing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    MAX_BODY_BYTES, Refused, answers, changes, channel, document, general, hooks, integration,
    keys::{self, Act},
    status::{Status, Template},
};
use crate::{
    Console,
    access::{Configure, May, Operate, Read, Right},
    error::RouteError,
    openapi::{Api, Operation, schema, taken},
};

/// A change, and the revision that it is based on (GET /settings tells it).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Save<T> {
    revision: u64,
    change: T,
}

#[derive(Serialize, JsonSchema)]
struct Saved {
    /// Of the settings as they are now.
    revision: u64,
}

#[derive(Serialize, JsonSchema)]
struct All {
    /// False: they are in a file, and are changed there.
    editable: bool,
    revision: u64,
    general: general::View,
    channels: Vec<channel::View>,
    integrations: Vec<integration::View>,
    /// What assistants without a model answer.
    answers: Vec<answers::Entry>,
}

#[derive(Serialize, JsonSchema)]
struct Changes {
    changes: Vec<changes::Told>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// What Salesforce knows it by (kid).
    auth_key_id: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeyAct {
    auth_key_id: String,
    act: Act,
}

#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct NewHookKey {
    /// 32 characters or more; left out: one is made.
    key: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct MadeHookKey {
    /// Of the settings as they are now.
    revision: u64,
    /// Told this once, and never again.
    key: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OldHookKey {
    /// As GET /settings tells it.
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Candidate {
    phone_number_id: String,
    waba_id: String,
    access_token: String,
}

#[derive(Serialize, JsonSchema)]
struct Templates {
    templates: Vec<Template>,
    more: bool,
}

/// Below `/api/v1`.
pub(crate) fn api() -> Api {
    let id = || json!({"type": "string", "minLength": 1, "maxLength": 64});
    let revision = || json!({"type": "integer", "minimum": 0});
    let fails = [
        RouteError::MalformedBody,
        RouteError::ReferenceRefused,
        RouteError::SettingsReadOnly,
        RouteError::SettingsChanged,
        RouteError::SettingsInvalid,
        RouteError::SettingsSealed,
        RouteError::SettingsTooLarge,
    ];
    let saves = |summary, unknown: RouteError| {
        Operation::new(summary, Right::Configure)
            .id(id())
            .answers(200, "The settings are at this revision", schema::<Saved>())
            .fails(&fails)
            .fails(&[unknown])
    };
    let (channel, integration) = (RouteError::UnknownChannel, RouteError::UnknownIntegration);
    let limit = || DefaultBodyLimit::max(MAX_BODY_BYTES);
    Api::new("Settings")
        .get(
            "/settings",
            all,
            Operation::new("Numbers and integrations, without their secrets", Right::Read)
                .answers(200, "As they are now", schema::<All>())
                .fails(&[RouteError::SettingsSealed]),
        )
        .get(
            "/settings/changes",
            list_changes,
            Operation::new("Who changed which paths, never to what", Right::Read)
                .answers(200, "The newest 100", schema::<Changes>())
                .fails(&[RouteError::SettingsSealed]),
        )
        .on(
            "put",
            "/settings/general",
            routing::put(put_general),
            Operation::new("The assistants’ switch, and what webhooks are known by", Right::Configure)
                .body(taken::<Save<general::Edit>>())
                .answers(200, "The settings are at this revision", schema::<Saved>())
                .fails(&fails),
        )
        .on(
            "put",
            "/settings/answers",
            routing::put(put_answers).layer(limit()),
            Operation::new("What assistants without a model answer", Right::Configure)
                .body(taken::<Save<answers::Edit>>())
                .answers(200, "The settings are at this revision", schema::<Saved>())
                .fails(&fails),
        )
        .on(
            "put",
            "/settings/integrations/{id}",
            routing::put(put_integration).layer(limit()),
            saves("Change an integration, or add it", integration).body(taken::<Save<integration::Edit>>()),
        )
        .on(
            "delete",
            "/settings/integrations/{id}",
            routing::delete(delete_integration),
            saves("Remove an integration that no number uses", integration)
                .query("revision", "What the removal is based on", revision())
                .fails(&[RouteError::MalformedRevision]),
        )
        .post(
            "/settings/integrations/{id}/keys",
            make_key,
            saves("Make a key pair; its private half is kept and never told", integration)
                .body(taken::<Save<NewKey>>()),
        )
        .post(
            "/settings/integrations/{id}/keys/act",
            act_on_key,
            saves("Let a key sign from now on, or remove it", integration).body(taken::<Save<KeyAct>>()),
        )
        .post(
            "/settings/integrations/{id}/hook-keys",
            add_hook_key,
            Operation::new("Let the integration’s hook be called with one more key", Right::Configure)
                .id(id())
                .body(taken::<Save<NewHookKey>>())
                .answers(200, "The key, this once", schema::<MadeHookKey>())
                .fails(&fails)
                .fails(&[integration]),
        )
        .post(
            "/settings/integrations/{id}/hook-keys/remove",
            remove_hook_key,
            saves("Let the hook not be called with a key any more", integration)
                .body(taken::<Save<OldHookKey>>()),
        )
        .get(
            "/settings/integrations/{id}/jwks",
            jwks,
            Operation::new("The public keys, as Salesforce wants them (x5c)", Right::Read)
                .id(id())
                .answers(200, "A JWKS; null while the integration is not complete", json!({}))
                .fails(&[integration, RouteError::SettingsSealed]),
        )
        .post(
            "/settings/integrations/{id}/test",
            test,
            Operation::new(
                "Test the connection: token, event stream, a real conversation that is closed at once",
                Right::Operate,
            )
            .id(id())
            .answers(200, "Each step", json!({"type": "object", "required": ["steps"]}))
            .fails(&[integration, RouteError::SettingsInvalid, RouteError::SettingsSealed]),
        )
        .on(
            "put",
            "/settings/channels/{number}",
            routing::put(put_channel).layer(limit()),
            saves("Change a number, or add it", channel).body(taken::<Save<channel::Edit>>()),
        )
        .on(
            "delete",
            "/settings/channels/{number}",
            routing::delete(delete_channel),
            saves("Remove a number: nothing that comes on it is taken any more", channel)
                .query("revision", "What the removal is based on", revision())
                .fails(&[RouteError::MalformedRevision]),
        )
        .get(
            "/settings/channels/{number}/status",
            status,
            Operation::new("The number as Meta tells of it", Right::Read)
                .id(id())
                .answers(200, "What Meta did not tell is empty", schema::<Status>())
                .fails(&[channel, RouteError::MetaAway, RouteError::SettingsInvalid])
                .fails(&[RouteError::SettingsSealed]),
        )
        .get(
            "/settings/channels/{number}/templates",
            templates,
            Operation::new("Templates of the number’s account", Right::Read)
                .id(id())
                .answers(200, "200 at most", schema::<Templates>())
                .fails(&[channel, RouteError::MetaAway, RouteError::MetaRefused])
                .fails(&[RouteError::SettingsInvalid, RouteError::SettingsSealed]),
        )
        .post(
            "/settings/channels/{number}/subscribe",
            subscribe,
            Operation::new("Let the account’s webhooks come to the token’s app", Right::Configure)
                .id(id())
                .nothing(204, "They come")
                .fails(&[channel, RouteError::MetaAway, RouteError::MetaRefused])
                .fails(&[RouteError::SettingsInvalid, RouteError::SettingsSealed]),
        )
        .on(
            "post",
            "/settings/check-channel",
            routing::post(check_channel).layer(limit()),
            Operation::new("Ask Meta about a number that is not in the settings yet", Right::Configure)
                .body(taken::<Candidate>())
                .answers(200, "Each finding", json!({"type": "object", "required": ["findings"]}))
                .fails(&[RouteError::MalformedBody, RouteError::ReferenceRefused])
                .fails(&[RouteError::SettingsInvalid, RouteError::MetaAway]),
        )
}

type Body = Result<Json<Value>, JsonRejection>;

/// Texts only: a reference would make this machine read its own files for whoever sends it.
fn plain<T: DeserializeOwned>(body: Body) -> Result<T, RouteError> {
    let Json(value) = body.map_err(|_| RouteError::MalformedBody)?;
    if document::refers(&value) {
        return Err(RouteError::ReferenceRefused);
    }
    serde_json::from_value(value).map_err(|_| RouteError::MalformedBody)
}

async fn all(State(console): State<Console>, _: May<Read>) -> Result<Json<All>, RouteError> {
    let document = console.editor.current().await?;
    let value = &document.value;
    Ok(Json(All {
        editable: console.editor.is_editable(),
        revision: document.revision,
        general: general::View::of(value),
        channels: channel::View::all(value),
        integrations: integration::View::all(value),
        answers: answers::of(value),
    }))
}

async fn list_changes(State(console): State<Console>, _: May<Read>) -> Result<Json<Changes>, RouteError> {
    let changes = console.editor.changes(changes::MOST).await?;
    Ok(Json(Changes { changes: changes.into_iter().map(changes::Told::of).collect() }))
}

async fn put_general(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    body: Body,
) -> Result<Json<Saved>, Refused> {
    let Save { revision, change } = plain::<Save<general::Edit>>(body)?;
    let make = |document: &mut Value| general::apply(document, &change);
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

async fn put_answers(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    body: Body,
) -> Result<Json<Saved>, Refused> {
    let Save { revision, change } = plain::<Save<answers::Edit>>(body)?;
    let make = |document: &mut Value| answers::apply(document, &change);
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

async fn add_hook_key(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<MadeHookKey>, Refused> {
    let Save { revision, change } = plain::<Save<NewHookKey>>(body)?;
    let key = change.key.map_or_else(hooks::make, Ok)?;
    let make = |document: &mut Value| hooks::add(document, &id, &key);
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(MadeHookKey { revision, key }))
}

async fn remove_hook_key(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Saved>, Refused> {
    let Save { revision, change } = plain::<Save<OldHookKey>>(body)?;
    let make = |document: &mut Value| hooks::remove(document, &id, &change.id);
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

async fn put_integration(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Saved>, Refused> {
    let Save { revision, change } = plain::<Save<integration::Edit>>(body)?;
    let make = |document: &mut Value| {
        let new = document::find(document, integration::LIST, &id).is_none();
        integration::apply(document, &id, &change, new)
    };
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

#[derive(Deserialize)]
struct BasedOn {
    revision: u64,
}

type Based = Result<Query<BasedOn>, QueryRejection>;

async fn delete_integration(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    based: Based,
) -> Result<Json<Saved>, Refused> {
    let Query(BasedOn { revision }) = based.map_err(|_| RouteError::MalformedRevision)?;
    let make = |document: &mut Value| document::remove(document, integration::LIST, &id);
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

async fn make_key(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Saved>, Refused> {
    let Save { revision, change } = plain::<Save<NewKey>>(body)?;
    keys::check_key_id(&change.auth_key_id)?;
    let known = integration::View::find(&console.editor.current().await?.value, &id)?;
    console.editor.configuration()?;
    let made = keys::make(known.issuer).await?;
    let make = |document: &mut Value| {
        let one = document::element(document, integration::LIST, &id, false)?;
        keys::add(one, &change.auth_key_id, made)?;
        integration::check(document, &id)
    };
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

async fn act_on_key(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Saved>, Refused> {
    let Save { revision, change } = plain::<Save<KeyAct>>(body)?;
    let make = |document: &mut Value| keys::act(document, &id, &change.auth_key_id, change.act);
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

async fn jwks(
    State(console): State<Console>,
    _: May<Read>,
    Path(id): Path<String>,
) -> Result<Json<Value>, RouteError> {
    let document = console.editor.current().await?;
    integration::View::find(&document.value, &id)?;
    Ok(Json(keys::published(&document.value, &id)))
}

async fn test(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let document = console.editor.current().await?;
    let integration = integration::typed(&document.value, &id)?;
    tracing::info!(by = caller.name(), "a connection to Salesforce was tested");
    Ok(Json(json!({ "steps": ::doctor::try_connection(&integration).await })))
}

async fn put_channel(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
    body: Body,
) -> Result<Json<Saved>, Refused> {
    let Save { revision, change } = plain::<Save<channel::Edit>>(body)?;
    let make = |document: &mut Value| {
        let new = document::find(document, channel::LIST, &number).is_none();
        channel::apply(document, &number, &change, new)
    };
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

async fn delete_channel(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
    based: Based,
) -> Result<Json<Saved>, Refused> {
    let Query(BasedOn { revision }) = based.map_err(|_| RouteError::MalformedRevision)?;
    let make = |document: &mut Value| document::remove(document, channel::LIST, &number);
    let revision = console.editor.change(&caller, revision, make).await?;
    Ok(Json(Saved { revision }))
}

async fn status(
    State(console): State<Console>,
    _: May<Read>,
    Path(number): Path<String>,
) -> Result<Json<Status>, Refused> {
    let channel = channel::typed(&console.editor.current().await?.value, &number)?;
    let status = console.editor.statuses.of(&[channel]).await.pop().flatten();
    Ok(Json(status.ok_or(RouteError::MetaAway)?.as_ref().clone()))
}

async fn templates(
    State(console): State<Console>,
    _: May<Read>,
    Path(number): Path<String>,
) -> Result<Json<Templates>, Refused> {
    let channel = channel::typed(&console.editor.current().await?.value, &number)?;
    let (templates, more) = console.editor.statuses.templates(&channel).await?;
    Ok(Json(Templates { templates, more }))
}

async fn subscribe(
    State(console): State<Console>,
    May { caller, .. }: May<Configure>,
    Path(number): Path<String>,
) -> Result<axum::http::StatusCode, Refused> {
    let channel = channel::typed(&console.editor.current().await?.value, &number)?;
    console.editor.statuses.subscribe(&channel).await?;
    tracing::info!(by = caller.name(), number, "webhooks were subscribed to");
    Ok(axum::http::StatusCode::NO_CONTENT)
}

async fn check_channel(
    State(console): State<Console>,
    _: May<Configure>,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let Candidate { phone_number_id, waba_id, access_token } = plain(body)?;
    let edit = channel::Edit {
        waba_id: Some(waba_id),
        access_token: Some(access_token),
        name: Some("new".into()),
        display_phone_number: Some("+".into()),
        ..channel::Edit::default()
    };
    let mut document = json!({ "channels": [] });
    channel::apply(&mut document, &phone_number_id, &edit, true)?;
    let channel = channel::typed(&document, &phone_number_id)?;
    let client = console.editor.statuses.client().ok_or(RouteError::MetaAway)?;
    Ok(Json(json!({ "findings": ::doctor::check_channel(&channel, client).await })))
}
