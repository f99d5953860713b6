//! The live list, its stream, and actions: over a real log, with decisions made by the real core.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod bench;
#[path = "../shared/mod.rs"]
mod shared;

use domain::{SessionId, derive::uuid, session::Owner};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use bench::{Bench, Events, Wanted, add, ids, in_thread, read, thread};

#[tokio::test]
async fn the_list_is_ordered_filtered_and_searched() {
    // One is there before the console, the others come later.
    let bench = Bench::start(async |log, keying| {
        let early = Wanted { n: 1, number: "100", name: "Ana Pérez", owner: Owner::Waiting(in_thread(1)) };
        add(log, keying, early, 0).await;
    })
    .await;
    let wanted = |n, number, name, owner| Wanted { n, number, name, owner };
    let (_, live) = bench.add(wanted(2, "100", "<b>Bo</b>", Owner::Live(in_thread(2)))).await;
    let (_, waiting) = bench.add(wanted(3, "200", "Carla", Owner::Waiting(in_thread(3)))).await;
    let (_, assistant) = bench.add(wanted(4, "200", "Dario", Owner::Assistant)).await;
    bench.until("all are listed", async || ids(&bench.list("").await).len() == 4).await;

    let first = SessionId(uuid("session", &[&1u32.to_be_bytes()]));
    let all = bench.list("").await;
    assert_eq!(
        ids(&all),
        [first, waiting, assistant, live].map(|id| id.to_string()),
        "waits first, the longest before all; then what moved last"
    );
    assert_eq!(all["counts"], json!({ "waiting": 2, "with_rep": 1, "assistant": 1, "closed": 0 }));
    let row = &all["sessions"][0];
    assert_eq!((&row["state"], &row["name"]), (&json!("waiting"), &json!("Ana Pérez")));
    assert_eq!(row["last_message"]["direction"], "out");
    assert_eq!(row["thread"], thread(1).to_string());
    assert!(!all.to_string().contains("At nine."), "words are on the page only");

    for (query, expected) in [
        ("?state=waiting", vec![first, waiting]),
        ("?state=with_rep", vec![live]),
        ("?number=200", vec![waiting, assistant]),
        ("?state=waiting&number=200", vec![waiting]),
        ("?state=closed", vec![]),
    ] {
        let expected: Vec<_> = expected.iter().map(SessionId::to_string).collect();
        assert_eq!(ids(&bench.list(query).await), expected, "{query}");
        let page = bench.page(&format!("/sessions{query}")).await;
        for id in [first, live, waiting, assistant] {
            let link = format!("href=\"/sessions/{id}\"");
            assert_eq!(page.contains(&link), expected.contains(&id.to_string()), "{query}");
        }
    }
    for query in ["?state=asleep", "?number=%2B34", "?after=1"] {
        let told = read(bench.get(&format!("/api/v1/sessions{query}")).await, 400).await;
        assert_eq!(told["error"], "malformed_query");
        assert_eq!(bench.get(&format!("/sessions{query}")).await.status(), 400);
    }
    let page = bench.page("/sessions").await;
    assert!(page.contains("At nine.") && page.contains("Ana Pérez") && page.contains("&#60;b&#62;Bo"));
    assert!(!page.contains("<b>Bo"), "names are escaped");
    let overview = bench.page("/").await;
    assert!(overview.contains("4 messages from customers and 4 to customers"), "{overview}");

    // By session, by thread, by name, by phone.
    for id in [live.to_string(), thread(2).to_string()] {
        let found = bench.search(&id).await;
        assert_eq!(found.status(), 303);
        assert_eq!(found.headers()["location"], format!("/sessions/{live}"));
    }
    for (wanted, expected) in
        [("ana", Some(first)), ("pér", Some(first)), ("zoe", None), ("+34 600 000 002", Some(live))]
    {
        let found = bench.search(wanted).await;
        assert_eq!(found.status(), 200, "{wanted}");
        let page = found.text().await.unwrap();
        match expected {
            Some(id) => assert!(page.contains(&format!("/sessions/{id}")), "{wanted}"),
            None => assert!(page.contains("No session found"), "{wanted}"),
        }
    }
    assert_eq!(bench.search("?!").await.status(), 400);
    assert_eq!(bench.search(&thread(99).to_string()).await.status(), 404);
    bench.stop().await;
}

