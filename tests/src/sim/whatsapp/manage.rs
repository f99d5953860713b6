//! Management calls (`whatsapp-cloud-api.md` §7.2, §8): numbers and templates of an account, the
//! app's subscriptions, tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{WhatsApp, errors::Refusal, nodes::phone_node, state::Line, wire};
use crate::sim::server::{Answer, Call};

pub(super) const HOUR_MS: i64 = 3_600_000;
/// Objects on a page, unless asked for otherwise, and at most.
const PAGE: usize = 25;
const MAX_PAGE: usize = 1_000;

fn cursor(position: usize, generation: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("{position}.{generation}"))
}

/// The position behind a cursor; none if the list has changed since.
fn position(cursor: &str, generation: usize) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (position, of) = text.split_once('.')?;
    if of.parse() == Ok(generation) { position.parse().ok() } else { None }
}

impl WhatsApp {
    /// The token must belong to a number of the account, and may do so many calls an hour.
    fn manages(&self, waba_id: &str, call: &Call) -> Result<(), Refusal> {
        let mut state = self.lock();
        let token = call.token();
        if !state.numbers.values().any(|line| line.accepts(token)) {
            return Err(Refusal::of(190));
        }
        let own = state.numbers.values().find(|line| line.accepts(token) && line.number.waba_id == waba_id);
        let number = own.map(|line| line.number.phone_number_id.clone());
        let number = number.ok_or_else(|| Refusal::unknown_object(call.method.as_str(), waba_id))?;
        self.may(&state, &number, "whatsapp_business_management")?;
        let now = state.now_ms();
        let limit = state.config.management_per_hour;
        let (began, calls) = state.management.entry(waba_id.to_owned()).or_insert((now, 0));
        if now - *began >= HOUR_MS {
            (*began, *calls) = (now, 0);
        }
        if limit.is_some_and(|limit| *calls >= limit) {
            return Err(Refusal::of(80_007));
        }
        *calls += 1;
        Ok(())
    }

    /// `GET /{waba_id}/phone_numbers`.
    pub(super) fn phone_numbers(&self, waba_id: &str, version: &str, call: &Call) -> Result<Answer, Refusal> {
        self.manages(waba_id, call)?;
        let fields = call.query.get("fields").map(String::as_str);
        let state = self.lock();
        let lines = state.numbers.values().filter(|line| line.number.waba_id == waba_id);
        let data: Vec<Value> = lines.map(|line| phone_node(line, fields)).collect();
        let body =
            json!({ "data": data, "paging": { "cursors": { "before": "MAZDZD", "after": "MAZDZD" } } });
        Ok(wire::graph(200, version, &body))
    }

