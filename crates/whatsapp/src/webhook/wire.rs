//! Meta's JSON, key by key. Only what is read is named; everything else stays in the raw JSON
//! that each event keeps. Left out on purpose: `messaging_product` (always `whatsapp`), `pricing`
//! and `conversation` of statuses (informational, §3).

use domain::PhoneNumberId;
use serde::Deserialize;

use super::node::{Items, Node};

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Default, Deserialize)]
        #[serde(default)]
        pub(super) struct $name<'a> { $(#[serde(borrow)] $(#[$attr])* pub(super) $field: Node<'a>),* }
    };
}

wire!(
    /// <https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components>
    Envelope { object, entry }
);
wire!(
    /// `id`: the WhatsApp Business Account.
    Entry { id, changes }
);
wire!(Change { field, value });

/// What a change tells: the keys of `messages`, `standby` (one level deeper), echoes,
/// `messaging_handovers`, `user_preferences` and `user_id_update`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Value<'a> {
    #[serde(borrow)]
    pub(super) metadata: Node<'a>,
    #[serde(borrow)]
    pub(super) contacts: Items<'a>,
    #[serde(borrow)]
    pub(super) messages: Items<'a>,
    #[serde(borrow)]
    pub(super) statuses: Items<'a>,
    #[serde(borrow)]
    pub(super) errors: Items<'a>,
    #[serde(borrow)]
    pub(super) message_echoes: Items<'a>,
    #[serde(borrow)]
    pub(super) standby: Node<'a>,
    #[serde(borrow)]
    pub(super) user_preferences: Items<'a>,
    #[serde(borrow)]
    pub(super) user_id_update: Items<'a>,
    #[serde(borrow)]
    pub(super) conversation_context: Node<'a>,
    #[serde(borrow)]
    pub(super) recipient: Node<'a>,
    #[serde(borrow)]
    pub(super) sender: Node<'a>,
    #[serde(borrow)]
    pub(super) timestamp: Node<'a>,
    #[serde(borrow)]
    pub(super) control_passed: Node<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Node<'a>,
}

/// The shape that nearly every body has, read at one go. What deviates from it is read again,
/// piece by piece.
#[derive(Deserialize)]
pub(super) struct Usual<'a> {
    #[serde(borrow)]
    pub(super) object: Node<'a>,
    #[serde(borrow)]
    pub(super) entry: Vec<UsualEntry<'a>>,
}

#[derive(Deserialize)]
pub(super) struct UsualEntry<'a> {
    #[serde(borrow)]
    pub(super) id: Node<'a>,
    #[serde(borrow)]
    pub(super) changes: Vec<UsualChange<'a>>,
}

#[derive(Deserialize)]
pub(super) struct UsualChange<'a> {
    #[serde(borrow)]
    pub(super) field: Node<'a>,
    #[serde(borrow)]
    pub(super) value: Value<'a>,
}

impl UsualChange<'_> {
    /// Whether it gives events without a look at its JSON as a whole.
    fn is_usual(&self) -> bool {
        let updates = self.value.messages.len() + self.value.statuses.len();
        updates > 0 && self.field.text().as_deref() == Some("messages")
    }
}

impl<'a> Usual<'a> {
    pub(super) fn read(body: &'a str) -> Option<Self> {
        let usual: Self = serde_json::from_str(body).ok()?;
        let ours = usual.object.text().as_deref() == Some("whatsapp_business_account");
        let mut changes = usual.entry.iter().flat_map(|entry| &entry.changes);
        (ours && changes.all(UsualChange::is_usual)).then_some(usual)
    }
}

wire!(Metadata { phone_number_id });
wire!(
    /// Found by `wa_id` or `user_id`, never by its place in the array (§2.1).
    Contact { wa_id, user_id, parent_user_id, profile }
);
wire!(Profile { name, username });
wire!(
    /// <https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/reference/messages>
    Message {
        id,
        from,
        from_user_id,
        from_parent_user_id,
        timestamp,
        group_id,
        context,
        referral,
        #[serde(rename = "type")]
        kind,
        text,
        image,
        video,
        audio,
        voice,
        document,
        sticker,
        location,
        contacts,
        interactive,
        button,
        order,
        reaction,
        system,
        edit,
        revoke,
        unsupported,
        errors,
    }
);
wire!(TextBody { body });
wire!(
    /// Images, videos, documents, audio, stickers.
    Media { id, mime_type, sha256, filename, caption, voice }
);
wire!(Location { latitude, longitude, name, address });
wire!(Card { name, phones, emails, org, origin });
wire!(CardName { formatted_name, first_name, last_name });
wire!(CardValue { phone, email });
wire!(Organization { company });
wire!(Button { text, payload });
wire!(Interactive { button_reply, list_reply, nfm_reply });
wire!(Reply { id, title, body, name, response_json });
wire!(Reaction { message_id, emoji });
wire!(Order { catalog_id, text, product_items });
wire!(OrderItem { product_retailer_id, quantity, item_price, currency });
wire!(
    /// `message` has the shape of [`Message`] without ids.
    Edit { original_message_id, message }
);
wire!(Revoke { original_message_id });
wire!(Unsupported {
    #[serde(rename = "type")]
    kind
});
wire!(
    /// What a message quotes or answers, and how it came here (§2.3).
    Context { id, forwarded, frequently_forwarded, referred_product }
);
wire!(Product { product_retailer_id });
wire!(
    /// An advertisement with a button that opens a chat (§2.4).
    Referral { headline, body, source_url, source_id, ctwa_clid }
);
wire!(
    /// What another responder tells when it passes a conversation on, or takes it (§13.2).
    Handed { metadata, conversation_context }
);
wire!(HandedContext { summary });
wire!(Summary { text });
wire!(
    /// `user_id` and `wa_id` are the new ones; `customer` is the old number in the oldest shape
    /// (§2.5).
    System {
        #[serde(rename = "type")]
        kind,
        wa_id,
        new_wa_id,
        user_id,
        parent_user_id,
        previous_user_id,
        previous_parent_user_id,
        customer,
    }
);
wire!(
    /// Sent in our name, by the Business app or by another responder.
    Echo { id, timestamp, to, to_user_id, message }
);
wire!(
    /// What another responder asked for (§13.2).
    Echoed { to, recipient }
);
wire!(
    /// <https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/reference/messages/status>
    Status {
        id,
        status,
        timestamp,
        #[serde(rename = "type")]
        kind,
        recipient_id,
        recipient_user_id,
        recipient_parent_user_id,
        /// The same before 5 May 2026.
        parent_recipient_user_id,
        recipient_type,
        biz_opaque_callback_data,
        errors,
    }
);
wire!(Problem { code, title, message });
wire!(
    /// Which of these a handover has for a hidden phone is not known (§12, 17).
    HandoverSender { phone_number, wa_id, user_id }
);
wire!(
    /// An element of `user_preferences` or `user_id_update`; in the latter `user_id` is a
    /// [`Rotation`].
    Update { wa_id, user_id, parent_user_id, timestamp, value }
);
wire!(Rotation { previous, current });
wire!(
    /// Whatever may name the person in an element.
    Ids { from, from_user_id, to, to_user_id, recipient_id, recipient_user_id, wa_id, user_id }
);

impl Value<'_> {
    /// From `metadata`; handovers have it in `recipient` (§13.2).
    pub(super) fn number(&self) -> Option<PhoneNumberId> {
        let metadata = [self.metadata, self.recipient].into_iter().find(|node| !node.is_null())?;
        let metadata = metadata.object::<Metadata<'_>>()?;
        metadata.phone_number_id.filled().map(PhoneNumberId::new)
    }
}
