//! What the model may do, and the check of every call. The limits are WhatsApp's and the operator's:
//! a call beyond them goes back to the model with what is wrong, and nothing comes of it.

use domain::{
    message::{Buttons, LinkButton, List, Outgoing, Section, Tap},
    session::{Answer, Brief},
    settings::{Action, Level, is_below},
};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{Question, schema};

pub(super) const HANDOFF: &str = "handoff_to_human";
pub(super) const CHOICES: &str = "reply_with_choices";
pub(super) const LINK: &str = "send_link";
pub(super) const CLOSE: &str = "close_conversation";
pub(super) const SILENCE: &str = "stay_silent";
pub(super) const CLASSIFY: &str = "report_topic";

/// Customer's messages in a session before the level AI first lets the model hand over.
const STATEMENTS: usize = 3;
/// WhatsApp: titles of buttons, of rows, and the label of what opens a list or a page
/// (`whatsapp-cloud-api.md` §5.3).
const BUTTON_TITLE: usize = 20;
const ROW_TITLE: usize = 24;
const MOST_BUTTONS: usize = 3;
const MOST_ROWS: usize = 10;
const BODY: usize = 1_024;
const REASON: usize = 300;
const SUMMARY: usize = 1_000;

/// The tools of one answer.
pub(super) struct Offer {
    /// As the endpoint gets them.
    pub(super) tools: Vec<Value>,
    names: Vec<String>,
}

/// What a checked call comes to.
#[derive(Debug)]
pub(super) enum Called<'a> {
    Answer(Answer),
    Action(&'a Action, Value),
}

impl Offer {
    pub(super) fn of(question: Question<'_>) -> Self {
        let responder = question.responder;
        let mut tools = Vec::new();
        if question.ask.helping {
            tools.push(silence());
        } else {
            if responder.handoff.level != Level::AiOnly {
                tools.push(handoff());
            }
            tools.push(close());
        }
        tools.push(choices());
        if !responder.link_hosts.is_empty() {
            tools.push(link(&responder.link_hosts));
        }
        tools.extend(
            responder
                .actions
                .iter()
                .map(|action| tool(&action.name, &action.description, action.parameters.clone())),
        );
        let name = |tool: &Value| tool["function"]["name"].as_str().unwrap_or_default().to_owned();
        let names = tools.iter().map(name).collect();
        Self { tools, names }
    }

    /// # Errors
    /// What is wrong with the call, for the model.
    pub(super) fn read<'a>(
        &self,
        question: Question<'a>,
        name: &str,
        arguments: &Value,
    ) -> Result<Called<'a>, String> {
        if !self.names.iter().any(|offered| offered == name) {
            return Err(format!("there is no tool of this name; there are: {}", self.names.join(", ")));
        }
        if !arguments.is_object() {
            return Err("the arguments are not a JSON object".into());
        }
        let answer = match name {
            HANDOFF => {
                let brief = brief(arguments)?;
                let early = question.responder.handoff.level == Level::AiFirst
                    && question.history.customer_turns() < STATEMENTS;
                if early {
                    return Err("not yet: ask for the whole problem and try to solve it first".into());
                }
                Answer::Handoff(brief)
            }
            CHOICES => Answer::Reply { body: read_choices(arguments)? },
            LINK => Answer::Reply { body: read_link(arguments, &question.responder.link_hosts)? },
            CLOSE => Answer::Close { body: read_goodbye(arguments)? },
            SILENCE => Answer::Silence,
            action => {
                let known = question.responder.actions.iter().find(|known| known.name == action);
                let action = known.ok_or("there is no such tool")?;
                schema::check(&action.parameters, arguments)?;
                return Ok(Called::Action(action, arguments.clone()));
            }
        };
        Ok(Called::Answer(answer))
    }
}

fn tool(name: &str, description: &str, parameters: Value) -> Value {
    json!({ "type": "function",
            "function": { "name": name, "description": description, "parameters": parameters } })
}

pub(super) fn handoff() -> Value {
    tool(
        HANDOFF,
        "Hands the conversation over to a person of the team.",
        json!({
            "type": "object",
            "properties": {
                "reason": { "type": "string", "description": "Why a person is needed, in English, one sentence." },
                "summary": { "type": "string", "description": "What the customer wants and what was tried, in English, at most five sentences." },
                "priority": { "type": "string", "enum": PRIORITIES },
                "language": { "type": "string", "description": "The customer's language, for example en_US, es, pt_BR." },
                "sentiment": { "type": "string", "enum": SENTIMENTS }
            },
            "required": ["reason", "summary"]
        }),
    )
}

const PRIORITIES: [&str; 4] = ["low", "normal", "high", "urgent"];
const SENTIMENTS: [&str; 4] = ["positive", "neutral", "negative", "frustrated"];

