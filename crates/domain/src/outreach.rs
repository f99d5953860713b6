//! What a business sends on its own: campaigns, and single templates that other systems ask for.

use uuid::Uuid;

use crate::{
    Millis, PhoneNumberId, SendId,
    message::{Choice, ChoiceKind, Content, Customer, InboundMessage, Template, TemplateButton},
};

/// A campaign. Ours, made when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct CampaignId(pub Uuid);

impl std::fmt::Display for CampaignId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

impl std::str::FromStr for CampaignId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Whose send something is: it stands wherever one is told of, so that a reader of the log can count
/// without looking anything up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    pub campaign: CampaignId,
    /// Of the audience, from 0.
    pub row: u32,
}

/// A template on its way to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outreach {
    pub number: PhoneNumberId,
    /// By phone number (digits), or by user id where that is all that is known.
    pub customer: Customer,
    /// With `preview`, as the recipient reads it.
    pub template: Template,
    /// Not for those who want no marketing messages.
    pub marketing: bool,
    /// Not sent later than this; 0: whenever.
    pub not_after: Millis,
    /// `None`: a single send.
    pub mark: Option<Mark>,
    /// The campaign's, as reps read it.
    pub name: String,
    pub reply: ReplyRule,
    /// Milliseconds in which what the customer writes is a reply.
    pub answered_within: Millis,
}

/// What becomes of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ReplyRule {
    /// A thread opens.
    #[default]
    Rep,
    Assistant,
    /// The first whose words occur; else a thread opens.
    Keywords(Vec<Keyword>),
}

#[derive(Clone, PartialEq, Eq)]
pub struct Keyword {
    pub words: Vec<String>,
    pub to: Destination,
}

/// Chosen by an operator, but they tell what customers answer.
impl std::fmt::Debug for Keyword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyword({} words, {:?})", self.words.len(), self.to)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    Rep,
    Assistant,
    OptOut,
}

impl ReplyRule {
    /// `text`: as the customer wrote it, or the title of what they tapped on.
    pub fn destination(&self, text: &str) -> Destination {
        match self {
            Self::Rep => Destination::Rep,
            Self::Assistant => Destination::Assistant,
            Self::Keywords(rules) => {
                let said = format!(" {} ", plain(text));
                let meant = |rule: &&Keyword| {
                    rule.words
                        .iter()
                        .map(|word| plain(word))
                        .any(|word| !word.is_empty() && said.contains(&format!(" {word} ")))
                };
                rules.iter().find(meant).map_or(Destination::Rep, |rule| rule.to)
            }
        }
    }
}

/// Whether a text is just one of these words, however it is written.
pub fn is_just(text: &str, words: &[String]) -> bool {
    let said = plain(text);
    !said.is_empty() && words.iter().any(|word| plain(word) == said)
}

/// Lower case, words separated by one blank, without punctuation.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric() && !is_mark(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Combining marks belong to the letter before them (Hindi, Arabic, decomposed accents).
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}')
}

/// An outreach that was sent, as long as it may be answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Sent {
    pub send: SendId,
    /// When it was decided, by the log's clock.
    pub at: Millis,
    /// Until then what the customer writes may be a reply.
    pub until: Millis,
    pub mark: Option<Mark>,
    pub name: String,
    /// As the customer read it; the first [`Sent::TEXT_LIMIT`] characters.
    pub text: String,
    pub reply: ReplyRule,
}

impl Sent {
    /// So many of a conversation are remembered.
    pub const LIMIT: usize = 4;
    pub const TEXT_LIMIT: usize = 1_024;
}

/// Holds what was written to a customer: never printed.
impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent").field("send", &self.send).field("at", &self.at).finish_non_exhaustive()
    }
}

/// A tap on one of its quick replies says which send it answers: `context` may be missing from a tap
/// (`whatsapp-cloud-api.md` §2.2), and a customer may have several templates.
const PAYLOAD: &str = "out:";

/// The template with taps that name the send.
pub fn naming(mut template: Template, send: SendId) -> Template {
    for button in &mut template.buttons {
        match button {
            TemplateButton::QuickReply { payload, .. } => *payload = format!("{PAYLOAD}{send}:{payload}"),
            TemplateButton::Url { .. } => {}
        }
    }
    template
}

