//! What is nice to have: read marks, typing indicators, and telling other responders who has the
//! thread. Tried once; nothing is lost with it.

use std::time::Duration;

use domain::{
    Wamid,
    session::{ControlAction, Conversation},
    settings::Channel,
};
use runtime::fields;
use whatsapp::client::Control;

use super::{Sender, recipient};

/// A typing indicator that is older than this shows nothing that is true.
const FRESH: Duration = Duration::from_secs(10);

impl Sender {
    /// `decided_at`: when, by the log's clock.
    pub(crate) async fn seen(
        &self,
        state: &Conversation,
        channel: &Channel,
        wamid: &Wamid,
        typing: bool,
        decided_at: domain::Millis,
    ) {
        if runtime::age(decided_at) > FRESH || !self.ledger_on {
            return;
        }
        let shown = self.whatsapp.mark_read(&state.number, &channel.access_token, wamid, typing).await;
        if let Err(error) = shown {
            tracing::debug!({ fields::ERROR } = runtime::error_chain(&error), "not shown as read");
        }
    }

    /// `session`: the trace key, for the other responder.
    pub(crate) async fn control(&self, state: &Conversation, channel: &Channel, action: ControlAction) {
        let Some(to) = recipient(state) else { return };
        let control = match action {
            ControlAction::Take => Control::Take,
            ControlAction::Release => Control::Release,
        };
        let session = state.session.as_ref().map(|session| session.id.to_string()).unwrap_or_default();
        let token = &channel.access_token;
        let done = self.whatsapp.thread_control(&state.number, token, &to, control, &session).await;
        if let Err(error) = done {
            tracing::warn!(
                { fields::ERROR } = runtime::error_chain(&error),
                ?action,
                "the thread did not change hands"
            );
        }
    }
}
