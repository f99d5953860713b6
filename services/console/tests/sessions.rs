//! The live list, its stream, and actions: over a real log, with decisions made by the real core.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use console::SignIn;
use domain::{
    Cause, ContactId, ConversationKey, CustomerId, PhoneNumberId, Seq, SessionId, ThreadId, WabaId, Wamid,
    derive::{Keying, uuid},
    message::{Content, Customer, InboundMessage, MessageContext, Outgoing},
    session::{At, Context, Conversation, Decision, Origin, Output, Owner, Send, Session, Thread, decide},
    settings::Policy,
};
use futures::{StreamExt as _, stream};
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1::{self, entry::Body},
};
use serde_json::{Value, json};
use store::Store;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    nats: devstack::Nats,
    _valkey: devstack::Valkey,
    log: bus::Log,
    keying: Keying,
    http: reqwest::Client,
    url: String,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// A conversation as the test wants it.
struct Wanted {
    n: u32,
    number: &'static str,
    name: &'static str,
    owner: Owner,
}

impl Bench {
    /// With what `before` brings into the log before the console looks.
    async fn start(before: impl AsyncFnOnce(&bus::Log, &Keying)) -> Self {
        let nats = devstack::Nats::start().await.unwrap();
        let valkey = devstack::Valkey::start().await.unwrap();
        let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
        let store = Store::connect(&store::Config {
            redis_url: valkey.url().into(),
            redis_prefix: "test".into(),
            master_key: "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into(),
        })
        .unwrap();
        let keying = Keying::new(&"0123456789abcdef0123456789abcdef".into());
        before(&log, &keying).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let run =
            console::run(listener, log.clone(), store, keying.clone(), SignIn::default(), shutdown.clone());
        tasks.spawn(async move { run.await.unwrap() });
        runtime::init_crypto();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let bench = Self { nats, _valkey: valkey, log, keying, http, url, tasks, shutdown };
        bench.until("the board is there", async || bench.list("").await["ready"] == true).await;
        bench
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn list(&self, query: &str) -> Value {
        read(self.get(&format!("/api/v1/sessions{query}")).await, 200).await
    }

    async fn form(&self, path: &str, body: String) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.url));
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap()
    }

    async fn search(&self, wanted: &str) -> reqwest::Response {
        self.form("/search", format!("wanted={}", wanted.replace('+', "%2B").replace(' ', "+"))).await
    }

    async fn act(&self, session: SessionId, action: &str, key: Option<&str>) -> reqwest::Response {
        let mut request = self.http.post(format!("{}/api/v1/sessions/{session}/actions", self.url));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.json(&json!({ "action": action })).send().await.unwrap()
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    async fn add(&self, wanted: Wanted) -> (ConversationKey, SessionId) {
        add(&self.log, &self.keying, wanted, 0).await
    }

    /// What handoff does with operators' commands.
    fn handoff(&self) {
        let (log, shutdown) = (self.log.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            let mut commands =
                pin!(log.tail(vec!["conv.*.*.op.*".into()], 1).take_until(shutdown.cancelled()));
            while let Some(entry) = commands.next().await {
                let key = entry.address.unwrap().key;
                let fact = proto::convert::fact(proto::decode(entry.payload).unwrap()).unwrap().unwrap();
                let head = log.head(&key).await.unwrap().unwrap();
                let state = StoredDecision::decode(head.payload).unwrap().decision.state;
                let context = Context {
                    key,
                    contact: ContactId(uuid("contact", &[])),
                    policy: &Policy::default(),
                    assistant_on: true,
                    has_team: state.number.as_str() != "300",
                    routing: false,
                };
                let at = At { seq: entry.seq, time: entry.at };
                let decision = decide(state, at, &fact, &context);
                let stored = StoredDecision { answers: entry.seq, policy_version: 1, decision };
                log.append_decision(&key, head.seq, stored.encode()).await.unwrap();
            }
        });
    }

    async fn commands(&self) -> usize {
        self.log.read(vec!["conv.*.*.op.*".into()], 1, Seq::MAX, 100).await.unwrap().len()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        timeout(Duration::from_secs(15), self.tasks.wait()).await.expect("the console leaves");
    }
}

