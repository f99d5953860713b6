//! A WhatsApp number: changed, checked, shown without its token.

use std::collections::BTreeMap;

use domain::settings::{Channel, Invalid, Policy, Texts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Refused,
    document::{self, all, element, find, reference, set, text, within},
    filled_in, responder, texts_pages,
};
use crate::error::RouteError;

pub(super) const LIST: &str = "channels";

/// What is to be changed; what is left out stays as it is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Edit {
    pub(super) waba_id: Option<String>,
    pub(super) display_phone_number: Option<String>,
    pub(super) name: Option<String>,
    /// It is never told again.
    pub(super) access_token: Option<String>,
    /// Empty: none.
    pub(super) integration: Option<String>,
    pub(super) assistant: Option<bool>,
    pub(super) messages_per_second: Option<u32>,
    pub(super) escalation_partner: Option<bool>,
    pub(super) policy: Option<PolicyEdit>,
    pub(super) responder: Option<responder::Edit>,
}

/// Durations are in seconds.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PolicyEdit {
    pub(super) assist_while_waiting: Option<bool>,
    pub(super) quiet_seconds: Option<u32>,
    pub(super) longest_quiet_seconds: Option<u32>,
    pub(super) auto_resolve_after_seconds: Option<u32>,
    pub(super) opening_patience_seconds: Option<u32>,
    pub(super) parked_keep_seconds: Option<u32>,
    pub(super) queue_notice_seconds: Option<u32>,
    pub(super) echo_quiet_seconds: Option<u32>,
    pub(super) language: Option<String>,
    pub(super) read_receipts: Option<bool>,
    /// keep-waiting or back-to-assistant.
    pub(super) nobody_available: Option<String>,
    /// An empty time zone: the team is always there.
    pub(super) hours: Option<Hours>,
    /// keep-waiting, message or leave-note.
    pub(super) after_hours: Option<String>,
    pub(super) stop_words: Option<Vec<String>>,
    pub(super) opt_out_words: Option<Vec<String>>,
    pub(super) opt_in_words: Option<Vec<String>>,
    /// An empty name: none.
    pub(super) rescue_template: Option<Rescue>,
    /// By their names; an empty one: the default.
    pub(super) texts: BTreeMap<String, String>,
    /// The same by language (`de`); an empty text: what comes along, else English.
    pub(super) translations: BTreeMap<String, BTreeMap<String, String>>,
}

/// When the team is there, by its own clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Hours {
    /// Europe/Madrid.
    pub(super) time_zone: String,
    /// By mon to sun: 09:00-14:00, 16:00-24:00. A day that is left out is closed.
    pub(super) week: BTreeMap<String, Vec<String>>,
    /// Closed all day: 2026-12-25.
    pub(super) closed_on: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rescue {
    pub(super) name: String,
    pub(super) language: String,
    pub(super) parameters: Vec<String>,
}

/// A number as everybody may see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct View {
    pub(super) phone_number_id: String,
    pub(super) waba_id: String,
    pub(super) display_phone_number: String,
    pub(super) name: String,
    /// Whether there is one; it is never told.
    pub(super) has_access_token: bool,
    /// Where it stands, where that is not in the settings.
    pub(super) access_token_kept_in: Option<String>,
    pub(super) integration: Option<String>,
    pub(super) assistant: bool,
    pub(super) messages_per_second: u64,
    pub(super) escalation_partner: bool,
    pub(super) policy: PolicyView,
    pub(super) responder: responder::View,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct PolicyView {
    pub(super) assist_while_waiting: bool,
    pub(super) quiet_seconds: u64,
    pub(super) longest_quiet_seconds: u64,
    pub(super) auto_resolve_after_seconds: u64,
    pub(super) opening_patience_seconds: u64,
    pub(super) parked_keep_seconds: u64,
    pub(super) queue_notice_seconds: u64,
    pub(super) echo_quiet_seconds: u64,
    pub(super) language: String,
    pub(super) read_receipts: bool,
    pub(super) nobody_available: String,
    pub(super) hours: Option<Hours>,
    pub(super) after_hours: String,
    pub(super) stop_words: Vec<String>,
    pub(super) opt_out_words: Vec<String>,
    pub(super) opt_in_words: Vec<String>,
    pub(super) rescue_template: Option<Rescue>,
    /// What is said where it differs from the default.
    pub(super) texts: BTreeMap<String, String>,
    /// … by language, where it differs from what comes along.
    pub(super) translations: BTreeMap<String, BTreeMap<String, String>>,
}

