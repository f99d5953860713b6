//! People: found, linked, merged, exported, erased.

use e2e::sim::Customer;

use crate::World;

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    let [eva, other] = [("15550100781", "Eva Lind"), ("15550100782", "Eva at work")];
    for (phone, name) in [eva, other] {
        world.says(&Customer::phone(phone, name), "Hello").await;
    }
    world.open("/contacts").await;
    browser
        .until("both are listed", async || {
            world.open("/contacts").await;
            let text = browser.text().await;
            [eva, other].iter().all(|(_, name)| text.contains(name))
        })
        .await;
    browser.judge("contacts").await;
    let search = "Find a contact by phone number, e-mail address, user id or the beginning of a name";
    let find = async |words: &str| {
        let label =
            browser.run("return document.querySelector('form[role=search] label')?.textContent.trim()").await;
        browser.fill(label.as_str().unwrap_or(search), words).await;
        browser.press("Find").await;
    };
    find("15550100999").await;
    browser.says("Nobody is known by that").await;
    browser.judge_but("contacts-none", &["404"]).await;
    find(eva.0).await;
    browser
        .until("she is found", async || {
            if browser.has("link", "Eva Lind…").await {
                browser.follow("Eva Lind…").await;
            }
            browser.path().await.len() > "/contacts/".len() + 10
        })
        .await;
    browser.see("heading", "Eva Lind").await;
    browser.fill("Link an e-mail address", "eva.lind@example.com").await;
    browser.press("Link").await;
    browser.says("eva.lind@example.com").await;
    browser.judge("contact").await;
    let one = browser.path().await;

    // The whole of it, as a file.
    let exported = format!("return fetch('{one}/export').then((answer) => answer.json())");
    let exported = browser.run(&exported).await.to_string();
    assert!(exported.contains("eva.lind@example.com") && browser.has("link", "Export as JSON").await);

    browser.fill("The other one’s phone number, e-mail address or id", other.0).await;
    browser.press("Compare").await;
    browser.see("heading", "Are these one person?").await;
    browser.judge("contacts-merge").await;
    browser.press("Merge").await;
    browser.says("Done.").await;
    browser.says(&format!("+{}", other.0)).await;
    browser.judge("contact-merged").await;

    // Nothing is erased by a slip.
    browser.press("Erase").await;
    browser.at(&one).await;
    browser.tick("Erase everything of this contact").await;
    browser.press("Erase").await;
    browser.says("The contact is erased.").await;
    browser.judge("contacts-erased").await;
}
