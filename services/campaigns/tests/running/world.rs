use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State as Held, routing::get};
use bus::Log;
use campaign::{
    Campaigns, Category, Command, Definition, ParameterUse, Plan, Reading, Reply, Schedule, Summary,
    TemplateUse, Value,
};
use campaigns::{Clock, Parts, Runner};
use domain::{Millis, PhoneNumberId, derive::Keying, outreach::CampaignId};
use futures::StreamExt as _;
use proto::{
    subjects::{self, SendPhase, SendRef},
    v1::{self, entry::Body, send_outcome::Outcome},
};
use runtime::settings::Live;
use serde_json::json;
use store::Store;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// 2026-06-01T12:00:00Z.
pub(crate) const NOON: Millis = 1_780_315_200_000;
pub(crate) const WABA: &str = "104857600000001";
const NUMBER: &str = "106540352242922";
const LEASE: Duration = Duration::from_millis(1_500);

/// What becomes of what is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answers {
    Accept,
    /// From the so-manieth on, with that code.
    RefuseFrom(u32, i32),
}

#[derive(Debug, Clone)]
struct Graph(Arc<Mutex<(String, String)>>);

pub(crate) struct World {
    nats: devstack::Nats,
    _valkey: devstack::Valkey,
    pub(crate) log: Log,
    pub(crate) campaigns: Campaigns,
    store: Store,
    graph: Graph,
    graph_url: String,
    /// When it began; time passes from there on.
    clock: Arc<AtomicI64>,
    began: Instant,
    tasks: TaskTracker,
    ended: CancellationToken,
}

