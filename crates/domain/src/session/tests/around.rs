//! What customers do beside writing: reactions, other numbers, other responders.

use super::*;
use crate::{message::IdentityChange, settings::Nobody};

fn text(words: &str) -> Box<Content> {
    Box::new(Content::Text(words.into()))
}

#[test]
fn a_reaction_reaches_the_rep_and_asks_nobody() {
    let reaction = || Content::Reaction { to: Wamid::new("w"), emoji: Some("👍".into()) };
    let mut walk = Walk::live();
    assert!(matches!(walk.sends(reaction())[..], [Output::Call(Call::Forward { .. })]));
    let mut walk = Walk::new();
    walk.says("hello");
    assert_eq!(walk.sends(reaction()), []);
}

#[test]
fn an_answer_from_the_business_app_keeps_the_assistant_quiet() {
    let mut walk = Walk::new();
    let asked = walk.says("hello");
    assert_eq!(walk.sends(Content::Echo(text("I am on it"))), []);
    assert_eq!(walk.answers(&asked, reply("hi")), [], "what it was about to say is dropped");
    assert_eq!(walk.says("thanks"), [], "and it is not asked");
    walk.hours_pass(1);
    assert!(walk.says("one more").iter().any(|o| matches!(o, Output::Ask(_))));
}

#[test]
fn a_rep_sees_what_was_answered_in_the_business_app() {
    let mut walk = Walk::live();
    assert!(matches!(&walk.sends(Content::Echo(text("yes")))[..],
        [Output::Call(Call::Note { text, .. })] if text.contains("yes")));
}

#[test]
fn what_another_responder_handles_is_noted_and_not_answered() {
    let mut walk = Walk::new();
    assert_eq!(walk.sends(Content::Standby(text("hello"))), []);
    assert_eq!(walk.sends(Content::OtherResponder(text("how can I help?"))), []);
    let first = walk.state.session.clone().unwrap().first;
    let passed = walk.sends(Content::ControlPassed { reason: Some("asked".into()), summary: None });
    assert!(passed.iter().any(|o| matches!(o, Output::Follow { .. })), "a request for a person");
    let opened = walk.follow_is_up();
    assert!(
        matches!(calls(&opened)[..], [Call::Open { from, .. }] if *from == first),
        "with all that was said"
    );
}

#[test]
fn the_escalation_partner_takes_the_thread_and_releases_it() {
    let mut walk = Walk::new();
    walk.routing = true;
    assert!(walk.asks_for_a_person().contains(&Output::Control(ControlAction::Take)));
    walk.follow_is_up();
    walk.call_ends(CallResult::Done);
    let ended = walk.status(MessagingSessionStatus::Ended, "s1");
    assert!(ended.contains(&Output::Control(ControlAction::Release)));
}

#[test]
fn a_customer_with_a_new_id_keeps_session_thread_and_rep() {
    let mut old = Walk::live();
    let (thread, session) = (old.thread(), old.state.session.clone().unwrap().id);
    let after = Customer { bsuid: Some("US.2".into()), ..Customer::default() };
    let before = Customer { bsuid: Some("US.1".into()), ..Customer::default() };
    let moved = old.sends(Content::Identity(IdentityChange { before, after }));
    let Some(Output::Move(state)) = moved.first() else { panic!("{moved:?}") };
    assert!(moved.contains(&Output::Unfollow { thread }));
    assert_eq!(old.state.owner, Owner::Assistant);

    let keying = Keying::new(&SecretString::from("test"));
    let mut new = Walk::new();
    new.key = keying.conversation(&PhoneNumberId::new("1"), &CustomerId::new("US.2"));
    new.contact = keying.contact(&CustomerId::new("US.2"));
    new.seq = 100;
    assert_eq!(new.play(&Fact::Adopted(state.clone())), [Output::Follow { thread }]);
    assert_eq!(new.state.session.clone().unwrap().id, session);
    assert_eq!(new.state.contact, Some(old.contact));
    assert!(
        matches!(new.says("still me")[..], [Output::Call(Call::Forward { thread: to, .. })] if to == thread)
    );
    assert_eq!(sent(&new.salesforce(rep_wrote("good"))), ["good"]);
}

