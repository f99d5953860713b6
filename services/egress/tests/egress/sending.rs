//! The send ledger where it matters: around the POST.

use std::time::Duration;

use domain::SendId;
use e2e::sim::{Api, Fault, Rule, What};
use proto::{
    subjects::{self, SendPhase, SendRef},
    v1::{self, entry::Body, undelivered::Reason},
};
use serde_json::json;

use crate::world::{Chat, GRACE, PHONE, World, until};

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn posts(world: &World) -> usize {
    let record = world.sim.record.from(1, usize::MAX);
    record.iter().filter(|entry| matches!(&entry.what, What::WaRequest { .. })).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_arrive_once_and_in_order_and_a_restart_repeats_none() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    let egress = world.egress().await;
    let texts: Vec<String> = (0..30).map(|n| format!("text {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.send(&mut chat, &texts).await;
    world.until_received(PHONE, &texts).await;
    egress.stop().await;
    let egress = world.egress().await;
    world.send(&mut chat, &["one more"]).await;
    world.until_received(PHONE, &[&texts[..], &["one more"]].concat()).await;
    assert_eq!(posts(&world), texts.len() + 1);
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_goes_out_in_parts_each_with_its_own_reference() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    let egress = world.egress().await;
    let parts: Vec<String> = ["a", "b", "c"].map(|c| c.repeat(4000)).into();
    world.send(&mut chat, &[&parts.join("\n\n")]).await;
    world.until_received(PHONE, &parts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    until("three outcomes", async || {
        (world.records(&chat).await == ["1 intent", "1 accepted"].repeat(3)).then_some(())
    })
    .await;
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_is_not_sent_and_tells_nobody_but_the_ledger() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    world.send_until(&mut chat, now() - 1, "good night").await;
    world.send_until(&mut chat, now() + 600_000, "good evening").await;
    let egress = world.egress().await;
    world.until_received(PHONE, &["good evening"]).await;
    until("both outcomes", async || {
        (world.records(&chat).await == ["1 refused", "1 intent", "1 accepted"]).then_some(())
    })
    .await;
    assert_eq!(posts(&world), 1);
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_settled_by_the_status() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    world.sim.whatsapp.add_fault(Rule::new("messages", Fault::LoseAnswer).times(1));
    let egress = world.egress().await;
    world.send(&mut chat, &["one", "two"]).await;
    world.until_received(PHONE, &["one", "two"]).await;
    let expected = ["1 intent", "1 accepted by status", "1 intent", "1 accepted"];
    until("the outcomes", async || (world.records(&chat).await == expected).then_some(())).await;
    assert_eq!(posts(&world), 2);
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrived_is_sent_once_more_after_the_grace() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    world.sim.whatsapp.add_fault(Rule::new("messages", Fault::Refuse).times(1));
    let egress = world.egress().await;
    world.send(&mut chat, &["one", "two"]).await;
    world.until_received(PHONE, &["one", "two"]).await;
    let expected = ["1 intent", "1 in doubt", "2 intent", "2 accepted", "1 intent", "1 accepted"];
    until("the outcomes", async || (world.records(&chat).await == expected).then_some(())).await;
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twice_in_doubt_is_told_and_the_next_goes_on() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    world.sim.whatsapp.add_fault(Rule::new("messages", Fault::Refuse).times(2));
    let egress = world.egress().await;
    let ids = world.send(&mut chat, &["one", "two"]).await;
    world.until_received(PHONE, &["two"]).await;
    let told = world.undelivered(&chat).await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].send.clone(), told[0].excerpt.as_str()), (ids[0].to_string(), "one"));
    assert!(matches!(told[0].reason, Some(Reason::Unknown(_))));
    assert_eq!(posts(&world), 3);
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_and_nothing_is_repeated() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    world.sim.whatsapp.add_fault(Rule::new("messages", Fault::Graph { code: 131_047 }).times(1));
    world.sim.whatsapp.add_fault(Rule::new("messages", Fault::Graph { code: 131_026 }).times(1));
    let egress = world.egress().await;
    world.send(&mut chat, &["one", "two", "three"]).await;
    world.until_received(PHONE, &["three"]).await;
    let told = world.undelivered(&chat).await;
    assert!(matches!(told[0].reason, Some(Reason::WindowClosed(_))));
    assert!(matches!(&told[1].reason, Some(Reason::Refused(refused)) if refused.code == 131_026));
    assert_eq!(told.iter().map(|told| told.excerpt.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_failure_is_told_with_its_words() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    // The window closed, and WhatsApp says so only after it took the message.
    world.sim.whatsapp.configure(json!({ "window_refusal": "late" })).unwrap();
    world.sim.whatsapp.set_clock_offset_ms(25 * 3_600_000);
    let egress = world.egress().await;
    let ids = world.send(&mut chat, &["too late"]).await;
    let told = until("the fact", async || world.undelivered(&chat).await.pop()).await;
    assert_eq!((told.send, told.excerpt.as_str()), (ids[0].to_string(), "too late"));
    assert!(matches!(told.reason, Some(Reason::WindowClosed(_))));
    assert_eq!(world.records(&chat).await, ["1 intent", "1 accepted"]);
    egress.stop().await;
    world.stop().await;
}

/// What a crash leaves behind, point by point around the POST.
mod crashes {
    use super::*;

    async fn intent(world: &World, chat: &Chat, send: SendId, number: u32) {
        let reference = SendRef { send, attempt: number };
        let body = Body::SendIntent(v1::SendIntent {
            mark: None,
            send: send.to_string(),
            attempt: number,
            at: now(),
            decision: 1,
            epoch: 1,
            doubtful: 0,
        });
        let subject = subjects::send(&chat.key, reference, SendPhase::Intent);
        world.log.append_fact(&subject, proto::encode(body), None).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn before_the_intent() {
        let world = World::start().await;
        let mut chat = world.chat(PHONE);
        world.send(&mut chat, &["one"]).await;
        let egress = world.egress().await;
        world.until_received(PHONE, &["one"]).await;
        egress.stop().await;
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn between_the_intent_and_the_post() {
        let world = World::start().await;
        let mut chat = world.chat(PHONE);
        let ids = world.send(&mut chat, &["one"]).await;
        intent(&world, &chat, ids[0], 1).await;
        let started = std::time::Instant::now();
        let egress = world.egress().await;
        world.until_received(PHONE, &["one"]).await;
        // A paused worker could still be sending it: the grace counts from the intent.
        assert!(started.elapsed() > GRACE - Duration::from_millis(300));
        until("the outcomes", async || {
            (world.records(&chat).await == ["1 intent", "1 in doubt", "2 intent", "2 accepted"]).then_some(())
        })
        .await;
        egress.stop().await;
        world.stop().await;
    }

    /// Processed and never answered; the worker dies meanwhile. The status settles it.
    #[tokio::test(flavor = "multi_thread")]
    async fn while_the_post_is_under_way() {
        let world = World::start().await;
        let mut chat = world.chat(PHONE);
        world.sim.whatsapp.add_fault(Rule::new("messages", Fault::SlowAnswer { ms: 60_000 }).times(1));
        let egress = world.egress().await;
        world.send(&mut chat, &["one"]).await;
        world.until_received(PHONE, &["one"]).await;
        egress.kill();
        let egress = world.egress().await;
        world.send(&mut chat, &["two"]).await;
        world.until_received(PHONE, &["one", "two"]).await;
        assert_eq!(world.records(&chat).await[..2], ["1 intent", "1 accepted by status"]);
        egress.stop().await;
        world.stop().await;
    }

    /// The same without any status: the one case in which a customer sees a message twice.
    #[tokio::test(flavor = "multi_thread")]
    async fn after_the_answer_and_no_status_ever_comes() {
        let world = World::start().await;
        let mut chat = world.chat(PHONE);
        world.sim.whatsapp.configure(json!({ "statuses": false })).unwrap();
        world.sim.whatsapp.add_fault(Rule::new("messages", Fault::SlowAnswer { ms: 60_000 }).times(1));
        let egress = world.egress().await;
        world.send(&mut chat, &["one"]).await;
        world.until_received(PHONE, &["one"]).await;
        egress.kill();
        let egress = world.egress().await;
        world.until_received(PHONE, &["one", "one"]).await;
        egress.kill();
        // Never more than one blind resend, however often workers die.
        let egress = world.egress().await;
        world.send(&mut chat, &["two"]).await;
        world.until_received(PHONE, &["one", "one", "two"]).await;
        egress.stop().await;
        world.stop().await;
    }

    /// WhatsApp cannot be reached and workers come and go: nothing is lost, and as nothing went
    /// out, nothing counts as sent blindly.
    #[tokio::test(flavor = "multi_thread")]
    async fn again_and_again_during_an_outage() {
        let world = World::start().await;
        let mut chat = world.chat(PHONE);
        world.sim.set_up(Api::WhatsApp, false).await;
        world.send(&mut chat, &["one", "two"]).await;
        for _ in 0..3 {
            let before = world.records(&chat).await.len();
            let egress = world.egress().await;
            until("another try", async || (world.records(&chat).await.len() >= before + 2).then_some(()))
                .await;
            egress.kill();
        }
        world.sim.set_up(Api::WhatsApp, true).await;
        let egress = world.egress().await;
        world.until_received(PHONE, &["one", "two"]).await;
        assert!(world.undelivered(&chat).await.is_empty());
        assert_eq!(posts(&world), 2);
        egress.stop().await;
        world.stop().await;
    }
}

/// Two processes that both believe to own the conversation, as when one wakes up from a long pause:
/// the ledger alone decides who sends.
#[tokio::test(flavor = "multi_thread")]
async fn two_owners_at_once_send_once() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    let one = world.egress_without_lease().await;
    let two = world.egress_without_lease().await;
    let texts: Vec<String> = (0..20).map(|n| format!("text {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.send(&mut chat, &texts).await;
    world.until_received(PHONE, &texts).await;
    until("all outcomes", async || (world.records(&chat).await.len() == 2 * texts.len()).then_some(())).await;
    assert_eq!(posts(&world), texts.len());
    one.stop().await;
    two.stop().await;
    world.stop().await;
}

/// More than a pair may have at once: the rest goes out later, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_beyond_the_pair_limit_waits_its_turn() {
    let world = World::start().await;
    world.sim.whatsapp.configure(json!({ "pair_burst": 5 })).unwrap();
    let mut chat = world.chat(PHONE);
    let egress = world.egress().await;
    let texts: Vec<String> = (0..7).map(|n| format!("text {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.send(&mut chat, &texts).await;
    world.until_received(PHONE, &texts).await;
    assert!(world.undelivered(&chat).await.is_empty());
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_ledger_a_lost_answer_doubles_the_message() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    world.sim.whatsapp.add_fault(Rule::new("messages", Fault::LoseAnswer).times(1));
    let egress = world.egress_with(|config| config.send_ledger = false).await;
    world.send(&mut chat, &["one"]).await;
    world.until_received(PHONE, &["one", "one"]).await;
    assert!(world.records(&chat).await.is_empty());
    egress.stop().await;
    world.stop().await;
}
