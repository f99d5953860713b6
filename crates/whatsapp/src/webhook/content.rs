//! What a message says. Text is understood; of everything else the kind is kept, and whatever
//! words came along, so that a rep or an assistant has something to read (§2.2).

use std::borrow::Cow;

use domain::message::Content;

use super::{node::Node, wire};

/// The message's `type`; where it is missing, the object that is there.
pub(super) fn kind(wire: &wire::Message<'_>) -> String {
    if let Some(kind) = wire.kind.filled() {
        return cleaned(&kind);
    }
    let objects = [
        ("text", wire.text),
        ("image", wire.image),
        ("video", wire.video),
        ("audio", wire.audio),
        ("voice", wire.voice),
        ("document", wire.document),
        ("sticker", wire.sticker),
        ("location", wire.location),
        ("contacts", wire.contacts),
        ("interactive", wire.interactive),
        ("button", wire.button),
        ("order", wire.order),
        ("reaction", wire.reaction),
        ("system", wire.system),
        ("edit", wire.edit),
        ("revoke", wire.revoke),
        ("unsupported", wire.errors),
    ];
    let there = objects.into_iter().find(|(_, object)| !object.is_null());
    there.map_or("unknown", |(kind, _)| kind).to_owned()
}

pub(super) fn of(wire: &wire::Message<'_>, kind: String) -> Content {
    if kind == "text"
        && let Some(text) = body(wire.text)
    {
        return Content::Text(text.into_owned());
    }
    Content::Other { text: words(wire, &kind).filter(|text| !text.is_empty()).map(Cow::into_owned), kind }
}

fn words<'a>(wire: &wire::Message<'a>, kind: &str) -> Option<Cow<'a, str>> {
    match kind {
        "image" => caption(wire.image),
        "video" => caption(wire.video),
        "document" => caption(wire.document),
        "button" => wire.button.object::<wire::Button<'_>>()?.text.text(),
        "interactive" => {
            let interactive = wire.interactive.object::<wire::Interactive<'_>>()?;
            let replies = [interactive.button_reply, interactive.list_reply, interactive.nfm_reply];
            let reply = replies.into_iter().find_map(|reply| reply.object::<wire::Reply<'_>>())?;
            reply.title.filled().or_else(|| reply.body.text())
        }
        "reaction" => wire.reaction.object::<wire::Reaction<'_>>()?.emoji.text(),
        "order" => wire.order.object::<wire::Order<'_>>()?.text.text(),
        "edit" => {
            let edited = wire.edit.object::<wire::Edit<'_>>()?.message.object::<wire::Message<'_>>()?;
            [edited.image, edited.video, edited.document]
                .into_iter()
                .fold(body(edited.text), |found, media| found.or_else(|| caption(media)))
        }
        _ => None,
    }
}

fn body(text: Node<'_>) -> Option<Cow<'_, str>> {
    text.object::<wire::TextBody<'_>>()?.body.text()
}

fn caption(media: Node<'_>) -> Option<Cow<'_, str>> {
    media.object::<wire::Media<'_>>()?.caption.text()
}

const LONGEST_NAME: usize = 64;

/// A foreign word as a name of ours: short, and nothing in it that logs or subjects mind.
pub(super) fn cleaned(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.len() <= LONGEST_NAME && text.chars().all(plain) {
        return text.to_owned();
    }
    text.chars().take(LONGEST_NAME).map(|c| if plain(c) { c } else { '_' }).collect()
}
