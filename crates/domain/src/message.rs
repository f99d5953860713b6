//! What people say to one another, whatever the wire it came on.

use crate::{CustomerId, Millis, PhoneNumberId, Wamid};

/// Who writes on WhatsApp, as the webhook told it. A phone number may be hidden, a BSUID missing
/// from older traffic; one of them is always there.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Customer {
    /// Digits, no plus.
    pub phone: Option<String>,
    /// Business-scoped user id.
    pub bsuid: Option<String>,
    pub parent_bsuid: Option<String>,
    /// Chosen by the customer: any length, any script.
    pub name: Option<String>,
    pub username: Option<String>,
}

impl Customer {
    /// What identifies the conversation: the BSUID where there is one, else the phone number.
    pub fn id(&self) -> Option<CustomerId> {
        self.bsuid.as_deref().or(self.phone.as_deref()).map(CustomerId::new)
    }

    /// What the rep is shown: the chosen name, else the username, else nothing.
    pub fn display_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.username.as_deref()).filter(|name| !name.trim().is_empty())
    }
}

/// Personal data: never printed.
impl std::fmt::Debug for Customer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Customer(…)")
    }
}

/// A message from a customer.
#[derive(Clone, PartialEq, Eq)]
pub struct InboundMessage {
    pub number: PhoneNumberId,
    pub wamid: Wamid,
    /// When the customer sent it, by Meta's clock. The customer service window counts from here.
    pub sent_at: Millis,
    pub customer: Customer,
    pub content: Content,
}

impl std::fmt::Debug for InboundMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboundMessage").field("sent_at", &self.sent_at).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Text(String),
    /// A kind that is not understood yet: named, with whatever words came along (a caption). The
    /// raw JSON stays in the log entry.
    Other {
        kind: String,
        text: Option<String>,
    },
    /// Not something the customer said (a system notice, an echo, a `standby` copy): kept, shown
    /// in the timeline, acted on by nobody yet.
    Notice {
        kind: String,
    },
}

impl Content {
    /// What a rep or an assistant reads.
    pub fn as_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Other { kind, text: None } => format!("[{kind}]"),
            Self::Other { kind, text: Some(text) } => format!("[{kind}] {text}"),
            Self::Notice { kind } => format!("[{kind}]"),
        }
    }
}

/// Text is personal data: only its kind and length are printed.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Other { kind, .. } => write!(f, "Other({kind})"),
            Self::Notice { kind } => write!(f, "Notice({kind})"),
        }
    }
}

/// Cuts a text into parts of at most `limit` characters, at a paragraph if possible, else at a
/// word, never inside a grapheme. Parts keep every character except the blanks they were cut at.
pub fn split_text(text: &str, limit: usize) -> Vec<String> {
    use unicode_segmentation::UnicodeSegmentation as _;

    let mut parts = Vec::new();
    let mut rest = text;
    while rest.chars().count() > limit {
        let mut head_end = 0; // bytes that surely fit
        let mut used = 0;
        for (at, grapheme) in rest.grapheme_indices(true) {
            used += grapheme.chars().count();
            if used > limit {
                break;
            }
            head_end = at + grapheme.len();
        }
        if head_end == 0 {
            // One grapheme longer than the limit (a hostile pile of marks): cut inside it.
            head_end = rest.char_indices().nth(limit).map_or(rest.len(), |(at, _)| at);
        }
        let head = &rest[..head_end];
        // A cut in the first half would make many tiny parts: prefer a later, plainer border.
        let cut = ["\n\n", "\n", " "]
            .iter()
            .filter_map(|border| head.rfind(border))
            .find(|&at| at > head_end / 2)
            .unwrap_or(head_end);
        parts.push(rest[..cut].trim_end().to_owned());
        rest = rest[cut..].trim_start();
    }
    if !rest.is_empty() {
        parts.push(rest.to_owned());
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_texts_are_cut_at_paragraphs_then_words() {
        let text = format!("{}\n\n{}", "a".repeat(60), "b ".repeat(40));
        let parts = split_text(&text, 100);
        assert_eq!(parts[0], "a".repeat(60));
        assert!(parts[1..].iter().all(|p| p.chars().count() <= 100));
    }

    proptest! {
        #[test]
        fn parts_fit_and_no_character_but_blanks_is_lost(text in "(\\PC|\n| ){0,300}", limit in 1usize..50) {
            let parts = split_text(&text, limit);
            prop_assert!(parts.iter().all(|p| p.chars().count() <= limit && !p.is_empty()));
            let squeeze = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(squeeze(&parts.concat()), squeeze(&text));
        }
    }
}
