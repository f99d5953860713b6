//! Sessions: routing, status, work, participants (`miaw-api.md` §10).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    config::AfterFailure,
    log::{self, Draft},
    message::text_message,
    state::{self, Conversation, Session, State},
    verb::Rep,
    wheel::Due,
};
use crate::sim::record::What;

pub(super) const QUEUE: &str = "00GRT0000001aXc2AI";

/// One routing, done or failed.
#[derive(Debug, Default)]
pub(super) struct Routing<'a> {
    pub(super) kind: &'a str,
    pub(super) failure: Option<&'a str>,
    pub(super) submission: bool,
    pub(super) estimated_wait_s: Option<i64>,
}

impl<'a> Routing<'a> {
    pub(super) fn of(kind: &'a str) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl State {
    /// A session begins: routing, then the queue.
    pub(super) fn start_session(
        &mut self,
        conversation: &str,
        attributes: BTreeMap<String, String>,
        language: Option<String>,
        creating: bool,
    ) {
        let id = self.record_id("0Mw");
        let work = self.record_id("0Bz");
        let now = self.now_ms();
        let (known, dropped) = self.parameters(&attributes);
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        found.to_answer = 0;
        found.sessions.push(Session {
            id: id.clone(),
            status: "New",
            transferring: false,
            rep: None,
            others: Vec::new(),
            bot: false,
            attributes: attributes.clone(),
            dropped,
            language,
            started_ms: now,
            ended_ms: None,
            work,
            queue: QUEUE.to_owned(),
            answered: 0,
        });
        let subject = found.subject.clone();
        self.run_flow(&subject, &known);
        let conversation_id = conversation.to_owned();
        self.record.push(if creating {
            What::ConversationCreated {
                conversation: conversation_id,
                subject: subject.to_string(),
                session: id,
                attributes,
            }
        } else {
            What::SessionStarted { conversation: conversation_id, session: id, attributes }
        });
        if let Some(reason) = self.config.routing_failure.clone() {
            let then = self.config.routing_failure_then;
            let submission = then == AfterFailure::Error;
            let failed = Routing { failure: Some(&reason), submission, ..Routing::of("Initial") };
            self.route(conversation, &failed);
            if then == AfterFailure::Error {
                return self.set_status(conversation, "Error", None);
            }
            self.set_status(conversation, "Waiting", None);
            if then == AfterFailure::End {
                return self.finish(conversation, "System");
            }
        } else {
            let estimated_wait_s = self.config.estimated_wait_s;
            self.route(conversation, &Routing { estimated_wait_s, ..Routing::of("Initial") });
            self.set_status(conversation, "Waiting", None);
        }
        if let Some(text) = self.config.auto_response.clone() {
            self.auto_response(conversation, text);
        }
        self.due(Due::Accept(conversation.to_owned()));
    }

    /// What the channel's parameters take, and the names of the rest.
    pub(super) fn parameters(
        &self,
        attributes: &BTreeMap<String, String>,
    ) -> (BTreeMap<String, String>, Vec<String>) {
        let takes = |(key, value): &(&String, &String)| {
            let most = self.config.flow.as_ref().and_then(|flow| flow.length_of(key));
            most.is_some_and(|most| value.chars().count() <= most)
        };
        let (known, dropped): (Vec<_>, Vec<_>) = attributes.iter().partition(takes);
        let known = known.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        (known, dropped.into_iter().map(|(key, _)| key.clone()).collect())
    }

    /// The org's Omni-Channel flow, if there is one: only it can make a name show.
    fn run_flow(&mut self, subject: &str, known: &BTreeMap<String, String>) {
        let Some(flow) = &self.config.flow else { return };
        let part = |name: &String| known.get(name).filter(|value| !value.is_empty()).cloned();
        let name = match (part(&flow.name), part(&flow.phone)) {
            (Some(name), Some(phone)) => format!("{name} ({phone})"),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => return,
        };
        if let Some(user) = self.users.get_mut(subject) {
            user.name = name;
        }
    }

    pub(super) fn auto_response(&mut self, conversation: &str, text: String) {
        let draft = Draft::system("Message", Value::Null);
        let mut payload = text_message(&draft.identifier, &text);
        payload["messageReason"] = "AutomatedResponse".into();
        self.add(conversation, Draft { payload, text: Some(text), ..draft });
    }

    pub(super) fn set_status(&mut self, conversation: &str, status: &'static str, by: Option<&str>) {
        let now = self.now_ms();
        let channel = self.config.channel_address_identifier.clone();
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        let Some(session) = found.sessions.last_mut() else { return };
        let previous = std::mem::replace(&mut session.status, status);
        if status == "Ended" {
            session.ended_ms = Some(now);
            session.transferring = false;
        }
        let payload = json!({
            "conversationIdentifier": conversation, "channelAddressIdentifier": channel,
            "sessionId": session.id, "sessionStatus": status, "sessionStatusPrev": previous,
            "sessionEndedByRole": by, "sessionStartTime": session.started_ms,
            "sessionEndTime": session.ended_ms,
        });
        self.add(conversation, Draft::system("SessionStatusChanged", payload).detail(status));
    }

    pub(super) fn route(&mut self, conversation: &str, routing: &Routing<'_>) {
        let pending = self.record_id("0JR");
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        let Some(session) = found.sessions.last_mut() else { return };
        let initiator = match (&session.rep, session.bot) {
            _ if routing.kind == "Initial" => Value::Null,
            (Some(rep), _) => json!({ "role": "Agent", "appType": "agent", "subject": rep.id }),
            (None, true) => {
                json!({ "role": "Chatbot", "appType": "chatbot", "subject": log::bot()["subject"] })
            }
            (None, false) => Value::Null,
        };
        let failed = routing.failure.is_some();
        let failure_type = match (failed, routing.submission) {
            (false, _) => "None",
            (true, false) => "RoutingError",
            (true, true) => "SubmissionError",
        };
        let payload = json!({
            "recordId": if failed { Value::Null } else { session.id.clone().into() },
            "errorMessages": routing.failure.iter().collect::<Vec<_>>(),
            "pendingServiceRoutingId": if failed { Value::Null } else { pending.into() },
            "skipRouterCPRemovalIfNoRoutingFailures": false, "workOwnerId": null,
            "routingType": routing.kind,
            "estimatedWaitTime": {
                "isEWTRequested": routing.estimated_wait_s.is_some(),
                "estimatedWaitTimeInSeconds": routing.estimated_wait_s,
            },
            "failureReason": routing.failure, "failureType": failure_type,
            "isExternallyRouted": false, "cancelReason": null, "initiator": initiator,
            "routingConfigurationDetails": {
                "routingConfigurationType": "QueueRoutingType", "queueId": session.queue,
            },
        });
        self.add(conversation, Draft::router("RoutingResult", payload).detail(routing.kind));
    }

    pub(super) fn work(&mut self, conversation: &str, work: &str, routing: &str) {
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        let Some(session) = found.sessions.last_mut() else { return };
        let payload = json!({
            "workType": work, "workId": session.work, "workTargetId": session.id, "routingType": routing,
            "queueId": session.queue, "botId": null, "agentSessionId": "0AkRT0000009Zw30AE",
            "agentGroupIds": [], "errorMessages": [], "conversationId": conversation,
        });
        self.add(conversation, Draft::router("RoutingWorkResult", payload).detail(work));
    }

    pub(super) fn participant(&mut self, conversation: &str, operation: &str, rep: &Rep) {
        self.participants(conversation, operation, &rep.name, &state::agent(rep));
    }

    pub(super) fn participants(&mut self, conversation: &str, operation: &str, name: &str, who: &Value) {
        let payload = json!({ "entries": [{
            "operation": operation, "displayName": name, "participant": who, "menuMetadata": null,
        }] });
        self.add(conversation, Draft::system("ParticipantChanged", payload).detail(operation));
    }

    /// The session is over: work closed, status, participants gone.
    pub(super) fn finish(&mut self, conversation: &str, by: &str) {
        let Some(session) = self.conversations.get_mut(conversation).and_then(Conversation::live) else {
            return;
        };
        let (rep, others, bot) = (session.rep.clone(), session.others.clone(), session.bot);
        session.others.clear();
        session.bot = false;
        if rep.is_some() || bot {
            self.work(conversation, "Closed", "Initial");
        }
        self.set_status(conversation, "Ended", Some(by));
        for rep in rep.iter().chain(&others) {
            self.participant(conversation, "remove", rep);
        }
        if bot {
            self.participants(conversation, "remove", log::BOT, &log::bot());
        }
    }
}
