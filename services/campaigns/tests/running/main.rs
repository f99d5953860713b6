//! Campaigns on a real broker and a real cache, with a Graph API that knows a template and with
//! somebody who takes what egress would send.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod world;

use campaign::{Command, Pause, Quiet, Schedule, State};
use domain::message::Customer;
use proto::v1::{self, entry::Body};
use world::{Answers, NOON, World};

#[tokio::test]
async fn everybody_is_asked_for_once_and_counted() {
    let world = World::start(Answers::Accept).await;
    let replica = world.replica().await;
    let id = world.campaign(250, Schedule::default(), None).await;
    world.command(id, Command::Start).await;
    world.until_state(id, "finished").await;
    assert_eq!(world.asked().await, world.expected(250));
    let summary = world.until_summary(id, |summary| summary.accepted == 250).await;
    assert_eq!((summary.rows, summary.queued, summary.failed), (250, 250, 0));
    let definition = world.definition(id).await;
    assert_eq!(definition.plan.template.text, "Hi {{1}}!");
    replica.stop().await;
}

#[tokio::test]
async fn whoever_was_erased_is_not_asked_for_and_the_campaign_ends() {
    let world = World::start(Answers::Accept).await;
    let replica = world.replica().await;
    let id = world.campaign(5, Schedule::default(), None).await;
    let erased = Customer { phone: Some("4917612000002".into()), ..Customer::default() };
    assert_eq!(world.campaigns.erase(&[erased]).await.unwrap(), 1);
    world.command(id, Command::Start).await;
    world.until_state(id, "finished").await;
    let summary = world.until_summary(id, |summary| summary.accepted == 4).await;
    assert_eq!((summary.queued, summary.withheld), (5, 1));
    assert_eq!(summary.causes.get(&campaign::progress::cause::ERASED), Some(&1));
    assert_eq!(world.asked().await.len(), 4);
    replica.stop().await;
}

