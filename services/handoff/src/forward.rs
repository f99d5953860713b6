//! What a rep gets of the customer's messages: texts joined where several travel together, files as
//! attachments, taps on what the rep or a bot offered as the choice.

use std::time::Duration;

use bus::{Failure, Log};
use domain::{
    ConversationKey, Wamid, derive,
    message::{Content, split_text},
};
use proto::{
    subjects::{self, Kind},
    v1::media_fetched,
};
use tokio::time::Instant;

use crate::transcript::{MESSAGE_LIMIT, Turn};

/// How long a message waits here for its file.
const FILE_PATIENCE: Duration = Duration::from_secs(20);
/// When the file is given up, counted from the message: egress tells what became of it long before.
const FILE_DEADLINE: Duration = Duration::from_secs(150);
/// A tap on what Salesforce offered: `sf:<message id>:<option identifier>`.
const OFFERED: &str = "sf:";

/// A message for the rep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    File { file: StoredFile, caption: String },
    Choice { message: uuid::Uuid, option: String, title: String },
}

/// A customer's file in the object store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredFile {
    pub(crate) object: String,
    pub(crate) mime: String,
    pub(crate) bytes: u64,
    pub(crate) name: String,
}

impl std::fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredFile({} bytes)", self.bytes)
    }
}

/// What became of a customer's file.
pub(crate) enum Fetched {
    Stored(StoredFile),
    Failed(String),
}

/// Parts with the ids that they are sent under. An id derives from the messages in its part, so
/// that doing it again is the same messages.
pub(crate) fn with_ids(thread: domain::ThreadId, parts: Vec<(Vec<Wamid>, Part)>) -> Vec<(uuid::Uuid, Part)> {
    let identified = parts.into_iter().enumerate().map(|(index, (wamids, part))| {
        let mut names: Vec<&[u8]> = vec![thread.0.as_bytes()];
        names.extend(wamids.iter().map(|wamid| wamid.as_str().as_bytes()));
        let index = index.to_be_bytes();
        names.push(&index);
        (derive::uuid("forward", &names), part)
    });
    identified.collect()
}

/// Joins neighbouring texts into few messages, and cuts long ones.
pub(crate) fn joined(parts: Vec<(Wamid, Part)>) -> Vec<(Vec<Wamid>, Part)> {
    let mut joined: Vec<(Vec<Wamid>, Part)> = Vec::new();
    for (wamid, part) in parts {
        match part {
            Part::Text(text) => {
                if let Some((wamids, Part::Text(message))) = joined.last_mut()
                    && message.chars().count() + 1 + text.chars().count() <= MESSAGE_LIMIT
                {
                    wamids.push(wamid);
                    message.push('\n');
                    message.push_str(&text);
                    continue;
                }
                let parts = split_text(&text, MESSAGE_LIMIT);
                joined.extend(parts.into_iter().map(|part| (vec![wamid.clone()], Part::Text(part))));
            }
            part @ (Part::File { .. } | Part::Choice { .. }) => joined.push((vec![wamid], part)),
        }
    }
    joined
}

/// The choice, if the customer tapped on something that Salesforce offered.
pub(crate) fn chosen(content: &Content) -> Option<Part> {
    let Content::Choice(choice) = content else { return None };
    offered(&choice.id, &choice.title)
}

/// The choice of what went out under `id`, if it was Salesforce's.
pub(crate) fn offered(id: &str, title: &str) -> Option<Part> {
    let (message, option) = id.strip_prefix(OFFERED)?.split_once(':')?;
    Some(Part::Choice { message: message.parse().ok()?, option: option.to_owned(), title: title.to_owned() })
}

/// What became of the file of a message, once it is known.
///
/// # Errors
/// [`Failure::soon`] while egress is still at it: the lane tries again.
pub(crate) async fn fetched(
    log: &Log,
    key: &ConversationKey,
    turn: &Turn,
    id: &str,
) -> Result<Fetched, Failure> {
    let subject = subjects::fact(key, Kind::Media, id);
    let Some(payload) = log.found_or_heard(&subject, Instant::now() + FILE_PATIENCE).await? else {
        if runtime::age(turn.at) < FILE_DEADLINE {
            return Err(Failure::soon("the customer's file is not there yet"));
        }
        return Ok(Fetched::Failed("it did not arrive in time".into()));
    };
    let body = proto::decode(payload).map_err(Failure::never)?;
    let result = body.into_media_fetched().and_then(|fetched| fetched.result);
    Ok(match result.ok_or_else(|| Failure::never("not what became of a file"))? {
        media_fetched::Result::Stored(stored) => Fetched::Stored(StoredFile {
            object: stored.object,
            mime: stored.mime,
            bytes: stored.bytes,
            name: stored.file_name,
        }),
        media_fetched::Result::Failed(why) => Fetched::Failed(why),
    })
}

#[cfg(test)]
mod tests {
    use domain::message::{Choice, ChoiceKind};

    use super::*;

    fn text(wamid: &str, text: &str) -> (Wamid, Part) {
        (Wamid::new(wamid), Part::Text(text.into()))
    }

    #[test]
    fn held_messages_travel_together_and_keep_their_order() {
        let texts = (0..5).map(|i| text(&format!("w{i}"), &format!("text {i}"))).collect();
        let messages = joined(texts);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].0.len(), 5);
        assert_eq!(messages[0].1, Part::Text("text 0\ntext 1\ntext 2\ntext 3\ntext 4".into()));
        let long: usize = joined(vec![text("w", &"y".repeat(5_000))])
            .iter()
            .map(|(_, part)| if let Part::Text(text) = part { text.len() } else { 0 })
            .sum();
        assert_eq!(long, 5_000);
    }

    #[test]
    fn a_file_keeps_its_place_between_texts() {
        let file =
            StoredFile { object: "o".into(), mime: "image/jpeg".into(), bytes: 1, name: "a.jpg".into() };
        let file = (Wamid::new("b"), Part::File { file, caption: String::new() });
        let parts = joined(vec![text("a", "before"), file, text("c", "after")]);
        assert_eq!(parts.iter().map(|(wamids, _)| wamids[0].as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        let ids = |parts: Vec<_>| {
            with_ids(domain::ThreadId(uuid::Uuid::nil()), parts).into_iter().map(|(id, _)| id)
        };
        assert!(ids(parts.clone()).eq(ids(parts)), "the same again");
    }

    #[test]
    fn only_taps_on_what_salesforce_offered_are_choices() {
        let tap = |id: &str| {
            Content::Choice(Choice { kind: ChoiceKind::Button, id: id.into(), title: "Yes".into() })
        };
        let message = "5f0c9d1e-3b7a-4c62-9e41-8a2d6b7f1c03";
        assert_eq!(
            chosen(&tap(&format!("sf:{message}:opt:1"))),
            Some(Part::Choice {
                message: message.parse().unwrap(),
                option: "opt:1".into(),
                title: "Yes".into()
            })
        );
        assert_eq!(chosen(&tap("yes")), None);
        assert_eq!(chosen(&tap("sf:no-uuid:x")), None);
    }
}
