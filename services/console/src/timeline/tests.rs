use domain::{
    PhoneNumberId, SendId, ThreadId,
    derive::uuid,
    message::Customer as DomainCustomer,
    session::{Ask, Decision, Opening, Origin, Send, Session, Stage},
};
use proto::v1::{assistant_answer, send_outcome, whats_app_message};

use super::*;

/// A log of one conversation, a second between entries.
struct Story {
    records: Vec<Record>,
    state: Conversation,
}

fn session(n: u8) -> SessionId {
    SessionId(uuid("session", &[&[n]]))
}

fn send_id(n: u8) -> SendId {
    SendId(uuid("send", &[&[n]]))
}

fn key() -> ConversationKey {
    ConversationKey::from_bytes([1; 16])
}

impl Story {
    fn new() -> Self {
        let mut state = Conversation::new(PhoneNumberId::new("100"));
        state.customer =
            DomainCustomer { phone: Some("34600".into()), name: Some("Ana".into()), ..Default::default() };
        Self { records: Vec::new(), state }
    }

    fn next(&self) -> Seq {
        self.records.len() as Seq + 1
    }

    fn add(&mut self, kind: Kind, content: Content) -> Seq {
        let seq = self.next();
        self.records.push(Record { seq, at: 1_700_000_000_000 + 1000 * seq as Millis, kind, content });
        seq
    }

    fn fact(&mut self, kind: Kind, body: Body) -> Seq {
        self.add(kind, Content::Other(Box::new(body)))
    }

    fn wrote(&mut self, text: &str) -> Seq {
        let content = Some(whats_app_message::Content::Text(text.into()));
        self.fact(
            Kind::WhatsApp,
            Body::WhatsappMessage(v1::WhatsAppMessage {
                content,
                customer: Some(v1::Customer::default()),
                ..Default::default()
            }),
        )
    }

    fn opens(&mut self, n: u8, first: Seq) {
        self.state.session = Some(Session {
            id: session(n),
            opened_at: 0,
            first,
            handoffs: 0,
            human_until: None,
            shown_through: 0,
        });
    }

    fn decides(&mut self, answers: Seq, outputs: Vec<Output>) -> Seq {
        let decision = Decision { state: self.state.clone(), outputs };
        let stored = StoredDecision { answers, policy_version: 1, decision };
        self.add(Kind::Decision, Content::Decision(Box::new(stored)))
    }

    fn answers(&mut self, ask: &str, epoch: u32, text: &str) -> Seq {
        let answer =
            Some(assistant_answer::Answer::Reply(assistant_answer::Reply { text: text.into(), body: None }));
        self.fact(
            Kind::Assistant,
            Body::AssistantAnswer(v1::AssistantAnswer { ask: ask.into(), epoch, answer, language: None }),
        )
    }

    fn sends(&mut self, decision: Seq, send: SendId, wamid: &str) {
        let intent = v1::SendIntent { send: send.to_string(), attempt: 1, decision, ..Default::default() };
        self.fact(Kind::Send, Body::SendIntent(intent));
        let accepted = send_outcome::Accepted { wamid: wamid.into(), answered: true };
        let outcome = Some(send_outcome::Outcome::Accepted(accepted));
        let outcome =
            v1::SendOutcome { send: send.to_string(), attempt: 1, decision, outcome, ..Default::default() };
        self.fact(Kind::Send, Body::SendOutcome(outcome));
    }

    fn receipt(&mut self, reference: Option<String>, wamid: &str, status: &str) -> Seq {
        let status = v1::WhatsAppStatus {
            reference,
            wamid: wamid.into(),
            status: status.into(),
            ..Default::default()
        };
        self.fact(Kind::Status, Body::WhatsappStatus(status))
    }

    fn tell(&self, n: u8) -> Option<Timeline> {
        let decisions = self.records.iter().filter_map(|record| Some((record.seq, record.decision()?)));
        let extent = Extent::find(session(n), decisions)?;
        timeline(&key(), session(n), &extent, self.records.clone(), false)
    }
}

