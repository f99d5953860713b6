//! A campaign from its template to its last recipient.

use e2e::sim::{Customer, Template};
use serde_json::json;
use xtask::stack::{NUMBER, WABA};

use crate::World;

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    let control = &world.stack.control;
    let buttons = json!({ "type": "BUTTONS", "buttons": [
        { "type": "QUICK_REPLY", "text": "Yes please" }, { "type": "QUICK_REPLY", "text": "No thanks" },
    ] });
    let body = json!({ "type": "BODY", "text": "Hi {{1}}, chairs are 20% off this week. Interested?" });
    let template = Template {
        category: "MARKETING".into(),
        components: vec![body, buttons],
        ..Template::text(WABA, "chairs", "en_US", "")
    };
    control.set_template(&template).await.unwrap();
    let list = world.dir.path().join("chairs.csv");
    let rows: String = (0..40).map(|n| format!("+346000{:05},Guest {n}\n", 10_000 + n)).collect();
    std::fs::write(&list, format!("phone,first name\n{rows}not a number,Nobody\n")).unwrap();

    browser.follow_in("Campaigns", "Pages").await;
    browser.says("No campaign yet.").await;
    browser.judge("campaigns-none").await;
    browser.follow("New campaign").await;
    if browser.has("button", "Show its templates").await {
        browser.press("Show its templates").await;
    }
    browser.see("heading", "Approved templates").await;
    browser.judge("campaigns-templates").await;
    browser.follow("chairs…").await;
    browser.fill("Name, as reps read it", "Chairs in autumn").await;
    browser.judge("campaigns-new").await;
    // What is wrong is told beside what was typed.
    browser.fill("At most a minute", "many").await;
    let blank = browser
        .run("return document.querySelector('.blank input[type=text]').labels[0].textContent.trim()")
        .await;
    browser.fill(blank.as_str().unwrap(), "first name").await;
    browser.press("Make it, as a draft").await;
    browser.says("That is no campaign yet.").await;
    browser.judge_but("campaigns-new-wrong", &["422", "400"]).await;
    browser.fill("At most a minute", "60").await;
    browser.press("Make it, as a draft").await;
    browser.see("heading", "Chairs in autumn draft").await;
    browser.judge("campaign-draft").await;
    browser.give("File", &list).await;
    browser.press("Upload").await;
    browser.says("40 taken, 1 rejected").await;
    browser.judge("campaign-audience").await;
    browser.press("Start now").await;
    browser.see("button", "Pause").await;
    browser
        .until("the first have it", async || {
            let phone = control.phone(NUMBER, "34600010000").await.unwrap();
            phone.is_some_and(|phone| phone.received().iter().any(|text| text.contains("chairs are 20% off")))
        })
        .await;
    browser.press("Pause").await;
    browser.see("heading", "Chairs in autumn paused").await;
    browser.judge("campaign-paused").await;
    browser.press("Resume").await;
    browser.see("button", "Pause").await;
    browser.says("delivered").await;
    browser.judge("campaign-running").await;
    // Who answers gets a rep, who reads what it is about.
    world.says(&Customer::phone("34600010000", "Guest 0"), "Yes, tell me more").await;
    browser.until("it is counted as answered", async || browser.text().await.contains("replied 1")).await;
    browser.press("Cancel").await;
    browser.press("Cancel for good").await;
    browser.see("heading", "Chairs in autumn cancelled").await;
    browser.judge("campaign-cancelled").await;
    browser.follow_in("Campaigns", "Pages").await;
    browser.see("link", "Chairs in autumn…").await;
    browser.judge("campaigns").await;
}
