//! What people say to one another, whatever the wire it came on.

mod content;
mod outgoing;
mod split;

pub use content::{
    Choice, ChoiceKind, ContactCard, Content, Form, IdentityChange, Location, Media, MediaKind, Order,
    OrderItem, Speaker,
};
pub use outgoing::{
    Attachment, Buttons, File, Header, LinkButton, List, Outgoing, Parameter, Section, Tap, Template,
    TemplateButton,
};
pub use split::split_text;

use crate::{CustomerId, Millis, PhoneNumberId, Wamid};

/// Who writes on WhatsApp, as the webhook told it. A phone number may be hidden, a BSUID missing
/// from older traffic; one of them is always there.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Customer {
    /// Digits, no plus.
    pub phone: Option<String>,
    /// Business-scoped user id.
    pub bsuid: Option<String>,
    pub parent_bsuid: Option<String>,
    /// Chosen by the customer: any length, any script.
    pub name: Option<String>,
    pub username: Option<String>,
}

impl Customer {
    /// What identifies the conversation: the BSUID where there is one, else the phone number.
    pub fn id(&self) -> Option<CustomerId> {
        self.bsuid.as_deref().or(self.phone.as_deref()).map(CustomerId::new)
    }

    /// What the rep is shown: the chosen name, else the username, else nothing.
    pub fn display_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.username.as_deref()).filter(|name| !name.trim().is_empty())
    }
}

/// Personal data: never printed.
impl std::fmt::Debug for Customer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Customer(…)")
    }
}

/// A message from a customer.
#[derive(Clone, PartialEq, Eq)]
pub struct InboundMessage {
    pub number: PhoneNumberId,
    pub wamid: Wamid,
    /// When the customer sent it, by Meta's clock. The customer service window counts from here.
    pub sent_at: Millis,
    pub customer: Customer,
    pub content: Content,
    pub context: MessageContext,
}

impl InboundMessage {
    /// Whose conversation it belongs to: the group's, else the sender's.
    pub fn conversation(&self) -> Option<CustomerId> {
        self.context.group.as_deref().map(CustomerId::new).or_else(|| self.customer.id())
    }
}

/// What stands around a message.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct MessageContext {
    /// The message that it quotes or answers; it may be unknown to us (§2.3).
    pub quotes: Option<Wamid>,
    pub forwarded: Forwarded,
    /// The advertisement that the customer came from (§2.4).
    pub referral: Option<Referral>,
    /// The catalogue product that is asked about.
    pub product: Option<String>,
    /// The group that it was written in; the conversation is the group's.
    pub group: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forwarded {
    #[default]
    No,
    Yes,
    /// More than five times.
    Often,
}

/// An advertisement or a post with a button that opens a chat.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Referral {
    pub headline: Option<String>,
    pub body: Option<String>,
    pub source_url: Option<String>,
    pub source_id: Option<String>,
    /// The click's id, for the advertiser's attribution.
    pub click: Option<String>,
}

/// Personal data: never printed.
impl std::fmt::Debug for MessageContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageContext(…)")
    }
}

impl std::fmt::Debug for InboundMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboundMessage").field("sent_at", &self.sent_at).finish_non_exhaustive()
    }
}

/// What these hold is personal data: never printed.
macro_rules! hidden {
    ($($name:ident),* $(,)?) => {
        $(impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        })*
    };
}

hidden!(
    Attachment,
    Buttons,
    Choice,
    ContactCard,
    File,
    Form,
    Header,
    IdentityChange,
    LinkButton,
    List,
    Location,
    Media,
    Order,
    OrderItem,
    Parameter,
    Referral,
    Section,
    Tap,
    Template,
    TemplateButton,
);
