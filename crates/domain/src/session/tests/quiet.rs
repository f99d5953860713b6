//! The quiet time, and what the assistant's other answers do.

use super::*;

fn patient() -> Walk {
    let mut walk = Walk::new();
    walk.policy.quiet_seconds = Duration::from_secs(3);
    walk.policy.longest_quiet_seconds = Duration::from_secs(10);
    walk
}

fn asks(outputs: &[Output]) -> Vec<&Ask> {
    outputs.iter().filter_map(|o| if let Output::Ask(ask) = o { Some(ask) } else { None }).collect()
}

fn timer_at(outputs: &[Output]) -> Option<Millis> {
    outputs.iter().find_map(|o| if let Output::Timer { at } = o { Some(*at) } else { None })
}

impl Walk {
    /// The newest timer of the quiet time fires.
    fn falls_quiet(&mut self) -> Vec<Output> {
        let timer = self.state.unanswered.as_ref().unwrap().timer.unwrap();
        self.play(&Fact::Fired { timer })
    }
}

#[test]
fn several_short_messages_make_one_turn() {
    let mut walk = patient();
    let first = walk.says("hi");
    assert!(asks(&first).is_empty());
    assert!(matches!(first[0], Output::Seen { typing: true, .. }), "the customer sees that it was read");
    let overtaken = walk.state.unanswered.as_ref().unwrap().timer.unwrap();
    let began = walk.time;
    walk.time += 2_000;
    let second = walk.says("my order");
    assert_eq!(timer_at(&second), Some(walk.time + 3_000));
    assert_eq!(walk.play(&Fact::Fired { timer: overtaken }), [], "the customer wrote on");
    walk.time += 2_000;
    walk.says("is late");
    walk.time = began + 8_500;
    let last = walk.says("!");
    assert_eq!(timer_at(&last), Some(began + 10_000), "not for ever");
    let outputs = walk.falls_quiet();
    assert_eq!(asks(&outputs)[0].text, "hi\nmy order\nis late\n!");
    let outputs = walk.answers(&outputs, reply("on its way"));
    assert_eq!(sent(&outputs), ["on its way"]);
    assert_eq!(walk.state.unanswered, None);
}

#[test]
fn a_newer_message_cancels_an_answer_in_the_making() {
    let mut walk = patient();
    walk.says("where is my order");
    let asked = walk.falls_quiet();
    let first = asks(&asked)[0].clone();
    walk.says("number 7");
    let cause = Cause { answers: 1, index: 0 };
    let late = Answered { ask: cause, epoch: first.epoch, answer: reply("which one?"), language: None };
    assert_eq!(walk.play(&Fact::Answered(late)), [], "it knew too little");
    let asked = walk.falls_quiet();
    let ask = asks(&asked)[0].clone();
    assert_eq!(ask.text, "where is my order\nnumber 7");
    assert!(ask.epoch > first.epoch);
    let late = Answered { ask: cause, epoch: first.epoch, answer: Answer::Silence, language: None };
    walk.play(&Fact::Answered(late));
    assert!(walk.state.unanswered.is_some(), "still waits for its answer");
    assert_eq!(sent(&walk.answers(&asked, reply("tomorrow"))), ["tomorrow"]);
}

#[test]
fn whoever_takes_over_in_the_quiet_time_is_not_talked_over() {
    let mut walk = patient();
    walk.says("hello");
    walk.play(&Fact::Operator(Command::HandOff));
    assert_eq!(walk.state.unanswered, None);
    let mut walk = patient();
    walk.says("hello");
    let timer = walk.state.unanswered.as_ref().unwrap().timer.unwrap();
    walk.sends(Content::Echo(Box::new(Content::Text("it is me".into()))));
    assert_eq!(walk.play(&Fact::Fired { timer }), []);
}

#[test]
fn while_waiting_for_a_person_the_turn_is_a_helping_one() {
    let mut walk = Walk::waiting();
    walk.policy.quiet_seconds = Duration::from_secs(3);
    walk.says("opening hours?");
    let asked = walk.falls_quiet();
    assert!(asks(&asked)[0].helping);
    walk.says("hello?");
    walk.status(MessagingSessionStatus::Active, "s1");
    assert_eq!(walk.state.unanswered, None, "a rep is there");
}

#[test]
fn switched_off_in_the_quiet_time_the_customer_goes_to_the_team() {
    let mut walk = patient();
    walk.says("hello");
    walk.assistant_on = false;
    walk.falls_quiet();
    assert!(matches!(walk.state.owner, Owner::Opening(_)));
    assert_eq!(walk.state.unanswered, None);
}

#[test]
fn what_waits_in_the_quiet_time_moves_along_with_the_customer() {
    let mut walk = patient();
    walk.says("hello");
    let before = walk.state.clone();
    walk.state = Conversation::new(PhoneNumberId::new("1"));
    walk.play(&Fact::Adopted(Box::new(before)));
    let asked = walk.falls_quiet();
    assert_eq!(asks(&asked)[0].text, "hello");
}

#[test]
fn a_closed_session_is_over_and_the_next_message_opens_another() {
    let mut walk = Walk::new();
    let asked = walk.says("thanks, that was all");
    let first = walk.state.session.clone().unwrap().id;
    let goodbye = Answer::Close { body: Some(Outgoing::Text("Goodbye!".into())) };
    assert_eq!(sent(&walk.answers(&asked, goodbye)), ["Goodbye!"]);
    assert_eq!(walk.state.session, None);
    walk.says("one more thing");
    assert_ne!(walk.state.session.unwrap().id, first);
}

