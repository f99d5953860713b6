//! Every service comes to the broker as its own user, with the rights it needs and no others.

use std::time::Duration;

use async_nats::ConnectOptions;
use xtask::{
    check,
    stack::{Options, Stack, users},
};

use crate::until;

#[tokio::test]
async fn services_work_with_their_own_rights_and_have_no_others() {
    let options = Options { users: Some(users().unwrap()), replicas: 2, ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
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
        ("handoff", "conv.0.k.wa.x"),
        ("handoff", "$JS.API.STREAM.DELETE.CONVERSATIONS"),
        ("handoff", "$JS.API.STREAM.PURGE.CONVERSATIONS"),
        ("assistant", "conv.0.k.sf.x"),
        ("assistant", "$O.BATON_MEDIA.C.x"),
        ("egress", "conv.0.k.ai.x"),
        ("egress", "$KV.BATON_CHECKPOINTS.handoff.1"),
        ("console", "conv.0.k.wa.x"),
        ("observer", "conv.0.k.op.x"),
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

async fn connect(stack: &Stack, user: &str) -> async_nats::Client {
    let url: async_nats::ServerAddr = stack.nats.url_of(user).parse().unwrap();
    let options = ConnectOptions::with_user_and_password(user.into(), url.password().unwrap().into());
    options.connect(stack.nats.url()).await.unwrap()
}