/// What Baton itself says: its name, when, and the default.
pub(super) fn texts() -> [(&'static str, &'static str, String); 11] {
    named_texts(Texts::default())
}

pub(super) fn named_texts(of: Texts) -> [(&'static str, &'static str, String); 11] {
    let Texts {
        connecting,
        team_unreachable,
        nobody_available,
        chat_ended,
        no_team,
        queue_position,
        nobody_goodbye,
        after_hours_waiting,
        after_hours,
        after_hours_note,
        opted_out,
    } = of;
    [
        ("connecting", "While a person is being found", connecting),
        ("queue_position", "Place in the queue ({position} is the place)", queue_position),
        ("nobody_available", "Nobody is available, and the place is kept", nobody_available),
        ("nobody_goodbye", "Nobody is available, and the assistant is back", nobody_goodbye),
        (
            "after_hours_waiting",
            "The team is away, and the place is kept ({back} is when it is back)",
            after_hours_waiting,
        ),
        ("after_hours", "The team is away, and the assistant stays ({back})", after_hours),
        ("after_hours_note", "The team is away and finds a note ({back})", after_hours_note),
        ("team_unreachable", "Salesforce cannot be reached", team_unreachable),
        ("chat_ended", "The chat with the team has ended", chat_ended),
        ("no_team", "There is no team to hand off to", no_team),
        ("opted_out", "The customer wants no more marketing", opted_out),
    ]
}

impl View {
    pub(super) fn of(one: &Value) -> Self {
        let of = |name: &str| text(one, name).to_owned();
        let token = one.get("access_token");
        Self {
            phone_number_id: of("phone_number_id"),
            waba_id: of("waba_id"),
            display_phone_number: of("display_phone_number"),
            name: of("name"),
            has_access_token: token.is_some_and(|token| !token.is_null() && token != ""),
            access_token_kept_in: reference(token),
            integration: Some(of("integration")).filter(|id| !id.is_empty()),
            assistant: flag(one, "assistant", true),
            messages_per_second: number(one, "messages_per_second", 80),
            escalation_partner: flag(one, "escalation_partner", false),
            policy: PolicyView::of(one.get("policy").unwrap_or(&Value::Null)),
            responder: responder::View::of(one.get("responder").unwrap_or(&Value::Null)),
        }
    }

    pub(super) fn all(document: &Value) -> Vec<Self> {
        all(document, LIST).iter().map(Self::of).collect()
    }

    pub(super) fn find(document: &Value, number: &str) -> Result<Self, RouteError> {
        find(document, LIST, number).map(Self::of).ok_or(RouteError::UnknownChannel)
    }
}

impl PolicyView {
    fn of(policy: &Value) -> Self {
        let usual = Policy::default();
        let seconds = |name: &str, usual: std::time::Duration| number(policy, name, usual.as_secs());
        let words = |name: &str, usual: Vec<String>| {
            if policy.get(name).is_some_and(Value::is_array) { responder::texts(policy, name) } else { usual }
        };
        let said = |texts: &Map<String, Value>| -> BTreeMap<String, String> {
            let texts = texts.iter();
            texts.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        };
        let translations = policy.get("translations").and_then(Value::as_object);
        let rescue = policy.get("rescue_template").filter(|template| template.is_object());
        let hours = policy.get("hours").filter(|hours| hours.is_object());
        let texts = policy.get("texts").and_then(Value::as_object);
        let or = |name: &str, usual: &str| {
            let own = text(policy, name);
            if own.is_empty() { usual.to_owned() } else { own.to_owned() }
        };
        Self {
            assist_while_waiting: flag(policy, "assist_while_waiting", usual.assist_while_waiting),
            quiet_seconds: seconds("quiet_seconds", usual.quiet_seconds),
            longest_quiet_seconds: seconds("longest_quiet_seconds", usual.longest_quiet_seconds),
            auto_resolve_after_seconds: seconds(
                "auto_resolve_after_seconds",
                usual.auto_resolve_after_seconds,
            ),
            opening_patience_seconds: seconds("opening_patience_seconds", usual.opening_patience_seconds),
            parked_keep_seconds: seconds("parked_keep_seconds", usual.parked_keep_seconds),
            queue_notice_seconds: seconds("queue_notice_seconds", usual.queue_notice_seconds),
            echo_quiet_seconds: seconds("echo_quiet_seconds", usual.echo_quiet_seconds),
            language: or("language", &usual.language),
            read_receipts: flag(policy, "read_receipts", usual.read_receipts),
            nobody_available: or("nobody_available", "keep-waiting"),
            hours: hours.and_then(|hours| serde_json::from_value(hours.clone()).ok()),
            after_hours: or("after_hours", "keep-waiting"),
            stop_words: words("stop_words", usual.stop_words),
            opt_out_words: words("opt_out_words", usual.opt_out_words),
            opt_in_words: words("opt_in_words", usual.opt_in_words),
            rescue_template: rescue.and_then(|template| serde_json::from_value(template.clone()).ok()),
            texts: texts.map(said).unwrap_or_default(),
            translations: translations
                .into_iter()
                .flatten()
                .filter_map(|(language, texts)| Some((language.clone(), said(texts.as_object()?))))
                .collect(),
        }
    }
}

