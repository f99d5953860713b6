//! Judges a whole run by the simulators' record: nothing lost, nothing twice, every conversation
//! in order. It knows nothing of Baton's insides, only what a customer and a rep would have seen.
//!
//! Customers' texts carry a marker, `[<customer>.<n>]`, so that a message is recognised wherever
//! it turns up: forwarded alone, joined with others, or inside a transcript.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use crate::sim::{Entry, What};

/// What a customer may ask the assistant, and what the assistant is configured to answer.
pub const PING: &str = "What are your opening hours?";
pub const PONG: &str = "We are open Monday to Friday, 9 to 18 h.";
/// Asks for a person.
pub const HUMAN: &str = "I want to speak to a human";

/// The `n`-th text of `customer`.
pub fn marked(text: &str, customer: &str, n: usize) -> String {
    format!("{text} [{customer}.{n}]")
}

/// The header's summary quotes the customer: what it holds is seen in the transcript.
fn is_summary(line: &str) -> bool {
    line.starts_with("Summary: ")
}

/// The markers in a text, in order.
pub fn markers(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        rest = &rest[start + 1..];
        let Some(end) = rest.find(']') else { break };
        let inside = &rest[..end];
        let well_formed = inside
            .split_once('.')
            .is_some_and(|(customer, n)| !customer.is_empty() && n.parse::<usize>().is_ok());
        if well_formed {
            found.push(inside.to_owned());
        }
    }
    found
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A customer's message, accepted with 200, that no rep can see.
    Lost {
        customer: String,
        marker: String,
    },
    /// A customer's message that a rep sees more than once.
    Doubled {
        customer: String,
        marker: String,
        times: usize,
    },
    /// Customers' messages in another order than they were written.
    Disordered {
        customer: String,
        before: String,
        after: String,
    },
    /// A rep's message that the customer did not get.
    ReplyLost {
        customer: String,
        text: String,
    },
    ReplyDoubled {
        customer: String,
        text: String,
        times: usize,
    },
    RepliesDisordered {
        customer: String,
        text: String,
    },
    /// One send shown more than once.
    SendDoubled {
        customer: String,
        times: usize,
    },
    /// Not one answer of the assistant to each question.
    Answers {
        customer: String,
        questions: usize,
        answers: usize,
    },
    /// Not one messaging session to each request for a person, or more than one conversation.
    Threads {
        customer: String,
        requests: usize,
        conversations: usize,
        sessions: usize,
    },
    /// A session began without what the rep must know.
    Attributes {
        customer: String,
        missing: String,
    },
    /// A webhook that was never accepted.
    Unaccepted {
        customer: String,
        marker: String,
    },
    /// Not one message of the campaign to each recipient.
    Campaign {
        customer: String,
        times: usize,
    },
    /// The record is incomplete: nothing can be said.
    Incomplete {
        lost: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What was counted on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    pub customers: usize,
    pub said: usize,
    pub seen_by_reps: usize,
    pub replies: usize,
    pub replies_shown: usize,
    pub questions: usize,
    pub answers: usize,
    pub sessions: usize,
    #[serde(serialize_with = "as_text")]
    pub violations: Vec<Violation>,
}

fn as_text<S: serde::Serializer>(violations: &[Violation], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(violations.iter().map(ToString::to_string))
}

#[derive(Default)]
struct Customer {
    /// Marker and wamid, in the order of writing.
    said: Vec<(String, String)>,
    requests: usize,
    questions: usize,
    /// Texts on the phone and their send ids.
    shown: Vec<(String, Option<String>)>,
    conversations: BTreeSet<String>,
    sessions: usize,
    /// Markers in what the rep sees, in order.
    seen: Vec<String>,
    replies: Vec<String>,
}

