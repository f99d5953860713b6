//! What a rep reads: who writes, why, and what was said so far. Pure: from log entries to texts.
//!
//! Salesforce takes 22 messages a minute in a conversation (`miaw-api.md` §9), so the newest turns
//! travel together in few messages, and everything earlier in one: a file, or in short.

use std::collections::HashMap;

use domain::{
    Millis, SessionId, Wamid,
    message::{Content, Customer, Forwarded, InboundMessage, Speaker, split_text},
    session::{Brief, Campaign, Decision, Origin, Send},
};
use jiff::Timestamp;
use proto::{Malformed, StoredDecision, v1::entry::Body};

/// Characters a message may have. The API's own limit is not public; 8 KB is reported, and a
/// character has up to four bytes (`miaw-api.md` §4).
pub(crate) const MESSAGE_LIMIT: usize = 2_000;
/// Messages that the newest turns may take, in full: a rep must see at a glance what it is about.
/// Opening a thread takes these, the header, one for everything earlier, and
/// [`crate::calls::TRANSCRIPT_FILES`]: 8 of the 22 of a minute.
const TRANSCRIPT_MESSAGES: usize = 3;
/// Of an earlier turn, where earlier turns stand in short.
const SHORT_TURN: usize = 80;
/// What the file with everything is called.
pub(crate) const FILE_NAME: &str = "conversation.txt";

/// Of what a message is about, the first characters.
const QUOTE_LIMIT: usize = 80;
/// Of a summary in the header.
const SUMMARY_LIMIT: usize = 1_000;

/// Something somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) at: Millis,
    pub(crate) who: &'static str,
    pub(crate) text: String,
    /// Of a customer's message.
    pub(crate) wamid: Option<Wamid>,
    /// What it quotes, answers, reacts to or changes.
    pub(crate) about: Option<Wamid>,
    /// It came with a file, which is filed under this id.
    pub(crate) media: Option<String>,
}

const CUSTOMER: &str = "Customer";
const ASSISTANT: &str = "Assistant";

/// The turns in an entry of the log: a customer's message, or what a decision sent them. `id`: the
/// entry's.
pub(crate) fn turns(id: &str, at: Millis, body: Body) -> Result<Vec<Turn>, Malformed> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is in the log was not said to anybody")]
    match body {
        Body::WhatsappMessage(message) => {
            Ok(inbound(id, &proto::convert::inbound(message)?).into_iter().collect())
        }
        Body::Decision(decision) => Ok(sent(at, &StoredDecision::try_from(decision)?.decision)),
        _ => Ok(Vec::new()),
    }
}

fn sent(at: Millis, decision: &Decision) -> Vec<Turn> {
    let turn = |send: &Send| Turn {
        at,
        who: match send.origin {
            Origin::Assistant | Origin::Notice => ASSISTANT,
            Origin::Rep => "Rep",
            Origin::Campaign => "Business",
            Origin::Bot => "Bot",
        },
        text: send.body.as_text(),
        wamid: None,
        about: None,
        media: None,
    };
    decision.sends().map(turn).collect()
}

/// What a message is to a rep; `None` for what they need not see.
pub(crate) fn inbound(id: &str, message: &InboundMessage) -> Option<Turn> {
    let (speaker, content) = message.content.spoken();
    let who = match speaker {
        Speaker::Customer => CUSTOMER,
        Speaker::Colleague => "Colleague (WhatsApp app)",
        Speaker::OtherResponder => "Other assistant",
    };
    let about = match content.marked() {
        Some(marked) => Some(marked.clone()),
        None if content.is_said() => message.context.quotes.clone(),
        None if matches!(content, Content::ControlPassed { .. }) => None,
        None => return None,
    };
    let mut text = content.as_text();
    match message.context.forwarded {
        Forwarded::No => {}
        Forwarded::Yes => text = format!("(forwarded) {text}"),
        Forwarded::Often => text = format!("(forwarded many times) {text}"),
    }
    if let Some(product) = &message.context.product {
        text = format!("(about product {product}) {text}");
    }
    if let Some(ad) = &message.context.referral {
        let words = [&ad.headline, &ad.body, &ad.source_url].into_iter().flatten();
        let words = words.map(|words| clip(&printable(words), 200)).collect::<Vec<_>>().join(" · ");
        text = format!("(came from an ad: {words})\n{text}");
    }
    let media = content.media().map(|_| id.to_owned());
    Some(Turn { at: message.sent_at, who, text, wamid: Some(message.wamid.clone()), about, media })
}

/// Says what a message is about, before it.
pub(crate) fn quoting(text: &str, quoted: Option<&str>) -> String {
    match quoted {
        Some(quoted) => format!("↪ “{}”\n{text}", clip(&printable(quoted), QUOTE_LIMIT)),
        None => text.to_owned(),
    }
}

