//! From what happens in a Salesforce thread to the log's words.

use domain::message::Outgoing;
use proto::v1::{
    SalesforceEvent,
    salesforce_event::{
        Closed, Other, Participant, Queued, RepTyping, RoutingFailed, SessionStatus, Text, What,
    },
};
use salesforce::{Happened, Happening, event::RoutingType};

/// What the log keeps of it; `None` for what says nothing about the conversation: our own messages
/// coming back, and what is over before anybody reads of it.
pub(crate) fn entry(happened: &Happened) -> Option<SalesforceEvent> {
    let text = |text: &str, name: &Option<String>| Text {
        text: text.to_owned(),
        sender: name.clone().unwrap_or_default(),
        bodies: Vec::new(),
    };
    // A text alone stands where every reader of the log finds it.
    let said = |words: &str, name: &Option<String>, bodies: &[Outgoing]| match bodies {
        [] | [Outgoing::Text(_)] => text(words, name),
        bodies => Text { bodies: bodies.iter().map(Into::into).collect(), ..text("", name) },
    };
    let participant = |name: &Option<String>| Participant { name: name.clone().unwrap_or_default() };
    let what = match &happened.what {
        Happening::RepMessage { text: words, name, bodies, .. } => What::RepWrote(said(words, name, bodies)),
        Happening::BotMessage { text: words, name, bodies, .. } => What::BotWrote(said(words, name, bodies)),
        // An automation in Salesforce: the customer is to see it, and no person said it.
        Happening::SystemMessage { text: words, bodies, .. } => What::BotWrote(said(words, &None, bodies)),
        Happening::RepJoined { name } => What::RepJoined(participant(name)),
        Happening::RepLeft { name } => What::RepLeft(participant(name)),
        Happening::SessionStatus { status, session_id, ended_by: _ } => What::SessionStatus(SessionStatus {
            status: status.as_str().to_owned(),
            session: session_id.clone(),
        }),
        // A rep's attempt to pass the chat on: it stays with that rep (`miaw-api.md` §10, F).
        Happening::RoutingFailed { kind: RoutingType::Transfer | RoutingType::Conference, .. } => {
            What::Other(Other { event: "TransferFailed".to_owned() })
        }
        Happening::RoutingFailed { kind: RoutingType::Initial | RoutingType::Unknown, reason, .. } => {
            What::RoutingFailed(RoutingFailed { reason: reason.clone() })
        }
        Happening::QueuePosition { position } => {
            What::Queued(Queued { position: Some(*position), wait_seconds: None })
        }
        Happening::TypingStarted => What::RepTyping(RepTyping {}),
        Happening::Routed { .. } => What::Other(Other { event: "RoutingResult".to_owned() }),
        Happening::Work { .. } => What::Other(Other { event: "RoutingWorkResult".to_owned() }),
        Happening::DeliveryFailed { .. } => What::Other(Other { event: "MessageDeliveryFailed".to_owned() }),
        Happening::Closed => What::Closed(Closed {}),
        // A token of an answer that comes whole later; our own typing and receipts, echoed.
        Happening::Other { event } if FLEETING.contains(&event.as_str()) => return None,
        Happening::Other { event } => What::Other(Other { event: event.clone() }),
        Happening::EndUserEcho { .. }
        | Happening::TypingStopped
        | Happening::Delivered { .. }
        | Happening::Read { .. } => return None,
    };
    Some(SalesforceEvent {
        thread: happened.thread.to_string(),
        entry: happened.entry.as_str().to_owned(),
        at: happened.at,
        what: Some(what),
    })
}

/// Entry types that come often and mean nothing a moment later.
const FLEETING: [&str; 6] = [
    "StreamingToken",
    "ProgressIndicator",
    "TypingStartedIndicator",
    "TypingStoppedIndicator",
    "DeliveryAcknowledgement",
    "ReadAcknowledgement",
];

/// The fact's id: the entry's identifier, and the part where one entry tells several things.
pub(crate) fn id(happened: &Happened) -> String {
    let entry = proto::subjects::token(happened.entry.as_str());
    if happened.part == 0 { entry } else { format!("{entry}-{}", happened.part) }
}

#[cfg(test)]
mod tests {
    use salesforce::event::Envelope;

    use super::*;

