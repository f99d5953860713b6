//! A slow and unreliable model among impatient customers, reps and operators: whatever comes first,
//! nothing that was thought out in another situation reaches a customer. Judged twice: by the log,
//! and by what stands on the phones.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::post,
};
use domain::{
    ConversationKey, Seq,
    session::{Ask, Fact, Origin, Output, Owner},
};
use e2e::sim::{AutoRep, Customer, Say};
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1::{OperatorCommand, entry, operator_command::Command},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::task::TaskTracker;
use xtask::stack::{NUMBER, Options, Stack};

use crate::until;

const CUSTOMERS: u64 = 80;
/// Each customer's.
const MESSAGES: usize = 28;
const ANSWER: &str = "answer #";

/// What it says is numbered, so that each answer is known again on a phone.
struct Model {
    random: fastrand::Rng,
    said: u32,
}

async fn complete(State(model): State<Arc<Mutex<Model>>>, Json(request): Json<Value>) -> Response {
    let (pause, dice, number) = {
        let mut model = model.lock().unwrap();
        model.said += 1;
        let slowest = if model.random.bool() { 200 } else { 1_500 };
        (model.random.u64(0..slowest), model.random.u32(0..100), model.said)
    };
    let completion = |message: Value| {
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        Json(json!({ "choices": [choice], "usage": { "total_tokens": 50 } })).into_response()
    };
    let call = |name: &str, arguments: &str| {
        let function = json!({ "name": name, "arguments": arguments });
        let call = json!({ "id": "call_1", "type": "function", "function": function });
        completion(json!({ "role": "assistant", "content": null, "tool_calls": [call] }))
    };
    let brief = json!({ "reason": "the model cannot help", "summary": "s" }).to_string();
    if request["tool_choice"].is_object() {
        return call("handoff_to_human", &brief);
    }
    tokio::time::sleep(Duration::from_millis(pause)).await;
    match dice {
        0..4 => StatusCode::TOO_MANY_REQUESTS.into_response(),
        4..8 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        8..12 => call("reply_with_choices", "{ not json"),
        12..14 => "<html>".into_response(),
        14..16 => {
            let chunk = || Ok::<_, Infallible>(Bytes::from(vec![b' '; 16 * 1024]));
            Response::new(Body::from_stream(futures::stream::repeat_with(chunk)))
        }
        16..18 => std::future::pending().await,
        18..23 => call("handoff_to_human", &brief),
        23..26 => call("close_conversation", &json!({ "text": format!("{ANSWER}{number}.") }).to_string()),
        _ => completion(json!({ "role": "assistant", "content": format!("{ANSWER}{number}.") })),
    }
}

/// What the log says came of the answers.
#[derive(Debug, Default)]
struct Story {
    /// Of the model, that were sent.
    sent: HashSet<String>,
    questions: usize,
    /// Answers of an epoch that was over: nothing came of them.
    stale: usize,
    handoffs: usize,
    /// Questions without an answer, answers and messages without a decision.
    open: usize,
}

impl Story {
    async fn read(log: &bus::Log) -> Self {
        let kinds = ["ai.*", "wa.*", "op.*", "dec"].map(|kind| format!("conv.*.*.{kind}"));
        let entries = log.read(kinds.to_vec(), 1, Seq::MAX, usize::MAX).await.unwrap();
        let mut story = Self::default();
        let mut facts: HashMap<Seq, Option<u32>> = HashMap::new();
        let mut asked: HashSet<(ConversationKey, String)> = HashSet::new();
        let mut states: HashMap<ConversationKey, (u32, bool)> = HashMap::new();
        for entry in entries {
            let address = entry.address.unwrap();
            if address.kind != Kind::Decision {
                let fact = proto::convert::fact(proto::decode(entry.payload).unwrap()).unwrap();
                let epoch = match fact {
                    Some(Fact::Answered(answered)) => {
                        asked.remove(&(address.key, answered.ask.to_string()));
                        Some(answered.epoch)
                    }
                    Some(_) | None => None,
                };
                facts.insert(entry.seq, epoch);
                continue;
            }
            let stored = StoredDecision::decode(entry.payload).unwrap();
            let state = &stored.decision.state;
            let with_assistant = matches!(state.owner, Owner::Assistant);
            let (epoch, was_with_assistant) =
                states.insert(address.key, (state.epoch, with_assistant)).unwrap_or((0, true));
            let spoken: Vec<String> = stored
                .decision
                .sends()
                .filter(|send| send.origin == Origin::Assistant)
                .map(|send| send.body.as_text())
                .collect();
            story.handoffs += usize::from(was_with_assistant && !with_assistant);
            for (cause, output) in stored.outputs() {
                if let Output::Ask(Ask { .. }) = output {
                    story.questions += 1;
                    asked.insert((address.key, cause.to_string()));
                }
            }
            match facts.remove(&stored.answers).flatten() {
                Some(answered) if answered != epoch => {
                    story.stale += 1;
                    assert!(answered < epoch, "from the future");
                    assert_eq!(spoken, Vec::<String>::new(), "a stale answer was sent");
                    assert_eq!(was_with_assistant, with_assistant, "a stale answer changed the owner");
                }
                Some(_) => story.sent.extend(spoken.into_iter().filter(|text| text.starts_with(ANSWER))),
                None => assert_eq!(spoken, Vec::<String>::new(), "said without an answer"),
            }
        }
        story.open = facts.len() + asked.len();
        story
    }
}

