//! What is sent to customers.

use domain::{
    Wamid,
    message::{
        Attachment, Buttons, File, Header, LinkButton, List, Outgoing, Parameter, Section, Tap, Template,
        TemplateButton,
    },
    session::{Origin, ParkedMessage},
};

use super::{
    Malformed,
    content::{media_kind, stored_kind},
};
use crate::v1::{self, outgoing as wire, whats_app_message};

impl From<&Outgoing> for v1::Outgoing {
    fn from(body: &Outgoing) -> Self {
        Self {
            body: Some(match body.clone() {
                Outgoing::Text(text) => wire::Body::Text(text),
                Outgoing::Attachment(attachment) => wire::Body::Attachment(attachment.into()),
                Outgoing::Location(location) => wire::Body::Location(location.into()),
                Outgoing::Contacts(cards) => wire::Body::Contacts(whats_app_message::Contacts {
                    cards: cards.into_iter().map(Into::into).collect(),
                }),
                Outgoing::Buttons(Buttons { header, body, footer, options }) => {
                    wire::Body::Buttons(wire::Buttons {
                        header: header.map(Into::into),
                        body,
                        footer,
                        options: options.into_iter().map(Into::into).collect(),
                    })
                }
                Outgoing::List(List { header, body, footer, button, sections }) => {
                    let section = |Section { title, rows }| wire::list::Section {
                        title,
                        rows: rows.into_iter().map(Into::into).collect(),
                    };
                    let sections = sections.into_iter().map(section).collect();
                    wire::Body::List(wire::List { header, body, footer, button, sections })
                }
                Outgoing::Link(LinkButton { body, label, url }) => {
                    wire::Body::Link(wire::LinkButton { body, label, url })
                }
                Outgoing::Reaction { to, emoji } => wire::Body::Reaction(whats_app_message::Reaction {
                    to: to.as_str().to_owned(),
                    emoji: Some(emoji),
                }),
                Outgoing::Template(template) => wire::Body::Template(template.into()),
            }),
        }
    }
}

impl TryFrom<v1::Outgoing> for Outgoing {
    type Error = Malformed;
    fn try_from(outgoing: v1::Outgoing) -> Result<Self, Malformed> {
        Ok(match outgoing.body.ok_or(Malformed("outgoing.body"))? {
            wire::Body::Text(text) => Self::Text(text),
            wire::Body::Attachment(attachment) => Self::Attachment(attachment.try_into()?),
            wire::Body::Location(location) => Self::Location(location.into()),
            wire::Body::Contacts(contacts) => {
                Self::Contacts(contacts.cards.into_iter().map(Into::into).collect())
            }
            wire::Body::Buttons(wire::Buttons { header, body, footer, options }) => Self::Buttons(Buttons {
                header: header.map(TryInto::try_into).transpose()?,
                body,
                footer,
                options: options.into_iter().map(Into::into).collect(),
            }),
            wire::Body::List(wire::List { header, body, footer, button, sections }) => {
                let section = |wire::list::Section { title, rows }| Section {
                    title,
                    rows: rows.into_iter().map(Into::into).collect(),
                };
                let sections = sections.into_iter().map(section).collect();
                Self::List(List { header, body, footer, button, sections })
            }
            wire::Body::Link(wire::LinkButton { body, label, url }) => {
                Self::Link(LinkButton { body, label, url })
            }
            wire::Body::Reaction(reaction) => {
                Self::Reaction { to: Wamid::new(reaction.to), emoji: reaction.emoji.unwrap_or_default() }
            }
            wire::Body::Template(template) => Self::Template(template.try_into()?),
        })
    }
}

impl From<Attachment> for wire::Attachment {
    fn from(Attachment { file, kind, name, mime, caption }: Attachment) -> Self {
        let file = match file {
            File::Stored { object } => wire::attachment::File::Object(object),
            File::Salesforce { url } => wire::attachment::File::SalesforceUrl(url),
        };
        Self { file: Some(file), kind: stored_kind(kind).into(), name, mime, caption }
    }
}

impl TryFrom<wire::Attachment> for Attachment {
    type Error = Malformed;
    fn try_from(attachment: wire::Attachment) -> Result<Self, Malformed> {
        Ok(Self {
            kind: media_kind(attachment.kind()),
            file: match attachment.file.ok_or(Malformed("attachment.file"))? {
                wire::attachment::File::Object(object) => File::Stored { object },
                wire::attachment::File::SalesforceUrl(url) => File::Salesforce { url },
            },
            name: attachment.name,
            mime: attachment.mime,
            caption: attachment.caption,
        })
    }
}

impl From<Header> for wire::Header {
    fn from(header: Header) -> Self {
        Self {
            header: Some(match header {
                Header::Text(text) => wire::header::Header::Text(text),
                Header::Attachment(attachment) => wire::header::Header::Attachment(attachment.into()),
            }),
        }
    }
}

