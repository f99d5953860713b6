//! The whole loop by script: each step waits for what a person would see, and is timed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::sim::{ControlClient, Customer, PhoneView, RepView, Say, Verb};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    say,
    stack::{NUMBER, Stack},
};

/// How long a step may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

const NAME: &str = "Dana Okafor";
const PHONE: &str = "15550100123";
const GREETING: &str = "Hello";
const WISH: &str = "I want to speak to a human";
const REP_ANSWER: &str = "Hi Dana, Marta here. How can I help?";
const FOLLOW_UP: &str = "My order 1042 has not arrived";
const QUESTION: &str = "What are your opening hours?";

/// What was held, for whoever wants figures.
#[derive(Debug, Clone)]
pub struct Step {
    pub name: &'static str,
    pub took: Duration,
}

/// Where the loop is walked.
pub(crate) struct Place<'a> {
    pub(crate) control: &'a ControlClient,
    pub(crate) http: &'a reqwest::Client,
    /// The console's base URL, and what it asks for.
    pub(crate) console: String,
    pub(crate) token: Option<String>,
}

/// Walks the loop on a stack that is ready; prints a line a step. An error names the step that
/// did not hold.
pub async fn walk(stack: &Stack) -> Result<Vec<Step>> {
    let console = stack.services().iter().find(|service| service.name() == "console");
    let console = console.context("the console does not run")?.url();
    walk_at(Place { control: &stack.control, http: stack.http(), console, token: None }).await
}

pub(crate) async fn walk_at(stack: Place<'_>) -> Result<Vec<Step>> {
    let mut walk =
        Walk { stack, customer: Customer::phone(PHONE, NAME), session: String::new(), steps: Vec::new() };
    walk.assistant_answers().await?;
    let conversation = walk.rep_sees_who_and_what().await?;
    walk.rep_and_customer_talk(&conversation).await?;
    walk.assistant_is_back(&conversation).await?;
    walk.nothing_showed_twice(&conversation).await?;
    walk.console_shows_it().await?;
    Ok(walk.steps)
}

struct Walk<'a> {
    stack: Place<'a>,
    customer: Customer,
    /// `OpencxSessionId`, once a rep saw it.
    session: String,
    steps: Vec<Step>,
}

