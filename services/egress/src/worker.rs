//! Handles the log's entries. Two readers, so that neither waits for the other: while WhatsApp
//! takes nothing and a conversation's sends stand still, its threads are followed all the same.

use std::sync::Arc;

use bus::{Entry, Failure, Handler, Lease, Log};
use domain::{
    ConversationKey, Partition,
    session::{Call, Output},
};
use proto::{StoredDecision, subjects::Kind};
use runtime::settings::Live;

use crate::{
    follower::Followers,
    sender::{self, Sender},
    threads::Following as Followed,
};

/// Decisions say what to send, statuses what became of it.
pub(crate) struct Sending {
    pub(crate) settings: Live,
    pub(crate) sender: Sender,
}

/// Decisions say which threads to follow.
pub(crate) struct Following {
    pub(crate) log: Log,
    pub(crate) followers: Arc<Followers>,
}

impl Handler for Sending {
    async fn handle(&self, entry: &Entry, lease: &Lease) -> Result<(), Failure> {
        let address =
            entry.address.as_ref().ok_or_else(|| Failure::never("the subject is not a conversation's"))?;
        match address.kind {
            Kind::Decision => self.decision(&address.key, entry, lease).await,
            Kind::Status => {
                let status = sender::status_in(entry.payload.clone());
                let status = status.ok_or_else(|| Failure::never("not a status"))?;
                self.sender.status(&address.key, &status).await
            }
            Kind::WhatsApp
            | Kind::Assistant
            | Kind::Thread
            | Kind::Salesforce
            | Kind::Undelivered
            | Kind::Send
            | Kind::Timer
            | Kind::Media
            | Kind::Adopted
            | Kind::Operator
            | Kind::Outreach
            | Kind::Consent => Ok(()),
        }
    }
}

impl Handler for Following {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        let address =
            entry.address.as_ref().ok_or_else(|| Failure::never("the subject is not a conversation's"))?;
        let stored = StoredDecision::decode(entry.payload.clone()).map_err(Failure::never)?;
        self.followers.decided(address.key, entry.seq, Followed::of(&stored.decision.state));
        let to_the_rep = |output: &Output| {
            matches!(output, Output::Follow { .. } | Output::Call(Call::Open { .. } | Call::Forward { .. }))
        };
        if stored.decision.outputs.iter().any(to_the_rep) {
            self.followers.forwarded(&address.key, &entry.trace);
        }
        Ok(())
    }

    async fn claimed(&self, partition: Partition, _lease: &Lease) -> Result<(), Failure> {
        for head in self.log.heads(partition).await? {
            let Some(address) = &head.address else { continue };
            // One that cannot be read stops nobody else; it is reported when it is handled.
            if let Ok(stored) = StoredDecision::decode(head.payload.clone()) {
                self.followers.decided(address.key, head.seq, Followed::of(&stored.decision.state));
            }
        }
        Ok(())
    }

    async fn released(&self, partition: Partition) {
        self.followers.released(partition);
    }
}

impl Sending {
    async fn decision(&self, key: &ConversationKey, entry: &Entry, lease: &Lease) -> Result<(), Failure> {
        let stored = StoredDecision::decode(entry.payload.clone()).map_err(Failure::never)?;
        let state = &stored.decision.state;
        let settings = self.settings.knowing(&state.number, entry.at).await;
        let channel = || {
            let channel = settings.channel(&state.number);
            channel
                .ok_or_else(|| Failure::never("the settings have no channel for the number that is to send"))
        };
        for (_, output) in stored.outputs() {
            match output {
                Output::Send(send) => {
                    // Boxed: most decisions send nothing.
                    let delivered = self.sender.deliver(key, entry.seq, state, channel()?, send, lease);
                    Box::pin(delivered).await?;
                }
                Output::Seen { wamid, typing } => {
                    self.sender.seen(state, channel()?, wamid, *typing, entry.at).await;
                }
                Output::Control(action) => self.sender.control(state, channel()?, *action).await,
                // Handoff's and the assistant's; what is followed, the state says.
                Output::Ask(_)
                | Output::Move(_)
                | Output::Follow { .. }
                | Output::Unfollow { .. }
                | Output::Call(_)
                | Output::Timer { .. }
                | Output::Withheld { .. }
                | Output::Replied(_)
                | Output::Consent { .. } => {}
            }
        }
        Ok(())
    }
}
