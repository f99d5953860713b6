//! Load, decide, append, perform, checkpoint: the same five steps for every fact.

use std::sync::Arc;

use bus::{Chained, Entry, Failure, Handler, Lease, Log};
use bytes::Bytes;
use domain::{
    ContactId, ConversationKey, CustomerId, PhoneNumberId, Seq, derive,
    derive::Keying,
    message::{ContactCard, Content, Customer, InboundMessage},
    outreach::{self, Sent},
    session::{self, At, CallResult, Context, Conversation, Decision, Fact, Output, Owner},
};
use proto::{StoredDecision, subjects, v1};
use runtime::settings::Live;
use store::Store;
use tracing::Instrument as _;

use crate::{
    calls::{Calls, Outcome},
    metrics::Metrics,
};

/// How often a decision is made anew because another worker was faster. Two workers overlap for
/// seconds at most, and each append that fails means that the other one got on.
const OVERTAKEN_LIMIT: u32 = 16;

pub(crate) struct Worker {
    pub(crate) log: Log,
    pub(crate) store: Store,
    pub(crate) settings: Live,
    pub(crate) keying: Keying,
    pub(crate) calls: Arc<Calls>,
    pub(crate) metrics: Metrics,
}

/// The end of a conversation's chain of decisions.
struct Head {
    seq: Seq,
    stored: StoredDecision,
    /// As it is stored.
    payload: Bytes,
}

impl Handler for Worker {
    async fn handle(&self, entry: &Entry, lease: &Lease) -> Result<(), Failure> {
        let Some(address) = &entry.address else {
            return Err(Failure::never("the subject is not a conversation's"));
        };
        let body = proto::decode(entry.payload.clone()).map_err(Failure::never)?;
        let Some(fact) = proto::convert::fact(body).map_err(Failure::never)? else { return Ok(()) };
        let span = tracing::info_span!(
            "decide",
            conversation = %address.key,
            fact = address.kind.as_str(),
            seq = entry.seq,
        );
        self.answer(&address.key, entry, &fact, lease).instrument(span).await
    }
}

impl Worker {
    async fn answer(
        &self,
        key: &ConversationKey,
        entry: &Entry,
        fact: &Fact,
        lease: &Lease,
    ) -> Result<(), Failure> {
        let (mut head, cached) = self.load(key).await?;
        let before = head.as_ref().and_then(|head| head.stored.decision.state.session.as_ref()).map(|s| s.id);
        let mut overtaken = 0;
        let head = loop {
            match head {
                // Whoever decided on a later fact had performed this one first.
                Some(head) if head.stored.answers > entry.seq => return Ok(()),
                // Decided already, by us before a crash or by another worker: carry on with it.
                Some(head) if head.stored.answers == entry.seq => break head,
                Some(_) | None => {}
            }
            let previous = head.as_ref().map_or(0, |head| head.seq);
            let state = head.map(|head| head.stored.decision.state);
            let stored = self.decide(key, entry, fact, state, cached).await?;
            let payload = stored.encode();
            match self.log.append_decision(key, previous, payload.clone()).await? {
                Chained::Appended(seq) => {
                    self.metrics.decided(&stored.decision, entry);
                    break Head { seq, stored, payload };
                }
                Chained::Moved => {
                    overtaken += 1;
                    if overtaken > OVERTAKEN_LIMIT {
                        return Err(Failure::soon("overtaken again and again"));
                    }
                    head = self.head(key).await?;
                }
            }
        };
        self.perform(key, entry, &head.stored, lease).await?;
        self.cache(key, &head).await;
        let state = &head.stored.decision.state;
        if let Some(session) = &state.session
            && (!cached || before != Some(session.id))
        {
            self.index(key, session.id, state, state.thread_id(key)).await;
        }
        Ok(())
    }