#[test]
fn what_was_written_under_the_new_ids_before_the_change_was_told_reaches_the_rep() {
    let mut old = Walk::live();
    let after = Customer { bsuid: Some("US.2".into()), ..Customer::default() };
    let before = Customer { bsuid: Some("US.1".into()), ..Customer::default() };
    let moved = old.sends(Content::Identity(IdentityChange { before, after }));
    let Some(Output::Move(state)) = moved.first() else { panic!("{moved:?}") };
    let mut new = Walk::new();
    let asked = new.says("my new number");
    let first = new.seq;
    let adopted = new.play(&Fact::Adopted(state.clone()));
    assert!(matches!(calls(&adopted)[..], [Call::Forward { from, .. }] if *from == first), "{adopted:?}");
    assert_eq!(new.answers(&asked, reply("hello")), [], "the assistant does not talk over the rep");
}

#[test]
fn a_new_phone_number_alone_changes_nothing_but_the_number() {
    let mut walk = Walk::live();
    let ids = |phone: &str| Customer {
        phone: Some(phone.into()),
        bsuid: Some("US.1".into()),
        ..Customer::default()
    };
    let changed = walk.sends(Content::Identity(IdentityChange { before: ids("1"), after: ids("2") }));
    assert_eq!((changed, walk.state.customer.phone.as_deref()), (vec![], Some("2")));
}

#[test]
fn a_stop_word_ends_the_chat_after_the_rep_has_seen_it() {
    let mut walk = Walk::live();
    walk.policy.stop_words = vec!["stop".into()];
    assert!(matches!(calls(&walk.says(" STOP "))[..], [Call::Forward { .. }, Call::EndSession { .. }]));
    assert!(matches!(calls(&walk.says("do not stop"))[..], [Call::Forward { .. }]));
}

#[test]
fn with_nobody_there_the_channel_says_whether_to_wait() {
    let mut walk = Walk::waiting();
    assert_eq!(sent(&walk.salesforce(Happening::RoutingFailed)).len(), 1);
    assert!(matches!(walk.state.owner, Owner::Waiting(_)));
    let mut walk = Walk::waiting();
    walk.policy.nobody_available = Nobody::BackToAssistant;
    let gone = walk.salesforce(Happening::RoutingFailed);
    assert!(matches!(calls(&gone)[..], [Call::EndSession { .. }]));
    assert_eq!((sent(&gone).len(), walk.state.owner.clone()), (1, Owner::Assistant));
}

#[test]
fn the_place_in_the_queue_is_told_now_and_then() {
    let mut walk = Walk::waiting();
    let queued = |position| Happening::Queued { position: Some(position), wait_seconds: None };
    walk.hours_pass(1);
    assert_eq!(sent(&walk.salesforce(queued(3))), ["You are number 3 in the queue."]);
    assert_eq!(sent(&walk.salesforce(queued(2))).len(), 0);
    walk.time += 61_000;
    assert_eq!(sent(&walk.salesforce(queued(1))).len(), 1);
}

#[test]
fn a_fast_typist_is_joined_never_lost_and_within_the_rate() {
    let mut walk = Walk::live();
    walk.time += 120_000;
    let mut forwards: Vec<(Millis, Seq, Seq)> = Vec::new();
    let mut said = Vec::new();
    for round in 0..300 {
        walk.time += 400;
        let mut outputs = walk.says("and another thing");
        said.push(walk.seq);
        let due = match &walk.state.owner {
            Owner::Live(thread) => thread.flush.filter(|_| round == 299 || thread.next_at() <= walk.time),
            _ => None,
        };
        if let Some(timer) = due {
            outputs.extend(walk.play(&Fact::Fired { timer }));
        }
        let forward = |call: &Call| match call {
            Call::Forward { from, through, .. } => Some((walk.time, *from, *through)),
            _ => None,
        };
        forwards.extend(calls(&outputs).into_iter().filter_map(forward));
    }
    for seq in said {
        let times = forwards.iter().filter(|(_, from, through)| (*from..=*through).contains(&seq)).count();
        assert_eq!(times, 1, "entry {seq}");
    }
    for (start, ..) in &forwards {
        let in_a_minute = forwards.iter().filter(|(at, ..)| (*start..start + 60_000).contains(at)).count();
        assert!(in_a_minute <= 22, "{in_a_minute} messages in the minute from {start}");
    }
}
