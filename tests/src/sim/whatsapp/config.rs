//! What can be set, and what comes in and out over the control API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::Content;

/// How the simulated Cloud API behaves. Defaults are as strict as `whatsapp-cloud-api.md` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhatsAppConfig {
    /// 131056 when the pair's bucket is empty.
    pub pair_limit: bool,
    pub pair_burst: u32,
    /// One message more per this many milliseconds.
    pub pair_refill_ms: u64,
    /// After a burst that emptied the bucket nothing goes until all that was borrowed is paid back.
    pub pair_payback: bool,
    /// 130429 when the number's bucket is empty. Messages received count too.
    pub number_limit: bool,
    /// For numbers without a rate of their own ([`Setup`](super::Setup)).
    pub number_per_second: u32,
    /// What breaks a limit is accepted and only recorded.
    pub only_record_limits: bool,
    /// Instead of the messaging limit of the number's setup (`TIER_…`): users that templates may go to
    /// outside a window in 24 h, over all numbers.
    pub messaging_limit: Option<u32>,
    /// The status of what is beyond it fails with this; Meta's is not known.
    pub messaging_limit_code: i64,
    /// Marketing templates that a user gets in 24 h, from whatever number; more fail with 131049.
    /// Absent: no limit. Meta's depends on the user and is not known.
    pub marketing_per_user: Option<u32>,
    /// 80007 for more management calls than this in an hour, per business account. Absent: no limit.
    pub management_per_hour: Option<u32>,
    /// 131047 for free-form messages outside the customer service window.
    pub window: bool,
    pub window_hours: u32,
    pub window_refusal: WindowRefusal,
    /// Whether statuses come at all, and when after acceptance.
    pub statuses: bool,
    pub sent_after_ms: u64,
    pub delivered_after_ms: u64,
    /// Absent: the customer never opens the chat.
    pub read_after_ms: Option<u64>,
    /// Of voice messages. Absent: never played.
    pub played_after_ms: Option<u64>,
    /// `read` comes without `delivered`, as from a chat that was open.
    pub skip_delivered: bool,
    /// Failed statuses come with `contacts` (the id sent to, no profile), as a public client (pywa)
    /// expects; the documentation has none there.
    pub contacts_in_failed: bool,
    /// Recipients (digits or BSUID) to whom every message fails.
    pub failing: BTreeMap<String, Failing>,
    /// Digits dialled to the `wa_id` they belong to, where it differs.
    pub wa_ids: BTreeMap<String, String>,
    /// The answer to a free-form message on a thread of another responder; Meta's is not known.
    pub not_owner_code: i64,
    /// Files: only the documented types. False: any type goes as a document, and uploads up to 100 MB.
    pub media_strict: bool,
    /// Webhooks carry the file's `url`, as since November 2025.
    pub media_url_in_webhooks: bool,
    /// Life of a file's URL, and of files from customers and from the business.
    pub media_url_ms: u64,
    pub media_inbound_days: u32,
    pub media_uploaded_days: u32,
    /// Before the path of a file's URL. Absent: this simulator's address.
    pub media_base_url: Option<String>,
    /// Give customers that have none a BSUID, as every webhook since April 2026 does.
    pub auto_bsuid: bool,
    /// Every webhook is posted this many times at once.
    pub duplicates: u32,
    /// Up to this many updates in one POST (1 to 1,000), waiting so long for more.
    pub batch: usize,
    pub batch_wait_ms: u64,
    /// Parallel POSTs per number (1 to 1,024). Read when the number is set.
    pub connections: usize,
    /// Pauses between attempts of a webhook: the first, what it is multiplied by, the longest; and
    /// when it is given up. Meta's are minutes to hours, up to days; these are compressed.
    pub retry_first_ms: u64,
    pub retry_factor: f64,
    pub retry_cap_ms: u64,
    pub retry_horizon_ms: u64,
    pub webhook_timeout_ms: u64,
    pub signature: Signature,
    pub encoding: Encoding,
}

impl Default for WhatsAppConfig {
    fn default() -> Self {
        Self {
            pair_limit: true,
            pair_burst: 45,
            pair_refill_ms: 6_000,
            pair_payback: false,
            number_limit: true,
            number_per_second: 80,
            only_record_limits: false,
            messaging_limit: None,
            messaging_limit_code: 131_048,
            marketing_per_user: None,
            management_per_hour: None,
            window: true,
            window_hours: 24,
            window_refusal: WindowRefusal::AtOnce,
            statuses: true,
            sent_after_ms: 5,
            delivered_after_ms: 25,
            read_after_ms: Some(100),
            played_after_ms: None,
            skip_delivered: false,
            contacts_in_failed: false,
            failing: BTreeMap::new(),
            wa_ids: BTreeMap::new(),
            not_owner_code: 131_005,
            media_strict: true,
            media_url_in_webhooks: true,
            media_url_ms: 300_000,
            media_inbound_days: 7,
            media_uploaded_days: 30,
            media_base_url: None,
            auto_bsuid: true,
            duplicates: 1,
            batch: 1,
            batch_wait_ms: 0,
            connections: 64,
            retry_first_ms: 200,
            retry_factor: 2.0,
            retry_cap_ms: 5_000,
            retry_horizon_ms: 7 * 24 * 3_600_000,
            webhook_timeout_ms: 10_000,
            signature: Signature::Good,
            encoding: Encoding::Escaped,
        }
    }
}

