//! Where campaigns are kept: definitions and progress in a KV bucket (`BATON_CAMPAIGNS`), recipients
//! and snapshots in an object store (`BATON_AUDIENCES`). Each change is a compare-and-swap.

use std::{sync::Arc, time::Duration};

use bus::{Log, MediaStore, News, Records, Replaced};
use bytes::Bytes;
use domain::{Millis, Seq, outreach::CampaignId};
use futures::{Stream, TryStreamExt as _, stream};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::AsyncRead, sync::Semaphore};

use crate::{
    audience::{self, Reading, Recipient, Upload},
    csv,
    definition::{Audience, Command, Definition, NotNow, Plan},
    progress::{Cursor, Progress, Summary},
    report::{Report, Unusable},
};

const DEFINITIONS: &str = "c";
const PROGRESS: &str = "p";
const OTHERS: &str = "x";
/// A snapshot of a million recipients has 2 MB; the rest is room for the summary.
const SNAPSHOT_LIMIT: u64 = 4 << 20;
/// Changes that somebody else made in between are taken in so often.
const TRIES: usize = 8;
/// Lost announcements are made up for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such campaign")]
    Unknown,
    /// Somebody else changed it meanwhile; that stays.
    #[error("the campaign was changed by somebody else meanwhile")]
    Changed,
    #[error(transparent)]
    NotNow(#[from] NotNow),
    #[error("another file is being read here; try again when it is done")]
    Busy,
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("what is kept of the campaign cannot be read")]
    Malformed,
    #[error("the campaigns in the broker")]
    Broker(#[from] bus::Error),
}

/// A campaign, and the revision that a change of it is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub definition: Definition,
    pub revision: Seq,
}

/// All campaigns of the deployment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Campaigns {
    records: Records,
    pub(crate) objects: MediaStore,
    uploads: Arc<Semaphore>,
}

/// Where a snapshot lies, beside what is shown.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
struct Kept {
    object: String,
    summary: Summary,
}

impl Campaigns {
    /// # Errors
    /// When the broker cannot be reached, or its bucket is not safe.
    pub async fn open(log: &Log) -> Result<Self, Error> {
        let (records, objects) = (log.campaigns().await?, log.audiences().await?);
        Ok(Self { records, objects, uploads: Arc::new(Semaphore::new(1)) })
    }

    /// Keeps a new campaign, as a draft.
    ///
    /// # Errors
    /// [`Error::NotNow`]: the plan cannot be used, with everything that is wrong.
    pub async fn create(&self, plan: Plan, who: &str, now: Millis) -> Result<Stored, Error> {
        check(&plan)?;
        let nonce = [fastrand::u64(..), fastrand::u64(..)].map(u64::to_be_bytes).concat();
        let id = CampaignId(domain::derive::uuid("campaign", &[&nonce, &now.to_be_bytes()]));
        let definition = Definition::new(id, plan, who, now);
        self.keep(definition, 0).await
    }

    /// All of them, the newest first.
    pub async fn list(&self) -> Result<Vec<Stored>, Error> {
        let mut all = Vec::new();
        for (_, revision) in self.records.all(DEFINITIONS).await? {
            all.push(Stored { definition: read(&revision.payload)?, revision: revision.revision });
        }
        let created = |stored: &Stored| stored.definition.history.first().map_or(0, |change| change.at);
        all.sort_by_key(|stored| (std::cmp::Reverse(created(stored)), stored.definition.id));
        Ok(all)
    }

    /// Of all of them, also of some that were deleted.
    pub async fn ids(&self) -> Result<Vec<CampaignId>, Error> {
        let keys = self.records.keys(DEFINITIONS).await?;
        let id = |key: &String| key.split_once('.').and_then(|(_, id)| id.parse().ok());
        Ok(keys.iter().filter_map(id).collect())
    }

    pub async fn get(&self, id: CampaignId) -> Result<Option<Stored>, Error> {
        let found = self.records.get(&key(DEFINITIONS, id)).await?;
        let found = found.filter(|revision| !revision.payload.is_empty());
        let stored = |revision: bus::Revision| {
            Ok::<_, Error>(Stored { definition: read(&revision.payload)?, revision: revision.revision })
        };
        found.map(stored).transpose()
    }