#[tokio::test]
async fn changes_are_pushed_and_what_was_missed_is_told() {
    let bench = Bench::start(async |_, _| {}).await;
    let page = bench.page("/sessions?state=waiting").await;
    let (_, from) = page.split_once("data-stream=\"/sessions/stream").unwrap();
    let query = from.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    assert!(query.starts_with("?state=waiting&since="), "{query}");

    let mut events = Events::of(&bench, &query).await;
    let one = |owner| Wanted { n: 1, number: "100", name: "Ana", owner };
    let (key, session) = bench.add(one(Owner::Waiting(in_thread(1)))).await;
    let row = events.about(&key).await;
    let html = row["html"].as_str().unwrap();
    assert!(html.contains(&format!("/sessions/{session}")) && html.contains("Ana"), "{html}");

    // It leaves the list when a rep takes it.
    let head = bench.servers.log.head(&key).await.unwrap().unwrap().seq;
    add(&bench.servers.log, &bench.servers.keying, one(Owner::Live(in_thread(1))), head).await;
    let mut row = events.about(&key).await;
    while !row["html"].is_null() {
        row = events.about(&key).await;
    }
    // A page that was away since hears of it at once; one of another process is to be fetched again.
    let mut late = Events::of(&bench, &query.replace("state=waiting&", "")).await;
    assert!(late.about(&key).await["html"].as_str().unwrap().contains("with a rep"));
    let mut foreign = Events::of(&bench, "?since=1-1").await;
    assert_eq!(foreign.next().await.0, "reload");
    // A session's page hears of its own only.
    let mut own = Events::of(&bench, &format!("?session={session}")).await;
    let two = Wanted { n: 2, number: "100", name: "Bo", owner: Owner::Assistant };
    bench.add(two).await;
    let head = bench.servers.log.head(&key).await.unwrap().unwrap().seq;
    add(&bench.servers.log, &bench.servers.keying, one(Owner::Assistant), head).await;
    assert!(own.about(&key).await["html"].is_string());
    assert_eq!(bench.get("/sessions/stream?state=no").await.status(), 400);
    // As many as there may be.
    drop((events, late, foreign, own));
    let open =
        stream::iter(0..300).map(|_| bench.get("/sessions/stream")).buffered(50).collect::<Vec<_>>().await;
    let turned_away = open.iter().filter(|answer| answer.status() == 503).count();
    assert!((1..300).contains(&turned_away), "{turned_away}");
    let script = bench.get("/app.js").await;
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    bench.stop().await;
}