/// Judges `entries`, which is everything from the start on; `lost` as the record's extent says.
pub fn check(entries: &[Entry], lost: u64) -> Report {
    let mut customers: BTreeMap<String, Customer> = BTreeMap::new();
    let mut accepted: BTreeSet<&str> = BTreeSet::new();
    let mut customer_of: HashMap<&str, String> = HashMap::new();
    let mut violations = Vec::new();
    if lost > 0 {
        violations.push(Violation::Incomplete { lost });
    }

    for entry in entries {
        match &entry.what {
            What::CustomerSaid { customer, wamid, text, .. } => {
                let known = customers.entry(customer.clone()).or_default();
                let text = text.as_deref().unwrap_or_default();
                known.requests += usize::from(text.starts_with(HUMAN));
                known.questions += usize::from(text.starts_with(PING));
                known.said.extend(markers(text).into_iter().map(|marker| (marker, wamid.clone())));
            }
            What::Webhook { ids, status: 200, .. } => accepted.extend(ids.iter().map(String::as_str)),
            What::Shown { customer, text, opaque, .. } => {
                customers.entry(customer.clone()).or_default().shown.push((text.clone(), opaque.clone()));
            }
            What::ConversationCreated { conversation, attributes, .. }
            | What::SessionStarted { conversation, attributes, .. } => {
                let phone =
                    attributes.get("Phone_Number").map(|phone| phone.trim_start_matches('+').to_owned());
                let customer = phone
                    .or_else(|| customer_of.get(conversation.as_str()).cloned())
                    .unwrap_or_else(|| format!("unknown, conversation {conversation}"));
                for wanted in ["OpencxSessionId", "Customer_Name", "Phone_Number"] {
                    if !attributes.contains_key(wanted) {
                        violations.push(Violation::Attributes {
                            customer: customer.clone(),
                            missing: wanted.to_owned(),
                        });
                    }
                }
                customer_of.insert(conversation, customer.clone());
                let known = customers.entry(customer).or_default();
                known.conversations.insert(conversation.clone());
                known.sessions += 1;
            }
            What::SfEntry { conversation, role, text: Some(text), .. } => {
                let text: &str = text;
                let Some(known) = customer_of.get(conversation.as_str()).and_then(|c| customers.get_mut(c))
                else {
                    continue;
                };
                match role.as_str() {
                    "EndUser" => {
                        known.seen.extend(text.lines().filter(|line| !is_summary(line)).flat_map(markers))
                    }
                    "Agent" => known.replies.push(text.to_owned()),
                    _ => {}
                }
            }
            What::Webhook { .. }
            | What::SfEntry { text: None, .. }
            | What::WaRequest { .. }
            | What::NotShown { .. }
            | What::Tick { .. }
            | What::MarkedRead { .. }
            | What::WaViolation { .. }
            | What::WebhookDropped { .. }
            | What::SfRequest { .. }
            | What::TokenIssued { .. }
            | What::SfFile { .. }
            | What::CustomerTyping { .. }
            | What::SfViolation { .. }
            | What::Acknowledged { .. }
            | What::StreamOpened { .. }
            | What::StreamClosed { .. }
            | What::Control { .. } => {}
        }
    }

    let mut report = Report { customers: customers.len(), ..Report::default() };
    for (name, customer) in &customers {
        judge(name, customer, &accepted, &mut report, &mut violations);
    }
    report.violations = violations;
    report
}