#[tokio::test]
async fn a_replica_that_dies_in_the_middle_is_followed_by_another() {
    let world = World::start(Answers::Accept).await;
    let mut replicas = vec![world.replica().await, world.replica().await];
    let id = world.campaign(400, Schedule::default(), None).await;
    world.command(id, Command::Start).await;
    for enough in [60, 180, 300] {
        world.until_asked(enough).await;
        // Whichever works: both die, one after the other, without a word.
        replicas.remove(0).kill();
        replicas.push(world.replica().await);
    }
    world.until_state(id, "finished").await;
    assert_eq!(world.asked().await, world.expected(400));
    let summary = world.until_summary(id, |summary| summary.accepted == 400).await;
    assert_eq!(summary.queued, 400);
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn two_that_believe_they_work_ask_for_nobody_twice() {
    let world = World::start(Answers::Accept).await;
    let replicas = [world.replica().await, world.replica().await];
    let id = world.campaign(300, Schedule::default(), None).await;
    world.command(id, Command::Start).await;
    world.until_asked(50).await;
    // A person with the broker's tools: the other takes over while the first still works.
    world.forget_lease().await;
    world.until_state(id, "finished").await;
    assert_eq!(world.asked().await, world.expected(300));
    world.until_summary(id, |summary| summary.accepted == 300 && summary.queued == 300).await;
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn paused_resumed_and_cancelled() {
    let world = World::start(Answers::Accept).await;
    let replica = world.replica().await;
    let id = world.campaign(500, Schedule::default(), Some(600)).await;
    world.command(id, Command::Start).await;
    world.until_asked(10).await;
    world.command(id, Command::Pause).await;
    let paused = world.until_quiet().await;
    assert!(paused < 200, "{paused} were asked for");
    world.command(id, Command::Resume).await;
    world.until_asked(paused + 10).await;
    world.command(id, Command::Cancel).await;
    let cancelled = world.until_quiet().await;
    assert!(cancelled < 400, "{cancelled} were asked for");
    assert_eq!(world.definition(id).await.state, State::Cancelled);
    world.until_summary(id, |summary| summary.accepted as usize == cancelled).await;
    replica.stop().await;
}

#[tokio::test]
async fn at_night_nobody_is_asked_for() {
    let world = World::start(Answers::Accept).await;
    let replica = world.replica().await;
    let quiet = Quiet { from: "12:30".parse().unwrap(), to: "08:00".parse().unwrap() };
    // Noon in UTC is two o'clock in Berlin.
    let id = world.campaign(40, Schedule { quiet: Some(quiet), ..Schedule::default() }, None).await;
    world.command(id, Command::Start).await;
    world.until_summary(id, |summary| summary.waiting.as_deref() == Some("quiet hours")).await;
    assert_eq!(world.asked().await.len(), 0);
    world.set_clock(NOON + 18 * 3_600_000); // 08:00 in Berlin
    world.until_state(id, "finished").await;
    assert_eq!(world.asked().await, world.expected(40));
    replica.stop().await;
}

#[tokio::test]
async fn a_scheduled_one_starts_by_itself() {
    let world = World::start(Answers::Accept).await;
    let replica = world.replica().await;
    let schedule = Schedule { start_at: Some(NOON + 60_000), ..Schedule::default() };
    let id = world.campaign(10, schedule, None).await;
    world.command(id, Command::Schedule).await;
    world.until_state(id, "scheduled").await;
    assert_eq!(world.asked().await.len(), 0);
    world.set_clock(NOON + 60_000);
    world.until_state(id, "finished").await;
    assert_eq!(world.asked().await, world.expected(10));
    replica.stop().await;
}

#[tokio::test]
async fn the_portfolios_limit_is_kept_over_a_day_and_a_crash() {
    let world = World::start(Answers::Accept).await;
    world.set_limit("TIER_250");
    let replica = world.replica().await;
    let id = world.campaign(300, Schedule::default(), None).await;
    world.command(id, Command::Start).await;
    world.until_asked(250).await;
    world.until_summary(id, |summary| summary.waiting.as_deref() == Some("messaging limit")).await;
    replica.kill();
    let replica = world.replica().await;
    world.until_summary(id, |summary| summary.accepted == 250).await;
    assert_eq!(world.until_quiet().await, 250);
    world.set_clock(NOON + 26 * 3_600_000);
    world.until_state(id, "finished").await;
    assert_eq!(world.asked().await, world.expected(300));
    replica.stop().await;
}

#[tokio::test]
async fn what_meta_takes_no_more_of_stops_it() {
    let world = World::start(Answers::RefuseFrom(20, 131_048)).await;
    let replica = world.replica().await;
    let id = world.campaign(400, Schedule::default(), None).await;
    world.command(id, Command::Start).await;
    world.until_state(id, "paused").await;
    assert_eq!(world.definition(id).await.state, State::Paused { why: Pause::Spam });
    let asked = world.until_quiet().await;
    assert!(asked < 400, "{asked}");
    let summary =
        world.until_summary(id, |summary| (summary.accepted + summary.failed) as usize == asked).await;
    assert_eq!(summary.causes.keys().copied().collect::<Vec<_>>(), [131_048]);
    replica.stop().await;
}

#[tokio::test]
async fn a_template_that_meta_pauses_stops_it() {
    let world = World::start(Answers::Accept).await;
    let replica = world.replica().await;
    let id = world.campaign(500, Schedule::default(), Some(600)).await;
    world.command(id, Command::Start).await;
    world.until_asked(5).await;
    let raw = br#"{"event":"PAUSED","message_template_id":1,"message_template_name":"sale","message_template_language":"en_US","reason":null}"#;
    let event = v1::AccountEvent {
        waba_id: world::WABA.into(),
        field: "message_template_status_update".into(),
        raw: raw[..].into(),
    };
    let subject = format!("account.{}.message_template_status_update.abc", world::WABA);
    world.append(&subject, Body::AccountEvent(event)).await;
    world.until_state(id, "paused").await;
    assert_eq!(world.definition(id).await.state, State::Paused { why: Pause::Template });
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_sent_does_not_start() {
    let world = World::start(Answers::Accept).await;
    world.set_template("PAUSED");
    let replica = world.replica().await;
    let id = world.campaign(3, Schedule::default(), None).await;
    world.command(id, Command::Start).await;
    world.until_state(id, "draft").await;
    let problems = world.definition(id).await.problems;
    assert!(problems.len() == 1 && problems[0].contains("paused"), "{problems:?}");
    world.set_template("APPROVED");
    world.command(id, Command::Validate).await;
    world.until_state(id, "ready").await;
    assert_eq!(world.asked().await.len(), 0);
    replica.stop().await;
}
