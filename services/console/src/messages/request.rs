//! What other systems ask for, and whether it can be sent.

use std::collections::BTreeMap;

use campaign::{ButtonKind, ButtonUse, Category, HeaderUse, Known, ParameterUse, TemplateUse, Value};
use domain::{
    Millis, PhoneNumberId,
    message::Customer,
    outreach::{Destination, Keyword, Outreach, ReplyRule},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HeaderFile;
use crate::error::RouteError;

/// Of one word or number, or of a name.
const MAX_CHARS: usize = 120;
const MAX_PARAMETERS: usize = 100;
const MAX_BUTTONS: usize = 10;
const MAX_RULES: usize = 50;
const DAY_SECONDS: u64 = 24 * 3600;
/// The longest a user id can be, its country included (`whatsapp-cloud-api.md` §4.1).
const MAX_USER_ID: usize = 131;

/// A template for one recipient.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The phone number ID that it is sent from.
    pub(super) number: String,
    /// A phone number with its country code, as people write it, or a WhatsApp user id (`US.…`).
    to: String,
    pub(super) template: Named,
    /// Not for those who want no marketing messages. What Meta has as marketing always is; where Meta
    /// cannot be asked, everything is that does not say otherwise.
    #[serde(default)]
    marketing: Option<bool>,
    /// What becomes of a reply; left out: a rep gets it.
    #[serde(default)]
    reply: Reply,
    /// What the customer writes within so many seconds is a reply; left out: seven days.
    #[serde(default)]
    answered_within_seconds: Option<u64>,
    /// What reps read as the reason of the message; left out: the template's name.
    #[serde(default)]
    name: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) name: String,
    /// Meta's code: `en_US`.
    pub(super) language: String,
    /// The text header's parameter, or what the upload of its file answered.
    #[serde(default)]
    header: Option<InHeader>,
    /// In order, or by name where the template has named parameters.
    #[serde(default)]
    body: Parameters,
    #[serde(default)]
    buttons: Vec<Button>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum InHeader {
    Text(String),
    File(HeaderFile),
}

/// Holds what is written to a customer: never printed.
impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Parameters {
    Positional(Vec<String>),
    Named(BTreeMap<String, String>),
}

impl Default for Parameters {
    fn default() -> Self {
        Self::Positional(Vec::new())
    }
}

/// One of the two: what comes back when it is tapped on, or the end of its address.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Button {
    /// Its place among the template's buttons, from 0.
    index: u32,
    #[serde(default)]
    payload: Option<String>,
    #[serde(default)]
    url: Option<String>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "to", rename_all = "kebab-case", deny_unknown_fields)]
enum Reply {
    #[default]
    Rep,
    Assistant,
    /// The first rule counts whose words occur; else a rep.
    Keywords {
        rules: Vec<Rule>,
    },
}

/// What customers answer is not printed.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply(…)")
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    words: Vec<String>,
    to: To,
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum To {
    Rep,
    Assistant,
    OptOut,
}

impl Wanted {
    /// Whom it is for.
    pub(super) fn customer(&self) -> Result<Customer, RouteError> {
        let to = self.to.trim();
        if is_user_id(to) {
            return Ok(Customer { bsuid: Some(to.to_owned()), ..Customer::default() });
        }
        let phone = campaign::digits(to, None).ok_or(RouteError::MalformedRecipient)?;
        Ok(Customer { phone: Some(phone), ..Customer::default() })
    }

