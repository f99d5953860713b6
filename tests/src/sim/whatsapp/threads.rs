//! Conversation Routing (`whatsapp-cloud-api.md` §13): who owns a thread, and
//! `POST /{phone_number_id}/thread_control`.

use serde_json::{Value, json};

use super::{
    WhatsApp,
    errors::Refusal,
    form::Form,
    setup::Routing,
    state::{State, Update},
    wire,
};
use crate::sim::server::{Answer, Call};

/// A thread without an owner is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Us,
    Other,
}

/// Of user messages, until a thread is idle.
const IDLE_MS: i64 = 24 * 3_600_000;

impl State {
    pub(super) fn routing(&self, number: &str) -> Option<Routing> {
        self.numbers.get(number)?.setup.routing.clone()
    }

    /// Who owns the thread now.
    pub(super) fn owner(&mut self, number: &str, customer: usize) -> Option<Owner> {
        let now = self.now_ms();
        let chat = self.chat(number, customer);
        if chat.last_said_ms.is_none_or(|last| now - last >= IDLE_MS) {
            chat.owner = None;
        }
        chat.owner
    }

    /// Whether a customer's message comes to us as ours; an idle thread gets its owner by it.
    pub(super) fn route(&mut self, number: &str, customer: usize) -> bool {
        let Some(routing) = self.routing(number) else { return true };
        let primary = if routing.we_are_primary { Owner::Us } else { Owner::Other };
        let owner = self.owner(number, customer).unwrap_or(primary);
        self.chat(number, customer).owner = Some(owner);
        owner == Owner::Us
    }

    /// Queues a customer's message: on `messages`, or as a copy on `standby`. False: no room.
    pub(super) fn arrive(
        &mut self,
        number: &str,
        ours: bool,
        contacts: Option<Value>,
        message: Value,
        wamid: &str,
    ) -> bool {
        let mut inner = json!({ "messages": [message] });
        if let Some(contacts) = contacts {
            inner["contacts"] = contacts;
        }
        let mut value = json!({ "messaging_product": "whatsapp", "metadata": self.metadata(number) });
        let field = if ours {
            for key in ["contacts", "messages"] {
                if !inner[key].is_null() {
                    value[key] = inner[key].take();
                }
            }
            "messages"
        } else {
            value["standby"] = inner;
            "standby"
        };
        self.enqueue(number, Update { field: field.to_owned(), value, id: wamid.to_owned() })
    }

    /// Whether we may send a free-form message; the escalation partner takes the thread by it.
    pub(super) fn may_speak(&mut self, number: &str, customer: usize) -> bool {
        let Some(routing) = self.routing(number) else { return true };
        let allowed = match self.owner(number, customer) {
            Some(Owner::Other) => routing.we_are_escalation,
            Some(Owner::Us) | None => true,
        };
        if allowed {
            self.chat(number, customer).owner = Some(Owner::Us);
        }
        allowed
    }
}

impl WhatsApp {
    /// `POST /{phone_number_id}/thread_control`.
    pub(super) fn thread_control(&self, number: &str, version: &str, call: &Call) -> Result<Answer, Refusal> {
        self.authorised(number, call)?;
        let body: Value = serde_json::from_slice(&call.body).map_err(|_| Refusal::of(100))?;
        let form = Form::new(&body);
        if form.get("messaging_product") != Some(&"whatsapp".into()) {
            return Err(Refusal::because(100, "The parameter messaging_product is required."));
        }
        let mut state = self.lock();
        let customer = match (form.maybe("to", 40)?, form.maybe("recipient", 200)?) {
            (Some(_), Some(_)) => return Err(form.invalid("recipient")),
            (None, None) => return Err(form.missing("to")),
            (Some(to), None) => {
                let digits: String = to.chars().filter(char::is_ascii_digit).collect();
                state.known(&digits).ok_or_else(|| form.invalid("to"))?
            }
            (None, Some(bsuid)) => state.known(bsuid).ok_or_else(|| form.invalid("recipient"))?,
        };
        let metadata = form.maybe("metadata", 2_000)?.map(str::to_owned);
        let action = form.word("action", &["take", "pass", "release"])?;
        let not_owner = Refusal::of(state.config.not_owner_code);
        let owner = state.owner(number, customer);
        let routing = state.routing(number);
        let next = match (action, routing) {
            ("take", Some(routing)) if routing.we_are_escalation => Some(Owner::Us),
            ("take", _) => return Err(Refusal::of(2_494_191)),
            ("pass", Some(routing)) => {
                if owner != Some(Owner::Us) {
                    return Err(not_owner);
                }
                let target = form.maybe("control_pass.target_role", 100)?;
                match target {
                    Some(role) if role == routing.other_role => Some(Owner::Other),
                    None if !routing.we_are_escalation => Some(Owner::Other),
                    Some(_) | None => return Err(form.invalid("control_pass.target_role")),
                }
            }
            ("release", Some(_)) if owner == Some(Owner::Other) => return Err(not_owner),
            ("release", _) => None,
            // One responder only: there is nobody to pass to.
            _ => return Err(form.invalid("action")),
        };
        state.chat(number, customer).owner = next;
        let who = state.customer(customer).key();
        self.record.control(
            "whatsapp thread",
            json!({ "number": number, "customer": who, "action": action, "metadata": metadata }),
        );
        let request_id = format!("{:016x}", fastrand::u64(..));
        Ok(wire::graph(200, version, &json!({ "messaging_product": "whatsapp", "request_id": request_id })))
    }
}
