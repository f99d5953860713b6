//! Troubleshooting: what the doctor found, and what was set aside. Looked at every five minutes, and when
//! somebody asks; the newest run is kept in memory.

use std::{
    convert::Infallible,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ::doctor::{Conclusion, Doctor, Finding, Group, Report, SYMPTOMS, Verdict};
use askama::Template;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use bus::{DeadLetter, Log};
use opentelemetry::{global, metrics::Gauge};
use runtime::settings::Live;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::{
    Console,
    access::{Caller, May, Operate, Read, Right},
    error::RouteError,
    openapi::{Api, Operation, schema},
    pages::{failed, page},
};

const EVERY: Duration = Duration::from_secs(300);
/// More are counted, not shown.
const MOST_LETTERS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(5);

/// What the console knows of the world outside of it; without it the checks of WhatsApp and Salesforce
/// are not applicable.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    pub settings: Option<Live>,
    pub whatsapp: Option<whatsapp::Client>,
    /// Where settings are kept, for the pages that show and change them.
    pub kept: crate::settings::Kept,
}

#[derive(Clone)]
pub(crate) struct Checks(Arc<Inner>);

struct Inner {
    doctor: Doctor,
    settings: Option<Live>,
    newest: RwLock<Option<Run>>,
    /// One run at a time.
    running: tokio::sync::Mutex<()>,
    broken: Gauge<u64>,
}

#[derive(Clone)]
struct Run {
    began: Instant,
    report: Arc<Report>,
}

impl Checks {
    pub(crate) fn new(log: Log, store: store::Store, outside: Outside) -> Self {
        let Outside { settings, whatsapp, kept: _ } = outside;
        let broken = global::meter("console").u64_gauge(runtime::metrics::DOCTOR_BROKEN).build();
        let doctor = Doctor::new(log, store, whatsapp);
        Self(Arc::new(Inner {
            doctor,
            settings,
            newest: RwLock::default(),
            running: tokio::sync::Mutex::default(),
            broken,
        }))
    }

    /// Runs now and then; never ends.
    pub(crate) async fn follow(&self) -> Infallible {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.run().await;
        }
    }

    /// As they are now, where the console has them.
    pub(crate) fn settings(&self) -> Option<Arc<domain::settings::Settings>> {
        self.0.settings.as_ref().map(Live::now)
    }

    fn newest(&self) -> Option<Run> {
        self.0.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The report of a run that began after the call: whoever has just mended something is not shown how it
    /// was before. All who ask while a run is under way share the next one.
    async fn run(&self) -> Arc<Report> {
        let asked = Instant::now();
        let _one = self.0.running.lock().await;
        if let Some(newest) = self.newest().filter(|newest| newest.began >= asked) {
            return newest.report;
        }
        let began = Instant::now();
        let report = Arc::new(self.0.doctor.run(self.0.settings.as_ref().map(Live::now)).await);
        let broken = report.count(Verdict::Broken);
        self.0.broken.record(u64::try_from(broken).unwrap_or(u64::MAX), &[]);
        *self.0.newest.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Run { began, report: Arc::clone(&report) });
        report
    }
}

pub(crate) fn router(console: Console) -> Router {
    Router::new()
        .route("/troubleshooting", get(shown))
        .route("/troubleshooting/run", post(run_again))
        .route("/troubleshooting/dead-letters/{id}/discard", post(discarded))
        .with_state(console)
}

/// Below `/api/v1`.
pub(crate) fn api() -> Api {
    Api::new("Troubleshooting")
        .get(
            "/doctor",
            told,
            Operation::new("What the newest run of the checks found", Right::Read).answers(
                200,
                "Null until the first run is over",
                json!({"oneOf": [{"type": "null"}, report()]}),
            ),
        )
        .post(
            "/doctor/run",
            run,
            Operation::new("Run all checks now", Right::Operate).answers(200, "What they found", report()),
        )
        .get(
            "/dead-letters",
            letters,
            Operation::new("What could not be handled, never its content", Right::Read).answers(
                200,
                "The newest 100, and how many there are",
                schema::<Letters>(),
            ),
        )
        .post(
            "/dead-letters/{id}/discard",
            discard,
            Operation::new("Take one off the list; the entry stays in the log", Right::Operate)
                .id(json!({"type": "integer", "minimum": 1}))
                .nothing(204, "It is off the list")
                .fails(&[RouteError::NotFound]),
        )
}

/// [`::doctor::Report`].
fn report() -> Value {
    let text = || json!({"type": "string"});
    let finding = json!({
        "type": "object",
        "required": ["id", "of", "group", "looks_at", "verdict", "found", "cause", "fix"],
        "properties": {
            "id": text(), "of": text(), "looks_at": text(), "found": text(), "cause": text(), "fix": text(),
            "group": text(),
            "verdict": {"enum": ["ok", "warning", "broken", "not_applicable", "unchecked"]},
        },
    });
    json!({
        "type": "object",
        "required": ["at", "millis", "findings"],
        "properties": {
            "at": {"type": "integer", "description": "When it began, in milliseconds since 1970"},
            "millis": {"type": "integer"},
            "findings": {"type": "array", "items": finding},
        },
    })
}

