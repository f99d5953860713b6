//! `POST /{phone_number_id}/messages`: who it goes to, whether it may go, what then becomes of it;
//! and read receipts with their typing indicator.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    WhatsApp,
    api::{About, Outcome},
    check::{self, Draft, Known},
    config::{Customer, PhoneMessage, WindowRefusal},
    content::Content,
    errors::Refusal,
    media::{Family, MAX_FILE, hash},
    state::{Sent, State},
    wire::{self, Direction},
};
use crate::sim::{record::What, server::Call};

const DAY_MS: i64 = 24 * 3_600_000;
/// Of the typing indicator (§5.4).
const TYPING_MS: i64 = 25_000;

/// Who a message goes to.
struct Recipient {
    input: String,
    customer: usize,
    by_phone: bool,
}

/// What becomes of an accepted message.
struct Fate {
    wamid: String,
    fails: Option<(i64, Option<String>)>,
    fetch: Option<(String, Family)>,
    reaction: bool,
    voice: bool,
}

impl WhatsApp {
    pub(super) fn messages(
        self: &Arc<Self>,
        version: &str,
        number: &str,
        call: &Call,
        about: &mut About,
    ) -> Result<Outcome, Refusal> {
        self.authorised(number, call)?;
        let mut state = self.lock();
        self.may(&state, number, "whatsapp_business_messaging")?;
        let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(&call.body) else {
            return Err(Refusal::of(100));
        };
        about.opaque = body["biz_opaque_callback_data"].as_str().map(str::to_owned);
        if body["messaging_product"] != "whatsapp" {
            return Err(Refusal::because(100, "The parameter messaging_product is required."));
        }
        if body["status"] == "read" {
            mark_read(&mut state, number, &body)?;
            return Ok(Outcome::Answer(wire::graph(200, version, &json!({ "success": true }))));
        }
        if check::not_simulated(&body) {
            return Ok(Outcome::NotSimulated);
        }
        let sent = self.send(&mut state, number, &body, about)?;
        Ok(Outcome::Answer(wire::graph(200, version, &sent)))
    }

    /// Checks in the order: form, recipient, account, thread, window, rates; then shows the message.
    fn send(
        self: &Arc<Self>,
        state: &mut State,
        number: &str,
        body: &Value,
        about: &mut About,
    ) -> Result<Value, Refusal> {
        let waba_id = state.numbers.get(number).map(|line| line.number.waba_id.clone()).unwrap_or_default();
        let templates: Vec<_> = state.templates.iter().filter(|t| t.waba_id == waba_id).cloned().collect();
        let known = Known {
            number,
            library: &state.library,
            templates: &templates,
            strict: state.config.media_strict,
            now_ms: state.now_ms(),
        };
        let mut draft = check::draft(body, &known)?;
        let empty = Map::new();
        let to = recipient(state, number, body.as_object().unwrap_or(&empty))?;
        let (customer, group) = (to.customer, state.people[to.customer].members.is_some());
        let person = state.customer(customer).clone();
        about.customer = Some(person.key());
        if group
            && matches!(draft.content.kind.as_str(), "interactive/flow" | "interactive/request_contact_info")
        {
            return Err(Refusal::of(130_501));
        }
        if draft.category.as_deref() == Some("AUTHENTICATION") && !to.by_phone {
            return Err(Refusal::of(131_062));
        }
        if let Some(code) = state.numbers.get(number).and_then(|line| line.setup.send_error) {
            return Err(Refusal::of(code));
        }
        let mut fails = draft.fails.take().map(|(code, details)| (code, Some(details)));
        let aliases = [&person.phone, &person.bsuid];
        let failing =
            aliases.into_iter().flatten().find_map(|alias| state.config.failing.get(alias).copied());
        match failing {
            Some(failing) if !failing.late => return Err(Refusal::of(failing.code)),
            Some(failing) => fails = Some((failing.code, None)),
            None => {}
        }
        let violation = |rule: &str, code: i64| What::WaViolation {
            number: number.to_owned(),
            customer: person.key(),
            rule: rule.to_owned(),
            code,
        };
        let open = state.window_open(number, customer);
        match draft.category.as_deref() {
            Some("MARKETING") if state.chat(number, customer).stopped => fails = Some((131_050, None)),
            Some(_) => {}
            None => {
                if !state.may_speak(number, customer) {
                    let code = state.config.not_owner_code;
                    self.record.push(violation("not_owner", code));
                    return Err(Refusal::of(code));
                }
                if !open && state.config.window {
                    self.record.push(violation("window", 131_047));
                    let late = match state.config.window_refusal {
                        WindowRefusal::AtOnce => false,
                        WindowRefusal::Late => true,
                        WindowRefusal::Half => state.window_refusals % 2 == 1,
                    };
                    state.window_refusals += 1;
                    if !late {
                        return Err(Refusal::of(131_047));
                    }
                    fails = Some((131_047, None));
                }
            }
        }
        let only_record = state.config.only_record_limits;
        for (rule, code) in [("number", 130_429), ("pair", 131_056)] {
            let free = match rule {
                "number" => state.take_number(number, false),
                _ => state.take_pair(number, customer),
            };
            if !free {
                self.record.push(violation(rule, code));
                if !only_record {
                    return Err(Refusal::of(code));
                }
            }
        }
        quote(state, number, customer, body, &mut draft)?;
        if let Some(fate) = reaction_fate(state, number, customer, &draft) {
            fails = Some(fate);
        }
        Ok(self.accept(state, number, &to, draft, fails, open, about))
    }

