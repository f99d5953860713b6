//! What somebody in Salesforce said, as the messages that a customer gets.

use domain::message::{Attachment, Buttons, File, Outgoing, Tap};
use serde_json::Value;

use super::{
    payload::{AbstractMessage, Content, Item},
    text,
};

/// A tap on an option comes back under this id, so that it can be answered as the choice that it
/// is: `sf:<message id>:<option identifier>`.
const OFFERED: &str = "sf";

/// Files as files, options as options, everything else in words.
pub(super) fn of(message: &AbstractMessage) -> Vec<Outgoing> {
    let files = files(&message.static_content);
    if !files.is_empty() {
        return files;
    }
    let offered = [&message.choices, &message.static_content]
        .into_iter()
        .find(|content| matches!(content.format_type.as_str(), "QuickReplies" | "Buttons" | "ListPicker"));
    let words = || Outgoing::Text(text::of(message));
    let offer = offered.zip(message.id.as_deref()).and_then(|(content, id)| options(content, id));
    vec![offer.unwrap_or_else(words)]
}

fn files(content: &Content) -> Vec<Outgoing> {
    let mut text = content.text.clone().filter(|text| !text.trim().is_empty());
    let mut bodies = Vec::new();
    for attachment in &content.attachments {
        let failed =
            attachment.attachment_upload_result.as_ref().is_some_and(|result| result.error_type.is_some());
        let name = attachment.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "file".into());
        match attachment.url.clone().filter(|_| !failed) {
            Some(url) => bodies.push(Outgoing::Attachment(Attachment {
                file: File::Salesforce { url },
                kind: None,
                mime: attachment.mime_type.clone().unwrap_or_else(|| "application/octet-stream".into()),
                name,
                caption: text.take(),
            })),
            None => bodies.push(Outgoing::Text(format!("[file, not uploaded] {name}"))),
        }
    }
    if let Some(text) = text.filter(|_| !bodies.is_empty()) {
        bodies.insert(0, Outgoing::Text(text));
    }
    bodies
}

/// `None`: something in it is no option that could be answered.
fn options(content: &Content, message: &str) -> Option<Outgoing> {
    let tap = |item: &Item| {
        let (title, description) = titles(&item.title_item);
        let id = item.option_identifier.as_deref().filter(|id| !id.is_empty())?;
        let title = title.filter(|title| !title.is_empty())?;
        Some(Tap { id: format!("{OFFERED}:{message}:{id}"), title, description })
    };
    let options: Vec<Tap> = content.option_items.iter().map(tap).collect::<Option<_>>()?;
    let words = [content.text.clone(), titles(&content.title).0];
    let body =
        words.into_iter().flatten().filter(|words| !words.trim().is_empty()).collect::<Vec<_>>().join("\n");
    (!options.is_empty()).then_some(Outgoing::Buttons(Buttons { body, options, ..Buttons::default() }))
}

/// `{"title", "subTitle"}`, or a bare string.
fn titles(item: &Value) -> (Option<String>, Option<String>) {
    let member = |name: &str| item.get(name).and_then(Value::as_str).map(|text| text.trim().to_owned());
    let title = item.as_str().map(str::to_owned).or_else(|| member("title"));
    (title, member("subTitle").filter(|text| !text.is_empty()))
}
