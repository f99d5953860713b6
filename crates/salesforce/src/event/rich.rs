//! What a message holds (§7.5), in types: to be shown as something better than words where the
//! customer's side can, and in words ([`Rich::plain_text`]) where it cannot.

use serde_json::Value;

use super::payload::{AbstractMessage, Asset, Attachment, Content, Item};

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum Rich {
    Text(String),
    Files {
        text: Option<String>,
        files: Vec<Attachment>,
    },
    Choices(Choices),
    Carousel(Carousel),
    Link(Link),
    Form(Form),
    WebView(WebView),
    /// What an end user chose, echoed.
    Selection(Vec<String>),
    /// A kind that has no form of its own here, and its words.
    Other {
        /// Salesforce's word for it.
        format: String,
        words: Vec<String>,
    },
}

/// Something to choose from. The answer is [`crate::Client::send_choice`].
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Choices {
    pub kind: ChoicesKind,
    /// For `inReplyToMessageId`.
    pub message_id: Option<String>,
    pub text: String,
    pub options: Vec<ChoiceOption>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum ChoicesKind {
    QuickReplies,
    Buttons,
    ListPicker,
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct ChoiceOption {
    /// Empty when Salesforce gave none: it cannot be answered with then.
    pub identifier: String,
    pub title: String,
    pub subtitle: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Carousel {
    /// For `inReplyToMessageId`.
    pub message_id: Option<String>,
    pub text: String,
    pub cards: Vec<Card>,
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Card {
    pub title: String,
    pub subtitle: Option<String>,
    /// Where its picture is.
    pub image: Option<String>,
    pub actions: Vec<Action>,
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum Action {
    Choose(ChoiceOption),
    Open { title: String, url: String },
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Link {
    pub text: Option<String>,
    pub title: String,
    pub url: String,
    /// Where its picture is.
    pub image: Option<String>,
}

/// To be filled in. Text clients cannot: whoever reads it can answer in words.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Form {
    /// For `inReplyToMessageId`.
    pub message_id: Option<String>,
    pub title: String,
    pub text: String,
    /// What is asked for.
    pub fields: Vec<String>,
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct WebView {
    pub title: String,
    pub url: String,
    pub survey: bool,
}

impl Rich {
    pub fn of(message: &AbstractMessage) -> Self {
        // The official sample reads choices from `staticContent`, the schema has them under `choices`
        // (§7.5, notes): whichever is there.
        let parts = [
            &message.static_content,
            &message.choices,
            &message.choices_response,
            &message.form,
            &message.form_response,
        ];
        let Some(content) = parts.into_iter().find(|content| !content.format_type.is_empty()) else {
            let format =
                if message.message_type.is_empty() { "message" } else { message.message_type.as_str() };
            return Self::Other { format: format.to_owned(), words: Vec::new() };
        };
        let text = content.text.clone().unwrap_or_default();
        let kind = match content.format_type.as_str() {
            "QuickReplies" => ChoicesKind::QuickReplies,
            "Buttons" => ChoicesKind::Buttons,
            "ListPicker" => ChoicesKind::ListPicker,
            "Text" => return Self::Text(text),
            "Attachments" => {
                return Self::Files { text: content.text.clone(), files: content.attachments.clone() };
            }
            "RichLink" => return Self::Link(link(content)),
            "WebView" => {
                return Self::WebView(WebView {
                    title: line(&content.title),
                    url: content.url.clone().unwrap_or_default(),
                    survey: message.custom_handling_type.as_deref() == Some("Survey"),
                });
            }
            "Carousel" => {
                return Self::Carousel(Carousel {
                    message_id: message.id.clone(),
                    text: joined([text, line(&content.title)]),
                    cards: content.items.iter().map(|item| card(item, &content.images)).collect(),
                });
            }
            "Selections" => {
                let titles = content.selected_options.iter().map(|option| line(&option.option_title));
                return Self::Selection(titles.collect());
            }
            "Inputs" => {
                let fields = content
                    .sections
                    .iter()
                    .filter_map(|section| section.input.as_ref())
                    .map(|input| line(&input.label));
                return Self::Form(Form {
                    message_id: message.id.clone(),
                    title: line(&content.form_title),
                    text: line(&content.message),
                    fields: fields.filter(|label| !label.is_empty()).collect(),
                });
            }
            // Media, Links, ExternalAttachments, ExperienceType, TimePicker and later ones.
            format => {
                return Self::Other {
                    format: format.to_owned(),
                    words: vec![text, line(&content.title), line(&content.message)],
                };
            }
        };
        Self::Choices(Choices {
            kind,
            message_id: message.id.clone(),
            text: joined([text, line(&content.title)]),
            options: content.option_items.iter().map(option).collect(),
        })
    }

    /// The same in words. Never empty: what has no words says what it is, in brackets.
    pub fn plain_text(&self) -> String {
        let (kind, lines): (&str, Vec<String>) = match self {
            Self::Text(text) => ("Text", vec![text.clone()]),
            Self::Files { text, files } => {
                let text = text.clone().unwrap_or_default();
                ("Attachments", [text].into_iter().chain(files.iter().map(file)).collect())
            }
            Self::Choices(choices) => {
                let options = choices.options.iter().map(bullet);
                (choices.kind.as_str(), [choices.text.clone()].into_iter().chain(options).collect())
            }
            Self::Carousel(carousel) => {
                let mut lines = vec![carousel.text.clone()];
                for card in &carousel.cards {
                    lines.push(titled(&card.title, card.subtitle.as_deref()));
                    lines.extend(card.actions.iter().map(|action| match action {
                        Action::Choose(option) => bullet(option),
                        Action::Open { title, url } if title.is_empty() => url.clone(),
                        Action::Open { title, url } => format!("{title}: {url}"),
                    }));
                }
                ("Carousel", lines)
            }
            Self::Link(Link { text, title, url, image: _ }) => {
                ("RichLink", vec![text.clone().unwrap_or_default(), title.clone(), url.clone()])
            }
            Self::Form(form) => {
                let title =
                    if form.title.is_empty() { String::new() } else { format!("[form] {}", form.title) };
                let fields = form.fields.iter().map(|label| format!("• {label}"));
                ("form", [title, form.text.clone()].into_iter().chain(fields).collect())
            }
            Self::WebView(WebView { title, url, survey: _ }) => ("WebView", vec![title.clone(), url.clone()]),
            Self::Selection(titles) => ("Selections", titles.clone()),
            Self::Other { format, words } => (format, words.clone()),
        };
        let text = joined(lines);
        if text.is_empty() { format!("[{kind}]") } else { text }
    }
}

impl ChoicesKind {
    /// As Salesforce spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QuickReplies => "QuickReplies",
            Self::Buttons => "Buttons",
            Self::ListPicker => "ListPicker",
        }
    }
}

/// What people wrote and links that open files never print.
impl std::fmt::Debug for Rich {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Files { .. } => "Files",
            Self::Choices(_) => "Choices",
            Self::Carousel(_) => "Carousel",
            Self::Link(_) => "Link",
            Self::Form(_) => "Form",
            Self::WebView(_) => "WebView",
            Self::Selection(_) => "Selection",
            Self::Other { .. } => "Other",
        })
    }
}

fn link(content: &Content) -> Link {
    let item = content.link_item.clone().unwrap_or_default();
    Link {
        text: content.text.clone(),
        title: line(&item.title_item),
        url: item.url.unwrap_or_default(),
        image: content.image.as_ref().and_then(|image| image.asset_url.clone()),
    }
}

fn card(item: &Item, images: &[Asset]) -> Card {
    let (title, subtitle) = titles(&item.title_item);
    let wanted = item.title_item.get("imageReferenceId").and_then(Value::as_str);
    let image = wanted.and_then(|wanted| images.iter().find(|image| image.id.as_deref() == Some(wanted)));
    let action = |item: &Item| match &item.url {
        Some(url) => Some(Action::Open { title: line(&item.title_item), url: url.clone() }),
        None => Some(Action::Choose(option(item))).filter(|_| !titles(&item.title_item).0.is_empty()),
    };
    Card {
        title,
        subtitle,
        image: image.and_then(|image| image.asset_url.clone()),
        actions: item.interaction_items.iter().filter_map(action).collect(),
    }
}

fn option(item: &Item) -> ChoiceOption {
    let (title, subtitle) = titles(&item.title_item);
    ChoiceOption { identifier: item.option_identifier.clone().unwrap_or_default(), title, subtitle }
}

/// `{"title", "subTitle"}`, or a bare string.
fn titles(item: &Value) -> (String, Option<String>) {
    let member = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().trim();
    match (item.as_str(), member("title"), member("subTitle")) {
        (Some(title), ..) => (title.trim().to_owned(), None),
        (None, title, "") => (title.to_owned(), None),
        (None, title, subtitle) => (title.to_owned(), Some(subtitle.to_owned())),
    }
}

fn line(item: &Value) -> String {
    let (title, subtitle) = titles(item);
    titled(&title, subtitle.as_deref())
}

fn titled(title: &str, subtitle: Option<&str>) -> String {
    match subtitle {
        Some(subtitle) => format!("{title} – {subtitle}"),
        None => title.to_owned(),
    }
}

fn bullet(option: &ChoiceOption) -> String {
    let title = titled(&option.title, option.subtitle.as_deref());
    if title.is_empty() { title } else { format!("• {title}") }
}

fn file(file: &Attachment) -> String {
    let name = file.name.as_deref().unwrap_or("without a name");
    if file.failed() { format!("[file, not uploaded] {name}") } else { format!("[file] {name}") }
}

fn joined(lines: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<String> =
        lines.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}