/// A message of the customer and a decision that sends an answer. `previous`: the decision before.
async fn add(log: &bus::Log, keying: &Keying, wanted: Wanted, previous: Seq) -> (ConversationKey, SessionId) {
    let Wanted { n, number, name, owner } = wanted;
    let number = PhoneNumberId::new(number);
    let user = format!("US.{n}");
    let customer = Customer {
        phone: Some(format!("3460000{n:04}")),
        bsuid: Some(user.clone()),
        name: Some(name.into()),
        ..Customer::default()
    };
    let key = keying.conversation(&number, &CustomerId::new(user));
    let message = InboundMessage {
        number: number.clone(),
        wamid: Wamid::new(format!("wamid.{n}")),
        sent_at: 1,
        customer: customer.clone(),
        content: Content::Text("<i>when</i> do you open?".into()),
        context: MessageContext::default(),
    };
    let body = Body::WhatsappMessage(v1::WhatsAppMessage::new(&message, &WabaId::new("1"), Bytes::new()));
    let subject = subjects::fact(&key, Kind::WhatsApp, &format!("m{n}-{previous}"));
    let asked = log.append_fact(&subject, proto::encode(body), None).await.unwrap().seq;
    let session = SessionId(uuid("session", &[&n.to_be_bytes()]));
    let mut state = Conversation::new(number);
    state.customer = customer;
    state.contact = Some(ContactId(uuid("contact", &[&n.to_be_bytes()])));
    state.thread = Some(thread(n));
    state.session = Some(Session {
        id: session,
        opened_at: 1_700_000_000_000,
        first: asked,
        handoffs: 1,
        human_until: None,
        shown_through: 0,
    });
    state.owner = owner;
    let send = Send {
        id: domain::SendId(uuid("send", &[&n.to_be_bytes(), &previous.to_be_bytes()])),
        body: Outgoing::Text("At nine.".into()),
        quotes: None,
        origin: Origin::Rep,
    };
    let decision = Decision { state, outputs: vec![Output::Send(send)] };
    let stored = StoredDecision { answers: asked, policy_version: 1, decision };
    let chained = log.append_decision(&key, previous, stored.encode()).await.unwrap();
    assert!(matches!(chained, bus::Chained::Appended(_)));
    (key, session)
}

fn thread(n: u32) -> ThreadId {
    ThreadId(uuid("thread", &[&n.to_be_bytes()]))
}

fn in_thread(n: u32) -> Thread {
    Thread::new(thread(n), Cause { answers: 1, index: 0 })
}

