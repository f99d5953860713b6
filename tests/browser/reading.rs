//! Without JavaScript everything can still be read.

use crate::World;

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    browser.scripts(false).await;
    for (path, heading, words) in [
        ("/", "Overview", "Messages a minute"),
        ("/sessions", "Sessions", "Dana Okafor"),
        ("/contacts", "Contacts", "Dana Okafor"),
        ("/campaigns", "Campaigns", "Chairs in autumn"),
        ("/channels/whatsapp", "WhatsApp numbers", "Support"),
        ("/settings/salesforce/main", "Salesforce · MIAW: main", "Phone_Bridge_Client"),
        ("/settings/changes", "Changes of the settings", "everything imported"),
        ("/troubleshooting", "Troubleshooting", "Dead letters"),
    ] {
        world.open(path).await;
        let html = browser.html().await;
        assert!(html.contains(heading) && html.contains(words), "{path} does not say {words}");
    }
    world.open("/sessions").await;
    browser.follow("Dana Okafor").await;
    browser
        .until("the page of the session", async || {
            let html = browser.html().await;
            html.contains("Hi Dana, Marta here") && html.contains("Timeline")
        })
        .await;
    browser.scripts(true).await;
}
