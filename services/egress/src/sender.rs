//! Sends to WhatsApp: performs what [`crate::ledger`] says.

mod courtesies;
mod files;
mod pace;
mod receipts;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Entry, Failure, Lease, Log};
use bytes::Bytes;
use domain::{
    ConversationKey, Millis, SendId, Seq, Wamid,
    message::{MediaKind, Outgoing},
    outreach::Mark,
    session::{Conversation, ParkedMessage, Send, window_is_open},
    settings::Channel,
};
use proto::{
    StoredDecision,
    subjects::{self, Kind, SendPhase, SendRef},
    v1::{self, entry::Body},
};
use runtime::fields;
use store::Pacer;
use tokio::time::Instant;
use tracing::Instrument as _;
use whatsapp::{
    client::{Message, Recipient, SendError},
    outgoing::fit,
};

pub(crate) use files::Files;
pub(crate) use receipts::status_in;

use crate::{
    gate::Gates,
    ledger::{self, Answer, Attempt, Outcome, Record, Settled, Step},
    metrics::Metrics,
};

/// Of an undelivered text: enough for the rep to know which one is meant.
const EXCERPT_CHARS: usize = 60;
/// WhatsApp refuses everything but templates outside the customer service window (§9.2).
const WINDOW_CLOSED: i32 = 131_047;

pub(crate) struct Sender {
    log: Log,
    whatsapp: whatsapp::Client,
    /// How long after an intent a status may still tell what became of it.
    grace: Duration,
    /// False in a control run only: then nothing is recorded and everything is sent again.
    ledger_on: bool,
    metrics: Metrics,
    gates: Gates,
    /// None in fault runs only.
    pacer: Option<Arc<Pacer>>,
    files: Files,
    /// Sends whose duplicates were counted.
    counted: Mutex<HashSet<SendRef>>,
}

/// One message of those that carry a send.
struct Part {
    id: SendId,
    body: Outgoing,
    quotes: Option<Wamid>,
}

/// What all parts of a send share.
struct Job<'a> {
    key: &'a ConversationKey,
    decision: Seq,
    state: &'a Conversation,
    to: &'a Recipient,
    channel: &'a Channel,
    send: &'a Send,
    lease: &'a Lease,
}

impl Sender {
    pub(crate) fn new(
        log: Log,
        whatsapp: whatsapp::Client,
        grace: Duration,
        ledger_on: bool,
        metrics: Metrics,
        pacer: Option<Arc<Pacer>>,
        files: Files,
    ) -> Self {
        let (gates, counted) = (Gates::default(), Mutex::default());
        Self { log, whatsapp, grace, ledger_on, metrics, gates, pacer, files, counted }
    }

    /// Returns when all of it is settled, in the ledger and, where it was not delivered, as a
    /// fact. Doing it again sends nothing twice.
    pub(crate) async fn deliver(
        &self,
        key: &ConversationKey,
        decision: Seq,
        state: &Conversation,
        channel: &Channel,
        send: &Send,
        lease: &Lease,
    ) -> Result<(), Failure> {
        let to = recipient(state)
            .ok_or_else(|| Failure::never("the customer has neither a phone number nor a user id"))?;
        let job = Job { key, decision, state, to: &to, channel, send, lease };
        for part in parts(send) {
            let span = tracing::info_span!(
                "send",
                { fields::CONVERSATION } = %key,
                { fields::SEND } = %part.id,
                { fields::CHANNEL } = state.number.as_str(),
            );
            let delivered = async {
                if self.ledger_on { self.part(&job, &part).await } else { self.careless(&job, &part).await }
            };
            delivered.instrument(span).await?;
        }
        Ok(())
    }

