//! The webhooks of [`Happening`](super::Happening)s, and what they change.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    config::{Customer, PhoneMessage},
    content::Content,
    state::{Sent, State, Update},
    threads::Owner,
    wire::Direction,
};

pub(super) fn chat_of(state: &State, number: &str, customer: &str) -> Result<usize> {
    ensure!(state.numbers.contains_key(number), "no such number");
    state.known(customer).context("no such customer")
}

pub(super) fn queue(state: &mut State, number: &str, field: &str, value: Value) -> Result<()> {
    let update = Update { field: field.to_owned(), value, id: field.to_owned() };
    ensure!(state.enqueue(number, update), "the outbox of this number is full");
    Ok(())
}

/// A webhook of the account goes out once, through one of its numbers.
pub(super) fn account(state: &mut State, waba_id: &str, field: &str, value: Value) -> Result<Option<String>> {
    let number =
        state.numbers.iter().find(|(_, line)| line.number.waba_id == waba_id).map(|(id, _)| id.clone());
    queue(state, &number.context("this account has no number")?, field, value)?;
    Ok(None)
}

fn base(state: &State, number: &str) -> Value {
    json!({ "messaging_product": "whatsapp", "metadata": state.metadata(number) })
}

/// A system message: no contacts, no window.
fn system(
    state: &mut State,
    number: &str,
    index: usize,
    from: Option<String>,
    system: Value,
) -> Result<String> {
    let wamid = state.next_wamid(index, Direction::Inbound);
    let mut message = json!({
        "id": wamid, "timestamp": (state.now_ms() / 1_000).to_string(), "type": "system", "system": system,
    });
    if let Some(from) = from {
        message["from"] = from.into();
    }
    ensure!(state.arrive(number, true, None, message, &wamid), "the outbox of this number is full");
    Ok(wamid)
}

pub(super) fn number_changed(
    state: &mut State,
    number: &str,
    customer: &str,
    phone: &str,
    bsuid: Option<String>,
) -> Result<String> {
    let index = chat_of(state, number, customer)?;
    let old = state.seen(index);
    let hidden_old = state.customer(index).clone();
    let bsuid = bsuid.unwrap_or_else(|| format!("US.{phone:0>20}"));
    // Numbers are recycled: whoever writes from the old one is another person.
    for alias in [&hidden_old.phone, &hidden_old.bsuid].into_iter().flatten() {
        state.aliases.remove(alias);
    }
    let person = &mut state.people[index].customer;
    person.phone = Some(phone.to_owned());
    person.bsuid = Some(bsuid.clone());
    state.aliases.insert(phone.to_owned(), index);
    state.aliases.insert(bsuid.clone(), index);
    let name = old.name.clone().unwrap_or_default();
    let from = old.phone.clone().unwrap_or_default();
    let mut content = json!({
        "body": format!("User {name} changed from {from} to {phone}"), "wa_id": phone, "user_id": bsuid,
        "type": "user_changed_number",
    });
    if let Some(previous) = old.bsuid {
        content["previous_user_id"] = previous.into();
    }
    system(state, number, index, old.phone, content)
}

pub(super) fn user_id_changed(
    state: &mut State,
    number: &str,
    customer: &str,
    bsuid: &str,
) -> Result<String> {
    let index = chat_of(state, number, customer)?;
    let person = &mut state.people[index].customer;
    let previous = person.bsuid.replace(bsuid.to_owned()).context("this customer had no BSUID")?;
    let name = person.name.clone().unwrap_or_default();
    state.aliases.remove(&previous);
    state.aliases.insert(bsuid.to_owned(), index);
    let content = json!({
        "body": format!("User id for {name} has been updated."), "user_id": bsuid,
        "previous_user_id": previous, "type": "user_changed_user_id",
    });
    let from = state.seen(index).phone;
    system(state, number, index, from, content)
}

