//! What a customer's message holds (`whatsapp-cloud-api.md` §2), and how a person reads it.

use std::fmt::Write as _;

use super::Customer;
use crate::Wamid;

#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Text(String),
    Media(Media),
    Location(Location),
    Contacts(Vec<ContactCard>),
    /// A tap on a button or on the row of a list.
    Choice(Choice),
    /// A filled-in flow or address form.
    Form(Form),
    Order(Order),
    Reaction {
        to: Wamid,
        /// `None`: taken back.
        emoji: Option<String>,
    },
    /// The customer changed a message: a mark on it, never a replacement.
    Edited {
        message: Wamid,
        /// What it says now.
        text: String,
    },
    /// The customer deleted a message for everyone: a mark on it, never a deletion.
    Revoked {
        message: Wamid,
    },
    /// Something that WhatsApp does not pass on (a poll, a view-once picture).
    Unsupported {
        /// What it was, where Meta says so.
        kind: Option<String>,
        /// 0 when Meta gives none.
        code: i32,
    },
    /// A kind that is not understood yet: named, with whatever words came along. The raw JSON stays
    /// in the log entry.
    Other {
        kind: String,
        text: Option<String>,
    },
    /// The customer goes by other ids from now on: the same person.
    Identity(IdentityChange),
    /// Somebody of the business answered in the WhatsApp Business app. Holds what they wrote.
    Echo(Box<Content>),
    /// The customer wrote, but the thread belongs to another responder (Conversation Routing, §13).
    Standby(Box<Content>),
    /// The other responder's answer.
    OtherResponder(Box<Content>),
    /// The other responder passed the thread to us.
    ControlPassed {
        /// What the other side says about why: free text.
        reason: Option<String>,
        /// Its summary of the conversation.
        summary: Option<String>,
    },
    /// The thread was taken from us.
    ControlTaken,
    /// Whether the customer wants marketing messages.
    MarketingConsent {
        wanted: bool,
    },
    /// Not something the customer said, and nothing to act on: kept for the timeline.
    Notice {
        kind: String,
    },
}

/// Who said what a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    Customer,
    /// Somebody of the business, in the WhatsApp Business app.
    Colleague,
    /// Another responder on the number.
    OtherResponder,
}

/// A file that a customer sent. Meta keeps it for seven days (§6.1); Baton fetches it on arrival.
#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    pub kind: MediaKind,
    /// Meta's media id.
    pub id: String,
    /// As Meta says, parameters included (`audio/ogg; codecs=opus`).
    pub mime: String,
    /// Of the bytes, base64 or hex (open question 10).
    pub sha256: Option<String>,
    /// The customer's, not to be trusted.
    pub file_name: Option<String>,
    pub caption: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    /// Recorded in the chat.
    Voice,
    Document,
    Sticker,
}

impl MediaKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Voice => "voice note",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }
}

/// A place. Degrees are kept as they were written: nothing is calculated with them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Location {
    pub latitude: String,
    pub longitude: String,
    pub name: Option<String>,
    pub address: Option<String>,
}

impl Location {
    pub fn map_link(&self) -> String {
        let plain = |c: &char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.');
        let [latitude, longitude] =
            [&self.latitude, &self.longitude].map(|text| text.chars().filter(plain).collect::<String>());
        format!("https://maps.google.com/?q={latitude},{longitude}")
    }
}

/// A contact card.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ContactCard {
    pub name: String,
    pub phones: Vec<String>,
    pub emails: Vec<String>,
    pub organization: Option<String>,
    /// The customer's own card, sent because we asked for it: safe to link (§4.6).
    pub own: bool,
}

/// An answer by tapping.
#[derive(Clone, PartialEq, Eq)]
pub struct Choice {
    pub kind: ChoiceKind,
    /// As we sent it: a button's or row's id, a template button's payload.
    pub id: String,
    pub title: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChoiceKind {
    Button,
    Row,
    /// A quick reply of a template.
    Template,
}

/// An answered flow (`nfm_reply`).
#[derive(Clone, PartialEq, Eq)]
pub struct Form {
    pub name: String,
    pub body: Option<String>,
    /// The answers, JSON: mostly an object.
    pub answers: String,
}

#[derive(Clone, PartialEq, Eq, Default)]
pub struct Order {
    pub catalog: String,
    pub text: Option<String>,
    pub items: Vec<OrderItem>,
}

/// Amounts are kept as they were written: nothing is calculated with them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct OrderItem {
    pub product: String,
    pub quantity: String,
    pub price: String,
    pub currency: String,
}

