//! What an operator configures: numbers, Salesforce integrations, policies. Parsed and checked
//! here, read from disk by `runtime::settings`. `deploy/settings.sample.json` shows every field.

mod assistant;
mod hours;
mod integration;
mod texts;
mod webhook;

use std::{fmt, time::Duration};

pub use assistant::{
    Action, BUILT_IN_TOOLS, Fallback, HandoffRules, Level, Masking, MaxTokensField, Model, Responder,
    Transcriber, is_below,
};
pub use hours::{AfterHours, DAYS, Hours, Presence, in_words};
pub use integration::{AttributeRule, AttributeSource, Fields, Integration, IntegrationKey, OrgId};

use secrecy::SecretString;
use serde::Deserialize;
pub(crate) use texts::primary;
pub use webhook::Webhook;

use crate::{IntegrationId, PhoneNumberId, WabaId};

/// The whole configuration, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Raised by the operator with every change; decisions name the version they were made under.
    #[serde(default = "first_version")]
    pub version: u64,
    /// The organisation's switch: when off, no assistant answers on any channel.
    #[serde(default = "yes")]
    pub autopilot: bool,
    pub channels: Vec<Channel>,
    #[serde(default)]
    pub webhook: Webhook,
    #[serde(default)]
    pub integrations: Vec<Integration>,
    /// The built-in assistant's answers.
    #[serde(default)]
    pub faq: Vec<FaqEntry>,
}

/// A WhatsApp business number.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub phone_number_id: PhoneNumberId,
    pub waba_id: WabaId,
    /// As people dial it, for display only.
    pub display_phone_number: String,
    pub name: String,
    /// System user token of the app that sends on this number.
    pub access_token: SecretString,
    /// Where a handoff goes. Without one the assistant keeps the customer.
    pub integration: Option<IntegrationId>,
    /// The channel's own switch for the assistant.
    #[serde(default = "yes")]
    pub assistant: bool,
    /// Messages a second that the number may send (80, after Meta's upgrade up to 1,000; 20 for
    /// numbers that are in the WhatsApp Business app as well).
    #[serde(default = "eighty")]
    pub messages_per_second: u32,
    /// Several responders share the number, and Baton's app is the escalation partner: it takes the
    /// thread at a handoff and releases it afterwards (Conversation Routing).
    #[serde(default)]
    pub escalation_partner: bool,
    /// How the assistant answers.
    #[serde(default)]
    pub responder: Responder,
    #[serde(default)]
    pub policy: Policy,
}

/// How a channel treats its customers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether the assistant helps on while the customer waits for a rep.
    pub assist_while_waiting: bool,
    /// The assistant is asked when the customer has not written for so long, so that several short
    /// messages make one turn; 0: at once, each message by itself.
    #[serde(with = "seconds")]
    pub quiet_seconds: Duration,
    /// … but at most so long after the first of them.
    #[serde(with = "seconds")]
    pub longest_quiet_seconds: Duration,
    /// After this much silence the customer's next message opens a new session (assistant only;
    /// never while a rep has the conversation).
    #[serde(with = "seconds")]
    pub auto_resolve_after_seconds: Duration,
    /// How long a handoff may hang before the customer is told that it takes longer.
    #[serde(with = "seconds")]
    pub opening_patience_seconds: Duration,
    /// Sent once when a rep writes outside the customer service window, so that the customer may
    /// open it again. Without one the rep's messages wait all the same.
    pub rescue_template: Option<RescueTemplate>,
    /// How long a rep's messages wait for the customer service window.
    #[serde(with = "seconds")]
    pub parked_keep_seconds: Duration,
    /// How long the assistant keeps quiet after somebody answered in the WhatsApp Business app.
    #[serde(with = "seconds")]
    pub echo_quiet_seconds: Duration,
    /// Of the customers, as Salesforce writes it, where nothing tells better.
    pub language: String,
    /// Whether the customer sees that messages were read, and typing indicators.
    pub read_receipts: bool,
    /// The customer is told the place in the queue at most this often; 0: never.
    #[serde(with = "seconds")]
    pub queue_notice_seconds: Duration,
    /// What becomes of a customer when nobody is available.
    pub nobody_available: Nobody,
    /// When the team is there; none: always.
    pub hours: Option<Hours>,
    /// What becomes of a customer who wants a person at another time.
    pub after_hours: AfterHours,
    /// A customer who writes just one of these words ends the chat with the team.
    pub stop_words: Vec<String>,
    /// A customer who writes just one of these, or taps on a button with such a title, gets no more
    /// marketing messages, and is told so.
    pub opt_out_words: Vec<String>,
    /// … and gets them again.
    pub opt_in_words: Vec<String>,
    pub texts: Texts,
    /// The same in other languages (`de`), over the translations that come along.
    #[serde(deserialize_with = "texts::deserialize")]
    pub translations: std::sync::Arc<std::collections::BTreeMap<String, Texts>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nobody {
    /// The customer keeps the place in the queue, and is told so.
    KeepWaiting,
    /// The assistant is back, and the customer is told so.
    BackToAssistant,
}