    /// What is wrong with it by itself.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let Named { name, language, header, body, buttons } = &self.template;
        if name.is_empty() || name.len() > 512 || language.is_empty() || language.len() > 20 {
            problems.push("template.name and template.language say which template".into());
        }
        if self.name.as_ref().is_some_and(|name| name.trim().is_empty() || name.chars().count() > MAX_CHARS) {
            problems.push(format!("name: 1 to {MAX_CHARS} characters"));
        }
        if self.answered_within_seconds.is_some_and(|within| within == 0 || within > 30 * DAY_SECONDS) {
            problems.push("answered_within_seconds: a second to 30 days".into());
        }
        let values: Vec<&String> = match body {
            Parameters::Positional(values) => values.iter().collect(),
            Parameters::Named(values) => values.values().collect(),
        };
        if values.len() > MAX_PARAMETERS || buttons.len() > MAX_BUTTONS {
            problems.push(format!("at most {MAX_PARAMETERS} parameters and {MAX_BUTTONS} buttons"));
        }
        let text = match header {
            Some(InHeader::Text(text)) => Some(text),
            Some(InHeader::File(file)) => {
                if file.is_foreign() {
                    problems.push("template.header: upload the file first".into());
                }
                None
            }
            None => None,
        };
        if values.into_iter().chain(text).any(|value| value.trim().is_empty()) {
            problems.push("a parameter is empty".into());
        }
        for button in buttons {
            match (&button.payload, &button.url) {
                (Some(value), None) | (None, Some(value)) if !value.is_empty() => {}
                (Some(_) | None, Some(_) | None) => {
                    problems.push(format!("button {}: either payload or url", button.index));
                }
            }
        }
        if let Reply::Keywords { rules } = &self.reply {
            let fits = |rule: &Rule| {
                (1..=MAX_RULES).contains(&rule.words.len())
                    && rule.words.iter().all(|word| (1..=MAX_CHARS).contains(&word.chars().count()))
            };
            if rules.len() > MAX_RULES || !rules.iter().all(fits) {
                problems.push(format!("reply.rules: at most {MAX_RULES}, each with 1 to {MAX_RULES} words"));
            }
        }
        problems
    }

    /// The template with its values. `known`: as Meta has it, where it could be asked.
    fn template(&self, known: Option<&Known>) -> TemplateUse {
        let Named { name, language, header, body, buttons } = &self.template;
        let fixed = |text: &String| Value::Fixed(text.clone());
        let parameter =
            |name: Option<&String>, text| ParameterUse { name: name.cloned(), value: fixed(text) };
        TemplateUse {
            name: name.clone(),
            language: language.clone(),
            category: known.and_then(|known| category(&known.category)).unwrap_or(Category::Utility),
            header: header.as_ref().map(|header| match header {
                InHeader::Text(text) => HeaderUse::Text { value: fixed(text) },
                InHeader::File(file) => HeaderUse::from(file),
            }),
            body: match body {
                Parameters::Positional(values) => values.iter().map(|text| parameter(None, text)).collect(),
                Parameters::Named(values) => {
                    values.iter().map(|(name, text)| parameter(Some(name), text)).collect()
                }
            },
            buttons: buttons.iter().filter_map(Button::used).collect(),
            text: known.map(|known| known.body.clone()).unwrap_or_default(),
        }
    }

    /// What Meta would refuse. `known` is none when Meta has no such template.
    pub(super) fn unfit(&self, known: Option<&Known>) -> Vec<String> {
        let mut problems = self.template(known).check(known);
        let by_name = matches!(self.template.body, Parameters::Named(_));
        let given = !self.template(known).body.is_empty();
        if known.is_some_and(|known| given && known.named != by_name) {
            let wanted = if by_name { "positions: send a list" } else { "names: send an object" };
            problems.push(format!("the template's parameters go by {wanted}"));
        }
        problems
    }

    /// As it goes into the log.
    pub(super) fn outreach(&self, customer: Customer, known: Option<&Known>) -> Outreach {
        let marketing = match known {
            Some(known) => known.category == "MARKETING" || self.marketing == Some(true),
            None => self.marketing != Some(false),
        };
        let within = self.answered_within_seconds.unwrap_or(7 * DAY_SECONDS).saturating_mul(1000);
        Outreach {
            number: PhoneNumberId::new(self.number.as_str()),
            customer,
            template: self.template(known).filled(&[], &[]),
            marketing,
            not_after: 0,
            mark: None,
            name: self.name.clone().unwrap_or_else(|| self.template.name.clone()),
            reply: self.reply.rule(),
            answered_within: Millis::try_from(within).unwrap_or(Millis::MAX),
        }
    }
}

impl Button {
    fn used(&self) -> Option<ButtonUse> {
        let button = match (&self.payload, &self.url) {
            (Some(payload), _) => ButtonKind::QuickReply { payload: Value::Fixed(payload.clone()) },
            (None, Some(url)) => ButtonKind::Url { ending: Value::Fixed(url.clone()) },
            (None, None) => return None,
        };
        Some(ButtonUse { index: self.index, button })
    }
}

impl Reply {
    fn rule(&self) -> ReplyRule {
        let keyword = |Rule { words, to }: &Rule| Keyword {
            words: words.clone(),
            to: match to {
                To::Rep => Destination::Rep,
                To::Assistant => Destination::Assistant,
                To::OptOut => Destination::OptOut,
            },
        };
        match self {
            Self::Rep => ReplyRule::Rep,
            Self::Assistant => ReplyRule::Assistant,
            Self::Keywords { rules } => ReplyRule::Keywords(rules.iter().map(keyword).collect()),
        }
    }
}

