//! Error codes and what to do about them
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes>; §9.2). The same
//! table serves answers to a send and `failed` statuses.

use std::{ops::RangeInclusive, time::Duration};

use http::StatusCode;

use Action::{NotSent, Park, Retry, SlowDown, StopNumber, StopTemplate, TellOperator};

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

/// What to do with the message, and with what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Again after `rest`, which doubles; after `tries` it is final. `None`: for as long as the
    /// message lives.
    Retry { rest: Duration, tries: Option<u32> },
    /// It waits, and so does everything in the scope: `rest` at first, longer each time, or as the
    /// answer says.
    SlowDown { scope: Scope, rest: Duration },
    /// It waits until the customer writes; the channel's template asks the customer to.
    Park,
    /// It does not go, and the rep is told.
    NotSent,
    /// It waits, an operator is told, the number's others may go.
    TellOperator,
    /// It waits with everything else of the number until an operator has acted.
    StopNumber,
    /// It does not go, nor does anything else with the template.
    StopTemplate,
}

/// What an error means to Baton, to the rep and to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remedy {
    pub class: Class,
    pub action: Action,
    /// What the rep reads where the message does not go or waits. A sentence.
    pub rep: &'static str,
    /// What an operator does about it. Empty: nothing.
    pub operator: &'static str,
}

const SLOW: &str = "WhatsApp is slow to take it: it goes out as soon as possible.";
const CHANNEL: &str =
    "The WhatsApp channel is not in order: the administrator has been told, and the message waits.";
const BAD: &str = "WhatsApp does not take this message as it is.";
const BUG: &str =
    "If it happens again, report it with the trace id: Baton made a request that WhatsApp does not take.";
const GROUP: &str = "WhatsApp does not let it through in this group.";

const fn few(seconds: u64, operator: &'static str) -> Remedy {
    let action = Retry { rest: Duration::from_secs(seconds), tries: Some(3) };
    Remedy { class: Class::Retry, action, rep: SLOW, operator }
}

const fn retry(seconds: u64, operator: &'static str) -> Remedy {
    let action = Retry { rest: Duration::from_secs(seconds), tries: None };
    Remedy { class: Class::Retry, action, rep: SLOW, operator }
}

const fn pace(scope: Scope, seconds: u64, operator: &'static str) -> Remedy {
    let action = SlowDown { scope, rest: Duration::from_secs(seconds) };
    Remedy { class: Class::Pace(scope), action, rep: SLOW, operator }
}

const fn fix(rep: &'static str, operator: &'static str) -> Remedy {
    Remedy { class: Class::Fix, action: NotSent, rep, operator }
}

const fn end(rep: &'static str, operator: &'static str) -> Remedy {
    Remedy { class: Class::Final, action: NotSent, rep, operator }
}

const fn config(action: Action, operator: &'static str) -> Remedy {
    Remedy { class: Class::Config, action, rep: CHANNEL, operator }
}

const TEMPLATE_PAUSED: &str = "Meta has paused or disabled the template: choose another one.";

/// Where the object or the permission is missing, which code 100 tells by its subcode.
const OBJECT_UNKNOWN: Remedy = config(
    StopNumber,
    "Check the phone number id and the account id in the settings, and that the token's system user has both as \
     assets.",
);

