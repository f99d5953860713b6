//! The 24-hour customer service window.

use super::*;
use crate::settings::RescueTemplate;

fn templates(outputs: &[Output]) -> usize {
    outputs.iter().filter(|o| matches!(o, Output::Send(Send { body: Outgoing::Template(_), .. }))).count()
}

fn notes(outputs: &[Output]) -> Vec<&str> {
    calls(outputs)
        .into_iter()
        .filter_map(|call| if let Call::Note { text, .. } = call { Some(text.as_str()) } else { None })
        .collect()
}

fn rescuing() -> Walk {
    let mut walk = Walk::live();
    walk.policy.rescue_template = Some(RescueTemplate {
        name: "hello_again".into(),
        language: "en_US".into(),
        parameters: vec!["{name}".into()],
    });
    walk
}

#[test]
fn a_reps_message_outside_the_window_waits_for_the_customer() {
    let mut walk = rescuing();
    walk.hours_pass(25);
    let first = walk.salesforce(rep_wrote("one"));
    assert_eq!(templates(&first), 1, "the template goes out at once");
    assert!(notes(&first)[0].contains("24 hours"), "and the rep is told");
    let second = walk.salesforce(rep_wrote("two"));
    assert_eq!((templates(&second), notes(&second).len(), sent(&second).len()), (0, 0, 0), "both only once");
    let answered = walk.says("yes?");
    assert_eq!(sent(&answered), ["one", "two"], "in order");
    assert!(walk.state.parked.is_none());
    assert_eq!(sent(&walk.salesforce(rep_wrote("three"))), ["three"]);
}

#[test]
fn just_before_the_window_closes_messages_still_go() {
    let mut walk = Walk::live();
    walk.time = walk.state.customer_wrote_at + 24 * 3_600_000 - 60_000 - 2;
    assert_eq!(sent(&walk.salesforce(rep_wrote("one"))), ["one"]);
    assert_eq!(sent(&walk.salesforce(rep_wrote("two"))).len(), 0);
}

#[test]
fn what_whatsapp_says_is_too_late_is_kept_too() {
    let mut walk = Walk::live();
    let sends = walk.salesforce(rep_wrote("your order"));
    let Some(Output::Send(send)) = sends.iter().find(|o| matches!(o, Output::Send(_))) else { panic!() };
    let lost = ParkedMessage { body: send.body.clone(), quotes: None, origin: send.origin };
    let fact = Fact::Undelivered {
        send: send.id,
        reason: Undeliverable::WindowClosed,
        excerpt: "your order".into(),
        lost: Some(lost),
    };
    assert_eq!(notes(&walk.play(&fact)).len(), 1);
    assert_eq!(sent(&walk.says("hello")), ["your order"]);
}

#[test]
fn kept_messages_are_given_up_in_the_end_and_the_rep_is_told() {
    let mut walk = Walk::live();
    walk.hours_pass(25);
    walk.salesforce(rep_wrote("one"));
    let timer = walk.state.parked.as_ref().unwrap().expiry;
    assert!(notes(&walk.play(&Fact::Fired { timer }))[0].contains("given up"));
    assert_eq!(sent(&walk.says("hello")).len(), 0);
}

#[test]
fn no_more_are_kept_than_the_limit() {
    let mut walk = Walk::live();
    walk.hours_pass(25);
    for _ in 0..Parked::LIMIT {
        walk.salesforce(rep_wrote("again"));
    }
    assert!(notes(&walk.salesforce(rep_wrote("too much")))[0].contains("not kept"));
    assert_eq!(sent(&walk.says("hello")).len(), Parked::LIMIT);
}

#[test]
fn a_template_that_is_refused_is_told() {
    let mut walk = rescuing();
    walk.hours_pass(25);
    walk.salesforce(rep_wrote("one"));
    let send = walk.state.parked.as_ref().unwrap().rescue.unwrap();
    let reason = Undeliverable::Refused { code: 132_001 };
    let told = walk.play(&Fact::Undelivered { send, reason, excerpt: String::new(), lost: None });
    assert!(notes(&told)[0].contains("132001"));
    assert!(walk.state.parked.is_some(), "the rep's message waits on");
}

#[test]
fn nothing_but_a_template_leaves_outside_the_window() {
    let mut walk = Walk::live();
    walk.hours_pass(25);
    let ended = walk.status(MessagingSessionStatus::Ended, "s1");
    assert_eq!(sent(&ended).len(), 0, "not even that the chat is over");
}
