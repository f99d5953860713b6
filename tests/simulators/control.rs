//! The same levers over HTTP.

use e2e::sim::{Addresses, Api, ControlClient, Fault, Rule, Say, Verb, What, Who};
use futures::StreamExt as _;
use serde_json::json;

use crate::help::{NUMBER, World, ana, id, number, until};

#[tokio::test]
async fn a_script_in_another_process_can_do_it_all() {
    let world = World::start().await;
    let control = ControlClient::new(&world.sim.addresses().control).unwrap();
    control.set_number(&number(&world.endpoint.url)).await.unwrap();
    control.verify(NUMBER).await.unwrap();
    assert_eq!(control.configure_whatsapp(json!({ "duplicates": 2 })).await.unwrap().duplicates, 2);
    control.configure_whatsapp(json!({ "no_such_switch": 2 })).await.unwrap_err();
    let wamid = control.say(&Say::text(NUMBER, &ana(), "Hi")).await.unwrap();
    until("delivered", async || (control.undelivered().await.unwrap() == 0).then_some(())).await;
    let phone = control.phone(NUMBER, "15550100199").await.unwrap().unwrap();
    assert_eq!(phone.messages[0].wamid, wamid);
    assert_eq!(control.phone(NUMBER, "1").await.unwrap(), None);
    assert_eq!(control.phones().await.unwrap(), [phone]);

    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    control.rep(&c, &Verb::Accept { rep: None }).await.unwrap();
    control.rep(&c, &Verb::Say { text: "Hello".into() }).await.unwrap();
    control.rep(&c, &Verb::Transfer { to: None }).await.unwrap();
    control.rep(&c, &Verb::Say { text: "has left".into() }).await.unwrap_err();
    assert_eq!(control.conversations().await.unwrap()[0].texts("Agent"), ["Hello"]);
    control.set_auto_rep(Some(&Default::default())).await.unwrap();
    control.set_auto_rep(None).await.unwrap();
    control.add_fault(Api::Salesforce, &Rule::new("*", Fault::Refuse)).await.unwrap();
    control.clear_faults(Api::Salesforce).await.unwrap();
    for who in [Who::everyone(), Who::conversation(&c)] {
        control.stall_streams(&who).await.unwrap();
        control.resume_streams(&who).await.unwrap();
        control.cut_streams(&who).await.unwrap();
        control.expire_tokens(&who).await.unwrap();
    }
    control.set_clock_offset_ms(Api::WhatsApp, 1_000).await.unwrap();
    control.set_up(Api::WhatsApp, false).await.unwrap();
    control.set_up(Api::WhatsApp, true).await.unwrap();

    let record = control.record(1).await.unwrap();
    let extent = control.extent().await.unwrap();
    assert_eq!((record.len() as u64, extent.lost), (extent.last, 0));
    assert_eq!(record, world.sim.record.from(1, usize::MAX));
    assert!(record.iter().any(|entry| matches!(entry.what, What::CustomerSaid { .. })));
}

#[tokio::test]
async fn events_tell_what_happens_as_it_happens() {
    let world = World::start().await;
    let from = world.sim.record.extent().last + 1;
    let url = format!("{}/control/events?from={from}", world.sim.addresses().control);
    let mut events = world.http.get(url).send().await.unwrap().bytes_stream();
    world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let first = events.next().await.unwrap().unwrap();
    let first = std::str::from_utf8(&first).unwrap();
    assert!(first.starts_with(&format!("id:{from}\ndata:{{")) && first.contains("customer_said"), "{first}");
}

#[tokio::test]
async fn the_program_says_where_it_listens_and_stops_when_told() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_sim"))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = BufReader::new(program.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let addresses: Addresses = serde_json::from_str(&line).unwrap();
    let control = ControlClient::new(&addresses.control).unwrap();
    assert_eq!(control.extent().await.unwrap().last, 0);
    // The answer may be lost: the program is going.
    let _ = control.stop().await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), program.wait()).await;
    assert!(ended.unwrap().unwrap().success());
}