    async fn decide(
        &self,
        key: &ConversationKey,
        entry: &Entry,
        fact: &Fact,
        state: Option<Conversation>,
        cached: bool,
    ) -> Result<StoredDecision, Failure> {
        // What was under way when the conversation was erased may have begun a chain that knows
        // nobody: whoever writes then is met for the first time.
        let state = state.filter(|state| !state.number.as_str().is_empty());
        let number = match (&state, fact) {
            (Some(state), _) => state.number.clone(),
            (None, Fact::Inbound(message)) => message.number.clone(),
            (None, Fact::Adopted(before)) => before.number.clone(),
            (None, Fact::Outreach(outreach)) => outreach.number.clone(),
            (None, Fact::Consent { number, .. }) => number.clone(),
            // The log lost the conversation's beginning, or a stranger wrote the entry.
            (
                None,
                Fact::Answered(_)
                | Fact::Followed { .. }
                | Fact::Called { .. }
                | Fact::Salesforce(_)
                | Fact::Undelivered { .. }
                | Fact::Fired { .. }
                | Fact::Operator(_),
            ) => PhoneNumberId::new(""),
        };
        let state = state.unwrap_or_else(|| Conversation::new(number));
        let contact = match (state.contact, fact) {
            (Some(contact), Fact::Inbound(message)) => {
                // The directory follows what the customer shows, and is filled again when the cache
                // was lost.
                let shown = &message.customer;
                if !cached || shown.phone != state.customer.phone || shown.bsuid != state.customer.bsuid {
                    self.restore_contact(contact, message).await;
                }
                contact
            }
            (Some(contact), _) => contact,
            (None, _) => self.find_contact(key, fact).await,
        };
        let mut outreaches = Vec::new();
        if let Fact::Inbound(message) = fact {
            self.learn(contact, message).await;
            outreaches = self.outreaches(key, &state, message).await?;
        }
        let settings = self.settings.knowing(&state.number, entry.at).await;
        let channel = settings.channel(&state.number);
        let policy = channel.map(|channel| channel.policy.clone()).unwrap_or_default();
        let context = Context {
            key: *key,
            contact,
            policy: &policy,
            assistant_on: settings.assistant_answers(&state.number),
            has_team: channel.is_some_and(|channel| channel.integration.is_some()),
            routing: channel.is_some_and(|channel| channel.escalation_partner),
            outreaches: &outreaches,
        };
        let at = At { seq: entry.seq, time: entry.at };
        let decision = session::decide(state, at, fact, &context);
        Ok(StoredDecision { answers: entry.seq, policy_version: settings.version, decision })
    }

    /// One contact per person. When the directory is away the contact's derived id is proposed:
    /// the same for the same identity, so that nothing has to wait for a cache.
    async fn find_contact(&self, key: &ConversationKey, fact: &Fact) -> ContactId {
        let stranger = || ContactId(derive::uuid("stranger", &[key.as_bytes()]));
        let customer = if let Fact::Inbound(message) = fact {
            // A group is nobody: its members are not told apart at Salesforce.
            if let Some(group) = &message.context.group {
                return ContactId(derive::uuid("group", &[key.as_bytes(), group.as_bytes()]));
            }
            &message.customer
        } else if let Fact::Outreach(outreach) = fact {
            &outreach.customer
        } else {
            return stranger();
        };
        let Some(id) = customer.id() else { return stranger() };
        let proposed = self.keying.contact(&id);
        match self.store.find_or_create_contact(&self.keying, customer, proposed).await {
            Ok(found) => found.contact,
            Err(e) => {
                tracing::warn!(
                    error = runtime::error_chain(&e),
                    "contact directory away: deriving the contact"
                );
                proposed
            }
        }
    }

    async fn restore_contact(&self, contact: ContactId, message: &InboundMessage) {
        if message.context.group.is_some() || message.customer.id().is_none() {
            return;
        }
        if let Err(e) = self.store.restore_contact(&self.keying, contact, &message.customer).await {
            tracing::warn!(error = runtime::error_chain(&e), "contact directory not updated");
        }
    }

    /// What a message tells about the person beside who wrote it. Hints: the directory may be away.
    async fn learn(&self, contact: ContactId, message: &InboundMessage) {
        let content = &message.content;
        let learnt = if let Content::Identity(change) = content {
            self.store.alias_moved(&self.keying, contact, &change.before, &change.after).await.map(|_| ())
        } else if let Content::Contacts(cards) = content {
            // Only the card that the customer was asked for is surely their own.
            self.own_card(contact, cards.iter().find(|card| card.own)).await
        } else if let Content::Text(text) = content
            && let Some(email) = shared_email(text)
        {
            self.store.link_email(&self.keying, contact, email).await.map(|_| ())
        } else {
            Ok(())
        };
        if let Err(e) = learnt {
            tracing::warn!(error = runtime::error_chain(&e), "contact directory not updated");
        }
    }