pub(super) fn identity_changed(state: &mut State, number: &str, customer: &str) -> Result<String> {
    let index = chat_of(state, number, customer)?;
    let phone = state.seen(index).phone.context("only with a phone")?;
    let wamid = state.next_wamid(index, Direction::Inbound);
    let now = (state.now_ms() / 1_000).to_string();
    let message = json!({
        "from": phone, "id": wamid, "timestamp": now, "type": "system",
        "system": {
            "body": "User identity changed", "identity": "fKQz0Uu1xY4=", "customer": phone,
            "type": "customer_identity_changed",
        },
        "identity": { "acknowledged": true, "created_timestamp": now, "hash": "fKQz0Uu1xY4=" },
    });
    let contacts = json!([state.contact(index)]);
    ensure!(state.arrive(number, true, Some(contacts), message, &wamid), "the outbox of this number is full");
    Ok(wamid)
}

pub(super) fn preference(
    state: &mut State,
    number: &str,
    customer: &str,
    value: &str,
) -> Result<Option<String>> {
    let index = chat_of(state, number, customer)?;
    ensure!(matches!(value, "stop" | "resume"), "customers stop or resume");
    state.chat(number, index).stopped = value == "stop";
    let seen = state.seen(index);
    let mut entry = json!({
        "detail": format!("User requested to {value} marketing messages"), "category": "marketing_messages",
        "value": value, "timestamp": state.now_ms() / 1_000,
    });
    for (key, id) in [("wa_id", seen.phone), ("user_id", seen.bsuid)] {
        if let Some(id) = id {
            entry[key] = id.into();
        }
    }
    let mut body = base(state, number);
    body["contacts"] = json!([state.contact(index)]);
    body["user_preferences"] = json!([entry]);
    queue(state, number, "user_preferences", body)?;
    Ok(None)
}

/// Puts what somebody else than us said into the chat.
fn show(state: &mut State, number: &str, index: usize, wamid: &str, message: &Value) -> Result<()> {
    let kind = message["type"].as_str().context("a message has a type")?;
    let content = Content::of(kind, &message[kind]);
    let words = message[kind]["body"].as_str().or(message[kind]["caption"].as_str()).map(str::to_owned);
    let shown = PhoneMessage {
        wamid: wamid.to_owned(),
        from_customer: false,
        text: words.unwrap_or_else(|| content.placeholder()),
        at_ms: state.now_ms(),
        tick: "accepted".to_owned(),
        visible: !matches!(kind, "edit" | "revoke"),
        opaque: None,
        content: Some(Box::new(content)),
    };
    let sent = Sent { by_phone: true, category: "service", in_window: true };
    state.put(number, index, shown, sent);
    Ok(())
}

pub(super) fn app_echo(state: &mut State, number: &str, customer: &str, message: Value) -> Result<String> {
    let index = chat_of(state, number, customer)?;
    let wamid = state.next_wamid(index, Direction::Outbound);
    show(state, number, index, &wamid, &message)?;
    let seen = state.seen(index);
    let mut echo = message;
    let from = state.numbers.get(number).map(|line| line.number.display_phone_number.clone());
    echo["from"] = from.into();
    echo["id"] = wamid.as_str().into();
    echo["timestamp"] = (state.now_ms() / 1_000).to_string().into();
    for (key, id) in [("to", seen.phone), ("to_user_id", seen.bsuid)] {
        if let Some(id) = id {
            echo[key] = id.into();
        }
    }
    let mut body = base(state, number);
    body["contacts"] = json!([state.bare_contact(index)]);
    body["message_echoes"] = json!([echo]);
    let update = Update { field: "smb_message_echoes".to_owned(), value: body, id: wamid.clone() };
    ensure!(state.enqueue(number, update), "the outbox of this number is full");
    Ok(wamid)
}