/// With what each turn is about, as far as these turns tell; each message once, even if it came
/// while another responder had the thread and again afterwards.
pub(crate) fn told(turns: Vec<Turn>) -> Vec<Turn> {
    let mut texts: HashMap<Wamid, String> = HashMap::new();
    let mut told: Vec<Turn> = Vec::with_capacity(turns.len());
    for mut turn in turns {
        if let Some(wamid) = turn.wamid.clone().filter(|wamid| !wamid.as_str().is_empty())
            && texts.insert(wamid, turn.text.clone()).is_some()
        {
            continue;
        }
        let quoted = turn.about.as_ref().and_then(|about| texts.get(about));
        turn.text = quoting(&turn.text, quoted.map(String::as_str));
        told.push(turn);
    }
    told
}

/// The first message of a thread: who writes, even where the org maps no routing attribute.
pub(crate) fn header(customer: &Customer, session: SessionId, brief: &Brief) -> String {
    let mut who = vec!["WhatsApp".to_owned()];
    who.extend(customer.display_name().map(|name| clip(&printable(name), 100)));
    who.extend(customer.phone.as_deref().map(|phone| format!("+{phone}")));
    let mut header = format!("{}\nReason: {}", who.join(" · "), clip(&printable(&brief.reason), 300));
    if let Some(Campaign { name, text }) = &brief.campaign {
        let (name, text) = (clip(&printable(name), 100), clip(&printable(text), SUMMARY_LIMIT));
        header.push_str(&format!("\nCampaign: {name}: “{text}”"));
    }
    if let Some(summary) = &brief.summary {
        header.push_str("\nSummary: ");
        header.push_str(&clip(&printable(summary), SUMMARY_LIMIT));
    }
    if let Some(sentiment) = &brief.sentiment {
        header.push_str(&format!("\nSentiment: {}", clip(&printable(sentiment), 20)));
    }
    header.push_str(&format!("\nOpencxSessionId: {session}"));
    header
}

/// What was said, for the rep.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// The newest turns, in full, oldest message first.
    pub(crate) messages: Vec<String>,
    /// Turns before those.
    pub(crate) earlier: usize,
}

/// The newest turns in as few messages as they take, at most [`TRANSCRIPT_MESSAGES`].
pub(crate) fn transcript(turns: &[Turn]) -> Transcript {
    // Filled from the end: whatever is left out is older than what is shown.
    let mut newest_first: Vec<String> = Vec::new();
    let mut shown = 0;
    for turn in turns.iter().rev() {
        let mut parts = split_text(&line(turn), MESSAGE_LIMIT);
        if let (1, Some(last)) = (parts.len(), newest_first.last_mut())
            && last.chars().count() + 1 + parts[0].chars().count() <= MESSAGE_LIMIT
        {
            *last = format!("{}\n{last}", parts[0]);
        } else if newest_first.len() + parts.len() <= TRANSCRIPT_MESSAGES {
            newest_first.extend(parts.into_iter().rev());
        } else if shown == 0 {
            // One enormous turn: its end is cut.
            parts.truncate(TRANSCRIPT_MESSAGES);
            newest_first.extend(parts.into_iter().rev());
        } else {
            break;
        }
        shown += 1;
    }
    newest_first.reverse();
    Transcript { messages: newest_first, earlier: turns.len() - shown }
}

/// Everything, for a file of at most `limit` bytes: when it is longer, without its beginning.
pub(crate) fn whole(turns: &[Turn], limit: u64) -> String {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut size = 0;
    let lines: Vec<String> = turns.iter().map(|turn| format!("{}\n", line_with_day(turn))).collect();
    let fitting = lines.iter().rev().take_while(|line| {
        size += line.len();
        size <= limit
    });
    let kept = fitting.count();
    lines[lines.len() - kept..].concat()
}

/// Where no file can be attached: the earlier turns in short, in one message; the newest of them when
/// they are many.
pub(crate) fn in_short(turns: &[Turn]) -> String {
    let head = |left_out: usize| match left_out {
        0 => "Earlier, in short:".to_owned(),
        left_out => format!("Earlier, in short (without the first {left_out}):"),
    };
    let mut lines: Vec<String> = Vec::new();
    let mut length = head(turns.len()).chars().count();
    for turn in turns.iter().rev() {
        let short = clip(&printable(&line(turn)), SHORT_TURN);
        let mark = if short.chars().count() == SHORT_TURN { "…" } else { "" };
        let short = format!("{short}{mark}");
        length += 1 + short.chars().count();
        if length > MESSAGE_LIMIT {
            break;
        }
        lines.push(short);
    }
    lines.push(head(turns.len() - lines.len()));
    lines.reverse();
    lines.join("\n")
}

fn line(turn: &Turn) -> String {
    format!("[{}] {}: {}", time(turn.at, "%H:%M"), turn.who, turn.text)
}

