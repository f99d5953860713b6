//! A question in, an answer into the log.

use std::time::{Duration, Instant};

use bus::{Entry, Failure, Handler, Lease, Log};
use domain::{
    Cause, ConversationKey, Seq,
    session::{Answer, Ask, Conversation, Output},
    settings::Responder,
};
use futures::StreamExt as _;
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1::{self, entry::Body},
};
use runtime::{
    fields,
    settings::{Derived, Live},
};
use tracing::Instrument as _;

use crate::{
    answering::{Answered, Answering},
    ears::Ears,
    history::Starts,
    metrics::Metrics,
    model::Brain,
    rules::Rules,
};

/// Then the lane takes over: it waits longer and longer, and parks what stays stuck.
const APPEND_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Worker {
    pub(crate) log: Log,
    pub(crate) starts: Starts,
    pub(crate) settings: Live,
    pub(crate) rules: Derived<Rules>,
    pub(crate) brain: Brain,
    pub(crate) ears: Ears,
    pub(crate) metrics: Metrics,
}

/// A question in its place.
pub(crate) struct Asked<'a> {
    pub(crate) key: &'a ConversationKey,
    pub(crate) state: &'a Conversation,
    /// Of the decision that asks.
    pub(crate) seq: Seq,
    pub(crate) cause: Cause,
    pub(crate) ask: &'a Ask,
}

impl Handler for Worker {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        let Some(address) = &entry.address else {
            return Err(Failure::never("the subject is not a conversation's"));
        };
        let stored = StoredDecision::decode(entry.payload.clone()).map_err(Failure::never)?;
        for (cause, output) in stored.outputs() {
            match output {
                Output::Ask(ask) => {
                    let span = tracing::info_span!(
                        "answer",
                        { fields::CONVERSATION } = %address.key,
                        { fields::SEQ } = entry.seq,
                    );
                    let state = &stored.decision.state;
                    // A channel that handoff knows already may be new to us.
                    self.settings.knowing(&state.number, entry.at).await;
                    let asked = Asked { key: &address.key, state, seq: entry.seq, cause, ask };
                    self.answer(&asked).instrument(span).await?;
                }
                // Egress's, handoff's and the broker's.
                Output::Send(_)
                | Output::Follow { .. }
                | Output::Unfollow { .. }
                | Output::Call(_)
                | Output::Seen { .. }
                | Output::Control(_)
                | Output::Move(_)
                | Output::Timer { .. }
                | Output::Withheld { .. }
                | Output::Replied(_)
                | Output::Consent { .. } => {}
            }
        }
        Ok(())
    }
}

impl Worker {
    /// No lease is asked for: whoever answers, the first answer counts, and a second one is not
    /// stored.
    async fn answer(&self, asked: &Asked<'_>) -> Result<(), Failure> {
        let started = Instant::now();
        let settings = self.settings.now();
        let rules = self.rules.of(&settings, |_| Rules::new(&settings.faq));
        let channel = settings.channel(&asked.state.number);
        let nothing_said = Responder::default();
        let responder = channel.map_or(&nothing_said, |channel| &channel.responder);
        let answering = Answering {
            log: &self.log,
            starts: &self.starts,
            brain: &self.brain,
            ears: &self.ears,
            rules: &rules,
            responder,
            usual_language: channel.map_or("en_US", |channel| &channel.policy.language),
            metrics: &self.metrics,
        };
        let subject = subjects::fact(asked.key, Kind::Assistant, &asked.cause.to_string());
        let answered = if responder.model.is_some() {
            // A question that is read again may have been answered: a model costs time and money.
            if self.log.last(&subject).await?.is_some() {
                return Ok(());
            }
            tokio::select! {
                answered = answering.answer(asked) => answered?,
                () = self.overtaken(asked) => {
                    self.metrics.cancelled();
                    Answered { answer: Answer::Silence, language: None, by: "cancelled" }
                }
            }
        } else {
            answering.answer(asked).await?
        };
        let Answered { answer, language, by } = answered;
        tracing::debug!(?answer, by, helping = asked.ask.helping, "answered");
        self.metrics.answered(&answer, by, started.elapsed());
        let stored = v1::AssistantAnswer::new(asked.cause, asked.ask.epoch, &answer);
        let payload = proto::encode(Body::AssistantAnswer(v1::AssistantAnswer { language, ..stored }));
        self.log.append_fact(&subject, payload, Some(APPEND_PATIENCE)).await?;
        Ok(())
    }

    /// Returns once the conversation has another epoch: whatever we say would be dropped.
    async fn overtaken(&self, asked: &Asked<'_>) {
        let subject = subjects::decision(asked.key);
        loop {
            // Subscribed before looking, so that none falls in between. What is heard may never have
            // been stored: only the log tells.
            let Ok(mut news) = self.log.subscribe(&subject).await else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            loop {
                if self.is_overtaken(asked).await {
                    return;
                }
                // An ack follows the message; and a lost subscription must not hide the news for long.
                match tokio::time::timeout(Duration::from_secs(2), news.next()).await {
                    Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
        }
    }

    async fn is_overtaken(&self, asked: &Asked<'_>) -> bool {
        let Ok(Some(head)) = self.log.head(asked.key).await else { return false };
        head.seq > asked.seq
            && StoredDecision::decode(head.payload)
                .is_ok_and(|stored| stored.decision.state.epoch > asked.ask.epoch)
    }
}
