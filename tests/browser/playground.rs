//! The playground: a phone, a rep, the log, trouble.

use crate::World;

const PHONE: &str = "Chat on the phone";
const REP: &str = "Conversation in Salesforce";
const LOG: &str = "Entries of the log";

pub(crate) async fn walk(world: &World) {
    let browser = &world.browser;
    browser.go(&world.playground).await;
    browser.says("You are Dana Okafor").await;
    browser.judge("playground-empty").await;

    // The customer and the assistant; the log tells it in words.
    browser.press("Hello").await;
    browser.says_in("Hello", PHONE).await;
    browser.says_in("Customer: “Hello”", LOG).await;
    browser.says_in("ask the assistant", LOG).await;
    browser.fill("Message", "What are your opening hours?").await;
    browser.press("Send message").await;
    browser.says_in("Monday to Friday", PHONE).await;

    // A person is asked for, and sees who it is: with the flow, and without.
    browser.press("I want to speak to a human").await;
    browser.see("button", "Accept").await;
    browser.says("Dana Okafor (+15550100123) Waiting").await;
    for shown in ["OpencxSessionId__c", "Customer_Name__c Dana Okafor", "Phone_Number__c +15550100123"] {
        browser.says(shown).await;
    }
    browser.tick("The org’s flow maps the attributes").await;
    browser.says("Guest Waiting").await;
    browser.says("none: no flow writes them").await;
    browser.press("Routing attributes as they came").await;
    browser.says("Chat_Consumer_Type").await;
    browser.tick("The org’s flow maps the attributes").await;
    browser.says("Dana Okafor (+15550100123) Waiting").await;
    browser.says_in("Hello", REP).await;
    browser.press("Tell the place in the queue").await;
    browser.says_in("3", PHONE).await;
    browser.judge("playground-waiting").await;

    // The rep accepts, types, answers; ticks come back.
    browser.press_in("Accept", "What the rep does").await;
    browser.says("Owner Marta L").await;
    browser.fill("Answer", "Hi Dana, Marta here").await;
    browser.says_in("typing", PHONE).await;
    browser.press("Send answer").await;
    browser.says_in("Hi Dana, Marta here", PHONE).await;
    browser
        .until("it was read", async || {
            browser
                .text_of(REP)
                .await
                .split("Hi Dana, Marta here")
                .nth(1)
                .is_some_and(|after| after.contains("read") || after.contains("delivered"))
        })
        .await;
    browser.says_in("Marta L: “Hi Dana, Marta here”", LOG).await;

    // Files and choices, both ways.
    for what in ["Photo", "Document", "Location"] {
        browser.press("Attach").await;
        browser.press(what).await;
    }
    browser.says_in("This is how it came", REP).await;
    browser.says_in("invoice-1042.pdf", REP).await;
    browser.says_in("Alexanderplatz", REP).await;
    let file = world.dir.path().join("mine.txt");
    std::fs::write(&file, "from the customer").unwrap();
    browser.give("File to send from the phone", &file).await;
    browser.says_in("mine.txt", REP).await;
    for what in ["Attach a picture", "Offer quick replies"] {
        browser.press("Send something else").await;
        browser.press(what).await;
    }
    browser.says_in("image/", PHONE).await;
    browser.press_in("Yes, please", PHONE).await;
    browser.says_in("Yes, please", REP).await;
    browser.press("Send something else").await;
    browser.press("Offer a list").await;
    browser.press_in("Tuesday", PHONE).await;
    browser.says_in("Tuesday", REP).await;
    let file = world.dir.path().join("terms.pdf");
    std::fs::write(&file, "%PDF-1.7 of the rep").unwrap();
    browser.give("File to send to the customer", &file).await;
    browser.says_in("terms.pdf", PHONE).await;
    browser.judge("playground-talking").await;

    // Trouble: nothing is lost.
    browser.press("Make trouble").await;
    browser.judge("playground-trouble").await;
    browser.tick("WhatsApp is down").await;
    browser.tick("Salesforce is slow").await;
    browser.press("Cut every event stream").await;
    browser.press_in("Close", "Make trouble").await;
    browser.says("Trouble: 2 on").await;
    browser.fill("Answer", "Said while WhatsApp was down").await;
    browser.press("Send answer").await;
    browser.says_in("Said while WhatsApp was down", REP).await;
    browser.press("Trouble: 2 on").await;
    browser.press("Everything back to normal").await;
    browser.press_in("Close", "Make trouble").await;
    browser.says_in("Said while WhatsApp was down", PHONE).await;

    // To somebody else, and to the end.
    browser.press("Transfer to Jon P").await;
    browser.says("Owner Jon P").await;
    browser.fill("Answer", "Jon here").await;
    browser.press("Send answer").await;
    browser.says_in("Jon here", PHONE).await;
    browser.press("Back to the queue").await;
    browser.press_in("Accept", "What the rep does").await;
    browser.says("Owner Marta L").await;
    browser.press("End chat").await;
    browser.says_in("Session: Ended", REP).await;
    browser.press("What are your opening hours?").await;
    browser
        .until("the assistant is back", async || {
            browser.text_of(PHONE).await.matches("Monday to Friday").count() == 2
        })
        .await;
    browser.tick("every entry").await;
    browser.says_in("About to send", LOG).await;
    browser.judge("playground-over").await;

    // A customer without a phone number.
    browser.choose("Customer", "Mina Park, no phone number").await;
    browser.says("You are Mina Park").await;
    browser.press("I want to speak to a human").await;
    browser.says("Mina Park").await;
    browser.press("Setup").await;
    browser.says("WhatsApp Business Account ID").await;
    browser.judge("playground-setup").await;
}
