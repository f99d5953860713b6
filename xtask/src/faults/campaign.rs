//! A campaign that goes on while everything is killed: nobody gets it twice, nobody is forgotten.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use campaign::{Campaigns, State};
use domain::outreach::CampaignId;
use e2e::{
    check::Violation,
    sim::{Entry, What},
};
use tokio::time::Instant;

use crate::{
    offer::{self, Offer, WORDS},
    stack::{NUMBER, Stack},
};

/// Slow enough to go on through many troubles.
const PER_MINUTE: u32 = 120;
/// Of the first recipient: nobody else writes from these numbers.
const FIRST: u64 = 4_915_100_000_000;

pub(super) struct Campaign {
    campaigns: Campaigns,
    id: CampaignId,
    recipients: usize,
}

impl Campaign {
    /// Creates it, uploads the recipients, starts it.
    pub(super) async fn start(stack: &Stack, recipients: usize) -> Result<Self> {
        offer::set_template(&stack.control).await?;
        let log = bus::connect(&bus::Config::at(&stack.nats.url())).await.context("connect")?;
        let campaigns = Campaigns::open(&log).await.context("open the campaigns")?;
        let offer = Offer {
            number: NUMBER,
            first_phone: FIRST,
            recipients,
            per_minute: Some(PER_MINUTE),
            who: "faults",
        };
        let id = offer.make(&campaigns).await?;
        offer.start(&campaigns, id).await?;
        Ok(Self { campaigns, id, recipients })
    }

    /// Until everything is sent.
    pub(super) async fn finished(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut watch = self.campaigns.watch().await?;
        loop {
            let stored = self.campaigns.get(self.id).await?.context("the campaign is gone")?;
            let state = &stored.definition.state;
            if *state == State::Finished {
                return Ok(());
            }
            let progress = self.campaigns.progress(self.id).await?;
            if let State::Paused { why } = state {
                bail!("the campaign was paused: {why:?}, {:?}", stored.definition.problems);
            }
            if Instant::now() > deadline {
                bail!("the campaign is not finished: {}, {progress:?}", state.as_str());
            }
            watch.changed().await;
        }
    }

    /// Who did not get it exactly once.
    pub(super) fn judge(&self, entries: &[Entry]) -> Vec<Violation> {
        let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in entries {
            if let What::Shown { customer, text, .. } = &entry.what
                && text.starts_with(WORDS)
            {
                *shown.entry(customer.as_str()).or_default() += 1;
            }
        }
        let recipients = (0..self.recipients).map(|row| (FIRST + row as u64).to_string());
        let once = |phone: String| {
            let times = shown.get(phone.as_str()).copied().unwrap_or(0);
            (times != 1).then_some(Violation::Campaign { customer: phone, times })
        };
        recipients.filter_map(once).collect()
    }
}
