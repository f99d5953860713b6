//! From an empty install to a handoff, with nothing but the pages: what README.md tells under
//! “Connect a number and an integration” for `cargo xtask demo --empty`.

use std::time::Instant;

use crate::World;

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    let papers = world.stack.papers();
    let began = Instant::now();
    world.sign_in().await;
    browser.judge("overview").await;
    for (page, heading) in [
        ("Sessions", "Sessions"),
        ("Contacts", "Contacts"),
        ("Campaigns", "Campaigns"),
        ("Troubleshooting", "Troubleshooting"),
    ] {
        browser.follow_in(page, "Pages").await;
        browser.see("heading", heading).await;
        browser.judge(&page.to_lowercase()).await;
    }

    // The integration, with a key that is made here.
    browser.follow_in("Settings", "Pages").await;
    browser.see("heading", "No integration yet").await;
    browser.judge("salesforce").await;
    browser.follow("Add the integration").await;
    for (field, value) in [
        ("Instance URL", papers.instance_url),
        ("ES Developer Name", papers.es_developer_name),
        ("Salesforce Org ID", papers.org_id),
        ("Auth Key ID", "baton-1"),
    ] {
        browser.fill(field, value).await;
    }
    browser.press("Advanced: issuer, messaging host, limits").await;
    browser.fill("Issuer", papers.issuer).await;
    browser.fill("Messaging host", &papers.messaging_url).await;
    browser.press("Save with a new key pair").await;
    browser.see("heading", "Salesforce · MIAW: main").await;
    let jwk = browser.run("return document.querySelector('pre').textContent").await;
    browser.judge("salesforce-new").await;
    // Before Salesforce knows the key, the test says so.
    browser.press("Test connection").await;
    browser.says("What to do:").await;
    browser.judge("salesforce-key-unknown").await;
    let console = browser.tab(&world.playground).await;
    browser.press("Setup").await;
    browser
        .fill("Key set: paste the JWK that the console shows, then register it", jwk.as_str().unwrap())
        .await;
    browser.press("Register the key").await;
    browser.says("Salesforce knows baton-1 now.").await;
    browser.close_tab(console).await;
    browser.press("Test connection").await;
    browser
        .until("every step of the test is in order", async || {
            let badges = browser
                .run(
                    "return [...document.querySelectorAll('#test .badge')].map((badge) => badge.textContent)",
                )
                .await;
            let badges = badges.as_array().unwrap();
            badges.len() >= 4 && badges.iter().all(|badge| badge == "in order" || badge == "not applicable")
        })
        .await;

    // The number.
    browser.follow_in("Channels", "Pages").await;
    browser.see("heading", "No number yet").await;
    browser.judge("channels").await;
    browser.follow("Add a number").await;
    for (field, value) in [
        ("Phone number ID", papers.phone_number_id),
        ("WhatsApp Business Account ID", papers.waba_id),
        ("Access token", &papers.access_token),
        ("Name", "Support"),
        ("Phone number", papers.display_phone_number),
    ] {
        browser.fill(field, value).await;
    }
    browser.says("in order").await;
    browser.choose("Hands off to", "main").await;
    browser.press("Add the number").await;
    browser.see("heading", "Support…").await;
    browser.judge("channel").await;
    let connected = began.elapsed();

    // It works.
    browser.go(&world.playground).await;
    browser.press("I want to speak to a human").await;
    browser.says("Dana Okafor (+15550100123) Waiting").await;
    browser.press_in("Accept", "What the rep does").await;
    browser.fill("Answer", "Hello Dana").await;
    browser.press("Send answer").await;
    browser.says_in("Hello Dana", "Chat on the phone").await;
    #[expect(clippy::print_stdout, reason = "a figure for people")]
    {
        println!(
            "connected after {} s, pictures and checks included; a rep’s answer after {} s",
            connected.as_secs(),
            began.elapsed().as_secs()
        );
    }
}
