//! Who answers: people, the model, or the rules. In this order: what must go to people goes there
//! before anything is thought about an answer; then the model, where the channel has one; then, when
//! it fails, what the channel says.

use bus::{Failure, Log};
use domain::{
    mask::mask,
    session::{Answer, Ask, Brief},
    settings::{Fallback, Level, Model, Responder},
};

use crate::{
    ears::Ears,
    history::{History, Starts},
    metrics::Metrics,
    model::{Brain, Question, Trouble},
    rules::Rules,
    triggers::{self, Verdict},
    worker::Asked,
};

/// What a rep reads when the model failed.
const MODEL_FAILED: &str = "the assistant could not answer";

pub(crate) struct Answered {
    pub(crate) answer: Answer,
    /// The customer's, where it can be told.
    pub(crate) language: Option<String>,
    /// Who answered, for metrics.
    pub(crate) by: &'static str,
}

pub(crate) struct Answering<'a> {
    pub(crate) log: &'a Log,
    pub(crate) starts: &'a Starts,
    pub(crate) brain: &'a Brain,
    pub(crate) ears: &'a Ears,
    pub(crate) rules: &'a Rules,
    pub(crate) responder: &'a Responder,
    /// Of the channel's customers, as Salesforce writes it, where nothing tells better.
    pub(crate) usual_language: &'a str,
    pub(crate) metrics: &'a Metrics,
}

impl Answering<'_> {
    pub(crate) async fn answer(&self, asked: &Asked<'_>) -> Result<Answered, Failure> {
        let mut ask = asked.ask.clone();
        let (mut answer, by) = match &self.responder.model {
            Some(model) => self.with_model(model, asked, &mut ask).await?,
            None => self.by_rules(asked, &ask).await?,
        };
        let mut told = None;
        if let Answer::Handoff(brief) = &mut answer {
            brief.language = brief.language.take().map(|language| self.of_the_channel(language));
            told.clone_from(&brief.language);
        }
        let detected = || Some(self.of_the_channel(self.rules.language(&ask.text)?.to_owned()));
        Ok(Answered { language: told.or_else(detected), answer, by })
    }

    /// English is British where the channel's is.
    fn of_the_channel(&self, language: String) -> String {
        let primary = |language: &str| language.split(['_', '-']).next().map(str::to_ascii_lowercase);
        if primary(&language) == primary(self.usual_language) {
            self.usual_language.to_owned()
        } else {
            language
        }
    }

    async fn by_rules(&self, asked: &Asked<'_>, ask: &Ask) -> Result<(Answer, &'static str), Failure> {
        let handoff = &self.responder.handoff;
        let known = triggers::needs_history(handoff) && !ask.helping;
        let history = if known { self.history(asked).await? } else { History::default() };
        match triggers::verdict(self.rules, handoff, ask, &history, false) {
            Verdict::HandOver(reason) => {
                // What was said before is worth looking up now.
                let history = if known { history } else { self.history(asked).await? };
                Ok((Answer::Handoff(triggers::brief(self.rules, &reason, ask, &history)), "triggers"))
            }
            Verdict::Say(text) => Ok((say(text), "triggers")),
            Verdict::Answer => {
                let answer = self.rules_answer(ask);
                if let Answer::Reply { body } = &answer
                    && triggers::no_progress(self.rules, handoff, &history, &body.as_text())
                {
                    let brief = triggers::brief(self.rules, triggers::NO_PROGRESS, ask, &history);
                    return Ok((Answer::Handoff(brief), "triggers"));
                }
                Ok((answer, "rules"))
            }
        }
    }

    async fn with_model(
        &self,
        model: &Model,
        asked: &Asked<'_>,
        ask: &mut Ask,
    ) -> Result<(Answer, &'static str), Failure> {
        let mut history = self.read(asked, true).await?;
        if let Some(transcriber) = &self.responder.transcriber {
            let heard = self.ears.listen(transcriber, asked.key, &mut history).await;
            for words in heard {
                ask.text.push('\n');
                ask.text.push_str(&words);
            }
        }
        let history = history.masked(&self.responder.masking, self.metrics);
        ask.text = mask(&ask.text, &self.responder.masking).text;
        let ask = &*ask;
        let question =
            Question { responder: self.responder, model, ask, history: &history, cause: asked.cause };
        match triggers::verdict(self.rules, &self.responder.handoff, ask, &history, true) {
            Verdict::HandOver(reason) => {
                let simple = triggers::brief(self.rules, &reason, ask, &history);
                let brief = self.brain.brief(question, &reason).await;
                return Ok((Answer::Handoff(merged(brief, simple)), "triggers"));
            }
            Verdict::Say(text) => return Ok((say(text), "triggers")),
            Verdict::Answer => {}
        }
        let trouble = match self.brain.answer(question).await {
            Ok(Answer::Handoff(brief)) => {
                let simple = triggers::brief(self.rules, &brief.reason, ask, &history);
                return Ok((Answer::Handoff(merged(brief, simple)), "model"));
            }
            Ok(answer @ (Answer::Reply { .. } | Answer::Close { .. } | Answer::Silence)) => {
                return Ok((answer, "model"));
            }
            Err(trouble) => trouble,
        };
        tracing::warn!(error = runtime::error_chain(&trouble), "the model did not answer");
        self.metrics.fell_back(trouble.reason());
        Ok((self.instead(model, ask, &history, &trouble), "fallback"))
    }

    /// When the model failed.
    fn instead(&self, model: &Model, ask: &Ask, history: &History, trouble: &Trouble) -> Answer {
        if ask.helping {
            return Answer::Silence;
        }
        // Whether people must answer could not be found out: then they do.
        let unchecked = matches!(trouble, Trouble::Unchecked(_));
        let people = unchecked || model.fallback == Fallback::Human;
        if people && self.responder.handoff.level != Level::AiOnly {
            return Answer::Handoff(triggers::brief(self.rules, MODEL_FAILED, ask, history));
        }
        self.rules_answer(ask)
    }

    fn rules_answer(&self, ask: &Ask) -> Answer {
        let handoff = &self.responder.handoff;
        if handoff.on_request() { self.rules.answer(ask) } else { self.rules.answer_alone(ask) }
    }

    async fn history(&self, asked: &Asked<'_>) -> Result<History, Failure> {
        Ok(self.read(asked, false).await?.masked(&self.responder.masking, self.metrics))
    }

    async fn read(&self, asked: &Asked<'_>, earlier: bool) -> Result<History, Failure> {
        History::read(self.log, self.starts, asked.key, asked.state, asked.seq, earlier).await
    }
}

/// The model's words first.
fn merged(brief: Brief, simple: Brief) -> Brief {
    Brief {
        reason: brief.reason,
        summary: brief.summary.or(simple.summary),
        language: brief.language.or(simple.language),
        priority: brief.priority.or(simple.priority),
        sentiment: brief.sentiment.or(simple.sentiment),
        campaign: None,
    }
}

fn say(text: &str) -> Answer {
    Answer::Reply { body: domain::message::Outgoing::Text(text.to_owned()) }
}