pub(super) fn other_sends(state: &mut State, number: &str, customer: &str, message: Value) -> Result<String> {
    let index = chat_of(state, number, customer)?;
    ensure!(state.routing(number).is_some(), "no routing on this number");
    let template = message["type"] == "template";
    ensure!(
        template || state.owner(number, index) != Some(Owner::Us),
        "the thread is ours: the other responder may send templates only"
    );
    if !template {
        state.chat(number, index).owner = Some(Owner::Other);
    }
    let wamid = state.next_wamid(index, Direction::Outbound);
    show(state, number, index, &wamid, &message)?;
    let (seen, now) = (state.seen(index), (state.now_ms() / 1_000).to_string());
    let mut request = message;
    request["recipient_type"] = "individual".into();
    for (key, id) in [("to", &seen.phone), ("recipient", &seen.bsuid)] {
        if let Some(id) = id {
            request[key] = id.as_str().into();
        }
    }
    let mut body = base(state, number);
    let echo = json!({ "id": wamid, "timestamp": now, "message": request });
    body["standby"] = json!({ "message_echoes": [echo] });
    let update = Update { field: "standby".to_owned(), value: body, id: wamid.clone() };
    ensure!(state.enqueue(number, update), "the outbox of this number is full");
    if state.config.statuses {
        let mut body = base(state, number);
        let mut status = json!({ "id": wamid, "status": "delivered", "timestamp": now });
        if let Some(phone) = seen.phone {
            status["recipient_id"] = phone.into();
        }
        body["standby"] = json!({ "contacts": [state.bare_contact(index)], "statuses": [status] });
        let update = Update { field: "standby".to_owned(), value: body, id: format!("{wamid}:delivered") };
        ensure!(state.enqueue(number, update), "the outbox of this number is full");
    }
    Ok(wamid)
}

pub(super) fn other_passes(
    state: &mut State,
    number: &str,
    customer: &str,
    metadata: Option<String>,
    context: Option<Value>,
    again: bool,
) -> Result<Option<String>> {
    let index = chat_of(state, number, customer)?;
    let routing = state.routing(number).context("no routing on this number")?;
    ensure!(state.owner(number, index) == Some(Owner::Other), "the other responder does not own the thread");
    state.chat(number, index).owner = Some(Owner::Us);
    let mut passed = json!({ "previous_owner_role": routing.other_role, "new_owner_role": routing.our_role });
    if let Some(metadata) = metadata {
        passed["metadata"] = metadata.into();
    }
    if let Some(context) = context {
        passed["conversation_context"] = context;
    }
    handover(state, number, index, "control_passed", passed)?;
    let last = state.chat(number, index).messages.iter().rev().find(|message| message.from_customer).cloned();
    let Some(last) = last.filter(|_| again) else { return Ok(None) };
    let seen: Customer = state.seen(index);
    let object = last.content.as_ref().map_or_else(|| json!({ "body": last.text }), |c| c.object.clone());
    let mut message = json!({
        "id": last.wamid, "timestamp": (last.at_ms / 1_000).to_string(), "type": last.kind(), last.kind(): object,
    });
    for (key, id) in [("from", seen.phone), ("from_user_id", seen.bsuid)] {
        if let Some(id) = id {
            message[key] = id.into();
        }
    }
    let contacts = json!([state.contact(index)]);
    ensure!(
        state.arrive(number, true, Some(contacts), message, &last.wamid),
        "the outbox of this number is full"
    );
    Ok(Some(last.wamid))
}

/// `messaging_handovers` has no `metadata` object.
pub(super) fn handover(
    state: &mut State,
    number: &str,
    index: usize,
    kind: &str,
    content: Value,
) -> Result<()> {
    let mut value = json!({
        "messaging_product": "whatsapp", "recipient": state.metadata(number),
        "timestamp": (state.now_ms() / 1_000).to_string(), "type": kind, kind: content,
    });
    // What stands here for hidden phones is not known; one client looks for `user_id`.
    let seen = state.seen(index);
    value["sender"] = match seen.phone {
        Some(phone) => json!({ "phone_number": phone }),
        None => json!({ "user_id": seen.bsuid }),
    };
    queue(state, number, "messaging_handovers", value)
}

/// Changes a template; gives what every webhook says of it, and what was there before.
pub(super) fn template(
    state: &mut State,
    waba_id: &str,
    name: &str,
    language: &str,
    change: impl FnOnce(&mut super::Template) -> String,
) -> Result<(Value, String)> {
    let mut all = state.templates.iter_mut();
    let found = all.find(|t| t.waba_id == waba_id && t.name == name && t.language == language);
    let Some(found) = found else { bail!("no such template") };
    let old = change(found);
    let value = json!({
        "message_template_id": found.id.parse::<u64>().unwrap_or_default(),
        "message_template_name": found.name, "message_template_language": found.language,
        "message_template_category": found.category,
    });
    Ok((value, old))
}
