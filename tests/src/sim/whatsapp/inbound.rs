//! From what a customer does to the members of the message that it makes
//! (`whatsapp-cloud-api.md` §2.2).

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    acts::{Act, Did, File, Incoming, quote},
    config::PhoneMessage,
    content::{Choice, Content, ShownFile},
    state::State,
};

/// A message that the customer can see.
fn target(state: &mut State, number: &str, chat: usize, wamid: &str) -> Result<PhoneMessage> {
    let place = state.place(wamid).filter(|place| place.number == number && place.customer == chat).cloned();
    let message =
        place.and_then(|place| state.message(&place).cloned()).context("no such message in this chat")?;
    ensure!(message.visible, "the customer does not see this message");
    Ok(message)
}

fn tapped(message: &PhoneMessage, kind: &str, found: impl Fn(&Content) -> Option<Choice>) -> Result<Choice> {
    let content = message.content.as_ref().filter(|content| content.kind == kind);
    content
        .and_then(|content| found(content))
        .with_context(|| format!("nothing like that to tap in a {kind}"))
}

pub(super) fn incoming(state: &mut State, did: &Did, customer: usize, chat: usize) -> Result<Incoming> {
    let number = did.number.as_str();
    let by_id = |choices: &[Choice], id: &str| choices.iter().find(|choice| choice.id == id).cloned();
    Ok(match &did.act {
        Act::Text { body } => {
            let mut incoming = Incoming::new("text", json!({ "body": body }), Some(body));
            if did.quote.is_none() {
                incoming.content = None;
            }
            incoming
        }
        Act::Image { file, caption } => {
            media(state, number, "image", ("image/jpeg", b"\xff\xd8\xff\xe0"), file, caption.as_deref())?
        }
        Act::Video { file, caption } => {
            media(state, number, "video", ("video/mp4", b"\0\0\0\x18ftypmp42"), file, caption.as_deref())?
        }
        Act::Audio { file } => media(state, number, "audio", ("audio/mpeg", b"ID3\x04"), file, None)?,
        Act::Voice { file } => {
            media(state, number, "voice", ("audio/ogg; codecs=opus", b"OggS"), file, None)?
        }
        Act::Document { file, caption } => {
            media(state, number, "document", ("application/pdf", b"%PDF-1.7"), file, caption.as_deref())?
        }
        Act::Sticker { file, animated } => {
            let magic = b"RIFF\x40\0\0\0WEBP";
            let mut incoming = media(state, number, "sticker", ("image/webp", magic), file, None)?;
            incoming.members["sticker"]["animated"] = (*animated).into();
            incoming
        }
        Act::Location { latitude, longitude, name, address, url } => {
            let mut object = json!({ "latitude": latitude, "longitude": longitude });
            for (key, value) in [("name", name), ("address", address), ("url", url)] {
                if let Some(value) = value {
                    object[key] = value.as_str().into();
                }
            }
            Incoming::new("location", object, name.as_deref())
        }
        Act::Contacts { contacts } => Incoming::new("contacts", json!(contacts), None),
        Act::SharePhone => {
            let person = state.customer(customer);
            let phone = person.phone.clone().context("this customer has no phone")?;
            let name = person.name.clone().unwrap_or_else(|| phone.clone());
            let card = json!([{
                "name": { "formatted_name": name, "first_name": name },
                "phones": [{ "phone": format!("+{phone}"), "wa_id": phone, "type": "CELL" }],
                "origin": "contact_request",
            }]);
            Incoming::new("contacts", card, None)
        }
        Act::TapButton { wamid, id } => {
            let message = target(state, number, chat, wamid)?;
            let choice = tapped(&message, "interactive/button", |content| by_id(&content.buttons, id))?;
            let reply = json!({ "id": choice.id, "title": choice.title });
            let object = json!({ "type": "button_reply", "button_reply": reply });
            answer(state, number, customer, wamid, Incoming::new("interactive", object, Some(&choice.title)))
        }
        Act::TapRow { wamid, id } => {
            let message = target(state, number, chat, wamid)?;
            let choice = tapped(&message, "interactive/list", |content| by_id(&content.rows, id))?;
            let mut reply = json!({ "id": choice.id, "title": choice.title });
            if let Some(description) = &choice.description {
                reply["description"] = description.as_str().into();
            }
            let object = json!({ "type": "list_reply", "list_reply": reply });
            answer(state, number, customer, wamid, Incoming::new("interactive", object, Some(&choice.title)))
        }
        Act::TapQuickReply { wamid, index, without_context } => {
            let message = target(state, number, chat, wamid)?;
            let choice = tapped(&message, "template", |content| content.buttons.get(*index).cloned())?;
            let object = json!({ "text": choice.title, "payload": choice.id });
            let incoming = Incoming::new("button", object, Some(&choice.title));
            if *without_context { incoming } else { answer(state, number, customer, wamid, incoming) }
        }
        Act::FlowReply { wamid, response } => {
            let message = target(state, number, chat, wamid)?;
            tapped(&message, "interactive/flow", |content| content.buttons.first().cloned())?;
            let reply = json!({ "name": "flow", "body": "Sent", "response_json": response.to_string() });
            let object = json!({ "type": "nfm_reply", "nfm_reply": reply });
            answer(state, number, customer, wamid, Incoming::new("interactive", object, Some("Sent")))
        }
        Act::Order { catalog_id, text, product_items } => {
            let mut object = json!({ "catalog_id": catalog_id, "product_items": product_items });
            if let Some(text) = text {
                object["text"] = text.as_str().into();
            }
            Incoming::new("order", object, text.as_deref())
        }
        Act::React { wamid, emoji } => {
            let message = target(state, number, chat, wamid)?;
            let mut object = json!({ "message_id": wamid });
            if let Some(emoji) = emoji {
                object["emoji"] = emoji.as_str().into();
            }
            let mut incoming = Incoming::new("reaction", object, emoji.as_deref());
            // No webhook for what is older than 30 days (§2.2).
            incoming.silent = state.now_ms() - message.at_ms > 30 * 24 * 3_600_000;
            incoming.with_content(|content| content.target = Some(wamid.clone()))
        }
        Act::Edit { wamid, text } => edit(state, number, chat, wamid, text)?,
        Act::Revoke { wamid } => {
            let message = target(state, number, chat, wamid)?;
            ensure!(message.from_customer, "customers revoke their own messages");
            if let Some(place) = state.place(wamid).cloned()
                && let Some(message) = state.message(&place)
            {
                message.visible = false;
            }
            let mut incoming = Incoming::new("revoke", json!({ "original_message_id": wamid }), None);
            incoming.opens = false;
            incoming.with_content(|content| content.target = Some(wamid.clone()))
        }
        Act::RequestWelcome => Incoming::new("request_welcome", Value::Null, None),
        Act::Unsupported { kind } => {
            let object = kind.as_ref().map_or(Value::Null, |kind| json!({ "type": kind }));
            let details = "Message type is currently not supported.";
            failed(Incoming::new("unsupported", object, None), (131_051, "Message type unknown", details))
        }
        Act::TooLarge => {
            let details = "Unable to download the media sent by the user.";
            let incoming = Incoming::new("unsupported", Value::Null, None);
            failed(incoming, (131_052, "Media download error", details))
        }
        Act::Unknown { kind, object } => Incoming::new(kind, object.clone(), None),
    })
}

