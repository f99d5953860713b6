//! The Cloud API's side: which call is which, the faults that strike it, and the record of it.

use std::{sync::Arc, time::Duration};

use axum::http::HeaderValue;
use serde_json::{Value, json};

use super::{WhatsApp, errors::Refusal, state::State, wire};
use crate::sim::{
    faults::Fault,
    record::What,
    server::{Answer, Call, Dropped, answer, gateway_page, not_simulated, pause},
};

/// How long an ordered time-out keeps the connection, if the caller does not give up before.
const NEVER: Duration = Duration::from_secs(600);

/// What one request was about, for the record.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) number: Option<String>,
    pub(super) customer: Option<String>,
    pub(super) opaque: Option<String>,
    pub(super) wamid: Option<String>,
    pub(super) code: Option<i64>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Answer),
    NotSimulated,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// The endpoint as the record and [`Rule`](crate::sim::Rule)s call it, the version, the node's id.
fn route(call: &Call) -> (&'static str, String, String) {
    let segments = call.segments();
    let (version, rest) = match segments.as_slice() {
        [version, rest @ ..] if is_version(version) => ((*version).to_owned(), rest),
        ["whatsapp_business", "attachments"] => return ("media_download", String::new(), String::new()),
        ["elsewhere"] => return ("elsewhere", String::new(), String::new()),
        _ => return ("other", String::new(), String::new()),
    };
    let (name, id) = match (call.method.as_str(), rest) {
        ("GET", ["debug_token"]) => ("debug_token", ""),
        ("GET", ["oauth", "access_token"]) => ("app_token", ""),
        ("POST", [id, "messages"]) => ("messages", *id),
        // The same body; only its endpoint optimises delivery (§5.3).
        ("POST", [id, "marketing_messages"]) => ("marketing_messages", *id),
        ("GET", [id, "message_history"]) => ("message_history", *id),
        ("POST", [id, "media"]) => ("media_upload", *id),
        ("POST", [id, "thread_control"]) => ("thread_control", *id),
        ("POST", [id, "register" | "deregister" | "settings"]) => ("registration", *id),
        ("GET", [id, "phone_numbers"]) => ("phone_numbers", *id),
        ("GET", [id, "message_templates"]) => ("message_templates", *id),
        ("GET" | "POST" | "DELETE", [id, "subscribed_apps"]) => ("subscribed_apps", *id),
        ("GET" | "POST", [id, "subscriptions"]) => ("subscriptions", *id),
        ("GET" | "POST" | "DELETE", [id]) => ("node", *id),
        _ => ("other", ""),
    };
    (name, version, id.to_owned())
}

