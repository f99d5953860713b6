//! The table of error codes against a copy of the reference's (`whatsapp-cloud-api.md` §9.2), row by
//! row: codes and class.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::ops::RangeInclusive;

use http::StatusCode;
use whatsapp::client::{Action, Class, Scope, classify, remedies, remedy};

const REFERENCE: &str = "\
0 | config
1 | retry few
2 | retry
3, 10, 200 to 299 | config
4 | pace app
33 | config
100 | fix or config
190 | config
368 | config
80007 | pace WABA
80008 | pace WABA
130429 | pace number
130472 | final
130497 | final
130501 | final
131000 | retry few
131005 | config
131008 | fix
131009 | fix
131016 | retry
131020, 131041, 131201 to 131215 | final
131021 | fix
131026 | final
131030 | config
131031 | config
131035, 131036 | final
131037 | config
131042 | config
131045 | config
131047 | template
131048 | pace number, config
131049 | final
131050 | final
131051 | fix
131052 | final or retry
131053 | fix
131055, 134100 to 134103 | fix
131056 | pace pair
131057 | retry
131059 | fix
131060 | final
131062 | final
131063 | config
131064 | pace, config
132000, 132005, 132007, 132012, 132018 | fix
132001 | fix
132015, 132016 | config
132068, 132069 | config, pace
133000, 133004 | retry
133005, 133006, 133008, 133009, 133010, 133015, 133016 | config
134011, 135000 | fix
137000 | final
138000 to 138038 | final
139000 to 139200 | final
141000 to 141010 | config
147001 to 147005 | fix
2388000 to 2388999, 2593000 to 2593999 | fix
2494100 | retry
2494191 | config
";

fn class(code: i32) -> Class {
    classify(code, None, StatusCode::BAD_REQUEST, false)
}

fn codes(cell: &str) -> Vec<RangeInclusive<i32>> {
    let range = |part: &str| {
        let (from, to) = part.trim().split_once(" to ").unwrap_or((part.trim(), part.trim()));
        from.parse().unwrap()..=to.parse().unwrap()
    };
    cell.split(',').map(range).collect()
}

#[test]
fn every_row_of_the_reference_has_its_class() {
    let mut covered: Vec<RangeInclusive<i32>> = Vec::new();
    for row in REFERENCE.lines() {
        let (cell, wanted) = row.split_once(" | ").unwrap();
        for range in codes(cell) {
            for code in [*range.start(), *range.end()] {
                let expected = match (code, wanted) {
                    // Two classes share a row, or a cell says both: which is which.
                    (132_068, _) => Class::Config,
                    (131_064 | 132_069, _) => Class::Pace(Scope::Account),
                    // Waiting about a minute concerns all that the number sends.
                    (131_057, _) => Class::Pace(Scope::Number),
                    (_, "config") => Class::Config,
                    (_, "retry" | "retry few") => Class::Retry,
                    (_, "pace app") => Class::Pace(Scope::App),
                    (_, "pace WABA") => Class::Pace(Scope::Account),
                    (_, "pace number" | "pace number, config") => Class::Pace(Scope::Number),
                    (_, "pace pair") => Class::Pace(Scope::Pair),
                    (_, "final" | "final or retry") => Class::Final,
                    (_, "fix" | "fix or config") => Class::Fix,
                    (_, "template") => Class::Template,
                    (_, other) => panic!("{other}"),
                };
                assert_eq!(class(code), expected, "{code}");
            }
            covered.push(range);
        }
    }
    for (range, _) in remedies() {
        let known = |code: &i32| covered.iter().any(|row| row.contains(code));
        assert!(known(range.start()) && known(range.end()), "{range:?} is not in the reference");
    }
}

#[test]
fn the_table_is_sorted_and_says_nothing_twice() {
    let ranges: Vec<_> = remedies().map(|(range, _)| range).collect();
    assert!(ranges.windows(2).all(|pair| pair[0].end() < pair[1].start()));
}

#[test]
fn whoever_must_act_is_told_what_to_do() {
    for (range, remedy) in remedies() {
        assert!(!remedy.rep.is_empty(), "{range:?}");
        let fits = match (remedy.class, remedy.action) {
            (Class::Retry, Action::Retry { rest, .. }) => !rest.is_zero(),
            (Class::Pace(of), Action::SlowDown { scope, rest }) => of == scope && !rest.is_zero(),
            (Class::Fix | Class::Final, Action::NotSent | Action::StopTemplate) => true,
            (Class::Template, Action::Park) => true,
            (Class::Config, Action::StopNumber | Action::StopTemplate | Action::TellOperator) => {
                !remedy.operator.is_empty()
            }
            (_, _) => false,
        };
        assert!(fits, "{range:?}: {remedy:?}");
    }
}

#[test]
fn an_object_out_of_reach_is_for_the_operator() {
    let remedy = remedy(100, Some(33), StatusCode::BAD_REQUEST, false);
    assert_eq!((remedy.class, remedy.action), (Class::Config, Action::StopNumber));
}

#[test]
fn unknown_codes_are_judged_by_status() {
    assert_eq!(classify(999_999, None, StatusCode::BAD_REQUEST, false), Class::Final);
    assert_eq!(classify(999_999, None, StatusCode::BAD_REQUEST, true), Class::Retry);
    assert_eq!(classify(999_999, None, StatusCode::BAD_GATEWAY, false), Class::Retry);
}