/// How a free-form message outside the window is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowRefusal {
    /// By the HTTP answer.
    #[serde(alias = "now")]
    AtOnce,
    /// By a failed status after a 200.
    #[serde(alias = "later")]
    Late,
    /// In turns.
    Half,
}

/// How messages to one recipient fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failing {
    /// Of `whatsapp-cloud-api.md` §9.2.
    pub code: i64,
    /// By a failed status after a 200 instead of the HTTP answer.
    #[serde(default)]
    pub late: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    Good,
    Wrong,
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// ASCII with `\/`, as Meta sends.
    Escaped,
    /// Raw UTF-8.
    Utf8,
}

/// A business number and the app that is subscribed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    pub phone_number_id: String,
    pub waba_id: String,
    /// Digits. Empty: derived from the id.
    #[serde(default)]
    pub display_phone_number: String,
    /// The access token that may send from it.
    pub token: String,
    pub app_secret: String,
    pub callback_url: String,
    pub verify_token: String,
}

/// A person with WhatsApp. At least one of `phone` and `bsuid`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Customer {
    /// Digits. Absent: hidden from the business.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bsuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_bsuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

impl Customer {
    pub fn phone(phone: &str, name: &str) -> Self {
        Self { phone: Some(phone.to_owned()), name: Some(name.to_owned()), ..Self::default() }
    }

    pub fn hidden(bsuid: &str, name: &str) -> Self {
        Self { bsuid: Some(bsuid.to_owned()), name: Some(name.to_owned()), ..Self::default() }
    }

    /// How the record and the phone view call this customer.
    pub fn key(&self) -> String {
        self.phone.clone().or_else(|| self.bsuid.clone()).unwrap_or_default()
    }
}

/// A customer writes to a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Say {
    pub number: String,
    pub customer: Customer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Instead of `text`: members of the message object (`{"type":"image","image":{…}}`), as they are.
    /// [`Act`](super::Act) makes them from what a customer does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Value>,
    /// Sent so long ago: the timestamp and the window go by it.
    #[serde(default)]
    pub age_ms: u64,
}

impl Say {
    pub fn text(number: &str, customer: &Customer, text: &str) -> Self {
        Self {
            number: number.to_owned(),
            customer: customer.clone(),
            text: Some(text.to_owned()),
            message: None,
            age_ms: 0,
        }
    }
}

/// A webhook as it is: `value` of one change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWebhook {
    pub number: String,
    #[serde(default = "messages")]
    pub field: String,
    pub value: Value,
}

fn messages() -> String {
    "messages".to_owned()
}

/// One chat on a customer's phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneView {
    pub number: String,
    /// [`Customer::key`].
    pub customer: String,
    pub name: Option<String>,
    pub bsuid: Option<String>,
    /// The business is shown as typing: until its next message, or 25 s.
    #[serde(default)]
    pub typing: bool,
    /// In the order in which the customer has them.
    pub messages: Vec<PhoneMessage>,
}

impl PhoneView {
    /// What the business said and the customer can see.
    pub fn received(&self) -> Vec<&str> {
        let shown = self.messages.iter().filter(|m| !m.from_customer && m.visible);
        shown.map(|m| m.text.as_str()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneMessage {
    pub wamid: String,
    pub from_customer: bool,
    /// The text, the caption, the body of an interactive message, the emoji of a reaction, a template
    /// with its variables filled in. Where there is none: the kind in brackets.
    pub text: String,
    /// By the simulator's clock.
    pub at_ms: i64,
    /// Outbound: `accepted`, `sent`, `delivered`, `read`, `played`, `failed`. Inbound: `sent`, `read`.
    pub tick: String,
    /// False for what was accepted and failed afterwards.
    pub visible: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<String>,
    /// Absent for a text that quotes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Box<Content>>,
}

impl PhoneMessage {
    /// The type of the message.
    pub fn kind(&self) -> &str {
        self.content.as_ref().map_or("text", |content| content.kind.as_str())
    }
}
