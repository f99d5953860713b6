//! Customers' messages.

use domain::{
    PhoneNumberId, Wamid,
    message::{
        Choice, ChoiceKind, ContactCard, Content, Form, Forwarded, IdentityChange, InboundMessage, Location,
        Media, MediaKind, MessageContext, Order, OrderItem, Referral,
    },
};

use super::Malformed;
use crate::v1::{self, whats_app_message as wire};

/// A customer's message: transcripts and forwards read these from the log.
pub fn inbound(message: v1::WhatsAppMessage) -> Result<InboundMessage, Malformed> {
    Ok(InboundMessage {
        number: PhoneNumberId::new(message.phone_number_id),
        wamid: Wamid::new(message.wamid),
        sent_at: message.sent_at,
        customer: message.customer.ok_or(Malformed("customer"))?.into(),
        content: content(message.content.ok_or(Malformed("content"))?)?,
        context: message.context.map_or_else(MessageContext::default, Into::into),
    })
}

impl v1::WhatsAppMessage {
    /// The log's form of a customer's message. `raw`: the message as Meta sent it.
    pub fn new(message: &InboundMessage, waba_id: &domain::WabaId, raw: impl Into<bytes::Bytes>) -> Self {
        Self {
            phone_number_id: message.number.as_str().to_owned(),
            waba_id: waba_id.as_str().to_owned(),
            wamid: message.wamid.as_str().to_owned(),
            sent_at: message.sent_at,
            customer: Some((&message.customer).into()),
            content: Some(stored(&message.content)),
            context: (message.context != MessageContext::default()).then(|| (&message.context).into()),
            raw: raw.into(),
        }
    }
}

/// A message inside another has a content and nothing else.
fn inner(content: &Content) -> Box<v1::WhatsAppMessage> {
    Box::new(v1::WhatsAppMessage { content: Some(stored(content)), ..v1::WhatsAppMessage::default() })
}

fn unboxed(message: v1::WhatsAppMessage) -> Result<Box<Content>, Malformed> {
    content(message.content.ok_or(Malformed("inner content"))?).map(Box::new)
}

fn content(stored: wire::Content) -> Result<Content, Malformed> {
    Ok(match stored {
        wire::Content::Text(text) => Content::Text(text),
        wire::Content::Other(other) => Content::Other { kind: other.kind, text: other.text },
        wire::Content::Notice(notice) => Content::Notice { kind: notice.kind },
        wire::Content::Media(media) => Content::Media(Media {
            kind: media_kind(media.kind()).ok_or(Malformed("media.kind"))?,
            id: media.id,
            mime: media.mime,
            sha256: media.sha256,
            file_name: media.file_name,
            caption: media.caption,
        }),
        wire::Content::Location(location) => Content::Location(location.into()),
        wire::Content::Contacts(contacts) => {
            Content::Contacts(contacts.cards.into_iter().map(Into::into).collect())
        }
        wire::Content::Choice(choice) => Content::Choice(Choice {
            kind: match choice.kind() {
                wire::choice::Kind::Unspecified => return Err(Malformed("choice.kind")),
                wire::choice::Kind::Button => ChoiceKind::Button,
                wire::choice::Kind::Row => ChoiceKind::Row,
                wire::choice::Kind::Template => ChoiceKind::Template,
            },
            id: choice.id,
            title: choice.title,
        }),
        wire::Content::Form(wire::Form { name, body, answers }) => {
            Content::Form(Form { name, body, answers })
        }
        wire::Content::Order(wire::Order { catalog, text, items }) => {
            let item = |wire::order::Item { product, quantity, price, currency }| OrderItem {
                product,
                quantity,
                price,
                currency,
            };
            Content::Order(Order { catalog, text, items: items.into_iter().map(item).collect() })
        }
        wire::Content::Reaction(reaction) => {
            Content::Reaction { to: Wamid::new(reaction.to), emoji: reaction.emoji }
        }
        wire::Content::Edited(edited) => {
            Content::Edited { message: Wamid::new(edited.message), text: edited.text }
        }
        wire::Content::Revoked(message) => Content::Revoked { message: Wamid::new(message) },
        wire::Content::Unsupported(wire::Unsupported { kind, code }) => Content::Unsupported { kind, code },
        wire::Content::Identity(wire::IdentityChange { before, after }) => {
            Content::Identity(IdentityChange {
                before: before.unwrap_or_default().into(),
                after: after.unwrap_or_default().into(),
            })
        }
        wire::Content::Echo(inner) => Content::Echo(unboxed(*inner)?),
        wire::Content::Standby(inner) => Content::Standby(unboxed(*inner)?),
        wire::Content::OtherResponder(inner) => Content::OtherResponder(unboxed(*inner)?),
        wire::Content::ControlPassed(wire::ControlPassed { reason, summary }) => {
            Content::ControlPassed { reason, summary }
        }
        wire::Content::ControlTaken(_) => Content::ControlTaken,
        wire::Content::MarketingConsent(wanted) => Content::MarketingConsent { wanted },
    })
}