/// One process, as it were.
pub(crate) struct Replica {
    task: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

impl Replica {
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl World {
    pub(crate) async fn start(answers: Answers) -> Self {
        runtime::init_crypto();
        let nats = devstack::Nats::start_for(Some(users())).await.unwrap();
        let valkey = devstack::Valkey::start().await.unwrap();
        let log = bus::connect(&bus::Config::at(&nats.url_of("operator"))).await.unwrap();
        let campaigns = Campaigns::open(&log).await.unwrap();
        let store = Store::connect(&store::Config {
            redis_url: valkey.url().into(),
            redis_prefix: "test".into(),
            master_key: format!("k1:{}", "A".repeat(43) + "=").into(),
        })
        .unwrap();
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        let graph = Graph(Arc::new(Mutex::new(("APPROVED".into(), "TIER_UNLIMITED".into()))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let graph_url = format!("http://{}/v25.0", listener.local_addr().unwrap());
        let router = Router::new()
            .route(&format!("/v25.0/{WABA}/message_templates"), get(templates))
            .route(&format!("/v25.0/{NUMBER}"), get(number))
            .with_state(graph.clone());
        let server = axum::serve(listener, router).with_graceful_shutdown(ended.clone().cancelled_owned());
        tasks.spawn(async move { server.await.unwrap() });
        let taking = take(log.clone(), answers);
        let until = ended.clone();
        tasks.spawn(async move { until.run_until_cancelled(taking).await });
        let clock = Arc::new(AtomicI64::new(NOON));
        Self {
            nats,
            _valkey: valkey,
            log,
            campaigns,
            store,
            graph,
            graph_url,
            clock,
            began: Instant::now(),
            tasks,
            ended,
        }
    }

    pub(crate) async fn replica(&self) -> Replica {
        let settings = json!({"channels": [{
            "phone_number_id": NUMBER, "waba_id": WABA, "display_phone_number": "+1 555 0100", "name": "Sales",
            "access_token": "token",
        }]});
        let (clock, began) = (Arc::clone(&self.clock), self.began);
        let parts = Parts {
            log: bus::connect(&bus::Config::at(&self.nats.url_of("campaigns"))).await.unwrap(),
            store: self.store.clone(),
            settings: Live::fixed(serde_json::from_value(settings).unwrap()),
            keying: Keying::new(&"0123456789abcdef0123456789abcdef".into()),
            clock: Clock::new(move || {
                let passed = began.elapsed().as_millis();
                clock.load(Ordering::Relaxed) + i64::try_from(passed).unwrap()
            }),
        };
        let config = Runner {
            whatsapp: whatsapp::client::Config {
                graph_url: self.graph_url.parse().unwrap(),
                graph_timeout: Duration::from_secs(5),
            },
            campaign_lease: LEASE,
            campaign_save_every: Duration::from_millis(300),
            one_portfolio: true,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = CancellationToken::new();
        let task = self.tasks.spawn(campaigns::run(config, listener, parts, shutdown.clone()));
        Replica { task, shutdown }
    }

    pub(crate) fn set_clock(&self, now: Millis) {
        self.clock.store(now, Ordering::Relaxed);
    }

    pub(crate) fn set_template(&self, status: &str) {
        self.graph.0.lock().unwrap().0 = status.into();
    }

    pub(crate) fn set_limit(&self, tier: &str) {
        self.graph.0.lock().unwrap().1 = tier.into();
    }

    /// A draft with so many recipients in Berlin.
    pub(crate) async fn campaign(
        &self,
        rows: u32,
        schedule: Schedule,
        per_minute: Option<u32>,
    ) -> CampaignId {
        let plan = Plan {
            name: "Spring".into(),
            number: PhoneNumberId::new(NUMBER),
            template: TemplateUse {
                name: "sale".into(),
                language: "en_US".into(),
                category: Category::Marketing,
                header: None,
                body: vec![ParameterUse { name: None, value: Value::Column("first".into()) }],
                buttons: vec![],
                text: String::new(),
            },
            schedule,
            per_minute,
            reply: Reply::Rep,
            answered_within_seconds: 3_600,
        };
        let id = self.campaigns.create(plan, "ana", NOON).await.unwrap().definition.id;
        let rows = (0..rows).map(|row| format!("+4917612{row:06},Ana\n"));
        let file: String = std::iter::once("phone,first\n".to_owned()).chain(rows).collect();
        let report =
            self.campaigns.upload(id, file.as_bytes(), Reading::default(), "ana", NOON).await.unwrap();
        assert_eq!(report.rejected, 0);
        id
    }

    pub(crate) async fn command(&self, id: CampaignId, command: Command) {
        self.campaigns.command(id, &command, "ana", NOON).await.unwrap();
    }

    pub(crate) async fn append(&self, subject: &str, body: Body) {
        self.log.append_fact(subject, proto::encode(body), None).await.unwrap();
    }

    pub(crate) async fn forget_lease(&self) {
        let (_, revision) = self.campaigns.note::<serde_json::Value>("lease").await.unwrap().unwrap();
        let free = json!({"owner": 0, "beat": 0});
        // Whoever renewed it meanwhile has it a moment longer.
        let _ = self.campaigns.set_note("lease", &free, revision).await.unwrap();
    }

    pub(crate) async fn definition(&self, id: CampaignId) -> Definition {
        self.campaigns.get(id).await.unwrap().unwrap().definition
    }

    /// The rows whose fact is in the log, one number each time it is there.
    pub(crate) async fn asked(&self) -> Vec<u32> {
        let entries = self.log.read(vec!["conv.*.*.out.*".into()], 1, u64::MAX, usize::MAX).await.unwrap();
        let row = |entry: bus::Entry| {
            let Body::Outreach(outreach) = proto::decode(entry.payload).unwrap() else {
                panic!("no outreach")
            };
            outreach.mark.unwrap().row
        };
        let mut rows: Vec<u32> = entries.into_iter().map(row).collect();
        rows.sort_unstable();
        rows
    }

    pub(crate) fn expected(&self, rows: u32) -> Vec<u32> {
        (0..rows).collect()
    }

    pub(crate) async fn until_asked(&self, enough: usize) {
        until("enough were asked for", async || (self.asked().await.len() >= enough).then_some(())).await;
    }

    /// How many were asked for when nobody was any more.
    pub(crate) async fn until_quiet(&self) -> usize {
        let mut last = (usize::MAX, Instant::now());
        until("nobody is asked for", async || {
            let asked = self.asked().await.len();
            if asked != last.0 {
                last = (asked, Instant::now());
            }
            (last.1.elapsed() > Duration::from_millis(1_500)).then_some(asked)
        })
        .await
    }

    pub(crate) async fn until_state(&self, id: CampaignId, state: &str) {
        until(state, async || (self.definition(id).await.state.as_str() == state).then_some(())).await;
    }

    pub(crate) async fn until_summary(&self, id: CampaignId, wanted: impl Fn(&Summary) -> bool) -> Summary {
        let mut seen = None;
        let found = until("the counts", async || {
            seen = self.campaigns.progress(id).await.unwrap();
            seen.clone().filter(|summary| wanted(summary))
        });
        found.await
    }
}

/// The broker's accounts as they are deployed: replicas come as `campaigns`.
fn users() -> devstack::Users {
    devstack::Users::deployed(|user| Ok(format!("{user}-secret"))).unwrap()
}

/// Waits until `ready` gives something, at most 60 s.
async fn until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What handoff and egress would do with each, in short.
async fn take(log: Log, answers: Answers) {
    let mut asked = Box::pin(log.tail(vec!["conv.*.*.out.*".into()], 1));
    let mut seen = BTreeSet::new();
    while let Some(entry) = asked.next().await {
        let key = entry.address.unwrap().key;
        let Body::Outreach(outreach) = proto::decode(entry.payload).unwrap() else { continue };
        let mark = outreach.mark.unwrap();
        assert!(seen.insert((mark.campaign.clone(), mark.row)), "asked for twice");
        let send = SendRef {
            send: domain::SendId(domain::derive::uuid("test", &[&entry.seq.to_be_bytes()])),
            attempt: 1,
        };
        let outcome = match answers {
            Answers::RefuseFrom(from, code) if seen.len() > from as usize => {
                Outcome::Refused(v1::send_outcome::Refused { code })
            }
            Answers::Accept | Answers::RefuseFrom(..) => {
                Outcome::Accepted(v1::send_outcome::Accepted { wamid: "wamid.x".into(), answered: true })
            }
        };
        let body = v1::SendOutcome {
            send: send.send.to_string(),
            attempt: 1,
            outcome: Some(outcome),
            mark: Some(mark),
            ..v1::SendOutcome::default()
        };
        let subject = subjects::send(&key, send, SendPhase::Outcome);
        log.append_fact(&subject, proto::encode(Body::SendOutcome(body)), None).await.unwrap();
    }
}

async fn templates(Held(graph): Held<Graph>) -> Json<serde_json::Value> {
    let status = graph.0.lock().unwrap().0.clone();
    let template = |name: &str, status: &str| {
        json!({
            "id": "1", "name": name, "language": "en_US", "status": status, "category": "MARKETING",
            "parameter_format": "POSITIONAL", "components": [{"type": "BODY", "text": "Hi {{1}}!"}],
        })
    };
    Json(json!({"data": [template("other", "APPROVED"), template("sale", &status)], "paging": {}}))
}

async fn number(Held(graph): Held<Graph>) -> Json<serde_json::Value> {
    let tier = graph.0.lock().unwrap().1.clone();
    Json(json!({"id": NUMBER, "status": "CONNECTED", "whatsapp_business_manager_messaging_limit": tier}))
}