#[tokio::test]
async fn no_answer_of_a_stale_epoch_reaches_a_customer_however_answers_and_handoffs_meet() {
    let model = Arc::new(Mutex::new(Model { random: fastrand::Rng::with_seed(1), said: 0 }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let routes = Router::new().route("/v1/chat/completions", post(complete)).with_state(model);
    let tasks = TaskTracker::new();
    let served = tasks.spawn(async move { axum::serve(listener, routes).await });
    let responder =
        json!({ "model": { "base_url": url, "model": "m", "timeout_seconds": 3, "token_budget": 100_000 } });
    let options = Options {
        policy: json!({ "quiet_seconds": 1, "longest_quiet_seconds": 2 }),
        channel: json!({ "responder": responder }),
        replicas: 2,
        ..Options::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let control = &stack.control;
    control.configure_whatsapp(json!({ "pair_limit": false, "number_limit": false })).await.unwrap();
    control.configure_salesforce(json!({ "message_limit": false })).await.unwrap();
    let rep = AutoRep { accept_after_ms: 300, end_after: Some(4), ..AutoRep::default() };
    control.set_auto_rep(Some(&rep)).await.unwrap();
    let log = bus::connect(&bus::Config::at(&stack.nats.url())).await.unwrap();

    let mut customers = JoinSet::new();
    for n in 0..CUSTOMERS {
        let control = control.clone();
        customers.spawn(async move {
            let customer = Customer::phone(&format!("15550300{n:03}"), "Ana");
            let mut random = fastrand::Rng::with_seed(n);
            for message in 0..MESSAGES {
                let text = match random.u32(0..20) {
                    0 => "I want to speak to a human".to_owned(),
                    _ => format!("message {message}"),
                };
                control.say(&Say::text(NUMBER, &customer, &text)).await.unwrap();
                // Shorter than the quiet time, about as long, and longer than most thoughts.
                let pause = [50, 600, 1_300, 2_600, 4_000][random.usize(0..5)];
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        });
    }
    // Operators, at any moment.
    let (operators, ours) = (tasks.clone(), log.clone());
    let operating = operators.spawn(async move {
        let mut random = fastrand::Rng::with_seed(7);
        for n in 0_u32.. {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let Some(entry) = ours.last("conv.*.*.wa.*").await.unwrap() else { continue };
            let command = if random.bool() { Command::HandOff } else { Command::GiveBack };
            let command = OperatorCommand { command: command.into(), by: "operator".into() };
            let subject = subjects::fact(&entry.address.unwrap().key, Kind::Operator, &format!("{n:08x}"));
            let payload = proto::encode(entry::Body::OperatorCommand(command));
            ours.append_fact(&subject, payload, None).await.unwrap();
        }
    });
    while let Some(done) = customers.join_next().await {
        done.unwrap();
    }
    operating.abort();

    // All is answered and decided on, and what was sent has arrived.
    let heard = async || {
        let phones = control.phones().await.unwrap();
        let texts = phones.iter().flat_map(|phone| phone.received());
        texts.filter(|text| text.starts_with(ANSWER)).map(str::to_owned).collect::<Vec<_>>()
    };
    let story = until("everything is settled", async || {
        let story = Story::read(&log).await;
        (story.open == 0 && heard().await.len() >= story.sent.len()).then_some(story)
    })
    .await;
    println!(
        "{} questions, {} answers sent, {} stale ones dropped, {} handoffs",
        story.questions,
        story.sent.len(),
        story.stale,
        story.handoffs
    );
    let heard = heard().await;
    assert_eq!(heard.len(), story.sent.len(), "once each");
    assert!(heard.iter().all(|text| story.sent.contains(text)));
    let busy = story.questions > 800 && story.stale > 100 && story.handoffs > 100 && heard.len() > 100;
    assert!(busy, "too little happened");

    // While a rep has the customer the model is not heard. What a rep writes as an operator gives the
    // customer back may come after the end.
    let mut reps = 0;
    for phone in control.phones().await.unwrap() {
        let (mut handed_over, mut with_rep) = (false, false);
        for text in phone.received() {
            assert!(!(with_rep && text.starts_with(ANSWER)), "over a rep: {:#?}", phone.received());
            match text {
                text if text.starts_with("I'm connecting you") => handed_over = true,
                text if text.starts_with("The chat with our team has ended") => {
                    (handed_over, with_rep) = (false, false);
                }
                // The rep's answers are numbered so.
                text if text.contains('[') => {
                    with_rep = handed_over;
                    reps += 1;
                }
                _ => {}
            }
        }
    }
    assert!(reps > 100, "{reps}");
    served.abort();
    stack.stop().await.unwrap();
}