fn ask() -> Output {
    Output::Ask(Ask { epoch: 0, text: "…".into(), helping: false, human_until: None })
}

fn send(n: u8, text: &str) -> Output {
    Output::Send(Send {
        id: send_id(n),
        body: domain::message::Outgoing::Text(text.into()),
        quotes: None,
        origin: Origin::Assistant,
        mark: None,
        not_after: 0,
    })
}

/// A question and its answer, delivered.
fn question(story: &mut Story, n: u8) -> Seq {
    let asked = story.wrote("when do you open?");
    story.opens(n, asked);
    story.decides(asked, vec![ask()]);
    let answer = story.answers(&format!("{asked}-0"), 0, "at nine");
    let decided = story.decides(answer, vec![send(n, "at nine")]);
    story.sends(decided, send_id(n), &format!("wamid.{n}"));
    asked
}

#[test]
fn an_answered_question_is_one_in_and_one_out() {
    let mut story = Story::new();
    question(&mut story, 1);
    let told = story.tell(1).unwrap();
    assert_eq!(told.ledger.to_string(), "1 in, 1 forwarded or answered; 1 out, 0 delivered (1 pending)");
    // The receipt may echo our reference, in either form, or only name the message.
    for (reference, wamid) in [
        (Some(format!("{}-1", send_id(1))), "other"),
        (Some(format!("baton1.{}.1.{}", send_id(1), key())), "other"),
        (None, "wamid.1"),
    ] {
        let mut story = Story::new();
        question(&mut story, 1);
        story.receipt(reference, wamid, "delivered");
        let told = story.tell(1).unwrap();
        assert_eq!(told.ledger.to_string(), "1 in, 1 forwarded or answered; 1 out, 1 delivered");
        let output = &told.entries[3].outputs[0];
        assert_eq!(output.delivery.as_ref().unwrap().state, DeliveryState::Delivered);
        assert_eq!(told.entries[1].outputs[0].answered_at, Some(3));
    }
    let told = story.tell(1).unwrap();
    let lines: Vec<_> = told.entries.iter().map(|line| (line.who.label(), line.what.as_str())).collect();
    assert_eq!(
        lines,
        [
            ("Customer", "wrote"),
            ("Baton", "decided on #1 (assistant, epoch 0)"),
            ("Assistant", "answered"),
            ("Baton", "decided on #3 (assistant, epoch 0)"),
            ("Baton", "sends to WhatsApp, attempt 1"),
            ("WhatsApp", "attempt 1: accepted"),
        ]
    );
    assert_eq!(told.entries[1].since_previous_ms, Some(1000));
    assert_eq!(told.entries[1].took_ms, Some(1000));
    assert_eq!(told.customer.name.as_deref(), Some("Ana"));
}

#[test]
fn a_message_without_an_answer_is_open_and_a_failed_send_is_counted() {
    let mut story = Story::new();
    question(&mut story, 1);
    story.receipt(Some(format!("{}-1", send_id(1))), "", "failed");
    story.wrote("hello?");
    let told = story.tell(1).unwrap();
    assert_eq!(
        told.ledger.to_string(),
        "2 in, 1 forwarded or answered (1 open); 1 out, 0 delivered (1 failed)"
    );
}

