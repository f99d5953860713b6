//! Reads, and the few writes, on numbers, accounts, apps and templates (§3, §7.2, §8). Management
//! calls have a budget of their own, 200 an hour and account at worst (§10): not for the hot path.

use std::time::Duration;

use domain::{PhoneNumberId, WabaId, Wamid};
use http::StatusCode;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    App, Callback, Client, Doubt, Health, HistoryEvent, NumberNode, Refusal, SendError, SubscribedApp,
    Subscription, TemplateInfo, Templates, TokenInfo,
};

const NUMBER_FIELDS: &str = "id,display_phone_number,verified_name,status,quality_rating,\
    code_verification_status,name_status,platform_type,throughput,\
    whatsapp_business_manager_messaging_limit,webhook_configuration,account_mode,is_on_biz_app";
const TEMPLATE_FIELDS: &str =
    "name,language,status,category,parameter_format,components,quality_score,rejected_reason,id";
/// A page of a hundred templates with their examples.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;
const PAGE: usize = 100;
/// Of numbers: an account has 20 at most by default.
const MAX_NUMBERS: usize = 1_000;
/// The list changed while it was read (§7.2).
const STALE_CURSOR: i32 = 131_059;

/// Why a call about a number, an account or an app came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("reach the Graph API")]
    Unreachable(#[source] reqwest::Error),
    #[error("no answer from the Graph API in time")]
    TimedOut,
    #[error("the Graph API asks to slow down (code {code:?})")]
    Paced { retry_after: Option<Duration>, code: Option<i32> },
    #[error("the Graph API refused: {0}")]
    Refused(Refusal),
    #[error("the Graph API failed: HTTP {status}, code {code:?}, trace {trace:?}")]
    Failed { status: StatusCode, code: Option<i32>, trace: Option<String> },
    #[error("an unreadable answer, HTTP {status}")]
    Unreadable { status: StatusCode },
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent(error) | SendError::InDoubt(Doubt::Broken(error)) => Self::Unreachable(error),
            SendError::InDoubt(Doubt::TimedOut) => Self::TimedOut,
            SendError::InDoubt(Doubt::Failed { status, code, trace }) => Self::Failed { status, code, trace },
            SendError::InDoubt(Doubt::Unreadable { status }) => Self::Unreadable { status },
            SendError::Paced { retry_after, code, .. } => Self::Paced { retry_after, code },
            SendError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl CallError {
    /// What an operator reads, Meta's own words included.
    pub fn what(&self) -> String {
        match self {
            Self::Refused(refusal) => format!("{} (code {})", refusal.details, refusal.code),
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::Paced { .. }
            | Self::Failed { .. }
            | Self::Unreadable { .. } => self.to_string(),
        }
    }

    /// What an operator can do about it.
    pub fn how_to_mend(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => match refusal.remedy().operator {
                "" => "Look the code up at Meta.",
                operator => operator,
            },
            Self::Unreachable(_) | Self::TimedOut => {
                "See whether this machine reaches GRAPH_URL, and Meta's status page."
            }
            Self::Paced { .. } | Self::Failed { .. } => "Try again later.",
            Self::Unreadable { .. } => "See whether GRAPH_URL is the Graph API's, with its version.",
        }
    }
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
    #[serde(default)]
    paging: Paging,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Paging {
    cursors: Cursors,
    /// An address, which is not followed: whether there is one is what counts.
    next: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cursors {
    after: Option<String>,
}

#[derive(Deserialize)]
struct Success {
    success: bool,
}

#[derive(Serialize)]
struct Subscribe<'a> {
    override_callback_uri: &'a str,
    verify_token: &'a str,
}

#[derive(Deserialize)]
struct HealthNode {
    #[serde(default)]
    health_status: Health,
}

#[derive(Deserialize)]
struct MessageNode {
    #[serde(default)]
    events: Option<Data<Vec<HistoryEvent>>>,
}

impl Client {
    /// Whether `token` is valid, and what it may do. `with`: the app's own token where its secret is
    /// known, else the token itself.
    pub async fn debug_token(
        &self,
        token: &SecretString,
        with: Option<&App>,
    ) -> Result<TokenInfo, CallError> {
        let request =
            self.http.get(self.path(&["debug_token"])).query(&[("input_token", token.expose_secret())]);
        let request = match with {
            Some(app) => as_app(request, app),
            None => request.bearer_auth(token.expose_secret()),
        };
        self.read::<Data<TokenInfo>>(request).await.map(|answer| answer.data)
    }

    pub async fn phone_number(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
    ) -> Result<NumberNode, CallError> {
        self.read(self.reading(&[number.as_str()], token).query(&[("fields", NUMBER_FIELDS)])).await
    }

    /// The numbers of an account, at most a thousand.
    pub async fn waba_phone_numbers(
        &self,
        waba: &WabaId,
        token: &SecretString,
    ) -> Result<Vec<NumberNode>, CallError> {
        let path = [waba.as_str(), "phone_numbers"];
        self.pages(&path, token, None, MAX_NUMBERS).await.map(|(numbers, _)| numbers)
    }

    /// The apps that get an account's events.
    pub async fn subscribed_apps(
        &self,
        waba: &WabaId,
        token: &SecretString,
    ) -> Result<Vec<SubscribedApp>, CallError> {
        let request = self.reading(&[waba.as_str(), "subscribed_apps"], token);
        self.read::<Data<_>>(request).await.map(|answer| answer.data)
    }

    /// Lets the token's app have the account's events, at `callback` instead of the app's own address
    /// where given. Safe to repeat.
    pub async fn subscribe_app(
        &self,
        waba: &WabaId,
        token: &SecretString,
        callback: Option<&Callback>,
    ) -> Result<(), CallError> {
        let url = self.path(&[waba.as_str(), "subscribed_apps"]);
        let mut request = self.http.post(url).bearer_auth(token.expose_secret());
        if let Some(Callback { url, verify_token }) = callback {
            request = request.json(&Subscribe {
                override_callback_uri: url.as_str(),
                verify_token: verify_token.expose_secret(),
            });
        }
        self.done(request).await
    }

    /// The token's app gets no more events of the account.
    pub async fn unsubscribe_app(&self, waba: &WabaId, token: &SecretString) -> Result<(), CallError> {
        let url = self.path(&[waba.as_str(), "subscribed_apps"]);
        self.done(self.http.delete(url).bearer_auth(token.expose_secret())).await
    }

    /// Which fields the app is told of: `subscribed_apps` does not say.
    pub async fn app_subscriptions(&self, app: &App) -> Result<Vec<Subscription>, CallError> {
        let request = as_app(self.http.get(self.path(&[&app.id, "subscriptions"])), app);
        self.read::<Data<_>>(request).await.map(|answer| answer.data)
    }

    /// The account's templates, `max` at most (an account has 250, or 6,000 when verified).
    pub async fn templates(
        &self,
        waba: &WabaId,
        token: &SecretString,
        max: usize,
    ) -> Result<Templates, CallError> {
        let path = [waba.as_str(), "message_templates"];
        let read = || self.pages::<TemplateInfo>(&path, token, Some(TEMPLATE_FIELDS), max);
        let (list, more) = match read().await {
            Err(CallError::Refused(refusal)) if refusal.code == STALE_CURSOR => read().await?,
            result => result?,
        };
        Ok(Templates { list, more })
    }

    /// One of them; none: there is no such template in that language.
    pub async fn template(
        &self,
        waba: &WabaId,
        token: &SecretString,
        name: &str,
        language: &str,
    ) -> Result<Option<TemplateInfo>, CallError> {
        let request = self.reading(&[waba.as_str(), "message_templates"], token);
        // In all its languages: fewer than a page.
        let query = [("fields", TEMPLATE_FIELDS), ("name", name)];
        let request = request.query(&query).query(&[("limit", PAGE)]);
        let Data { data, .. } = self.read::<Data<Vec<TemplateInfo>>>(request).await?;
        Ok(data.into_iter().find(|template| template.name == name && template.language == language))
    }

    /// `node`: a number, an account or a template.
    pub async fn health_status(&self, node: &str, token: &SecretString) -> Result<Health, CallError> {
        let request = self.reading(&[node], token).query(&[("fields", "health_status")]);
        self.read::<HealthNode>(request).await.map(|node| node.health_status)
    }

    /// What became of one of our messages, and of the webhooks about it: for repair after an outage.
    pub async fn message_history(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        wamid: &Wamid,
    ) -> Result<Vec<HistoryEvent>, CallError> {
        let request = self.reading(&[number.as_str(), "message_history"], token);
        let request = request.query(&[("message_id", wamid.as_str())]);
        let messages: Data<Vec<MessageNode>> = self.read(request).await?;
        let events = messages.data.into_iter().filter_map(|message| message.events);
        Ok(events.flat_map(|events| events.data).collect())
    }

    /// Removes an uploaded file at Meta's.
    pub async fn delete_media(
        &self,
        number: &PhoneNumberId,
        token: &SecretString,
        media: &str,
    ) -> Result<(), CallError> {
        let request = self.http.delete(self.path(&[media]));
        let request = request.query(&[("phone_number_id", number.as_str())]);
        self.done(request.bearer_auth(token.expose_secret())).await
    }

    fn reading(&self, path: &[&str], token: &SecretString) -> RequestBuilder {
        self.http.get(self.path(path)).bearer_auth(token.expose_secret())
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let (status, answer) = self.answered_within(request, MAX_PAGE_BYTES).await?;
        serde_json::from_slice(&answer).map_err(|_| CallError::Unreadable { status })
    }

    async fn done(&self, request: RequestBuilder) -> Result<(), CallError> {
        match self.read::<Success>(request).await? {
            Success { success: true } => Ok(()),
            Success { success: false } => {
                Err(CallError::Failed { status: StatusCode::OK, code: None, trace: None })
            }
        }
    }

    /// `max` entries at most, and whether there are more.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &[&str],
        token: &SecretString,
        fields: Option<&str>,
        max: usize,
    ) -> Result<(Vec<T>, bool), CallError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        // A page may be short, or empty: their number is bounded too.
        for _ in 0..=max.div_ceil(PAGE) {
            let mut request = self.reading(path, token).query(&[("limit", PAGE)]);
            for (name, value) in [("fields", fields), ("after", after.as_deref())] {
                if let Some(value) = value {
                    request = request.query(&[(name, value)]);
                }
            }
            let Data { data, paging } = self.read::<Data<Vec<T>>>(request).await?;
            all.extend(data);
            let (Some(_), Some(cursor)) = (paging.next, paging.cursors.after) else {
                let more = all.len() > max;
                all.truncate(max);
                return Ok((all, more));
            };
            if all.len() >= max {
                break;
            }
            after = Some(cursor);
        }
        all.truncate(max);
        Ok((all, true))
    }
}

/// With the app's own token (<https://developers.facebook.com/docs/facebook-login/guides/access-tokens#apptokens>).
fn as_app(request: RequestBuilder, app: &App) -> RequestBuilder {
    request.bearer_auth(format!("{}|{}", app.id, app.secret.expose_secret()))
}
