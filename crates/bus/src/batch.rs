//! Appending many facts at once.

use std::{collections::VecDeque, pin::pin};

use async_nats::{
    Subject,
    jetstream::{
        context::{PublishAckFuture, PublishError},
        message::PublishMessage,
        publish::PublishAck,
    },
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tracing::{Instrument as _, Span};

use crate::{
    Appended, Error, Log,
    entry::headers_of,
    log::{Verdict, verdict},
};

/// A fact on its way into the log.
#[derive(Debug)]
pub struct Fact {
    /// What it is: told again when it is stored.
    pub kind: &'static str,
    /// Its identity.
    pub subject: String,
    pub payload: Bytes,
    /// What its readers continue the trace of.
    pub span: Span,
}

/// A fact that was sent, or is to be sent when its turn comes.
struct Sent {
    kind: &'static str,
    subject: Subject,
    payload: Bytes,
    span: Span,
    /// The connection that it was sent on, and the answer to come.
    answer: Option<(u64, PublishAckFuture)>,
}

impl Log {
    /// Appends facts that need not wait for one another, each as [`Log::append_fact`] does, and
    /// tells `stored` about each, in their order. Up to `at_once` are sent before the first is
    /// acknowledged; the next is not made before there is room for it. Takes as long as the broker
    /// does: set a time-out around it, for all of them.
    ///
    /// # Errors
    /// With the first that the broker refuses for good. Any of the others may be stored.
    pub async fn append_facts(
        &self,
        facts: impl IntoIterator<Item = Fact>,
        at_once: usize,
        mut stored: impl FnMut(&'static str, Appended),
    ) -> Result<(), Error> {
        let mut facts = facts.into_iter().fuse();
        let mut sent = VecDeque::with_capacity(at_once.min(facts.size_hint().0));
        loop {
            while sent.len() < at_once.max(1)
                && let Some(fact) = facts.next()
            {
                sent.push_back(self.send(fact).await);
            }
            let Some(mut first) = sent.pop_front() else { return Ok(()) };
            if let Some(appended) = self.answer(&mut first).await {
                stored(first.kind, appended);
                continue;
            }
            // Something is wrong, and for the others too: they were sent before its end was
            // waited for, so none of them is waited for as long again.
            let doubtful = std::iter::once(first).chain(sent.drain(..));
            let mut again =
                pin!(stream::iter(doubtful).map(|sent| self.again(sent)).buffered(at_once.max(1)));
            while let Some((kind, appended)) = again.try_next().await? {
                stored(kind, appended);
            }
        }
    }

    async fn send(&self, Fact { kind, subject, payload, span }: Fact) -> Sent {
        let subject = Subject::from(subject);
        // What the client is given while there is no connection it sends when we have long asked
        // again.
        let answer = if self.is_connected() {
            let connection = *self.generation.borrow();
            let headers = self.once(headers_of(&span));
            let message = PublishMessage::build().payload(payload.clone()).headers(headers);
            self.context.send_publish(subject.clone(), message).await.ok().map(|answer| (connection, answer))
        } else {
            None
        };
        Sent { kind, subject, payload, span, answer }
    }

    /// None: ask again, by itself. Appending is idempotent, and what to make of an error is known
    /// there.
    async fn answer(&self, sent: &mut Sent) -> Option<Appended> {
        let (connection, answer) = sent.answer.take()?;
        let mut generation = self.generation.clone();
        tokio::select! {
            biased;
            answer = answer.into_future() => appended(answer),
            // That connection is gone, and the answer with it.
            _ = generation.wait_for(|now| *now != connection) => None,
        }
    }

    async fn again(&self, mut sent: Sent) -> Result<(&'static str, Appended), Error> {
        let known = sent.answer.take().and_then(|(_, answer)| answer.into_future().now_or_never());
        if let Some(appended) = known.and_then(appended) {
            return Ok((sent.kind, appended));
        }
        let appended = self.append_fact(&sent.subject, sent.payload, None).instrument(sent.span).await?;
        Ok((sent.kind, appended))
    }
}

fn appended(answer: Result<PublishAck, PublishError>) -> Option<Appended> {
    match answer {
        Ok(ack) => Some(Appended { seq: ack.sequence, existed: false }),
        Err(error) => match verdict(error.kind(), std::error::Error::source(&error)) {
            Verdict::WrongLast(seq) => Some(Appended { seq, existed: true }),
            Verdict::Refused(_) | Verdict::Again => None,
        },
    }
}
