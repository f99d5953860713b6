//! Messages as they stand in `entryPayload`, in the shapes of `crates/salesforce/testdata`.

use serde_json::{Value, json};

use super::{
    state::new_id,
    verb::{CarouselItem, ChoiceFormat, ChoiceOption, RepMessage},
    view::FileView,
};

/// `Message`: an `abstractMessage` with its reason.
pub(super) fn wrap(id: &str, mut message: Value) -> Value {
    message["id"] = id.into();
    message["references"] = json!([]);
    json!({ "abstractMessage": message, "messageReason": null })
}

pub(super) fn text(text: &str) -> Value {
    json!({
        "messageType": "StaticContentMessage", "staticContent": { "formatType": "Text", "text": text },
    })
}

/// `result`: `attachmentUploadResult`, which only the customer's own files have.
pub(super) fn attachment(file: &FileView, caption: Option<&str>, result: &Value) -> Value {
    json!({
        "messageType": "StaticContentMessage",
        "staticContent": {
            "formatType": "Attachments", "text": caption,
            "attachments": [{
                "id": file.id, "name": file.name, "mimeType": file.mime, "url": file.url,
                "referenceId": null, "attachmentUploadResult": result,
            }],
        },
    })
}

fn title(text: &str) -> Value {
    json!({ "itemType": "TitleItem", "title": text })
}

fn option(option: &ChoiceOption) -> Value {
    json!({
        "itemType": "TitleOptionItem",
        "optionIdentifier": option.id.clone().unwrap_or_else(new_id),
        "titleItem": {
            "itemType": "TitleItem", "title": option.title, "subTitle": null, "secondarySubTitle": null,
            "tertiarySubTitle": null, "referenceId": null,
        },
    })
}

fn image(address: &str) -> Value {
    json!({ "id": new_id(), "assetType": "ImageAsset", "mimeType": "image/png", "assetUrl": address })
}

/// An `abstractMessage` without its id. Files are made elsewhere: they need a place to be fetched from.
pub(super) fn message(content: &RepMessage) -> Option<Value> {
    Some(match content {
        RepMessage::File(_) => return None,
        RepMessage::Text { text: said } => text(said),
        RepMessage::Raw { message } => message.clone(),
        RepMessage::Choices { format, text, options } => {
            let items: Vec<Value> = options.iter().map(option).collect();
            let choices = match format {
                ChoiceFormat::QuickReplies => json!({
                    "formatType": "QuickReplies", "text": text, "optionItems": items, "images": [],
                }),
                ChoiceFormat::Buttons => {
                    json!({ "formatType": "Buttons", "text": text, "optionItems": items })
                }
                ChoiceFormat::ListPicker => json!({
                    "formatType": "ListPicker", "title": text, "optionItems": items, "images": [],
                }),
            };
            json!({ "messageType": "ChoicesMessage", "choices": choices })
        }
        RepMessage::Carousel { items } => carousel(items),
        RepMessage::RichLink { title: head, url, image: address } => json!({
            "messageType": "StaticContentMessage",
            "staticContent": {
                "formatType": "RichLink", "text": null,
                "linkItem": { "itemType": "TitleLinkItem", "titleItem": title(head), "url": url },
                "image": address.as_deref().map(image),
            },
        }),
        RepMessage::Form { title: head, label } => json!({
            "messageType": "FormMessage",
            "form": {
                "formatType": "Inputs", "formTitle": title(head), "message": title("Fill in the form"),
                "reply": title("Form sent"),
                "sections": [{
                    "sectionType": "SingleInputSection", "id": new_id(),
                    "input": {
                        "inputType": "TextInput", "id": new_id(), "required": true, "label": title(label),
                        "textInputType": "SingleLine",
                    },
                }],
            },
        }),
        RepMessage::WebView { title: head, url } => json!({
            "messageType": "StaticContentMessage", "customHandlingType": "Survey",
            "staticContent": {
                "formatType": "WebView", "title": title(head), "url": url, "parameters": [],
                "displayType": null,
            },
        }),
    })
}

fn carousel(items: &[CarouselItem]) -> Value {
    let mut images = Vec::new();
    let items: Vec<Value> = items
        .iter()
        .map(|item| {
            let picture = item.image.as_deref().map(image);
            let reference = picture.as_ref().map(|picture| picture["id"].clone());
            let options = item.options.iter().map(option);
            let links = item.links.iter().map(
                |(text, url)| json!({ "itemType": "TitleLinkItem", "titleItem": title(text), "url": url }),
            );
            let actions: Vec<Value> = options.chain(links).collect();
            images.extend(picture);
            json!({
                "titleItem": {
                    "itemType": "TitleImageItem", "title": item.title, "subTitle": item.subtitle,
                    "imageReferenceId": reference,
                },
                "interactionItems": actions,
            })
        })
        .collect();
    json!({
        "messageType": "ChoicesMessage",
        "choices": { "formatType": "Carousel", "items": items, "images": images },
    })
}

/// The options a customer may choose from: identifier and title.
pub(super) fn options(payload: &Value) -> Vec<(String, String)> {
    let choices = &payload["abstractMessage"]["choices"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let in_carousel = list(&choices["items"]).into_iter().flat_map(|item| list(&item["interactionItems"]));
    list(&choices["optionItems"])
        .into_iter()
        .chain(in_carousel)
        .filter_map(|item| {
            let id = item["optionIdentifier"].as_str()?.to_owned();
            Some((id, item["titleItem"]["title"].as_str().unwrap_or_default().to_owned()))
        })
        .collect()
}

/// The text of a message that is one.
pub(super) fn text_of(message: &Value) -> Option<String> {
    let content = &message["staticContent"];
    (content["formatType"] == "Text").then(|| content["text"].as_str().map(str::to_owned)).flatten()
}