/// A template that asks the customer to write again. Its parameters may hold `{name}`, the
/// customer's name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RescueTemplate {
    pub name: String,
    pub language: String,
    #[serde(default)]
    pub parameters: Vec<String>,
}

/// In the languages that Baton speaks, and Meta's own button.
const OPT_OUT_WORDS: [&str; 16] = [
    "stop",
    "stop promotions",
    "unsubscribe",
    "opt out",
    "stop all",
    "baja",
    "cancelar suscripción",
    "sair",
    "cancelar inscrição",
    "désinscription",
    "désabonner",
    "abmelden",
    "abbestellen",
    "إلغاء الاشتراك",
    "सदस्यता समाप्त",
    "annulla iscrizione",
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            assist_while_waiting: true,
            quiet_seconds: Duration::from_secs(3),
            longest_quiet_seconds: Duration::from_secs(10),
            auto_resolve_after_seconds: Duration::from_secs(24 * 3600),
            opening_patience_seconds: Duration::from_secs(20),
            rescue_template: None,
            parked_keep_seconds: Duration::from_secs(3 * 24 * 3600),
            echo_quiet_seconds: Duration::from_secs(30 * 60),
            language: "en_US".into(),
            read_receipts: true,
            queue_notice_seconds: Duration::from_secs(60),
            nobody_available: Nobody::KeepWaiting,
            hours: None,
            after_hours: AfterHours::KeepWaiting,
            stop_words: Vec::new(),
            opt_out_words: words(&OPT_OUT_WORDS),
            opt_in_words: words(&["start", "unstop", "subscribe"]),
            texts: Texts::default(),
            translations: texts::built_in(),
        }
    }
}

impl Policy {
    fn check(&self, say: &mut impl FnMut(String, &str)) {
        if self.quiet_seconds > Duration::from_secs(10) {
            say("quiet_seconds".into(), "is 0 to 10");
        }
        if self.longest_quiet_seconds < self.quiet_seconds
            || self.longest_quiet_seconds > Duration::from_secs(30)
        {
            say("longest_quiet_seconds".into(), "is at least quiet_seconds and at most 30");
        }
        if let Some(hours) = &self.hours {
            hours.check(&mut |name, problem| say(format!("hours.{name}"), problem));
        }
    }
}

