//! A model answers: chat completions with tools. What the model may do is fixed here and in the
//! settings; whatever it or the customer writes is checked before anything comes of it.

mod actions;
mod client;
mod prompt;
mod schema;
mod tools;
mod wire;

use std::time::Duration;

use client::Client;
pub(crate) use client::{Trouble, authorized, below, body};
use domain::{
    Cause,
    message::Outgoing,
    session::{Answer, Ask, Brief},
    settings::{Model, Responder},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use wire::{Completion, Said};

use self::{
    actions::Actions,
    tools::{Called, Offer},
};
use crate::{
    history::{History, clip},
    metrics::Metrics,
    triggers::topic_reason,
};

/// The longest reply, in characters: what one WhatsApp message takes.
const LONGEST_REPLY: usize = 4_096;
/// Tool calls of one completion that are looked at.
const MOST_CALLS: usize = 4;
/// A brief is worth waiting for only so long: the customer waits for a person.
const BRIEF_PATIENCE: Duration = Duration::from_secs(6);

/// What is to be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) responder: &'a Responder,
    pub(crate) model: &'a Model,
    pub(crate) ask: &'a Ask,
    pub(crate) history: &'a History,
    /// Makes what the model does once be done once.
    pub(crate) cause: Cause,
}

#[derive(Debug)]
pub(crate) struct Brain {
    client: Client,
    actions: Actions,
    metrics: Metrics,
}

/// Tokens that are left for an answer.
struct Budget {
    left: u32,
    metrics: Metrics,
}

impl Budget {
    fn spend(&mut self, completion: &Completion, sent: usize) {
        let spent = completion.tokens(sent);
        self.metrics.spent(spent);
        self.left = self.left.saturating_sub(spent);
    }
}

impl Brain {
    pub(crate) fn new(metrics: Metrics) -> Result<Self, reqwest::Error> {
        Ok(Self { client: Client::new()?, actions: Actions::new()?, metrics })
    }

    /// The model's answer, within the time that the settings give it.
    pub(crate) async fn answer(&self, question: Question<'_>) -> Result<Answer, Trouble> {
        let deadline = Instant::now() + question.model.timeout_seconds;
        tokio::time::timeout_at(deadline, self.think(question, deadline))
            .await
            .unwrap_or(Err(Trouble::TooSlow))
    }

    async fn think(&self, question: Question<'_>, deadline: Instant) -> Result<Answer, Trouble> {
        let mut budget = Budget { left: question.model.token_budget, metrics: self.metrics.clone() };
        let mut messages = prompt::messages(question);
        let offer = Offer::of(question);
        // Nothing comes of the first completion before the topic is known.
        let (topic, first) = tokio::join!(
            self.topic(question, deadline),
            self.complete(question.model, &messages, &offer.tools, json!("auto"), deadline)
        );
        // An answer about something that people must answer may never leave.
        if let Some(topic) = topic.map_err(|trouble| Trouble::Unchecked(Box::new(trouble)))? {
            return Ok(Answer::Handoff(self.brief(question, &topic_reason(&topic)).await));
        }
        let mut completion = first?;
        for round in 0..=question.model.tool_rounds {
            budget.spend(&completion, size(&messages));
            let said = completion.said()?;
            if said.calls().is_empty() {
                return reply(&said);
            }
            if let Some(answer) = self.act(question, &offer, &said, &mut messages, round).await? {
                return Ok(answer);
            }
            if budget.left < question.model.max_tokens {
                return Err(Trouble::Budget);
            }
            if round < question.model.tool_rounds {
                let next = self.complete(question.model, &messages, &offer.tools, json!("auto"), deadline);
                completion = next.await?;
            }
        }
        Err(Trouble::Rounds)
    }

    /// Does what the model asks for. An answer ends the turn; anything else becomes messages that the
    /// model reads next.
    async fn act(
        &self,
        question: Question<'_>,
        offer: &Offer,
        said: &Said,
        messages: &mut Vec<Value>,
        round: u32,
    ) -> Result<Option<Answer>, Trouble> {
        let calls = said.calls().iter().take(MOST_CALLS).collect::<Vec<_>>();
        messages.push(said.echo(&calls));
        for (index, call) in calls.iter().enumerate() {
            let result = match offer.read(question, &call.function.name, &call.arguments()) {
                Ok(Called::Answer(answer)) => return Ok(Some(answer)),
                Ok(Called::Action(action, arguments)) => {
                    let once = format!("{}-{round}-{index}", question.cause);
                    let local = domain::net::is_loopback(&question.model.base_url);
                    self.actions.run(action, &question.responder.action_hosts, local, &arguments, &once).await
                }
                Err(problem) => json!({ "error": problem }).to_string(),
            };
            messages.push(call.result(&result));
        }
        Ok(None)
    }

    /// The mandatory topic that the customer's message is about, if any. A topic that cannot be
    /// checked stops the answer.
    async fn topic(&self, question: Question<'_>, deadline: Instant) -> Result<Option<String>, Trouble> {
        let topics = &question.responder.handoff.topics;
        if topics.is_empty() || question.ask.helping {
            return Ok(None);
        }
        let messages = prompt::classification(question);
        let tool = tools::classification(topics.len());
        let choice = json!({ "type": "function", "function": { "name": tools::CLASSIFY } });
        let completion = self.complete(question.model, &messages, &[tool], choice, deadline).await?;
        self.metrics.spent(completion.tokens(size(&messages)));
        let said = completion.said()?;
        let call = said.calls().first().ok_or(Trouble::Malformed("no classification"))?;
        let number = tools::classified(&call.arguments()).ok_or(Trouble::Malformed("classification"))?;
        match number.checked_sub(1) {
            None => Ok(None),
            Some(index) => Ok(Some(topics.get(index).ok_or(Trouble::Malformed("classification"))?.clone())),
        }
    }

    /// What a rep should know, where it is decided already that the customer goes to one. `reason`
    /// stays; the rest is the model's, as far as it tells in time.
    pub(crate) async fn brief(&self, question: Question<'_>, reason: &str) -> Brief {
        let messages = prompt::messages(question);
        let tools = [tools::handoff()];
        let choice = json!({ "type": "function", "function": { "name": tools::HANDOFF } });
        let deadline = Instant::now() + BRIEF_PATIENCE.min(question.model.timeout_seconds);
        let asked = self.complete(question.model, &messages, &tools, choice, deadline);
        let brief = match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(completion)) => {
                self.metrics.spent(completion.tokens(size(&messages)));
                let said = completion.said().ok();
                said.and_then(|said| tools::brief(&said.calls().first()?.arguments()).ok())
            }
            Ok(Err(_)) | Err(_) => None,
        };
        Brief { reason: reason.to_owned(), ..brief.unwrap_or_default() }
    }

    async fn complete(
        &self,
        model: &Model,
        messages: &[Value],
        tools: &[Value],
        choice: Value,
        deadline: Instant,
    ) -> Result<Completion, Trouble> {
        let body = wire::request(model, messages, tools, choice);
        self.client.complete(model, &body, deadline).await
    }
}

/// Only text: the answer.
fn reply(said: &Said) -> Result<Answer, Trouble> {
    let text = said.content.as_deref().unwrap_or_default().trim();
    if text.is_empty() {
        return Err(Trouble::Malformed("an empty answer"));
    }
    Ok(Answer::Reply { body: Outgoing::Text(clip(text, LONGEST_REPLY)) })
}

/// Characters that are sent, for a server that does not count tokens.
fn size(messages: &[Value]) -> usize {
    messages.iter().map(|message| message.to_string().len()).sum()
}
