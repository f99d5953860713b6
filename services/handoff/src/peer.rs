//! The other side: one person's conversation at Salesforce, with a token that is renewed when it
//! is refused.

use std::sync::Arc;

use domain::{EntryId, ThreadId};
use salesforce::{AttachmentLimits, Client, Created, Error, FileUpload, NewSession, Receipt};
use tokens::{Access, Held};
use tracing::Instrument as _;
use uuid::Uuid;

pub(crate) struct Peer {
    access: Access,
}

impl Peer {
    pub(crate) fn new(access: Access) -> Self {
        Self { access }
    }

    /// 409 is ours from an earlier try. Whether it is ours at all shows with the header: a
    /// stranger's conversation answers 403.
    pub(crate) async fn create(&self, thread: ThreadId, fresh: &NewSession) -> Result<Created, Error> {
        self.call("create conversation", |held| async move {
            self.client().create_conversation(&held.token, thread, fresh).await
        })
        .await
    }

    pub(crate) async fn send(
        &self,
        thread: ThreadId,
        id: Uuid,
        text: &str,
        fresh: Option<&NewSession>,
    ) -> Result<(), Error> {
        self.call("send message", |held| async move {
            self.client().send_text(&held.token, thread, id, text, fresh).await
        })
        .await
        .map(|_| ())
    }

    /// What the org takes as attachments.
    pub(crate) async fn attachment_limits(&self) -> Result<AttachmentLimits, Error> {
        Ok(self.access.token().await?.token.attachments)
    }

    pub(crate) async fn send_file(
        &self,
        thread: ThreadId,
        id: Uuid,
        file_id: Uuid,
        file: &FileUpload<'_>,
    ) -> Result<(), Error> {
        self.call("send file", |held| async move {
            self.client().send_file(&held.token, thread, id, file_id, file, None).await
        })
        .await
        .map(|_| ())
    }

    /// The customer's choice among what a rep or a bot offered.
    pub(crate) async fn choose(
        &self,
        thread: ThreadId,
        id: Uuid,
        offered_in: Uuid,
        option: &str,
        title: &str,
    ) -> Result<(), Error> {
        self.call("send choice", |held| async move {
            self.client().send_choice(&held.token, thread, id, offered_in, option, title).await
        })
        .await
        .map(|_| ())
    }

    pub(crate) async fn acknowledge(
        &self,
        thread: ThreadId,
        ack: (Uuid, Receipt, EntryId),
    ) -> Result<(), Error> {
        let acks = [ack];
        let acks = acks.as_slice();
        self.call("acknowledge entries", |held| async move {
            self.client().acknowledge(&held.token, thread, acks).await
        })
        .await
    }

    pub(crate) async fn end(&self, thread: ThreadId) -> Result<(), Error> {
        self.call("end session", |held| async move { self.client().end_session(&held.token, thread).await })
            .await
            .map(|_| ())
    }

    fn client(&self) -> &Client {
        &self.access.org().client
    }

    /// One span per call to the outside; a refused token is renewed and the call repeated once.
    async fn call<T, F: Future<Output = Result<T, Error>> + Send>(
        &self,
        name: &'static str,
        call: impl Fn(Arc<Held>) -> F + Send,
    ) -> Result<T, Error> {
        let span = tracing::info_span!("salesforce", otel.name = name, otel.kind = "client");
        async {
            let held = self.access.token().await?;
            match call(Arc::clone(&held)).await {
                Err(Error::Unauthorized { .. }) => call(self.access.renewed(&held).await?).await,
                answer => answer,
            }
        }
        .instrument(span)
        .await
    }
}
