use std::time::Instant;

use domain::{
    PhoneNumberId, SendId, SessionId, WabaId, Wamid,
    derive::uuid,
    message::{Content, Customer, MessageContext, Outgoing},
    session::{Ask, Decision, Send, Session},
};
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1,
};

use super::*;

fn turn(who: Who, text: &str) -> Turn {
    Turn { who, text: text.into(), present: true, voice: None }
}

#[test]
fn the_newest_turns_are_kept() {
    let mut history = History {
        turns: (0..30).map(|n| turn(Who::Customer, &format!("{n} {}", "x".repeat(1_000)))).collect(),
    };
    history.cut();
    assert_eq!(history.turns.len(), 15);
    assert!(history.turns.last().unwrap().text.starts_with("29 "));
    let mut history = History { turns: vec![turn(Who::Customer, &"x".repeat(CHARACTERS + 1))] };
    history.cut();
    assert_eq!(history.turns.len(), 1);
}

struct World {
    log: Log,
    _nats: devstack::Nats,
}

impl World {
    async fn start() -> Self {
        let nats = devstack::Nats::start().await.unwrap();
        Self { log: bus::connect(&bus::Config::at(&nats.url())).await.unwrap(), _nats: nats }
    }

    /// Messages of other customers.
    async fn others(&self, from: u32, count: u32) {
        let facts = (from..from + count).map(|n| bus::Fact {
            kind: "wa",
            subject: subjects::fact(&key(200 + (n % 50) as u8), Kind::WhatsApp, &format!("o{n}")),
            payload: proto::encode(v1::entry::Body::WhatsappMessage(message(n, "something else"))),
            span: tracing::Span::none(),
        });
        self.log.append_facts(facts, 256, |_, _| {}).await.unwrap();
    }
}

fn key(n: u8) -> ConversationKey {
    ConversationKey::from_bytes([n; 16])
}

fn message(n: u32, text: &str) -> v1::WhatsAppMessage {
    let message = InboundMessage {
        number: PhoneNumberId::new("1"),
        wamid: Wamid::new(format!("wamid.{n}")),
        sent_at: 1,
        customer: Customer { bsuid: Some("US.1".into()), ..Customer::default() },
        content: Content::Text(text.into()),
        context: MessageContext::default(),
    };
    v1::WhatsAppMessage::new(&message, &WabaId::new("2"), "{}")
}

/// A conversation as handoff writes it: each fact is decided on, in order.
struct Chat<'a> {
    world: &'a World,
    key: ConversationKey,
    state: Conversation,
    head: Seq,
    said: u32,
}

impl Chat<'_> {
    fn new(world: &World, n: u8) -> Chat<'_> {
        Chat { world, key: key(n), state: Conversation::new(PhoneNumberId::new("1")), head: 0, said: 0 }
    }

    async fn hears(&mut self, text: &str) -> Seq {
        self.said += 1;
        let subject = subjects::fact(&self.key, Kind::WhatsApp, &format!("m{}", self.said));
        let payload = proto::encode(v1::entry::Body::WhatsappMessage(message(self.said, text)));
        let seq = self.world.log.append_fact(&subject, payload, None).await.unwrap().seq;
        if self.state.session.is_none() {
            self.state.session = Some(Session {
                id: SessionId(uuid("session", &[&seq.to_be_bytes()])),
                opened_at: 1,
                first: seq,
                handoffs: 0,
                human_until: None,
                shown_through: 0,
            });
        }
        seq
    }

    async fn decides(&mut self, answers: Seq, outputs: Vec<Output>) -> Seq {
        let decision = Decision { state: self.state.clone(), outputs };
        let payload = StoredDecision { answers, policy_version: 1, decision }.encode();
        let chained = self.world.log.append_decision(&self.key, self.head, payload).await.unwrap();
        let bus::Chained::Appended(seq) = chained else { panic!("nobody else writes here") };
        self.head = seq;
        seq
    }

    async fn asks(&mut self, answers: Seq) -> Seq {
        let ask = Ask { epoch: 0, text: "…".into(), helping: false, human_until: None };
        self.decides(answers, vec![Output::Ask(ask)]).await
    }

    fn send(&self, origin: Origin, text: &str) -> Output {
        let id = SendId(uuid("send", &[&self.head.to_be_bytes(), text.as_bytes()]));
        Output::Send(Send {
            id,
            body: Outgoing::Text(text.into()),
            quotes: None,
            origin,
            mark: None,
            not_after: 0,
        })
    }

    /// A message, and an answer of this length.
    async fn exchange(&mut self, origin: Origin, length: usize) {
        let n = self.said;
        let seq = self.hears(&format!("message {n}")).await;
        let asked = self.asks(seq).await;
        let sends = vec![self.send(origin, &format!("answer {n} {}", "x".repeat(length)))];
        self.decides(asked, sends).await;
    }
}