    async fn part(&self, job: &Job<'_>, part: &Part) -> Result<(), Failure> {
        // Of our own POST, on our own clock: the log's may differ.
        let mut posted: Option<Instant> = None;
        // Not asked for in vain: if somebody was here all the same, storing the intent tells.
        let mut nobody_was_here = job.lease.is_first_try();
        loop {
            let assumed = std::mem::take(&mut nobody_was_here);
            let last = if assumed { None } else { self.last_record(job.key, part.id).await? };
            let settled = match ledger::next(part.id, job.decision, job.send.mark, last.as_ref(), self.grace)
            {
                Step::Try(attempt) => {
                    if let Some(doubtful) = attempt.doubtful
                        && self
                            .status_of(job.key, SendRef { send: part.id, attempt: doubtful })
                            .await?
                            .is_some()
                    {
                        // The status was late, yet not too late.
                        self.metrics.sent("settled_late");
                        return Ok(());
                    }
                    let withheld = if part.body.needs_window() && !self.window_is_open(job).await? {
                        // Recorded, so that it is not sent after all when this is done again: the
                        // decision on its being undelivered keeps it until the customer writes.
                        Some(("window_closed", WINDOW_CLOSED))
                    } else if attempt.doubtful.is_none() && is_too_late(job.send, runtime::now()) {
                        // None before it went out. It may be night where the customer is.
                        Some(("too_late", ledger::TOO_LATE))
                    } else {
                        None
                    };
                    match withheld {
                        // No intent would find out that somebody is sending it: look before that.
                        Some(_) if assumed => None,
                        Some((word, code)) => {
                            self.metrics.sent(word);
                            self.record(job.key, &attempt, &Outcome::Refused { code }).await?
                        }
                        None => self.attempt(job, attempt, part, &mut posted).await?,
                    }
                }
                Step::Await { attempt, until } => self.wait(job, attempt, until, posted).await?,
                Step::Settled(settled) => Some(settled),
            };
            match settled {
                None => {}
                // That it was too late is on record, and concerns nobody but whoever counts.
                Some(Settled::Accepted | Settled::Refused { code: ledger::TOO_LATE }) => return Ok(()),
                Some(Settled::Refused { code }) => {
                    let lost = lost(job.send, part);
                    return self
                        .tell(job.key, part.id, ledger::undeliverable(code), &lost, job.send.mark)
                        .await;
                }
                Some(Settled::Unknown { attempts }) => {
                    for attempt in attempts {
                        if self.status_of(job.key, SendRef { send: part.id, attempt }).await?.is_some() {
                            return Ok(());
                        }
                    }
                    tracing::warn!("neither answer nor status for both attempts: told as unknown");
                    let unknown = v1::undelivered::Reason::Unknown(v1::undelivered::Unknown {});
                    let lost = lost(job.send, part);
                    return self.tell(job.key, part.id, unknown, &lost, job.send.mark).await;
                }
            }
        }
    }

    /// By what the decision knew; and where that says no, by the newest state: the customer may have
    /// written since.
    async fn window_is_open(&self, job: &Job<'_>) -> Result<bool, Failure> {
        let now = runtime::now();
        if window_is_open(job.state.customer_wrote_at, now) {
            return Ok(true);
        }
        let Some(head) = self.log.head(job.key).await? else { return Ok(false) };
        let newest = StoredDecision::decode(head.payload).map_err(Failure::never)?;
        Ok(window_is_open(newest.decision.state.customer_wrote_at, now))
    }

    /// One attempt, with a record before and after. `None`: the ledger knows what is next.
    async fn attempt(
        &self,
        job: &Job<'_>,
        attempt: Attempt,
        part: &Part,
        posted: &mut Option<Instant>,
    ) -> Result<Option<Settled>, Failure> {
        held(job.lease)?;
        self.pass(&job.state.number)?;
        // Uploading is no sending: it may be done again.
        let uploaded = match self
            .files
            .uploaded(&self.whatsapp, &job.state.number, job.channel, part.id, &part.body)
            .await
        {
            Ok(uploaded) => uploaded,
            Err(files::Unsent::Later(failure)) => return Err(failure),
            Err(files::Unsent::Unfit(why)) => {
                tracing::warn!(reason = why, "a file cannot be sent");
                self.metrics.sent("file_unfit");
                return self.record(job.key, &attempt, &Outcome::Refused { code: ledger::UNFIT_FILE }).await;
            }
        };
        // Whoever asks for a campaign's send has paid for its first attempt: it waits there, not here.
        if job.send.mark.is_none() || attempt.number > 1 {
            self.pace(job).await?;
        }
        let reference = SendRef { send: attempt.send, attempt: attempt.number };
        let subject = subjects::send(job.key, reference, SendPhase::Intent);
        let intent = proto::encode(attempt.intent(job.lease.epoch(), runtime::now()));
        let appended = self.log.append_fact(&subject, intent.clone(), None).await?;
        if appended.existed {
            // Ours, if only its ack was lost; else another worker's, who may be sending.
            let stored = self.log.last(&subject).await?;
            if stored.is_none_or(|stored| stored.payload != intent) {
                return Ok(None);
            }
        }
        if let Err(lost) = held(job.lease) {
            // Nothing went out: the next owner need not wait to find that out.
            self.record(job.key, &attempt, &Outcome::NotSent).await?;
            return Err(lost);
        }
        if attempt.doubtful.is_some() {
            self.metrics.blind_resend();
            tracing::warn!(
                { fields::ATTEMPT } = attempt.number,
                "sent again without knowing about the first"
            );
        }
        *posted = Some(Instant::now());
        let answer = self.post(job, reference, part, uploaded.as_ref()).await;
        match ledger::read(answer, attempt.number) {
            Answer::Settles(outcome) => {
                self.gates.open(&job.state.number);
                self.metrics.sent(word(&outcome));
                self.record(job.key, &attempt, &outcome).await
            }
            Answer::Later { why, rest } => {
                self.metrics.sent(why.as_str());
                self.hold_back(job, why, rest).await;
                self.record(job.key, &attempt, &Outcome::NotSent).await?;
                Err(pace::later(why, rest))
            }
            Answer::InDoubt => {
                self.gates.open(&job.state.number);
                self.metrics.sent("in_doubt");
                Ok(None)
            }
        }
    }

