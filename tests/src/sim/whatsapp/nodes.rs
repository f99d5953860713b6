//! `GET`, `POST`, `DELETE /{id}`: numbers, accounts, apps, templates and files share one space of
//! ids (`whatsapp-cloud-api.md` §8).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{WhatsApp, api::Outcome, errors::Refusal, state::Line, wire};
use crate::sim::server::{Answer, Call};

/// What a number shows unasked.
const UNASKED: &str = "verified_name,code_verification_status,display_phone_number,quality_rating,\
                       platform_type,throughput,last_onboarded_time,webhook_configuration";

/// A number as people write it.
pub(super) fn formatted(digits: &str) -> String {
    match digits.strip_prefix('1') {
        Some(rest) if rest.len() == 10 => format!("+1 {}-{}-{}", &rest[..3], &rest[3..6], &rest[6..]),
        _ => format!("+{digits}"),
    }
}

/// The fields of a phone node.
pub(super) fn phone_node(line: &Line, fields: Option<&str>) -> Value {
    let (number, setup) = (&line.number, &line.setup);
    let mut callbacks = json!({ "application": number.callback_url });
    for (key, callback) in
        [("phone_number", &setup.number_callback), ("whatsapp_business_account", &setup.waba_callback)]
    {
        if let Some(callback) = callback {
            callbacks[key] = callback.as_str().into();
        }
    }
    let all = json!({
        "display_phone_number": formatted(&number.display_phone_number),
        "verified_name": setup.verified_name, "status": setup.status, "quality_rating": setup.quality_rating,
        "code_verification_status": setup.code_verification_status, "name_status": setup.name_status,
        "platform_type": "CLOUD_API", "throughput": { "level": setup.throughput },
        "whatsapp_business_manager_messaging_limit": setup.messaging_limit,
        "webhook_configuration": callbacks, "account_mode": setup.account_mode,
        "is_official_business_account": setup.is_official_business_account,
        "is_on_biz_app": setup.is_on_biz_app, "last_onboarded_time": "2026-01-05T10:00:00+0000",
        "health_status": setup.health_status("PHONE_NUMBER", &number.phone_number_id, &number.waba_id),
    });
    pick(&all, fields.unwrap_or(UNASKED), &number.phone_number_id)
}

/// The members asked for, and the id.
fn pick(all: &Value, fields: &str, id: &str) -> Value {
    let mut node: Map<String, Value> = fields
        .split(',')
        // `health_status{can_send_message}` and the like: the whole.
        .map(|field| field.split('{').next().unwrap_or_default().trim())
        .filter_map(|field| Some((field.to_owned(), all.get(field)?.clone())))
        .collect();
    node.insert("id".to_owned(), id.into());
    Value::Object(node)
}

impl WhatsApp {
    pub(super) async fn node(
        self: &Arc<Self>,
        id: &str,
        version: &str,
        call: &Call,
    ) -> Result<Outcome, Refusal> {
        let token = call.token();
        let known = self.lock().numbers.values().any(|line| line.accepts(token));
        if !known {
            return Err(Refusal::of(190));
        }
        match call.method.as_str() {
            "GET" => self.show(id, version, call).map(Outcome::from),
            "POST" if self.lock().numbers.contains_key(id) => {
                self.authorised(id, call)?;
                self.change_number(id, version, call).await.map(Outcome::from)
            }
            "DELETE" => self.media_delete(id, version, call).map(Outcome::from),
            method => Err(Refusal::unknown_object(method, id)),
        }
    }

    fn show(&self, id: &str, version: &str, call: &Call) -> Result<Answer, Refusal> {
        let token = call.token();
        let fields = call.query.get("fields").map(String::as_str);
        let state = self.lock();
        let mut own = state.numbers.values().filter(|line| line.accepts(token));
        let node =
            own.clone().find(|line| line.number.phone_number_id == id).map(|line| phone_node(line, fields));
        let node = node.or_else(|| {
            let line = own.clone().find(|line| line.number.waba_id == id)?;
            let all = json!({
                "name": line.setup.verified_name, "timezone_id": "1", "currency": "USD",
                "account_review_status": "APPROVED", "business_verification_status": "verified",
                "message_template_namespace": "made_up_namespace",
                "health_status": line.setup.health_status("WABA", id, id),
            });
            Some(pick(&all, fields.unwrap_or("name,timezone_id,message_template_namespace"), id))
        });
        let node = node.or_else(|| {
            let template = state.templates.iter().find(|template| template.id == id)?;
            let line = own.clone().find(|line| line.number.waba_id == template.waba_id)?;
            let mut node = template.node(fields);
            if fields.is_some_and(|fields| fields.contains("health_status")) {
                node["health_status"] = line.setup.health_status("MESSAGE_TEMPLATE", id, &template.waba_id);
            }
            Some(node)
        });
        let node = node.or_else(|| {
            let line = own.find(|line| line.setup.app_id == id)?;
            Some(json!({ "id": id, "name": line.setup.app_name }))
        });
        drop(state);
        match node {
            Some(node) => Ok(wire::graph(200, version, &node)),
            None => self.media_info(id, version, call),
        }
    }

    /// `POST /{phone_number_id}`: the override of its webhook, or a PIN.
    async fn change_number(&self, id: &str, version: &str, call: &Call) -> Result<Answer, Refusal> {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let change = &body["webhook_configuration"];
        if let Some(url) = change["override_callback_uri"].as_str() {
            let callback =
                self.checked_callback(url, change["verify_token"].as_str().unwrap_or_default()).await?;
            if let Some(line) = self.lock().numbers.get_mut(id) {
                line.setup.number_callback = callback;
            }
        }
        Ok(wire::graph(200, version, &json!({ "success": true })))
    }

    /// The handshake runs before a callback is taken; an empty one takes it back (§1.7).
    pub(super) async fn checked_callback(&self, url: &str, token: &str) -> Result<Option<String>, Refusal> {
        if url.is_empty() {
            return Ok(None);
        }
        if url.chars().count() > 200 {
            return Err(Refusal::because(100, "The callback URL is longer than 200 characters."));
        }
        match self.handshake(url, token).await {
            Ok(_) => Ok(Some(url.to_owned())),
            Err(error) => Err(Refusal::because(100, &format!("Callback verification failed: {error:#}"))),
        }
    }
}
