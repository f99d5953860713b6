//! Values in, values out. `Walk` plays facts against the machine and keeps what it asked for.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at one kind of state and skips the others")]

use std::time::Duration;

use proptest::prelude::*;
use secrecy::SecretString;

use super::*;
use crate::{
    CustomerId, Wamid,
    derive::Keying,
    message::{Content, MessageContext},
};

mod after_hours;
mod around;
mod outreach;
mod quiet;
mod window;

struct Walk {
    key: ConversationKey,
    contact: ContactId,
    policy: Policy,
    assistant_on: bool,
    routing: bool,
    outreaches: Vec<crate::outreach::Sent>,
    state: Conversation,
    seq: Seq,
    time: Millis,
}

impl Walk {
    fn new() -> Self {
        let keying = Keying::new(&SecretString::from("test"));
        let number = PhoneNumberId::new("1");
        let customer = CustomerId::new("US.1");
        Self {
            key: keying.conversation(&number, &customer),
            contact: keying.contact(&customer),
            // Most tests are about what follows the quiet time.
            policy: Policy { quiet_seconds: Duration::ZERO, ..Policy::default() },
            assistant_on: true,
            routing: false,
            outreaches: Vec::new(),
            state: Conversation::new(number),
            seq: 0,
            time: 1_000_000,
        }
    }

    fn thread(&self) -> ThreadId {
        let state = Conversation { contact: Some(self.contact), ..self.state.clone() };
        state.thread_id(&self.key).unwrap()
    }

    fn play(&mut self, fact: &Fact) -> Vec<Output> {
        self.seq += 1;
        self.time += 1;
        let context = Context {
            key: self.key,
            contact: self.contact,
            policy: &self.policy,
            assistant_on: self.assistant_on,
            has_team: true,
            routing: self.routing,
            outreaches: &self.outreaches,
        };
        let at = At { seq: self.seq, time: self.time };
        let decision = decide(self.state.clone(), at, fact, &context);
        self.state = decision.state;
        decision.outputs
    }

    fn says(&mut self, text: &str) -> Vec<Output> {
        self.sends(Content::Text(text.into()))
    }

    fn sends(&mut self, content: Content) -> Vec<Output> {
        let fact = Fact::Inbound(InboundMessage {
            number: PhoneNumberId::new("1"),
            wamid: Wamid::new(format!("wamid.{}", self.seq)),
            sent_at: self.time,
            customer: Customer { bsuid: Some("US.1".into()), ..Customer::default() },
            content,
            context: MessageContext::default(),
        });
        self.play(&fact)
    }

    fn hours_pass(&mut self, hours: i64) {
        self.time += hours * 3_600_000;
    }

    /// The assistant answers the newest question.
    fn answers(&mut self, outputs: &[Output], answer: Answer) -> Vec<Output> {
        let ask = outputs
            .iter()
            .find_map(|o| if let Output::Ask(ask) = o { Some(ask.clone()) } else { None })
            .unwrap();
        let cause = Cause { answers: self.seq, index: 0 };
        self.play(&Fact::Answered(Answered { ask: cause, epoch: ask.epoch, answer, language: None }))
    }

    fn asks_for_a_person(&mut self) -> Vec<Output> {
        let asked = self.says("a person please");
        self.answers(&asked, Answer::Handoff(Brief::because("asked")))
    }

    fn follow_is_up(&mut self) -> Vec<Output> {
        let (_, follow) = self.state.followed_thread().unwrap();
        self.play(&Fact::Followed { follow })
    }

    fn call_ends(&mut self, result: CallResult) -> Vec<Output> {
        let Owner::Opening(Opening { stage: Stage::Creating { call }, .. }) = self.state.owner else {
            panic!()
        };
        self.play(&Fact::Called { call, result })
    }

    fn salesforce(&mut self, what: Happening) -> Vec<Output> {
        let event = SalesforceEvent {
            thread: self.thread(),
            entry: EntryId::new(self.seq.to_string()),
            at: self.time,
            what,
        };
        self.play(&Fact::Salesforce(event))
    }