#[test]
fn fixed_texts_are_in_the_customers_language() {
    let mut walk = Walk::new();
    let asked = walk.says("quiero hablar con una persona");
    let brief = Brief { language: Some("es_MX".into()), ..Brief::because("asked") };
    let outputs = walk.answers(&asked, Answer::Handoff(brief));
    assert!(sent(&outputs)[0].starts_with("Te pongo en contacto"), "{outputs:?}");
    walk.follow_is_up();
    walk.call_ends(CallResult::Done);
    let outputs = walk.status(MessagingSessionStatus::Ended, "s1");
    assert!(sent(&outputs)[0].starts_with("El chat con nuestro equipo"));
}

/// Both switches, in all four positions: the assistant answers when both are on.
#[test]
fn the_assistant_answers_when_both_switches_are_on() {
    for (autopilot, channel) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut walk = Walk::new();
        walk.assistant_on = autopilot && channel;
        let outputs = walk.says("hello");
        assert_eq!(asks(&outputs).len(), usize::from(autopilot && channel));
        assert_eq!(matches!(walk.state.owner, Owner::Opening(_)), !(autopilot && channel));
    }
}

#[derive(Debug, Clone)]
enum Move {
    Says,
    Fires,
    Answers(usize),
    HandsOff(usize),
    Operator(Command),
    Status(MessagingSessionStatus),
    Follows,
    Calls,
}

fn a_move() -> impl Strategy<Value = Move> {
    use MessagingSessionStatus::{Active, Ended, Waiting};
    prop_oneof![
        6 => Just(Move::Says),
        4 => Just(Move::Fires),
        4 => (0usize..4).prop_map(Move::Answers),
        1 => (0usize..4).prop_map(Move::HandsOff),
        1 => prop::sample::select(vec![Command::HandOff, Command::GiveBack]).prop_map(Move::Operator),
        2 => prop::sample::select(vec![Active, Ended, Waiting]).prop_map(Move::Status),
        1 => Just(Move::Follows),
        1 => Just(Move::Calls),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    /// However slow answers interleave with messages and handoffs: only an answer to the newest
    /// question is heard, under the owner it was asked under, and while the assistant has the
    /// customer nothing that they wrote is forgotten.
    #[test]
    fn no_stale_answer_is_ever_heard(moves in prop::collection::vec(a_move(), 1..60)) {
        let mut walk = patient();
        // Epoch of each question, whether it was answered.
        let mut questions: Vec<(u32, bool)> = Vec::new();
        let mut waiting: Vec<String> = Vec::new();
        for (n, what) in moves.into_iter().enumerate() {
            let before = walk.state.clone();
            let answer = |questions: &mut Vec<(u32, bool)>, age: usize, answer| {
                let index = questions.len().checked_sub(age + 1)?;
                let (epoch, answered) = &mut questions[index];
                if std::mem::replace(answered, true) {
                    return None;
                }
                let ask = Cause { answers: 1, index: 0 };
                Some((index, Fact::Answered(Answered { ask, epoch: *epoch, answer, language: None })))
            };
            let outputs = match what {
                Move::Says => {
                    waiting.push(format!("message {n}"));
                    walk.says(&format!("message {n}"))
                }
                Move::Fires => match before.unanswered.as_ref().and_then(|waiting| waiting.timer) {
                    Some(timer) => walk.play(&Fact::Fired { timer }),
                    None => continue,
                },
                Move::Answers(age) => {
                    let Some((index, fact)) = answer(&mut questions, age, reply("answer")) else { continue };
                    let outputs = walk.play(&fact);
                    let newest = index + 1 == questions.len();
                    let pending = before.unanswered.as_ref().is_some_and(|waiting| waiting.timer.is_some());
                    if sent(&outputs).contains(&"answer".to_owned()) {
                        prop_assert!(newest && !pending, "a stale answer was heard");
                        prop_assert_eq!(questions[index].0, before.epoch);
                    }
                    outputs
                }
                Move::HandsOff(age) => {
                    let Some((_, fact)) = answer(&mut questions, age, Answer::Handoff(Brief::because("r"))) else { continue };
                    walk.play(&fact)
                }
                Move::Operator(command) => walk.play(&Fact::Operator(command)),
                Move::Status(status) => walk.status(status, &format!("s{n}")),
                Move::Follows => match before.followed_thread() {
                    Some((_, follow)) => walk.play(&Fact::Followed { follow }),
                    None => continue,
                },
                Move::Calls => match before.owner {
                    Owner::Opening(Opening { stage: Stage::Creating { .. }, .. }) => walk.call_ends(CallResult::Done),
                    _ => continue,
                },
            };
            if walk.state.unanswered.is_none() {
                let heard = matches!(what, Move::Answers(_) | Move::HandsOff(_));
                prop_assert!(before.unanswered.is_none() || heard || before.epoch != walk.state.epoch, "forgotten");
                waiting.clear();
            }
            for ask in asks(&outputs) {
                questions.push((ask.epoch, false));
                prop_assert_eq!(&ask.text, &waiting.join("\n"));
            }
        }
    }
}