impl TryFrom<wire::Header> for Header {
    type Error = Malformed;
    fn try_from(header: wire::Header) -> Result<Self, Malformed> {
        Ok(match header.header.ok_or(Malformed("header"))? {
            wire::header::Header::Text(text) => Self::Text(text),
            wire::header::Header::Attachment(attachment) => Self::Attachment(attachment.try_into()?),
        })
    }
}

impl From<Tap> for wire::Tap {
    fn from(Tap { id, title, description }: Tap) -> Self {
        Self { id, title, description }
    }
}

impl From<wire::Tap> for Tap {
    fn from(wire::Tap { id, title, description }: wire::Tap) -> Self {
        Self { id, title, description }
    }
}

impl From<Template> for wire::Template {
    fn from(Template { name, language, header, body, buttons, preview }: Template) -> Self {
        use wire::template::button::Button;
        let parameter = |Parameter { name, text }| wire::template::Parameter { name, text };
        let button = |button| match button {
            TemplateButton::QuickReply { index, payload } => {
                wire::template::Button { index, button: Some(Button::QuickReply(payload)) }
            }
            TemplateButton::Url { index, text } => {
                wire::template::Button { index, button: Some(Button::Url(text)) }
            }
        };
        Self {
            name,
            language,
            header: header.map(Into::into),
            body: body.into_iter().map(parameter).collect(),
            buttons: buttons.into_iter().map(button).collect(),
            preview,
        }
    }
}

impl TryFrom<wire::Template> for Template {
    type Error = Malformed;
    fn try_from(template: wire::Template) -> Result<Self, Malformed> {
        use wire::template::button::Button;
        let wire::Template { name, language, header, body, buttons, preview } = template;
        let parameter = |wire::template::Parameter { name, text }| Parameter { name, text };
        let button = |button: wire::template::Button| {
            let index = button.index;
            Ok(match button.button.ok_or(Malformed("template.button"))? {
                Button::QuickReply(payload) => TemplateButton::QuickReply { index, payload },
                Button::Url(text) => TemplateButton::Url { index, text },
            })
        };
        Ok(Self {
            name,
            language,
            header: header.map(TryInto::try_into).transpose()?,
            body: body.into_iter().map(parameter).collect(),
            buttons: buttons.into_iter().map(button).collect::<Result<_, _>>()?,
            preview,
        })
    }
}

impl From<&ParkedMessage> for v1::ParkedMessage {
    fn from(ParkedMessage { body, quotes, origin }: &ParkedMessage) -> Self {
        Self {
            body: Some(body.into()),
            quotes: quotes.as_ref().map(|wamid| wamid.as_str().to_owned()),
            origin: stored_origin(*origin).into(),
        }
    }
}

impl TryFrom<v1::ParkedMessage> for ParkedMessage {
    type Error = Malformed;
    fn try_from(message: v1::ParkedMessage) -> Result<Self, Malformed> {
        Ok(Self {
            origin: origin(message.origin())?,
            body: message.body.ok_or(Malformed("parked.body"))?.try_into()?,
            quotes: message.quotes.map(Wamid::new),
        })
    }
}

pub(super) const fn stored_origin(origin: Origin) -> v1::send::Origin {
    match origin {
        Origin::Assistant => v1::send::Origin::Assistant,
        Origin::Rep => v1::send::Origin::Rep,
        Origin::Bot => v1::send::Origin::Bot,
        Origin::Notice => v1::send::Origin::Notice,
        Origin::Campaign => v1::send::Origin::Campaign,
    }
}

pub(super) const fn origin(origin: v1::send::Origin) -> Result<Origin, Malformed> {
    Ok(match origin {
        v1::send::Origin::Unspecified => return Err(Malformed("origin")),
        v1::send::Origin::Assistant => Origin::Assistant,
        v1::send::Origin::Rep => Origin::Rep,
        v1::send::Origin::Bot => Origin::Bot,
        v1::send::Origin::Notice => Origin::Notice,
        v1::send::Origin::Campaign => Origin::Campaign,
    })
}

/// A text alone stands in the field that every reader of the log knows.
pub(super) fn apart(body: &Outgoing) -> (String, Option<v1::Outgoing>) {
    match body {
        Outgoing::Text(text) => (text.clone(), None),
        Outgoing::Attachment(_)
        | Outgoing::Location(_)
        | Outgoing::Contacts(_)
        | Outgoing::Buttons(_)
        | Outgoing::List(_)
        | Outgoing::Link(_)
        | Outgoing::Reaction { .. }
        | Outgoing::Template(_) => (String::new(), Some(body.into())),
    }
}

pub(super) fn together(text: String, body: Option<v1::Outgoing>) -> Result<Outgoing, Malformed> {
    body.map_or(Ok(Outgoing::Text(text)), TryInto::try_into)
}
