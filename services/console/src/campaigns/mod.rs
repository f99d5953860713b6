//! Campaigns: made, given an audience, started, watched. Pages and API over what the broker keeps of them;
//! the service `campaigns` does the sending.

mod api;
mod causes;
mod form;
mod pages;
mod people;
mod plot;
mod stream;

use std::sync::Arc;

use bus::Log;
use campaign::{
    Campaigns, Category, Command, Error, HeaderUse, NotNow, OptOuts, Reading, Reason, State, Stored, Summary,
};
use domain::{ConversationKey, PhoneNumberId, Seq, derive::Keying, message::Customer, outreach::CampaignId};
use futures::stream::unfold;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncRead,
    sync::{OnceCell, Semaphore},
};
use tokio_util::{io::StreamReader, sync::CancellationToken};

use self::people::Filter;
pub(crate) use self::{api::api, pages::router};
use crate::{
    board::now,
    error::RouteError,
    lookup::Lookup,
    messages::{HeaderFile, Rejected},
};

/// Of an uploaded list, in bytes: a million rows of half a kilobyte.
const MAX_UPLOAD_BYTES: usize = 512 * 1024 * 1024;
/// Pages that are kept current at a time.
const MOST_LIVE: usize = 200;

/// Opened when first used: the bucket may be made by a service that starts later. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Inner>);

struct Inner {
    log: Log,
    keying: Keying,
    campaigns: OnceCell<Campaigns>,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Kept {
    pub(crate) fn new(log: Log, keying: Keying, shutdown: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(MOST_LIVE));
        Self(Arc::new(Inner { log, keying, campaigns: OnceCell::new(), places, shutdown }))
    }

    async fn campaigns(&self) -> Result<&Campaigns, Rejected> {
        Ok(self.0.campaigns.get_or_try_init(async || Campaigns::open(&self.0.log).await).await?)
    }

    async fn get(&self, id: &str) -> Result<Stored, Rejected> {
        let found = self.campaigns().await?.get(parse(id)?).await?;
        Ok(found.ok_or(RouteError::UnknownCampaign)?)
    }

    async fn progress(&self, id: CampaignId) -> Result<Option<Summary>, Rejected> {
        Ok(self.campaigns().await?.progress(id).await?)
    }

    /// The file of its template's header.
    async fn set_header(&self, id: &str, file: &HeaderFile, by: &str) -> Result<Stored, Rejected> {
        let id = parse(id)?;
        let header = HeaderUse::from(file);
        let changed = self.campaigns().await?.change(id, |definition| {
            if !definition.state.is_open() {
                return Err(NotNow("a campaign that was started keeps its header".into()).into());
            }
            definition.plan.template.header = Some(header.clone());
            definition.state = State::Draft;
            definition.record(by, "header's file uploaded", now());
            Ok(())
        });
        Ok(changed.await?)
    }

    async fn delete(&self, id: &str, revision: Seq, by: &str) -> Result<(), Rejected> {
        let id = parse(id)?;
        self.campaigns().await?.delete(id, revision).await?;
        tracing::info!(by, campaign = %id, "campaign removed");
        Ok(())
    }

    /// `by`: for the record.
    async fn act(&self, id: &str, action: Action, by: &str) -> Result<Stored, Rejected> {
        let id = parse(id)?;
        let stored = self.campaigns().await?.command(id, &action.command(), by, now()).await?;
        tracing::info!(by, campaign = %id, action = action.as_str(), "campaign");
        Ok(stored)
    }

    /// Whoever the filter means now becomes the audience.
    async fn pick(
        &self,
        id: &str,
        filter: Filter,
        lookup: &Lookup,
        by: &str,
    ) -> Result<campaign::Report, Rejected> {
        let stored = self.get(id).await?;
        let own = stored.definition.plan.number.clone();
        let number = filter.number.as_deref().filter(|number| !number.is_empty());
        let number = number.map_or(own, PhoneNumberId::new);
        let what = filter.told();
        let (rows, writing) = people::list(lookup, filter, number, now());
        let rows = unfold(rows, async |mut rows| Some((rows.recv().await?, rows)));
        let file = StreamReader::new(Box::pin(rows));
        let (report, ()) = tokio::join!(self.upload(id, file, "", by), writing);
        let report = report?;
        let id = parse(id)?;
        let noted = self.campaigns().await?.change(id, |definition| {
            definition.record(by, format!("audience picked: {what}"), now());
            Ok(())
        });
        noted.await?;
        Ok(report)
    }

    async fn upload(
        &self,
        id: &str,
        file: impl AsyncRead + Unpin + Send,
        country: &str,
        by: &str,
    ) -> Result<campaign::Report, Rejected> {
        let id = parse(id)?;
        let country = match country.trim() {
            "" => None,
            code => Some(code.parse().map_err(|_| RouteError::UnknownCountry)?),
        };
        let opted_out = self.opted_out(id).await?;
        let reading = Reading { country, opted_out: opted_out.as_ref() };
        let report = self.campaigns().await?.upload(id, file, reading, by, now()).await?;
        let (accepted, rejected) = (report.accepted, report.rejected);
        tracing::info!(by, campaign = %id, accepted, rejected, "audience uploaded");
        Ok(report)
    }
}