/// As Meta writes it.
pub(crate) fn category(text: &str) -> Option<Category> {
    [Category::Marketing, Category::Utility, Category::Authentication]
        .into_iter()
        .find(|category| category.as_str() == text)
}

/// `^[A-Z]{2}\.[A-Za-z0-9]{1,128}$` (`whatsapp-cloud-api.md` §4.1). Those that linked portfolios share are
/// left out: replies come under the other one.
fn is_user_id(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else { return false };
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && !rest.is_empty()
        && text.len() <= MAX_USER_ID
        && rest.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(changes: serde_json::Value) -> Wanted {
        let mut body = json!({
            "number": "100", "to": "+34 600 000 001",
            "template": {"name": "order", "language": "en_US", "body": ["Ana", "4711"]},
        });
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        serde_json::from_value(body).unwrap()
    }

    fn known() -> Known {
        Known {
            status: "APPROVED".into(),
            category: "UTILITY".into(),
            body: "Hi {{1}}, order {{2}} left.".into(),
            ..Known::default()
        }
    }

    #[test]
    fn recipients_go_by_phone_or_user_id() {
        for (to, phone, user) in [
            ("+34 600-000-001", Some("34600000001"), None),
            ("0034600000001", Some("34600000001"), None),
            ("US.13491208655302741918", None, Some("US.13491208655302741918")),
        ] {
            let customer = wanted(json!({ "to": to })).customer().unwrap();
            assert_eq!((customer.phone.as_deref(), customer.bsuid.as_deref()), (phone, user), "{to}");
        }
        for to in ["12", "Ana", "US.ENT.1", "us.1", ""] {
            let customer = wanted(json!({ "to": to })).customer();
            assert_eq!(customer.err(), Some(RouteError::MalformedRecipient), "{to}");
        }
    }

    #[test]
    fn values_meet_the_template() {
        let fine = wanted(json!({}));
        assert!(fine.problems().is_empty() && fine.unfit(Some(&known())).is_empty());
        let outreach = fine.outreach(Customer::default(), Some(&known()));
        assert_eq!(outreach.template.preview.as_deref(), Some("Hi Ana, order 4711 left."));
        assert_eq!((outreach.marketing, outreach.name.as_str()), (false, "order"));
        assert_eq!(outreach.answered_within, 604_800_000);
        let named = wanted(
            json!({"template": {"name": "order", "language": "en_US", "body": {"a": "Ana", "b": "4711"}}}),
        );
        assert_eq!(named.unfit(Some(&known())).len(), 1, "{:?}", named.unfit(Some(&known())));
        assert_eq!(fine.unfit(None).len(), 1);
        let paused = Known { status: "PAUSED".into(), ..known() };
        assert_eq!(fine.unfit(Some(&paused)).len(), 1);
    }

    #[test]
    fn what_is_marketing_to_meta_is_marketing() {
        let marketing = |asked: serde_json::Value, category: Option<&str>| {
            let known = category.map(|category| Known { category: category.into(), ..known() });
            let wanted = wanted(json!({ "marketing": asked }));
            wanted.outreach(Customer::default(), known.as_ref()).marketing
        };
        assert!(marketing(json!(false), Some("MARKETING")) && marketing(json!(true), Some("UTILITY")));
        assert!(marketing(json!(null), None) && !marketing(json!(false), None));
        assert!(!marketing(json!(null), Some("UTILITY")));
    }

    #[test]
    fn what_is_malformed_is_told() {
        for changes in [
            json!({"name": ""}),
            json!({"answered_within_seconds": 0}),
            json!({"template": {"name": "", "language": "en_US"}}),
            json!({"template": {"name": "a", "language": "en_US", "body": [" "]}}),
            json!({"template": {"name": "a", "language": "en_US", "buttons": [{"index": 0}]}}),
            json!({"reply": {"to": "keywords", "rules": [{"words": [], "to": "opt-out"}]}}),
        ] {
            assert_eq!(wanted(changes.clone()).problems().len(), 1, "{changes}");
        }
        let rule =
            wanted(json!({"reply": {"to": "keywords", "rules": [{"words": ["no"], "to": "opt-out"}]}}));
        assert!(rule.problems().is_empty());
        assert!(
            matches!(rule.reply.rule(), ReplyRule::Keywords(rules) if rules[0].to == Destination::OptOut)
        );
    }
}