    /// Another plan for a campaign that was not started, if it is still at `revision`. It has to be
    /// looked at again.
    pub async fn edit(
        &self,
        id: CampaignId,
        revision: Seq,
        plan: Plan,
        who: &str,
        now: Millis,
    ) -> Result<Stored, Error> {
        check(&plan)?;
        let Stored { mut definition, revision: by_now } = self.get(id).await?.ok_or(Error::Unknown)?;
        if by_now != revision {
            return Err(Error::Changed);
        }
        open(&definition)?;
        definition.plan = plan;
        definition.state = crate::State::Draft;
        definition.record(who, "edited", now);
        self.keep(definition, revision).await
    }

    /// Starts, pauses, … : whatever `command` says, on whatever revision is the newest.
    ///
    /// # Errors
    /// [`Error::NotNow`], with the reason: not in this state, or something is missing.
    pub async fn command(
        &self,
        id: CampaignId,
        command: &Command,
        who: &str,
        now: Millis,
    ) -> Result<Stored, Error> {
        self.change(id, |definition| Ok(definition.command(command, who, now)?)).await
    }

    /// As [`Self::command`], for any change of one's own.
    pub async fn change(
        &self,
        id: CampaignId,
        mut change: impl FnMut(&mut Definition) -> Result<(), Error>,
    ) -> Result<Stored, Error> {
        for _ in 0..TRIES {
            let stored = self.get(id).await?.ok_or(Error::Unknown)?;
            let mut definition = stored.definition.clone();
            change(&mut definition)?;
            if definition == stored.definition {
                return Ok(stored);
            }
            match self.keep(definition, stored.revision).await {
                Err(Error::Changed) => {}
                other => return other,
            }
        }
        Err(Error::Changed)
    }

    /// Removes a campaign that does not go on, and its recipients.
    pub async fn delete(&self, id: CampaignId, revision: Seq) -> Result<(), Error> {
        let stored = self.get(id).await?.ok_or(Error::Unknown)?;
        let Definition { state, audience, .. } = &stored.definition;
        if !state.is_open() && !state.is_over() {
            return Err(NotNow(format!("a campaign that is {} cannot be deleted", state.as_str())).into());
        }
        match self.records.replace(&key(DEFINITIONS, id), revision, Bytes::new()).await? {
            Replaced::Stored(_) => {}
            Replaced::Changed { .. } => return Err(Error::Changed),
        }
        if let Some(kept) = self.kept(id).await? {
            self.records.replace(&key(PROGRESS, id), kept.1, Bytes::new()).await?;
            self.objects.delete(&kept.0.object).await?;
        }
        if let Some(audience) = audience {
            self.forget(id, audience).await;
        }
        Ok(())
    }

    /// Reads a CSV file of recipients and makes it the campaign's audience. The file is checked while it
    /// comes: every row that is not taken is in the report and can be downloaded ([`Self::rejected`]).
    ///
    /// # Errors
    /// [`Error::Busy`]: one file at a time in a process; [`Error::Unusable`]: nothing was taken, the
    /// audience before stays.
    pub async fn upload(
        &self,
        id: CampaignId,
        file: impl AsyncRead + Unpin + Send,
        reading: Reading<'_>,
        who: &str,
        now: Millis,
    ) -> Result<Report, Error> {
        let _turn = self.uploads.try_acquire().map_err(|_| Error::Busy)?;
        let stored = self.get(id).await?.ok_or(Error::Unknown)?;
        open(&stored.definition)?;
        let name = format!("{now:x}-{:x}", fastrand::u32(..));
        let template = stored.definition.plan.template.clone();
        let mut upload = Upload::new(&self.objects, place(id, &name), &template, reading);
        if let Err(error) = upload.take(file).await {
            upload.forget().await;
            return Err(error.into());
        }
        let taken = upload.taken();
        let report = taken.report.clone();
        let audience = Audience {
            upload: name,
            columns: taken.columns,
            rows: report.accepted,
            groups: taken.groups,
            report,
        };
        let mut before = None;
        let kept = self.change(id, |definition| {
            open(definition)?;
            before = definition.audience.replace(audience.clone());
            definition.state = crate::State::Draft;
            let what =
                format!("audience uploaded: {} taken, {} rejected", audience.rows, audience.report.rejected);
            definition.record(who, what, now);
            Ok(())
        });
        match kept.await {
            Ok(_) => {
                if let Some(before) = before {
                    self.forget(id, &before).await;
                }
                Ok(audience.report)
            }
            // It may be kept all the same; then the objects must stay.
            Err(error @ Error::Broker(_)) => Err(error),
            Err(error) => {
                self.forget(id, &audience).await;
                Err(error)
            }
        }
    }

