//! Every service comes to the broker as its own user, with the rights it needs and no others. They
//! take their settings from it, too: saved when all of them run already.

use std::time::Duration;

use async_nats::ConnectOptions;
use configuration::{Change, Configuration};
use secrecy::SecretString;
use xtask::{
    check,
    stack::{Options, Stack, users},
};

use crate::until;

const MASTER_KEY: &str = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

#[tokio::test]
async fn services_work_with_their_own_rights_and_have_no_others() {
    let env = [("BATON_SETTINGS", "broker"), ("MASTER_KEY", MASTER_KEY)];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let options = Options { users: Some(users().unwrap()), replicas: 2, env, ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    save_settings(&stack).await;
    check::walk(&stack).await.unwrap();
    // Partitions move: leaving, taking over.
    for service in ["handoff", "egress", "assistant"] {
        stack.restart(service, 0).await.unwrap();
    }
    stack.ready().await.unwrap();
    let said = || std::fs::read_to_string(stack.nats.log()).unwrap();
    let refused = |log: &str| -> Vec<String> {
        log.lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect()
    };
    assert!(refused(&said()).is_empty(), "{:#?}", refused(&said()));

    // Nobody writes another's kinds, listens to another's answers, or reads what is not for it.
    for (user, publish) in [
        ("ingress", "conv.0.k.dec"),
        ("ingress", "$JS.API.CONSUMER.CREATE.CONVERSATIONS.x"),
        ("ingress", "$JS.API.DIRECT.GET.CONVERSATIONS"),
        ("ingress", "$KV.BATON_SETTINGS.document"),
        ("handoff", "conv.0.k.wa.x"),
        ("handoff", "$KV.BATON_SETTINGS.document"),
        ("handoff", "$JS.API.STREAM.DELETE.CONVERSATIONS"),
        ("handoff", "$JS.API.STREAM.PURGE.CONVERSATIONS"),
        ("assistant", "conv.0.k.sf.x"),
        ("assistant", "$O.BATON_MEDIA.C.x"),
        ("assistant", "$KV.BATON_SETTINGS.document"),
        ("egress", "conv.0.k.ai.x"),
        ("egress", "$KV.BATON_CHECKPOINTS.handoff.1"),
        ("egress", "$KV.BATON_SETTINGS.document"),
        ("console", "conv.0.k.wa.x"),
        ("observer", "conv.0.k.op.x"),
        ("observer", "$KV.BATON_SETTINGS.document"),
    ] {
        let client = connect(&stack, user).await;
        client.publish(publish, "".into()).await.unwrap();
        client.flush().await.unwrap();
        until(&format!("{user} refused {publish}"), async || {
            refused(&said()).iter().any(|line| line.contains(publish)).then_some(())
        })
        .await;
    }
    for (user, subscribe) in
        [("assistant", "_INBOX_handoff.>"), ("assistant", "conv.>"), ("egress", "_INBOX.>")]
    {
        let client = connect(&stack, user).await;
        let _heard = client.subscribe(subscribe).await.unwrap();
        client.flush().await.unwrap();
        until(&format!("{user} refused {subscribe}"), async || {
            refused(&said()).iter().any(|line| line.contains(subscribe)).then_some(())
        })
        .await;
    }
    let nobody =
        ConnectOptions::new().connection_timeout(Duration::from_secs(2)).connect(stack.nats.url()).await;
    assert!(nobody.is_err(), "without a password nobody comes in");
}

/// As the console does, and until every process has them.
async fn save_settings(stack: &Stack) {
    let log = bus::connect(&bus::Config::at(&stack.nats.url_of("console"))).await.unwrap();
    let configuration = Configuration::open(&log, &SecretString::from(MASTER_KEY)).await.unwrap();
    let value = runtime::settings::filled_in(&stack.settings).unwrap();
    let change = Change { who: "ann".into(), what: "everything imported".into() };
    let revision = configuration.save(value, 0, change.clone()).await.unwrap();
    let changes = configuration.changes(10).await.unwrap();
    assert_eq!((changes.len(), changes[0].revision, &changes[0].what), (1, revision, &change.what));
    for service in stack.services().iter().filter(|service| service.name() != "console") {
        until(&format!("{} takes the settings up", service.name()), async || {
            let log = std::fs::read_to_string(service.log()).unwrap();
            log.contains("the settings changed").then_some(())
        })
        .await;
    }
}

async fn connect(stack: &Stack, user: &str) -> async_nats::Client {
    let url: async_nats::ServerAddr = stack.nats.url_of(user).parse().unwrap();
    let options = ConnectOptions::with_user_and_password(user.into(), url.password().unwrap().into());
    options.connect(stack.nats.url()).await.unwrap()
}
