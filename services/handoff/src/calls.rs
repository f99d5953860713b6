//! Handoff's calls to Salesforce. Each can be repeated: ids derive from what they carry, and
//! "already there" is success.

use std::time::Duration;

use bus::{Entry, Failure, Log};
use domain::{
    Cause, ContactId, ConversationKey, Seq, SessionId, ThreadId, derive,
    derive::Keying,
    message::{Content, split_text},
    session::{Brief, Call, CallResult, Conversation},
};
use proto::{
    subjects::{self, Kind},
    v1::entry::Body,
};
use runtime::settings::Live;
use salesforce::{Error, NewSession, Retry};
use store::{Budget, Store, Taken};
use tokens::Tokens;
use tokio::time::Instant;

use crate::{
    attributes::{self, Sources},
    files::Files,
    forward::{self, Fetched, Part},
    masking::Masker,
    offers,
    peer::Peer,
    transcript::{self, MESSAGE_LIMIT, Transcript, Turn},
};

/// Decisions that a transcript goes back over at most: about as many as there are turns.
const TRANSCRIPT_DECISIONS: usize = 3_000;
/// Decisions that one forward goes back over at most: more than there are while a thread opens.
const FORWARD_DECISIONS: usize = 5_000;
/// Files of a transcript that are attached: the newest ones.
pub(crate) const TRANSCRIPT_FILES: usize = 3;
/// Decisions that are looked through for what a customer quotes.
const QUOTE_DECISIONS: usize = 200;
/// Tries to open a thread before the customer is told and the handoff rests in the log.
const OPEN_TRIES: u32 = 3;
/// A longer pause that Salesforce asks for is spent in the log, not in the lane.
const LONGEST_OPEN_PAUSE: Duration = Duration::from_secs(3);
/// For the org's budget of new conversations; then the handoff rests in the log.
const CREATE_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) enum Outcome {
    /// Success asks for no entry: what follows in the lane follows because it was one.
    Silent,
    /// To be stored as a fact.
    Report(CallResult, String),
}

pub(crate) struct Calls {
    pub(crate) tokens: Tokens,
    pub(crate) settings: Live,
    pub(crate) store: Store,
    pub(crate) files: Files,
    pub(crate) keying: Keying,
    pub(crate) masker: Masker,
    pub(crate) pace: bool,
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
        let turn = Doing { calls: self, log, key, state, peer: Peer::new(access) };
        match call {
            Call::Open { thread, session, brief, from, through, again } => {
                let opening = Opening {
                    thread: *thread,
                    session: *session,
                    brief,
                    from: *from,
                    through: *through,
                    contact,
                };
                turn.open_patiently(&opening, *again).await
            }
            Call::Forward { thread, from, through } => {
                let parts = turn.forwarded(entry, *thread, *from, *through).await?;
                turn.room_for(*thread, parts.len()).await?;
                for (id, part) in parts {
                    turn.give(*thread, id, part).await?;
                }
                Ok(Outcome::Silent)
            }
            Call::Note { thread, text } => {
                let id = |index: usize| {
                    let cause = format!("{cause}/{index}");
                    derive::uuid("note", &[thread.0.as_bytes(), cause.as_bytes()])
                };
                let parts = split_text(&format!("ⓘ {text}"), MESSAGE_LIMIT);
                turn.room_for(*thread, parts.len()).await?;
                for (index, part) in parts.into_iter().enumerate() {
                    turn.peer.send(*thread, id(index), &part, None).await.map_err(failure)?;
                }
                Ok(Outcome::Silent)
            }
            Call::EndSession { thread } => {
                turn.peer.end(*thread).await.map_err(failure)?;
                Ok(Outcome::Silent)
            }
        }
    }

    /// The thread is over, or (`live`) it is this conversation's from now on: the org's live sessions
    /// are counted.
    pub(crate) async fn counted(&self, state: &Conversation, thread: ThreadId, live: bool) {
        let settings = self.settings.now();
        let Some(org) = settings.integration_of(&state.number).map(|integration| &integration.id) else {
            return;
        };
        let counted = if live {
            self.store.enter_live(org.as_str(), thread, u32::MAX).await.map(|_| ())
        } else {
            self.store.leave_live(org.as_str(), thread).await
        };
        if let Err(error) = counted {
            tracing::debug!(error = runtime::error_chain(&error), "live sessions not counted");
        }
    }
}

struct Opening<'a> {
    thread: ThreadId,
    session: SessionId,
    brief: &'a Brief,
    from: Seq,
    through: Seq,
    contact: ContactId,
}