fn flag(value: &Value, name: &str, usual: bool) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(usual)
}

fn number(value: &Value, name: &str, usual: u64) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(usual)
}

/// Makes the change and says everything that would be wrong with the number, field by field.
pub(super) fn apply(document: &mut Value, number: &str, edit: &Edit, new: bool) -> Result<(), Refused> {
    let mut wrong = Vec::new();
    let mut say = |field: &str, problem: &str| {
        wrong.push(Invalid { field: field.to_owned(), problem: problem.to_owned() });
    };
    let id = |text: &str| (5..=20).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
    if new && !id(number) {
        say(
            "phone_number_id",
            "has digits only: WhatsApp Manager shows it as Phone number ID (not the number)",
        );
    }
    let one = element(document, LIST, if new { number } else { number.trim() }, new)?;
    change(one, edit, &mut say)?;
    if !id(one.get("waba_id").and_then(Value::as_str).unwrap_or_default())
        && reference(one.get("waba_id")).is_none()
    {
        say("waba_id", "has digits only: it is the WhatsApp Business Account ID");
    }
    for (name, problem) in [
        ("name", "is empty: people know the number by it"),
        ("display_phone_number", "is empty: write it as people dial it, +34 600 000 000"),
        ("access_token", "is empty: it is the token of a system user, which never expires"),
    ] {
        if one.get(name).is_none_or(|value| value.is_null() || value == "") {
            say(name, problem);
        }
    }
    if !wrong.is_empty() {
        return Err(Refused::Invalid(wrong));
    }
    filled_in(document).map(|_| ()).map_err(|found| {
        let found = within(document::named(found, document), LIST, number);
        let bare = |one: Invalid| {
            let field = one.field.strip_prefix("policy.").or(one.field.strip_prefix("responder."));
            let field = field.unwrap_or(&one.field).to_owned();
            Invalid { field, problem: one.problem }
        };
        Refused::Invalid(found.into_iter().map(bare).collect())
    })
}

