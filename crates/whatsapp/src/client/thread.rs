//! Who answers on a thread that several responders share (Conversation Routing, §13.3).

use domain::PhoneNumberId;
use secrecy::SecretString;
use serde::Serialize;

use super::{Client, Recipient, SendError};

/// The longest `metadata` of a thread control, in characters (§13.3).
pub const MAX_METADATA_CHARS: usize = 2000;

/// Who answers on a thread (§13.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The escalation partner's right.
    Take,
    /// The owner's right. `None`: to the escalation partner.
    Pass(Option<Role>),
    /// Back to nobody: the customer's next message is routed anew.
    Release,
}

/// A responder's part in Conversation Routing (§13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    AiAgent,
    ClickToWhatsapp,
    CustomerService,
    Escalation,
    Marketing,
    Utility,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AiAgent => "ai_agent",
            Self::ClickToWhatsapp => "ctwa",
            Self::CustomerService => "customer_service",
            Self::Escalation => "escalation",
            Self::Marketing => "marketing",
            Self::Utility => "utility",
        }
    }
}

#[derive(Serialize)]
struct ThreadControl<'a> {
    messaging_product: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<&'a str>,
    action: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_pass: Option<ControlPass>,
}

#[derive(Serialize)]
struct ControlPass {
    target_role: &'static str,
}

impl Client {
    /// Takes, passes or releases a thread that several responders share (§13.3). Safe to repeat.
    /// `metadata` goes to the other responder, cut to [`MAX_METADATA_CHARS`].
    pub async fn thread_control(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        to: &Recipient,
        control: Control,
        metadata: &str,
    ) -> Result<(), SendError> {
        let (to, recipient) = match to {
            Recipient::Phone(digits) => (Some(format!("+{digits}")), None),
            Recipient::User(bsuid) => (None, Some(bsuid.as_str())),
            Recipient::Group(group) => (Some(group.clone()), None),
        };
        let (action, role) = match control {
            Control::Take => ("take", None),
            Control::Pass(role) => ("pass", role),
            Control::Release => ("release", None),
        };
        let control_pass = role.map(|role| ControlPass { target_role: role.as_str() });
        let end = metadata.char_indices().nth(MAX_METADATA_CHARS).map_or(metadata.len(), |(at, _)| at);
        let metadata = &metadata[..end];
        let request =
            ThreadControl { messaging_product: "whatsapp", to, recipient, action, metadata, control_pass };
        self.post(number, "thread_control", token, &request).await.map(|_| ())
    }
}
