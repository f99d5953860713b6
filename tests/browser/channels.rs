//! Channels > WhatsApp: numbers shown, subscribed, switched, checked and added.

use e2e::sim::{Number, Template};
use serde_json::json;
use xtask::stack::{NUMBER, WABA};

use crate::World;

const SECOND: &str = "220011223344001";

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    let control = &world.stack.control;
    let papers = world.stack.papers();
    let number = Number {
        phone_number_id: SECOND.into(),
        waba_id: WABA.into(),
        display_phone_number: "15550100201".into(),
        token: papers.access_token.clone(),
        app_secret: "not used here".into(),
        callback_url: "http://127.0.0.1:9/".into(),
        verify_token: "not used here".into(),
    };
    control.set_number(&number).await.unwrap();
    control
        .set_template(&Template::text(WABA, "reopen", "en_US", "We have an answer for you."))
        .await
        .unwrap();

    // Before anything else: what Meta says is kept for a minute.
    for number in [NUMBER, SECOND] {
        control.set_setup(number, json!({ "subscribed": false })).await.unwrap();
    }
    browser
        .until("it is seen that nothing is subscribed", async || {
            world.open("/channels/whatsapp").await;
            browser.has("button", "Subscribe to webhooks").await
        })
        .await;
    browser.judge("channels-not-subscribed").await;
    browser.press("Subscribe to webhooks").await;
    browser.has_not("button", "Subscribe to webhooks").await;
    browser.says("Webhooks subscribed").await;

    world.open("/").await;
    browser.follow_in("Channels", "Pages").await;
    browser.see("heading", "WhatsApp numbers").await;
    browser.says("Quality").await;
    browser.judge("channels").await;
    browser.press_in("Turn it off", "Support").await;
    browser.says("Assistant off").await;
    browser.press_in("Turn it on", "Support").await;
    browser.says("Assistant on").await;
    browser.press_in("Turn it off", "For all numbers").await;
    browser.says("Autopilot is off for the whole organisation").await;
    browser.judge("channels-autopilot-off").await;
    browser.press_in("Turn it on", "For all numbers").await;
    browser.says_no_more("Autopilot is off for the whole organisation").await;
    // A number is added: wrong first, told as one types, then right.
    browser.follow("Add a number").await;
    browser.see("heading", "New WhatsApp number").await;
    browser.judge("channel-new").await;
    browser.fill("Phone number ID", "the number").await;
    browser.press("Add the number").await;
    browser.refuses("").await;
    browser.judge_but("channel-new-wrong", &["422", "400"]).await;
    browser.fill("Phone number ID", SECOND).await;
    browser.fill("WhatsApp Business Account ID", WABA).await;
    browser.fill("Access token", "EAAwrong").await;
    browser.says("What Meta says").await;
    browser.judge_but("channel-new-refused", &["422", "400"]).await;
    browser.fill("Access token", &papers.access_token).await;
    browser
        .until("the new token is looked at", async || {
            let text = browser.text().await;
            text.contains("What Meta says") && text.contains("in order")
        })
        .await;
    browser.fill("Name", "Sales").await;
    browser.fill("Phone number", "+1 555 010 0201").await;
    browser.judge_but("channel-new-checked", &["422", "400"]).await;
    browser.choose("Hands off to", "main").await;
    browser.press("Add the number").await;
    browser.see("heading", "Sales…").await;
    browser.says("reopen").await;
    browser.press("Policy: quiet time, waiting, the 24-hour window").await;
    browser.press("What Baton itself says").await;
    browser.judge("channel").await;
    browser.fill("Quiet time, in seconds", "99").await;
    browser.press_in("Save", "The number").await;
    browser.refuses("Quiet time").await;
    browser.judge_but("channel-wrong", &["422", "400"]).await;
    browser.fill("Quiet time, in seconds", "2").await;
    browser.press_in("Save", "The number").await;
    browser.says("Done.").await;
    browser.tick("Remove Sales").await;
    browser.press("Remove").await;
    browser.see("heading", "WhatsApp numbers").await;
    browser.has_not("heading", "Sales").await;
}