    fn status(&mut self, status: MessagingSessionStatus, session: &str) -> Vec<Output> {
        self.salesforce(Happening::Status { status, session: session.into() })
    }

    fn waiting() -> Self {
        let mut walk = Self::new();
        walk.asks_for_a_person();
        walk.follow_is_up();
        walk.call_ends(CallResult::Done);
        walk
    }

    fn live() -> Self {
        let mut walk = Self::waiting();
        walk.status(MessagingSessionStatus::Active, "s1");
        walk
    }
}

fn reply(text: &str) -> Answer {
    Answer::Reply { body: Outgoing::Text(text.into()) }
}

fn rep_wrote(text: &str) -> Happening {
    Happening::RepWrote { bodies: vec![Outgoing::Text(text.into())] }
}

fn sent(outputs: &[Output]) -> Vec<String> {
    outputs
        .iter()
        .filter_map(|o| if let Output::Send(send) = o { Some(send.body.as_text()) } else { None })
        .collect()
}

fn calls(outputs: &[Output]) -> Vec<&Call> {
    outputs.iter().filter_map(|o| if let Output::Call(call) = o { Some(call) } else { None }).collect()
}

#[test]
fn a_customer_is_asked_for_handed_over_and_brought_back() {
    let mut walk = Walk::new();
    let asked = walk.says("hello");
    assert_eq!(sent(&walk.answers(&asked, reply("hi"))), ["hi"]);
    let session = walk.state.session.clone().unwrap();

    let opening = walk.asks_for_a_person();
    assert!(matches!(opening[0], Output::Follow { thread } if thread == walk.thread()));
    assert_eq!(sent(&opening), [walk.policy.texts.connecting.as_str()]);
    let create = walk.follow_is_up();
    assert!(
        matches!(calls(&create)[..], [Call::Open { session: id, from, through, again: false, .. }]
        if *id == session.id && *from == session.first && *through == 4),
        "{create:?}"
    );
    walk.call_ends(CallResult::Done);
    assert!(matches!(walk.state.owner, Owner::Waiting(_)));

    walk.status(MessagingSessionStatus::Active, "s1");
    assert!(matches!(walk.state.owner, Owner::Live(_)));
    assert_eq!(sent(&walk.salesforce(rep_wrote("I can help"))), ["I can help"]);
    assert!(matches!(calls(&walk.says("thanks"))[..], [Call::Forward { .. }]));

    let ended = walk.status(MessagingSessionStatus::Ended, "s1");
    assert!(ended.iter().any(|o| matches!(o, Output::Unfollow { .. })));
    assert_eq!(walk.state.owner, Owner::Assistant);
    let again = walk.says("one more thing");
    assert!(matches!(
        &again[..],
        [Output::Seen { typing: true, .. }, Output::Ask(Ask { human_until: Some(_), .. })]
    ));
    assert_eq!(walk.state.session.as_ref().unwrap().id, session.id);
}

#[test]
fn a_second_handoff_opens_a_new_messaging_session_and_shows_only_what_is_new() {
    let mut walk = Walk::live();
    walk.status(MessagingSessionStatus::Ended, "s1");
    let given_back_at = walk.seq;
    walk.asks_for_a_person();
    let create = walk.follow_is_up();
    assert!(
        matches!(calls(&create)[..], [Call::Open { again: true, from, .. }] if *from == given_back_at + 1)
    );
}

#[test]
fn a_burst_of_requests_opens_one_thread() {
    let mut walk = Walk::new();
    let asks: Vec<_> = (0..20).map(|_| walk.says("human")).collect();
    let mut follows = 0;
    for asked in asks {
        let outputs = walk.answers(&asked, Answer::Handoff(Brief::because("asked")));
        follows += outputs.iter().filter(|o| matches!(o, Output::Follow { .. })).count();
    }
    assert_eq!(follows, 1);
}

