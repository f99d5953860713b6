//! One customer message is one trace, through every service and both outside calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use e2e::{otlp, sim::Verb};
use xtask::{
    check,
    stack::{Options, Stack},
};

#[tokio::test]
async fn a_customers_message_and_a_reps_answer_are_one_trace_each() {
    let mut collector = otlp::Receiver::start().await.unwrap();
    let env = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "200".to_owned()),
    ];
    let stack = Stack::start(Options { env, ..Options::default() }).await.unwrap();
    check::walk(&stack).await.unwrap();
    let conversation = stack.control.conversations().await.unwrap().pop().unwrap().conversation;
    // Nothing more to do there; a verb that fails shows that the walk ended it.
    assert!(stack.control.rep(&conversation, &Verb::End).await.is_err());

    let services = |spans: &[otlp::Span]| -> BTreeMap<String, BTreeSet<String>> {
        let mut by_trace: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for span in spans {
            by_trace
                .entry(span.trace.clone())
                .or_default()
                .insert(format!("{}: {}", span.service, span.name));
        }
        by_trace
    };
    let has = |names: &BTreeSet<String>, wanted: &[&str]| {
        wanted.iter().all(|wanted| names.iter().any(|name| name.starts_with(wanted)))
    };
    // The customer's wish for a person: taken, asked, answered, decided, opened at Salesforce, and
    // the notice sent to WhatsApp.
    let wish =
        ["ingress", "assistant", "handoff", "egress", "handoff: create conversation", "egress: whatsapp"];
    // What the customer wrote to the rep.
    let talk = ["ingress", "handoff", "handoff: send message"];
    let spans = collector
        .wait_for(Duration::from_secs(20), |spans| {
            let traces = services(spans);
            traces.values().any(|names| has(names, &wish)) && traces.values().any(|names| has(names, &talk))
        })
        .await;
    let traces = services(&spans);
    assert!(traces.values().any(|names| has(names, &wish)), "no trace of the wish: {traces:#?}");
    assert!(traces.values().any(|names| has(names, &talk)), "no trace of the talk: {traces:#?}");

    // Nothing that people are or say is in a span.
    for span in &spans {
        let printed = format!("{span:?}");
        for secret in ["15550100123", "Dana", "Marta", "order 1042"] {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
    }
    stack.stop().await.unwrap();
}