    async fn own_card(&self, contact: ContactId, card: Option<&ContactCard>) -> Result<(), store::Error> {
        let Some(card) = card else { return Ok(()) };
        for phone in &card.phones {
            self.store.link_phone(&self.keying, contact, phone).await?;
        }
        for email in &card.emails {
            self.store.link_email(&self.keying, contact, email).await?;
        }
        Ok(())
    }

    async fn perform(
        &self,
        key: &ConversationKey,
        entry: &Entry,
        stored: &StoredDecision,
        lease: &Lease,
    ) -> Result<(), Failure> {
        let Decision { state, .. } = &stored.decision;
        for (cause, output) in stored.outputs() {
            match output {
                Output::Timer { at } => {
                    let fired = v1::entry::Body::TimerFired(v1::TimerFired { timer: cause.to_string() });
                    self.log.schedule(key, &cause.to_string(), *at, proto::encode(fired)).await?;
                }
                Output::Call(call) => {
                    if !lease.is_held() {
                        return Err(Failure::soon("the lease is lost"));
                    }
                    match self.calls.perform(&self.log, key, state, entry, cause, call).await? {
                        Outcome::Silent => {}
                        Outcome::Report(result, detail) => self.report(key, cause, result, detail).await?,
                    }
                }
                Output::Move(before) => self.carry_over(cause, before).await?,
                // A thread that is opened is counted when it is; one that comes from the customer's
                // earlier ids is live already.
                Output::Follow { thread } => {
                    if !matches!(state.owner, Owner::Opening(_)) {
                        self.calls.counted(state, *thread, true).await;
                    }
                }
                Output::Unfollow { thread } => self.calls.counted(state, *thread, false).await,
                Output::Consent { wanted } => self.tell_consent(key, state, cause, *wanted).await?,
                // The assistant's, egress's, and what is only for the record.
                Output::Ask(_)
                | Output::Send(_)
                | Output::Seen { .. }
                | Output::Control(_)
                | Output::Withheld { .. }
                | Output::Replied(_) => {}
            }
        }
        Ok(())
    }

    /// Into the conversation under the customer's new ids.
    async fn carry_over(&self, cause: domain::Cause, before: &Conversation) -> Result<(), Failure> {
        let customer =
            before.customer.id().ok_or_else(|| Failure::never("moved to a customer without an id"))?;
        let key = self.keying.conversation(&before.number, &customer);
        let body = v1::entry::Body::Adopted(v1::Adopted { state: Some(before.into()) });
        let subject = subjects::fact(&key, subjects::Kind::Adopted, &cause.to_string());
        self.log.append_fact(&subject, proto::encode(body), None).await?;
        Ok(())
    }

    /// The conversations of the customer's phone number, where they are not this one: what is sent by
    /// phone number is sent there.
    fn by_phone(&self, key: &ConversationKey, state: &Conversation, phone: &str) -> Vec<ConversationKey> {
        let keys = outreach::as_dialled(phone).into_iter().map(CustomerId::new);
        let keys = keys.map(|id| self.keying.conversation(&state.number, &id));
        keys.filter(|other| other != key).collect()
    }