fn judge(
    name: &str,
    customer: &Customer,
    accepted: &BTreeSet<&str>,
    report: &mut Report,
    violations: &mut Vec<Violation>,
) {
    let owner = || name.to_owned();
    let times = |marker: &str| customer.seen.iter().filter(|seen| *seen == marker).count();
    for (marker, wamid) in &customer.said {
        match times(marker) {
            _ if !accepted.contains(wamid.as_str()) => {
                violations.push(Violation::Unaccepted { customer: owner(), marker: marker.clone() });
            }
            0 => violations.push(Violation::Lost { customer: owner(), marker: marker.clone() }),
            1 => {}
            times => violations.push(Violation::Doubled { customer: owner(), marker: marker.clone(), times }),
        }
    }
    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, (marker, _)) in customer.said.iter().enumerate() {
        written.entry(marker).or_insert(index);
    }
    for pair in customer.seen.windows(2) {
        if let (Some(first), Some(second)) = (written.get(pair[0].as_str()), written.get(pair[1].as_str()))
            && first > second
        {
            violations.push(Violation::Disordered {
                customer: owner(),
                before: pair[0].clone(),
                after: pair[1].clone(),
            });
        }
    }

    let mut last = 0;
    for reply in &customer.replies {
        let places: Vec<usize> = customer
            .shown
            .iter()
            .enumerate()
            .filter(|(_, (text, _))| text == reply)
            .map(|(at, _)| at)
            .collect();
        match places[..] {
            [] => violations.push(Violation::ReplyLost { customer: owner(), text: reply.clone() }),
            [place] if place < last => {
                violations.push(Violation::RepliesDisordered { customer: owner(), text: reply.clone() });
            }
            [place] => last = place,
            _ => violations.push(Violation::ReplyDoubled {
                customer: owner(),
                text: reply.clone(),
                times: places.len(),
            }),
        }
        report.replies_shown += usize::from(!places.is_empty());
    }

    let mut sends: BTreeMap<&str, usize> = BTreeMap::new();
    for opaque in customer.shown.iter().filter_map(|(_, opaque)| opaque.as_deref()) {
        // `baton1.<send>.<attempt>.<conversation>`: a resend is the same send.
        let send = opaque.split('.').nth(1).unwrap_or(opaque);
        *sends.entry(send).or_default() += 1;
    }
    for times in sends.into_values().filter(|times| *times > 1) {
        violations.push(Violation::SendDoubled { customer: owner(), times });
    }

    let answers = customer.shown.iter().filter(|(text, _)| text == PONG).count();
    if answers != customer.questions {
        violations.push(Violation::Answers { customer: owner(), questions: customer.questions, answers });
    }
    if customer.sessions != customer.requests || customer.conversations.len() > 1 {
        violations.push(Violation::Threads {
            customer: owner(),
            requests: customer.requests,
            conversations: customer.conversations.len(),
            sessions: customer.sessions,
        });
    }
    report.said += customer.said.len();
    report.seen_by_reps += customer.seen.len();
    report.replies += customer.replies.len();
    report.questions += customer.questions;
    report.answers += answers;
    report.sessions += customer.sessions;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(whats: Vec<What>) -> Vec<Entry> {
        (1..).zip(whats).map(|(seq, what)| Entry { seq, at_ms: seq, wall_ms: 0, what }).collect()
    }

    fn said(n: usize) -> [What; 2] {
        let wamid = format!("wamid.{n}");
        [
            What::CustomerSaid {
                number: "1".into(),
                customer: "c".into(),
                wamid: wamid.clone(),
                text: Some(marked("hi", "c", n)),
                sent_at_ms: 0,
            },
            What::Webhook {
                number: "1".into(),
                ids: vec![wamid],
                attempt: 1,
                copy: 0,
                status: 200,
                took_ms: 1,
            },
        ]
    }

    fn created() -> What {
        let attributes = [("OpencxSessionId", "s"), ("Customer_Name", "n"), ("Phone_Number", "+c")];
        What::ConversationCreated {
            conversation: "t".into(),
            subject: "u".into(),
            session: "0Mw".into(),
            attributes: attributes.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }

    fn in_thread(role: &str, text: &str) -> What {
        What::SfEntry {
            conversation: "t".into(),
            session: None,
            identifier: text.into(),
            entry_type: "Message".into(),
            role: role.into(),
            event: 1,
            text: Some(text.into()),
            message_id: None,
            detail: None,
        }
    }

    fn shown(text: &str) -> What {
        What::Shown {
            number: "1".into(),
            customer: "c".into(),
            wamid: text.into(),
            text: text.into(),
            opaque: Some(format!("baton1.{text}.1")),
            content: None,
        }
    }

    /// A run in which the customer asks for a person once, with the given rest.
    fn run(rest: Vec<What>) -> Vec<Violation> {
        let mut whats: Vec<What> = said(1).into_iter().chain(said(2)).collect();
        if let What::CustomerSaid { text, .. } = &mut whats[0] {
            *text = Some(marked(HUMAN, "c", 1));
        }
        whats.push(created());
        whats.extend(rest);
        check(&entries(whats), 0).violations
    }

    #[test]
    fn a_good_run_has_no_violations() {
        let rest = vec![in_thread("EndUser", "[c.1] and [c.2]"), in_thread("Agent", "r"), shown("r")];
        assert_eq!(run(rest), []);
    }

    #[test]
    fn each_kind_of_harm_is_seen() {
        let both = || in_thread("EndUser", "[c.1] [c.2]");
        type IsIt = fn(&Violation) -> bool;
        let harms: [(Vec<What>, IsIt); 8] = [
            (vec![in_thread("EndUser", "[c.1]")], |v| matches!(v, Violation::Lost { .. })),
            (vec![both(), in_thread("EndUser", "[c.2]")], |v| {
                matches!(v, Violation::Doubled { times: 2, .. })
            }),
            (vec![in_thread("EndUser", "[c.2] [c.1]")], |v| matches!(v, Violation::Disordered { .. })),
            (vec![both(), in_thread("Agent", "r")], |v| matches!(v, Violation::ReplyLost { .. })),
            (vec![both(), in_thread("Agent", "r"), shown("r"), shown("r")], |v| {
                matches!(v, Violation::SendDoubled { times: 2, .. })
            }),
            (vec![both(), in_thread("Agent", "a"), in_thread("Agent", "b"), shown("b"), shown("a")], |v| {
                matches!(v, Violation::RepliesDisordered { .. })
            }),
            (vec![both(), shown(PONG)], |v| matches!(v, Violation::Answers { .. })),
            (vec![both(), created()], |v| matches!(v, Violation::Threads { sessions: 2, .. })),
        ];
        for (index, (rest, is_it)) in harms.into_iter().enumerate() {
            let found = run(rest);
            assert!(found.iter().any(is_it), "harm {index}: {found:?}");
        }
    }
}