#[tokio::test]
async fn an_action_is_decided_once_and_the_page_says_what_became_of_it() {
    let bench = Bench::start(async |_, _| {}).await;
    bench.handoff();
    let wanted = |n, number, owner| Wanted { n, number, name: "Ana", owner };
    let (_, session) = bench.add(wanted(1, "100", Owner::Assistant)).await;
    let (_, live) = bench.add(wanted(2, "100", Owner::Live(in_thread(2)))).await;
    let (_, teamless) = bench.add(wanted(3, "300", Owner::Assistant)).await;

    let done = read(bench.act(session, "hand_off", Some("key-1-of-test")).await, 200).await;
    assert_eq!((&done["decided"], &done["repeated"]), (&json!(true), &json!(false)));
    let again = read(bench.act(session, "hand_off", Some("key-1-of-test")).await, 200).await;
    assert_eq!((&again["seq"], &again["repeated"]), (&done["seq"], &json!(true)));
    assert_eq!(bench.commands().await, 1);
    for (id, action, key, status, error) in [
        (session, "give_back", Some("key-1-of-test"), 409, "idempotency_key_reused"),
        (session, "hand_off", Some("key-2-of-test"), 409, "already_handed_off"),
        (session, "give_back", Some("key-3-of-test"), 409, "still_connecting"),
        (teamless, "hand_off", Some("key-4-of-test"), 409, "no_team"),
        (teamless, "give_back", Some("key-5-of-test"), 409, "with_assistant"),
        (session, "hand_off", None, 400, "malformed_idempotency_key"),
        (session, "hand_off", Some("short"), 400, "malformed_idempotency_key"),
        (session, "explode", Some("key-6-of-test"), 400, "malformed_action"),
        (SessionId(uuid("session", &[b"no"])), "hand_off", Some("key-7-of-test"), 404, "unknown_session"),
    ] {
        assert_eq!(read(bench.act(id, action, key).await, status).await["error"], error);
    }
    assert_eq!(bench.commands().await, 5);

    // The page's button, pressed twice.
    let page = bench.page(&format!("/sessions/{live}")).await;
    assert!(page.contains("Give back to the assistant") && !page.contains("Hand off now"));
    let (_, nonce) = page.split_once("name=\"nonce\" value=\"").unwrap();
    let body = format!("nonce={}&action=give_back", nonce.split('"').next().unwrap());
    let path = format!("/sessions/{live}/actions");
    let both = tokio::join!(bench.form(&path, body.clone()), bench.form(&path, body.clone()));
    let to = [both.0, both.1].map(|answer| answer.headers()["location"].to_str().unwrap().to_owned());
    assert_eq!(to[0], to[1]);
    assert_eq!(bench.commands().await, 6);
    assert!(bench.page(&to[0]).await.contains("Accepted: Salesforce is asked to end the chat"));
    // Somebody else's command, or none, says nothing.
    let other = to[0].replace(&live.to_string(), &session.to_string());
    assert!(!bench.page(&other).await.contains("Accepted"));

    let foreign = bench.http.post(format!("{}{path}", bench.url)).header("sec-fetch-site", "cross-site");
    let foreign = foreign.header("content-type", "application/x-www-form-urlencoded").body(body);
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    bench.stop().await;
}

#[tokio::test]
async fn the_board_lives_through_a_restart_of_the_broker() {
    let mut bench = Bench::start(async |_, _| {}).await;
    let one = |n| Wanted { n, number: "100", name: "Ana", owner: Owner::Assistant };
    bench.add(one(1)).await;
    bench.until("listed", async || ids(&bench.list("").await).len() == 1).await;
    bench.nats.kill().await.unwrap();
    assert_eq!(ids(&bench.list("").await).len(), 1, "what is known is shown meanwhile");
    bench.nats.restart().await.unwrap();
    bench.add(one(2)).await;
    bench.until("both listed", async || ids(&bench.list("").await).len() == 2).await;
    bench.stop().await;
}

#[tokio::test]
async fn ten_thousand_conversations_are_on_the_board() {
    const MANY: u32 = 10_000;
    let bench = Bench::start(async |log, keying| {
        let add = |n| {
            let owner = if n % 10 == 0 { Owner::Waiting(in_thread(n)) } else { Owner::Assistant };
            add(log, keying, Wanted { n, number: "100", name: "Ana", owner }, 0)
        };
        stream::iter(0..MANY).map(add).buffer_unordered(128).collect::<Vec<_>>().await;
    })
    .await;
    let counts = json!({ "waiting": 1_000, "with_rep": 0, "assistant": 9_000, "closed": 0 });
    let (mut query, mut seen) = (String::new(), std::collections::HashSet::new());
    loop {
        let list = bench.list(&query).await;
        assert_eq!((&list["counts"], &list["limited_to"]), (&counts, &Value::Null));
        seen.extend(ids(&list));
        let Some(next) = list["next"].as_str() else { break };
        query = format!("?after={next}");
    }
    assert_eq!(seen.len(), MANY as usize);
    let page = bench.page("/sessions").await;
    assert!(page.contains("rel=\"next\""));
    // A page from before the board was read has too much to catch up with.
    let (_, mark) = page.split_once("since=").unwrap();
    let mut events = Events::of(&bench, &format!("?since={}-1", mark.split('-').next().unwrap())).await;
    assert_eq!(events.next().await.0, "reload");
    bench.stop().await;
}
