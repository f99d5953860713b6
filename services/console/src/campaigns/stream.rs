//! Tells open pages of a campaign that it went on, as server-sent events: `rows`, after which the page
//! fetches itself anew (`assets/app.js`).

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event, KeepAlive, Sse},
};
use domain::outreach::CampaignId;
use futures::stream;
use serde_json::json;

use super::Kept;
use crate::{error::RouteError, messages::Rejected};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Then the page connects again, and whoever may no longer look is turned away.
const LONGEST: Duration = Duration::from_secs(600);

/// What a page shows: the campaign's revision, and the newest that was counted.
type Seen = (u64, Option<i64>);

pub(super) async fn follow(kept: &Kept, id: CampaignId) -> Result<Response, Rejected> {
    let place = kept.0.places.clone().try_acquire_owned().map_err(|_| RouteError::Crowded)?;
    let watch = kept.campaigns().await?.watch().await?;
    let seen = look(kept, id).await;
    let state = (kept.clone(), watch, seen, Instant::now() + LONGEST, place);
    let events = stream::unfold(state, move |(kept, mut watch, mut seen, until, place)| async move {
        while Instant::now() < until {
            watch.changed().await;
            let now = look(&kept, id).await;
            if now.is_some() && now != seen {
                seen = now;
                let told = json!({ "counts": [], "rows": [0] }).to_string();
                let event = Event::default().event("rows").data(told);
                return Some((Ok::<_, Infallible>(event), (kept, watch, seen, until, place)));
            }
        }
        None
    });
    let events = futures::StreamExt::take_until(events, kept.0.shutdown.clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// None: it cannot be told right now.
async fn look(kept: &Kept, id: CampaignId) -> Option<Seen> {
    let campaigns = kept.campaigns().await.ok()?;
    let stored = campaigns.get(id).await.ok()??;
    let progress = campaigns.progress(id).await.ok()?;
    Some((stored.revision, progress.map(|summary| summary.at)))
}