    /// `GET /{waba_id}/message_templates`.
    pub(super) fn list_templates(
        &self,
        waba_id: &str,
        version: &str,
        call: &Call,
    ) -> Result<Answer, Refusal> {
        self.manages(waba_id, call)?;
        let query = |name: &str| call.query.get(name).map(String::as_str);
        let state = self.lock();
        let fits = |name: &str, value: &str| {
            query(name).is_none_or(|wanted| wanted.split(',').any(|wanted| wanted == value))
        };
        let all: Vec<_> = state
            .templates
            .iter()
            .filter(|template| template.waba_id == waba_id)
            .filter(|t| fits("status", &t.status) && fits("category", &t.category))
            .filter(|t| fits("language", &t.language))
            .filter(|t| query("name").is_none_or(|part| t.name.contains(part)))
            .collect();
        let generation = all.len();
        let limit = query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let first = match query("after") {
            Some(after) => position(after, generation).ok_or_else(|| Refusal::of(131_059))?,
            None => 0,
        };
        let data: Vec<Value> =
            all.iter().skip(first).take(limit).map(|template| template.node(query("fields"))).collect();
        let next = first + data.len();
        let mut body = json!({ "data": data });
        if !data.is_empty() {
            body["paging"] = json!({
                "cursors": { "before": cursor(first, generation), "after": cursor(next, generation) },
            });
        }
        // Fields as a public client reads them (pywa).
        if let Some(asked) = query("summary") {
            let total = state.templates.iter().filter(|template| template.waba_id == waba_id).count();
            let known = json!({
                "total_count": all.len(), "message_template_count": total,
                "message_template_limit": 250, "are_translations_complete": true,
            });
            body["summary"] = asked
                .split(',')
                .filter_map(|field| Some((field.to_owned(), known.get(field)?.clone())))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        if next < all.len() {
            let others =
                call.query.iter().filter(|(key, _)| !matches!(key.as_str(), "after" | "access_token"));
            let others: String = others.map(|(key, value)| format!("{key}={value}&")).collect();
            let base = &state.base_url;
            let after = cursor(next, generation);
            let next = format!("{base}/{version}/{waba_id}/message_templates?{others}after={after}");
            body["paging"]["next"] = next.into();
        }
        Ok(wire::graph(200, version, &body))
    }

    /// `GET`, `POST`, `DELETE /{waba_id}/subscribed_apps`.
    pub(super) async fn subscribed_apps(
        &self,
        waba_id: &str,
        version: &str,
        call: &Call,
    ) -> Result<Answer, Refusal> {
        self.manages(waba_id, call)?;
        let success = json!({ "success": true });
        match call.method.as_str() {
            "GET" => {
                let state = self.lock();
                let line = state.numbers.values().find(|line| line.number.waba_id == waba_id);
                let data = line.filter(|line| line.setup.subscribed).map_or(json!([]), |line| {
                    let (id, name) = (&line.setup.app_id, &line.setup.app_name);
                    let link = format!("https://www.facebook.com/games/?app_id={id}");
                    let mut app = json!({
                        "whatsapp_business_api_data": { "id": id, "link": link, "name": name },
                    });
                    if let Some(callback) = &line.setup.waba_callback {
                        app["override_callback_uri"] = callback.as_str().into();
                    }
                    json!([app])
                });
                Ok(wire::graph(200, version, &json!({ "data": data })))
            }
            "DELETE" => {
                self.of_account(waba_id, |line| {
                    line.setup.subscribed = false;
                    line.setup.waba_callback = None;
                });
                Ok(wire::graph(200, version, &success))
            }
            _ => {
                let (url, token) =
                    (parameter(call, "override_callback_uri"), parameter(call, "verify_token"));
                let callback = match url {
                    Some(url) => self.checked_callback(&url, &token.unwrap_or_default()).await?,
                    None => None,
                };
                self.of_account(waba_id, |line| {
                    line.setup.subscribed = true;
                    line.setup.waba_callback.clone_from(&callback);
                });
                Ok(wire::graph(200, version, &success))
            }
        }
    }

    fn of_account(&self, waba_id: &str, change: impl Fn(&mut Line)) {
        let mut state = self.lock();
        state.numbers.values_mut().filter(|line| line.number.waba_id == waba_id).for_each(change);
    }

    /// `GET`, `POST /{app_id}/subscriptions`, with an app token (`<app id>|<app secret>`).
    pub(super) async fn subscriptions(
        &self,
        app_id: &str,
        version: &str,
        call: &Call,
    ) -> Result<Answer, Refusal> {
        {
            let state = self.lock();
            let own = state.numbers.values().find(|line| line.setup.app_id == app_id);
            let line = own.ok_or_else(|| Refusal::unknown_object(call.method.as_str(), app_id))?;
            if call.token() != format!("{app_id}|{}", line.number.app_secret) {
                let user = state.numbers.values().any(|line| line.accepts(call.token()));
                return Err(Refusal::of(if user { 10 } else { 190 }));
            }
            if call.method == "GET" {
                let fields: Vec<Value> = line
                    .setup
                    .fields
                    .iter()
                    .map(|name| json!({ "name": name, "version": version }))
                    .collect();
                let data = json!([{
                    "object": "whatsapp_business_account", "callback_url": line.number.callback_url,
                    "active": true, "fields": fields,
                }]);
                return Ok(wire::graph(200, version, &json!({ "data": data })));
            }
        }
        let url = parameter(call, "callback_url").ok_or_else(|| Refusal::because(100, "callback_url"))?;
        let token = parameter(call, "verify_token").unwrap_or_default();
        let callback = self.checked_callback(&url, &token).await?.unwrap_or_default();
        let fields: Option<Vec<String>> = parameter(call, "fields")
            .map(|fields| fields.split(',').map(|field| field.trim().to_owned()).collect());
        let mut state = self.lock();
        for line in state.numbers.values_mut().filter(|line| line.setup.app_id == app_id) {
            line.number.callback_url.clone_from(&callback);
            line.number.verify_token.clone_from(&token);
            if let Some(fields) = &fields {
                line.setup.fields.clone_from(fields);
            }
        }
        Ok(wire::graph(200, version, &json!({ "success": true })))
    }

    /// `GET /debug_token?input_token=`.
    pub(super) fn debug_token(&self, version: &str, call: &Call) -> Result<Answer, Refusal> {
        let state = self.lock();
        let asker = call.token();
        let app = |line: &Line| format!("{}|{}", line.setup.app_id, line.number.app_secret);
        if !state.numbers.values().any(|line| line.accepts(asker) || app(line) == asker) {
            return Err(Refusal::of(190));
        }
        let input = call.query.get("input_token").ok_or_else(|| Refusal::because(100, "input_token"))?;
        let Some(line) = state.numbers.values().find(|line| line.number.token == *input) else {
            let error = json!({ "code": 190, "message": "Invalid OAuth access token." });
            let data = json!({ "error": error, "is_valid": false, "scopes": [] });
            return Ok(wire::graph(200, version, &json!({ "data": data })));
        };
        let (setup, now) = (&line.setup, state.now_ms() / 1_000);
        let valid = setup.token_valid && (setup.token_expires_at == 0 || now < setup.token_expires_at);
        let granular: Vec<Value> = setup
            .scopes
            .iter()
            .map(|scope| json!({ "scope": scope, "target_ids": [line.number.waba_id] }))
            .collect();
        let mut data = json!({
            "app_id": setup.app_id, "type": "SYSTEM_USER", "application": setup.app_name,
            "data_access_expires_at": 0, "expires_at": setup.token_expires_at, "is_valid": valid,
            "issued_at": 1_795_400_000, "scopes": setup.scopes, "granular_scopes": granular,
            "user_id": "550033001100001",
        });
        if !valid {
            data["error"] = json!({ "code": 190, "message": "Session has expired.", "subcode": 463 });
        }
        Ok(wire::graph(200, version, &json!({ "data": data })))
    }

    /// `GET /oauth/access_token` with the app's id and secret.
    pub(super) fn app_token(&self, version: &str, call: &Call) -> Result<Answer, Refusal> {
        let state = self.lock();
        let query = |name: &str| call.query.get(name).map_or("", String::as_str);
        let (id, secret) = (query("client_id"), query("client_secret"));
        let good =
            state.numbers.values().any(|line| line.setup.app_id == id && line.number.app_secret == secret);
        if !good || query("grant_type") != "client_credentials" {
            return Err(Refusal::because(100, "client_secret"));
        }
        let body = json!({ "access_token": format!("{id}|{secret}"), "token_type": "bearer" });
        Ok(wire::graph(200, version, &body))
    }
}

/// From the query, a JSON body or a form.
fn parameter(call: &Call, name: &str) -> Option<String> {
    if let Some(value) = call.query.get(name) {
        return Some(value.clone());
    }
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    match &body[name] {
        Value::String(value) => Some(value.clone()),
        Value::Array(values) => Some(values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}
