//! Error codes and what to do about them
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes>; §9.2). The same
//! table serves answers to a send and `failed` statuses.

use std::ops::RangeInclusive;

use http::StatusCode;

/// What an error asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The same request later.
    Retry,
    /// Slow down, within the scope.
    Pace(Scope),
    /// Our mistake or bad input: not again.
    Fix,
    /// An operator must act; until then nothing goes.
    Config,
    /// Tell the rep: not again.
    Final,
    /// The customer service window is closed: only a template may go.
    Template,
}

/// What has to slow down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One business number and one customer.
    Pair,
    /// One business number.
    Number,
    /// One WhatsApp Business Account.
    Account,
    /// The app, with all its numbers.
    App,
}

const TABLE: &[(RangeInclusive<i32>, Class)] = &[
    (0..=0, Class::Config),
    (1..=2, Class::Retry),
    (3..=3, Class::Config),
    (4..=4, Class::Pace(Scope::App)),
    (10..=10, Class::Config),
    (33..=33, Class::Config),
    (100..=100, Class::Fix),
    (190..=190, Class::Config),
    (200..=299, Class::Config),
    (368..=368, Class::Config),
    (80007..=80008, Class::Pace(Scope::Account)),
    (130429..=130429, Class::Pace(Scope::Number)),
    (130472..=130472, Class::Final),
    (130497..=130497, Class::Final),
    (130501..=130501, Class::Final),
    (131000..=131000, Class::Retry),
    (131005..=131005, Class::Config),
    (131008..=131009, Class::Fix),
    (131016..=131016, Class::Retry),
    (131020..=131020, Class::Final),
    (131021..=131021, Class::Fix),
    (131026..=131026, Class::Final),
    (131030..=131031, Class::Config),
    (131035..=131036, Class::Final),
    (131037..=131037, Class::Config),
    (131041..=131041, Class::Final),
    (131042..=131042, Class::Config),
    (131045..=131045, Class::Config),
    (131047..=131047, Class::Template),
    (131048..=131048, Class::Pace(Scope::Number)),
    (131049..=131050, Class::Final),
    (131051..=131051, Class::Fix),
    (131052..=131052, Class::Final),
    (131053..=131053, Class::Fix),
    (131055..=131055, Class::Fix),
    (131056..=131056, Class::Pace(Scope::Pair)),
    // Maintenance or a throughput upgrade: the number takes nothing for about a minute. Comes
    // with HTTP 500, yet says plainly that nothing was accepted.
    (131057..=131057, Class::Pace(Scope::Number)),
    (131059..=131059, Class::Fix),
    (131060..=131060, Class::Final),
    (131062..=131062, Class::Final),
    (131063..=131063, Class::Config),
    (131064..=131064, Class::Pace(Scope::Account)),
    (131201..=131215, Class::Final),
    (132000..=132000, Class::Fix),
    (132001..=132001, Class::Fix),
    (132005..=132005, Class::Fix),
    (132007..=132007, Class::Fix),
    (132012..=132012, Class::Fix),
    (132015..=132016, Class::Config),
    (132018..=132018, Class::Fix),
    (132068..=132068, Class::Config),
    (132069..=132069, Class::Pace(Scope::Account)),
    (133000..=133000, Class::Retry),
    (133004..=133004, Class::Retry),
    (133005..=133006, Class::Config),
    (133008..=133010, Class::Config),
    (133015..=133016, Class::Config),
    (134011..=134011, Class::Fix),
    (134100..=134103, Class::Fix),
    (135000..=135000, Class::Fix),
    (137000..=137000, Class::Final),
    (138000..=138038, Class::Final),
    (139000..=139200, Class::Final),
    (141000..=141010, Class::Config),
    (147001..=147005, Class::Fix),
    (2494100..=2494100, Class::Retry),
    (2494191..=2494191, Class::Config),
];

/// `status`: of the answer; for a `failed` status webhook, which has none, any 4xx.
pub fn classify(code: i32, subcode: Option<i32>, status: StatusCode, is_transient: bool) -> Class {
    // The object is gone or the token may not see it.
    if code == 100 && subcode == Some(33) {
        return Class::Config;
    }
    if let Some((_, class)) = TABLE.iter().find(|(codes, _)| codes.contains(&code)) {
        return *class;
    }
    if is_transient || status.is_server_error() { Class::Retry } else { Class::Final }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_says_nothing_twice() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0.end() < pair[1].0.start()));
    }

    #[test]
    fn codes_have_the_class_that_the_documentation_gives_them() {
        let class = |code| classify(code, None, StatusCode::BAD_REQUEST, false);
        assert_eq!(class(131047), Class::Template);
        assert_eq!(class(131056), Class::Pace(Scope::Pair));
        assert_eq!(class(130429), Class::Pace(Scope::Number));
        assert_eq!(class(4), Class::Pace(Scope::App));
        assert_eq!(class(190), Class::Config);
        assert_eq!(class(131026), Class::Final);
        assert_eq!(class(131009), Class::Fix);
        assert_eq!(class(131016), Class::Retry);
        assert_eq!(class(100), Class::Fix);
        assert_eq!(classify(100, Some(33), StatusCode::BAD_REQUEST, false), Class::Config);
    }

    #[test]
    fn unknown_codes_are_judged_by_status() {
        assert_eq!(classify(999_999, None, StatusCode::BAD_REQUEST, false), Class::Final);
        assert_eq!(classify(999_999, None, StatusCode::BAD_REQUEST, true), Class::Retry);
        assert_eq!(classify(999_999, None, StatusCode::BAD_GATEWAY, false), Class::Retry);
    }
}
