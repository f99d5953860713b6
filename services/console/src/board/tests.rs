use domain::{
    Cause, ConversationKey, Millis, PhoneNumberId, Seq, SessionId, ThreadId,
    derive::uuid,
    message::Customer,
    session::{Brief, Conversation, Decision, Opening, Origin, Output, Owner, Send, Session, Stage, Thread},
};
use proto::StoredDecision;

use super::{
    row::{Group, Order, Row},
    rows::{Rows, Wanted},
};

fn key(n: u16) -> ConversationKey {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    ConversationKey::from_bytes(bytes)
}

fn cause(answers: Seq) -> Cause {
    Cause { answers, index: 0 }
}

fn state(n: u16, owner: Owner) -> Conversation {
    let mut state = Conversation::new(PhoneNumberId::new(if n.is_multiple_of(2) { "even" } else { "odd" }));
    state.customer = Customer { name: Some(format!("Ana Érica {n}")), ..Customer::default() };
    state.session = Some(Session {
        id: SessionId(uuid("session", &[&n.to_be_bytes()])),
        opened_at: 1,
        first: 1,
        handoffs: 0,
        human_until: None,
        shown_through: 0,
    });
    state.owner = owner;
    state
}

fn thread() -> ThreadId {
    ThreadId(uuid("thread", &[]))
}

fn opening(follow: Seq) -> Owner {
    Owner::Opening(Opening {
        thread: thread(),
        follow: cause(follow),
        brief: Brief::because("asked"),
        stage: Stage::Following,
        failures: 0,
        transcript_through: follow,
        held: None,
        told: false,
        patience: cause(follow),
        rep_present: false,
        ended: false,
        note_only: false,
    })
}

fn waiting() -> Owner {
    Owner::Waiting(Thread::new(thread(), cause(1)))
}

fn live() -> Owner {
    Owner::Live(Thread::new(thread(), cause(1)))
}

fn stored(state: Conversation, outputs: Vec<Output>) -> StoredDecision {
    StoredDecision { answers: 1, policy_version: 1, decision: Decision { state, outputs } }
}

fn decide(rows: &mut Rows, n: u16, seq: Seq, at: Millis, owner: Owner) {
    rows.decided(key(n), seq, at, &stored(state(n, owner), Vec::new()));
}

fn only(rows: &Rows) -> Row {
    rows.list(&Wanted::default(), 2).rows.first().unwrap().clone()
}

#[test]
fn a_wait_counts_from_the_handoff_and_ends_with_the_rep() {
    let mut rows = Rows::new(10, 0);
    decide(&mut rows, 1, 1, 100, Owner::Assistant);
    assert_eq!(only(&rows).waiting_since, None);
    decide(&mut rows, 1, 2, 200, opening(1));
    decide(&mut rows, 1, 3, 300, waiting());
    let row = only(&rows);
    assert_eq!((row.waiting_since, row.owner_since), (Some(200), 300));
    decide(&mut rows, 1, 4, 400, live());
    assert_eq!((only(&rows).waiting_since, only(&rows).owner_since), (None, 400));
    decide(&mut rows, 1, 5, 500, waiting()); // rerouted
    assert_eq!(only(&rows).waiting_since, Some(500));
    // What was decided before is read again after a start, and changes nothing.
    decide(&mut rows, 1, 2, 200, opening(1));
    assert_eq!((only(&rows).waiting_since, rows.counts().waiting), (Some(500), 1));
}

#[test]
fn at_the_start_a_wait_is_as_old_as_the_fact_that_began_it() {
    let mut rows = Rows::new(10, 0);
    decide(&mut rows, 1, 9, 900, opening(7));
    assert_eq!(rows.waits_without_beginning(), [(key(1), 7)]);
    rows.began(&key(1), 700);
    assert_eq!((only(&rows).waiting_since, only(&rows).owner_since), (Some(700), 700));
    assert!(rows.waits_without_beginning().is_empty());
}

