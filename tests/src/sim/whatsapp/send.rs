//! `POST /{phone_number_id}/messages`: who it goes to, whether it may go, what then becomes of it;
//! and read receipts with their typing indicator.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    WhatsApp,
    api::{About, Outcome},
    check::{self, Draft, Known},
    config::{PhoneMessage, WindowRefusal},
    content::Content,
    errors::Refusal,
    media::{Family, MAX_FILE, hash},
    portfolio::tier,
    recipient::{Recipient, mark_read, recipient},
    state::{Sent, State},
    wire::{self, Direction},
};
use crate::sim::{record::What, server::Call};

pub(super) const DAY_MS: i64 = 24 * 3_600_000;

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
        if let (Some(category), None) = (draft.category.as_deref(), &fails)
            && let Some((rule, code)) = beyond(state, number, customer, category, open)
        {
            self.record.push(violation(rule, code));
            if !only_record {
                fails = Some((code, None));
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

/// Which limit of what a business sends on its own a template breaks, and the code for it.
fn beyond(
    state: &mut State,
    number: &str,
    customer: usize,
    category: &str,
    open: bool,
) -> Option<(&'static str, i64)> {
    let now = state.now_ms();
    if let (Some(most), "MARKETING") = (state.config.marketing_per_user, category)
        && !state.portfolio.market(customer, most, now)
    {
        return Some(("marketing_per_user", 131_049));
    }
    let limit = state.numbers.get(number).and_then(|line| tier(&line.setup.messaging_limit));
    let most = state.config.messaging_limit.or(limit)?;
    let fine = open || state.portfolio.open(customer, most, now);
    (!fine).then_some(("messaging_limit", state.config.messaging_limit_code))
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
    let Some(context) = body.get("context").filter(|context| !context.is_null()) else { return Ok(()) };
    let quoted = context["message_id"].as_str().ok_or_else(|| Refusal::missing("context.message_id"))?;
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