    #[expect(clippy::too_many_arguments, reason = "the steps of one request, each decided before")]
    fn accept(
        self: &Arc<Self>,
        state: &mut State,
        number: &str,
        to: &Recipient,
        draft: Draft,
        fails: Option<(i64, Option<String>)>,
        open: bool,
        about: &mut About,
    ) -> Value {
        let person = state.customer(to.customer).clone();
        let wamid = state.next_wamid(to.customer, Direction::Outbound);
        about.wamid = Some(wamid.clone());
        let fetch = draft.fetch.filter(|(link, _)| fails.is_none() && near(link));
        let visible = fails.is_none() && fetch.is_none();
        let plain = draft.content.kind == "text" && draft.content.quoted.is_none();
        let content = (!plain).then(|| Box::new(draft.content));
        let message = PhoneMessage {
            wamid: wamid.clone(),
            from_customer: false,
            text: draft.text,
            at_ms: state.now_ms(),
            tick: "accepted".to_owned(),
            visible,
            opaque: about.opaque.clone(),
            content: content.clone(),
        };
        let category = match draft.category.as_deref() {
            None => "service",
            Some("MARKETING") => "marketing",
            Some("AUTHENTICATION") => "authentication",
            Some(_) => "utility",
        };
        if visible {
            self.record.push(shown(number, &person.key(), &message));
        } else if let Some((code, _)) = fails {
            self.record.push(not_shown(number, &person.key(), &message, code));
        }
        let kind = message.kind();
        let fate = Fate {
            wamid: wamid.clone(),
            fails,
            fetch,
            reaction: kind == "reaction",
            voice: content.as_ref().and_then(|content| content.file.as_ref()).is_some_and(|file| file.voice),
        };
        state.put(number, to.customer, message, Sent { by_phone: to.by_phone, category, in_window: open });
        self.follow_up(state, fate);
        let mut contact = json!({ "input": to.input });
        let mut sent = json!({ "id": wamid });
        if state.people[to.customer].members.is_some() {
            contact["wa_id"] = to.input.as_str().into();
            sent["group_id"] = to.input.as_str().into();
        } else {
            let (key, id) =
                if to.by_phone { ("wa_id", person.phone) } else { ("user_id", Some(to.input.clone())) };
            contact[key] = id.into();
        }
        if let Some(standing) = draft.standing {
            sent["message_status"] = standing.into();
        }
        json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [sent] })
    }

    /// The file behind a link, then statuses, each after its pause.
    fn follow_up(self: &Arc<Self>, state: &State, fate: Fate) {
        let config = &state.config;
        let statuses = config.statuses;
        if !statuses && fate.fetch.is_none() {
            return;
        }
        let mut steps = vec![("sent", config.sent_after_ms)];
        if !fate.reaction {
            if !config.skip_delivered {
                steps.push(("delivered", config.delivered_after_ms));
            }
            steps.extend(config.read_after_ms.map(|after| ("read", after)));
            steps.extend(config.played_after_ms.filter(|_| fate.voice).map(|after| ("played", after)));
        }
        let failed_after = config.sent_after_ms;
        let sim = self.clone();
        self.tracker.spawn(async move {
            let accepted = tokio::time::Instant::now();
            let mut fails = fate.fails;
            if let Some((link, family)) = fate.fetch {
                fails = tokio::select! {
                    () = sim.stop.cancelled() => return,
                    fails = sim.fetch(&fate.wamid, &link, family) => fails,
                };
            }
            if fails.is_some() {
                steps = vec![("failed", failed_after)];
            }
            for (status, after_ms) in steps.into_iter().filter(|_| statuses) {
                tokio::select! {
                    () = sim.stop.cancelled() => return,
                    () = tokio::time::sleep_until(accepted + Duration::from_millis(after_ms)) => {}
                }
                let failure = fails.as_ref().map(|(code, details)| (*code, details.as_deref()));
                sim.lock().tick(&fate.wamid, status, failure);
            }
        });
    }

    /// Fetches a linked file and shows the message, or tells why it fails.
    async fn fetch(&self, wamid: &str, link: &str, family: Family) -> Option<(i64, Option<String>)> {
        let request = self.http.get(link).timeout(Duration::from_secs(10)).header("user-agent", "WhatsApp/2");
        let got = match request.send().await {
            Ok(response) if response.status() == 200 => {
                let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
                let kind = kind.unwrap_or("application/octet-stream").to_owned();
                let short = response.content_length().is_none_or(|length| length <= MAX_FILE as u64);
                if short { response.bytes().await.ok().map(|bytes| (kind, bytes)) } else { None }
            }
            _ => None,
        };
        let mut state = self.lock();
        let strict = state.config.media_strict;
        let verdict = match &got {
            None => Some((131_052, None)),
            Some((kind, bytes)) => {
                family.judge(kind, bytes, false, strict).err().map(|(code, why)| (code, Some(why)))
            }
        };
        let place = state.place(wamid).cloned()?;
        let person = state.customer(place.customer).key();
        let message = state.message(&place)?;
        match (&verdict, got) {
            (None, Some((kind, bytes))) => {
                if let Some(file) = message.content.as_mut().and_then(|content| content.file.as_mut()) {
                    file.mime_type = kind;
                    file.sha256 = hash(&bytes);
                    file.bytes = bytes.len() as u64;
                }
                message.visible = true;
                self.record.push(shown(&place.number, &person, message));
            }
            (verdict, _) => {
                let code = verdict.as_ref().map_or(131_052, |(code, _)| *code);
                self.record.push(not_shown(&place.number, &person, message, code));
            }
        }
        verdict
    }
}