    async fn post(
        &self,
        job: &Job<'_>,
        reference: SendRef,
        part: &Part,
        uploaded: Option<&(String, MediaKind)>,
    ) -> Result<whatsapp::client::Sent, SendError> {
        let started = Instant::now();
        let opaque = match job.send.mark {
            Some(mark) => reference.to_opaque_of(job.key, mark),
            None => reference.to_opaque_in(job.key),
        };
        let message = Message {
            to: job.to,
            body: &part.body,
            media: uploaded.map(|(id, kind)| (id.as_str(), *kind)),
            quotes: part.quotes.as_ref(),
            opaque: &opaque,
        };
        let span =
            tracing::info_span!("whatsapp", otel.name = "whatsapp: send message", otel.kind = "client");
        let token = &job.channel.access_token;
        let answer = self.whatsapp.send(&job.state.number, token, message).instrument(span).await;
        self.metrics.posted(started.elapsed());
        if let Err(error) = &answer {
            let how_to_mend = match error {
                SendError::Refused(refusal) => refusal.remedy().operator,
                SendError::NotSent(_) | SendError::Paced { .. } | SendError::InDoubt(_) => "",
            };
            tracing::warn!(
                { fields::ATTEMPT } = reference.attempt,
                { fields::ERROR } = runtime::error_chain(error),
                how_to_mend,
                "not accepted"
            );
        }
        answer
    }

    /// Waits for a status that echoes the attempt: any one proves that the POST was accepted.
    async fn wait(
        &self,
        job: &Job<'_>,
        attempt: Attempt,
        until: Millis,
        posted: Option<Instant>,
    ) -> Result<Option<Settled>, Failure> {
        let reference = SendRef { send: attempt.send, attempt: attempt.number };
        let subject = subjects::statuses_of(job.key, reference);
        let left =
            u64::try_from(until.saturating_sub(runtime::now())).map_or(Duration::ZERO, Duration::from_millis);
        let by_the_log = Instant::now() + left.min(self.grace);
        let deadline = posted.map_or(by_the_log, |posted| by_the_log.max(posted + self.grace));
        tracing::info!({ fields::ATTEMPT } = attempt.number, "in doubt: waiting for a status");
        let found = tokio::select! {
            found = self.log.found_or_heard(&subject, deadline) => found?,
            () = job.lease.cancelled() => return Err(Failure::soon("the lease was lost while waiting for a status")),
        };
        let outcome = match found {
            Some(status) => Outcome::Accepted { wamid: wamid(status), answered: false },
            None => Outcome::InDoubt,
        };
        self.metrics.sent(if matches!(outcome, Outcome::InDoubt) {
            "stayed_in_doubt"
        } else {
            "settled_by_status"
        });
        self.record(job.key, &attempt, &outcome).await
    }

