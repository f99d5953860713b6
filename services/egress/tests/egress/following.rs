//! Event streams: whatever happens to them, the log has every entry of the thread, once, in order.

use std::time::Duration;

use e2e::sim::{Api, Fault, Rule, Verb, What as Seen, Who};
use proto::{
    subjects::Kind,
    v1::{entry::Body, salesforce_event::What},
};
use serde_json::json;
use tokens::Tokens;

use crate::world::{Chat, PHONE, World, until};

/// Creates the conversation, as handoff does, and has a rep accept it.
async fn open(world: &World, chat: &Chat) {
    let store = store::Store::connect(&world.store_config()).unwrap();
    let tokens = Tokens::new(runtime::settings::Live::fixed(world.settings().clone()), store).unwrap();
    let access = tokens.access(&chat.state.number, chat.state.contact.unwrap()).unwrap();
    let held = access.token().await.unwrap();
    let session = salesforce::NewSession { language: "en_US".into(), ..Default::default() };
    access.org().client.create_conversation(&held.token, chat.thread(), &session).await.unwrap();
    world.sim.salesforce.rep(&chat.thread().to_string(), Verb::Accept { rep: None }).unwrap();
}

fn rep_says(world: &World, chat: &Chat, text: &str) {
    world.sim.salesforce.rep(&chat.thread().to_string(), Verb::Say { text: text.into() }).unwrap();
}