impl Walk<'_> {
    async fn assistant_answers(&mut self) -> Result<()> {
        self.write(GREETING).await?;
        self.step("customer writes → the assistant answers", async |walk| {
            Ok((!walk.phone().await?.received().is_empty()).then_some(()))
        })
        .await
    }

    async fn rep_sees_who_and_what(&mut self) -> Result<String> {
        self.write(WISH).await?;
        let seen = self
            .step("customer asks for a human → a conversation waits in Salesforce", async |walk| {
                let mut views = walk.stack.control.conversations().await?;
                ensure!(views.len() <= 1, "{} conversations instead of one", views.len());
                Ok(views.pop().filter(|view| view.session().is_some()))
            })
            .await?;
        let conversation = seen.conversation;
        self.session = self
            .step("the rep's view shows name, phone and OpencxSessionId", async |walk| {
                let view = walk.rep_view(&conversation).await?;
                let field = |name: &str| view.session().and_then(|session| session.fields.get(name)).cloned();
                let shown = field("Customer_Name__c").is_some_and(|name| name == NAME)
                    && field("Phone_Number__c").is_some_and(|phone| phone.contains(PHONE));
                Ok(field("OpencxSessionId__c").filter(|_| shown))
            })
            .await?;
        self.step("the thread shows the header and the transcript", async |walk| {
            let view = walk.rep_view(&conversation).await?;
            let thread = view.texts("EndUser").join("\n");
            Ok([NAME, GREETING, WISH, walk.session.as_str()]
                .iter()
                .all(|part| thread.contains(part))
                .then_some(()))
        })
        .await?;
        Ok(conversation)
    }

    async fn rep_and_customer_talk(&mut self, conversation: &str) -> Result<()> {
        let control = self.stack.control;
        control.rep(conversation, &Verb::Accept { rep: None }).await?;
        control.rep(conversation, &Verb::Say { text: REP_ANSWER.into() }).await?;
        self.step("the rep accepts and answers → it is on the customer's phone", async |walk| {
            Ok(walk.phone().await?.received().contains(&REP_ANSWER).then_some(()))
        })
        .await?;
        self.write(FOLLOW_UP).await?;
        self.step("the customer writes → the rep sees it", async |walk| {
            Ok(walk.rep_view(conversation).await?.texts("EndUser").contains(&FOLLOW_UP).then_some(()))
        })
        .await
    }

    async fn assistant_is_back(&mut self, conversation: &str) -> Result<()> {
        let before = self.phone().await?.received().len();
        self.stack.control.rep(conversation, &Verb::End).await?;
        self.step("the rep ends the chat → the customer is told", async |walk| {
            Ok((walk.phone().await?.received().len() > before).then_some(()))
        })
        .await?;
        let before = self.phone().await?.received().len();
        self.write(QUESTION).await?;
        self.step("customer writes → the assistant answers again", async |walk| {
            Ok((walk.phone().await?.received().len() > before).then_some(()))
        })
        .await
    }

    async fn nothing_showed_twice(&mut self, conversation: &str) -> Result<()> {
        self.step("every webhook was taken; nothing showed twice or to the wrong person", async |walk| {
            if walk.stack.control.undelivered().await? > 0 {
                return Ok(None);
            }
            let phone = walk.phone().await?;
            let view = walk.rep_view(conversation).await?;
            let on_phone = phone.received().iter().filter(|text| **text == REP_ANSWER).count();
            let at_rep = view.texts("EndUser").iter().filter(|text| **text == FOLLOW_UP).count();
            ensure!((on_phone, at_rep) == (1, 1), "shown {on_phone} and {at_rep} times instead of once");
            ensure!(!view.texts("EndUser").contains(&QUESTION), "the rep got what was for the assistant");
            Ok(Some(()))
        })
        .await
    }

    async fn console_shows_it(&mut self) -> Result<()> {
        self.step("the console finds the session by its id and by phone, and shows all of it", async |walk| {
            let api = format!("{}/api/v1/sessions", walk.stack.console);
            let timeline = walk.stack.http.get(format!("{api}/{}/timeline", walk.session));
            let search = walk.stack.http.post(format!("{api}/search")).json(&json!({ "phone": PHONE }));
            let mut found = Vec::new();
            for mut request in [timeline, search] {
                if let Some(token) = &walk.stack.token {
                    request = request.bearer_auth(token);
                }
                let answer = request.send().await.context("ask the console")?;
                if !answer.status().is_success() {
                    return Ok(None);
                }
                found.push(answer.text().await.context("read the console's answer")?);
            }
            let told =
                [GREETING, WISH, REP_ANSWER, FOLLOW_UP, QUESTION].iter().all(|text| found[0].contains(text));
            Ok((told && found[1].contains(&walk.session)).then_some(()))
        })
        .await
    }

    async fn write(&self, text: &str) -> Result<()> {
        self.stack.control.say(&Say::text(NUMBER, &self.customer, text)).await.map(drop)
    }

    async fn phone(&self) -> Result<PhoneView> {
        let phone = self.stack.control.phone(NUMBER, &self.customer.key()).await?;
        phone.context("the customer has no chat with the number")
    }

    async fn rep_view(&self, conversation: &str) -> Result<RepView> {
        self.stack.control.conversation(conversation).await?.context("the conversation is gone")
    }

    /// Asks until there is something.
    async fn step<T>(
        &mut self,
        name: &'static str,
        ask: impl AsyncFn(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(found) = ask(self).await.with_context(|| format!("step: {name}"))? {
                let took = started.elapsed();
                say(format_args!("ok {:>6} ms  {name}", took.as_millis()));
                self.steps.push(Step { name, took });
                return Ok(found);
            }
            if started.elapsed() > PATIENCE {
                say(format_args!("--  failed    {name}"));
                bail!("not within {PATIENCE:?}: {name}");
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}
