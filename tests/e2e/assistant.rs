//! A model answers: short messages make one turn, people take over with what the model knows, and
//! nothing that is masked leaves. The model is a server by script.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, routing::post};
use e2e::sim::{ControlClient, Customer, Say, Verb};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use xtask::stack::{NUMBER, Options, Stack};

use crate::until;

type Requests = Arc<Mutex<Vec<Value>>>;

/// Hands over when somebody writes of a refund, else tells how many lines it was asked about.
async fn model(State(requests): State<Requests>, Json(request): Json<Value>) -> Json<Value> {
    let newest =
        request["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned();
    requests.lock().unwrap().push(request);
    let message = if newest.contains("reembolso") {
        let arguments = json!({ "reason": "wants a refund", "summary": "Paid twice for order 7.", "priority": "high",
                                "language": "es", "sentiment": "negative" });
        let function = json!({ "name": "handoff_to_human", "arguments": arguments.to_string() });
        json!({ "role": "assistant", "content": null,
                "tool_calls": [{ "id": "call_1", "type": "function", "function": function }] })
    } else {
        json!({ "role": "assistant", "content": format!("I read {} lines.", newest.lines().count()) })
    };
    Json(
        json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }], "usage": { "total_tokens": 50 } }),
    )
}

async fn received(control: &ControlClient, customer: &Customer) -> Vec<String> {
    let phone = control.phone(NUMBER, &customer.key()).await.unwrap();
    phone.map(|phone| phone.received().iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_model_answers_whole_turns_and_hands_over_with_what_it_knows() {
    let requests = Requests::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let routes = Router::new().route("/v1/chat/completions", post(model)).with_state(Arc::clone(&requests));
    let tasks = TaskTracker::new();
    let served = tasks.spawn(async move { axum::serve(listener, routes).await });
    let responder = json!({ "model": { "base_url": url, "model": "m" }, "masking": { "cards": true } });
    let options = Options {
        policy: json!({ "quiet_seconds": 1, "longest_quiet_seconds": 5 }),
        channel: json!({ "responder": responder }),
        ..Options::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let control = &stack.control;
    let ana = Customer::phone("15550100199", "Ana");

    // Two short messages, one answer to both.
    for text in ["hola", "tengo una pregunta"] {
        control.say(&Say::text(NUMBER, &ana, text)).await.unwrap();
    }
    until("the typing indicator", async || {
        let phone = control.phone(NUMBER, &ana.key()).await.unwrap()?;
        assert!(phone.received().is_empty(), "it shows before the answer");
        phone.typing.then_some(())
    })
    .await;
    until("the answer", async || {
        received(control, &ana).await.contains(&"I read 2 lines.".to_owned()).then_some(())
    })
    .await;
    assert_eq!(received(control, &ana).await.len(), 1);
    assert_eq!(requests.lock().unwrap().len(), 1);

    control
        .say(&Say::text(NUMBER, &ana, "quiero un reembolso en mi tarjeta 4111 1111 1111 1111"))
        .await
        .unwrap();
    let view = until("the handoff", async || {
        let view = control.conversations().await.unwrap().pop()?;
        (view.texts("EndUser").len() >= 2).then_some(view)
    })
    .await;
    let shown = view.texts("EndUser").join("\n");
    for there in [
        "Reason: wants a refund",
        "Summary: Paid twice for order 7.",
        "Sentiment: negative",
        "Customer: tengo una pregunta",
        "mi tarjeta [card number]",
    ] {
        assert!(shown.contains(there), "{there} in {shown}");
    }
    assert!(!shown.contains("4111"));
    let attributes = &view.session().unwrap().routing_attributes;
    assert_eq!((attributes["Language"].as_str(), attributes["Priority"].as_str()), ("es", "high"));
    // Baton's own words are in the customer's language.
    until("the notice", async || {
        received(control, &ana)
            .await
            .iter()
            .any(|text| text.starts_with("Te pongo en contacto"))
            .then_some(())
    })
    .await;
    assert!(!requests.lock().unwrap().iter().any(|request| request.to_string().contains("4111")));

    control.rep(&view.conversation, &Verb::Accept { rep: None }).await.unwrap();
    control.rep(&view.conversation, &Verb::End).await.unwrap();
    until("the assistant is back", async || {
        received(control, &ana)
            .await
            .iter()
            .any(|text| text.starts_with("El chat con nuestro equipo"))
            .then_some(())
    })
    .await;
    served.abort();
    stack.stop().await.unwrap();
}