/// `system` messages: who the customer was, and who it is now.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct IdentityChange {
    /// Ids that no longer hold. Those that stay the same are in both.
    pub before: Customer,
    pub after: Customer,
}

impl Content {
    /// Whether the customer said it to us: it opens sessions and windows, and wants an answer.
    pub const fn is_said(&self) -> bool {
        match self {
            Self::Text(_)
            | Self::Media(_)
            | Self::Location(_)
            | Self::Contacts(_)
            | Self::Choice(_)
            | Self::Form(_)
            | Self::Order(_)
            | Self::Unsupported { .. }
            | Self::Other { .. } => true,
            Self::Reaction { .. }
            | Self::Edited { .. }
            | Self::Revoked { .. }
            | Self::Identity(_)
            | Self::Echo(_)
            | Self::Standby(_)
            | Self::OtherResponder(_)
            | Self::ControlPassed { .. }
            | Self::ControlTaken
            | Self::MarketingConsent { .. }
            | Self::Notice { .. } => false,
        }
    }

    /// The message that a mark is put on: a reaction, an edit, a deletion.
    pub const fn marked(&self) -> Option<&Wamid> {
        if let Self::Reaction { to: message, .. } | Self::Edited { message, .. } | Self::Revoked { message } =
            self
        {
            Some(message)
        } else {
            None
        }
    }

    pub const fn media(&self) -> Option<&Media> {
        if let Self::Media(media) = self { Some(media) } else { None }
    }

    /// What was said and by whom: copies of what passed between others are taken out of their
    /// wrapping.
    pub fn spoken(&self) -> (Speaker, &Self) {
        if let Self::Echo(content) = self {
            (Speaker::Colleague, content)
        } else if let Self::OtherResponder(content) = self {
            (Speaker::OtherResponder, content)
        } else if let Self::Standby(content) = self {
            (Speaker::Customer, content)
        } else {
            (Speaker::Customer, self)
        }
    }

    /// What a rep or an assistant reads. What a message refers to is not known here: see
    /// the transcript for "reacted to …".
    pub fn as_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Media(media) => media.as_text(),
            Self::Location(location) => location.as_text(),
            Self::Contacts(cards) => cards.iter().map(ContactCard::as_text).collect::<Vec<_>>().join("\n"),
            Self::Choice(choice) => choice.title.clone(),
            Self::Form(form) => form.as_text(),
            Self::Order(order) => order.as_text(),
            Self::Reaction { emoji: Some(emoji), .. } => format!("[reacted {emoji}]"),
            Self::Reaction { emoji: None, .. } => "[took a reaction back]".into(),
            Self::Edited { text, .. } => format!("[changed a message to] {text}"),
            Self::Revoked { .. } => "[deleted a message]".into(),
            Self::Unsupported { kind: Some(kind), .. } => {
                format!("[sent something that WhatsApp does not pass on: {kind}]")
            }
            Self::Unsupported { kind: None, .. } => "[sent something that WhatsApp does not pass on]".into(),
            Self::Other { kind, text: None } => format!("[{kind}]"),
            Self::Other { kind, text: Some(text) } => format!("[{kind}] {text}"),
            Self::Identity(_) => "[goes by another number or user id now]".into(),
            Self::Echo(content) | Self::Standby(content) | Self::OtherResponder(content) => content.as_text(),
            Self::ControlPassed { reason, summary } => {
                let parts = [reason, summary].into_iter().flatten().map(String::as_str);
                std::iter::once("[handed over by another responder]")
                    .chain(parts)
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            Self::ControlTaken => "[another responder has taken the thread]".into(),
            Self::MarketingConsent { wanted: true } => "[wants marketing messages again]".into(),
            Self::MarketingConsent { wanted: false } => "[wants no marketing messages]".into(),
            Self::Notice { kind } => format!("[{kind}]"),
        }
    }
}

impl Media {
    fn as_text(&self) -> String {
        let mut text = format!("[{}]", self.kind.as_str());
        for words in [&self.file_name, &self.caption].into_iter().flatten() {
            text.push(' ');
            text.push_str(words);
        }
        text
    }
}

