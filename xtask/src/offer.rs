//! The campaign that benches and the fault run send: one parameter, the row, so that everybody's is told
//! apart.

use std::fmt::Write as _;

use campaign::{
    Campaigns, Category, Command, ParameterUse, Plan, Reading, Reply, Schedule, TemplateUse, Value,
};
use domain::{PhoneNumberId, outreach::CampaignId};
use e2e::sim::{ControlClient, Template};

use anyhow::{Context as _, Result, bail};

use crate::stack::WABA;

/// What every recipient reads, with their row.
pub(crate) const WORDS: &str = "An offer for row";
const NAME: &str = "offer";
const LANGUAGE: &str = "en";

fn body() -> String {
    format!("{WORDS} {{{{1}}}}")
}

/// Makes its template known to the simulated Meta.
pub(crate) async fn set_template(control: &ControlClient) -> Result<()> {
    let template = Template { category: "MARKETING".into(), ..Template::text(WABA, NAME, LANGUAGE, &body()) };
    control.set_template(&template).await.context("set the template")
}

pub(crate) struct Offer<'a> {
    pub(crate) number: &'a str,
    /// The first recipient's; the others' follow.
    pub(crate) first_phone: u64,
    pub(crate) recipients: usize,
    pub(crate) per_minute: Option<u32>,
    /// Who did it, for the record.
    pub(crate) who: &'a str,
}

impl Offer<'_> {
    /// Creates it and uploads the recipients.
    pub(crate) async fn make(&self, campaigns: &Campaigns) -> Result<CampaignId> {
        let plan = Plan {
            name: "Spring".into(),
            number: PhoneNumberId::new(self.number),
            template: TemplateUse {
                name: NAME.into(),
                language: LANGUAGE.into(),
                category: Category::Marketing,
                header: None,
                body: vec![ParameterUse { name: None, value: Value::Column("row".into()) }],
                buttons: Vec::new(),
                text: body(),
            },
            schedule: Schedule::default(),
            per_minute: self.per_minute,
            reply: Reply::Rep,
            answered_within_seconds: 3_600,
        };
        let now = runtime::now();
        let id = campaigns.create(plan, self.who, now).await.context("create it")?.definition.id;
        let mut file = "phone,row\n".to_owned();
        for (row, phone) in (self.first_phone..).enumerate().take(self.recipients) {
            writeln!(file, "+{phone},{row}")?;
        }
        let report = campaigns.upload(id, file.as_bytes(), Reading::default(), self.who, now).await;
        let report = report.context("upload the recipients")?;
        if report.accepted != u32::try_from(self.recipients)? {
            bail!("of {} recipients {} were accepted: {report:?}", self.recipients, report.accepted);
        }
        Ok(id)
    }

    pub(crate) async fn start(&self, campaigns: &Campaigns, id: CampaignId) -> Result<()> {
        let started = campaigns.command(id, &Command::Start, self.who, runtime::now()).await;
        started.context("start it").map(drop)
    }
}