#[rustfmt::skip]
const TABLE: &[(RangeInclusive<i32>, Remedy)] = &[
    (0..=0, config(StopNumber, "The access token is gone or malformed: make a new one for the system user and put it into the settings.")),
    (1..=1, few(20, BUG)),
    (2..=2, retry(5, "Meta's service is down or overloaded: see its status page.")),
    (3..=3, config(StopNumber, "The app lacks a capability: ask for it in the app dashboard.")),
    (4..=4, pace(Scope::App, 60, "The app makes too many calls: see its rate limits in the app dashboard.")),
    (10..=10, config(StopNumber, "The token lacks a permission: give the system user whatsapp_business_messaging and whatsapp_business_management, and the account as an asset.")),
    (33..=33, config(StopNumber, "The number is deleted or the phone number id is wrong: check it in the settings.")),
    (100..=100, fix(BAD, BUG)),
    (190..=190, config(StopNumber, "The access token has expired or was revoked: make a new one for the system user (one that never expires) and put it into the settings.")),
    (200..=299, config(StopNumber, "The token lacks a permission: give the system user whatsapp_business_messaging and whatsapp_business_management, and the account as an asset.")),
    (368..=368, config(StopNumber, "Meta has blocked the account for a policy violation: see Business Support Home and ask for a review.")),
    (80007..=80008, pace(Scope::Account, 60, "Too many management calls for the account: it recovers by itself.")),
    (130429..=130429, pace(Scope::Number, 2, "More messages a second than the number may send: lower messages_per_second in the settings.")),
    (130472..=130472, end("WhatsApp does not deliver marketing to this customer for now (an experiment of Meta's).", "")),
    (130497..=130497, end("WhatsApp does not let this business write to the customer's country.", "The account may not write to that country: see Meta's business policy.")),
    (130501..=130501, end("Groups do not take this kind of message.", "")),
    (131000..=131000, few(20, "If it goes on, open a ticket at Meta's support with the trace id.")),
    (131005..=131005, config(StopNumber, "Access denied: the token lacks a permission or the number as an asset.")),
    (131008..=131008, fix(BAD, BUG)),
    (131009..=131009, fix("WhatsApp does not take this message as it is: a value in it is not valid, or the message it refers to is gone.", BUG)),
    (131016..=131016, retry(5, "Meta's service is down or overloaded: see its status page.")),
    (131020..=131020, end(GROUP, "")),
    (131021..=131021, fix("The customer's number is the business number itself.", "")),
    (131026..=131026, end("WhatsApp cannot deliver to this customer: not on WhatsApp, an old version, its terms not accepted, or the business is blocked.", "")),
    (131030..=131030, config(TellOperator, "A test number writes to allowed recipients only: add the customer to its list or use a real number.")),
    (131031..=131031, config(StopNumber, "Meta has locked the account, or the PIN is wrong: see Business Support Home.")),
    (131035..=131036, end("The message can no longer be had from WhatsApp.", "The number stores nothing, and its time to fetch has passed: see why Baton was away.")),
    (131037..=131037, config(StopNumber, "The number's display name is not approved: set one in WhatsApp Manager.")),
    (131041..=131041, end(GROUP, "")),
    (131042..=131042, config(StopNumber, "There is a problem with the payment method of the account: mend it in the billing settings.")),
    (131045..=131045, config(StopNumber, "The number is not registered: register it with its PIN.")),
    (131047..=131047, Remedy {
        class: Class::Template, action: Park,
        rep: "The customer has not written for 24 hours: the message waits until they do.",
        operator: "",
    }),
    (131048..=131048, pace(Scope::Number, 60, "Too many customers have blocked or reported the number: stop campaigns, and see its quality in WhatsApp Manager.")),
    (131049..=131049, end("WhatsApp does not deliver more marketing to this customer for now: not before tomorrow.", "")),
    (131050..=131050, end("The customer does not want marketing messages.", "")),
    (131051..=131051, fix("WhatsApp does not know this kind of message.", BUG)),
    (131052..=131052, end("WhatsApp could not fetch the file.", "")),
    (131053..=131053, fix("WhatsApp does not take this file: its type, size or encoding.", "")),
    (131055..=131055, fix(BAD, "The method is not allowed: marketing messages have an endpoint of their own.")),
    // 4^n s, n = 0, 1, 2 … (§10); 6 s is what the pair sustains.
    (131056..=131056, pace(Scope::Pair, 6, "")),
    // Maintenance or a throughput upgrade: the number takes nothing for about a minute. Comes
    // with HTTP 500, yet says plainly that nothing was accepted.
    (131057..=131057, pace(Scope::Number, 60, "")),
    (131059..=131059, fix(BAD, "A list changed while it was read: read it again.")),
    (131060..=131060, end("The customer's message is only to be seen in the WhatsApp Business app.", "")),
    (131062..=131062, end("This template needs the customer's phone number, which WhatsApp does not show.", "")),
    (131063..=131063, config(StopTemplate, "Marketing templates are switched off for this endpoint: send them through the marketing messages API.")),
    (131064..=131064, pace(Scope::Account, 3600, "Templates are in the wrong category: mend their categories; the limit ends by itself.")),
    (131201..=131215, end(GROUP, "")),
    (132000..=132000, fix("The template needs another number of values.", "Compare the template's variables with what is sent.")),
    (132001..=132001, Remedy { class: Class::Fix, action: StopTemplate, rep: "There is no such approved template in this language.", operator: "Check the template's name, language and approval in WhatsApp Manager." }),
    (132005..=132005, fix("The template is too long with these values.", "")),
    (132007..=132007, fix("WhatsApp's policy does not allow the template with these values.", "See the template's rejection in WhatsApp Manager.")),
    (132012..=132012, fix("A value does not have the form that the template wants.", "Compare the template's variables with what is sent.")),
    (132015..=132016, Remedy { class: Class::Config, action: StopTemplate, rep: TEMPLATE_PAUSED, operator: "Meta paused or disabled the template for its quality: edit it, or use another one." }),
    (132018..=132018, fix("The template's values are not valid.", "Compare the template's variables with what is sent.")),
    (132068..=132068, Remedy { class: Class::Config, action: StopTemplate, rep: "The form is blocked.", operator: "Meta has blocked the flow: mend it in WhatsApp Manager." }),
    (132069..=132069, pace(Scope::Account, 3600, "Meta has throttled the flow: see its health in WhatsApp Manager.")),
    (133000..=133000, retry(20, "The last deregistration did not finish: deregister the number again.")),
    (133004..=133004, retry(20, "")),
    (133005..=133005, config(TellOperator, "The two-step PIN is wrong.")),
    (133006..=133006, config(TellOperator, "The number must be verified first: ask for a code and confirm it.")),
    (133008..=133009, config(TellOperator, "The PIN was entered wrongly too often or too fast: wait as the message says.")),
    (133010..=133010, config(StopNumber, "The number is not registered with the Cloud API: register it with its PIN.")),
    (133015..=133015, config(TellOperator, "The number was deleted a moment ago: wait five minutes, then register it again.")),
    (133016..=133016, config(TellOperator, "Registered too often: 10 times in 72 hours are allowed; wait.")),
    (134011..=134011, fix(BAD, "The terms for payments are not accepted.")),
    (134100..=134103, fix(BAD, "Not possible with the marketing messages endpoint.")),
    (135000..=135000, fix(BAD, BUG)),
    (137000..=137000, end("The customer's identity has changed: make sure that it is still the same person.", "")),
    (138000..=138038, end("WhatsApp does not allow it for calls.", "")),
    (139000..=139200, end(BAD, "")),
    (141000..=141010, config(TellOperator, "See the health status of the number: it names the reason.")),
    (147001..=147005, fix(BAD, "The business username is not valid or not free.")),
    (2388000..=2388999, fix(BAD, "See the template, the account or the number in WhatsApp Manager.")),
    (2494100..=2494100, retry(60, "The number is in maintenance.")),
    // The thread is another responder's, or none's: sending goes on or fails by itself.
    (2494191..=2494191, config(TellOperator, "Baton's app is not the escalation partner of the number: choose it in Meta Business Suite, or switch escalation_partner off.")),
    (2593000..=2593999, fix(BAD, "Synchronising with the WhatsApp Business app is not possible now.")),
];