impl WhatsApp {
    pub(super) async fn serve(self: Arc<Self>, call: Call) -> Result<Answer, Dropped> {
        let (endpoint, version, id) = route(&call);
        let verdict = self.lock().faults.decide(endpoint);
        if !verdict.delay.is_zero() {
            pause(&self.stop, verdict.delay).await;
        }
        let mut about = About { number: Some(id.clone()).filter(|id| !id.is_empty()), ..About::default() };
        let fault = verdict.name();
        let record = |about: About, status: u16| {
            self.record.push(What::WaRequest {
                endpoint: endpoint.to_owned(),
                status,
                fault: fault.clone(),
                number: about.number,
                customer: about.customer,
                opaque: about.opaque,
                wamid: about.wamid,
                code: about.code,
            });
        };
        let unprocessed = |about: &mut About| {
            let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            about.opaque = body["biz_opaque_callback_data"].as_str().map(str::to_owned);
        };
        match &verdict.fault {
            Some(Fault::Status { status, retry_after }) => {
                unprocessed(&mut about);
                let mut response = match status {
                    503 => gateway_page(),
                    500 => Refusal::of(131_000).answer(&version),
                    status => answer(*status, "text/plain", ""),
                };
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert("retry-after", (*seconds).into());
                }
                record(about, *status);
                return Ok(response);
            }
            Some(Fault::Graph { code }) => {
                unprocessed(&mut about);
                let refusal = Refusal::of(*code);
                about.code = Some(*code);
                record(about, refusal.status);
                return Ok(self.with_usage(refusal.answer(&version), &id, Some(*code)));
            }
            Some(Fault::Timeout) => {
                unprocessed(&mut about);
                record(about, 0);
                pause(&self.stop, NEVER).await;
                return Err(Dropped);
            }
            Some(Fault::Refuse) => {
                unprocessed(&mut about);
                record(about, 0);
                return Err(Dropped);
            }
            Some(Fault::LoseAnswer | Fault::SlowAnswer { .. } | Fault::Delay { .. }) | None => {}
        }
        let outcome = self.process(endpoint, &version, &id, &call, &mut about).await;
        let response = match outcome {
            Ok(Outcome::Answer(response)) => self.with_usage(response, &id, None),
            Err(refusal) => {
                about.code = Some(refusal.code);
                self.with_usage(refusal.answer(&version), &id, Some(refusal.code))
            }
            Ok(Outcome::NotSimulated) => not_simulated("whatsapp", &call),
        };
        if verdict.fault == Some(Fault::LoseAnswer) {
            record(about, 0);
            return Err(Dropped);
        }
        if let Some(Fault::SlowAnswer { ms }) = verdict.fault {
            pause(&self.stop, Duration::from_millis(ms)).await;
        }
        record(about, response.status().as_u16());
        Ok(response)
    }

    async fn process(
        self: &Arc<Self>,
        endpoint: &str,
        version: &str,
        id: &str,
        call: &Call,
        about: &mut About,
    ) -> Result<Outcome, Refusal> {
        Ok(match endpoint {
            "messages" | "marketing_messages" => return self.messages(version, id, call, about),
            "message_history" => self.history(version, id, call)?.into(),
            "media_upload" => self.upload(id, version, call).await?.into(),
            "media_download" => self.download(call).into(),
            "elsewhere" => self.elsewhere(call).into(),
            "thread_control" => self.thread_control(id, version, call)?.into(),
            "registration" => {
                self.authorised(id, call)?;
                wire::graph(200, version, &json!({ "success": true })).into()
            }
            "phone_numbers" => self.phone_numbers(id, version, call)?.into(),
            "message_templates" => self.list_templates(id, version, call)?.into(),
            "subscribed_apps" => self.subscribed_apps(id, version, call).await?.into(),
            "subscriptions" => self.subscriptions(id, version, call).await?.into(),
            "debug_token" => self.debug_token(version, call)?.into(),
            "app_token" => self.app_token(version, call)?.into(),
            "node" => self.node(id, version, call).await?,
            _ => Outcome::NotSimulated,
        })
    }

    /// The token must be known, and the number its own.
    pub(super) fn authorised(&self, number: &str, call: &Call) -> Result<(), Refusal> {
        let state = self.lock();
        let token = call.token();
        if !state.numbers.values().any(|line| line.accepts(token)) {
            return Err(Refusal::of(190));
        }
        match state.numbers.get(number) {
            Some(line) if line.accepts(token) => Ok(()),
            _ => Err(Refusal::unknown_object(call.method.as_str(), number)),
        }
    }

    /// Whether the number's token has the permission.
    pub(super) fn may(&self, state: &State, number: &str, scope: &str) -> Result<(), Refusal> {
        let granted = state
            .numbers
            .get(number)
            .is_some_and(|line| line.setup.scopes.iter().any(|known| known == scope));
        if granted { Ok(()) } else { Err(Refusal::of(10)) }
    }

    /// The usage header of §5.2, for what belongs to a business account.
    fn with_usage(&self, mut response: Answer, id: &str, code: Option<i64>) -> Answer {
        let state = self.lock();
        let line = state
            .numbers
            .values()
            .find(|line| line.number.phone_number_id == id || line.number.waba_id == id);
        let Some(waba_id) = line.map(|line| line.number.waba_id.clone()) else { return response };
        let limited = code == Some(80_007);
        let (began, calls) = state.management.get(&waba_id).copied().unwrap_or((state.now_ms(), 0));
        let percent = match state.config.management_per_hour {
            Some(limit) => (calls * 100 / limit.max(1)).min(100),
            None => 1,
        };
        let wait_ms = (began + super::manage::HOUR_MS - state.now_ms()).max(60_000);
        let minutes = if limited { (wait_ms + 59_999) / 60_000 } else { 0 };
        let percent = if limited { 100 } else { percent };
        let kind =
            if limited || calls > 0 && waba_id == id { "whatsapp_business_management" } else { "whatsapp" };
        let usage = json!({ waba_id: [{
            "type": kind, "call_count": percent, "total_cputime": percent.min(20), "total_time": percent.min(25),
            "estimated_time_to_regain_access": minutes,
        }] });
        if let Ok(value) = HeaderValue::from_str(&usage.to_string()) {
            response.headers_mut().insert("x-business-use-case-usage", value);
        }
        response
    }

    /// `message_history` of one message (`whatsapp-cloud-api.md` §3).
    fn history(&self, version: &str, number: &str, call: &Call) -> Result<Answer, Refusal> {
        self.authorised(number, call)?;
        let state = self.lock();
        let wamid = call.query.get("message_id").ok_or_else(|| Refusal::missing("message_id"))?;
        let place = state.place(wamid).filter(|place| place.number == number);
        let Some(line) = place.and_then(|place| state.numbers.get(&place.number)) else {
            return Ok(wire::graph(200, version, &json!({ "data": [] })));
        };
        let events: Vec<Value> = state
            .events(wamid)
            .iter()
            .zip(1_u64..)
            .map(|(event, n)| {
                json!({
                    "id": (700_000_000_000_001 + n).to_string(),
                    "delivery_status": event.status.to_uppercase(), "timestamp": event.at_ms / 1_000,
                    "webhook_update_state": event.hook, "webhook_uri": line.callback(),
                    "application": { "id": line.setup.app_id },
                })
            })
            .collect();
        let data = json!({
            "data": [{ "id": "700000000000001", "message_id": wamid, "events": { "data": events } }],
            "paging": { "cursors": { "before": "MAZDZD", "after": "MAZDZD" } },
        });
        Ok(wire::graph(200, version, &data))
    }
}

impl Call {
    /// In the header or, as Graph API clients may, as a parameter: that one first, since they send it
    /// where they need another than their usual one.
    pub(super) fn token(&self) -> &str {
        self.query.get("access_token").map(String::as_str).or_else(|| self.bearer()).unwrap_or_default()
    }
}

fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| major.parse::<u16>().is_ok() && minor.parse::<u16>().is_ok())
}
