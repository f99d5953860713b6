//! What passes and is not kept: that the customer writes (§6).

use domain::ThreadId;
use http::Method;
use serde_json::json;
use uuid::Uuid;

use super::{AccessToken, Client, Error};

impl Client {
    /// The customer began to write, or stopped. A courtesy: not to be tried again, and at most one
    /// `started` in 5 s, which is as long as it is shown. `entry` is ours.
    pub async fn typing(
        &self,
        token: &AccessToken,
        id: ThreadId,
        entry: Uuid,
        started: bool,
    ) -> Result<(), Error> {
        let kind = if started { "TypingStartedIndicator" } else { "TypingStoppedIndicator" };
        let url = self.url(&["conversation", &id.to_string(), "entry"]);
        let call = self.request(Method::POST, url, token).json(&json!({ "entryType": kind, "id": entry }));
        self.call("POST /conversation/{id}/entry", call).await.map(|_| ())
    }
}