fn shown(number: &str, customer: &str, message: &PhoneMessage) -> What {
    What::Shown {
        number: number.to_owned(),
        customer: customer.to_owned(),
        wamid: message.wamid.clone(),
        text: message.text.clone(),
        opaque: message.opaque.clone(),
        content: message.content.clone(),
    }
}

fn not_shown(number: &str, customer: &str, message: &PhoneMessage, code: i64) -> What {
    What::NotShown {
        number: number.to_owned(),
        customer: customer.to_owned(),
        wamid: message.wamid.clone(),
        code,
        opaque: message.opaque.clone(),
    }
}

/// Only links to this machine are fetched: no test may depend on the Internet. Others are taken as
/// they are.
fn near(link: &str) -> bool {
    let host = link.strip_prefix("http://").unwrap_or_default();
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|near| host.starts_with(near))
}

/// Puts the quoted message into the draft, where the chat would show it (§5.3).
fn quote(
    state: &mut State,
    number: &str,
    customer: usize,
    body: &Value,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    let quoted = match &body["context"] {
        Value::Null => return Ok(()),
        context => context["message_id"].as_str().ok_or_else(|| Refusal::missing("context.message_id"))?,
    };
    let place =
        state.place(quoted).filter(|place| place.number == number && place.customer == customer).cloned();
    let now = state.now_ms();
    let message = place.and_then(|place| state.message(&place).cloned());
    let there = message.is_some_and(|message| message.visible && now - message.at_ms < 30 * DAY_MS);
    if there && draft.category.is_none() {
        draft.content.quoted = Some(quoted.to_owned());
    }
    Ok(())
}

/// A reaction to what is not there, is too old or is itself a reaction fails afterwards.
fn reaction_fate(
    state: &mut State,
    number: &str,
    customer: usize,
    draft: &Draft,
) -> Option<(i64, Option<String>)> {
    let Content { kind, target: Some(target), .. } = &draft.content else { return None };
    if kind != "reaction" {
        return None;
    }
    let place =
        state.place(target).filter(|place| place.number == number && place.customer == customer).cloned();
    let now = state.now_ms();
    let message = place.and_then(|place| state.message(&place).cloned());
    let good = message.is_some_and(|message| {
        message.visible && message.kind() != "reaction" && now - message.at_ms < 30 * DAY_MS
    });
    (!good).then_some((131_009, None))
}

/// `to` wins over `recipient`.
fn recipient(state: &mut State, number: &str, body: &Map<String, Value>) -> Result<Recipient, Refusal> {
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
fn mark_read(state: &mut State, number: &str, body: &Value) -> Result<(), Refusal> {
    let wamid = body["message_id"].as_str().unwrap_or_default();
    let unknown = || Refusal::because(100, "Please check the message ID you provided.");
    let typing = match &body["typing_indicator"] {
        Value::Null => false,
        indicator if indicator["type"] == "text" => true,
        _ => return Err(Refusal::invalid("typing_indicator.type")),
    };
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