#[test]
fn an_answer_asked_under_an_earlier_owner_is_dropped() {
    let mut walk = Walk::waiting();
    let asked = walk.says("what are your hours?");
    walk.status(MessagingSessionStatus::Active, "s1");
    assert_eq!(walk.answers(&asked, reply("nine to five")), []);
}

#[test]
fn while_waiting_the_assistant_helps_and_the_rep_sees_it() {
    let mut walk = Walk::waiting();
    let asked = walk.says("what are your hours?");
    let answered = walk.answers(&asked, reply("nine to five"));
    assert_eq!(sent(&answered), ["nine to five"]);
    assert!(matches!(calls(&answered)[..], [Call::Note { .. }]));
}

#[test]
fn messages_that_come_while_a_thread_opens_wait_for_it() {
    let mut walk = Walk::new();
    walk.asks_for_a_person();
    assert_eq!(calls(&walk.says("are you there?")), Vec::<&Call>::new());
    let first = walk.seq;
    walk.follow_is_up();
    walk.says("hello?");
    let last = walk.seq;
    let opened = walk.call_ends(CallResult::Done);
    assert!(
        matches!(calls(&opened)[..], [Call::Forward { from, through, .. }] if (*from, *through) == (first, last))
    );
}

#[test]
fn salesforce_down_at_the_handoff_tells_the_customer_once_and_keeps_trying() {
    let mut walk = Walk::new();
    walk.asks_for_a_person();
    walk.follow_is_up();
    let mut told = 0;
    for result in [CallResult::Unavailable, CallResult::Refused, CallResult::Unavailable] {
        let outputs = walk.call_ends(result);
        told += sent(&outputs).len();
        let Owner::Opening(Opening { stage: Stage::Resting { timer }, .. }) = walk.state.owner else {
            panic!()
        };
        let again = walk.play(&Fact::Fired { timer });
        assert!(matches!(calls(&again)[..], [Call::Open { .. }]));
    }
    assert_eq!(told, 1);
    walk.call_ends(CallResult::Done);
    assert!(matches!(walk.state.owner, Owner::Waiting(_)));
}

#[test]
fn an_overtaken_timer_does_nothing() {
    let mut walk = Walk::new();
    walk.asks_for_a_person();
    let Owner::Opening(Opening { patience, .. }) = walk.state.owner else { panic!() };
    walk.follow_is_up();
    walk.call_ends(CallResult::Done);
    assert_eq!(walk.play(&Fact::Fired { timer: patience }), []);
}

#[test]
fn a_rep_who_leaves_ends_nothing() {
    let mut walk = Walk::live();
    assert_eq!(walk.salesforce(Happening::RepLeft), []);
    assert!(matches!(walk.state.owner, Owner::Live(_)));
}

#[test]
fn inactive_is_not_the_end() {
    let mut walk = Walk::live();
    walk.status(MessagingSessionStatus::Inactive, "s1");
    assert!(matches!(walk.state.owner, Owner::Inactive(_)));
    assert!(matches!(calls(&walk.says("still here"))[..], [Call::Forward { .. }]));
    walk.status(MessagingSessionStatus::Waiting, "s1");
    assert!(matches!(walk.state.owner, Owner::Waiting(_)));
    walk.salesforce(Happening::RepJoined);
    assert!(matches!(walk.state.owner, Owner::Live(_)));
}

#[test]
fn late_events_of_an_ended_messaging_session_do_not_touch_the_next_one() {
    let mut walk = Walk::live();
    walk.status(MessagingSessionStatus::Ended, "s1");
    walk.asks_for_a_person();
    walk.follow_is_up();
    walk.call_ends(CallResult::Done);
    walk.status(MessagingSessionStatus::Ended, "s1");
    assert!(matches!(walk.state.owner, Owner::Waiting(_)));
    // What a rep wrote is sent all the same.
    assert_eq!(sent(&walk.salesforce(rep_wrote("bye"))), ["bye"]);
}

