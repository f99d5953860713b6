//! The request's JSON (§5.1, §5.3, §7.3).

use domain::{
    Wamid,
    message::{
        Attachment, Buttons, ContactCard, Header, LinkButton, List, MediaKind, Outgoing, Parameter, Section,
        Tap, Template, TemplateButton,
    },
};
use serde_json::{Map, Value, json};

use crate::client::Recipient;

/// A message that fits, see [`super::fit`].
pub(crate) struct Message<'a> {
    pub(crate) to: &'a Recipient,
    pub(crate) body: &'a Outgoing,
    /// The uploaded file that the body or its header names, and what it is sent as.
    pub(crate) media: Option<(&'a str, MediaKind)>,
    pub(crate) quotes: Option<&'a Wamid>,
    pub(crate) opaque: &'a str,
}

pub(crate) fn request(message: &Message<'_>) -> Value {
    let mut request = Map::new();
    request.insert("messaging_product".into(), "whatsapp".into());
    let kind = match message.to {
        Recipient::Group(_) => "group",
        Recipient::Phone(_) | Recipient::User(_) => "individual",
    };
    request.insert("recipient_type".into(), kind.into());
    match message.to {
        // Without the plus Meta may put the country code of our own number before it (§5.1).
        Recipient::Phone(digits) => request.insert("to".into(), format!("+{digits}").into()),
        Recipient::User(bsuid) => request.insert("recipient".into(), bsuid.as_str().into()),
        Recipient::Group(group) => request.insert("to".into(), group.as_str().into()),
    };
    let (kind, body) = body(message.body, message.media);
    request.insert("type".into(), kind.into());
    request.insert(kind.into(), body);
    // A reaction names its message itself; a template is sent without the quote (§5.3).
    if let (Some(wamid), false) = (message.quotes, matches!(message.body, Outgoing::Reaction { .. })) {
        request.insert("context".into(), json!({ "message_id": wamid.as_str() }));
    }
    request.insert("biz_opaque_callback_data".into(), message.opaque.into());
    Value::Object(request)
}

fn body(body: &Outgoing, media: Option<(&str, MediaKind)>) -> (&'static str, Value) {
    match body {
        Outgoing::Text(text) => ("text", json!({ "preview_url": false, "body": text })),
        Outgoing::Attachment(attachment) => file(attachment, media),
        Outgoing::Location(location) => {
            let mut value = json!({ "latitude": location.latitude, "longitude": location.longitude });
            put(&mut value, "name", location.name.as_deref());
            put(&mut value, "address", location.address.as_deref());
            ("location", value)
        }
        Outgoing::Contacts(cards) => ("contacts", cards.iter().map(card).collect()),
        Outgoing::Buttons(Buttons { header, body, footer, options }) => {
            let reply = |tap: &Tap| json!({ "type": "reply", "reply": { "id": tap.id, "title": tap.title } });
            let action = json!({ "buttons": options.iter().map(reply).collect::<Vec<_>>() });
            (
                "interactive",
                interactive(
                    "button",
                    header.as_ref().map(|header| top(header, media)),
                    body,
                    footer.as_deref(),
                    action,
                ),
            )
        }
        Outgoing::List(List { header, body, footer, button, sections }) => {
            let row = |tap: &Tap| {
                let mut row = json!({ "id": tap.id, "title": tap.title });
                put(&mut row, "description", tap.description.as_deref());
                row
            };
            let section = |Section { title, rows }: &Section| {
                let mut section = json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() });
                put(&mut section, "title", title.as_deref());
                section
            };
            let action =
                json!({ "button": button, "sections": sections.iter().map(section).collect::<Vec<_>>() });
            let header = header.as_ref().map(|text| json!({ "type": "text", "text": text }));
            ("interactive", interactive("list", header, body, footer.as_deref(), action))
        }
        Outgoing::Link(LinkButton { body, label, url }) => {
            let action = json!({ "name": "cta_url", "parameters": { "display_text": label, "url": url } });
            ("interactive", interactive("cta_url", None, body, None, action))
        }
        Outgoing::Reaction { to, emoji } => {
            ("reaction", json!({ "message_id": to.as_str(), "emoji": emoji }))
        }
        Outgoing::Template(template) => ("template", filled(template, media)),
    }
}

/// Names the uploaded file; without one, which nobody asks for, Meta answers 131009.
fn file(attachment: &Attachment, media: Option<(&str, MediaKind)>) -> (&'static str, Value) {
    let (id, kind) = media.unwrap_or(("", MediaKind::Document));
    let mut value = json!({ "id": id });
    let caption = attachment.caption.as_deref();
    let name = match kind {
        MediaKind::Image => {
            put(&mut value, "caption", caption);
            "image"
        }
        MediaKind::Video => {
            put(&mut value, "caption", caption);
            "video"
        }
        MediaKind::Audio => "audio",
        MediaKind::Voice => {
            value["voice"] = true.into();
            "audio"
        }
        MediaKind::Sticker => "sticker",
        MediaKind::Document => {
            put(&mut value, "caption", caption);
            put(&mut value, "filename", Some(&attachment.name));
            "document"
        }
    };
    (name, value)
}

