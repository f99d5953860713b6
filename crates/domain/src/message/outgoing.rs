//! What is sent to a customer (`whatsapp-cloud-api.md` §5.3). Limits are the sender's to enforce:
//! a body that WhatsApp would refuse is turned into what it takes, see `crates/whatsapp`.

use super::{ContactCard, Location, MediaKind};
use crate::Wamid;

#[derive(Clone, PartialEq, Eq)]
pub enum Outgoing {
    Text(String),
    Attachment(Attachment),
    Location(Location),
    Contacts(Vec<ContactCard>),
    /// Up to three; more become a list.
    Buttons(Buttons),
    /// Up to ten rows.
    List(List),
    /// One button that opens a page.
    Link(LinkButton),
    Reaction {
        to: Wamid,
        /// Empty: takes it back.
        emoji: String,
    },
    /// Approved by Meta: the only thing that may be sent outside the customer service window.
    Template(Template),
}

/// A file with words.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    pub file: File,
    /// `None`: whatever WhatsApp takes such a file as.
    pub kind: Option<MediaKind>,
    pub name: String,
    /// As its sender says.
    pub mime: String,
    pub caption: Option<String>,
}

/// Where the bytes are.
#[derive(Clone, PartialEq, Eq)]
pub enum File {
    /// In Baton's object store.
    Stored { object: String },
    /// At Salesforce. A capability: never logged.
    Salesforce { url: String },
}

#[derive(Clone, PartialEq, Eq, Default)]
pub struct Buttons {
    pub header: Option<Header>,
    pub body: String,
    pub footer: Option<String>,
    pub options: Vec<Tap>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Header {
    Text(String),
    Attachment(Attachment),
}

/// Something to tap on.
#[derive(Clone, PartialEq, Eq)]
pub struct Tap {
    /// Comes back when it is tapped on.
    pub id: String,
    pub title: String,
    /// Shown in lists only.
    pub description: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Default)]
pub struct List {
    pub header: Option<String>,
    pub body: String,
    pub footer: Option<String>,
    /// What opens it.
    pub button: String,
    pub sections: Vec<Section>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    pub title: Option<String>,
    pub rows: Vec<Tap>,
}

#[derive(Clone, PartialEq, Eq, Default)]
pub struct LinkButton {
    pub body: String,
    pub label: String,
    pub url: String,
}

/// A template with what is filled into it (§7.3).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Template {
    pub name: String,
    /// Meta's code: `en_US`.
    pub language: String,
    pub header: Option<Header>,
    pub body: Vec<Parameter>,
    pub buttons: Vec<TemplateButton>,
    /// What it reads like, filled in: for transcripts.
    pub preview: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Templates with named parameters only.
    pub name: Option<String>,
    pub text: String,
}

#[derive(Clone, PartialEq, Eq)]
pub enum TemplateButton {
    /// What comes back when it is tapped on.
    QuickReply { index: u32, payload: String },
    /// The end of its address.
    Url { index: u32, text: String },
}

impl Outgoing {
    /// What a person reads in a transcript, and the form it takes where nothing richer is possible.
    pub fn as_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Attachment(attachment) => attachment.as_text(),
            Self::Location(location) => super::Content::Location(location.clone()).as_text(),
            Self::Contacts(cards) => super::Content::Contacts(cards.clone()).as_text(),
            Self::Buttons(Buttons { body, options, .. }) => lines(body, options),
            Self::List(List { body, sections, .. }) => {
                lines(body, sections.iter().flat_map(|section| &section.rows))
            }
            Self::Link(LinkButton { body, label, url }) => format!("{body}\n{label}: {url}"),
            Self::Reaction { emoji, .. } => format!("[reacted {emoji}]"),
            Self::Template(template) => {
                let name = || format!("[template {}]", template.name);
                template.preview.clone().unwrap_or_else(name)
            }
        }
    }

    /// Whether there is nothing to send.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Contacts(cards) => cards.is_empty(),
            Self::Attachment(_)
            | Self::Location(_)
            | Self::Buttons(_)
            | Self::List(_)
            | Self::Link(_)
            | Self::Reaction { .. }
            | Self::Template(_) => false,
        }
    }

    /// Templates may be sent at any time; everything else within the customer service window only.
    pub const fn needs_window(&self) -> bool {
        match self {
            Self::Template(_) => false,
            Self::Text(_)
            | Self::Attachment(_)
            | Self::Location(_)
            | Self::Contacts(_)
            | Self::Buttons(_)
            | Self::List(_)
            | Self::Link(_)
            | Self::Reaction { .. } => true,
        }
    }
}

impl Attachment {
    fn as_text(&self) -> String {
        match &self.caption {
            Some(caption) => format!("[file] {} {caption}", self.name),
            None => format!("[file] {}", self.name),
        }
    }
}

fn lines<'a>(body: &str, options: impl IntoIterator<Item = &'a Tap>) -> String {
    let mut text = body.to_owned();
    for option in options {
        text.push_str("\n• ");
        text.push_str(&option.title);
        if let Some(description) = &option.description {
            text.push_str(": ");
            text.push_str(description);
        }
    }
    text
}

/// What people wrote is personal data: only its kind is printed.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Attachment(_) => "Attachment",
            Self::Location(_) => "Location",
            Self::Contacts(_) => "Contacts",
            Self::Buttons(_) => "Buttons",
            Self::List(_) => "List",
            Self::Link(_) => "Link",
            Self::Reaction { .. } => "Reaction",
            Self::Template(_) => "Template",
        })
    }
}