async fn read(response: reqwest::Response, status: u16) -> Value {
    let found = response.status().as_u16();
    let body = response.text().await.unwrap();
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn ids(list: &Value) -> Vec<String> {
    let sessions = list["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

/// Events of a stream, one after another.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    async fn of(bench: &Bench, query: &str) -> Self {
        let response = bench.get(&format!("/sessions/stream{query}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// Its name and its data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or_default()
                        .trim()
                        .to_owned()
                };
                let (name, data) = (field("event:"), field("data:"));
                self.text = rest.to_owned();
                if !name.is_empty() {
                    return (name, serde_json::from_str(&data).unwrap_or_default());
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("an event").unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The first that tells of the conversation.
    async fn about(&mut self, key: &ConversationKey) -> Value {
        loop {
            let (name, data) = self.next().await;
            assert_eq!(name, "rows");
            let rows = data["rows"].as_array().unwrap();
            if let Some(row) = rows.iter().find(|row| row["key"] == key.to_string()) {
                return row.clone();
            }
        }
    }
}

#[tokio::test]
async fn the_list_is_ordered_filtered_and_searched() {
    // One is there before the console, the others come later.
    let bench = Bench::start(async |log, keying| {
        let early = Wanted { n: 1, number: "100", name: "Ana Pérez", owner: Owner::Waiting(in_thread(1)) };
        add(log, keying, early, 0).await;
    })
    .await;
    let wanted = |n, number, name, owner| Wanted { n, number, name, owner };
    let (_, live) = bench.add(wanted(2, "100", "<b>Bo</b>", Owner::Live(in_thread(2)))).await;
    let (_, waiting) = bench.add(wanted(3, "200", "Carla", Owner::Waiting(in_thread(3)))).await;
    let (_, assistant) = bench.add(wanted(4, "200", "Dario", Owner::Assistant)).await;
    bench.until("all are listed", async || ids(&bench.list("").await).len() == 4).await;

    let first = SessionId(uuid("session", &[&1u32.to_be_bytes()]));
    let all = bench.list("").await;
    assert_eq!(
        ids(&all),
        [first, waiting, assistant, live].map(|id| id.to_string()),
        "waits first, the longest before all; then what moved last"
    );
    assert_eq!(all["counts"], json!({ "waiting": 2, "with_rep": 1, "assistant": 1, "closed": 0 }));
    let row = &all["sessions"][0];
    assert_eq!((&row["state"], &row["name"]), (&json!("waiting"), &json!("Ana Pérez")));
    assert_eq!(row["last_message"]["direction"], "out");
    assert_eq!(row["thread"], thread(1).to_string());
    assert!(!all.to_string().contains("At nine."), "words are on the page only");

    for (query, expected) in [
        ("?state=waiting", vec![first, waiting]),
        ("?state=with_rep", vec![live]),
        ("?number=200", vec![waiting, assistant]),
        ("?state=waiting&number=200", vec![waiting]),
        ("?state=closed", vec![]),
    ] {
        let expected: Vec<_> = expected.iter().map(SessionId::to_string).collect();
        assert_eq!(ids(&bench.list(query).await), expected, "{query}");
        let page = bench.page(&format!("/sessions{query}")).await;
        for id in [first, live, waiting, assistant] {
            let link = format!("href=\"/sessions/{id}\"");
            assert_eq!(page.contains(&link), expected.contains(&id.to_string()), "{query}");
        }
    }
    for query in ["?state=asleep", "?number=%2B34", "?after=1"] {
        let told = read(bench.get(&format!("/api/v1/sessions{query}")).await, 400).await;
        assert_eq!(told["error"], "malformed_query");
        assert_eq!(bench.get(&format!("/sessions{query}")).await.status(), 400);
    }
    let page = bench.page("/sessions").await;
    assert!(page.contains("At nine.") && page.contains("Ana Pérez") && page.contains("&#60;b&#62;Bo"));
    assert!(!page.contains("<b>Bo"), "names are escaped");
    let overview = bench.page("/").await;
    assert!(overview.contains("4 messages from customers and 4 to customers"), "{overview}");

    // By session, by thread, by name, by phone.
    for id in [live.to_string(), thread(2).to_string()] {
        let found = bench.search(&id).await;
        assert_eq!(found.status(), 303);
        assert_eq!(found.headers()["location"], format!("/sessions/{live}"));
    }
    for (wanted, expected) in
        [("ana", Some(first)), ("pér", Some(first)), ("zoe", None), ("+34 600 000 002", Some(live))]
    {
        let found = bench.search(wanted).await;
        assert_eq!(found.status(), 200, "{wanted}");
        let page = found.text().await.unwrap();
        match expected {
            Some(id) => assert!(page.contains(&format!("/sessions/{id}")), "{wanted}"),
            None => assert!(page.contains("No session found"), "{wanted}"),
        }
    }
    assert_eq!(bench.search("?!").await.status(), 400);
    assert_eq!(bench.search(&thread(99).to_string()).await.status(), 404);
    bench.stop().await;
}

#[tokio::test]
async fn changes_are_pushed_and_what_was_missed_is_told() {
    let bench = Bench::start(async |_, _| {}).await;
    let page = bench.page("/sessions?state=waiting").await;
    let (_, from) = page.split_once("data-stream=\"/sessions/stream").unwrap();
    let query = from.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    assert!(query.starts_with("?state=waiting&since="), "{query}");

    let mut events = Events::of(&bench, &query).await;
    let one = |owner| Wanted { n: 1, number: "100", name: "Ana", owner };
    let (key, session) = bench.add(one(Owner::Waiting(in_thread(1)))).await;
    let row = events.about(&key).await;
    let html = row["html"].as_str().unwrap();
    assert!(html.contains(&format!("/sessions/{session}")) && html.contains("Ana"), "{html}");

    // It leaves the list when a rep takes it.
    let head = bench.log.head(&key).await.unwrap().unwrap().seq;
    add(&bench.log, &bench.keying, one(Owner::Live(in_thread(1))), head).await;
    let mut row = events.about(&key).await;
    while !row["html"].is_null() {
        row = events.about(&key).await;
    }
    // A page that was away since hears of it at once; one of another process is to be fetched again.
    let mut late = Events::of(&bench, &query.replace("state=waiting&", "")).await;
    assert!(late.about(&key).await["html"].as_str().unwrap().contains("with a rep"));
    let mut foreign = Events::of(&bench, "?since=1-1").await;
    assert_eq!(foreign.next().await.0, "reload");
    // A session's page hears of its own only.
    let mut own = Events::of(&bench, &format!("?session={session}")).await;
    let two = Wanted { n: 2, number: "100", name: "Bo", owner: Owner::Assistant };
    bench.add(two).await;
    let head = bench.log.head(&key).await.unwrap().unwrap().seq;
    add(&bench.log, &bench.keying, one(Owner::Assistant), head).await;
    assert!(own.about(&key).await["html"].is_string());
    assert_eq!(bench.get("/sessions/stream?state=no").await.status(), 400);
    // As many as there may be.
    drop((events, late, foreign, own));
    let open =
        stream::iter(0..300).map(|_| bench.get("/sessions/stream")).buffered(50).collect::<Vec<_>>().await;
    let turned_away = open.iter().filter(|answer| answer.status() == 503).count();
    assert!((1..300).contains(&turned_away), "{turned_away}");
    let script = bench.get("/app.js").await;
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    bench.stop().await;
}

#[tokio::test]
async fn an_action_is_decided_once_and_the_page_says_what_became_of_it() {
    let bench = Bench::start(async |_, _| {}).await;
    bench.handoff();
    let wanted = |n, number, owner| Wanted { n, number, name: "Ana", owner };
    let (_, session) = bench.add(wanted(1, "100", Owner::Assistant)).await;
    let (_, live) = bench.add(wanted(2, "100", Owner::Live(in_thread(2)))).await;
    let (_, teamless) = bench.add(wanted(3, "300", Owner::Assistant)).await;

    let done = read(bench.act(session, "hand_off", Some("key-1-of-test")).await, 200).await;
    assert_eq!((&done["decided"], &done["repeated"]), (&json!(true), &json!(false)));
    let again = read(bench.act(session, "hand_off", Some("key-1-of-test")).await, 200).await;
    assert_eq!((&again["seq"], &again["repeated"]), (&done["seq"], &json!(true)));
    assert_eq!(bench.commands().await, 1);
    for (id, action, key, status, error) in [
        (session, "give_back", Some("key-1-of-test"), 409, "idempotency_key_reused"),
        (session, "hand_off", Some("key-2-of-test"), 409, "already_handed_off"),
        (session, "give_back", Some("key-3-of-test"), 409, "still_connecting"),
        (teamless, "hand_off", Some("key-4-of-test"), 409, "no_team"),
        (teamless, "give_back", Some("key-5-of-test"), 409, "with_assistant"),
        (session, "hand_off", None, 400, "malformed_idempotency_key"),
        (session, "hand_off", Some("short"), 400, "malformed_idempotency_key"),
        (session, "explode", Some("key-6-of-test"), 400, "malformed_action"),
        (SessionId(uuid("session", &[b"no"])), "hand_off", Some("key-7-of-test"), 404, "unknown_session"),
    ] {
        assert_eq!(read(bench.act(id, action, key).await, status).await["error"], error);
    }
    assert_eq!(bench.commands().await, 5);

    // The page's button, pressed twice.
    let page = bench.page(&format!("/sessions/{live}")).await;
    assert!(page.contains("Give back to the assistant") && !page.contains("Hand off now"));
    let (_, nonce) = page.split_once("name=\"nonce\" value=\"").unwrap();
    let body = format!("nonce={}&action=give_back", nonce.split('"').next().unwrap());
    let path = format!("/sessions/{live}/actions");
    let both = tokio::join!(bench.form(&path, body.clone()), bench.form(&path, body.clone()));
    let to = [both.0, both.1].map(|answer| answer.headers()["location"].to_str().unwrap().to_owned());
    assert_eq!(to[0], to[1]);
    assert_eq!(bench.commands().await, 6);
    assert!(bench.page(&to[0]).await.contains("Accepted: Salesforce is asked to end the chat"));
    // Somebody else's command, or none, says nothing.
    let other = to[0].replace(&live.to_string(), &session.to_string());
    assert!(!bench.page(&other).await.contains("Accepted"));

    let foreign = bench.http.post(format!("{}{path}", bench.url)).header("sec-fetch-site", "cross-site");
    let foreign = foreign.header("content-type", "application/x-www-form-urlencoded").body(body);
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    bench.stop().await;
}

#[tokio::test]
async fn the_board_lives_through_a_restart_of_the_broker() {
    let mut bench = Bench::start(async |_, _| {}).await;
    let one = |n| Wanted { n, number: "100", name: "Ana", owner: Owner::Assistant };
    bench.add(one(1)).await;
    bench.until("listed", async || ids(&bench.list("").await).len() == 1).await;
    bench.nats.kill().await.unwrap();
    assert_eq!(ids(&bench.list("").await).len(), 1, "what is known is shown meanwhile");
    bench.nats.restart().await.unwrap();
    bench.add(one(2)).await;
    bench.until("both listed", async || ids(&bench.list("").await).len() == 2).await;
    bench.stop().await;
}

#[tokio::test]
async fn ten_thousand_conversations_are_on_the_board() {
    const MANY: u32 = 10_000;
    let bench = Bench::start(async |log, keying| {
        let add = |n| {
            let owner = if n % 10 == 0 { Owner::Waiting(in_thread(n)) } else { Owner::Assistant };
            add(log, keying, Wanted { n, number: "100", name: "Ana", owner }, 0)
        };
        stream::iter(0..MANY).map(add).buffer_unordered(128).collect::<Vec<_>>().await;
    })
    .await;
    let counts = json!({ "waiting": 1_000, "with_rep": 0, "assistant": 9_000, "closed": 0 });
    let (mut query, mut seen) = (String::new(), std::collections::HashSet::new());
    loop {
        let list = bench.list(&query).await;
        assert_eq!((&list["counts"], &list["limited_to"]), (&counts, &Value::Null));
        seen.extend(ids(&list));
        let Some(next) = list["next"].as_str() else { break };
        query = format!("?after={next}");
    }
    assert_eq!(seen.len(), MANY as usize);
    let page = bench.page("/sessions").await;
    assert!(page.contains("rel=\"next\""));
    // A page from before the board was read has too much to catch up with.
    let (_, mark) = page.split_once("since=").unwrap();
    let mut events = Events::of(&bench, &format!("?since={}-1", mark.split('-').next().unwrap())).await;
    assert_eq!(events.next().await.0, "reload");
    bench.stop().await;
}
