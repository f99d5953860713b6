//! What a message says (§2.2), and what stands around it (§2.3, §2.4).

use std::borrow::Cow;

use domain::{
    Wamid,
    message::{
        Choice, ChoiceKind, ContactCard, Content, Form, Forwarded, Location, Media, MediaKind,
        MessageContext, Order, OrderItem, Referral,
    },
};

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

/// What a message says; of a kind that is not understood the name, and whatever words came along.
pub(super) fn of(wire: &wire::Message<'_>, kind: String) -> Content {
    understood(wire, &kind).unwrap_or_else(|| match kind.as_str() {
        "unsupported" | "unknown" | "ephemeral" => {
            let named = wire.unsupported.object::<wire::Unsupported<'_>>().and_then(|it| it.kind.filled());
            let code =
                wire.errors.items().into_iter().find_map(super::problem).map_or(0, |problem| problem.code);
            Content::Unsupported { kind: named.map(|kind| cleaned(&kind)), code }
        }
        _ => Content::Other { kind, text: None },
    })
}

/// `None`: not a kind that is known, or without what it must have.
fn understood(wire: &wire::Message<'_>, kind: &str) -> Option<Content> {
    Some(match kind {
        "text" => Content::Text(body(wire.text)?),
        "image" => media(wire.image, MediaKind::Image)?,
        "video" => media(wire.video, MediaKind::Video)?,
        "audio" => media(wire.audio, MediaKind::Audio)?,
        "voice" => media(wire.voice, MediaKind::Voice)?,
        "document" => media(wire.document, MediaKind::Document)?,
        "sticker" => media(wire.sticker, MediaKind::Sticker)?,
        "location" => {
            let place = wire.location.object::<wire::Location<'_>>()?;
            Content::Location(Location {
                latitude: owned(place.latitude)?,
                longitude: owned(place.longitude)?,
                name: filled(place.name),
                address: filled(place.address),
            })
        }
        "contacts" => Content::Contacts(wire.contacts.items().into_iter().filter_map(card).collect()),
        "button" => {
            let button = wire.button.object::<wire::Button<'_>>()?;
            let title = owned(button.text)?;
            let id = filled(button.payload).unwrap_or_else(|| title.clone());
            Content::Choice(Choice { kind: ChoiceKind::Template, id, title })
        }
        "interactive" => {
            let interactive = wire.interactive.object::<wire::Interactive<'_>>()?;
            let tapped = |node: Node<'_>, kind| {
                let reply = node.object::<wire::Reply<'_>>()?;
                let title = filled(reply.title)?;
                Some(Content::Choice(Choice { kind, id: owned(reply.id).unwrap_or_default(), title }))
            };
            let form = |node: Node<'_>| {
                let reply = node.object::<wire::Reply<'_>>()?;
                Some(Content::Form(Form {
                    name: filled(reply.name).unwrap_or_else(|| "flow".into()),
                    body: filled(reply.body),
                    answers: owned(reply.response_json).unwrap_or_default(),
                }))
            };
            tapped(interactive.button_reply, ChoiceKind::Button)
                .or_else(|| tapped(interactive.list_reply, ChoiceKind::Row))
                .or_else(|| form(interactive.nfm_reply))?
        }
        "order" => {
            let order = wire.order.object::<wire::Order<'_>>()?;
            let item = |node: Node<'_>| {
                let item = node.object::<wire::OrderItem<'_>>()?;
                Some(OrderItem {
                    product: owned(item.product_retailer_id)?,
                    quantity: owned(item.quantity).unwrap_or_default(),
                    price: owned(item.item_price).unwrap_or_default(),
                    currency: owned(item.currency).unwrap_or_default(),
                })
            };
            Content::Order(Order {
                catalog: owned(order.catalog_id).unwrap_or_default(),
                text: filled(order.text),
                items: order.product_items.items().into_iter().filter_map(item).collect(),
            })
        }
        "reaction" => {
            let reaction = wire.reaction.object::<wire::Reaction<'_>>()?;
            // Without one, or with an empty one: taken back.
            Content::Reaction { to: wamid(reaction.message_id)?, emoji: filled(reaction.emoji) }
        }
        "edit" => {
            let edit = wire.edit.object::<wire::Edit<'_>>()?;
            let edited = edit.message.object::<wire::Message<'_>>()?;
            let inner = self::kind(&edited);
            let content = of(&edited, inner);
            // A caption is what can be changed of a file.
            let caption = content.media().map(|media| media.caption.clone().unwrap_or_default());
            let text = caption.unwrap_or_else(|| content.as_text());
            Content::Edited { message: wamid(edit.original_message_id)?, text }
        }
        "revoke" => {
            let revoke = wire.revoke.object::<wire::Revoke<'_>>()?;
            Content::Revoked { message: wamid(revoke.original_message_id)? }
        }
        _ => return None,
    })
}