fn stored(content: &Content) -> wire::Content {
    match content.clone() {
        Content::Text(text) => wire::Content::Text(text),
        Content::Other { kind, text } => wire::Content::Other(wire::Other { kind, text }),
        Content::Notice { kind } => wire::Content::Notice(wire::Notice { kind }),
        Content::Media(Media { kind, id, mime, sha256, file_name, caption }) => {
            wire::Content::Media(wire::Media {
                kind: stored_kind(Some(kind)).into(),
                id,
                mime,
                sha256,
                file_name,
                caption,
            })
        }
        Content::Location(location) => wire::Content::Location(location.into()),
        Content::Contacts(cards) => {
            wire::Content::Contacts(wire::Contacts { cards: cards.into_iter().map(Into::into).collect() })
        }
        Content::Choice(Choice { kind, id, title }) => wire::Content::Choice(wire::Choice {
            kind: match kind {
                ChoiceKind::Button => wire::choice::Kind::Button,
                ChoiceKind::Row => wire::choice::Kind::Row,
                ChoiceKind::Template => wire::choice::Kind::Template,
            }
            .into(),
            id,
            title,
        }),
        Content::Form(Form { name, body, answers }) => {
            wire::Content::Form(wire::Form { name, body, answers })
        }
        Content::Order(Order { catalog, text, items }) => {
            let item = |OrderItem { product, quantity, price, currency }| wire::order::Item {
                product,
                quantity,
                price,
                currency,
            };
            wire::Content::Order(wire::Order { catalog, text, items: items.into_iter().map(item).collect() })
        }
        Content::Reaction { to, emoji } => {
            wire::Content::Reaction(wire::Reaction { to: to.as_str().to_owned(), emoji })
        }
        Content::Edited { message, text } => {
            wire::Content::Edited(wire::Edited { message: message.as_str().to_owned(), text })
        }
        Content::Revoked { message } => wire::Content::Revoked(message.as_str().to_owned()),
        Content::Unsupported { kind, code } => wire::Content::Unsupported(wire::Unsupported { kind, code }),
        Content::Identity(IdentityChange { before, after }) => {
            wire::Content::Identity(wire::IdentityChange {
                before: Some((&before).into()),
                after: Some((&after).into()),
            })
        }
        Content::Echo(content) => wire::Content::Echo(inner(&content)),
        Content::Standby(content) => wire::Content::Standby(inner(&content)),
        Content::OtherResponder(content) => wire::Content::OtherResponder(inner(&content)),
        Content::ControlPassed { reason, summary } => {
            wire::Content::ControlPassed(wire::ControlPassed { reason, summary })
        }
        Content::ControlTaken => wire::Content::ControlTaken(wire::ControlTaken {}),
        Content::MarketingConsent { wanted } => wire::Content::MarketingConsent(wanted),
    }
}

/// `None`: unspecified.
pub(super) const fn media_kind(kind: v1::MediaKind) -> Option<MediaKind> {
    match kind {
        v1::MediaKind::Unspecified => None,
        v1::MediaKind::Image => Some(MediaKind::Image),
        v1::MediaKind::Video => Some(MediaKind::Video),
        v1::MediaKind::Audio => Some(MediaKind::Audio),
        v1::MediaKind::Voice => Some(MediaKind::Voice),
        v1::MediaKind::Document => Some(MediaKind::Document),
        v1::MediaKind::Sticker => Some(MediaKind::Sticker),
    }
}

pub(super) const fn stored_kind(kind: Option<MediaKind>) -> v1::MediaKind {
    match kind {
        None => v1::MediaKind::Unspecified,
        Some(MediaKind::Image) => v1::MediaKind::Image,
        Some(MediaKind::Video) => v1::MediaKind::Video,
        Some(MediaKind::Audio) => v1::MediaKind::Audio,
        Some(MediaKind::Voice) => v1::MediaKind::Voice,
        Some(MediaKind::Document) => v1::MediaKind::Document,
        Some(MediaKind::Sticker) => v1::MediaKind::Sticker,
    }
}

impl From<Location> for v1::Location {
    fn from(Location { latitude, longitude, name, address }: Location) -> Self {
        Self { latitude, longitude, name, address }
    }
}

impl From<v1::Location> for Location {
    fn from(v1::Location { latitude, longitude, name, address }: v1::Location) -> Self {
        Self { latitude, longitude, name, address }
    }
}

impl From<ContactCard> for v1::ContactCard {
    fn from(ContactCard { name, phones, emails, organization, own }: ContactCard) -> Self {
        Self { name, phones, emails, organization, own }
    }
}

impl From<v1::ContactCard> for ContactCard {
    fn from(v1::ContactCard { name, phones, emails, organization, own }: v1::ContactCard) -> Self {
        Self { name, phones, emails, organization, own }
    }
}

impl From<&MessageContext> for wire::MessageContext {
    fn from(context: &MessageContext) -> Self {
        let MessageContext { quotes, forwarded, referral, product, group } = context.clone();
        Self {
            quotes: quotes.map(|wamid| wamid.as_str().to_owned()),
            forwarded: match forwarded {
                Forwarded::No => wire::Forwarded::Unspecified,
                Forwarded::Yes => wire::Forwarded::Yes,
                Forwarded::Often => wire::Forwarded::Often,
            }
            .into(),
            referral: referral.map(|Referral { headline, body, source_url, source_id, click }| {
                wire::Referral { headline, body, source_url, source_id, click }
            }),
            product,
            group,
        }
    }
}

impl From<wire::MessageContext> for MessageContext {
    fn from(context: wire::MessageContext) -> Self {
        Self {
            forwarded: match context.forwarded() {
                wire::Forwarded::Unspecified => Forwarded::No,
                wire::Forwarded::Yes => Forwarded::Yes,
                wire::Forwarded::Often => Forwarded::Often,
            },
            quotes: context.quotes.map(Wamid::new),
            referral: context.referral.map(
                |wire::Referral { headline, body, source_url, source_id, click }| Referral {
                    headline,
                    body,
                    source_url,
                    source_id,
                    click,
                },
            ),
            product: context.product,
            group: context.group,
        }
    }
}