/// What a code that the table does not know comes to: by its HTTP status (§9.2).
const UNKNOWN: Remedy =
    end("WhatsApp refused it.", "A code that Baton does not know: look it up at Meta, and report it.");
const UNKNOWN_RETRY: Remedy = retry(5, "A code that Baton does not know: look it up at Meta, and report it.");

/// `status`: of the answer; for a `failed` status webhook, which has none, any 4xx.
pub fn classify(code: i32, subcode: Option<i32>, status: StatusCode, is_transient: bool) -> Class {
    remedy(code, subcode, status, is_transient).class
}

/// What a code means to everybody concerned. Arguments as of [`classify`].
pub fn remedy(code: i32, subcode: Option<i32>, status: StatusCode, is_transient: bool) -> Remedy {
    // The object is gone or the token may not see it.
    if code == 100 && subcode == Some(33) {
        return OBJECT_UNKNOWN;
    }
    if let Some((_, remedy)) = TABLE.iter().find(|(codes, _)| codes.contains(&code)) {
        return *remedy;
    }
    if is_transient || status.is_server_error() { UNKNOWN_RETRY } else { UNKNOWN }
}

/// Every code of the table with what it means, in order: for a page that lists them.
pub fn remedies() -> impl Iterator<Item = (RangeInclusive<i32>, &'static Remedy)> {
    TABLE.iter().map(|(codes, remedy)| (codes.clone(), remedy))
}