/// What reps wrote, as the log has it.
async fn written(world: &World, chat: &Chat) -> Vec<String> {
    let entries = world.entries(chat, Kind::Salesforce).await.into_iter();
    entries
        .filter_map(|(_, body)| match body {
            Body::SalesforceEvent(event) => match event.what {
                Some(What::RepWrote(text)) => Some(text.text),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

async fn until_written(world: &World, chat: &Chat, count: usize) {
    let expected: Vec<String> = (0..count).map(|n| format!("reply {n}")).collect();
    until("the replies", async || (written(world, chat).await.len() >= count).then_some(())).await;
    assert_eq!(written(world, chat).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_up_before_the_conversation_exists_and_brings_what_happens() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    let egress = world.egress().await;
    let follow = world.follow(&mut chat).await;
    world.until_up(&chat, follow).await;
    assert_eq!(world.sim.salesforce.streams().len(), 1);
    open(&world, &chat).await;
    rep_says(&world, &chat, "reply 0");
    until_written(&world, &chat, 1).await;
    // The echo of what the customer says, typing and the like are not in the log.
    let kinds: Vec<String> = world
        .entries(&chat, Kind::Salesforce)
        .await
        .into_iter()
        .map(|(_, body)| match body {
            Body::ThreadFollowed(_) => "up".to_owned(),
            Body::SalesforceEvent(event) => match event.what.unwrap() {
                What::RepWrote(_) => "wrote".into(),
                What::RepJoined(_) => "joined".into(),
                What::SessionStatus(status) => status.status,
                What::Other(other) => other.event,
                _ => "else".into(),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds[0], "up");
    for wanted in ["Waiting", "Active", "joined", "wrote"] {
        assert_eq!(kinds.iter().filter(|kind| *kind == wanted).count(), 1, "{wanted} in {kinds:?}");
    }
    // The thread is over: the stream ends; the next handoff brings it up again and says so.
    world.unfollow(&mut chat).await;
    until("no stream", async || world.sim.salesforce.streams().is_empty().then_some(())).await;
    rep_says(&world, &chat, "reply 1");
    let again = world.follow(&mut chat).await;
    world.until_up(&chat, again).await;
    until_written(&world, &chat, 2).await;
    egress.stop().await;
    until("no stream", async || world.sim.salesforce.streams().is_empty().then_some(())).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rep_s_message_reaches_the_phone() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    let egress = world.egress().await;
    let follow = world.follow(&mut chat).await;
    world.until_up(&chat, follow).await;
    open(&world, &chat).await;
    rep_says(&world, &chat, "reply 0");
    until_written(&world, &chat, 1).await;
    let text = written(&world, &chat).await.remove(0);
    world.send(&mut chat, &[&text]).await;
    world.until_received(PHONE, &["reply 0"]).await;
    egress.stop().await;
    world.stop().await;
}

/// Cut at every point, with every way a server may replay.
async fn cut_again_and_again(replay: serde_json::Value) {
    const REPLIES: usize = 40;
    let world = World::start().await;
    world.sim.salesforce.configure(json!({ "replay": replay })).unwrap();
    let mut chat = world.chat(PHONE);
    let egress = world.egress().await;
    let follow = world.follow(&mut chat).await;
    world.until_up(&chat, follow).await;
    open(&world, &chat).await;
    for n in 0..REPLIES {
        if n % 3 == 0 {
            world.sim.salesforce.cut_streams(&Who::everyone());
        }
        if n % 10 == 5 {
            world.sim.salesforce.expire_tokens(&Who::everyone());
        }
        rep_says(&world, &chat, &format!("reply {n}"));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    until_written(&world, &chat, REPLIES).await;
    let record = world.sim.record.from(1, usize::MAX);
    let opened = record.iter().filter(|entry| matches!(entry.what, Seen::StreamOpened { .. })).count();
    assert!(opened >= 3, "{opened} streams: cutting them did nothing");
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_streams_lose_nothing_when_everything_is_replayed() {
    cut_again_and_again(json!("all")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_streams_lose_nothing_when_nothing_is_replayed() {
    cut_again_and_again(json!("none")).await;
}

/// Half-open: the connection stands and nothing comes through it.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_noticed_and_replaced() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    let egress = world.egress().await;
    let follow = world.follow(&mut chat).await;
    world.until_up(&chat, follow).await;
    open(&world, &chat).await;
    world.sim.salesforce.stall_streams(&Who::everyone());
    rep_says(&world, &chat, "reply 0");
    until_written(&world, &chat, 1).await;
    egress.stop().await;
    world.stop().await;
}

/// The second wake-up: a hook of Salesforce's, which ingress passes on.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_of_something_new_looks_at_once() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    // No watchdog within this test.
    let egress = world.egress_with(|config| config.stream_idle = Duration::from_secs(120)).await;
    let patience = Duration::from_millis(500);
    let follow = world.follow(&mut chat).await;
    world.until_up(&chat, follow).await;
    open(&world, &chat).await;
    world.sim.salesforce.stall_streams(&Who::everyone());
    rep_says(&world, &chat, "reply 0");
    assert_eq!(world.log.wake(chat.thread(), patience).await.unwrap(), bus::Woken::Taken);
    until_written(&world, &chat, 1).await;
    // Any number of times, and each is found once.
    rep_says(&world, &chat, "reply 1");
    for _ in 0..5 {
        assert_eq!(world.log.wake(chat.thread(), patience).await.unwrap(), bus::Woken::Taken);
    }
    until_written(&world, &chat, 2).await;
    let stranger = domain::ThreadId(domain::derive::uuid("nobody", &[]));
    assert_eq!(world.log.wake(stranger, patience).await.unwrap(), bus::Woken::NotFollowed);
    world.unfollow(&mut chat).await;
    until("nobody follows", async || {
        (world.log.wake(chat.thread(), patience).await.unwrap() == bus::Woken::NotFollowed).then_some(())
    })
    .await;
    egress.stop().await;
    assert_eq!(world.log.wake(chat.thread(), patience).await.unwrap(), bus::Woken::NobodyThere);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_egress_was_dead_and_redis_lost_is_found() {
    let mut world = World::start().await;
    world.sim.salesforce.configure(json!({ "replay": "none" })).unwrap();
    let mut chat = world.chat(PHONE);
    let egress = world.egress().await;
    let follow = world.follow(&mut chat).await;
    world.until_up(&chat, follow).await;
    open(&world, &chat).await;
    rep_says(&world, &chat, "reply 0");
    until_written(&world, &chat, 1).await;
    egress.kill();
    rep_says(&world, &chat, "reply 1");
    world.valkey.restart_empty().await.unwrap();
    let egress = world.egress().await;
    until_written(&world, &chat, 2).await;
    // Without the cache it goes on.
    world.valkey.kill().await.unwrap();
    rep_says(&world, &chat, "reply 2");
    world.sim.salesforce.cut_streams(&Who::everyone());
    rep_says(&world, &chat, "reply 3");
    until_written(&world, &chat, 4).await;
    egress.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_salesforce_delays_and_loses_nothing() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    world.sim.set_up(Api::Salesforce, false).await;
    let egress = world.egress().await;
    let follow = world.follow(&mut chat).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.sim.set_up(Api::Salesforce, true).await;
    let busy = Fault::Status { status: 503, retry_after: None };
    world.sim.salesforce.add_fault(Rule::new("entries", busy).times(1)).unwrap();
    world.until_up(&chat, follow).await;
    open(&world, &chat).await;
    rep_says(&world, &chat, "reply 0");
    until_written(&world, &chat, 1).await;
    egress.stop().await;
    world.stop().await;
}

/// A thread is followed although the conversation's sends stand still.
#[tokio::test(flavor = "multi_thread")]
async fn a_whatsapp_outage_keeps_nobody_from_a_rep() {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    world.sim.set_up(Api::WhatsApp, false).await;
    let egress = world.egress().await;
    world.send(&mut chat, &["one"]).await;
    let follow = world.follow(&mut chat).await;
    world.until_up(&chat, follow).await;
    world.sim.set_up(Api::WhatsApp, true).await;
    world.until_received(PHONE, &["one"]).await;
    egress.stop().await;
    world.stop().await;
}

/// Two processes: one dies, the other takes its streams over.
#[tokio::test(flavor = "multi_thread")]
async fn streams_move_to_whoever_is_left() {
    let world = World::start().await;
    let one = world.egress().await;
    let two = world.egress().await;
    let mut chats: Vec<Chat> = (0..8).map(|n| world.chat(&format!("1555010010{n}"))).collect();
    for chat in &mut chats {
        let follow = world.follow(chat).await;
        world.until_up(chat, follow).await;
        open(&world, chat).await;
        rep_says(&world, chat, "reply 0");
    }
    one.kill();
    for chat in &chats {
        rep_says(&world, chat, "reply 1");
    }
    for chat in &chats {
        until_written(&world, chat, 2).await;
    }
    two.stop().await;
    world.stop().await;
}