fn choices() -> Value {
    tool(
        CHOICES,
        "Replies with a text and choices that the customer can tap on. Up to three become buttons, up to ten a list.",
        json!({
            "type": "object",
            "properties": {
                "text": { "type": "string", "maxLength": BODY },
                "choices": { "type": "array", "minItems": 1, "maxItems": MOST_ROWS,
                             "items": { "type": "string", "maxLength": ROW_TITLE } },
                "label": { "type": "string", "maxLength": BUTTON_TITLE,
                           "description": "What opens the list, in the customer's language." }
            },
            "required": ["text", "choices"]
        }),
    )
}

fn link(hosts: &[String]) -> Value {
    tool(
        LINK,
        &format!("Replies with a text and a button that opens a page. Allowed hosts: {}.", hosts.join(", ")),
        json!({
            "type": "object",
            "properties": {
                "text": { "type": "string", "maxLength": BODY },
                "label": { "type": "string", "maxLength": BUTTON_TITLE },
                "url": { "type": "string" }
            },
            "required": ["text", "label", "url"]
        }),
    )
}

fn close() -> Value {
    tool(
        CLOSE,
        "Ends the conversation. Only when the customer has said that nothing is left to do.",
        json!({
            "type": "object",
            "properties": { "text": { "type": "string", "description": "A goodbye.", "maxLength": BODY } }
        }),
    )
}

fn silence() -> Value {
    tool(SILENCE, "Says nothing. Whenever you are not sure.", json!({ "type": "object", "properties": {} }))
}

/// Which of so many topics a message is about.
pub(super) fn classification(topics: usize) -> Value {
    tool(
        CLASSIFY,
        "Tells which topic the customer's newest message is about.",
        json!({
            "type": "object",
            "properties": { "topic": { "type": "integer", "minimum": 0, "maximum": topics,
                                       "description": "The topic's number; 0 for none of them." } },
            "required": ["topic"]
        }),
    )
}

pub(super) fn classified(arguments: &Value) -> Option<usize> {
    usize::try_from(arguments.get("topic")?.as_u64()?).ok()
}

#[derive(Deserialize)]
struct HandoffArguments {
    reason: String,
    summary: Option<String>,
    priority: Option<String>,
    language: Option<String>,
    sentiment: Option<String>,
}

pub(super) fn brief(arguments: &Value) -> Result<Brief, String> {
    let read: HandoffArguments = read(arguments)?;
    let reason = line(&read.reason, REASON);
    if reason.is_empty() {
        return Err("reason is empty".into());
    }
    let one_of = |value: Option<String>, allowed: &[&str], name: &str| match value {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) if allowed.contains(&value.as_str()) => Ok(Some(value)),
        Some(_) => Err(format!("{name} is one of {}", allowed.join(", "))),
    };
    Ok(Brief {
        reason,
        summary: read.summary.map(|summary| line(&summary, SUMMARY)).filter(|summary| !summary.is_empty()),
        language: read.language.as_deref().and_then(language),
        priority: one_of(read.priority, &PRIORITIES, "priority")?,
        sentiment: one_of(read.sentiment, &SENTIMENTS, "sentiment")?,
        campaign: None,
    })
}

/// `pt-br` is `pt_BR`; what is no language is left out.
pub(crate) fn language(text: &str) -> Option<String> {
    let (language, region) = match text.trim().split_once(['_', '-']) {
        Some((language, region)) => (language, Some(region)),
        None => (text.trim(), None),
    };
    let letters = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphabetic())
    };
    if !letters(language, 2..=3) {
        return None;
    }
    let language = language.to_ascii_lowercase();
    Some(match region {
        Some(region) if letters(region, 2..=2) => format!("{language}_{}", region.to_ascii_uppercase()),
        Some(_) | None => language,
    })
}

#[derive(Deserialize)]
struct ChoicesArguments {
    text: String,
    choices: Vec<String>,
    label: Option<String>,
}

fn read_choices(arguments: &Value) -> Result<Outgoing, String> {
    let ChoicesArguments { text, choices, label } = read(arguments)?;
    let body = words(&text, BODY, "text")?;
    let titles: Vec<&str> = choices.iter().map(|title| title.trim()).collect();
    if titles.is_empty() || titles.len() > MOST_ROWS {
        return Err(format!("choices are 1 to {MOST_ROWS}"));
    }
    for (i, title) in titles.iter().enumerate() {
        words(title, ROW_TITLE, &format!("choices[{i}]"))?;
        if titles[..i].contains(title) {
            return Err(format!("choices[{i}] is there twice"));
        }
    }
    let taps = |(i, title): (usize, &&str)| Tap {
        id: format!("choice-{}", i + 1),
        title: (*title).to_owned(),
        description: None,
    };
    let taps = titles.iter().enumerate().map(taps).collect();
    let short = titles.iter().all(|title| title.chars().count() <= BUTTON_TITLE);
    if titles.len() <= MOST_BUTTONS && short {
        return Ok(Outgoing::Buttons(Buttons { header: None, body, footer: None, options: taps }));
    }
    let button = match label.as_deref().map(str::trim) {
        None | Some("") => "☰".to_owned(),
        Some(label) => words(label, BUTTON_TITLE, "label")?,
    };
    let sections = vec![Section { title: None, rows: taps }];
    Ok(Outgoing::List(List { header: None, body, footer: None, button, sections }))
}

