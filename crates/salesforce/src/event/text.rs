//! Every kind of message in words, for clients that have nothing but words (WhatsApp, as yet).

use serde_json::Value;

use super::payload::{AbstractMessage, Attachment, Content, Item};

/// Never empty: a message that cannot be put into words says so, in brackets.
pub(super) fn of(message: &AbstractMessage) -> String {
    // The official sample reads choices from `staticContent`, the schema has them under `choices`
    // (§7.5, notes): whichever is there.
    let parts = [
        &message.static_content,
        &message.choices,
        &message.choices_response,
        &message.form,
        &message.form_response,
    ];
    let content = parts.into_iter().find(|content| !content.format_type.is_empty());
    let lines = content.map(lines).unwrap_or_default();
    let lines: Vec<String> =
        lines.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    if !lines.is_empty() {
        return lines.join("\n");
    }
    let kind = content.map_or(message.message_type.as_str(), |content| content.format_type.as_str());
    if kind.is_empty() { "[message]".into() } else { format!("[{kind}]") }
}

fn lines(content: &Content) -> Vec<String> {
    let text = content.text.clone().unwrap_or_default();
    let title = title(&content.title);
    let options = |items: &[Item]| items.iter().flat_map(item).collect::<Vec<_>>();
    match content.format_type.as_str() {
        "Text" => vec![text],
        "RichLink" => {
            let link = content.link_item.clone().unwrap_or_default();
            vec![text, self::title(&link.title_item), link.url.unwrap_or_default()]
        }
        "Attachments" => [text].into_iter().chain(content.attachments.iter().map(file)).collect(),
        "WebView" => vec![title, content.url.clone().unwrap_or_default()],
        "QuickReplies" | "Buttons" | "ListPicker" => {
            [text, title].into_iter().chain(options(&content.option_items)).collect()
        }
        "Carousel" => {
            let mut lines = vec![text, title];
            for card in &content.items {
                lines.push(self::title(&card.title_item));
                lines.extend(options(&card.interaction_items));
            }
            lines
        }
        "Selections" => {
            content.selected_options.iter().map(|option| self::title(&option.option_title)).collect()
        }
        // A form cannot be filled in by text: its name, so that the customer can ask about it.
        "Inputs" => match self::title(&content.form_title) {
            title if title.is_empty() => vec![],
            title => vec![format!("[form] {title}"), self::title(&content.message)],
        },
        // Media, Links, ExternalAttachments, ExperienceType, TimePicker and later ones.
        _ => vec![text, title, self::title(&content.message)],
    }
}

/// An option or a link, on a line of its own.
fn item(item: &Item) -> Vec<String> {
    let title = title(&item.title_item);
    match &item.url {
        Some(url) if title.is_empty() => vec![url.clone()],
        Some(url) => vec![format!("{title}: {url}")],
        None if title.is_empty() => vec![],
        None => vec![format!("• {title}")],
    }
}

fn file(file: &Attachment) -> String {
    let failed = file.attachment_upload_result.as_ref().is_some_and(|result| result.error_type.is_some());
    let name = file.name.as_deref().unwrap_or("without a name");
    if failed { format!("[file, not uploaded] {name}") } else { format!("[file] {name}") }
}

/// `{"title", "subTitle"}`, or a bare string.
fn title(item: &Value) -> String {
    let member = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().trim();
    match (item.as_str(), member("title"), member("subTitle")) {
        (Some(title), ..) => title.to_owned(),
        (None, title, "") => title.to_owned(),
        (None, title, subtitle) => format!("{title} – {subtitle}"),
    }
}