/// What Baton itself says to the customer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Texts {
    pub connecting: String,
    pub team_unreachable: String,
    pub nobody_available: String,
    pub chat_ended: String,
    pub no_team: String,
    /// `{position}` is the place in the queue.
    pub queue_position: String,
    /// Nobody is available, and the assistant is back.
    pub nobody_goodbye: String,
    /// The team is away, and the customer waits in the queue; `{back}` is when it is back.
    pub after_hours_waiting: String,
    /// … the assistant stays with the customer.
    pub after_hours: String,
    /// … and the team gets a note.
    pub after_hours_note: String,
    /// The customer wants no marketing messages.
    pub opted_out: String,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            connecting: "I'm connecting you with our team. Someone will be with you shortly.".into(),
            team_unreachable: "I can't reach our team's system right now. Your request is kept, and I'll connect you as soon as it is back.".into(),
            nobody_available: "Nobody is available right now. You keep your place, and a person will answer as soon as possible.".into(),
            chat_ended: "The chat with our team has ended. I'm the assistant again: write if there is anything else.".into(),
            no_team: "I'm sorry, I can't reach a person from here.".into(),
            queue_position: "You are number {position} in the queue.".into(),
            nobody_goodbye: "Nobody of our team is available right now, so I'm back to help you. Ask for a person again at any time.".into(),
            after_hours_waiting: "Our team is away right now (back: {back}). Your request is kept, and a person will answer then.".into(),
            after_hours: "Our team is away right now (back: {back}). Ask for a person again then; until then I'm here to help.".into(),
            after_hours_note: "Our team is away right now (back: {back}). I've left them a note with what you wrote; until then I'm here to help.".into(),
            opted_out: "You will get no more promotional messages from us. Write START to get them again.".into(),
        }
    }
}

/// One question the built-in assistant can answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaqEntry {
    /// The answer is given when a message contains all words of any of these phrases.
    pub phrases: Vec<String>,
    pub answer: String,
}

/// A value that cannot be used, where it stands and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    pub field: String,
    pub problem: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl Settings {
    /// Everything that is wrong, each with its field, so that an operator mends it in one go.
    pub fn check(&self) -> Vec<Invalid> {
        let mut found = Vec::new();
        let mut say = |field: String, problem: &str| found.push(Invalid { field, problem: problem.into() });
        self.webhook.check(&mut |name, problem| say(format!("webhook.{name}"), problem));
        for (i, channel) in self.channels.iter().enumerate() {
            if channel.phone_number_id.as_str().is_empty() {
                say(format!("channels[{i}].phone_number_id"), "is empty");
            }
            if self.channels[..i].iter().any(|c| c.phone_number_id == channel.phone_number_id) {
                say(format!("channels[{i}].phone_number_id"), "is configured twice");
            }
            if let Some(wanted) = &channel.integration
                && !self.integrations.iter().any(|known| known.id == *wanted)
            {
                say(format!("channels[{i}].integration"), "names no integration in integrations[]");
            }
            channel.policy.check(&mut |name, problem| say(format!("channels[{i}].policy.{name}"), problem));
            channel
                .responder
                .check(&mut |name, problem| say(format!("channels[{i}].responder.{name}"), problem));
        }
        for (i, integration) in self.integrations.iter().enumerate() {
            let field = |name: &str| format!("integrations[{i}].{name}");
            if self.integrations[..i].iter().any(|known| known.id == integration.id) {
                say(field("id"), "is configured twice");
            }
            integration.check(&mut |name, problem| say(field(name), problem));
        }
        found
    }

    pub fn channel(&self, number: &PhoneNumberId) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.phone_number_id == *number)
    }

    /// Both switches are on: the organisation's and the channel's own.
    pub fn assistant_answers(&self, number: &PhoneNumberId) -> bool {
        self.autopilot && self.channel(number).is_some_and(|channel| channel.assistant)
    }

    /// Where a number's handoffs go; none: nowhere.
    pub fn integration_of(&self, number: &PhoneNumberId) -> Option<&Integration> {
        self.integration(self.channel(number)?.integration.as_ref()?)
    }

    pub fn integration(&self, id: &IntegrationId) -> Option<&Integration> {
        self.integrations.iter().find(|integration| integration.id == *id)
    }
}

fn first_version() -> u64 {
    1
}

fn eighty() -> u32 {
    80
}

fn yes() -> bool {
    true
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_secs)
    }
}
