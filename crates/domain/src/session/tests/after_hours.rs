//! What becomes of a customer who wants a person while the team is away.

use super::*;
use crate::settings::AfterHours;

/// A Tuesday, 14:00 in Madrid: the team went at one.
const AWAY: &str = "2026-11-24T13:00:00Z";
const THERE: &str = "2026-11-24T09:00:00Z";

fn time(text: &str) -> Millis {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn walk(after_hours: AfterHours, now: &str) -> Walk {
    let mut walk = Walk::new();
    let hours = serde_json::json!({ "time_zone": "Europe/Madrid",
        "week": { "tue": ["09:00-13:00"], "wed": ["09:00-13:00"] } });
    walk.policy.hours = Some(serde_json::from_value(hours).unwrap());
    walk.policy.after_hours = after_hours;
    walk.time = time(now);
    walk
}

fn calls(outputs: &[Output]) -> Vec<&Call> {
    outputs.iter().filter_map(|o| if let Output::Call(call) = o { Some(call) } else { None }).collect()
}

fn asks_in(walk: &mut Walk, language: &str) -> Vec<Output> {
    let asked = walk.says("una persona, por favor");
    let brief = Brief { language: Some(language.into()), ..Brief::because("asked") };
    walk.answers(&asked, Answer::Handoff(brief))
}

#[test]
fn within_its_hours_nothing_is_different() {
    for after_hours in [AfterHours::KeepWaiting, AfterHours::Message, AfterHours::LeaveNote] {
        let mut walk = walk(after_hours, THERE);
        assert_eq!(sent(&walk.asks_for_a_person()), [walk.policy.texts.connecting.as_str()]);
        assert!(matches!(&walk.state.owner, Owner::Opening(opening) if !opening.note_only));
    }
}

#[test]
fn they_wait_and_are_told_until_when() {
    let mut walk = walk(AfterHours::KeepWaiting, AWAY);
    let outputs = walk.asks_for_a_person();
    assert!(
        sent(&outputs)[0].contains("(back: Wednesday 09:00). Your request is kept"),
        "{:?}",
        sent(&outputs)
    );
    walk.follow_is_up();
    walk.call_ends(CallResult::Done);
    assert!(matches!(walk.state.owner, Owner::Waiting(_)), "in the queue");
}

#[test]
fn they_are_told_and_stay_with_the_assistant() {
    let mut walk = walk(AfterHours::Message, AWAY);
    let outputs = asks_in(&mut walk, "es_MX");
    assert!(sent(&outputs)[0].contains("(vuelve: miércoles 09:00)"), "{:?}", sent(&outputs));
    assert!(calls(&outputs).is_empty());
    assert_eq!(walk.state.owner, Owner::Assistant);
    let asked = walk.says("¿y mi pedido?");
    assert_eq!(sent(&walk.answers(&asked, reply("En camino."))), ["En camino."]);
    // The next day there is somebody.
    walk.time = time("2026-11-25T08:00:00Z");
    assert!(sent(&asks_in(&mut walk, "es"))[0].contains("Te pongo en contacto"));
}

#[test]
fn the_team_finds_a_note_and_the_assistant_goes_on() {
    let mut walk = walk(AfterHours::LeaveNote, AWAY);
    let outputs = asks_in(&mut walk, "de");
    assert!(
        sent(&outputs)[0].contains("(zurück: Mittwoch 09:00). Ich habe eine Notiz"),
        "{:?}",
        sent(&outputs)
    );
    let opened = walk.follow_is_up();
    let [Call::Open { brief, .. }] = calls(&opened)[..] else { panic!("{opened:?}") };
    assert_eq!(brief.reason, "asked (while the team was away)");
    // What comes meanwhile is in the note as well.
    walk.says("es eilt");
    let done = walk.call_ends(CallResult::Done);
    assert!(matches!(calls(&done)[..], [Call::Forward { .. }, Call::EndSession { .. }]), "{done:?}");
    assert!(sent(&done).is_empty(), "told before");
    assert!(done.iter().any(|output| matches!(output, Output::Unfollow { .. })));
    assert_eq!(walk.state.owner, Owner::Assistant);
    assert_eq!(walk.state.session.as_ref().unwrap().human_until, None, "nobody was there");
    let asked = walk.says("hallo?");
    assert_eq!(sent(&walk.answers(&asked, reply("Ich bin da."))), ["Ich bin da."]);
}

#[test]
fn salesforce_away_while_the_team_is_too_leaves_the_note_later() {
    let mut walk = walk(AfterHours::LeaveNote, AWAY);
    walk.asks_for_a_person();
    walk.follow_is_up();
    walk.call_ends(CallResult::Unavailable);
    let Owner::Opening(Opening { stage: Stage::Resting { timer }, .. }) = walk.state.owner else { panic!() };
    walk.play(&Fact::Fired { timer });
    walk.call_ends(CallResult::Done);
    assert_eq!(walk.state.owner, Owner::Assistant);
}

#[test]
fn a_rep_who_is_there_all_the_same_keeps_the_customer() {
    let mut walk = walk(AfterHours::LeaveNote, AWAY);
    walk.asks_for_a_person();
    walk.follow_is_up();
    let thread = walk.thread();
    let at = walk.time;
    let joined = SalesforceEvent { thread, entry: EntryId::new("e-1"), at, what: Happening::RepJoined };
    walk.play(&Fact::Salesforce(joined));
    let done = walk.call_ends(CallResult::Done);
    assert!(!calls(&done).iter().any(|call| matches!(call, Call::EndSession { .. })));
    assert!(matches!(walk.state.owner, Owner::Live(_)));
}

#[test]
fn without_an_assistant_they_wait_and_operators_are_not_held_up() {
    let mut alone = walk(AfterHours::Message, AWAY);
    alone.assistant_on = false;
    let outputs = alone.says("hello");
    assert!(sent(&outputs)[0].contains("Your request is kept"));
    assert!(matches!(alone.state.owner, Owner::Opening(_)));

    let mut operated = walk(AfterHours::Message, AWAY);
    operated.says("hello");
    let outputs = operated.play(&Fact::Operator(Command::HandOff));
    assert_eq!(sent(&outputs), [operated.policy.texts.connecting.as_str()]);
}