#[test]
fn what_a_transcript_or_a_forward_covers_reached_people() {
    let mut story = Story::new();
    let first = question(&mut story, 1);
    let wish = story.wrote("a person please");
    let thread = ThreadId(uuid("thread", &[]));
    let cause = Cause { answers: wish, index: 0 };
    story.state.epoch = 1;
    story.state.owner = Owner::Opening(Opening {
        thread,
        follow: cause,
        brief: domain::session::Brief::because("asked"),
        stage: Stage::Following,
        failures: 0,
        transcript_through: wish,
        held: None,
        told: false,
        patience: cause,
        rep_present: false,
        ended: false,
        note_only: false,
    });
    let open = Call::Open {
        thread,
        session: session(1),
        brief: domain::session::Brief::because("asked"),
        from: first,
        through: wish,
        again: false,
    };
    story.decides(wish, vec![Output::Call(open)]);
    assert_eq!(story.tell(1).unwrap().ledger.forwarded, 0, "the call is not answered yet");
    let result = v1::CallResult { call: cause.to_string(), result: 1, detail: String::new() };
    story.fact(Kind::Thread, Body::CallResult(result));
    let late = story.wrote("thanks");
    story.decides(late, vec![Output::Call(Call::Forward { thread, from: late, through: late })]);
    // Asked before the handoff, answered after it.
    story.answers("1-0", 0, "too late");
    let told = story.tell(1).unwrap();
    assert_eq!((told.ledger.received, told.ledger.forwarded, told.ledger.open), (3, 3, 0));
    assert_eq!(told.session.owner, "opening");
    let what = |text: &str| told.entries.iter().any(|line| line.what.contains(text));
    assert!(what("assistant → opening (epoch 1)"));
    assert!(what("dropped: asked in epoch 0, now 1"));
}

#[test]
fn sessions_of_one_conversation_are_told_apart() {
    let mut story = Story::new();
    question(&mut story, 1);
    let second = question(&mut story, 2);
    // A receipt of the first session, after the second began.
    let receipt = story.receipt(Some(format!("{}-1", send_id(1))), "", "read");
    let first = story.tell(1).unwrap();
    assert!(!first.session.current);
    assert_eq!(first.entries.last().unwrap().seq, receipt);
    assert!(first.entries.iter().all(|line| line.seq < second || line.seq == receipt));
    assert_eq!(first.ledger.to_string(), "1 in, 1 forwarded or answered; 1 out, 1 delivered");
    let second = story.tell(2).unwrap();
    assert!(second.session.current);
    assert_eq!(second.entries.len(), 6);
    assert_eq!(second.ledger.to_string(), "1 in, 1 forwarded or answered; 1 out, 0 delivered (1 pending)");
    assert!(story.tell(3).is_none());
}

#[test]
fn a_long_text_is_delivered_when_all_its_parts_are() {
    let mut story = Story::new();
    let asked = story.wrote("tell me everything");
    story.opens(1, asked);
    let decided = story.decides(asked, vec![send(1, &"word ".repeat(1500))]);
    let part = send_id(99);
    story.sends(decided, send_id(1), "a");
    story.sends(decided, part, "b");
    story.receipt(Some(format!("{}-1", send_id(1))), "a", "delivered");
    let state = |story: &Story| story.tell(1).unwrap().entries[1].outputs[0].delivery.clone().unwrap();
    assert_eq!((state(&story).state, state(&story).parts), (DeliveryState::Accepted, 2));
    story.receipt(Some(format!("{part}-1")), "b", "delivered");
    assert_eq!(state(&story).state, DeliveryState::Delivered);
    assert_eq!(state(&story).ticks.len(), 2);
}

#[test]
fn receipts_may_come_in_any_order_and_of_several_attempts() {
    for (order, expected) in [
        (["sent", "delivered"], DeliveryState::Delivered),
        (["delivered", "sent"], DeliveryState::Delivered),
        (["delivered", "failed"], DeliveryState::Delivered),
        (["failed", "read"], DeliveryState::Read),
        (["sent", "failed"], DeliveryState::Failed),
    ] {
        let mut story = Story::new();
        question(&mut story, 1);
        for status in order {
            story.receipt(Some(format!("{}-1", send_id(1))), "", status);
        }
        let told = story.tell(1).unwrap();
        assert_eq!(told.entries[3].outputs[0].delivery.as_ref().unwrap().state, expected, "{order:?}");
    }
}

#[test]
fn what_cannot_be_read_is_shown_as_such() {
    let mut story = Story::new();
    question(&mut story, 1);
    story.add(Kind::Salesforce, Content::Unreadable);
    assert!(story.tell(1).unwrap().entries.last().unwrap().what.contains("cannot read"));
}