/// Why a thread is not open.
enum NotOpen {
    /// We could not even read what to say.
    Log(Failure),
    Salesforce(Error),
    /// The org has as much from us as it takes.
    Full(&'static str),
}

impl From<Error> for NotOpen {
    fn from(error: Error) -> Self {
        Self::Salesforce(error)
    }
}

struct Doing<'a> {
    calls: &'a Calls,
    log: &'a Log,
    key: &'a ConversationKey,
    state: &'a Conversation,
    peer: Peer,
}

impl Doing<'_> {
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
                Err(NotOpen::Full(why)) => {
                    tracing::warn!(why, "thread not opened");
                    return Ok(Outcome::Report(CallResult::Unavailable, why.to_owned()));
                }
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
        let mut fresh = self.fresh(opening).await;
        let said = self.said(opening.from, opening.through).await.map_err(NotOpen::Log)?;
        let Transcript { messages, earlier } = transcript::transcript(&said);
        let with_files: Vec<&Turn> = said.iter().filter(|turn| turn.media.is_some()).collect();
        let files = &with_files[with_files.len().saturating_sub(TRANSCRIPT_FILES)..];
        let count = 1 + messages.len() + usize::from(earlier > 0) + files.len();
        self.room_for(thread, count).await.map_err(NotOpen::Log)?;
        self.admitted(opening, again).await?;
        if !again {
            // 409: ours from an earlier try. Whether it is ours at all shows with the header: a
            // stranger's conversation answers 403.
            self.start(thread, None, &mut fresh).await?;
        }
        let id = |part: &str, index: usize| {
            let through = opening.through.to_be_bytes();
            derive::uuid(part, &[thread.0.as_bytes(), &through, &index.to_be_bytes()])
        };
        // In a conversation that lives already, the header is what opens the messaging session.
        let header = transcript::header(&self.state.customer, opening.session, opening.brief);
        let header_id = id("header", 0);
        let anew = Some((header_id, header.as_str()));
        if again {
            self.start(thread, anew, &mut fresh).await?;
        } else {
            match self.peer.send(thread, header_id, &header, None).await {
                Err(Error::NoSession { .. }) => self.start(thread, anew, &mut fresh).await?,
                sent => sent?,
            }
        }
        if earlier > 0 {
            self.earlier(thread, id("earlier", 0), &said, earlier).await.map_err(NotOpen::Log)?;
        }
        for (index, text) in messages.into_iter().enumerate() {
            self.peer.send(thread, id("transcript", index), &text, None).await?;
        }
        for (index, turn) in files.iter().enumerate() {
            let part = self.part(turn).await.map_err(NotOpen::Log)?;
            // A text says no more than the transcript does.
            if let Part::File { .. } = part {
                self.give(thread, id("transcript-file", index), part).await.map_err(NotOpen::Log)?;
            }
        }
        Ok(())
    }

    /// Creates the conversation or, with a message, opens another session in it. An org may refuse
    /// routing attributes that no parameter takes: a rep without them, who has the header, is better
    /// than none.
    async fn start(
        &self,
        thread: ThreadId,
        with: Option<(uuid::Uuid, &str)>,
        fresh: &mut NewSession,
    ) -> Result<(), Error> {
        let refused = match self.started(thread, with, fresh).await {
            Err(error) if error.is_bad_request() => error,
            started => return started,
        };
        let bare = NewSession { language: fresh.language.clone(), ..NewSession::default() };
        if fresh.routing_attributes.is_empty() || self.started(thread, with, &bare).await.is_err() {
            return Err(refused);
        }
        tracing::error!(
            error = runtime::error_chain(&refused),
            "the org refuses the routing attributes: mend the integration's `attributes` or the channel's \
             parameters; the session was opened without them",
        );
        *fresh = bare;
        Ok(())
    }

    async fn started(
        &self,
        thread: ThreadId,
        with: Option<(uuid::Uuid, &str)>,
        fresh: &NewSession,
    ) -> Result<(), Error> {
        match with {
            None => self.peer.create(thread, fresh).await.map(|_| ()),
            Some((id, text)) => self.peer.send(thread, id, text, Some(fresh)).await,
        }
    }

    /// Everything that was said, as a file; else what came before the newest turns in short.
    async fn earlier(
        &self,
        thread: ThreadId,
        id: uuid::Uuid,
        said: &[Turn],
        earlier: usize,
    ) -> Result<(), Failure> {
        let limit = self.peer.attachment_limits().await.map_err(failure)?.max_bytes;
        let file = (transcript::FILE_NAME, transcript::whole(said, limit));
        let caption = format!("The whole conversation, with {earlier} earlier messages");
        let refused = self.calls.files.attach_text(&self.peer, thread, id, file, &caption).await?;
        if refused.is_none() {
            return Ok(());
        }
        self.peer.send(thread, id, &transcript::in_short(&said[..earlier]), None).await.map_err(failure)
    }

    /// A conversation takes 22 messages a minute. What must wait for that waits in its lane and is
    /// tried again, all of it. Without the cache nobody counts: Salesforce says when it is too much.
    async fn room_for(&self, thread: ThreadId, messages: usize) -> Result<(), Failure> {
        if !self.calls.pace {
            return Ok(());
        }
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        match self.calls.store.spend(&Budget::CONVERSATION_MESSAGES, thread, messages).await {
            Ok(Taken::WaitFor(pause)) => {
                Err(Failure::after(pause, "the conversation had as many messages as Salesforce takes"))
            }
            Ok(Taken::Now) | Err(_) => Ok(()),
        }
    }

    /// Waits for the org's budgets, which all replicas share. Without the cache nobody counts:
    /// Salesforce says when it is too much.
    async fn admitted(&self, opening: &Opening<'_>, again: bool) -> Result<(), NotOpen> {
        let settings = self.calls.settings.now();
        let Some(integration) = settings.integration_of(&self.state.number) else { return Ok(()) };
        let (store, org) = (&self.calls.store, integration.id.as_str());
        match store.enter_live(org, opening.thread, integration.max_live_sessions).await {
            Ok(true) => {}
            Ok(false) => return Err(NotOpen::Full("the org has as many live sessions as it takes")),
            Err(error) => tracing::debug!(error = runtime::error_chain(&error), "live sessions not counted"),
        }
        if again {
            return Ok(());
        }
        let of_the_person = store.spend(&Budget::CONVERSATION_STARTS, opening.contact, 1).await;
        if matches!(of_the_person, Ok(Taken::WaitFor(_))) {
            return Err(NotOpen::Full("too many conversations of one person"));
        }
        let deadline = Instant::now() + CREATE_PATIENCE;
        while let Ok(Taken::WaitFor(pause)) = store.spend(&Budget::ORG_CREATES, org, 1).await {
            let pause = pause.max(Duration::from_millis(50)).mul_f64(1.0 + fastrand::f64());
            if Instant::now() + pause > deadline {
                return Err(NotOpen::Full("too many conversations at once"));
            }
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// What a new messaging session is opened with.
    async fn fresh(&self, opening: &Opening<'_>) -> NewSession {
        let settings = self.calls.settings.now();
        let channel = settings.channel(&self.state.number);
        let integration = settings.integration_of(&self.state.number);
        let usual = || channel.map_or_else(|| "en_US".to_owned(), |channel| channel.policy.language.clone());
        let language = opening.brief.language.clone().unwrap_or_else(usual);
        // A hint: without the directory the rep does not see the address.
        let emails = self.calls.store.person(opening.contact).await.map(|person| person.emails);
        let sources = Sources {
            session: opening.session,
            thread: opening.thread,
            contact: opening.contact,
            customer: &self.state.customer,
            brief: opening.brief,
            language: &language,
            channel,
            email: emails.as_deref().ok().and_then(<[String]>::first).map(String::as_str),
            campaign: opening.brief.campaign.as_ref().map(|campaign| campaign.name.as_str()),
        };
        let rules = integration.map(|integration| integration.attributes.as_slice()).unwrap_or_default();
        NewSession { routing_attributes: attributes::attributes(rules, &sources), language }
    }

    /// The customer's messages in a stretch of the log.
    async fn forwarded(
        &self,
        entry: &Entry,
        thread: ThreadId,
        from: Seq,
        through: Seq,
    ) -> Result<Vec<(uuid::Uuid, Part)>, Failure> {
        let entries = if (from, through) == (entry.seq, entry.seq) {
            vec![entry.clone()]
        } else {
            self.log.said(self.key, from, through, FORWARD_DECISIONS).await?
        };
        let settings = self.calls.settings.now();
        let mut parts = Vec::new();
        for entry in entries {
            let Body::WhatsappMessage(message) = proto::decode(entry.payload).map_err(Failure::never)? else {
                continue;
            };
            let message = proto::convert::inbound(message).map_err(Failure::never)?;
            let id = entry.address.as_ref().map_or("", |address| address.id.as_str());
            let Some(mut turn) = transcript::inbound(id, &message) else { continue };
            let part = match forward::chosen(&message.content) {
                Some(choice) => choice,
                None if let Some(choice) = self.typed(entry.seq, &message.content).await? => choice,
                None => {
                    if let Some(about) = &turn.about {
                        let quoted = self.quoted(about).await?;
                        turn.text = transcript::quoting(&turn.text, quoted.as_deref());
                    }
                    self.calls.masker.hide(&mut turn, settings.channel(&self.state.number));
                    self.part(&turn).await?
                }
            };
            parts.push((message.wamid, part));
        }
        Ok(forward::with_ids(thread, forward::joined(parts)))
    }

    async fn typed(&self, at: Seq, content: &Content) -> Result<Option<Part>, Failure> {
        match offers::number(content) {
            Some(number) => offers::typed(self.log, self.key, self.state, at, number).await,
            None => Ok(None),
        }
    }

    /// A turn as the rep gets it: with its file, if it has one that is to be had.
    async fn part(&self, turn: &Turn) -> Result<Part, Failure> {
        let Some(id) = &turn.media else { return Ok(Part::Text(turn.text.clone())) };
        Ok(match forward::fetched(self.log, self.key, turn, id).await? {
            Fetched::Stored(file) => Part::File { file, caption: turn.text.clone() },
            Fetched::Failed(why) => {
                Part::Text(format!("{} (the file could not be fetched: {why})", turn.text))
            }
        })
    }

    /// Sends the rep a message, its file as an attachment where Salesforce takes it.
    async fn give(&self, thread: ThreadId, id: uuid::Uuid, part: Part) -> Result<(), Failure> {
        match part {
            Part::Text(text) => self.peer.send(thread, id, &text, None).await.map_err(failure),
            Part::Choice { message, option, title } => {
                self.peer.choose(thread, id, message, &option, &title).await.map_err(failure)
            }
            Part::File { file, caption } => {
                let refused = self.calls.files.attach(&self.peer, thread, id, &file, &caption).await?;
                let Some(why) = refused else { return Ok(()) };
                let text = self.calls.files.instead(&file, &caption, &why);
                self.peer.send(thread, id, &text, None).await.map_err(failure)
            }
        }
    }

    /// The words of a message that the customer refers to: theirs, or one of ours.
    async fn quoted(&self, wamid: &domain::Wamid) -> Result<Option<String>, Failure> {
        let theirs = subjects::fact(self.key, Kind::WhatsApp, &self.calls.keying.wamid(wamid));
        if let Some(entry) = self.log.last(&theirs).await? {
            let id = entry.address.as_ref().map(|address| address.id.clone()).unwrap_or_default();
            let turns =
                transcript::turns(&id, entry.at, proto::decode(entry.payload).map_err(Failure::never)?);
            return Ok(turns.map_err(Failure::never)?.pop().map(|turn| turn.text));
        }
        // Ours: the ledger knows which send got this wamid.
        for decision in self.log.decisions(self.key, 1, Seq::MAX, QUOTE_DECISIONS).await? {
            let stored = proto::StoredDecision::decode(decision.payload).map_err(Failure::never)?;
            for send in stored.decision.sends() {
                for (part, _) in (0..).zip(whatsapp::outgoing::fit(&send.body)) {
                    if self.went_as(send.id.part(part), wamid).await? {
                        return Ok(stored.sent(&send.id.part(part).to_string()));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn went_as(&self, send: domain::SendId, wamid: &domain::Wamid) -> Result<bool, Failure> {
        let Some(record) = self.log.last(&subjects::sends_of(self.key, send)).await? else {
            return Ok(false);
        };
        let outcome = proto::decode(record.payload).ok().and_then(Body::into_send_outcome);
        Ok(match outcome.and_then(|outcome| outcome.outcome) {
            Some(proto::v1::send_outcome::Outcome::Accepted(accepted)) => accepted.wamid == wamid.as_str(),
            Some(
                proto::v1::send_outcome::Outcome::Refused(_)
                | proto::v1::send_outcome::Outcome::InDoubt(_)
                | proto::v1::send_outcome::Outcome::NotSent(_),
            )
            | None => false,
        })
    }

    /// Everything that was said in a stretch of the log.
    async fn said(&self, from: Seq, through: Seq) -> Result<Vec<Turn>, Failure> {
        let entries = self.log.said(self.key, from, through, TRANSCRIPT_DECISIONS).await?;
        let mut turns = Vec::new();
        for entry in entries {
            let id = entry.address.as_ref().map(|address| address.id.clone()).unwrap_or_default();
            let body = proto::decode(entry.payload).map_err(Failure::never)?;
            turns.extend(transcript::turns(&id, entry.at, body).map_err(Failure::never)?);
        }
        let mut told = transcript::told(turns);
        let settings = self.calls.settings.now();
        let channel = settings.channel(&self.state.number);
        told.iter_mut().for_each(|turn| self.calls.masker.hide(turn, channel));
        Ok(told)
    }
}

pub(crate) fn failure(error: Error) -> Failure {
    match error.retry() {
        Retry::Soon | Retry::Renew => Failure::soon(error),
        Retry::After(pause) => Failure::after(pause, error),
        Retry::Never => Failure::never(error),
    }
}