fn change(
    one: &mut Map<String, Value>,
    edit: &Edit,
    say: &mut impl FnMut(&str, &str),
) -> Result<(), Refused> {
    for (name, value) in [
        ("waba_id", &edit.waba_id),
        ("display_phone_number", &edit.display_phone_number),
        ("name", &edit.name),
        ("access_token", &edit.access_token),
        ("integration", &edit.integration),
    ] {
        // An empty field leaves a value that stands elsewhere where it is.
        let kept = |value: &str| value.trim().is_empty() && reference(one.get(name)).is_some();
        if let Some(value) = value.as_ref().filter(|value| !kept(value)) {
            set(one, name, value);
        }
    }
    for (name, value) in [("assistant", edit.assistant), ("escalation_partner", edit.escalation_partner)] {
        if let Some(value) = value {
            one.insert(name.into(), value.into());
        }
    }
    if let Some(most) = edit.messages_per_second {
        if !(1..=1_000).contains(&most) {
            say("messages_per_second", "is 1 to 1000");
        }
        one.insert("messages_per_second".into(), most.into());
    }
    if let Some(edit) = &edit.responder {
        responder::change(one, edit)?;
    }
    let Some(edit) = &edit.policy else { return Ok(()) };
    let policy = one.entry("policy").or_insert_with(|| json!({}));
    let policy = policy.as_object_mut().ok_or(RouteError::Internal)?;
    for (name, value) in [
        ("quiet_seconds", edit.quiet_seconds),
        ("longest_quiet_seconds", edit.longest_quiet_seconds),
        ("auto_resolve_after_seconds", edit.auto_resolve_after_seconds),
        ("opening_patience_seconds", edit.opening_patience_seconds),
        ("parked_keep_seconds", edit.parked_keep_seconds),
        ("queue_notice_seconds", edit.queue_notice_seconds),
        ("echo_quiet_seconds", edit.echo_quiet_seconds),
    ] {
        if let Some(value) = value {
            policy.insert(name.into(), value.into());
        }
    }
    for (name, value) in
        [("assist_while_waiting", edit.assist_while_waiting), ("read_receipts", edit.read_receipts)]
    {
        if let Some(value) = value {
            policy.insert(name.into(), value.into());
        }
    }
    if let Some(language) = &edit.language {
        set(policy, "language", language);
    }
    if let Some(nobody) = &edit.nobody_available {
        if !matches!(nobody.as_str(), "keep-waiting" | "back-to-assistant") {
            say("nobody_available", "is keep-waiting or back-to-assistant");
        }
        policy.insert("nobody_available".into(), nobody.as_str().into());
    }
    match &edit.hours {
        Some(hours) if hours.time_zone.trim().is_empty() => {
            if hours.week.values().any(|spans| !spans.is_empty()) {
                say("hours.time_zone", "is empty: the hours are by whose clock?");
            }
            policy.remove("hours");
        }
        Some(hours) => {
            policy.insert("hours".into(), json!(hours));
        }
        None => {}
    }
    if let Some(after) = &edit.after_hours {
        if !matches!(after.as_str(), "keep-waiting" | "message" | "leave-note") {
            say("hours.after", "is keep-waiting, message or leave-note");
        }
        policy.insert("after_hours".into(), after.as_str().into());
    }
    for (name, words) in [
        ("stop_words", &edit.stop_words),
        ("opt_out_words", &edit.opt_out_words),
        ("opt_in_words", &edit.opt_in_words),
    ] {
        let Some(words) = words else { continue };
        if words.len() > 100 || words.iter().any(|word| word.trim().is_empty() || word.chars().count() > 60) {
            say(name, "has up to 100 lines of 1 to 60 characters");
        }
        policy.insert(name.into(), json!(words));
    }
    match &edit.rescue_template {
        Some(rescue) if rescue.name.trim().is_empty() => {
            policy.remove("rescue_template");
        }
        Some(rescue) => {
            if rescue.language.trim().is_empty() {
                say("rescue_language", "is empty: it is the template’s language, such as en_US");
            }
            policy.insert("rescue_template".into(), json!(rescue));
        }
        None => {}
    }
    if !edit.texts.is_empty() {
        put_texts(policy, "texts", &edit.texts, &Texts::default(), say)?;
    }
    let built_in = Policy::default().translations;
    for (language, texts) in &edit.translations {
        let Some(code) = texts_pages::code(language) else {
            say("translations", "are by languages of two or three letters, such as de");
            continue;
        };
        let all = policy.entry("translations").or_insert_with(|| json!({}));
        let all = all.as_object_mut().ok_or(RouteError::Internal)?;
        // As it was written; `de_AT` is German, too.
        let name = all.keys().find(|name| texts_pages::code(name).as_ref() == Some(&code)).cloned();
        let usual = built_in.get(&code).cloned().unwrap_or_else(Texts::default);
        put_texts(all, &name.unwrap_or(code), texts, &usual, say)?;
        if all.is_empty() {
            policy.remove("translations");
        }
    }
    Ok(())
}

/// Under `name`, each that differs from the usual one; nothing where none does.
fn put_texts(
    of: &mut Map<String, Value>,
    name: &str,
    texts: &BTreeMap<String, String>,
    usual: &Texts,
    say: &mut impl FnMut(&str, &str),
) -> Result<(), Refused> {
    let own = of.entry(name).or_insert_with(|| json!({}));
    let own = own.as_object_mut().ok_or(RouteError::Internal)?;
    let known = named_texts(usual.clone());
    for (text, said) in texts {
        match known.iter().find(|(known, ..)| known == text) {
            Some((.., usual)) if said.trim() == usual => set(own, text, ""),
            // A message's limit at WhatsApp.
            Some(_) if said.chars().count() > 1_024 => {
                say(&format!("texts.{text}"), "has 1024 characters at most")
            }
            Some(_) => set(own, text, said),
            None => say("texts", "has a name that Baton does not say anything by"),
        }
    }
    if own.is_empty() {
        of.remove(name);
    }
    Ok(())
}

/// As services have it; also for a number that is not in the settings yet.
pub(super) fn typed(document: &Value, number: &str) -> Result<Channel, Refused> {
    let settings = filled_in(document)
        .map_err(|found| Refused::Invalid(within(document::named(found, document), LIST, number)))?;
    let found = settings.channels.into_iter().find(|one| one.phone_number_id.as_str() == number);
    found.ok_or_else(|| RouteError::UnknownChannel.into())
}
