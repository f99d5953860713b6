//! Who a message goes to (`whatsapp-cloud-api.md` §4.5, §5.1), and read receipts (§5.4).

use serde_json::{Map, Value};

use super::{config::Customer, errors::Refusal, send::DAY_MS, state::State};
use crate::sim::record::What;

/// Of the typing indicator.
const TYPING_MS: i64 = 25_000;

/// Who a message goes to.
pub(super) struct Recipient {
    pub(super) input: String,
    pub(super) customer: usize,
    pub(super) by_phone: bool,
}

/// `to` wins over `recipient`.
pub(super) fn recipient(
    state: &mut State,
    number: &str,
    body: &Map<String, Value>,
) -> Result<Recipient, Refusal> {
    let to = match body.get("to") {
        Some(Value::String(to)) => Some(to.clone()),
        Some(Value::Number(to)) => Some(to.to_string()),
        Some(_) => return Err(Refusal::invalid("to")),
        None => None,
    };
    if body.get("recipient_type").is_some_and(|kind| kind == "group") {
        let group = to.ok_or_else(|| Refusal::missing("to"))?;
        let known = state.known(&group).filter(|index| state.people[*index].members.is_some());
        let customer = known.ok_or_else(|| Refusal::invalid("to"))?;
        return Ok(Recipient { input: group, customer, by_phone: false });
    }
    if let Some(to) = to {
        let digits: String = to.chars().filter(char::is_ascii_digit).collect();
        let allowed = |c: char| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')');
        if !(6..=15).contains(&digits.len()) || !to.chars().all(allowed) {
            return Err(Refusal::invalid("to"));
        }
        if state.numbers.get(number).is_some_and(|line| line.number.display_phone_number == digits) {
            return Err(Refusal::of(131_021));
        }
        let wa_id = state.config.wa_ids.get(&digits).cloned().unwrap_or(digits);
        // A number nobody wrote from: on WhatsApp, with no window open.
        let customer = Customer { phone: Some(wa_id), ..Default::default() };
        return Ok(Recipient { input: to, customer: state.meet(&customer), by_phone: true });
    }
    match body.get("recipient").and_then(Value::as_str) {
        Some(bsuid) => {
            // Ids of other portfolios, and phones, are not among them.
            let known = state.known(bsuid).filter(|index| {
                let person = state.customer(*index);
                let ids = [person.bsuid.as_deref(), person.parent_bsuid.as_deref()];
                state.people[*index].members.is_none() && ids.contains(&Some(bsuid))
            });
            let customer = known.ok_or_else(|| Refusal::invalid("recipient"))?;
            Ok(Recipient { input: bsuid.to_owned(), customer, by_phone: false })
        }
        None => Err(Refusal::missing("to")),
    }
}

/// Marks a message and all before it, in a group only it; may show the business as typing.
pub(super) fn mark_read(state: &mut State, number: &str, body: &Value) -> Result<(), Refusal> {
    let wamid = body["message_id"].as_str().unwrap_or_default();
    let unknown = || Refusal::because(100, "Please check the message ID you provided.");
    let indicator = body.get("typing_indicator").filter(|indicator| !indicator.is_null());
    if indicator.is_some_and(|indicator| indicator["type"] != "text") {
        return Err(Refusal::invalid("typing_indicator.type"));
    }
    let typing = indicator.is_some();
    let place = state.place(wamid).filter(|place| place.number == number).cloned().ok_or_else(unknown)?;
    let now = state.now_ms();
    let message = state.message(&place).ok_or_else(unknown)?;
    if !message.from_customer {
        let details = format!(
            "Message supplied to mark message as read API with message ID: {wamid} is outgoing. Please use an \
             incoming message ID."
        );
        return Err(Refusal::because(100, &details));
    }
    if now - message.at_ms > 30 * DAY_MS {
        return Err(unknown());
    }
    let group = state.people[place.customer].members.is_some();
    let customer = state.customer(place.customer).key();
    let chat = state.chat(number, place.customer);
    let first = if group { place.index } else { 0 };
    for message in chat.messages.iter_mut().take(place.index + 1).skip(first).filter(|m| m.from_customer) {
        message.tick = "read".to_owned();
    }
    if typing {
        chat.typing_until_ms = Some(now + TYPING_MS);
    }
    state.record.push(What::MarkedRead {
        number: number.to_owned(),
        customer,
        wamid: wamid.to_owned(),
        typing,
    });
    Ok(())
}