impl Kept {
    /// Takes people out of all audiences.
    pub(crate) async fn erase(&self, people: &[Customer]) -> Result<usize, RouteError> {
        let erased = async { Ok::<_, Rejected>(self.campaigns().await?.erase(people).await?) };
        erased.await.map_err(|rejected| rejected.error)
    }

    /// Remembers without a name that nobody wants marketing in this conversation.
    pub(crate) async fn suppress(&self, key: &ConversationKey) -> Result<(), RouteError> {
        let kept = async { Ok::<_, Rejected>(self.campaigns().await?.suppress(key).await?) };
        kept.await.map_err(|rejected| rejected.error)
    }

    pub(crate) async fn is_suppressed(&self, key: &ConversationKey) -> Result<bool, RouteError> {
        let asked = async { Ok::<_, Rejected>(self.campaigns().await?.is_suppressed(key).await?) };
        asked.await.map_err(|rejected| rejected.error)
    }

    /// Who is not to get it; none where everybody is: it is no marketing.
    async fn opted_out(&self, id: CampaignId) -> Result<Option<OptOuts>, Rejected> {
        let stored = self.campaigns().await?.get(id).await?.ok_or(RouteError::UnknownCampaign)?;
        let plan = &stored.definition.plan;
        if plan.template.category != Category::Marketing || !stored.definition.state.is_open() {
            return Ok(None);
        }
        Ok(Some(OptOuts::read(&self.0.log, self.campaigns().await?, &self.0.keying, &plan.number).await?))
    }
}

fn parse(id: &str) -> Result<CampaignId, RouteError> {
    id.parse().map_err(|_| RouteError::UnknownCampaign)
}

/// What people do to a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Ask Meta about the template, without starting.
    Validate,
    Start,
    /// Start at the schedule's time.
    Schedule,
    Pause,
    Resume,
    Cancel,
}

impl Action {
    const ALL: [Self; 6] =
        [Self::Validate, Self::Start, Self::Schedule, Self::Pause, Self::Resume, Self::Cancel];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Validate => "Check it",
            Self::Start => "Start now",
            Self::Schedule => "Start as scheduled",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Cancel => "Cancel for good",
        }
    }

    const fn command(self) -> Command {
        match self {
            Self::Validate => Command::Validate,
            Self::Start => Command::Start,
            Self::Schedule => Command::Schedule,
            Self::Pause => Command::Pause,
            Self::Resume => Command::Resume,
            Self::Cancel => Command::Cancel,
        }
    }

    /// What makes sense now.
    fn of(stored: &Stored) -> Vec<Self> {
        let definition = &stored.definition;
        let has_audience = definition.audience.as_ref().is_some_and(|audience| audience.rows > 0);
        let has_time = definition.plan.schedule.start_at.is_some();
        let fits = |action: &Self| match (action, &definition.state) {
            (Self::Validate, State::Draft) | (Self::Start, State::Draft | State::Ready) => has_audience,
            (Self::Schedule, State::Draft | State::Ready) => has_audience && has_time,
            (Self::Start, State::Scheduled)
            | (Self::Pause, State::Running | State::Scheduled)
            | (Self::Resume, State::Paused { .. }) => true,
            (Self::Cancel, state) => !state.is_over(),
            (Self::Validate | Self::Start | Self::Schedule | Self::Pause | Self::Resume, _) => false,
        };
        Self::ALL.into_iter().filter(fits).collect()
    }
}

/// Rows that were not taken, by reason.
fn reasons(report: &campaign::Report) -> Vec<(&'static str, u32)> {
    report.reasons.iter().map(|(reason, count): (&Reason, &u32)| (reason.as_str(), *count)).collect()
}

impl From<Error> for Rejected {
    fn from(error: Error) -> Self {
        let problems = match &error {
            Error::NotNow(NotNow(why)) => why.split("; ").map(str::to_owned).collect(),
            Error::Unusable(why) => vec![why.to_string()],
            Error::Unknown | Error::Changed | Error::Busy | Error::Malformed | Error::Broker(_) => Vec::new(),
        };
        let error = match error {
            Error::Unknown => RouteError::UnknownCampaign,
            Error::Changed => RouteError::CampaignChanged,
            Error::NotNow(_) => RouteError::NotNow,
            Error::Busy => RouteError::UploadBusy,
            Error::Unusable(_) => RouteError::AudienceUnusable,
            Error::Malformed => RouteError::Internal,
            Error::Broker(error) => error.into(),
        };
        Self { error, problems }
    }
}
