//! Handoff's calls to Salesforce. Each can be repeated: ids derive from what they carry, and
//! "already there" is success.

use std::{collections::BTreeMap, time::Duration};

use bus::{Entry, Failure, Log};
use domain::{
    Cause, ContactId, ConversationKey, Seq, SessionId, ThreadId, derive,
    message::{Content, split_text},
    session::{Call, CallResult, Conversation},
};
use proto::{
    subjects::{self, Kind},
    v1::entry::Body,
};
use salesforce::{Error, NewSession, Retry};
use tokens::{Access, Tokens};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::transcript::{self, MESSAGE_LIMIT};

/// Entries that a transcript reads at most.
const TRANSCRIPT_ENTRIES: usize = 5_000;
/// Entries that one forward reads at most: more than a customer can write while a thread opens.
const FORWARD_ENTRIES: usize = 2_000;
/// A routing attribute's usual maximum (`limits-and-complaints.md` §1, custom parameter).
const ATTRIBUTE_LIMIT: usize = 255;
/// Tries to open a thread before the customer is told and the handoff rests in the log.
const OPEN_TRIES: u32 = 3;
/// A longer pause that Salesforce asks for is spent in the log, not in the lane.
const LONGEST_OPEN_PAUSE: Duration = Duration::from_secs(3);

pub(crate) enum Outcome {
    /// Success asks for no entry: what follows in the lane follows because it was one.
    Silent,
    /// To be stored as a fact.
    Report(CallResult, String),
}

pub(crate) struct Calls {
    pub(crate) tokens: Tokens,
}

impl Calls {
    /// Makes a call that the decision on `entry` asked for.
    ///
    /// # Errors
    /// Opening a thread reports its failure as a fact. Every other call fails the entry: the lane
    /// tries again, and nothing of this conversation overtakes it.
    pub(crate) async fn perform(
        &self,
        log: &Log,
        key: &ConversationKey,
        state: &Conversation,
        entry: &Entry,
        cause: Cause,
        call: &Call,
    ) -> Result<Outcome, Failure> {
        let contact =
            state.contact.ok_or_else(|| Failure::never("a call to Salesforce without a contact"))?;
        let Some(access) = self.tokens.access(&state.number, contact) else {
            return match call {
                Call::Open { .. } => {
                    Ok(Outcome::Report(CallResult::Refused, "the channel has no integration".into()))
                }
                Call::Forward { .. } | Call::Note { .. } | Call::EndSession { .. } => {
                    Err(Failure::never("the channel has no integration"))
                }
            };
        };
        let peer = Peer { log, key, state, access };
        match call {
            Call::Open { thread, session, reason, from, through, again } => {
                let opening = Opening {
                    thread: *thread,
                    session: *session,
                    reason,
                    from: *from,
                    through: *through,
                    contact,
                };
                peer.open_patiently(&opening, *again).await
            }
            Call::Forward { thread, from, through } => {
                for (id, text) in peer.forwarded(entry, *thread, *from, *through).await? {
                    peer.send(*thread, id, &text, None).await.map_err(failure)?;
                }
                Ok(Outcome::Silent)
            }
            Call::Note { thread, text } => {
                let id = |index: usize| {
                    let cause = format!("{cause}/{index}");
                    derive::uuid("note", &[thread.0.as_bytes(), cause.as_bytes()])
                };
                for (index, part) in split_text(&format!("ⓘ {text}"), MESSAGE_LIMIT).into_iter().enumerate()
                {
                    peer.send(*thread, id(index), &part, None).await.map_err(failure)?;
                }
                Ok(Outcome::Silent)
            }
            Call::EndSession { thread } => {
                peer.end(*thread).await.map_err(failure)?;
                Ok(Outcome::Silent)
            }
        }
    }
}

struct Opening<'a> {
    thread: ThreadId,
    session: SessionId,
    reason: &'a str,
    from: Seq,
    through: Seq,
    contact: ContactId,
}

/// Why a thread is not open.
enum NotOpen {
    /// We could not even read what to say.
    Log(Failure),
    Salesforce(Error),
}

impl From<Error> for NotOpen {
    fn from(error: Error) -> Self {
        Self::Salesforce(error)
    }
}

struct Peer<'a> {
    log: &'a Log,
    key: &'a ConversationKey,
    state: &'a Conversation,
    access: Access,
}