    /// Stores an outcome. Another worker's may be there already; then the ledger says what is next.
    async fn record(
        &self,
        key: &ConversationKey,
        attempt: &Attempt,
        outcome: &Outcome,
    ) -> Result<Option<Settled>, Failure> {
        let reference = SendRef { send: attempt.send, attempt: attempt.number };
        let subject = subjects::send(key, reference, SendPhase::Outcome);
        let appended = self
            .log
            .append_fact(&subject, proto::encode(attempt.outcome(outcome, runtime::now())), None)
            .await?;
        Ok(match outcome {
            _ if appended.existed => None,
            Outcome::Accepted { .. } => Some(Settled::Accepted),
            Outcome::Refused { code } => Some(Settled::Refused { code: *code }),
            Outcome::NotSent | Outcome::InDoubt => None,
        })
    }

    /// The control run: what happens without a ledger.
    async fn careless(&self, job: &Job<'_>, part: &Part) -> Result<(), Failure> {
        let reference = SendRef { send: part.id, attempt: 1 };
        for _ in 0..5 {
            held(job.lease)?;
            match ledger::read(self.post(job, reference, part, None).await, 1) {
                Answer::Settles(Outcome::Refused { code }) => {
                    let lost = lost(job.send, part);
                    return self
                        .tell(job.key, part.id, ledger::undeliverable(code), &lost, job.send.mark)
                        .await;
                }
                Answer::Settles(Outcome::Accepted { .. } | Outcome::NotSent | Outcome::InDoubt) => {
                    return Ok(());
                }
                Answer::Later { why, rest } => return Err(pace::later(why, rest)),
                Answer::InDoubt => {}
            }
        }
        Err(Failure::soon("in doubt"))
    }

    /// The fact that a send did not reach the customer. One a send, whoever finds it out first.
    async fn tell(
        &self,
        key: &ConversationKey,
        send: SendId,
        reason: v1::undelivered::Reason,
        lost: &ParkedMessage,
        mark: Option<Mark>,
    ) -> Result<(), Failure> {
        let body = Body::Undelivered(v1::Undelivered {
            send: send.to_string(),
            reason: Some(reason),
            excerpt: excerpt(&lost.body.as_text()),
            lost: Some(lost.into()),
            mark: mark.map(Into::into),
        });
        let subject = subjects::fact(key, Kind::Undelivered, &send.to_string());
        self.log.append_fact(&subject, proto::encode(body), None).await?;
        Ok(())
    }

    async fn last_record(&self, key: &ConversationKey, send: SendId) -> Result<Option<Record>, Failure> {
        let Some(entry) = self.log.last(&subjects::sends_of(key, send)).await? else { return Ok(None) };
        let body = proto::decode(entry.payload).map_err(Failure::never)?;
        Record::from_body(body, entry.at).map(Some).map_err(Failure::never)
    }

    async fn status_of(&self, key: &ConversationKey, reference: SendRef) -> Result<Option<Entry>, Failure> {
        Ok(self.log.last(&subjects::statuses_of(key, reference)).await?)
    }
}

/// Whom a conversation's messages go to.
fn recipient(state: &Conversation) -> Option<Recipient> {
    state.group.clone().map(Recipient::Group).or_else(|| Recipient::of(&state.customer))
}

/// The messages that carry a send. The first one quotes.
fn parts(send: &Send) -> impl Iterator<Item = Part> {
    (0..).zip(fit(&send.body)).map(|(index, body)| Part {
        id: send.id.part(index),
        body,
        quotes: send.quotes.clone().filter(|_| index == 0),
    })
}

fn lost(send: &Send, part: &Part) -> ParkedMessage {
    ParkedMessage { body: part.body.clone(), quotes: part.quotes.clone(), origin: send.origin }
}

const fn is_too_late(send: &Send, now: Millis) -> bool {
    send.not_after != 0 && now > send.not_after
}

fn held(lease: &Lease) -> Result<(), Failure> {
    if lease.is_held() { Ok(()) } else { Err(Failure::soon("the lease is lost")) }
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::NotSent => "not_sent",
        Outcome::Refused { .. } => "refused",
        Outcome::InDoubt => "in_doubt",
    }
}

fn wamid(status: Bytes) -> Wamid {
    Wamid::new(status_in(status).map(|status| status.wamid).unwrap_or_default())
}

fn excerpt(text: &str) -> String {
    let mut words: String = text.chars().take(EXCERPT_CHARS).collect();
    if words.len() < text.len() {
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short() {
        assert_eq!(excerpt("Hello"), "Hello");
        let long = excerpt(&"é".repeat(100));
        assert_eq!(long.chars().count(), EXCERPT_CHARS + 1);
    }
}
