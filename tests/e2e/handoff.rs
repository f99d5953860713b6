//! The loop, and what may go wrong at its most delicate moment.

use e2e::sim::{Api, ControlClient, Customer, RepView, Say, Verb};
use serde_json::json;
use xtask::{
    check,
    stack::{NUMBER, Options, Stack},
};

use crate::until;

async fn received(control: &ControlClient, customer: &Customer) -> Vec<String> {
    let phone = control.phone(NUMBER, &customer.key()).await.unwrap();
    phone.map(|phone| phone.received().iter().map(ToString::to_string).collect()).unwrap_or_default()
}

async fn only_conversation(control: &ControlClient) -> Option<RepView> {
    let mut all = control.conversations().await.unwrap();
    assert!(all.len() <= 1, "{} conversations", all.len());
    all.pop()
}

fn say(customer: &Customer, text: &str) -> Say {
    Say::text(NUMBER, customer, text)
}

#[tokio::test]
async fn the_whole_loop_with_two_replicas_of_everything() {
    let stack = Stack::start(Options { replicas: 2, ..Options::default() }).await.unwrap();
    check::walk(&stack).await.unwrap();
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn twenty_first_messages_at_once_open_one_session_and_one_thread() {
    let stack = Stack::start(Options { replicas: 2, ..Options::default() }).await.unwrap();
    let control = &stack.control;
    control.configure_whatsapp(json!({ "duplicates": 5 })).await.unwrap();
    let ana = Customer::phone("15550100199", "Ana");
    let says: Vec<Say> = (0..20).map(|n| say(&ana, &format!("I want to speak to a human, {n}"))).collect();
    control.say_all(&says).await.unwrap();
    let all_there = async || {
        let view = only_conversation(control).await?;
        let thread = view.texts("EndUser").join("\n");
        (0..20).all(|n| thread.contains(&format!("human, {n}"))).then_some(view)
    };
    let view = until("all messages in the thread", all_there).await;
    until("every webhook taken", async || (control.undelivered().await.unwrap() == 0).then_some(())).await;
    assert_eq!(view.sessions.len(), 1);
    let thread = view.texts("EndUser").join("\n");
    for n in 0..20 {
        let line = format!("human, {n}");
        let times = thread.lines().filter(|text| text.ends_with(&line)).count();
        assert_eq!(times, 1, "message {n}:\n{thread}");
    }
    let ids: std::collections::BTreeSet<_> =
        view.sessions.iter().map(|session| &session.routing_attributes["OpencxSessionId"]).collect();
    assert_eq!(ids.len(), 1);
    let connecting = received(control, &ana).await.iter().filter(|text| text.contains("connecting")).count();
    assert_eq!(connecting, 1);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn salesforce_down_at_the_handoff_the_customer_is_told_kept_and_handed_over() {
    let stack =
        Stack::start(Options { policy: json!({ "opening_patience_seconds": 2 }), ..Options::default() })
            .await
            .unwrap();
    let control = &stack.control;
    control.set_up(Api::Salesforce, false).await.unwrap();
    let ana = Customer::phone("15550100199", "Ana");
    control.say(&say(&ana, "I want to speak to a human")).await.unwrap();
    let told = async || {
        received(control, &ana).await.iter().any(|text| text.contains("Your request is kept")).then_some(())
    };
    until("the customer is told", told).await;
    control.say(&say(&ana, "Is anybody there?")).await.unwrap();
    control.set_up(Api::Salesforce, true).await.unwrap();
    let view = until("the handoff", async || {
        only_conversation(control).await.filter(|view| view.texts("EndUser").contains(&"Is anybody there?"))
    })
    .await;
    control.rep(&view.conversation, &Verb::Accept { rep: None }).await.unwrap();
    control.rep(&view.conversation, &Verb::Say { text: "Here I am".into() }).await.unwrap();
    until("the rep's answer", async || {
        received(control, &ana).await.iter().any(|text| text == "Here I am").then_some(())
    })
    .await;
    let told =
        received(control, &ana).await.iter().filter(|text| text.contains("Your request is kept")).count();
    assert_eq!(told, 1, "told once");
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_customer_who_comes_back_is_handed_over_in_the_same_conversation_with_a_new_session() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let control = &stack.control;
    let ana = Customer::phone("15550100199", "Ana");
    for round in 1..=2 {
        control.say(&say(&ana, "I want to speak to a human")).await.unwrap();
        let view = until("a waiting session", async || {
            only_conversation(control).await.filter(|view| {
                view.sessions.len() == round
                    && view.session().is_some_and(|session| session.status == "Waiting")
            })
        })
        .await;
        control.rep(&view.conversation, &Verb::Accept { rep: None }).await.unwrap();
        let text = format!("answer {round}");
        control.rep(&view.conversation, &Verb::Say { text: text.clone() }).await.unwrap();
        until("the answer", async || received(control, &ana).await.contains(&text).then_some(())).await;
        // A rep who leaves for another one ends nothing.
        control.rep(&view.conversation, &Verb::Transfer { to: Some(e2e::sim::Rep::second()) }).await.unwrap();
        let more = format!("second rep {round}");
        control.rep(&view.conversation, &Verb::Say { text: more.clone() }).await.unwrap();
        until("the second rep's answer", async || {
            received(control, &ana).await.contains(&more).then_some(())
        })
        .await;
        control.rep(&view.conversation, &Verb::End).await.unwrap();
        let back = async || {
            let ended = received(control, &ana)
                .await
                .iter()
                .filter(|text| text.contains("chat with our team has ended"))
                .count();
            (ended == round).then_some(())
        };
        until("the assistant is back", back).await;
    }
    let view = only_conversation(control).await.unwrap();
    let attributes: Vec<_> = view
        .sessions
        .iter()
        .map(|session| session.routing_attributes.get("OpencxSessionId").cloned())
        .collect();
    assert!(attributes.iter().all(Option::is_some), "{attributes:?}");
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn outside_of_its_hours_the_team_finds_a_note_and_the_assistant_goes_on() {
    // Open on every day but these: whatever the day is where this runs.
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let near = [today.yesterday(), Ok(today), today.tomorrow()].map(|day| day.unwrap().to_string());
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(|day| (day, ["00:00-24:00"]));
    let week: std::collections::BTreeMap<_, _> = days.into_iter().collect();
    let hours = json!({ "time_zone": "UTC", "week": week, "closed_on": near });
    let policy = json!({ "quiet_seconds": 0, "hours": hours, "after_hours": "leave-note" });
    let stack = Stack::start(Options { policy, ..Options::default() }).await.unwrap();
    let control = &stack.control;
    let ana = Customer::phone("15550100199", "Ana");
    control.say(&say(&ana, "I want to speak to a human, my parcel 77 is lost")).await.unwrap();
    let view = until("the note, in a session that is over", async || {
        only_conversation(control).await.filter(|view| {
            view.texts("EndUser").join("\n").contains("my parcel 77 is lost")
                && view.session().is_some_and(|session| session.status == "Ended")
        })
    })
    .await;
    assert!(view.texts("EndUser").join("\n").contains("while the team was away"), "the rep sees why");
    let told = received(control, &ana).await;
    assert!(told.iter().any(|text| text.contains("left them a note")), "{told:?}");
    // The assistant is there.
    control.say(&say(&ana, "hello")).await.unwrap();
    let before = told.len();
    until("an answer of the assistant", async || {
        (received(control, &ana).await.len() > before).then_some(())
    })
    .await;
    assert!(!received(control, &ana).await.iter().any(|text| text.contains("has ended")), "told once");
    assert_eq!(only_conversation(control).await.unwrap().sessions.len(), 1);
    stack.stop().await.unwrap();
}