impl Peer<'_> {
    /// A few tries at once for a hiccup; an outage goes back into the log, where the customer is
    /// told and a timer tries again.
    async fn open_patiently(&self, opening: &Opening<'_>, again: bool) -> Result<Outcome, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.open(opening, again).await {
                Ok(()) => return Ok(Outcome::Report(CallResult::Done, String::new())),
                Err(NotOpen::Log(failure)) => return Err(failure),
                Err(NotOpen::Salesforce(error)) => error,
            };
            let detail = runtime::error_chain(&error);
            tracing::warn!(error = detail, tries, "thread not opened");
            let pause = match error.retry() {
                Retry::Never => return Ok(Outcome::Report(CallResult::Refused, detail)),
                Retry::Renew | Retry::Soon => Duration::from_millis(150 << tries),
                Retry::After(pause) => pause,
            };
            if tries >= OPEN_TRIES || pause > LONGEST_OPEN_PAUSE {
                return Ok(Outcome::Report(CallResult::Unavailable, detail));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn open(&self, opening: &Opening<'_>, again: bool) -> Result<(), NotOpen> {
        let thread = opening.thread;
        let fresh = NewSession {
            routing_attributes: routing_attributes(self.state, opening),
            language: "en_US".into(),
        };
        if !again {
            // 409: ours from an earlier try. Whether it is ours at all shows with the header: a
            // stranger's conversation answers 403.
            self.call("create conversation", async |access| {
                let held = access.token().await?;
                let client = &access.org().client;
                match client.create_conversation(&held.token, thread, &fresh).await {
                    Err(Error::Unauthorized { .. }) => {
                        let held = access.renewed(&held).await?;
                        client.create_conversation(&held.token, thread, &fresh).await
                    }
                    answer => answer,
                }
            })
            .await?;
        }
        let id = |part: &str, index: usize| {
            let through = opening.through.to_be_bytes();
            derive::uuid(part, &[thread.0.as_bytes(), &through, &index.to_be_bytes()])
        };
        // In a conversation that lives already, the header is what opens the messaging session.
        let header = transcript::header(&self.state.customer, opening.session, opening.reason);
        let header_id = id("header", 0);
        match self.send(thread, header_id, &header, again.then_some(&fresh)).await {
            Err(Error::NoSession { .. }) => self.send(thread, header_id, &header, Some(&fresh)).await?,
            sent => sent?,
        }
        let said = self.said(opening.from, opening.through).await.map_err(NotOpen::Log)?;
        for (index, text) in transcript::transcript(&said).into_iter().enumerate() {
            self.send(thread, id("transcript", index), &text, None).await?;
        }
        Ok(())
    }

    /// The customer's messages in a stretch of the log, joined where they are many.
    async fn forwarded(
        &self,
        entry: &Entry,
        thread: ThreadId,
        from: Seq,
        through: Seq,
    ) -> Result<Vec<(Uuid, String)>, Failure> {
        let entries = if (from, through) == (entry.seq, entry.seq) {
            vec![entry.clone()]
        } else {
            let filter = subjects::filter_of(self.key, Kind::WhatsApp);
            self.log.read(vec![filter], from, through, FORWARD_ENTRIES).await?
        };
        let mut texts = Vec::new();
        for entry in entries {
            let Body::WhatsappMessage(message) = proto::decode(entry.payload).map_err(Failure::never)? else {
                continue;
            };
            let message = proto::convert::inbound(message).map_err(Failure::never)?;
            match &message.content {
                Content::Text(_) | Content::Other { .. } => {
                    texts.push((message.wamid.as_str().to_owned(), message.content.as_text()));
                }
                Content::Notice { .. } => {}
            }
        }
        let messages = transcript::joined(&texts).into_iter().enumerate().map(|(index, (wamids, text))| {
            let mut parts: Vec<&[u8]> = vec![thread.0.as_bytes()];
            parts.extend(wamids.iter().map(String::as_bytes));
            let index = index.to_be_bytes();
            parts.push(&index);
            (derive::uuid("forward", &parts), text)
        });
        Ok(messages.collect())
    }

    async fn said(&self, from: Seq, through: Seq) -> Result<Vec<transcript::Turn>, Failure> {
        let filters = vec![subjects::filter_of(self.key, Kind::WhatsApp), subjects::decision(self.key)];
        let entries = self.log.read(filters, from, through, TRANSCRIPT_ENTRIES).await?;
        let mut turns = Vec::new();
        for entry in entries {
            let body = proto::decode(entry.payload).map_err(Failure::never)?;
            turns.extend(transcript::turns(entry.at, body).map_err(Failure::never)?);
        }
        Ok(turns)
    }

    async fn send(
        &self,
        thread: ThreadId,
        id: Uuid,
        text: &str,
        fresh: Option<&NewSession>,
    ) -> Result<(), Error> {
        self.call("send message", async |access| {
            let held = access.token().await?;
            let client = &access.org().client;
            match client.send_text(&held.token, thread, id, text, fresh).await {
                Err(Error::Unauthorized { .. }) => {
                    let held = access.renewed(&held).await?;
                    client.send_text(&held.token, thread, id, text, fresh).await
                }
                answer => answer,
            }
        })
        .await
        .map(|_| ())
    }

    async fn end(&self, thread: ThreadId) -> Result<(), Error> {
        self.call("end session", async |access| {
            let held = access.token().await?;
            access.org().client.end_session(&held.token, thread).await
        })
        .await
        .map(|_| ())
    }

    /// One span per call to the outside.
    async fn call<T>(
        &self,
        name: &'static str,
        call: impl AsyncFnOnce(&Access) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let span = tracing::info_span!("salesforce", otel.name = name, otel.kind = "client");
        call(&self.access).instrument(span).await
    }
}

fn failure(error: Error) -> Failure {
    match error.retry() {
        Retry::Soon | Retry::Renew => Failure::soon(error),
        Retry::After(pause) => Failure::after(pause, error),
        Retry::Never => Failure::never(error),
    }
}

/// What the routing flow and the rep get beside the conversation (`product-behaviour.md` §5).
fn routing_attributes(state: &Conversation, opening: &Opening<'_>) -> BTreeMap<String, String> {
    let phone = state.customer.phone.as_deref().map(|phone| format!("+{phone}"));
    let session = opening.session.to_string();
    let thread = opening.thread.to_string();
    let contact = opening.contact.to_string();
    [
        ("OpencxSessionId", Some(session.as_str())),
        ("Chat_Consumer_Type", Some("Authenticated")),
        ("Channel", Some("whatsapp")),
        ("Customer_Name", state.customer.display_name()),
        ("Phone_Number", phone.as_deref()),
        ("Handoff_Reason", Some(opening.reason)),
        ("Conversation_UUID", Some(thread.as_str())),
        ("Contact_Id", Some(contact.as_str())),
    ]
    .into_iter()
    .filter_map(|(name, value)| {
        let value = transcript::clip(&transcript::printable(value?), ATTRIBUTE_LIMIT);
        (!value.is_empty()).then(|| (name.to_owned(), value))
    })
    .collect()
}
