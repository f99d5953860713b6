//! Signing in and out, the overview, the live list, search, and a session's page.

use e2e::sim::{Customer, Verb};

use crate::{NAME, PASSWORD, World};

pub(crate) async fn signs_in(world: &World) {
    let browser = &world.browser;
    world.open("/contacts").await;
    browser.see("heading", "Sign in").await;
    browser.judge_but("sign-in", &["401"]).await;
    browser.fill("Name", NAME).await;
    browser.fill("Password", "wrong, all of it").await;
    browser.press("Sign in").await;
    browser.refuses("").await;
    browser.judge_but("sign-in-refused", &["401", "403", "429"]).await;
    browser.fill("Password", PASSWORD).await;
    browser.press("Sign in").await;
    // Where they wanted to go.
    browser.see("heading", "Contacts").await;
}

pub(crate) async fn signs_out(world: &World) {
    let browser = &world.browser;
    world.open("/").await;
    browser.press("Sign out").await;
    browser.see("heading", "Sign in").await;
    world.open("/sessions").await;
    browser.see("heading", "Sign in").await;
    browser.check_log(&["401"]).await;
}

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    let control = &world.stack.control;
    let ben = Customer::phone("15550100771", "Ben Acker");
    let cleo = Customer::phone("15550100772", "Cleo Danso");
    world.open("/").await;
    browser.see("heading", "Overview").await;

    // The list follows, and the page is never loaded again.
    browser.follow_in("Sessions", "Pages").await;
    browser.says("Live").await;
    browser.run("window.stayed = true").await;
    world.says(&ben, "Hello there").await;
    browser.see("link", "Ben Acker").await;
    world.says(&cleo, "I want to speak to a human").await;
    browser
        .until("Cleo waits", async || {
            browser.text().await.contains("Cleo Danso") && browser.text().await.contains("waiting")
        })
        .await;
    assert_eq!(browser.run("return window.stayed").await, true, "the page was loaded again");
    browser.judge("sessions").await;
    world.open("/").await;
    browser.see("link", "Cleo Danso").await;
    browser.judge("overview").await;

    // Found by phone number, name, id, and not at all.
    let search = "Session id, phone number, name or Salesforce conversation";
    browser.fill(search, "15550100771").await;
    browser.press("Find").await;
    browser.see("heading", "1 session").await;
    browser.judge("sessions-found-by-phone").await;
    browser.fill(search, "Nobody at all").await;
    browser.press("Find").await;
    browser.see("heading", "No session found").await;
    browser.judge_but("sessions-none-found", &["404"]).await;
    browser.fill(search, "Ben A").await;
    browser.press("Find").await;
    browser.until("Ben is found", async || browser.text().await.contains("Ben Acker")).await;
    browser.judge("sessions-found").await;
    browser.follow("Ben Acker…").await;
    browser.see("heading", "Ben Acker assistant").await;
    let path = browser.path().await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    browser.fill(search, &id).await;
    browser.press("Find").await;
    browser.at(&path).await;

    // Handed off, accepted, given back: the page follows.
    browser.says("Hello there").await;
    browser.press("Hand off now").await;
    browser.see("heading", "Ben Acker waiting").await;
    browser.judge("session-waiting").await;
    let views = control.conversations().await.unwrap();
    let view = views.into_iter().find(|view| view.name.contains("Ben")).unwrap();
    control.rep(&view.conversation, &Verb::Accept { rep: None }).await.unwrap();
    control.rep(&view.conversation, &Verb::Say { text: "Ben, this is Marta".into() }).await.unwrap();
    browser.see("heading", "Ben Acker live").await;
    browser.says("Ben, this is Marta").await;
    browser.says("out, ").await;
    browser.judge("session-live").await;
    browser.press("Give back to the assistant").await;
    browser.see("heading", "Ben Acker assistant").await;
    browser.tick("Show decisions and records").await;
    browser.press("Ids and state").await;
    browser.says("Salesforce conversation").await;
    browser.judge("session-over").await;
}