    /// What was sent to the customer's phone number, oldest first. The decision to send it was stored
    /// before it went out, so before anybody could answer.
    async fn outreaches(
        &self,
        key: &ConversationKey,
        state: &Conversation,
        message: &InboundMessage,
    ) -> Result<Vec<Sent>, Failure> {
        let Customer { phone: Some(phone), bsuid: Some(_), .. } = &message.customer else {
            return Ok(Vec::new());
        };
        let in_session = state.session.is_some();
        if message.context.group.is_some()
            || !outreach::may_answer(message, state.customer_wrote_at, in_session)
        {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for other in self.by_phone(key, state, phone) {
            let head = self.head(&other).await?;
            found.extend(head.into_iter().flat_map(|head| head.stored.decision.state.outreaches));
        }
        found.sort_by_key(|sent| sent.at);
        Ok(found)
    }

    /// Campaigns are decided on in the conversation of the phone number.
    async fn tell_consent(
        &self,
        key: &ConversationKey,
        state: &Conversation,
        cause: domain::Cause,
        wanted: bool,
    ) -> Result<(), Failure> {
        let Customer { phone: Some(phone), bsuid: Some(_), .. } = &state.customer else { return Ok(()) };
        for other in self.by_phone(key, state, phone) {
            let phone_number_id = state.number.as_str().to_owned();
            let body = v1::entry::Body::Consent(v1::Consent { phone_number_id, wanted });
            let subject = subjects::fact(&other, subjects::Kind::Consent, &cause.to_string());
            self.log.append_fact(&subject, proto::encode(body), None).await?;
        }
        Ok(())
    }

    /// What a later decision depends on comes back as a fact.
    async fn report(
        &self,
        key: &ConversationKey,
        cause: domain::Cause,
        result: CallResult,
        detail: String,
    ) -> Result<(), Failure> {
        let result = match result {
            CallResult::Done => v1::call_result::Result::Done,
            CallResult::Unavailable => v1::call_result::Result::Unavailable,
            CallResult::Refused => v1::call_result::Result::Refused,
        };
        let body = v1::entry::Body::CallResult(v1::CallResult {
            call: cause.to_string(),
            result: result.into(),
            detail,
        });
        let subject = subjects::fact(key, subjects::Kind::Thread, &cause.to_string());
        self.log.append_fact(&subject, proto::encode(body), None).await?;
        Ok(())
    }

    /// The newest decision: from the cache, else from the log. The chain refuses whatever is made
    /// of a stale one.
    async fn load(&self, key: &ConversationKey) -> Result<(Option<Head>, bool), Failure> {
        match self.store.load_state(key).await {
            Ok(Some((seq, payload))) => match StoredDecision::decode(payload.clone()) {
                Ok(stored) => return Ok((Some(Head { seq, stored, payload }), true)),
                Err(e) => tracing::warn!(error = %e, "cached state unreadable"),
            },
            Ok(None) => {}
            Err(e) => tracing::debug!(error = runtime::error_chain(&e), "cache away"),
        }
        Ok((self.head(key).await?, false))
    }

    async fn head(&self, key: &ConversationKey) -> Result<Option<Head>, Failure> {
        let Some(entry) = self.log.head(key).await? else { return Ok(None) };
        let stored = StoredDecision::decode(entry.payload.clone()).map_err(Failure::never)?;
        Ok(Some(Head { seq: entry.seq, stored, payload: entry.payload }))
    }

    async fn cache(&self, key: &ConversationKey, head: &Head) {
        if let Err(e) = self.store.cache_state(key, head.seq, &head.payload).await {
            tracing::debug!(error = runtime::error_chain(&e), "state not cached");
        }
    }

    async fn index(
        &self,
        key: &ConversationKey,
        session: domain::SessionId,
        state: &Conversation,
        thread: Option<domain::ThreadId>,
    ) {
        if let Err(e) = self.store.index_session(key, session, thread, state.contact).await {
            tracing::debug!(error = runtime::error_chain(&e), "session not indexed");
        }
    }
}

/// The e-mail address in a text, if there is just one.
fn shared_email(text: &str) -> Option<&str> {
    let mut found = text
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '<' | '>' | '(' | ')' | '"'))
        .map(|word| word.trim_matches(['.', ':', '!', '?', '\'']))
        .filter(|word| is_email(word));
    found.next().filter(|_| found.next().is_none())
}

/// Like an address that people share: nothing exotic.
fn is_email(word: &str) -> bool {
    let Some((local, domain)) = word.rsplit_once('@') else { return false };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '%');
    let labels: Vec<&str> = domain.split('.').collect();
    word.len() <= 254
        && !local.is_empty()
        && local.chars().all(plain)
        && labels.len() >= 2
        && labels
            .iter()
            .all(|label| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-'))
        && labels.last().is_some_and(|top| top.chars().count() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shared_address_is_found() {
        for (text, email) in [
            ("my mail is dana.o+x@example.co.uk.", Some("dana.o+x@example.co.uk")),
            ("Mail: <a@b.de>", Some("a@b.de")),
            ("a@b.de or c@d.de?", None),
            ("meet me @ the shop", None),
            ("x@y", None),
        ] {
            assert_eq!(shared_email(text), email, "{text}");
        }
    }
}