fn line_with_day(turn: &Turn) -> String {
    format!("[{}] {}: {}", time(turn.at, "%Y-%m-%d %H:%M"), turn.who, turn.text)
}

/// Without control characters, which Salesforce may refuse in attributes.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// At most `limit` characters.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

/// UTC: nobody told where the rep is.
fn time(at: Millis, format: &str) -> String {
    Timestamp::from_millisecond(at).map_or_else(|_| "--:--".into(), |time| time.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(text: &str) -> Turn {
        Turn { at: 37_800_000, who: CUSTOMER, text: text.into(), wamid: None, about: None, media: None }
    }

    #[test]
    fn a_header_says_who_writes() {
        let customer = Customer {
            name: Some("Dana\nOkafor".into()),
            phone: Some("15550100123".into()),
            ..Customer::default()
        };
        let session: SessionId = "5f0c9d1e-3b7a-4c62-9e41-8a2d6b7f1c03".parse().unwrap();
        assert_eq!(
            header(&customer, session, &Brief::because("asked for a person")),
            "WhatsApp · Dana Okafor · +15550100123\nReason: asked for a person\n\
             OpencxSessionId: 5f0c9d1e-3b7a-4c62-9e41-8a2d6b7f1c03"
        );
    }

    #[test]
    fn a_short_transcript_is_one_message() {
        let short = transcript(&[turn("hi"), turn("there")]);
        assert_eq!(short.messages, ["[10:30] Customer: hi\n[10:30] Customer: there"]);
        assert_eq!(short.earlier, 0);
        assert_eq!(transcript(&[]), Transcript { messages: Vec::new(), earlier: 0 });
    }

    fn turns(count: usize) -> Vec<Turn> {
        (0..count).map(|i| turn(&format!("message {i} {}", "x".repeat(100)))).collect()
    }

    #[test]
    fn of_500_turns_the_newest_are_shown_in_full_in_few_messages() {
        let turns = turns(500);
        let Transcript { messages, earlier } = transcript(&turns);
        assert!((2..=TRANSCRIPT_MESSAGES).contains(&messages.len()));
        assert!(messages.iter().all(|m| m.chars().count() <= MESSAGE_LIMIT));
        let shown = messages.join("\n");
        // In order, without a gap, to the very last.
        let lines: Vec<String> = turns[earlier..].iter().map(line).collect();
        assert_eq!(shown, lines.join("\n"));
        assert!(shown.len() > MESSAGE_LIMIT * (TRANSCRIPT_MESSAGES - 1), "the room is used");
    }

    #[test]
    fn everything_is_in_the_file_and_the_newest_of_it_when_that_has_a_limit() {
        let turns = turns(500);
        let all = whole(&turns, u64::MAX);
        assert_eq!(all.lines().count(), 500);
        assert!(all.starts_with("[1970-01-01 10:30] Customer: message 0 "));
        let some = whole(&turns, 10_000);
        assert!(some.len() <= 10_000 && some.len() > 9_000 && some.contains("message 499 "));
        assert_eq!(whole(&turns, 3), "");
    }

    #[test]
    fn where_there_is_no_file_the_earlier_turns_stand_in_short() {
        let text = in_short(&turns(400));
        assert!(text.chars().count() <= MESSAGE_LIMIT && text.chars().count() > MESSAGE_LIMIT - 200);
        assert!(text.starts_with("Earlier, in short (without the first 3"));
        assert!(text.contains("message 399 ") && !text.contains("message 5 "));
        assert_eq!(in_short(&[turn("hi\nthere")]), "Earlier, in short:\n[10:30] Customer: hi there");
    }

    #[test]
    fn one_enormous_turn_is_cut_not_dropped() {
        let Transcript { messages, earlier } = transcript(&[turn("before"), turn(&"x".repeat(100_000))]);
        assert_eq!((messages.len(), earlier), (TRANSCRIPT_MESSAGES, 1));
        assert!(messages[0].starts_with("[10:30] Customer: "));
    }

    #[test]
    fn a_reaction_says_to_what_and_nothing_is_told_twice() {
        let message = |wamid: &str, content| InboundMessage {
            number: domain::PhoneNumberId::new("1"),
            wamid: Wamid::new(wamid),
            sent_at: 37_800_000,
            customer: Customer::default(),
            content,
            context: domain::message::MessageContext::default(),
        };
        let said = || Content::Text("see you at ten".into());
        let turns = [
            message("w1", Content::Standby(Box::new(said()))),
            message("w1", said()),
            message("w2", Content::Reaction { to: Wamid::new("w1"), emoji: Some("👍".into()) }),
        ];
        let told = told(turns.iter().filter_map(|message| inbound("id", message)).collect());
        assert_eq!(
            transcript(&told).messages,
            ["[10:30] Customer: see you at ten\n[10:30] Customer: ↪ “see you at ten”\n[reacted 👍]"]
        );
    }
}