    /// The rows that were not taken, as a CSV file: line, reason, then the row as it was.
    pub async fn rejected(
        &self,
        id: CampaignId,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let stored = self.get(id).await?.ok_or(Error::Unknown)?;
        let (place, chunks) = match stored.definition.audience {
            Some(audience) => (place(id, &audience.upload), audience.report.rejected_chunks),
            None => (String::new(), 0),
        };
        let head = Bytes::from(csv::line(["line", "reason", "row as it was"]));
        let objects = self.objects.clone();
        let chunks = stream::iter((0..chunks).map(Ok::<_, Error>)).and_then(move |number| {
            let (objects, place) = (objects.clone(), place.clone());
            async move { Ok(audience::rejects(&objects, &place, number).await?.unwrap_or_default()) }
        });
        Ok(futures::StreamExt::chain(stream::iter([Ok(head)]), chunks))
    }

    /// How far it got, a few seconds old while it runs; none: it was never started.
    pub async fn progress(&self, id: CampaignId) -> Result<Option<Summary>, Error> {
        Ok(self.kept(id).await?.map(|(kept, _)| kept.summary))
    }

    /// Tells when a campaign's progress, or any campaign, may have changed. Look after it was opened.
    pub async fn watch(&self) -> Result<Watch, Error> {
        let (definitions, progress) =
            (self.records.news(DEFINITIONS).await?, self.records.news(PROGRESS).await?);
        Ok(Watch { definitions, progress })
    }

    // ---- for the runner --------------------------------------------------------------------------

    /// The recipients of a chunk of a time group; none: they are gone.
    pub async fn recipients(
        &self,
        id: CampaignId,
        audience: &Audience,
        group: usize,
        chunk: u32,
    ) -> Result<Option<Vec<Recipient>>, Error> {
        Ok(audience::recipients(&self.objects, &place(id, &audience.upload), group, chunk).await?)
    }

    /// All that is known of its progress, and the revision to replace it on.
    pub async fn snapshot(&self, id: CampaignId) -> Result<Option<(Progress, Seq)>, Error> {
        // A newer one may come, and the object of this one go, in between.
        for _ in 0..TRIES {
            let Some((kept, revision)) = self.kept(id).await? else { return Ok(None) };
            if let Some(bytes) = self.objects.read(&kept.object, SNAPSHOT_LIMIT).await? {
                let progress = Progress::restore(&bytes).map_err(|_| Error::Malformed)?;
                return Ok(Some((progress, revision)));
            }
        }
        Err(Error::Malformed)
    }

    /// Keeps a snapshot in place of the one of `revision` (0: there is none) and answers its own.
    ///
    /// # Errors
    /// [`Error::Changed`]: somebody else keeps count now.
    pub async fn save(&self, id: CampaignId, progress: &Progress, revision: Seq) -> Result<Seq, Error> {
        let before = self.kept(id).await?.filter(|(_, by_now)| *by_now == revision);
        if before.is_none() && revision != 0 {
            return Err(Error::Changed);
        }
        let object = format!("{id}/progress/{:016x}", fastrand::u64(..));
        self.objects.put(&object, &mut progress.snapshot().as_slice()).await?;
        let kept = Kept { object: object.clone(), summary: progress.summary.clone() };
        match self.records.replace(&key(PROGRESS, id), revision, write(&kept)).await? {
            Replaced::Stored(revision) => {
                if let Some((before, _)) = before {
                    self.objects.delete(&before.object).await?;
                }
                Ok(revision)
            }
            Replaced::Changed { .. } => {
                self.objects.delete(&object).await?;
                Err(Error::Changed)
            }
        }
    }