#[derive(Template)]
#[template(path = "troubleshooting.html")]
struct Page {
    caller: Caller,
    symptoms: Vec<Shown>,
    groups: Vec<(&'static str, Vec<Finding>)>,
    at: Option<String>,
    letters: Option<Letters>,
}

struct Shown {
    id: &'static str,
    name: &'static str,
    /// Whether the finding is what is wrong, or only what could not be seen.
    wrong: bool,
    finding: Option<Finding>,
    steps: Vec<Finding>,
}

#[derive(Serialize, schemars::JsonSchema)]
struct Letters {
    count: usize,
    dead_letters: Vec<Letter>,
}

/// Never the content.
#[derive(Serialize, schemars::JsonSchema)]
struct Letter {
    id: u64,
    service: String,
    partition: u16,
    conversation: String,
    seq: u64,
    kind: &'static str,
    at: String,
    reason: String,
}

impl Letter {
    fn of(letter: DeadLetter) -> Self {
        let DeadLetter { id, service, partition, key, seq, kind, at, reason } = letter;
        let (conversation, kind) = (key.to_string(), kind.map_or("", |kind| kind.as_str()));
        Self { id, service, partition: partition.0, conversation, seq, kind, at: time(at), reason }
    }
}

async fn set_aside(console: &Console) -> Result<Letters, RouteError> {
    let asked = timeout(PATIENCE, console.lookup.log().dead_letters(MOST_LETTERS)).await;
    let (letters, count) = asked.map_err(|_| RouteError::LogAway)?.map_err(|_| RouteError::LogAway)?;
    Ok(Letters { count, dead_letters: letters.into_iter().map(Letter::of).collect() })
}

fn time(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

async fn shown(State(console): State<Console>, May { caller, .. }: May<Read>) -> Response {
    let report = console.checks.newest().map(|run| run.report);
    let symptoms = SYMPTOMS.iter().map(|symptom| {
        let concluded = report.as_ref().map(|report| symptom.conclude(report));
        let (wrong, finding) = match concluded {
            Some(Conclusion::FirstWrong { finding }) => (true, Some(finding.clone())),
            Some(Conclusion::NotAllSeen { finding }) => (false, Some(finding.clone())),
            Some(Conclusion::AllFine) | None => (false, None),
        };
        let steps = report.iter().flat_map(|report| symptom.steps(report)).cloned().collect();
        Shown { id: symptom.id, name: symptom.name, wrong, finding, steps }
    });
    let of = |group| {
        let findings = report.iter().flat_map(|report| &report.findings);
        findings.filter(|finding| finding.group == group).cloned().collect()
    };
    let shown = Page {
        caller,
        symptoms: symptoms.collect(),
        groups: vec![
            ("Baton", of(Group::Baton)),
            ("WhatsApp", of(Group::WhatsApp)),
            ("Salesforce", of(Group::Salesforce)),
        ],
        at: report.as_ref().map(|report| time(report.at)),
        letters: set_aside(&console).await.ok(),
    };
    page(StatusCode::OK, &shown)
}

async fn run_again(State(console): State<Console>, _: May<Operate>) -> Redirect {
    console.checks.run().await;
    Redirect::to("/troubleshooting")
}

async fn discarded(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
) -> Response {
    match take_off(&console, &caller, &id).await {
        Ok(()) => Redirect::to("/troubleshooting#dead-letters").into_response(),
        Err(error) => failed(&caller, error),
    }
}

async fn take_off(console: &Console, caller: &Caller, id: &str) -> Result<(), RouteError> {
    // Positions count from 1: the broker takes a 0 for no position at all.
    let id: u64 = id.parse().ok().filter(|id| *id > 0).ok_or(RouteError::NotFound)?;
    let asked = timeout(PATIENCE, console.lookup.log().discard_dead_letter(id)).await;
    let was_there = asked.map_err(|_| RouteError::LogAway)?.map_err(|_| RouteError::LogAway)?;
    if !was_there {
        return Err(RouteError::NotFound);
    }
    tracing::info!(by = caller.name(), dead_letter = id, "dead letter discarded");
    Ok(())
}

/// Null until the first run is over.
async fn told(State(console): State<Console>, _: May<Read>) -> Response {
    Json(console.checks.newest().map(|run| run.report).as_deref()).into_response()
}

async fn run(State(console): State<Console>, _: May<Operate>) -> Response {
    Json(console.checks.run().await.as_ref()).into_response()
}

async fn letters(State(console): State<Console>, _: May<Read>) -> Result<Json<Letters>, RouteError> {
    Ok(Json(set_aside(&console).await?))
}

async fn discard(
    State(console): State<Console>,
    May { caller, .. }: May<Operate>,
    Path(id): Path<String>,
) -> Result<StatusCode, RouteError> {
    take_off(&console, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A verdict in words, and its class.
pub(crate) fn word(verdict: &Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Ok => ("in order", "live"),
        Verdict::Warning => ("look at it", "waiting"),
        Verdict::Broken => ("broken", "broken"),
        Verdict::NotApplicable => ("not applicable", ""),
        Verdict::Unchecked => ("could not be checked", ""),
    }
}
