//! Looks for what is wrong: in Baton itself, at WhatsApp, at Salesforce. Says the cause and how to mend
//! it; changes nothing. Nothing that it tells holds a secret, or anything about a customer.

mod baton;
mod connection;
mod salesforce_side;
mod symptoms;
mod whatsapp_side;

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use bus::Log;
pub use connection::{check_channel, try_connection};
use domain::{Millis, settings::Settings};
use futures::{FutureExt as _, future::BoxFuture};
use serde::Serialize;
use store::Store;
pub use symptoms::{Conclusion, SYMPTOMS, Symptom};

/// One check, done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of what kind: `whatsapp.token`. The same for every channel.
    pub id: String,
    /// Which channel or integration, as the settings call it; empty: Baton itself.
    pub of: String,
    pub group: Group,
    pub looks_at: String,
    pub verdict: Verdict,
    /// In plain words; may be empty.
    pub found: String,
    /// Empty when all is well.
    pub cause: String,
    /// What to do, and where. Empty when all is well.
    pub fix: String,
    /// Where the rule comes from.
    pub reference: &'static str,
    /// How long it took. What was asked together took the same time.
    pub millis: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Baton,
    WhatsApp,
    Salesforce,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    Warning,
    Broken,
    NotApplicable,
    /// What it takes was not in order, or did not answer in time.
    Unchecked,
}

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// When it began.
    pub at: Millis,
    pub millis: u64,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Doctor {
    log: Log,
    store: Store,
    whatsapp: Option<whatsapp::client::Client>,
}

/// What one check saw, before it is a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    id: &'static str,
    looks_at: &'static str,
    verdict: Verdict,
    found: String,
    cause: String,
    fix: String,
    reference: &'static str,
}

/// What looks at one or several things that are asked together.
struct Job {
    /// What is told when it does not come to an end.
    id: &'static str,
    looks_at: &'static str,
    group: Group,
    of: String,
    limit: Duration,
    work: BoxFuture<'static, Vec<Seen>>,
}

impl Seen {
    pub(crate) fn ok(id: &'static str, looks_at: &'static str, found: impl Into<String>) -> Self {
        let (cause, fix) = (String::new(), String::new());
        Self { id, looks_at, verdict: Verdict::Ok, found: found.into(), cause, fix, reference: "" }
    }

    pub(crate) fn wrong(
        id: &'static str,
        looks_at: &'static str,
        verdict: Verdict,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let found = String::new();
        Self { id, looks_at, verdict, found, cause: cause.into(), fix: fix.into(), reference: "" }
    }

    pub(crate) fn from(self, reference: &'static str) -> Self {
        Self { reference, ..self }
    }
}

impl Doctor {
    /// Without a client of WhatsApp, and without settings, these sides are told as not applicable.
    pub fn new(log: Log, store: Store, whatsapp: Option<whatsapp::client::Client>) -> Self {
        Self { log, store, whatsapp }
    }

    /// Does all checks side by side. Ends within a minute: every check has its own limit, and none can
    /// fail the others.
    pub async fn run(&self, settings: Option<Arc<Settings>>) -> Report {
        let (at, started) = (runtime::now(), Instant::now());
        let mut jobs = baton::jobs(&self.log, &self.store);
        match (&settings, &self.whatsapp) {
            (Some(settings), Some(client)) => jobs.extend(whatsapp_side::jobs(settings, client)),
            (Some(_) | None, _) => jobs.push(unknown("whatsapp", "WhatsApp", Group::WhatsApp)),
        }
        match &settings {
            Some(settings) => jobs.extend(salesforce_side::jobs(settings)),
            None => jobs.push(unknown("salesforce", "Salesforce", Group::Salesforce)),
        }
        let done = futures::future::join_all(jobs.into_iter().map(run)).await;
        Report { at, millis: millis(started), findings: done.into_iter().flatten().collect() }
    }
}

fn unknown(id: &'static str, looks_at: &'static str, group: Group) -> Job {
    let seen = Seen::wrong(
        id,
        looks_at,
        Verdict::NotApplicable,
        "the console does not know the settings",
        "Give the console BATON_SETTINGS, as the other services have it, and start it again.",
    )
    .from("docs/troubleshooting.md");
    let work = Box::pin(async move { vec![seen] });
    Job { id, looks_at, group, of: String::new(), limit: Duration::from_secs(1), work }
}

async fn run(job: Job) -> Vec<Finding> {
    let Job { id, looks_at, group, of, limit, work } = job;
    let started = Instant::now();
    let done = tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await;
    let failed = |cause: String| {
        let fix = "Run the checks again; look at the console's log if it stays so.";
        vec![Seen::wrong(id, looks_at, Verdict::Unchecked, cause, fix)]
    };
    let seen = match done {
        Ok(Ok(seen)) => seen,
        Ok(Err(_)) => failed("the check itself broke".into()),
        Err(_) => failed(format!("no answer within {} s", limit.as_secs())),
    };
    let millis = millis(started);
    let finding = |seen: Seen| Finding {
        id: seen.id.into(),
        of: of.clone(),
        group,
        looks_at: seen.looks_at.into(),
        verdict: seen.verdict,
        found: seen.found,
        cause: seen.cause,
        fix: seen.fix,
        reference: seen.reference,
        millis,
    };
    seen.into_iter().map(finding).collect()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(work: impl Future<Output = Vec<Seen>> + Send + 'static) -> Job {
        let limit = Duration::from_secs(5);
        Job { id: "a", looks_at: "A", group: Group::Baton, of: String::new(), limit, work: Box::pin(work) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_or_panics_is_told_and_harms_no_other() {
        let jobs = [
            job(std::future::pending()),
            job(async { panic!("made up") }),
            job(async { vec![Seen::ok("a", "A", "fine")] }),
        ];
        let done: Vec<Finding> =
            futures::future::join_all(jobs.into_iter().map(run)).await.into_iter().flatten().collect();
        let verdicts: Vec<Verdict> = done.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Unchecked, Verdict::Unchecked, Verdict::Ok]);
        assert_eq!(done[0].cause, "no answer within 5 s");
        assert!(!done[1].cause.contains("made up"));
    }
}