#[test]
fn a_session_that_ends_before_our_call_was_answered_brings_the_assistant_back() {
    let mut walk = Walk::new();
    walk.asks_for_a_person();
    walk.follow_is_up();
    walk.status(MessagingSessionStatus::Active, "s1");
    walk.status(MessagingSessionStatus::Ended, "s1");
    walk.call_ends(CallResult::Done);
    assert_eq!(walk.state.owner, Owner::Assistant);
}

#[test]
fn a_status_that_arrives_late_does_not_turn_the_clock_back() {
    let mut walk = Walk::waiting();
    let early = walk.time;
    walk.time += 1000;
    walk.status(MessagingSessionStatus::Active, "s1");
    let what = Happening::Status { status: MessagingSessionStatus::Waiting, session: "s1".into() };
    let event = SalesforceEvent { thread: walk.thread(), entry: EntryId::new("x"), at: early, what };
    walk.play(&Fact::Salesforce(event));
    assert!(matches!(walk.state.owner, Owner::Live(_)));
}

#[test]
fn with_the_assistant_off_the_first_message_goes_to_people() {
    let mut walk = Walk::new();
    walk.assistant_on = false;
    assert!(walk.says("hello").iter().any(|o| matches!(o, Output::Follow { .. })));
}

#[test]
fn silence_beyond_the_limit_opens_a_new_session_but_never_under_a_rep() {
    for (mut walk, renewed) in [(Walk::new(), true), (Walk::live(), false)] {
        walk.says("hello");
        let before = walk.state.session.clone().unwrap().id;
        walk.time += 25 * 3600 * 1000;
        walk.says("hello again");
        assert_eq!(walk.state.session.unwrap().id != before, renewed);
    }
}

#[test]
fn the_rep_is_told_what_did_not_arrive() {
    let mut walk = Walk::live();
    let send = SendId(crate::derive::uuid("x", &[]));
    let fact = Fact::Undelivered {
        send,
        reason: Undeliverable::WindowClosed,
        excerpt: "Your order".into(),
        lost: None,
    };
    let told = walk.play(&fact);
    assert!(
        matches!(calls(&told)[..], [Call::Note { text, .. }] if text.contains("24-hour") && text.contains("Your order"))
    );
}

#[derive(Debug, Clone)]
enum Step {
    Says,
    Answer(bool, u32),
    Follow,
    Call(bool),
    Fire,
    Status(MessagingSessionStatus, bool),
    RepWrote,
    RepJoined,
    RepLeft,
    Closed,
    Operator(Command),
}

fn step() -> impl Strategy<Value = Step> {
    use MessagingSessionStatus::{Active, Ended, Inactive, Waiting};
    prop_oneof![
        4 => Just(Step::Says),
        4 => (any::<bool>(), 0u32..3).prop_map(|(handoff, age)| Step::Answer(handoff, age)),
        3 => Just(Step::Follow),
        3 => any::<bool>().prop_map(Step::Call),
        2 => Just(Step::Fire),
        4 => (prop::sample::select(vec![Waiting, Active, Inactive, Ended]), any::<bool>()).prop_map(|(s, old)| Step::Status(s, old)),
        3 => Just(Step::RepWrote),
        1 => Just(Step::RepJoined),
        1 => Just(Step::RepLeft),
        1 => Just(Step::Closed),
        1 => prop::sample::select(vec![Command::HandOff, Command::GiveBack]).prop_map(Step::Operator),
    ]
}

