//! What refusals come to at the end of the path, a class each; and that whoever is held back holds
//! nobody else back.

use std::time::Duration;

use e2e::sim::{Fault, Rule};
use proto::v1::undelivered::Reason;
use serde_json::json;

use crate::world::{World, until};

/// What becomes of the refused message.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// The rep is told.
    Told,
    /// It is parked until the customer writes.
    Parked,
    /// It waits; the number's others go on.
    Waits,
    /// It waits with all of the number.
    Stops,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_refusal_does_what_the_table_says() {
    let world = World::start().await;
    let egress = world.egress().await;
    for (index, (code, then)) in [
        (100, Then::Told),     // fix
        (131_026, Then::Told), // final
        (132_001, Then::Told), // a template that is not there
        (132_015, Then::Told), // a template that is paused
        (131_047, Then::Parked),
        (131_030, Then::Waits), // an operator, for this customer
        (131_056, Then::Waits), // the pair
        (190, Then::Stops),     // the last one: nothing of the number goes for half a minute
    ]
    .into_iter()
    .enumerate()
    {
        let (phone, other) = (format!("1555020{index:04}"), format!("1555030{index:04}"));
        let (mut chat, mut neighbour) = (world.chat(&phone), world.chat(&other));
        world.sim.whatsapp.add_fault(Rule::new("messages", Fault::Graph { code }).times(1));
        world.send(&mut chat, &["refused"]).await;
        let refused = match then {
            Then::Told | Then::Parked => "1 refused",
            Then::Waits | Then::Stops => "1 not sent",
        };
        until("the refusal", async || (world.records(&chat).await == ["1 intent", refused]).then_some(()))
            .await;
        match then {
            Then::Told | Then::Parked => {
                let told = until("it is told", async || world.undelivered(&chat).await.pop()).await;
                let expected = |reason: &Reason| match reason {
                    Reason::Refused(refused) => i64::from(refused.code) == code,
                    Reason::WindowClosed(_) => matches!(then, Then::Parked),
                    _ => false,
                };
                assert!(told.reason.as_ref().is_some_and(expected), "{code}: {told:?}");
                world.send(&mut chat, &["next"]).await;
                world.until_received(&phone, &["next"]).await;
            }
            Then::Waits | Then::Stops => assert!(world.undelivered(&chat).await.is_empty(), "{code}"),
        }
        world.send(&mut neighbour, &["hello"]).await;
        if matches!(then, Then::Stops) {
            // Its turn comes when the gate opens; until then not even an intent is written.
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(world.received(&other).is_empty() && world.records(&neighbour).await.is_empty());
            assert!(world.undelivered(&neighbour).await.is_empty());
        } else {
            world.until_received(&other, &["hello"]).await;
        }
    }
    egress.stop().await;
    world.stop().await;
}

/// One number is stopped, one customer of another is over the limit: everybody else gets theirs.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_held_back_holds_nobody_else_back() {
    const STOPPED: &str = "220011223344002";
    let world = World::start_with(&[STOPPED]).await;
    world.sim.whatsapp.configure(json!({ "pair_burst": 1, "pair_refill_ms": 60_000 })).unwrap();
    let egress = world.egress().await;
    // The pair: its second message is refused with 131056 and waits.
    let mut busy = world.chat("15550400001");
    world.send(&mut busy, &["one", "two", "three"]).await;
    until("the pair is held", async || {
        (world.records(&busy).await.last().is_some_and(|last| last == "1 not sent")).then_some(())
    })
    .await;
    // The number: its token is gone.
    let mut stopped = world.chat_on(STOPPED, "15550400002");
    world.sim.whatsapp.add_fault(Rule::new("messages", Fault::Graph { code: 190 }).times(1));
    world.send(&mut stopped, &["four"]).await;
    until("the number is stopped", async || {
        (world.records(&stopped).await == ["1 intent", "1 not sent"]).then_some(())
    })
    .await;
    for index in 0..20 {
        let phone = format!("1555050{index:04}");
        let mut chat = world.chat(&phone);
        world.send(&mut chat, &["hello"]).await;
        world.until_received(&phone, &["hello"]).await;
    }
    assert_eq!(world.received("15550400001"), ["one"]);
    assert!(world.undelivered(&busy).await.is_empty() && world.undelivered(&stopped).await.is_empty());
    egress.stop().await;
    world.stop().await;
}
