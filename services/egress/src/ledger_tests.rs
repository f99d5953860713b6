use proptest::prelude::*;
use whatsapp::client::{Class, Doubt, Refusal};

use super::*;

const GRACE: Duration = Duration::from_secs(30);

fn send() -> SendId {
    "7f7a2f0e-53a8-4d0a-9f0a-0a8f7c1f5a11".parse().unwrap()
}

fn attempt(number: u32, doubtful: Option<u32>) -> Attempt {
    Attempt { send: send(), decision: 9, number, doubtful, mark: None }
}

fn record(number: u32, doubtful: Option<u32>, phase: Phase) -> Record {
    Record { attempt: attempt(number, doubtful), stored_at: 1_000, phase }
}

fn accepted() -> Outcome {
    Outcome::Accepted { wamid: Wamid::new("wamid.1"), answered: true }
}

#[track_caller]
fn check(last: Option<Record>, expected: Step) {
    assert_eq!(next(send(), 9, None, last.as_ref(), GRACE), expected);
}

#[test]
fn a_send_that_nobody_tried_is_tried() {
    check(None, Step::Try(attempt(1, None)));
}

#[test]
fn an_intent_without_an_outcome_is_waited_for_from_the_time_in_the_log() {
    for (number, doubtful) in [(1, None), (2, Some(1)), (7, Some(3))] {
        let step = Step::Await { attempt: attempt(number, doubtful), until: 31_000 };
        check(Some(record(number, doubtful, Phase::Intent)), step);
    }
}

#[test]
fn what_is_settled_stays_so() {
    for doubtful in [None, Some(1)] {
        let outcome = |outcome| Some(record(2, doubtful, Phase::Outcome(outcome)));
        check(outcome(accepted()), Step::Settled(Settled::Accepted));
        check(outcome(Outcome::Refused { code: 131026 }), Step::Settled(Settled::Refused { code: 131026 }));
    }
}

#[test]
fn what_did_not_go_out_is_tried_again_without_using_up_the_resend() {
    for doubtful in [None, Some(1)] {
        check(Some(record(2, doubtful, Phase::Outcome(Outcome::NotSent))), Step::Try(attempt(3, doubtful)));
    }
}

#[test]
fn one_doubt_is_resent_and_a_second_is_not() {
    check(Some(record(4, None, Phase::Outcome(Outcome::InDoubt))), Step::Try(attempt(5, Some(4))));
    check(
        Some(record(6, Some(4), Phase::Outcome(Outcome::InDoubt))),
        Step::Settled(Settled::Unknown { attempts: [4, 6] }),
    );
}

fn refused(code: i32, class: Class) -> Result<Sent, SendError> {
    let status = reqwest::StatusCode::BAD_REQUEST;
    let details = String::new();
    Err(SendError::Refused(Refusal { code, subcode: None, status, class, details, trace: None }))
}

fn paced(scope: Scope, retry_after: Option<Duration>) -> Result<Sent, SendError> {
    Err(SendError::Paced { scope, retry_after, code: None })
}

#[test]
fn answers_are_read_by_what_may_have_happened() {
    let sent = Ok(Sent { wamid: Wamid::new("wamid.1") });
    assert_eq!(read(sent, 1), Answer::Settles(accepted()));
    assert_eq!(read(Err(SendError::InDoubt(Doubt::TimedOut)), 1), Answer::InDoubt);
    for class in [Class::Fix, Class::Final, Class::Template] {
        assert_eq!(read(refused(7, class), 1), Answer::Settles(Outcome::Refused { code: 7 }));
    }
    let later = |why, seconds: Option<u64>| Answer::Later { why, rest: seconds.map(Duration::from_secs) };
    assert_eq!(read(refused(190, Class::Config), 99), later(Later::Config, Some(30)));
    assert_eq!(read(paced(Scope::Pair, None), 1), later(Later::PairPaced, Some(6)));
    assert_eq!(read(paced(Scope::App, None), 1), later(Later::Paced, Some(60)));
    assert_eq!(read(paced(Scope::Number, Some(Duration::from_secs(9))), 1), later(Later::Paced, Some(9)));
    assert_eq!(read(paced(Scope::Number, Some(Duration::MAX)), 1), later(Later::Paced, Some(3600)));
}

