//! What a rep reads: who writes, why, and what was said so far. Pure: from log entries to texts.
//!
//! Salesforce takes 22 messages a minute in a conversation (`miaw-api.md` §9), so turns travel
//! together in few messages, the newest ones first to be kept.

use domain::{
    Millis, SessionId,
    message::{Content, Customer, split_text},
    session::{Origin, Output},
};
use jiff::Timestamp;
use proto::{Malformed, StoredDecision, v1::entry::Body};

/// Characters a message may have. The API's own limit is not public; 8 KB is reported, and a
/// character has up to four bytes (`miaw-api.md` §4).
pub(crate) const MESSAGE_LIMIT: usize = 2_000;
/// Messages a transcript may take.
const TRANSCRIPT_MESSAGES: usize = 8;
/// The most recent characters of a conversation that a transcript shows.
const TRANSCRIPT_LIMIT: usize = MESSAGE_LIMIT * (TRANSCRIPT_MESSAGES - 1);

/// Something somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) at: Millis,
    pub(crate) who: &'static str,
    pub(crate) text: String,
}

/// The turns in an entry of the log: a customer's message, or what a decision sent them.
pub(crate) fn turns(at: Millis, body: Body) -> Result<Vec<Turn>, Malformed> {
    Ok(match body {
        Body::WhatsappMessage(message) => {
            let message = proto::convert::inbound(message)?;
            match &message.content {
                Content::Text(_) | Content::Other { .. } => {
                    vec![Turn { at: message.sent_at, who: "Customer", text: message.content.as_text() }]
                }
                Content::Notice { .. } => Vec::new(),
            }
        }
        Body::Decision(decision) => StoredDecision::try_from(decision)?
            .outputs()
            .filter_map(|(_, output)| match output {
                Output::Send(send) => {
                    let who = match send.origin {
                        Origin::Assistant | Origin::Notice => "Assistant",
                        Origin::Rep => "Rep",
                        Origin::Bot => "Bot",
                    };
                    Some(Turn { at, who, text: send.text.clone() })
                }
                Output::Ask(_)
                | Output::Follow { .. }
                | Output::Unfollow { .. }
                | Output::Call(_)
                | Output::Timer { .. } => None,
            })
            .collect(),
        Body::WhatsappStatus(_)
        | Body::AssistantAnswer(_)
        | Body::ThreadFollowed(_)
        | Body::CallResult(_)
        | Body::SalesforceEvent(_)
        | Body::Undelivered(_)
        | Body::TimerFired(_)
        | Body::OperatorCommand(_)
        | Body::SendIntent(_)
        | Body::SendOutcome(_)
        | Body::AccountEvent(_) => Vec::new(),
    })
}

/// The first message of a thread: who writes, even where the org maps no routing attribute.
pub(crate) fn header(customer: &Customer, session: SessionId, reason: &str) -> String {
    let mut who = vec!["WhatsApp".to_owned()];
    who.extend(customer.display_name().map(|name| clip(&printable(name), 100)));
    who.extend(customer.phone.as_deref().map(|phone| format!("+{phone}")));
    format!("{}\nReason: {}\nOpencxSessionId: {session}", who.join(" · "), clip(&printable(reason), 300))
}

/// The transcript in as few messages as it takes, at most [`TRANSCRIPT_MESSAGES`]. When it is too
/// long the oldest turns are left out, and it says how many.
pub(crate) fn transcript(turns: &[Turn]) -> Vec<String> {
    let lines: Vec<String> =
        turns.iter().map(|turn| format!("[{}] {}: {}", time_of_day(turn.at), turn.who, turn.text)).collect();
    let mut kept = 0;
    let mut length = 0;
    for line in lines.iter().rev() {
        length += line.chars().count() + 1;
        if length > TRANSCRIPT_LIMIT && kept > 0 {
            break;
        }
        kept += 1;
    }
    let left_out = lines.len() - kept;
    let mut text = String::new();
    if left_out > 0 {
        text = format!("({left_out} earlier messages are not shown here; find them by the session's id.)\n");
    }
    text.push_str(&lines[left_out..].join("\n"));
    // One enormous turn alone may exceed the limit: its end is cut.
    let mut parts = split_text(&text, MESSAGE_LIMIT);
    parts.truncate(TRANSCRIPT_MESSAGES);
    parts
}

/// Texts that wait to be forwarded, joined into few messages. `wamids` tell which went into each,
/// so that its id derives from them.
pub(crate) fn joined(texts: &[(String, String)]) -> Vec<(Vec<String>, String)> {
    let mut messages: Vec<(Vec<String>, String)> = Vec::new();
    for (wamid, text) in texts {
        if let Some((wamids, message)) = messages.last_mut()
            && message.chars().count() + 1 + text.chars().count() <= MESSAGE_LIMIT
        {
            wamids.push(wamid.clone());
            message.push('\n');
            message.push_str(text);
            continue;
        }
        for part in split_text(text, MESSAGE_LIMIT) {
            messages.push((vec![wamid.clone()], part));
        }
    }
    messages
}

/// Without control characters, which Salesforce may refuse in attributes.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// At most `limit` characters.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

fn time_of_day(at: Millis) -> String {
    Timestamp::from_millisecond(at).map_or_else(|_| "--:--".into(), |time| time.strftime("%H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(text: &str) -> Turn {
        Turn { at: 37_800_000, who: "Customer", text: text.into() }
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
            header(&customer, session, "asked for a person"),
            "WhatsApp · Dana Okafor · +15550100123\nReason: asked for a person\n\
             OpencxSessionId: 5f0c9d1e-3b7a-4c62-9e41-8a2d6b7f1c03"
        );
    }

    #[test]
    fn a_short_transcript_is_one_message() {
        assert_eq!(
            transcript(&[turn("hi"), turn("there")]),
            ["[10:30] Customer: hi\n[10:30] Customer: there"]
        );
        assert_eq!(transcript(&[]), Vec::<String>::new());
    }

    #[test]
    fn of_500_turns_the_newest_are_shown_in_few_messages() {
        let turns: Vec<_> = (0..500).map(|i| turn(&format!("message {i} {}", "x".repeat(100)))).collect();
        let messages = transcript(&turns);
        assert!(messages.len() <= TRANSCRIPT_MESSAGES);
        assert!(messages[0].starts_with('('));
        assert!(messages.last().unwrap().contains("message 499"));
        assert!(messages.iter().all(|m| m.chars().count() <= MESSAGE_LIMIT));
    }

    #[test]
    fn one_enormous_turn_is_cut_not_dropped() {
        let messages = transcript(&[turn(&"x".repeat(100_000))]);
        assert_eq!(messages.len(), TRANSCRIPT_MESSAGES);
    }

    #[test]
    fn held_messages_travel_together_and_keep_their_order() {
        let texts: Vec<_> = (0..5).map(|i| (format!("w{i}"), format!("text {i}"))).collect();
        let messages = joined(&texts);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].0.len(), 5);
        assert_eq!(messages[0].1, "text 0\ntext 1\ntext 2\ntext 3\ntext 4");
        let long = joined(&[("w".into(), "y".repeat(5_000))]);
        assert_eq!(long.iter().map(|(_, text)| text.len()).sum::<usize>(), 5_000);
    }
}
