//! Numbers that customers type. Choices that fit neither WhatsApp's buttons nor its lists go out as a
//! numbered text (`whatsapp::outgoing::fit`); the number that comes back is the choice.

use bus::{Failure, Log};
use domain::{
    ConversationKey, Seq, ThreadId,
    message::{Content, Outgoing, Tap},
    session::{Conversation, Fact, Happening},
};
use proto::subjects::Kind;

use crate::forward::{self, Part};

/// Decisions that are gone back over for what was offered; beyond them the number stays a text.
const OFFER_DECISIONS: usize = 500;
/// More options than this are no menu.
const MOST_OPTIONS: usize = 999;

/// The number that a text consists of: `2`, `2.`, `#2`.
pub(crate) fn number(content: &Content) -> Option<usize> {
    let Content::Text(text) = content else { return None };
    let digits = text.trim().trim_start_matches('#').trim_end_matches(['.', ')', ':']);
    let plain = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && (1..=MOST_OPTIONS).contains(number))
}

/// What the customer chose by typing `number` in the entry at `at`: an option of what the rep or a bot
/// offered last, if that went out numbered and was not answered before.
pub(crate) async fn typed(
    log: &Log,
    key: &ConversationKey,
    state: &Conversation,
    at: Seq,
    number: usize,
) -> Result<Option<Part>, Failure> {
    let Some((thread, follow)) = state.followed_thread() else { return Ok(None) };
    let before = at.saturating_sub(1);
    let kinds = [Kind::Salesforce, Kind::WhatsApp];
    let entries = log.facts(key, &kinds, follow.answers, before, OFFER_DECISIONS).await?;
    let mut offer = Offer::default();
    for entry in entries {
        // Not the fact in question: whoever handles it says what is wrong with it.
        let Ok(body) = proto::decode(entry.payload) else { continue };
        if let Ok(Some(fact)) = proto::convert::fact(body) {
            offer.see(thread, &fact);
        }
    }
    Ok(offer.choice(number))
}

/// What is on offer at a point of a conversation.
#[derive(Default)]
struct Offer {
    numbered: Vec<Tap>,
}

impl Offer {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else happens leaves an offer as it is")]
    fn see(&mut self, thread: ThreadId, fact: &Fact) {
        match fact {
            Fact::Salesforce(event) if event.thread == thread => match &event.what {
                Happening::RepWrote { bodies } | Happening::BotWrote { bodies } => {
                    self.numbered = bodies.last().map(numbered).unwrap_or_default();
                }
                _ => {}
            },
            Fact::Inbound(message) => match number(&message.content) {
                Some(number) if self.numbered.len() >= number => self.numbered.clear(),
                _ => {}
            },
            _ => {}
        }
    }

    fn choice(&self, number: usize) -> Option<Part> {
        let tap = self.numbered.get(number.checked_sub(1)?)?;
        forward::offered(&tap.id, &tap.title)
    }
}

/// The options of a body that reaches the customer as a numbered text; none of any other.
fn numbered(body: &Outgoing) -> Vec<Tap> {
    let options: Vec<Tap> = match body {
        Outgoing::Buttons(buttons) => buttons.options.clone(),
        Outgoing::List(list) => list.sections.iter().flat_map(|section| section.rows.clone()).collect(),
        Outgoing::Text(_)
        | Outgoing::Attachment(_)
        | Outgoing::Location(_)
        | Outgoing::Contacts(_)
        | Outgoing::Link(_)
        | Outgoing::Reaction { .. }
        | Outgoing::Template(_) => return Vec::new(),
    };
    let tappable = |message: &Outgoing| matches!(message, Outgoing::Buttons(_) | Outgoing::List(_));
    if whatsapp::outgoing::fit(body).iter().any(tappable) { Vec::new() } else { options }
}

#[cfg(test)]
mod tests {
    use domain::{
        EntryId, PhoneNumberId, Wamid,
        message::{Buttons, Customer, InboundMessage, MessageContext},
        session::SalesforceEvent,
    };
    use uuid::Uuid;

    use super::*;

    const MESSAGE: &str = "5f0c9d1e-3b7a-4c62-9e41-8a2d6b7f1c03";

    fn offered(options: usize) -> Outgoing {
        let tap = |n: usize| Tap {
            id: format!("sf:{MESSAGE}:o{n}"),
            title: format!("Option {n}"),
            description: None,
        };
        Outgoing::Buttons(Buttons {
            body: "Which?".into(),
            options: (1..=options).map(tap).collect(),
            ..Buttons::default()
        })
    }

    fn thread() -> ThreadId {
        ThreadId(Uuid::nil())
    }

    fn bot(bodies: Vec<Outgoing>) -> Fact {
        let what = Happening::BotWrote { bodies };
        Fact::Salesforce(SalesforceEvent { thread: thread(), entry: EntryId::new("e"), at: 0, what })
    }

    fn customer(text: &str) -> Fact {
        Fact::Inbound(InboundMessage {
            number: PhoneNumberId::new("1"),
            wamid: Wamid::new("w"),
            sent_at: 0,
            customer: Customer::default(),
            content: Content::Text(text.into()),
            context: MessageContext::default(),
        })
    }

    fn choice(facts: &[Fact], number: usize) -> Option<String> {
        let mut offer = Offer::default();
        facts.iter().for_each(|fact| offer.see(thread(), fact));
        match offer.choice(number)? {
            Part::Choice { option, title, message } => {
                assert_eq!(message.to_string(), MESSAGE);
                Some(format!("{option} {title}"))
            }
            part @ (Part::Text(_) | Part::File { .. }) => panic!("{part:?}"),
        }
    }

    #[test]
    fn numbers_are_read_and_nothing_else_is() {
        let read = |text: &str| number(&Content::Text(text.into()));
        for (text, is) in [("2", 2), (" 12. ", 12), ("#3", 3), ("4)", 4)] {
            assert_eq!(read(text), Some(is), "{text}");
        }
        for text in ["", "0", "two", "2 please", "-1", "1000", "2.5", "+1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_typed_number_is_the_choice_where_nothing_could_be_tapped_on() {
        assert_eq!(choice(&[bot(vec![offered(12)])], 11).as_deref(), Some("o11 Option 11"));
        assert_eq!(choice(&[bot(vec![offered(12)])], 13), None, "no such option");
        assert_eq!(choice(&[bot(vec![offered(3)])], 2), None, "buttons: the number means something else");
        assert_eq!(choice(&[bot(vec![offered(10)])], 2), None, "a list");
        assert_eq!(choice(&[], 1), None);
        let asked = || bot(vec![offered(12)]);
        assert!(choice(&[asked(), customer("what is the third?")], 3).is_some(), "a question between");
        assert_eq!(choice(&[asked(), customer("3")], 3), None, "answered already");
        let said = bot(vec![Outgoing::Text("How many do you want?".into())]);
        assert_eq!(choice(&[asked(), said], 3), None, "something else was asked since");
    }
}
