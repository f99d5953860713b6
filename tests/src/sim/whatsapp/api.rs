//! The Cloud API's side: `POST /{version}/{phone_number_id}/messages` for texts and read receipts,
//! `GET …/message_history`. Everything else answers 501.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::{
    WhatsApp,
    config::{PhoneMessage, WindowRefusal},
    state::State,
    wire::{self, Direction, Refusal},
};
use crate::sim::{
    faults::Fault,
    record::What,
    server::{Answer, Call, Dropped, answer, gateway_page, not_simulated, pause},
};

/// How long an ordered time-out keeps the connection, if the caller does not give up before.
const NEVER: Duration = Duration::from_secs(600);

/// What one request was about, for the record.
#[derive(Debug, Default)]
struct About {
    number: Option<String>,
    customer: Option<String>,
    opaque: Option<String>,
    wamid: Option<String>,
    code: Option<i64>,
}

enum Outcome {
    Answer(Answer),
    Refused(Refusal),
    NotSimulated,
}

impl WhatsApp {
    pub(super) async fn serve(self: Arc<Self>, call: Call) -> Result<Answer, Dropped> {
        let path = call.path.clone();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let (endpoint, version, number) = match (&call.method, segments.as_slice()) {
            (&Method::POST, [version, number, "messages"]) if is_version(version) => {
                ("messages", *version, *number)
            }
            (&Method::GET, [version, number, "message_history"]) if is_version(version) => {
                ("message_history", *version, *number)
            }
            _ => ("other", "", ""),
        };
        let verdict = self.lock().faults.decide(endpoint);
        if !verdict.delay.is_zero() {
            pause(&self.stop, verdict.delay).await;
        }
        let mut about =
            About { number: Some(number.to_owned()).filter(|n| !n.is_empty()), ..About::default() };
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
                    500 => Refusal::of(131000).answer(version),
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
                return Ok(refusal.answer(version));
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
        let outcome = match endpoint {
            "messages" => self.messages(version, number, &call, &mut about),
            "message_history" => self.history(version, number, &call),
            _ => Outcome::NotSimulated,
        };
        let response = match outcome {
            Outcome::Answer(response) => response,
            Outcome::Refused(refusal) => {
                about.code = Some(refusal.code);
                refusal.answer(version)
            }
            Outcome::NotSimulated => not_simulated("whatsapp", &call),
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

    fn authorised(state: &State, number: &str, call: &Call) -> Result<(), Refusal> {
        let token = call.bearer().unwrap_or_default();
        if !state.numbers.values().any(|line| line.number.token == token) {
            return Err(Refusal::of(190));
        }
        match state.numbers.get(number) {
            Some(line) if line.number.token == token => Ok(()),
            _ => Err(Refusal::unknown_object(number)),
        }
    }

    fn messages(self: &Arc<Self>, version: &str, number: &str, call: &Call, about: &mut About) -> Outcome {
        let mut state = self.lock();
        if let Err(refusal) = Self::authorised(&state, number, call) {
            return Outcome::Refused(refusal);
        }
        let Ok(Value::Object(body)) = serde_json::from_slice(&call.body) else {
            return Outcome::Refused(Refusal::of(100));
        };
        about.opaque = body.get("biz_opaque_callback_data").and_then(Value::as_str).map(str::to_owned);
        if body.get("messaging_product") != Some(&"whatsapp".into()) {
            let details = "The parameter messaging_product is required.";
            return Outcome::Refused(Refusal::because(100, details));
        }
        if body.get("status") == Some(&"read".into()) {
            return match mark_read(&mut state, &body) {
                Ok(()) => Outcome::Answer(wire::graph(200, version, &json!({ "success": true }))),
                Err(refusal) => Outcome::Refused(refusal),
            };
        }
        match body.get("type").and_then(Value::as_str) {
            Some("text") => {}
            // Known to the real API; not to this one.
            Some(
                "image" | "video" | "audio" | "document" | "sticker" | "location" | "contacts" | "reaction"
                | "interactive" | "template",
            ) => return Outcome::NotSimulated,
            Some(_) => {
                return Outcome::Refused(Refusal::because(131009, "Parameter value is not valid: type"));
            }
            None => return Outcome::Refused(Refusal::because(131008, "Parameter is missing: type")),
        }
        if body.get("recipient_type").is_some_and(|kind| kind == "group") {
            return Outcome::NotSimulated;
        }
        match self.send_text(&mut state, number, &body, about) {
            Ok(sent) => Outcome::Answer(wire::graph(200, version, &sent)),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Checks in the order: form, recipient, window, rates; then shows the message.
    fn send_text(
        self: &Arc<Self>,
        state: &mut State,
        number: &str,
        body: &Map<String, Value>,
        about: &mut About,
    ) -> Result<Value, Refusal> {
        let missing = |name: &str| Refusal::because(131008, &format!("Parameter is missing: {name}"));
        let invalid = |name: &str| Refusal::because(131009, &format!("Parameter value is not valid: {name}"));
        if body.get("recipient_type").is_some_and(|kind| kind != "individual") {
            return Err(invalid("recipient_type"));
        }
        let text = match body.get("text").and_then(|text| text.get("body")) {
            Some(Value::String(text)) => text,
            Some(_) => return Err(invalid("text.body")),
            None => return Err(missing("text.body")),
        };
        if text.is_empty() || text.chars().count() > 4_096 {
            return Err(invalid("text.body"));
        }
        match body.get("biz_opaque_callback_data") {
            None => {}
            Some(Value::String(data)) if data.chars().count() <= 512 => {}
            Some(_) => return Err(invalid("biz_opaque_callback_data")),
        }
        let (input, customer, by_phone) = recipient(state, number, body)?;
        let person = state.customer(customer).clone();
        about.customer = Some(person.key());

        let open = !state.config.window || state.window_open(number, customer);
        let late = match state.config.window_refusal {
            WindowRefusal::AtOnce => false,
            WindowRefusal::Late => true,
            WindowRefusal::Half => state.window_refusals % 2 == 1,
        };
        if !open {
            state.window_refusals += 1;
            if !late {
                return Err(Refusal::of(131047));
            }
        }
        if !state.take_number(number, false) {
            return Err(Refusal::of(130429));
        }
        if !state.take_pair(number, customer) {
            return Err(Refusal::of(131056));
        }

        let wamid = state.next_wamid(customer, Direction::Outbound);
        about.wamid = Some(wamid.clone());
        let message = PhoneMessage {
            wamid: wamid.clone(),
            from_customer: false,
            text: text.clone(),
            at_ms: state.now_ms(),
            tick: "accepted".to_owned(),
            visible: open,
            opaque: about.opaque.clone(),
        };
        let (number, customer_key, opaque) = (number.to_owned(), person.key(), about.opaque.clone());
        state.put(&number, customer, message);
        self.record.push(if open {
            What::Shown { number, customer: customer_key, wamid: wamid.clone(), text: text.clone(), opaque }
        } else {
            What::NotShown { number, customer: customer_key, wamid: wamid.clone(), code: 131047, opaque }
        });
        self.follow_up(state, wamid.clone(), open);
        let mut contact = json!({ "input": input });
        let (key, id) = if by_phone { ("wa_id", person.phone) } else { ("user_id", Some(input)) };
        contact[key] = id.into();
        Ok(json!({
            "messaging_product": "whatsapp", "contacts": [contact], "messages": [{ "id": wamid }],
        }))
    }

    /// Statuses, each after its pause.
    fn follow_up(self: &Arc<Self>, state: &State, wamid: String, open: bool) {
        let config = &state.config;
        if !config.statuses {
            return;
        }
        let mut steps = vec![("failed", config.sent_after_ms)];
        if open {
            steps = vec![("sent", config.sent_after_ms), ("delivered", config.delivered_after_ms)];
            steps.extend(config.read_after_ms.map(|after| ("read", after)));
        }
        let sim = self.clone();
        self.tracker.spawn(async move {
            let accepted = tokio::time::Instant::now();
            for (status, after_ms) in steps {
                tokio::select! {
                    () = sim.stop.cancelled() => return,
                    () = tokio::time::sleep_until(accepted + Duration::from_millis(after_ms)) => {}
                }
                sim.lock().tick(&wamid, status);
            }
        });
    }

    /// `message_history` of one message (`whatsapp-cloud-api.md` §3).
    fn history(&self, version: &str, number: &str, call: &Call) -> Outcome {
        let mut state = self.lock();
        if let Err(refusal) = Self::authorised(&state, number, call) {
            return Outcome::Refused(refusal);
        }
        let Some(wamid) = call.query.get("message_id") else { return Outcome::NotSimulated };
        let place = state.place(wamid).filter(|place| place.number == number);
        let Some(message) = place.and_then(|place| state.message(&place).cloned()) else {
            return Outcome::Answer(wire::graph(200, version, &json!({ "data": [] })));
        };
        let reached: &[&str] = match message.tick.as_str() {
            "sent" => &["SENT"],
            "delivered" => &["SENT", "DELIVERED"],
            "read" => &["SENT", "DELIVERED", "READ"],
            "failed" => &["FAILED"],
            _ => &[],
        };
        let events: Vec<Value> = reached
            .iter()
            .map(|status| json!({ "delivery_status": status, "timestamp": message.at_ms / 1_000 }))
            .collect();
        let data = json!({ "data": [{ "message_id": wamid, "events": { "data": events } }] });
        Outcome::Answer(wire::graph(200, version, &data))
    }
}

fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| major.parse::<u16>().is_ok() && minor.parse::<u16>().is_ok())
}

/// `to` wins over `recipient`. Gives the input, the customer, and whether it went by phone.
fn recipient(
    state: &mut State,
    number: &str,
    body: &Map<String, Value>,
) -> Result<(String, usize, bool), Refusal> {
    let to = match body.get("to") {
        Some(Value::String(to)) => Some(to.clone()),
        Some(Value::Number(to)) => Some(to.to_string()),
        Some(_) => return Err(Refusal::because(131009, "Parameter value is not valid: to")),
        None => None,
    };
    if let Some(to) = to {
        let digits: String = to.chars().filter(char::is_ascii_digit).collect();
        let allowed = |c: char| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')');
        if !(6..=15).contains(&digits.len()) || !to.chars().all(allowed) {
            return Err(Refusal::because(131009, "Parameter value is not valid: to"));
        }
        if state.numbers.get(number).is_some_and(|line| line.number.display_phone_number == digits) {
            return Err(Refusal::of(131021));
        }
        // A number nobody wrote from: on WhatsApp, with no window open.
        let customer = super::config::Customer { phone: Some(digits), ..Default::default() };
        return Ok((to, state.meet(&customer), true));
    }
    match body.get("recipient").and_then(Value::as_str) {
        Some(bsuid) => match state.known(bsuid) {
            Some(customer) => Ok((bsuid.to_owned(), customer, false)),
            None => Err(Refusal::because(131009, "Parameter value is not valid: recipient")),
        },
        None => Err(Refusal::because(131008, "Parameter is missing: to")),
    }
}

fn mark_read(state: &mut State, body: &Map<String, Value>) -> Result<(), Refusal> {
    let wamid = body.get("message_id").and_then(Value::as_str).unwrap_or_default();
    let unknown = || Refusal::because(100, "Please check the message ID you provided.");
    let place = state.place(wamid).ok_or_else(unknown)?;
    let message = state.message(&place).ok_or_else(unknown)?;
    if !message.from_customer {
        return Err(Refusal::because(100, "The message is outgoing and cannot be marked as read."));
    }
    message.tick = "read".to_owned();
    Ok(())
}
