//! Nothing lost, nothing twice, every conversation in order, whatever is killed; and the proof that
//! the checker would notice.

use xtask::faults::{Outcome, Scenario, Trouble};

async fn run(scenario: Scenario) -> Outcome {
    scenario.run().await.unwrap()
}

fn small() -> Scenario {
    Scenario { conversations: 20, ..Scenario::default() }
}

#[tokio::test]
async fn each_service_killed_and_paused_and_the_broker_and_the_cache_killed_under_200_conversations() {
    let outcome =
        run(Scenario { troubles: Trouble::each_once(), campaign: 600, ..Scenario::default() }).await;
    outcome.judge().unwrap();
}

#[tokio::test]
async fn an_upgrade_of_one_replica_after_the_other_loses_nothing() {
    run(Scenario { troubles: Trouble::rolling(1), ..small() }).await.judge().unwrap();
}

#[tokio::test]
async fn every_webhook_delivered_five_times_at_once_gives_one_of_everything() {
    run(Scenario { duplicates: 5, ..small() }).await.judge().unwrap();
}

#[tokio::test]
async fn two_owners_of_everything_do_no_harm() {
    run(Scenario { disable: vec!["lease"], ..small() }).await.judge().unwrap();
}

#[tokio::test]
async fn answers_of_whatsapp_that_are_lost_double_nothing() {
    run(Scenario { lost_answers: 0.1, ..small() }).await.judge().unwrap();
}

#[tokio::test]
async fn control_without_append_once_the_checker_fails() {
    noticed(Scenario { duplicates: 5, disable: vec!["append-once"], ..control() }).await;
}

#[tokio::test]
async fn control_without_the_decision_chain_the_checker_fails() {
    // Two workers that keep pace decide the same; one that is held up between reading a state and
    // storing the next one puts an old one on top.
    let troubles = vec![Trouble::Stutter { service: "handoff", replica: 0, seconds: 20 }];
    noticed(Scenario { troubles, disable: vec!["lease", "decision-chain"], ..control() }).await;
}

#[tokio::test]
async fn control_without_the_send_ledger_the_checker_fails() {
    noticed(Scenario { lost_answers: 0.3, disable: vec!["send-ledger"], ..control() }).await;
}

/// Two owners must meet at one conversation for the harm to be done: not in every run.
async fn noticed(scenario: Scenario) {
    for seed in 1..=4 {
        if !run(Scenario { seed, ..scenario.clone() }).await.report.violations.is_empty() {
            return;
        }
    }
    panic!("the checker noticed nothing in four runs");
}

/// What is broken on purpose may also hang: customers give up soon.
fn control() -> Scenario {
    Scenario { conversations: 20, patience: std::time::Duration::from_secs(20), ..Scenario::default() }
}
