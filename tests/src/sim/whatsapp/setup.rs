//! How a number, its business account and its app are set up at Meta: what the management calls
//! show, and the switches that break it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The setup of one number. The business account and the app are those of the number; numbers of
/// one account are set up alike by `subscribed_apps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setup {
    /// False: 190 for every call with the number's token.
    pub token_valid: bool,
    /// Seconds since 1970; 0: never.
    pub token_expires_at: i64,
    /// Without `whatsapp_business_messaging` no message goes (10), without
    /// `whatsapp_business_management` no management call.
    pub scopes: Vec<String>,
    pub app_id: String,
    pub app_name: String,
    pub business_id: String,
    pub verified_name: String,
    /// `CONNECTED`, `RESTRICTED`, `FLAGGED` … (§8)
    pub status: String,
    pub quality_rating: String,
    pub code_verification_status: String,
    pub name_status: String,
    pub throughput: String,
    /// Instead of `number_per_second` of the configuration.
    pub messages_per_second: Option<u32>,
    pub messaging_limit: String,
    pub account_mode: String,
    pub is_official_business_account: bool,
    /// Also used in the Business app (coexistence).
    pub is_on_biz_app: bool,
    /// Every message is refused with this code: 131031 locked, 368 blocked, 131042 unpaid …
    pub send_error: Option<i64>,
    /// Whether the app is subscribed to the business account. No webhook comes otherwise.
    pub subscribed: bool,
    /// Webhook fields the app is subscribed to; other webhooks are not sent.
    pub fields: Vec<String>,
    /// The callback of the account (`subscribed_apps`), of the number (`webhook_configuration`), over
    /// the app's (`Number::callback_url`).
    pub waba_callback: Option<String>,
    pub number_callback: Option<String>,
    /// `AVAILABLE`, `LIMITED`, `BLOCKED`.
    pub health: String,
    /// The entity that makes it so: `PHONE_NUMBER`, `WABA`, `BUSINESS`, `APP`.
    pub health_entity: String,
    /// The reason given when not available: code and description.
    pub health_code: i64,
    pub health_reason: String,
    /// Two responders on the number (§13). Absent: Conversation Routing sees only us.
    pub routing: Option<Routing>,
}

/// Who answers on a number that has another responder than us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// New threads are ours.
    pub we_are_primary: bool,
    /// We may take threads, and get those that are passed without a target.
    pub we_are_escalation: bool,
    pub our_role: String,
    pub other_role: String,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            we_are_primary: false,
            we_are_escalation: true,
            our_role: "escalation".to_owned(),
            other_role: "ai_agent".to_owned(),
        }
    }
}

/// Every field of §1.6 that Baton could use.
const FIELDS: [&str; 28] = [
    "messages",
    "message_echoes",
    "smb_message_echoes",
    "history",
    "smb_app_state_sync",
    "user_preferences",
    "calls",
    "flows",
    "standby",
    "messaging_handovers",
    "group_lifecycle_update",
    "group_participants_update",
    "group_settings_update",
    "group_status_update",
    "account_update",
    "account_alerts",
    "account_review_update",
    "account_settings_update",
    "business_capability_update",
    "business_status_update",
    "business_username_update",
    "phone_number_name_update",
    "phone_number_quality_update",
    "message_template_status_update",
    "message_template_quality_update",
    "message_template_components_update",
    "template_category_update",
    "security",
];

impl Default for Setup {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            token_valid: true,
            token_expires_at: 0,
            scopes: ["whatsapp_business_management", "whatsapp_business_messaging"].map(text).to_vec(),
            app_id: text("331100220033001"),
            app_name: text("Baton"),
            business_id: text("440022001100001"),
            verified_name: text("Example Shop"),
            status: text("CONNECTED"),
            quality_rating: text("GREEN"),
            code_verification_status: text("VERIFIED"),
            name_status: text("APPROVED"),
            throughput: text("STANDARD"),
            messages_per_second: None,
            messaging_limit: text("TIER_2K"),
            account_mode: text("LIVE"),
            is_official_business_account: false,
            is_on_biz_app: false,
            send_error: None,
            subscribed: true,
            fields: FIELDS.map(text).to_vec(),
            waba_callback: None,
            number_callback: None,
            health: text("AVAILABLE"),
            health_entity: text("PHONE_NUMBER"),
            health_code: 141_002,
            health_reason: text("made-up reason"),
            routing: None,
        }
    }
}

impl Setup {
    /// Whether the app gets webhooks of this field. Names that Meta does not have always go, so that
    /// tests can send them.
    pub(super) fn listens(&self, field: &str) -> bool {
        self.subscribed && (!FIELDS.contains(&field) || self.fields.iter().any(|known| known == field))
    }

    /// `health_status` of a node.
    pub(super) fn health_status(&self, kind: &str, id: &str, waba_id: &str) -> Value {
        let mut entities = Vec::new();
        let all = [
            (kind, id),
            ("WABA", waba_id),
            ("BUSINESS", self.business_id.as_str()),
            ("APP", self.app_id.as_str()),
        ];
        for (entity_type, id) in all {
            if entities.iter().any(|known: &Value| known["entity_type"] == entity_type) {
                continue;
            }
            let mut entity = json!({ "entity_type": entity_type, "id": id, "can_send_message": "AVAILABLE" });
            if entity_type == self.health_entity {
                entity["can_send_message"] = self.health.as_str().into();
                match self.health.as_str() {
                    "LIMITED" => entity["additional_info"] = json!([self.health_reason]),
                    "BLOCKED" => {
                        entity["errors"] = json!([{
                            "error_code": self.health_code, "error_description": self.health_reason,
                            "possible_solution": "Contact the support of the platform.",
                        }]);
                    }
                    _ => {}
                }
            }
            entities.push(entity);
        }
        json!({ "can_send_message": self.health, "entities": entities })
    }
}
