//! Templates sent by the business, and what is answered to them.

use super::*;
use crate::{
    message::{Choice, ChoiceKind, Template, TemplateButton},
    outreach::{CampaignId, Destination, Keyword, Mark, Outreach, ReplyRule},
};

const WEEK: Millis = 7 * 24 * 3_600_000;

fn mark(row: u32) -> Mark {
    Mark { campaign: CampaignId(crate::derive::uuid("campaign", &[])), row }
}

fn outreach(row: u32, reply: ReplyRule) -> Outreach {
    Outreach {
        number: PhoneNumberId::new("1"),
        customer: Customer { phone: Some("15550100123".into()), ..Customer::default() },
        template: Template {
            name: "offer".into(),
            language: "en".into(),
            buttons: vec![TemplateButton::QuickReply { index: 0, payload: "YES".into() }],
            preview: Some(format!("Offer {row} for you")),
            ..Template::default()
        },
        marketing: true,
        not_after: 0,
        mark: Some(mark(row)),
        name: format!("Spring {row}"),
        reply,
        answered_within: WEEK,
    }
}

/// The conversation of the phone number, and what it was sent.
fn phoned(outreaches: Vec<Outreach>) -> (Walk, Vec<Output>) {
    let mut walk = Walk::new();
    let outputs =
        outreaches.into_iter().flat_map(|outreach| walk.play(&Fact::Outreach(Box::new(outreach)))).collect();
    (walk, outputs)
}

/// The customer's own conversation, which is shown the other's.
fn shown(phoned: &Walk) -> Walk {
    Walk { outreaches: phoned.state.outreaches.clone(), time: phoned.time + 1, ..Walk::new() }
}

fn sends(outputs: &[Output]) -> Vec<&Send> {
    outputs.iter().filter_map(|o| if let Output::Send(send) = o { Some(send) } else { None }).collect()
}

fn replies(outputs: &[Output]) -> Vec<&Replied> {
    outputs
        .iter()
        .filter_map(|o| if let Output::Replied(replied) = o { Some(replied) } else { None })
        .collect()
}

fn brief(walk: &Walk) -> &Brief {
    let Owner::Opening(opening) = &walk.state.owner else { panic!("{:?}", walk.state.owner) };
    &opening.brief
}

#[test]
fn an_outreach_goes_out_once_and_names_itself_in_its_buttons() {
    let (walk, outputs) = phoned(vec![outreach(7, ReplyRule::Rep)]);
    let [send] = sends(&outputs)[..] else { panic!() };
    assert_eq!((send.mark, send.origin), (Some(mark(7)), Origin::Campaign));
    let Outgoing::Template(template) = &send.body else { panic!() };
    let [TemplateButton::QuickReply { payload, .. }] = &template.buttons[..] else { panic!() };
    assert_eq!(*payload, format!("out:{}:YES", send.id));
    assert_eq!(walk.state.outreaches.len(), 1);
    assert!(walk.state.session.is_none(), "nobody has written yet");
}

#[test]
fn a_reply_under_the_user_id_opens_a_thread_with_the_campaign() {
    let (phone, _) = phoned(vec![outreach(1, ReplyRule::Rep)]);
    let mut walk = shown(&phone);
    let outputs = walk.says("yes please");
    assert_eq!(
        replies(&outputs)[..],
        [&Replied {
            mark: Some(mark(1)),
            name: "Spring 1".into(),
            text: "Offer 1 for you".into(),
            opted_out: false
        }]
    );
    let campaign = brief(&walk).campaign.clone().unwrap();
    assert_eq!((campaign.name.as_str(), campaign.text.as_str()), ("Spring 1", "Offer 1 for you"));
    // Once is enough: what is said afterwards is said to the rep.
    assert_eq!(replies(&walk.says("hello?")), Vec::<&Replied>::new());
}

#[test]
fn a_tap_names_the_older_of_two_campaigns() {
    let (phone, outputs) = phoned(vec![outreach(1, ReplyRule::Assistant), outreach(2, ReplyRule::Assistant)]);
    let first = sends(&outputs)[0].id;
    let mut walk = shown(&phone);
    let tap = Content::Choice(Choice {
        kind: ChoiceKind::Template,
        id: format!("out:{first}:YES"),
        title: "Yes".into(),
    });
    assert_eq!(replies(&walk.sends(tap))[0].mark, Some(mark(1)));
    assert_eq!(replies(&walk.says("and the other?"))[0].mark, Some(mark(2)), "still open");
    assert_eq!(replies(&walk.says("thanks")), Vec::<&Replied>::new());
}

