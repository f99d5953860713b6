//! What somebody in Salesforce said, as the messages that a customer gets.

use domain::message::{Attachment, Buttons, File, Outgoing, Tap};

use super::{
    payload,
    rich::{Choices, Rich},
};

/// A tap on an option comes back under this id, so that it can be answered as the choice that it
/// is: `sf:<message id>:<option identifier>`.
const OFFERED: &str = "sf";

/// Files as files, options as options, everything else in words.
pub(super) fn of(rich: &Rich) -> Vec<Outgoing> {
    let words = || vec![Outgoing::Text(rich.plain_text())];
    match rich {
        Rich::Files { text, files } if !files.is_empty() => attached(text.clone(), files),
        Rich::Choices(choices) => offer(choices).map_or_else(words, |offer| vec![offer]),
        Rich::Text(_)
        | Rich::Files { .. }
        | Rich::Carousel(_)
        | Rich::Link(_)
        | Rich::Form(_)
        | Rich::WebView(_)
        | Rich::Selection(_)
        | Rich::Other { .. } => words(),
    }
}

fn attached(text: Option<String>, files: &[payload::Attachment]) -> Vec<Outgoing> {
    let mut text = text.filter(|text| !text.trim().is_empty());
    let mut bodies = Vec::new();
    for attachment in files {
        let name = attachment.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "file".into());
        match attachment.url.clone().filter(|_| !attachment.failed()) {
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
    if let Some(text) = text {
        bodies.insert(0, Outgoing::Text(text));
    }
    bodies
}

/// `None`: something in it is no option that could be answered.
fn offer(choices: &Choices) -> Option<Outgoing> {
    let message = choices.message_id.as_deref()?;
    let sound =
        |option: &&super::rich::ChoiceOption| !option.identifier.is_empty() && !option.title.is_empty();
    if choices.options.is_empty() || !choices.options.iter().all(|option| sound(&option)) {
        return None;
    }
    let tap = |option: &super::rich::ChoiceOption| Tap {
        id: format!("{OFFERED}:{message}:{}", option.identifier),
        title: option.title.clone(),
        description: option.subtitle.clone(),
    };
    let options = choices.options.iter().map(tap).collect();
    Some(Outgoing::Buttons(Buttons { body: choices.text.clone(), options, ..Buttons::default() }))
}
