//! What became of everybody, as a file.

use std::sync::Arc;

use bytes::Bytes;
use domain::{Millis, outreach::CampaignId};
use futures::{Stream, TryStreamExt as _, stream};

use crate::{
    audience::{self, Recipient},
    campaigns::{Campaigns, Error, place},
    csv,
    definition::Definition,
    progress::{Cursor, Progress},
    unsent::Unsent,
};

/// A chunk of a time group.
struct Part {
    group: usize,
    chunk: u32,
    /// Of those who were not asked for.
    unsent: Option<Unsent>,
}

struct Whole {
    progress: Option<Progress>,
    parts: Vec<Part>,
}

impl Whole {
    fn new(definition: &Definition, progress: Option<Progress>, now: Millis) -> Self {
        let groups = definition.audience.iter().flat_map(|audience| &audience.groups).enumerate();
        let parts = groups.flat_map(|(group, known)| {
            let unsent = definition.unsent(known, now);
            (0..known.chunks).map(move |chunk| Part { group, chunk, unsent })
        });
        Self { parts: parts.collect(), progress }
    }

    /// `index`: within the chunk.
    fn line(&self, part: &Part, index: u32, recipient: &Recipient) -> String {
        let (mut outcome, mut code) = ("pending", None);
        let mut cursor = Cursor::default();
        if let Some(progress) = &self.progress {
            (outcome, code) = progress.row(recipient.row);
            cursor = progress.cursors.get(part.group).copied().unwrap_or_default();
        }
        let mut reason = "";
        if let Some(unsent) = part.unsent
            && outcome == "pending"
            && (part.chunk, index) >= (cursor.chunk, cursor.row)
        {
            (outcome, reason) = ("not sent", unsent.as_str());
        }
        csv::line([
            recipient.row.to_string().as_str(),
            &recipient.phone.as_deref().map(|phone| format!("+{phone}")).unwrap_or_default(),
            recipient.bsuid.as_deref().unwrap_or_default(),
            outcome,
            &code.map(|code| code.to_string()).unwrap_or_default(),
            reason,
        ])
    }
}

impl Campaigns {
    /// Every recipient and what became of them, as a CSV file: phone, user id, outcome, code, and why
    /// somebody was not written to.
    pub async fn export(
        &self,
        id: CampaignId,
        now: Millis,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let stored = self.get(id).await?.ok_or(Error::Unknown)?;
        let progress = self.snapshot(id).await?.map(|(progress, _)| progress);
        let definition = &stored.definition;
        let place = definition.audience.as_ref().map(|audience| place(id, &audience.upload));
        let place = place.unwrap_or_default();
        let whole = Arc::new(Whole::new(definition, progress, now));
        let head = Bytes::from(csv::line(["row", "phone", "bsuid", "outcome", "code", "reason"]));
        let objects = self.objects.clone();
        let parts = stream::iter((0..whole.parts.len()).map(Ok::<_, Error>));
        let lines = parts.and_then(move |number| {
            let (objects, place, whole) = (objects.clone(), place.clone(), Arc::clone(&whole));
            async move {
                let Some(part) = whole.parts.get(number) else { return Ok(Bytes::new()) };
                let rows = audience::recipients(&objects, &place, part.group, part.chunk).await?;
                let rows = rows.unwrap_or_default();
                let line = |(index, recipient)| whole.line(part, index, recipient);
                Ok(Bytes::from((0u32..).zip(&rows).map(line).collect::<String>()))
            }
        });
        Ok(futures::StreamExt::chain(stream::iter([Ok(head)]), lines))
    }
}