impl Location {
    fn as_text(&self) -> String {
        let words = [self.name.as_deref(), self.address.as_deref()];
        let link = self.map_link();
        let words = std::iter::once("[location]").chain(words.into_iter().flatten());
        words.chain(std::iter::once(link.as_str())).collect::<Vec<_>>().join(" ")
    }
}

impl ContactCard {
    fn as_text(&self) -> String {
        let mut parts = vec![self.name.as_str()];
        parts.extend(self.organization.as_deref());
        parts.extend(self.phones.iter().chain(&self.emails).map(String::as_str));
        parts.retain(|part| !part.is_empty());
        format!("[contact] {}", parts.join(", "))
    }
}

impl Form {
    fn as_text(&self) -> String {
        let mut text = format!("[form] {}", self.body.as_deref().unwrap_or(&self.name));
        // The token is ours, not an answer.
        if let Ok(serde_json::Value::Object(answers)) = serde_json::from_str(&self.answers) {
            for (name, answer) in answers.iter().filter(|(name, _)| *name != "flow_token") {
                let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
                let _ = write!(text, "\n{name}: {answer}");
            }
        }
        text
    }
}

impl Order {
    fn as_text(&self) -> String {
        let mut text = String::from("[order]");
        if let Some(words) = &self.text {
            text.push(' ');
            text.push_str(words);
        }
        for OrderItem { product, quantity, price, currency } in &self.items {
            let _ = write!(text, "\n{quantity} × {product} at {price} {currency}");
        }
        text
    }
}

/// What people wrote is personal data: only its kind and size are printed.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Media(media) => write!(f, "Media({})", media.kind.as_str()),
            Self::Location(_) => f.write_str("Location"),
            Self::Contacts(cards) => write!(f, "Contacts({})", cards.len()),
            Self::Choice(choice) => write!(f, "Choice({:?})", choice.kind),
            Self::Form(_) => f.write_str("Form"),
            Self::Order(order) => write!(f, "Order({} items)", order.items.len()),
            Self::Reaction { .. } => f.write_str("Reaction"),
            Self::Edited { .. } => f.write_str("Edited"),
            Self::Revoked { .. } => f.write_str("Revoked"),
            Self::Unsupported { code, .. } => write!(f, "Unsupported({code})"),
            Self::Other { kind, .. } => write!(f, "Other({kind})"),
            Self::Identity(_) => f.write_str("Identity"),
            Self::Echo(content) => write!(f, "Echo({content:?})"),
            Self::Standby(content) => write!(f, "Standby({content:?})"),
            Self::OtherResponder(content) => write!(f, "OtherResponder({content:?})"),
            Self::ControlPassed { .. } => f.write_str("ControlPassed"),
            Self::ControlTaken => f.write_str("ControlTaken"),
            Self::MarketingConsent { wanted } => write!(f, "MarketingConsent({wanted})"),
            Self::Notice { kind } => write!(f, "Notice({kind})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rep_reads_every_kind() {
        let place = Location {
            latitude: "37.48".into(),
            longitude: "-122.14\"onload".into(),
            name: Some("Shop".into()),
            address: None,
        };
        let form = Form {
            name: "flow".into(),
            body: Some("Sent".into()),
            answers: r#"{"flow_token":"t","size":"L","count":2}"#.into(),
        };
        let order = Order {
            catalog: "c".into(),
            text: None,
            items: vec![OrderItem {
                product: "sku-1".into(),
                quantity: "2".into(),
                price: "9.5".into(),
                currency: "EUR".into(),
            }],
        };
        let card = ContactCard { name: "Ana".into(), phones: vec!["+1".into()], ..ContactCard::default() };
        let image = Media {
            kind: MediaKind::Image,
            id: "1".into(),
            mime: "image/jpeg".into(),
            sha256: None,
            file_name: None,
            caption: Some("my receipt".into()),
        };
        for (content, read) in [
            (Content::Location(place), "[location] Shop https://maps.google.com/?q=37.48,-122.14"),
            (Content::Form(form), "[form] Sent\ncount: 2\nsize: L"),
            (Content::Order(order), "[order]\n2 × sku-1 at 9.5 EUR"),
            (Content::Contacts(vec![card]), "[contact] Ana, +1"),
            (Content::Media(image), "[image] my receipt"),
            (
                Content::Unsupported { kind: Some("poll_creation".into()), code: 131_051 },
                "[sent something that WhatsApp does not pass on: poll_creation]",
            ),
        ] {
            assert_eq!(content.as_text(), read);
        }
    }
}