/// What stands around a message (§2.3, §2.4).
pub(super) fn context(wire: &wire::Message<'_>) -> MessageContext {
    let context = wire.context.object::<wire::Context<'_>>().unwrap_or_default();
    // Empty strings and `false` occur.
    let is = |node: Node<'_>| node.source() == "true" || node.text().is_some_and(|text| text == "true");
    let referral = wire.referral.object::<wire::Referral<'_>>().map(|referral| Referral {
        headline: filled(referral.headline),
        body: filled(referral.body),
        source_url: filled(referral.source_url),
        source_id: filled(referral.source_id),
        click: filled(referral.ctwa_clid),
    });
    let product = context.referred_product.object::<wire::Product<'_>>();
    MessageContext {
        quotes: wamid(context.id),
        forwarded: if is(context.frequently_forwarded) {
            Forwarded::Often
        } else if is(context.forwarded) {
            Forwarded::Yes
        } else {
            Forwarded::No
        },
        referral: referral.filter(|referral| *referral != Referral::default()),
        product: product.and_then(|product| filled(product.product_retailer_id)),
        group: filled(wire.group_id).filter(|group| group.len() <= super::MAX_ID_BYTES),
    }
}

/// Why another responder passes a conversation on, and its summary: free text, or a JSON string
/// with a reason in it (§13.2).
pub(super) fn passed(node: Node<'_>) -> Content {
    let handed = node.object::<wire::Handed<'_>>().unwrap_or_default();
    let metadata = filled(handed.metadata);
    let reason = metadata.map(|text| match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(value) => value.get("reason").and_then(|reason| reason.as_str()).map_or(text, str::to_owned),
        Err(_) => text,
    });
    let context = handed.conversation_context.object::<wire::HandedContext<'_>>().unwrap_or_default();
    let summary = context.summary.object::<wire::Summary<'_>>().and_then(|summary| filled(summary.text));
    Content::ControlPassed { reason, summary }
}

fn media(node: Node<'_>, kind: MediaKind) -> Option<Content> {
    let media = node.object::<wire::Media<'_>>()?;
    let kind =
        if kind == MediaKind::Audio && media.voice.source() == "true" { MediaKind::Voice } else { kind };
    Some(Content::Media(Media {
        kind,
        id: filled(media.id).filter(|id| id.len() <= super::MAX_ID_BYTES)?,
        mime: owned(media.mime_type).unwrap_or_default(),
        sha256: filled(media.sha256),
        file_name: filled(media.filename),
        caption: filled(media.caption),
    }))
}

fn card(node: Node<'_>) -> Option<ContactCard> {
    let card = node.object::<wire::Card<'_>>()?;
    let name = card.name.object::<wire::CardName<'_>>().unwrap_or_default();
    let values = |nodes: Node<'_>, of: fn(wire::CardValue<'_>) -> Option<String>| {
        nodes.items().into_iter().filter_map(|node| of(node.object::<wire::CardValue<'_>>()?)).collect()
    };
    let parts = [name.first_name, name.last_name].map(filled).into_iter().flatten().collect::<Vec<_>>();
    Some(ContactCard {
        name: filled(name.formatted_name).unwrap_or_else(|| parts.join(" ")),
        phones: values(card.phones, |value| filled(value.phone)),
        emails: values(card.emails, |value| filled(value.email)),
        organization: card.org.object::<wire::Organization<'_>>().and_then(|org| filled(org.company)),
        own: card.origin.text().is_some_and(|origin| origin == "contact_request"),
    })
}

fn body(text: Node<'_>) -> Option<String> {
    owned(text.object::<wire::TextBody<'_>>()?.body)
}

fn owned(node: Node<'_>) -> Option<String> {
    node.text().map(Cow::into_owned)
}

fn filled(node: Node<'_>) -> Option<String> {
    node.filled().map(Cow::into_owned)
}

fn wamid(node: Node<'_>) -> Option<Wamid> {
    filled(node).filter(|id| id.len() <= super::MAX_ID_BYTES).map(Wamid::new)
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
