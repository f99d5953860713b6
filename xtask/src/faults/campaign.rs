//! A campaign that goes on while everything is killed: nobody gets it twice, nobody is forgotten.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use campaign::{Campaigns, Category, Command, Plan, Reply, Schedule, State, TemplateUse, Value};
use domain::{PhoneNumberId, outreach::CampaignId};
use e2e::{
    check::Violation,
    sim::{Entry, Template, What},
};
use tokio::time::Instant;

use crate::stack::{NUMBER, Stack, WABA};

/// What every recipient reads, with their row.
const WORDS: &str = "An offer for row";
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
        let body = format!("{WORDS} {{{{1}}}}");
        let template =
            Template { category: "MARKETING".into(), ..Template::text(WABA, "offer", "en", &body) };
        stack.control.set_template(&template).await.context("set the template")?;
        let log = bus::connect(&bus::Config::at(&stack.nats.url())).await.context("connect")?;
        let campaigns = Campaigns::open(&log).await.context("open the campaigns")?;
        let plan = Plan {
            name: "Spring".into(),
            number: PhoneNumberId::new(NUMBER),
            template: TemplateUse {
                name: "offer".into(),
                language: "en".into(),
                category: Category::Marketing,
                header: None,
                body: vec![campaign::ParameterUse { name: None, value: Value::Column("row".into()) }],
                buttons: Vec::new(),
                text: body,
            },
            schedule: Schedule::default(),
            per_minute: Some(PER_MINUTE),
            reply: Reply::Rep,
            answered_within_seconds: 3_600,
        };
        let id = campaigns.create(plan, "faults", runtime::now()).await.context("create it")?.definition.id;
        let mut file = "phone,row\n".to_owned();
        for row in 0..recipients {
            writeln!(file, "+{},{row}", FIRST + row as u64)?;
        }
        let report = campaigns.upload(id, file.as_bytes(), None, "faults", runtime::now()).await;
        let report = report.context("upload the recipients")?;
        if report.accepted != u32::try_from(recipients)? {
            bail!("of {recipients} recipients {} were accepted: {report:?}", report.accepted);
        }
        campaigns.command(id, &Command::Start, "faults", runtime::now()).await.context("start it")?;
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
