//! Troubleshooting: the checks, and an entry that nobody can handle.

use domain::ConversationKey;
use proto::subjects::{self, Kind};
use serde_json::json;
use xtask::stack::NUMBER;

use crate::World;

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    browser.follow_in("Troubleshooting", "Pages").await;
    browser.see("heading", "Troubleshooting").await;
    browser.press("Run again").await;
    browser.says("Everything checked is fine").await;
    browser.judge("troubleshooting").await;

    // What is wrong is named, with what to do.
    world.stack.control.set_setup(NUMBER, json!({ "token_valid": false })).await.unwrap();
    browser.press("Run again").await;
    browser.says("The first thing that is wrong is:").await;
    browser.says("What to do:").await;
    browser.judge("troubleshooting-wrong").await;
    world.stack.control.set_setup(NUMBER, json!({ "token_valid": true })).await.unwrap();

    let log = bus::connect(&bus::Config::at(&world.stack.nats.url())).await.unwrap();
    let subject = subjects::fact(&ConversationKey::from_bytes([1; 16]), Kind::WhatsApp, "made-up");
    log.append_fact(&subject, vec![0xff; 8].into(), None).await.unwrap();
    browser
        .until("the dead letter is listed", async || {
            world.open("/troubleshooting").await;
            browser.has("button", "Discard").await
        })
        .await;
    browser.judge("troubleshooting-dead-letter").await;
    // Every service that reads such entries has one of its own.
    browser
        .until("all are discarded", async || {
            world.open("/troubleshooting").await;
            let left = browser.has("button", "Discard").await;
            if left {
                browser.press("Discard").await;
            }
            !left
        })
        .await;
}