proptest! {
    /// Whatever happens in whatever order: the assistant never speaks while a rep is there or
    /// under an old epoch, a rep's words always leave, an epoch only grows, every message a
    /// customer writes to people is forwarded or waits for the thread, and whoever leaves the
    /// people's side is told so.
    #[test]
    fn the_rules_hold_in_every_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut walk = Walk::new();
        let mut messaging_session = 0;
        for step in steps {
            let before = walk.state.clone();
            let outputs = match &step {
                Step::Says => walk.says("hello"),
                Step::Answer(handoff, age) => {
                    let epoch = before.epoch.saturating_sub(*age);
                    let answer = if *handoff { Answer::Handoff(Brief::because("r")) } else { reply("a") };
                    walk.play(&Fact::Answered(Answered { ask: Cause { answers: 1, index: 0 }, epoch, answer, language: None }))
                }
                Step::Follow => match before.followed_thread() {
                    Some((_, follow)) => walk.play(&Fact::Followed { follow }),
                    None => continue,
                },
                Step::Call(done) => match before.owner {
                    Owner::Opening(Opening { stage: Stage::Creating { call }, .. }) => {
                        let result = if *done { CallResult::Done } else { CallResult::Unavailable };
                        walk.play(&Fact::Called { call, result })
                    }
                    _ => continue,
                },
                Step::Fire => match before.owner {
                    Owner::Opening(Opening { stage: Stage::Resting { timer }, .. }) => walk.play(&Fact::Fired { timer }),
                    _ => continue,
                },
                Step::Status(status, old) => {
                    let session = if *old { "s-old".to_owned() } else { format!("s{messaging_session}") };
                    if *status == MessagingSessionStatus::Ended && !old {
                        messaging_session += 1;
                    }
                    walk.status(*status, &session)
                }
                Step::RepWrote => walk.salesforce(rep_wrote("rep")),
                Step::RepJoined => walk.salesforce(Happening::RepJoined),
                Step::RepLeft => walk.salesforce(Happening::RepLeft),
                Step::Closed => walk.salesforce(Happening::Closed),
                Step::Operator(command) => walk.play(&Fact::Operator(*command)),
            };
            let after = &walk.state;
            let spoke = outputs.iter().any(|o| matches!(o, Output::Send(Send { origin: Origin::Assistant, .. })));
            let rep_there = matches!(before.owner, Owner::Live(_) | Owner::Inactive(_));
            if let Step::Answer(_, age) = step {
                prop_assert!(!spoke || (age == 0 || before.epoch == 0) && !rep_there);
            } else {
                prop_assert!(!spoke);
            }
            if matches!(step, Step::RepWrote) && before.contact.is_some() {
                prop_assert_eq!(sent(&outputs), ["rep"]);
            }
            if matches!(step, Step::Says) {
                let forwarded = calls(&outputs).iter().any(|c| matches!(c, Call::Forward { through, .. } if *through == walk.seq));
                let waiting = match &after.owner {
                    Owner::Opening(opening) => opening.held,
                    // Its timer is set: too much at once for Salesforce.
                    Owner::Waiting(thread) | Owner::Live(thread) | Owner::Inactive(thread) => {
                        thread.held.filter(|_| thread.flush.is_some())
                    }
                    Owner::Assistant => None,
                };
                let held = waiting.is_some_and(|held| held.through == walk.seq);
                let asked = outputs.iter().any(|o| matches!(o, Output::Ask(ask) if ask.epoch == after.epoch));
                prop_assert!(forwarded || held || asked);
            }
            prop_assert!(after.epoch >= before.epoch);
            let side = |c: &Conversation| std::mem::discriminant(&c.owner);
            let was_assisted = matches!(before.owner, Owner::Assistant);
            let is_assisted = matches!(after.owner, Owner::Assistant);
            if was_assisted != is_assisted || (side(&before) != side(after) && (rep_there || matches!(after.owner, Owner::Live(_)))
                && !(matches!(before.owner, Owner::Inactive(_)) && matches!(after.owner, Owner::Waiting(_)))
                && !matches!((&before.owner, &after.owner), (Owner::Live(_), Owner::Inactive(_)) | (Owner::Inactive(_), Owner::Live(_))))
            {
                prop_assert!(after.epoch > before.epoch, "{:?} -> {:?}", before.owner, after.owner);
            }
            if !was_assisted && is_assisted {
                let unfollowed = outputs.iter().any(|o| matches!(o, Output::Unfollow { .. }));
                prop_assert!(unfollowed && !sent(&outputs).is_empty());
            }
        }
    }
}