#[test]
fn a_passing_refusal_is_not_believed_for_ever() {
    let answer = |number| read(refused(131000, Class::Retry), number);
    let later = |seconds| Answer::Later { why: Later::Transient, rest: Some(Duration::from_secs(seconds)) };
    assert_eq!((answer(1), answer(2)), (later(20), later(40)));
    assert_eq!(answer(3), Answer::Settles(Outcome::Refused { code: 131000 }));
    // Meta is down: for as long as the message may live.
    let down = |number| read(refused(131016, Class::Retry), number);
    assert_eq!((down(1), down(299)), (later(5), later(300)));
    assert_eq!(down(MAX_TRANSIENT_ATTEMPTS), Answer::Settles(Outcome::Refused { code: 131016 }));
}

/// Every row of the table, as an answer to a first POST: what waits, what is told, what stops whom.
#[test]
fn every_code_of_the_table_does_what_its_row_says() {
    use whatsapp::client::{Action, remedies};
    let mut rows = 0;
    for (codes, remedy) in remedies() {
        for code in [*codes.start(), *codes.end()] {
            let told = Answer::Settles(Outcome::Refused { code });
            let answer = match remedy.class {
                Class::Pace(scope) => read(paced(scope, None), 1),
                class @ (Class::Retry | Class::Fix | Class::Config | Class::Final | Class::Template) => {
                    read(refused(code, class), 1)
                }
            };
            match remedy.action {
                Action::NotSent | Action::StopTemplate | Action::Park => assert_eq!(answer, told, "{code}"),
                Action::Retry { rest, .. } => {
                    assert_eq!(answer, Answer::Later { why: Later::Transient, rest: Some(rest) }, "{code}");
                }
                Action::StopNumber => {
                    let later = Answer::Later { why: Later::Config, rest: Some(CONFIG_REST) };
                    assert_eq!(answer, later, "{code}");
                }
                Action::TellOperator => {
                    let later = Answer::Later { why: Later::Operator, rest: Some(CONFIG_REST) };
                    assert_eq!(answer, later, "{code}");
                }
                Action::SlowDown { scope, .. } => {
                    let why = if scope == Scope::Pair { Later::PairPaced } else { Later::Paced };
                    assert!(
                        matches!(&answer, Answer::Later { why: found, rest: Some(_) } if *found == why),
                        "{code}"
                    );
                }
            }
            rows += 1;
        }
    }
    assert!(rows > 100);
}

#[test]
fn a_late_failure_counts_only_where_no_other_attempt_went_out() {
    let outcome = |number, doubtful, outcome| record(number, doubtful, Phase::Outcome(outcome));
    for (failed, last, other_seen, counts) in [
        (1, None, false, true),
        (1, Some(outcome(1, None, accepted())), false, true),
        (1, Some(outcome(1, None, Outcome::Refused { code: 1 })), false, false),
        // The resend went out: the first one's failure is no news.
        (1, Some(outcome(2, Some(1), accepted())), false, false),
        (2, Some(outcome(2, Some(1), accepted())), false, true),
        (2, Some(outcome(2, Some(1), accepted())), true, false),
        (1, Some(record(1, None, Phase::Intent)), false, true),
        (1, Some(outcome(2, Some(1), Outcome::InDoubt)), false, true),
        (1, Some(outcome(2, Some(1), Outcome::InDoubt)), true, false),
    ] {
        assert_eq!(failure_counts(failed, last.as_ref(), other_seen), counts, "{failed} {last:?}");
    }
}

#[test]
fn a_status_of_an_attempt_that_was_resent_shows_a_duplicate() {
    let intent = |number, doubtful| record(number, doubtful, Phase::Intent);
    assert!(!shows_duplicate(1, None));
    assert!(!shows_duplicate(1, Some(&intent(1, None))));
    assert!(shows_duplicate(1, Some(&intent(2, Some(1)))));
    assert!(!shows_duplicate(2, Some(&intent(2, Some(1)))));
    // It was about to be resent, and was not.
    let held = record(2, Some(1), Phase::Outcome(Outcome::NotSent));
    assert!(!shows_duplicate(1, Some(&held)));
}