#[test]
fn who_waits_longest_stands_first_and_pages_go_on() {
    let mut rows = Rows::new(100, 0);
    for n in 0..10 {
        let owner = match n % 3 {
            0 => waiting(),
            1 => live(),
            _ => Owner::Assistant,
        };
        decide(&mut rows, n, u64::from(n) + 1, 1_000 + i64::from(n), owner);
    }
    let everything = rows.list(&Wanted::default(), 100);
    let waits: Vec<_> = everything.rows.iter().map_while(|row| row.waiting_since).collect();
    assert_eq!(waits, [1_000, 1_003, 1_006, 1_009], "the longest wait first");
    assert_eq!(everything.rows[4].active_at, 1_008, "then what moved last");
    assert!(everything.next.is_none());

    let (mut wanted, mut seen) = (Wanted::default(), Vec::new());
    loop {
        let page = rows.list(&wanted, 3);
        seen.extend(page.rows.iter().map(|row| row.key));
        let Some(next) = page.next else { break };
        wanted.after = Some(next.to_string().parse::<Order>().unwrap());
    }
    assert_eq!(seen, everything.rows.iter().map(|row| row.key).collect::<Vec<_>>());

    let reps = Wanted { group: Some(Group::WithRep), ..Wanted::default() };
    assert_eq!(rows.list(&reps, 100).rows.len(), 3);
    let even = Wanted { number: Some(PhoneNumberId::new("even")), ..reps };
    assert_eq!(rows.list(&even, 100).rows.len(), 1);
    let orders: Vec<_> = everything.rows.iter().map(|row| row.order().to_string()).collect();
    assert!(orders.is_sorted(), "as text, too: the page's script compares that");
}

#[test]
fn a_full_board_lets_go_of_the_oldest_that_nobody_waits_in() {
    let mut rows = Rows::new(3, 0);
    decide(&mut rows, 1, 1, 100, waiting());
    for n in 2..6 {
        decide(&mut rows, n, u64::from(n), 1_000 + i64::from(n), Owner::Assistant);
    }
    let left: Vec<_> = rows.list(&Wanted::default(), 10).rows.iter().map(|row| row.key).collect();
    assert_eq!(left, [key(1), key(5), key(4)]);
    assert!(rows.full);
}

#[test]
fn a_session_that_moved_or_never_began_is_not_shown_and_a_closed_one_is() {
    let mut rows = Rows::new(10, 0);
    decide(&mut rows, 1, 1, 100, Owner::Assistant);
    let mut closed = state(1, Owner::Assistant);
    closed.session = None;
    rows.decided(key(1), 2, 200, &stored(closed.clone(), Vec::new()));
    assert_eq!((rows.counts().closed, only(&rows).session.is_some()), (1, true));

    decide(&mut rows, 2, 3, 300, waiting());
    let moved = vec![Output::Move(Box::new(state(2, waiting())))];
    let mut gone = state(2, Owner::Assistant);
    gone.session = None;
    rows.decided(key(2), 4, 400, &stored(gone, moved));
    assert_eq!(rows.counts().all(), 1);
    // A start: the head knows no session, the last hour does.
    let mut rows = Rows::new(10, 0);
    rows.decided(key(1), 2, 200, &stored(closed, Vec::new()));
    assert_eq!(rows.counts().all(), 0);
    decide(&mut rows, 1, 1, 100, Owner::Assistant);
    assert_eq!(rows.counts().closed, 1);
}

#[test]
fn whom_only_a_campaign_wrote_to_crowds_nobody_out() {
    let mut rows = Rows::new(2, 0);
    decide(&mut rows, 1, 1, 100, Owner::Assistant);
    for n in 2..9 {
        let mut quiet = state(n, Owner::Assistant);
        quiet.session = None;
        quiet.outreaches = vec![domain::outreach::Sent {
            send: domain::SendId(uuid("send", &[])),
            at: 1,
            until: 2,
            mark: None,
            name: "Spring".into(),
            text: "Hello".into(),
            reply: domain::outreach::ReplyRule::Rep,
        }];
        rows.decided(key(n), Seq::from(n), 200, &stored(quiet, Vec::new()));
    }
    assert_eq!((rows.counts().all(), rows.full), (1, false));
}

#[test]
fn the_last_message_is_the_newest_and_no_longer_than_a_line() {
    let mut rows = Rows::new(10, 0);
    let send = |text: &str| {
        Output::Send(Send {
            id: domain::SendId(uuid("send", &[])),
            body: domain::message::Outgoing::Text(text.into()),
            quotes: None,
            origin: Origin::Rep,
            mark: None,
            not_after: 0,
        })
    };
    rows.decided(key(1), 1, 100, &stored(state(1, live()), vec![send(&"word\n ".repeat(100))]));
    let last = only(&rows).last.unwrap();
    let text = last.text.unwrap();
    assert!(text.starts_with("word word") && text.chars().count() == 141, "{text}");
    rows.decided(key(1), 2, 50, &stored(state(1, live()), vec![send("earlier")]));
    assert_eq!(only(&rows).last.unwrap().at, 100);
}

#[test]
fn names_are_found_by_the_beginning_of_a_word() {
    let mut rows = Rows::new(10, 0);
    decide(&mut rows, 1, 1, 100, waiting());
    for (wanted, found) in [("ana", 1), ("ÉRI", 1), ("Ana É", 1), ("rica", 0), ("1", 1)] {
        assert_eq!(rows.named(wanted, 5).len(), found, "{wanted}");
    }
}
