//! What operators do in the console: on a whole stack, with each service's own rights at the broker.

use e2e::sim::{Customer, Say, Verb};
use serde_json::{Value, json};
use xtask::stack::{NUMBER, Options, Stack, users};

use crate::until;

#[tokio::test]
async fn an_operator_hands_off_and_gives_back_while_the_list_follows() {
    let options = Options { users: Some(users().unwrap()), ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let console = stack.services().iter().find(|service| service.name() == "console").unwrap().url();
    let control = &stack.control;
    runtime::init_crypto();
    let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
    let ana = Customer::phone("15550100142", "Ana Ruiz");
    // The board's only session, once it is in this state.
    let listed = async |state: &str| {
        let url = format!("{console}/api/v1/sessions?state={state}&number={NUMBER}");
        let list: Value = http.get(url).send().await.unwrap().json().await.unwrap();
        list["sessions"].as_array().unwrap().first().cloned()
    };
    let act = async |session: &Value, action: &str, key: &str| {
        let url = format!("{console}/api/v1/sessions/{}/actions", session["id"].as_str().unwrap());
        let request = http.post(url).header("idempotency-key", key);
        let answer = request.json(&json!({ "action": action })).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };

    control.say(&Say::text(NUMBER, &ana, "Hello")).await.unwrap();
    let session = until("the assistant has it", async || {
        let session = listed("assistant").await?;
        (session["last_message"]["by"] == "assistant").then_some(session)
    })
    .await;
    assert_eq!(session["name"], "Ana Ruiz");
    for _ in 0..2 {
        let (status, done) = act(&session, "hand_off", "first-hand-off").await;
        assert_eq!((status, &done["decided"]), (200, &json!(true)), "{done}");
    }
    until("she waits", async || listed("waiting").await).await;
    let view = until("one conversation in Salesforce", async || {
        let mut all = control.conversations().await.unwrap();
        assert!(all.len() <= 1);
        all.pop().filter(|view| view.session().is_some())
    })
    .await;
    let (status, told) = act(&session, "hand_off", "second-hand-off").await;
    assert_eq!((status, &told["error"]), (409, &json!("already_handed_off")), "{told}");

    control.rep(&view.conversation, &Verb::Accept { rep: None }).await.unwrap();
    let live = until("a rep has it", async || listed("with_rep").await).await;
    assert_eq!((&live["id"], &live["waiting_since"]), (&session["id"], &Value::Null));
    let (status, done) = act(&session, "give_back", "give-back").await;
    assert_eq!((status, &done["decided"]), (200, &json!(true)), "{done}");
    let back = until("the assistant has it again", async || listed("assistant").await).await;
    assert_eq!((&back["id"], &back["handoffs"]), (&session["id"], &json!(1)));

    let log = std::fs::read_to_string(stack.nats.log()).unwrap();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn an_erased_customer_is_forgotten_by_every_service_and_begins_anew() {
    let options = Options { users: Some(users().unwrap()), ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let console = stack.services().iter().find(|service| service.name() == "console").unwrap().url();
    let control = &stack.control;
    runtime::init_crypto();
    let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
    let ana = Customer::phone("15550100143", "Ana Ruiz");
    let get = async |path: &str| {
        let url = format!("{console}/api/v1{path}");
        http.get(url).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let post = async |path: &str, body: Value| {
        let request = http.post(format!("{console}/api/v1{path}")).header("idempotency-key", "hand-off-1");
        let answer = request.timeout(std::time::Duration::from_secs(100)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let listed = async |state: &str, by: &str| {
        let list = get(&format!("/sessions?state={state}&number={NUMBER}")).await;
        let session = list["sessions"].as_array().unwrap().first().cloned()?;
        (by.is_empty() || session["last_message"]["by"] == by).then_some(session)
    };
    control.say(&Say::text(NUMBER, &ana, "Hello")).await.unwrap();
    let session = until("the assistant has it", async || listed("assistant", "assistant").await).await;
    let first = session["id"].as_str().unwrap();
    let contact = get(&format!("/sessions/{first}")).await["contact"].as_str().unwrap().to_owned();
    let (linked, _) =
        post(&format!("/contacts/{contact}/emails"), json!({ "email": "ana@example.com" })).await;
    assert_eq!(linked, 200);
    let (asked, _) = post(&format!("/sessions/{first}/actions"), json!({ "action": "hand_off" })).await;
    assert_eq!(asked, 200);
    let view = until("one conversation in Salesforce", async || {
        let mut all = control.conversations().await.unwrap();
        all.pop().filter(|view| view.session().is_some())
    })
    .await;
    control.rep(&view.conversation, &Verb::Accept { rep: None }).await.unwrap();
    until("a rep has it", async || listed("with_rep", "").await).await;

    // Whom a rep has is erased only if the chat may end: Salesforce is asked to end it first.
    let erase = format!("/contacts/{contact}/erase");
    let (status, told) = post(&erase, json!({})).await;
    assert_eq!((status, &told["error"]), (409, &json!("with_people")), "{told}");
    let (status, erased) = post(&erase, json!({ "force": true })).await;
    assert_eq!(status, 200, "{erased}");
    assert_eq!(get(&format!("/contacts/{contact}")).await["error"], "unknown_contact");
    assert_eq!(get(&format!("/sessions/{first}")).await["error"], "unknown_session");
    until("the board is empty", async || {
        let list = get("/sessions").await;
        list["sessions"].as_array().unwrap().is_empty().then_some(())
    })
    .await;

    // Every service is met by a conversation that it never saw.
    control.say(&Say::text(NUMBER, &ana, "Hello again")).await.unwrap();
    let session = until("the assistant answers again", async || listed("assistant", "assistant").await).await;
    assert_ne!(session["id"], first, "another session");
    assert_eq!(session["handoffs"], 0);
    let timeline = get(&format!("/sessions/{}/timeline", session["id"].as_str().unwrap())).await;
    assert_eq!(timeline["ledger"]["received"], 1, "nothing of before: {timeline}");
    let told = get(&format!("/contacts/{contact}")).await;
    let emails = told["aliases"].as_array().unwrap().iter().filter(|alias| alias["kind"] == "email").count();
    assert_eq!(emails, 0, "{told}");

    let log = std::fs::read_to_string(stack.nats.log()).unwrap();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    stack.stop().await.unwrap();
}