#[test]
fn records_are_read_as_they_were_written() {
    for attempt in [attempt(1, None), attempt(3, Some(1))] {
        let intent = Record::from_body(attempt.intent(4, 5), 6).unwrap();
        assert_eq!(intent, Record { attempt, stored_at: 6, phase: Phase::Intent });
        for outcome in [accepted(), Outcome::NotSent, Outcome::Refused { code: 3 }, Outcome::InDoubt] {
            let read = Record::from_body(attempt.outcome(&outcome, 5), 6).unwrap();
            assert_eq!(read, Record { attempt, stored_at: 6, phase: Phase::Outcome(outcome) });
        }
    }
}

#[test]
fn parts_have_ids_of_their_own() {
    assert_eq!(send().part(0), send());
    let parts: std::collections::HashSet<_> = (0..50).map(|index| send().part(index)).collect();
    assert_eq!(parts.len(), 50);
}

/// What happens to one attempt in the world below.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// The worker dies before the POST; after it; or no answer comes.
    CrashBefore,
    CrashAfter,
    AnswerLost,
    NeverArrived,
    NotSent,
    Accepted,
}

proptest! {
    /// Whatever happens: never sent again while a status can still tell, never more than one blind
    /// resend, and it ends; a message that is called lost for good was tried twice.
    #[test]
    fn at_most_one_blind_resend(
        fates in proptest::collection::vec((
            prop_oneof![
                Just(Fate::CrashBefore), Just(Fate::CrashAfter), Just(Fate::AnswerLost),
                Just(Fate::NeverArrived), Just(Fate::NotSent), Just(Fate::Accepted),
            ],
            any::<bool>(),
        ), 0..12)
    ) {
        let mut last: Option<Record> = None;
        let mut arrived: Vec<u32> = Vec::new();
        let mut blind = 0;
        let mut fates = fates.into_iter();
        let mut status_comes = false;
        for _ in 0..64 {
            match next(send(), 9, None, last.as_ref(), GRACE) {
                Step::Try(attempt) => {
                    prop_assert_eq!(attempt.number, last.as_ref().map_or(0, |r| r.attempt.number) + 1);
                    if matches!(&last, Some(Record { phase: Phase::Outcome(Outcome::InDoubt), .. })) {
                        blind += 1;
                    }
                    let (fate, status) = fates.next().unwrap_or((Fate::Accepted, true));
                    status_comes = status;
                    let outcome = match fate {
                        Fate::CrashBefore | Fate::NeverArrived => None,
                        Fate::CrashAfter | Fate::AnswerLost => { arrived.push(attempt.number); None }
                        Fate::NotSent => Some(Outcome::NotSent),
                        Fate::Accepted => { arrived.push(attempt.number); Some(accepted()) }
                    };
                    let phase = outcome.map_or(Phase::Intent, Phase::Outcome);
                    last = Some(Record { attempt, stored_at: 0, phase });
                }
                Step::Await { attempt, .. } => {
                    let seen = status_comes && arrived.contains(&attempt.number);
                    let outcome = if seen { accepted() } else { Outcome::InDoubt };
                    last = Some(Record { attempt, stored_at: 0, phase: Phase::Outcome(outcome) });
                }
                Step::Settled(settled) => {
                    prop_assert!(blind <= 1);
                    // Twice only where an attempt arrived, its answer was lost and no status came.
                    prop_assert!(arrived.len() <= 2);
                    match settled {
                        Settled::Accepted => prop_assert!(!arrived.is_empty()),
                        Settled::Unknown { attempts } => {
                            prop_assert_eq!(blind, 1);
                            prop_assert!(attempts[0] < attempts[1]);
                        }
                        Settled::Refused { .. } => prop_assert!(false),
                    }
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "it never settled");
    }
}