/// The send that a tap names.
pub fn named(content: &Content) -> Option<SendId> {
    let Content::Choice(Choice { id, .. }) = content else { return None };
    let (send, _) = id.strip_prefix(PAYLOAD)?.split_once(':')?;
    send.parse().ok()
}

/// Whether a message may answer something that was sent to the customer's phone number, under which
/// another conversation goes: worth looking there. A customer who is in the middle of a chat answers
/// that; `customer_wrote_at`: the message before.
pub fn may_answer(message: &InboundMessage, customer_wrote_at: Millis, in_session: bool) -> bool {
    /// Milliseconds of silence after which a message may be about anything.
    const LULL: Millis = 600_000;
    let tapped = matches!(&message.content, Content::Choice(Choice { kind: ChoiceKind::Template, .. }));
    !in_session
        || tapped
        || message.context.quotes.is_some()
        || message.sent_at.saturating_sub(customer_wrote_at) > LULL
}

/// A phone number (digits) and how else it is dialled: WhatsApp's id of a number may differ from the
/// number itself (Brazil's ninth digit, Mexico's and Argentina's mobile prefix;
/// `whatsapp-cloud-api.md` §4.1).
pub fn as_dialled(phone: &str) -> Vec<String> {
    if !phone.bytes().all(|b| b.is_ascii_digit()) {
        return vec![phone.to_owned()];
    }
    let other = match (phone.get(..2), phone.len()) {
        (Some("55"), 13) if phone.as_bytes()[4] == b'9' => Some(format!("{}{}", &phone[..4], &phone[5..])),
        (Some("55"), 12) => Some(format!("{}9{}", &phone[..4], &phone[4..])),
        (Some("52"), 13) if phone.starts_with("521") => Some(format!("52{}", &phone[3..])),
        (Some("52"), 12) => Some(format!("521{}", &phone[2..])),
        (Some("54"), 13) if phone.starts_with("549") => Some(format!("54{}", &phone[3..])),
        (Some("54"), 12) => Some(format!("549{}", &phone[2..])),
        _ => None,
    };
    std::iter::once(phone.to_owned()).chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whole_in_any_writing() {
        let rule = ReplyRule::Keywords(vec![
            Keyword { words: vec!["no thanks".into()], to: Destination::OptOut },
            Keyword { words: vec!["Preis".into(), "price".into()], to: Destination::Assistant },
        ]);
        for (text, to) in [
            ("What's the PRICE?", Destination::Assistant),
            ("No,  thanks!", Destination::OptOut),
            ("priceless", Destination::Rep),
            ("", Destination::Rep),
        ] {
            assert_eq!(rule.destination(text), to, "{text}");
        }
        let words = vec!["stop".to_owned(), "退订".to_owned()];
        assert!(is_just(" STOP. ", &words) && is_just("退订", &words));
        assert!(!is_just("please stop by", &words) && !is_just("…", &words));
    }

    #[test]
    fn a_number_is_found_as_it_is_dialled_and_as_whatsapp_writes_it() {
        assert_eq!(as_dialled("5511987654321"), ["5511987654321", "551187654321"]);
        assert_eq!(as_dialled("551187654321"), ["551187654321", "5511987654321"]);
        assert_eq!(as_dialled("5215512345678"), ["5215512345678", "525512345678"]);
        assert_eq!(as_dialled("541112345678"), ["541112345678", "5491112345678"]);
        assert_eq!(as_dialled("15550100123"), ["15550100123"]);
        assert_eq!(as_dialled("5"), ["5"]);
    }

    #[test]
    fn a_tap_names_the_send() {
        let send: SendId = "7f7a2f0e-53a8-4d0a-9f0a-0a8f7c1f5a11".parse().unwrap();
        let buttons = vec![TemplateButton::QuickReply { index: 0, payload: "YES:please".into() }];
        let template = naming(Template { buttons, ..Template::default() }, send);
        let [TemplateButton::QuickReply { payload, .. }] = &template.buttons[..] else { panic!() };
        let tap = |id: &str| {
            Content::Choice(Choice { kind: ChoiceKind::Template, id: id.into(), title: "Yes".into() })
        };
        assert_eq!(named(&tap(payload)), Some(send));
        assert_eq!(named(&tap("YES")), None);
    }
}
