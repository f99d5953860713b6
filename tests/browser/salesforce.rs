//! Settings > Salesforce > MIAW: six fields, keys, the mapping, the connection's test, conflicts.

use crate::World;

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    browser.follow_in("Settings", "Pages").await;
    browser.see("heading", "Salesforce · MIAW").await;
    browser.judge("salesforce").await;

    // Each field has its own words for what is wrong with it.
    browser.follow("Add another integration").await;
    browser.see("heading", "New Salesforce integration").await;
    browser.judge("salesforce-new").await;
    browser.fill("Name", "Second Org").await;
    browser.press("Save").await;
    browser.says("Name has 1 to 40 small letters").await;
    for (field, wrong) in [
        ("Name", "second"),
        ("Instance URL", "http://acme.my.salesforce.com/home"),
        ("ES Developer Name", "Not a name!"),
        ("Salesforce Org ID", "00D"),
        ("Auth Key ID", " "),
        ("JWT Private Key", "-----BEGIN PRIVATE KEY-----"),
        ("JWT Public Key", "nothing of the kind"),
    ] {
        browser.fill(field, wrong).await;
    }
    browser.press("Save").await;
    // Each in its own words.
    for field in ["Instance URL", "ES Developer Name", "Salesforce Org ID", "Auth Key ID"] {
        browser.refuses(&format!("{field} ")).await;
    }
    browser.judge_but("salesforce-new-wrong", &["422", "400"]).await;

    world.open("/settings/salesforce/main").await;
    browser.see("heading", "Salesforce · MIAW: main").await;
    assert_eq!(browser.value("JWT Private Key").await, "", "secrets are never shown");
    browser.press("Test connection").await;
    browser
        .until("every step is told", async || {
            browser.run("return document.querySelectorAll('#test .checks li').length").await.as_u64()
                >= Some(4)
        })
        .await;
    let badges = browser
        .run("return [...document.querySelectorAll('#test .badge')].map((badge) => badge.textContent)")
        .await;
    assert!(
        badges.as_array().unwrap().iter().all(|badge| badge == "in order" || badge == "not applicable"),
        "{badges}"
    );
    browser.press("Advanced: issuer, messaging host, limits").await;
    browser.judge("salesforce-main").await;

    // A key beside the first; its JWK is copied.
    browser.press("Make a key pair").await;
    browser.says("published, does not sign").await;
    browser.press("Copy").await;
    browser.see("button", "Copied").await;
    browser.judge("salesforce-keys").await;
    browser.press("Remove baton-1").await;
    browser.says_no_more("published, does not sign").await;

    // The mapping, with what the rep gets.
    browser.fill("Key of a new row", "Loyalty_Level").await;
    browser.press("Save the mapping").await;
    browser.until("it is saved", async || browser.run("return [...document.querySelectorAll('input[name=key]')].some((input) => input.value === 'Loyalty_Level')").await == true).await;
    browser.says("Done.").await;

    // Somebody else was quicker.
    world.open("/settings/salesforce/main").await;
    browser.fill("ES Developer Name", "Phone_Bridge_Client").await;
    let first = browser.tab(&format!("{}/settings/salesforce/main", world.console)).await;
    browser.press("Make a key pair").await;
    browser.says("published, does not sign").await;
    browser.close_tab(first).await;
    browser.press("Save").await;
    browser.see("heading", "Somebody else changed the settings").await;
    browser.judge_but("salesforce-conflict", &["409"]).await;
    browser.follow("Open the newest settings").await;
    browser.see("heading", "Salesforce · MIAW: main").await;
    browser.follow("All integrations").await;
    browser.follow_in("Changes", "Settings").await;
    browser.see("heading", "Changes of the settings").await;
    browser.judge("settings-changes").await;
}