    /// Something else that the runner keeps, by compare-and-swap.
    pub async fn note<T: DeserializeOwned>(&self, name: &str) -> Result<Option<(T, Seq)>, Error> {
        let found = self.records.get(&format!("{OTHERS}.{name}")).await?;
        let found = found.filter(|revision| !revision.payload.is_empty());
        found.map(|revision| Ok((read(&revision.payload)?, revision.revision))).transpose()
    }

    /// Their names.
    pub(crate) async fn notes(&self) -> Result<Vec<String>, Error> {
        Ok(self.records.keys(OTHERS).await?)
    }

    /// None: another revision is the newest.
    pub async fn set_note<T: Serialize + Sync>(
        &self,
        name: &str,
        value: &T,
        expected: Seq,
    ) -> Result<Option<Seq>, Error> {
        Ok(match self.records.replace(&format!("{OTHERS}.{name}"), expected, write(value)).await? {
            Replaced::Stored(revision) => Some(revision),
            Replaced::Changed { .. } => None,
        })
    }

    async fn kept(&self, id: CampaignId) -> Result<Option<(Kept, Seq)>, Error> {
        let found = self.records.get(&key(PROGRESS, id)).await?;
        let found = found.filter(|revision| !revision.payload.is_empty());
        found.map(|revision| Ok((read(&revision.payload)?, revision.revision))).transpose()
    }

    async fn keep(&self, definition: Definition, expected: Seq) -> Result<Stored, Error> {
        match self.records.replace(&key(DEFINITIONS, definition.id), expected, write(&definition)).await? {
            Replaced::Stored(revision) => Ok(Stored { definition, revision }),
            Replaced::Changed { .. } => Err(Error::Changed),
        }
    }

    async fn forget(&self, id: CampaignId, audience: &Audience) {
        let place = place(id, &audience.upload);
        audience::forget(&self.objects, &place, &audience.groups, audience.report.rejected_chunks).await;
    }
}

/// When to look again.
#[derive(Debug)]
pub struct Watch {
    definitions: News,
    progress: News,
}

impl Watch {
    /// Waits until a definition or a progress may have changed, for at most 5 s. The announcement comes
    /// a moment before the change can be read: look again after a while even so.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.definitions.wait(LOOK_EVERY) => {}
            () = self.progress.wait(LOOK_EVERY) => {}
        }
    }

    /// Waits for a definition's announcement, however long.
    pub async fn announced(&mut self) {
        self.definitions.next().await;
    }

    /// The same as [`Self::changed`] for definitions only.
    pub async fn definitions(&mut self) {
        self.definitions.wait(LOOK_EVERY).await;
    }
}

/// Of a stream's last position and how many groups there are: where counting begins.
pub fn beginning(audience: &Audience, seq: Seq) -> Progress {
    Progress::new(audience.rows, audience.groups.len(), seq)
}

/// Where a group ends.
pub fn end(group: &crate::Group) -> Cursor {
    Cursor { chunk: group.chunks, row: 0, done: group.rows }
}

fn check(plan: &Plan) -> Result<(), Error> {
    let problems = plan.problems();
    if problems.is_empty() { Ok(()) } else { Err(NotNow(problems.join("; ")).into()) }
}

fn open(definition: &Definition) -> Result<(), Error> {
    if definition.state.is_open() {
        return Ok(());
    }
    let state = definition.state.as_str();
    Err(NotNow(format!("a campaign that is {state} cannot be changed any more")).into())
}

fn key(kind: &str, id: CampaignId) -> String {
    format!("{kind}.{id}")
}

pub(crate) fn place(id: CampaignId, upload: &str) -> String {
    format!("{id}/{upload}")
}

fn read<T: DeserializeOwned>(payload: &Bytes) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|_| Error::Malformed)
}

fn write<T: Serialize>(value: &T) -> Bytes {
    // What is kept has string keys and finite numbers: always JSON.
    serde_json::to_vec(value).unwrap_or_default().into()
}