    fn recorded(name: &str) -> Vec<Option<SalesforceEvent>> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/salesforce/testdata");
        let file = std::fs::read_to_string(format!("{dir}/sse-{name}.json")).unwrap();
        let file: serde_json::Value = serde_json::from_str(&file).unwrap();
        let data = file.get("data").map_or_else(|| file.to_string(), ToString::to_string);
        Envelope::parse(&data).unwrap().happened().iter().map(entry).collect()
    }

    fn word(what: &What) -> &'static str {
        match what {
            What::RepTyping(_) => "rep is typing",
            What::Queued(_) => "in the queue",
            What::RepWrote(_) => "rep wrote",
            What::BotWrote(_) => "bot wrote",
            What::RepJoined(_) => "joined",
            What::RepLeft(_) => "left",
            What::SessionStatus(_) => "status",
            What::RoutingFailed(_) => "routing failed",
            What::Closed(_) => "closed",
            What::Other(_) => "other",
        }
    }

    #[test]
    fn recorded_events_become_what_they_mean() {
        for (name, expected) in [
            ("CONVERSATION_MESSAGE-agent-text", Some("rep wrote")),
            ("CONVERSATION_MESSAGE-agent-attachment", Some("rep wrote")),
            ("CONVERSATION_MESSAGE-chatbot-buttons", Some("bot wrote")),
            ("CONVERSATION_MESSAGE-auto-response", Some("bot wrote")),
            ("CONVERSATION_MESSAGE-enduser-echo-text", None),
            ("CONVERSATION_PARTICIPANT_CHANGED-agent-add", Some("joined")),
            ("CONVERSATION_PARTICIPANT_CHANGED-agent-remove", Some("left")),
            ("CONVERSATION_SESSION_STATUS_CHANGED-ended-by-agent", Some("status")),
            ("CONVERSATION_ROUTING_RESULT-initial-failed", Some("routing failed")),
            ("CONVERSATION_ROUTING_RESULT-initial-ok", Some("other")),
            ("CONVERSATION_CLOSE_CONVERSATION", Some("closed")),
            ("CONVERSATION_QUEUE_POSITION", Some("in the queue")),
            ("CONVERSATION_TYPING_STARTED_INDICATOR-agent", Some("rep is typing")),
            ("CONVERSATION_READ_ACKNOWLEDGEMENT", None),
            ("CONVERSATION_DELIVERY_ACKNOWLEDGEMENT", None),
            ("CONVERSATION_STREAMING_TOKEN", None),
            ("CONVERSATION_PROGRESS_INDICATOR", None),
            ("UNKNOWN_FUTURE_EVENT", Some("other")),
        ] {
            let found = recorded(name);
            let words: Vec<_> = found
                .iter()
                .map(|event| event.as_ref().map(|event| word(event.what.as_ref().unwrap())))
                .collect();
            assert_eq!(words, [expected], "{name}");
        }
    }

    fn read(file: &str) -> Option<SalesforceEvent> {
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let data = file.get("data").map_or_else(|| file.to_string(), ToString::to_string);
        entry(&Envelope::parse(&data).unwrap().happened()[0])
    }

    #[test]
    fn a_failed_transfer_is_not_nobody_there() {
        let failed = include_str!(
            "../../../crates/salesforce/testdata/sse-CONVERSATION_ROUTING_RESULT-initial-failed.json"
        );
        for (kind, expected) in
            [("Initial", "routing failed"), ("Transfer", "other"), ("Conference", "other")]
        {
            assert!(failed.contains("Initial"));
            let found = read(&failed.replace("Initial", kind)).unwrap();
            assert_eq!(word(found.what.as_ref().unwrap()), expected, "{kind}");
        }
    }

    #[test]
    fn an_automations_choices_stay_choices() {
        let buttons =
            include_str!("../../../crates/salesforce/testdata/sse-CONVERSATION_MESSAGE-chatbot-buttons.json");
        let by = |role: &str| read(&buttons.replace("Chatbot", role)).unwrap().what.unwrap();
        let (What::BotWrote(bot), What::BotWrote(automation)) = (by("Chatbot"), by("System")) else {
            panic!()
        };
        assert_eq!(automation.bodies, bot.bodies);
        assert_eq!(automation.bodies.len(), 1);
    }

    #[test]
    fn an_ended_session_keeps_its_id_and_salesforces_word() {
        let found = recorded("CONVERSATION_SESSION_STATUS_CHANGED-ended-by-agent").remove(0).unwrap();
        let Some(What::SessionStatus(status)) = found.what else { panic!("not a status") };
        assert_eq!(status.status, "Ended");
        assert!(status.session.starts_with("0Mw"));
    }
}