#[derive(Deserialize)]
struct LinkArguments {
    text: String,
    label: String,
    url: String,
}

fn read_link(arguments: &Value, hosts: &[String]) -> Result<Outgoing, String> {
    let LinkArguments { text, label, url } = read(arguments)?;
    let parsed: Url = url.parse().map_err(|_| "url is not an address")?;
    let host = parsed.host_str().unwrap_or_default();
    let allowed = parsed.scheme() == "https"
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.port().is_none()
        && hosts.iter().any(|allowed| is_below(host, allowed));
    if !allowed {
        return Err(format!("url must be https on one of: {}", hosts.join(", ")));
    }
    let (body, label) = (words(&text, BODY, "text")?, words(&label, BUTTON_TITLE, "label")?);
    Ok(Outgoing::Link(LinkButton { body, label, url: parsed.into() }))
}

fn read_goodbye(arguments: &Value) -> Result<Option<Outgoing>, String> {
    match arguments.get("text") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(Outgoing::Text(words(text, BODY, "text")?))),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err("text is a string".into())
        }
    }
}

fn read<'de, T: Deserialize<'de>>(arguments: &'de Value) -> Result<T, String> {
    // The message may quote what the customer wrote: it goes to the model only.
    T::deserialize(arguments).map_err(|error| error.to_string())
}

/// Something, and not too much of it.
fn words(text: &str, limit: usize, name: &str) -> Result<String, String> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 {
        return Err(format!("{name} is empty"));
    }
    if length > limit {
        return Err(format!("{name} has {length} characters, {limit} are allowed"));
    }
    Ok(text.to_owned())
}

/// One line of at most `limit` characters.
fn line(text: &str, limit: usize) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    flat.trim().chars().take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(titles: &[&str]) -> Result<Outgoing, String> {
        read_choices(&json!({ "text": "Which?", "choices": titles, "label": "Choose" }))
    }

    #[test]
    fn three_short_choices_are_buttons_more_are_a_list_too_many_are_refused() {
        assert!(
            matches!(choose(&["A", "B", "C"]).unwrap(), Outgoing::Buttons(buttons) if buttons.options.len() == 3)
        );
        assert!(matches!(choose(&["A", "B", "C", "D"]).unwrap(), Outgoing::List(_)));
        assert!(matches!(choose(&["twenty-one characters"]).unwrap(), Outgoing::List(_)));
        let eleven: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        for titles in [&["A", "A"][..], &[""], &["much longer than a row may be"], &[]] {
            choose(titles).unwrap_err();
        }
        choose(&eleven.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
        read_choices(&json!({ "text": "x".repeat(1_025), "choices": ["A"] })).unwrap_err();
        read_choices(&json!({ "text": "t", "choices": "A" })).unwrap_err();
    }

    #[test]
    fn links_stay_within_the_allowed_hosts() {
        let hosts = ["shop.example.com".to_owned()];
        let link = |url: &str| read_link(&json!({ "text": "See", "label": "Open", "url": url }), &hosts);
        link("https://shop.example.com/orders?id=1").unwrap();
        link("https://www.shop.example.com/").unwrap();
        for url in [
            "http://shop.example.com/",
            "https://shop.example.com.evil.net/",
            "https://evil.net/shop.example.com",
            "https://shop.example.com@evil.net/",
            "https://shop.example.com:8443/",
            "javascript:alert(1)",
            "shop.example.com",
        ] {
            link(url).unwrap_err();
        }
    }

    #[test]
    fn a_brief_is_checked_and_cut() {
        let read = brief(&json!({
            "reason": "wants\na refund", "summary": "s".repeat(5_000), "priority": "high", "language": "pt-br",
            "sentiment": "frustrated", "more": 1
        }))
        .unwrap();
        assert_eq!(read.reason, "wants a refund");
        assert_eq!(read.summary.unwrap().len(), 1_000);
        assert_eq!(read.language.as_deref(), Some("pt_BR"));
        for arguments in [
            json!({ "reason": " " }),
            json!({ "summary": "s" }),
            json!({ "reason": "r", "priority": "now" }),
            json!({ "reason": 7 }),
        ] {
            brief(&arguments).unwrap_err();
        }
        assert_eq!(language("de"), Some("de".into()));
        assert_eq!(language("zh-Hant"), Some("zh".into()));
        assert_eq!(language("English"), None);
    }
}