fn failed(mut incoming: Incoming, (code, title, details): (i64, &str, &str)) -> Incoming {
    let error =
        json!({ "code": code, "title": title, "message": title, "error_data": { "details": details } });
    incoming.members.insert("errors".to_owned(), json!([error]));
    incoming
}

fn answer(state: &mut State, number: &str, customer: usize, wamid: &str, mut incoming: Incoming) -> Incoming {
    quote(state, &mut incoming, number, customer, wamid);
    incoming
}

/// A file with its webhook object; `voice` is audio that was spoken.
fn media(
    state: &mut State,
    number: &str,
    kind: &str,
    (mime_type, magic): (&str, &[u8]),
    file: &File,
    caption: Option<&str>,
) -> Result<Incoming> {
    let bytes = file.read(magic)?;
    let mime_type = file.mime_type.clone().unwrap_or_else(|| mime_type.to_owned());
    let now_ms = state.now_ms();
    let life = (now_ms, state.config.media_inbound_days);
    let size = bytes.len() as u64;
    let id = state.library.put(number, &mime_type, file.filename.clone(), bytes, life);
    let stored = state.library.live(&id, now_ms).context("the file is too large to keep")?;
    let mut object = json!({ "id": id, "mime_type": mime_type, "sha256": stored.base64() });
    let sha256 = stored.hex();
    if let Some(caption) = caption {
        object["caption"] = caption.into();
    }
    if let (Some(filename), "document") = (&file.filename, kind) {
        object["filename"] = filename.as_str().into();
    }
    if matches!(kind, "audio" | "voice") {
        object["voice"] = (kind == "voice").into();
    }
    if state.config.media_url_in_webhooks {
        let ends_ms = now_ms + i64::try_from(state.config.media_url_ms).unwrap_or(i64::MAX / 2);
        object["url"] = (state.media_base() + &state.library.address(&id, ends_ms)).into();
    }
    let voice = kind == "voice";
    let kind = if voice { "audio" } else { kind };
    let shown =
        ShownFile { source: id, mime_type, sha256, bytes: size, filename: file.filename.clone(), voice };
    Ok(Incoming::new(kind, object, caption).with_content(|content| content.file = Some(shown)))
}

fn edit(state: &mut State, number: &str, chat: usize, wamid: &str, text: &str) -> Result<Incoming> {
    let message = target(state, number, chat, wamid)?;
    ensure!(message.from_customer, "customers edit their own messages");
    ensure!(state.now_ms() - message.at_ms <= 15 * 60_000, "messages can be edited for 15 minutes");
    let kind = message.kind().to_owned();
    let mut changed = message.content.as_ref().map(|content| content.object.clone()).unwrap_or_default();
    if kind == "text" {
        changed = json!({ "body": text });
    } else {
        ensure!(matches!(kind.as_str(), "image" | "video" | "document"), "this cannot be edited");
        changed["caption"] = text.into();
        changed.as_object_mut().map(|object| object.remove("url"));
    }
    let inner = json!({ "context": { "id": wamid }, "type": kind, kind.as_str(): changed });
    if let Some(place) = state.place(wamid).cloned()
        && let Some(message) = state.message(&place)
    {
        message.text = text.to_owned();
    }
    let object = json!({ "original_message_id": wamid, "message": inner });
    let mut incoming = Incoming::new("edit", object, Some(text));
    incoming.opens = false;
    Ok(incoming.with_content(|content| content.target = Some(wamid.to_owned())))
}