fn top(header: &Header, media: Option<(&str, MediaKind)>) -> Value {
    match header {
        Header::Text(text) => json!({ "type": "text", "text": text }),
        Header::Attachment(attachment) => {
            let bare = Attachment { caption: None, ..attachment.clone() };
            let (kind, value) = file(&bare, media);
            json!({ "type": kind, kind: value })
        }
    }
}

fn interactive(kind: &str, header: Option<Value>, body: &str, footer: Option<&str>, action: Value) -> Value {
    let mut value = json!({ "type": kind, "body": { "text": body }, "action": action });
    if let Some(header) = header {
        value["header"] = header;
    }
    if let Some(footer) = footer {
        value["footer"] = json!({ "text": footer });
    }
    value
}

fn card(card: &ContactCard) -> Value {
    let name = card.name.as_str();
    let mut value = json!({ "name": { "formatted_name": name, "first_name": name } });
    if !card.phones.is_empty() {
        value["phones"] = card.phones.iter().map(|phone| json!({ "phone": phone })).collect();
    }
    if !card.emails.is_empty() {
        value["emails"] = card.emails.iter().map(|email| json!({ "email": email })).collect();
    }
    if let Some(organization) = &card.organization {
        value["org"] = json!({ "company": organization });
    }
    value
}

fn filled(template: &Template, media: Option<(&str, MediaKind)>) -> Value {
    let mut components = Vec::new();
    if let Some(header) = &template.header {
        let parameter = top(header, media);
        components.push(json!({ "type": "header", "parameters": [parameter] }));
    }
    if !template.body.is_empty() {
        let parameter = |Parameter { name, text }: &Parameter| {
            let mut parameter = json!({ "type": "text", "text": text });
            put(&mut parameter, "parameter_name", name.as_deref());
            parameter
        };
        let parameters: Vec<Value> = template.body.iter().map(parameter).collect();
        components.push(json!({ "type": "body", "parameters": parameters }));
    }
    components.extend(template.buttons.iter().map(|button| match button {
        TemplateButton::QuickReply { index, payload } => json!({
            "type": "button", "sub_type": "quick_reply", "index": index.to_string(),
            "parameters": [{ "type": "payload", "payload": payload }],
        }),
        TemplateButton::Url { index, text } => json!({
            "type": "button", "sub_type": "url", "index": index.to_string(),
            "parameters": [{ "type": "text", "text": text }],
        }),
    }));
    let mut value = json!({ "name": template.name, "language": { "code": template.language } });
    if !components.is_empty() {
        value["components"] = components.into();
    }
    value
}

fn put(value: &mut Value, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        value[name] = text.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_reads_as_in_the_reference() {
        let parameter = |text: &str| Parameter { name: None, text: text.into() };
        let template = Template {
            name: "order_update".into(),
            language: "en_US".into(),
            body: vec![parameter("Ana"), parameter("4711")],
            buttons: vec![
                TemplateButton::QuickReply { index: 0, payload: "YES".into() },
                TemplateButton::Url { index: 1, text: "4711".into() },
            ],
            ..Template::default()
        };
        let to = Recipient::User("US.1".into());
        let body = Outgoing::Template(template);
        let message = Message { to: &to, body: &body, media: None, quotes: None, opaque: "o" };
        assert_eq!(
            request(&message),
            json!({
                "messaging_product": "whatsapp", "recipient_type": "individual", "recipient": "US.1",
                "type": "template", "biz_opaque_callback_data": "o",
                "template": { "name": "order_update", "language": { "code": "en_US" }, "components": [
                    { "type": "body", "parameters": [
                        { "type": "text", "text": "Ana" }, { "type": "text", "text": "4711" } ] },
                    { "type": "button", "sub_type": "quick_reply", "index": "0",
                      "parameters": [{ "type": "payload", "payload": "YES" }] },
                    { "type": "button", "sub_type": "url", "index": "1",
                      "parameters": [{ "type": "text", "text": "4711" }] },
                ] },
            })
        );
    }

    #[test]
    fn a_quoted_document_names_its_upload() {
        let body = Outgoing::Attachment(Attachment {
            file: domain::message::File::Stored { object: "o".into() },
            kind: None,
            name: "invoice.pdf".into(),
            mime: "application/pdf".into(),
            caption: Some("here".into()),
        });
        let to = Recipient::Phone("15550100199".into());
        let quoted = Wamid::new("wamid.x");
        let media = Some(("77", MediaKind::Document));
        let message = Message { to: &to, body: &body, media, quotes: Some(&quoted), opaque: "o" };
        assert_eq!(
            request(&message),
            json!({
                "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+15550100199",
                "type": "document", "document": { "id": "77", "caption": "here", "filename": "invoice.pdf" },
                "context": { "message_id": "wamid.x" }, "biz_opaque_callback_data": "o",
            })
        );
    }
}
