//! A question in, an answer into the log.

use std::time::Duration;

use bus::{Entry, Failure, Handler, Lease, Log};
use domain::{
    Cause, ConversationKey,
    session::{Ask, Output},
};
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1::{self, entry::Body},
};
use runtime::fields;
use tracing::Instrument as _;

use crate::rules::Rules;

/// Then the lane takes over: it waits longer and longer, and parks what stays stuck.
const APPEND_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Worker {
    pub(crate) log: Log,
    pub(crate) rules: Rules,
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
                    self.answer(&address.key, cause, ask).instrument(span).await?;
                }
                // Egress's, handoff's and the broker's.
                Output::Send(_)
                | Output::Follow { .. }
                | Output::Unfollow { .. }
                | Output::Call(_)
                | Output::Seen { .. }
                | Output::Control(_)
                | Output::Move(_)
                | Output::Timer { .. } => {}
            }
        }
        Ok(())
    }
}

impl Worker {
    /// No lease is asked for: whoever answers, the first answer counts, and a second one is not
    /// stored.
    async fn answer(&self, key: &ConversationKey, cause: Cause, ask: &Ask) -> Result<(), Failure> {
        let answer = self.rules.answer(ask);
        tracing::debug!(?answer, helping = ask.helping, "answered");
        let subject = subjects::fact(key, Kind::Assistant, &cause.to_string());
        let answer = v1::AssistantAnswer::new(cause, ask.epoch, &answer);
        let payload = proto::encode(Body::AssistantAnswer(answer));
        self.log.append_fact(&subject, payload, Some(APPEND_PATIENCE)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        PhoneNumberId, Seq,
        session::{Conversation, Decision},
    };

    use super::*;

    #[tokio::test]
    async fn a_question_that_is_read_twice_has_one_answer() {
        let nats = devstack::Nats::start().await.unwrap();
        let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
        let key = ConversationKey::from_bytes([1; 16]);
        let ask = Ask { epoch: 2, text: "hello".into(), helping: false, human_until: None };
        let decision =
            Decision { state: Conversation::new(PhoneNumberId::new("1")), outputs: vec![Output::Ask(ask)] };
        let stored = StoredDecision { answers: 5, policy_version: 1, decision };
        log.append_decision(&key, 0, stored.encode()).await.unwrap();
        let entry = log.head(&key).await.unwrap().unwrap();

        let worker = Worker { log: log.clone(), rules: Rules::new(&[]) };
        worker.handle(&entry, &Lease::for_test()).await.unwrap();
        worker.handle(&entry, &Lease::for_test()).await.unwrap();

        let filter = subjects::fact(&key, Kind::Assistant, "*");
        let answers = log.read(vec![filter], 1, Seq::MAX, 10).await.unwrap();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].address.as_ref().unwrap().id, "5-0");
    }
}