#[test]
fn what_is_written_much_later_answers_nothing() {
    let (phone, _) = phoned(vec![outreach(1, ReplyRule::Rep)]);
    let mut walk = shown(&phone);
    walk.hours_pass(24 * 8);
    assert_eq!(replies(&walk.says("hi")), Vec::<&Replied>::new());
    assert_eq!(walk.state.owner, Owner::Assistant);
}

#[test]
fn words_decide_where_a_reply_goes() {
    let rule = || {
        ReplyRule::Keywords(vec![
            Keyword { words: vec!["price".into()], to: Destination::Assistant },
            Keyword { words: vec!["not interested".into()], to: Destination::OptOut },
        ])
    };
    let (phone, _) = phoned(vec![outreach(1, rule())]);
    let mut asks = shown(&phone);
    let outputs = asks.says("what is the price?");
    assert!(outputs.iter().any(|o| matches!(o, Output::Ask(_))));
    let mut refuses = shown(&phone);
    let outputs = refuses.says("Not interested!");
    assert!(replies(&outputs)[0].opted_out && refuses.state.no_marketing);
    assert!(outputs.contains(&Output::Consent { wanted: false }), "the number's conversation is told");
    assert_eq!(sends(&outputs).len(), 1, "and they are told, and nobody else asks them anything");
    let mut other = shown(&phone);
    other.says("call me");
    assert!(brief(&other).campaign.is_some());
}

#[test]
fn who_opted_out_gets_no_marketing_until_they_opt_in() {
    let (mut walk, _) = phoned(vec![]);
    walk.says("STOP");
    assert!(walk.state.no_marketing && walk.state.owner == Owner::Assistant);
    let marketing = walk.play(&Fact::Outreach(Box::new(outreach(3, ReplyRule::Rep))));
    assert_eq!(marketing, [Output::Withheld { mark: Some(mark(3)), why: Withholding::OptedOut }]);
    let utility = Outreach { marketing: false, ..outreach(4, ReplyRule::Rep) };
    assert_eq!(sends(&walk.play(&Fact::Outreach(Box::new(utility)))).len(), 1);
    assert!(walk.says("start").contains(&Output::Consent { wanted: true }));
    assert!(!walk.state.no_marketing);
    walk.play(&Fact::Consent { number: PhoneNumberId::new("1"), wanted: false });
    assert!(walk.state.no_marketing);
}

#[test]
fn meta_may_know_of_an_opt_out_that_we_do_not() {
    let (mut walk, outputs) = phoned(vec![outreach(1, ReplyRule::Rep)]);
    let send = sends(&outputs)[0].id;
    let reason = Undeliverable::Refused { code: 131_050 };
    walk.play(&Fact::Undelivered { send, reason, excerpt: String::new(), lost: None });
    assert!(walk.state.no_marketing);
}

#[test]
fn an_outreach_that_comes_too_late_is_not_sent() {
    let late = Outreach { not_after: 5, ..outreach(1, ReplyRule::Rep) };
    let (walk, outputs) = phoned(vec![late]);
    assert_eq!(outputs, [Output::Withheld { mark: Some(mark(1)), why: Withholding::TooLate }]);
    assert_eq!(walk.state.outreaches, []);
}

#[test]
fn a_customer_who_is_with_a_rep_stays_there() {
    let (phone, _) = phoned(vec![outreach(1, ReplyRule::Rep)]);
    let mut walk = Walk { outreaches: phone.state.outreaches, ..Walk::live() };
    walk.time += 10;
    let outputs = walk.says("about your offer");
    assert_eq!(replies(&outputs).len(), 1);
    let notes = calls(&outputs)
        .into_iter()
        .filter(|call| matches!(call, Call::Note { text, .. } if text.contains("Spring 1")));
    assert_eq!(notes.count(), 1);
    assert!(calls(&outputs).iter().any(|call| matches!(call, Call::Forward { .. })));
    assert!(matches!(walk.state.owner, Owner::Live(_)));
    // Not a word that ends the chat here.
    let outputs = walk.says("stop");
    assert!(walk.state.no_marketing && outputs.contains(&Output::Consent { wanted: false }));
    assert!(matches!(walk.state.owner, Owner::Live(_)));
}

#[test]
fn only_the_newest_are_remembered() {
    let (walk, _) = phoned((0..9).map(|row| outreach(row, ReplyRule::Rep)).collect());
    let rows: Vec<_> = walk.state.outreaches.iter().map(|sent| sent.mark.unwrap().row).collect();
    assert_eq!(rows, [5, 6, 7, 8]);
}