/// All of it from the beginning, as it was read before: what bounded reading must agree with.
async fn whole(
    log: &Log,
    key: &ConversationKey,
    state: &Conversation,
    through: Seq,
    earlier: bool,
) -> History {
    let first = state.session.as_ref().map_or(Seq::MAX, |session| session.first);
    let filters = vec![subjects::filter_of(key, Kind::WhatsApp), subjects::decision(key)];
    let from = if earlier { 1 } else { first.min(through) };
    let entries = log.read(filters, from, through, usize::MAX).await.unwrap();
    let turns = entries.into_iter().flat_map(|entry| {
        let id = entry.address.as_ref().map(|address| address.id.clone()).unwrap_or_default();
        let turns = proto::decode(entry.payload).and_then(|body| turns_of(&id, body, entry.seq >= first));
        turns.unwrap_or_default()
    });
    let mut history = History { turns: turns.collect() };
    let surplus = history.turns.len().saturating_sub(TURNS);
    history.turns.drain(..surplus);
    history.cut();
    history
}

/// Read with what is remembered and without, it is what reading everything finds.
async fn agrees(chat: &Chat<'_>, starts: &Starts, through: Seq) -> History {
    let log = &chat.world.log;
    for earlier in [false, true] {
        let expected = whole(log, &chat.key, &chat.state, through, earlier).await;
        for starts in [starts, &Starts::default(), starts] {
            let found = History::read(log, starts, &chat.key, &chat.state, through, earlier).await.unwrap();
            assert!(found == expected, "{}: {found:?} instead of {expected:?}", chat.said);
        }
    }
    whole(log, &chat.key, &chat.state, through, true).await
}

#[tokio::test]
async fn however_long_the_newest_turns_are_the_same_as_in_the_whole() {
    let world = World::start().await;
    let starts = Starts::default();
    let mut chat = Chat::new(&world, 1);
    let mut questions = Vec::new();
    for n in 0..450_u32 {
        // An assistant's stretch, a rep's, long answers, notices.
        match n % 40 {
            0..20 => chat.exchange(Origin::Assistant, 20).await,
            20..30 => chat.exchange(Origin::Rep, 900).await,
            _ => {
                let seq = chat.hears("and then?").await;
                chat.decides(seq, vec![]).await;
            }
        }
        if n % 7 == 0 {
            world.others(n * 200, 200).await;
        }
        if n == 300 {
            // Another session begins; what came before is told with the earlier ones only.
            chat.state.session = None;
        }
        if n < 8 || n % 45 == 0 || n > 446 {
            // One that came before the question was asked, and was decided on after it.
            let first = chat.hears("one thing").await;
            let second = chat.hears("another").await;
            let through = chat.asks(first).await;
            chat.asks(second).await;
            let history = agrees(&chat, &starts, through).await;
            assert!(history.turns.len() <= TURNS);
            assert!(history.turns.iter().any(|turn| turn.text == "another"));
            questions.push((chat.state.clone(), through));
        }
    }
    // Questions that are read again after later ones.
    for (state, through) in questions {
        let latest = std::mem::replace(&mut chat.state, state);
        agrees(&chat, &starts, through).await;
        chat.state = latest;
    }
}

#[tokio::test]
async fn a_conversation_without_an_answer_is_read_too() {
    let world = World::start().await;
    let mut chat = Chat::new(&world, 1);
    for n in 0..400 {
        let seq = chat.hears("hello?").await;
        chat.decides(seq, vec![]).await;
        world.others(n * 20, 20).await;
    }
    let seq = chat.hears("anybody?").await;
    let through = chat.asks(seq).await;
    let history = agrees(&chat, &Starts::default(), through).await;
    assert_eq!(history.turns.len(), TURNS);
}

/// `cargo test -p assistant history -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement, of minutes"]
async fn measure() {
    let world = World::start().await;
    let mut chat = Chat::new(&world, 1);
    for n in 0..1_000_u32 {
        chat.exchange(Origin::Assistant, 100).await;
        world.others(n * 197, 197).await;
    }
    let seq = chat.hears("a question").await;
    let through = chat.asks(seq).await;
    println!("{through} entries in the log, {} messages of the conversation", chat.said * 2);
    for earlier in [false, true] {
        let starts = Starts::default();
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let expected = whole(&world.log, &chat.key, &chat.state, through, earlier).await;
            let all = began.elapsed();
            let began = Instant::now();
            let fresh = Starts::default();
            let found =
                History::read(&world.log, &fresh, &chat.key, &chat.state, through, earlier).await.unwrap();
            let cold = began.elapsed();
            assert!(found == expected);
            History::read(&world.log, &starts, &chat.key, &chat.state, through, earlier).await.unwrap();
            let began = Instant::now();
            History::read(&world.log, &starts, &chat.key, &chat.state, through, earlier).await.unwrap();
            times.push((all, cold, began.elapsed()));
        }
        println!("earlier sessions: {earlier}: (everything, found by the chain, remembered)\n{times:#?}");
    }
}
