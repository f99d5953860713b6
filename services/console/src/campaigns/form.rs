//! The form that makes a campaign: what it asks for a template, and the plan that comes of it.

use std::collections::BTreeMap;

use campaign::{
    ButtonKind, ButtonUse, Category, Day, HeaderUse, KeywordRule, Media, ParameterUse, Plan, Quiet, Reply,
    Schedule, TemplateUse, Value, variables,
};
use domain::{Millis, PhoneNumberId, outreach::Destination};
use jiff::civil::{DateTime, Time};
use whatsapp::client::TemplateInfo;

use crate::messages::{category, known};

/// Fields as they were sent, by name.
pub(super) type Fields = BTreeMap<String, String>;

pub(super) const DAYS: [(&str, &str, Day); 7] = [
    ("mon", "Mon", Day::Mon),
    ("tue", "Tue", Day::Tue),
    ("wed", "Wed", Day::Wed),
    ("thu", "Thu", Day::Thu),
    ("fri", "Fri", Day::Fri),
    ("sat", "Sat", Day::Sat),
    ("sun", "Sun", Day::Sun),
];

/// A value that the template needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blank {
    /// Of the field.
    pub(super) id: String,
    pub(super) label: String,
    /// What is proposed as the column's heading.
    pub(super) column: String,
}

/// A template as the form shows it.
pub(super) struct Shape {
    pub(super) header: String,
    pub(super) body: String,
    pub(super) footer: String,
    pub(super) buttons: Vec<String>,
    pub(super) blanks: Vec<Blank>,
    /// Why the form cannot fill it in.
    pub(super) problems: Vec<String>,
}

impl Shape {
    pub(super) fn of(info: &TemplateInfo) -> Self {
        let known = known(info);
        let mut blanks = Vec::new();
        let blank = |id: String, label: String, name: &str| {
            let number = name.chars().all(|c| c.is_ascii_digit());
            let column = if number { format!("value{name}") } else { name.to_owned() };
            Blank { id, label, column }
        };
        for (place, name) in variables(&known.header_text).into_iter().enumerate() {
            blanks.push(blank(format!("h{place}"), format!("Header {{{{{name}}}}}"), "header"));
        }
        for (place, name) in variables(&known.body).into_iter().enumerate() {
            blanks.push(blank(format!("b{place}"), format!("Text {{{{{name}}}}}"), name));
        }
        let mut problems: Vec<String> = (known.others.iter())
            .map(|part| format!("It has a part that cannot be filled in here: {}.", part.to_lowercase()))
            .collect();
        if !matches!(known.header_format.as_str(), "" | "TEXT") && media_of(&known.header_format).is_none() {
            problems.push("Its header cannot be filled in here.".into());
        }
        for (place, (kind, url)) in known.buttons.iter().enumerate() {
            if kind == "URL" && !variables(url).is_empty() {
                blanks.push(blank(format!("u{place}"), format!("End of the address {url}"), "link"));
            } else if !matches!(kind.as_str(), "URL" | "QUICK_REPLY" | "PHONE_NUMBER") {
                problems
                    .push(format!("It has a button that cannot be filled in here: {}.", kind.to_lowercase()));
            }
        }
        let text = |kind: &str| {
            let found = info.components.iter().find(|component| component.kind == kind);
            found.map(|component| component.text.clone()).unwrap_or_default()
        };
        let buttons = info.components.iter().flat_map(|component| &component.buttons);
        Self {
            header: text("HEADER"),
            body: known.body,
            footer: text("FOOTER"),
            buttons: buttons.map(|button| button.text.clone()).collect(),
            blanks,
            problems,
        }
    }
}

/// A header that is a file.
fn media_of(format: &str) -> Option<Media> {
    [Media::Image, Media::Video, Media::Document].into_iter().find(|media| media.format() == format)
}

/// The plan that the fields tell, or everything that is wrong.
pub(super) fn plan(fields: &Fields, info: &TemplateInfo) -> Result<Plan, Vec<String>> {
    let mut problems = Shape::of(info).problems;
    let said = |name: &str| fields.get(name).map_or("", |value| value.trim());
    let mut value = |id: &str, label: &str| {
        let text = said(id).to_owned();
        if text.is_empty() {
            problems.push(format!("{label} has no value"));
        }
        if said(&format!("{id}_from")) == "fixed" { Value::Fixed(text) } else { Value::Column(text) }
    };
    let known = known(info);
    let header = match media_of(&known.header_format) {
        // Uploaded on the campaign's page.
        Some(media) => {
            Some(HeaderUse::Media { object: String::new(), media, name: String::new(), mime: String::new() })
        }
        None => {
            let text = variables(&known.header_text).first().copied();
            text.map(|_| HeaderUse::Text { value: value("h0", "the header") })
        }
    };
    let body: Vec<ParameterUse> = variables(&known.body)
        .into_iter()
        .enumerate()
        .map(|(place, name)| ParameterUse {
            name: known.named.then(|| name.to_owned()),
            value: value(&format!("b{place}"), &format!("{{{{{name}}}}}")),
        })
        .collect();
    let mut buttons = Vec::new();
    let all = info.components.iter().flat_map(|component| &component.buttons);
    for (index, button) in (0u32..).zip(all) {
        match button.kind.as_str() {
            // Named, so that a tap tells which message it answers.
            "QUICK_REPLY" => {
                let payload = Value::Fixed(button.text.clone());
                buttons.push(ButtonUse { index, button: ButtonKind::QuickReply { payload } });
            }
            "URL" if !variables(&button.url).is_empty() => {
                let ending = value(&format!("u{index}"), "the end of an address");
                buttons.push(ButtonUse { index, button: ButtonKind::Url { ending } });
            }
            _ => {}
        }
    }
    let schedule = schedule(fields, &mut problems);
    let per_minute = match said("per_minute") {
        "" => None,
        text => text.parse().map_err(|_| problems.push("the pace is a whole number a minute".into())).ok(),
    };
    let reply = match said("reply") {
        "assistant" => Reply::Assistant,
        "keywords" => Reply::Keywords { rules: rules(said("rules"), &mut problems) },
        _ => Reply::Rep,
    };
    let days: u64 = match said("answered_within_days") {
        "" => 7,
        text => text.parse().unwrap_or(0),
    };
    let template = TemplateUse {
        name: info.name.clone(),
        language: info.language.clone(),
        category: category(&info.category).unwrap_or(Category::Marketing),
        header,
        body,
        buttons,
        text: known.body.clone(),
    };
    let plan = Plan {
        name: said("name").to_owned(),
        number: PhoneNumberId::new(said("number")),
        template,
        schedule,
        per_minute,
        reply,
        answered_within_seconds: days.saturating_mul(24 * 3600),
    };
    problems.extend(plan.problems());
    if problems.is_empty() { Ok(plan) } else { Err(problems) }
}

/// What the form is filled with for a plan: the other way round.
pub(super) fn fields(plan: &Plan) -> Fields {
    let mut fields = Fields::new();
    let mut say = |name: String, value: String| {
        if !value.is_empty() {
            fields.insert(name, value);
        }
    };
    let template = &plan.template;
    say("number".into(), plan.number.as_str().to_owned());
    say("template".into(), format!("{}|{}", template.name, template.language));
    say("name".into(), plan.name.clone());
    let header = template.header.iter().filter_map(|header| match header {
        HeaderUse::Text { value } => Some(("h0".to_owned(), value)),
        HeaderUse::Media { .. } => None,
    });
    let body = template.body.iter().enumerate().map(|(place, of)| (format!("b{place}"), &of.value));
    let buttons = template.buttons.iter().filter_map(|of| match &of.button {
        ButtonKind::Url { ending } => Some((format!("u{}", of.index), ending)),
        ButtonKind::QuickReply { .. } => None,
    });
    for (id, value) in header.chain(body).chain(buttons) {
        let (from, text) = match value {
            Value::Fixed(text) => ("fixed", text),
            Value::Column(column) => ("column", column),
        };
        say(format!("{id}_from"), from.to_owned());
        say(id, text.clone());
    }
    let schedule = &plan.schedule;
    for (name, at) in [("start_at", schedule.start_at), ("ends_at", schedule.ends_at)] {
        let at = at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        say(name.into(), at.map(|at| at.strftime("%Y-%m-%dT%H:%M").to_string()).unwrap_or_default());
    }
    if let Some(quiet) = schedule.quiet {
        say("quiet_from".into(), quiet.from.strftime("%H:%M").to_string());
        say("quiet_to".into(), quiet.to.strftime("%H:%M").to_string());
    }
    for (name, _, day) in DAYS {
        if schedule.weekdays.is_empty() || schedule.weekdays.contains(&day) {
            say(format!("day_{name}"), "on".into());
        }
    }
    say("per_minute".into(), plan.per_minute.map(|pace| pace.to_string()).unwrap_or_default());
    let (reply, rules) = match &plan.reply {
        Reply::Rep => ("rep", String::new()),
        Reply::Assistant => ("assistant", String::new()),
        Reply::Keywords { rules } => ("keywords", rules.iter().map(line_of).collect()),
    };
    say("reply".into(), reply.into());
    say("rules".into(), rules);
    say("answered_within_days".into(), plan.answered_within_seconds.div_ceil(24 * 3600).to_string());
    fields
}

fn line_of(rule: &KeywordRule) -> String {
    let to = match rule.to {
        Destination::Rep => "rep",
        Destination::Assistant => "assistant",
        Destination::OptOut => "opt-out",
    };
    format!("{} = {to}\n", rule.words.join(", "))
}

fn schedule(fields: &Fields, problems: &mut Vec<String>) -> Schedule {
    let said = |name: &str| fields.get(name).map_or("", |value| value.trim());
    let mut moment = |name: &str| match said(name) {
        "" => None,
        text => {
            let moment = text.parse::<DateTime>().ok().and_then(|at| at.in_tz("UTC").ok());
            let moment = moment.map(|at| at.timestamp().as_millisecond());
            if moment.is_none() {
                problems.push(format!("no such time: {text}"));
            }
            moment
        }
    };
    let (start_at, ends_at): (Option<Millis>, Option<Millis>) = (moment("start_at"), moment("ends_at"));
    let quiet = match (said("quiet_from"), said("quiet_to")) {
        ("", "") => None,
        (from, to) => {
            let quiet = time(from).zip(time(to)).map(|(from, to)| Quiet { from, to });
            if quiet.is_none() {
                problems.push("quiet hours go from a time to a time, like 21:00 to 08:00".into());
            }
            quiet
        }
    };
    let on = |(name, _, day): &(&str, &str, Day)| fields.contains_key(&format!("day_{name}")).then_some(*day);
    let mut weekdays: Vec<Day> = DAYS.iter().filter_map(on).collect();
    if weekdays.len() == DAYS.len() {
        weekdays.clear();
    }
    Schedule { start_at, ends_at, quiet, weekdays }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    Time::new(hour.parse().ok()?, minute.get(..2)?.parse().ok()?, 0, 0).ok()
}

/// A line each: `words, and more words = rep`, `assistant` or `opt-out`.
fn rules(text: &str, problems: &mut Vec<String>) -> Vec<KeywordRule> {
    let mut rules = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let rule = line.rsplit_once('=').and_then(|(words, to)| {
            let to = match to.trim() {
                "rep" => Destination::Rep,
                "assistant" => Destination::Assistant,
                "opt-out" => Destination::OptOut,
                _ => return None,
            };
            let words: Vec<String> =
                words.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
            (!words.is_empty()).then_some(KeywordRule { words, to })
        });
        match rule {
            Some(rule) => rules.push(rule),
            None => problems.push(format!("no rule: “{line}”; write words = rep, assistant or opt-out")),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sale() -> TemplateInfo {
        serde_json::from_value(json!({
            "name": "sale", "language": "en_US", "status": "APPROVED", "category": "MARKETING",
            "parameter_format": "POSITIONAL",
            "components": [
                {"type": "HEADER", "format": "TEXT", "text": "For {{1}}"},
                {"type": "BODY", "text": "Hi {{1}}, take {{2}} off."},
                {"type": "BUTTONS", "buttons": [
                    {"type": "QUICK_REPLY", "text": "Yes"},
                    {"type": "URL", "text": "See", "url": "https://shop.example/{{1}}"},
                ]},
            ],
        }))
        .unwrap()
    }

    fn fields(more: &[(&str, &str)]) -> Fields {
        let usual = [
            ("name", "Autumn"),
            ("number", "100"),
            ("h0", "first"),
            ("b0", "first"),
            ("b1", "20%"),
            ("b1_from", "fixed"),
            ("u1", "code"),
        ];
        usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_form_asks_for_what_the_template_needs_and_its_plan_fits() {
        let ids: Vec<_> = Shape::of(&sale()).blanks.into_iter().map(|blank| blank.id).collect();
        assert_eq!(ids, ["h0", "b0", "b1", "u1"]);
        let more = [
            ("start_at", "2027-01-04T09:30"),
            ("quiet_from", "21:00"),
            ("quiet_to", "08:00"),
            ("day_mon", "on"),
            ("per_minute", "600"),
            ("reply", "keywords"),
            ("rules", "no, stop = opt-out\r\n\r\nprice = assistant"),
        ];
        let plan = plan(&fields(&more), &sale()).unwrap();
        assert_eq!(plan.template.check(Some(&known(&sale()))), Vec::<String>::new());
        assert_eq!(plan.template.columns(), ["first", "code"]);
        assert_eq!(plan.schedule.start_at, Some(1_799_055_000_000));
        assert_eq!((plan.schedule.weekdays.len(), plan.per_minute), (1, Some(600)));
        assert!(matches!(&plan.reply, Reply::Keywords { rules } if rules.len() == 2));
        assert_eq!(plan.answered_within_seconds, 604_800);
        assert_eq!(super::plan(&super::fields(&plan), &sale()), Ok(plan), "and the other way round");
    }

    #[test]
    fn what_is_missing_is_told_at_once() {
        let wrong = [
            ("name", " "),
            ("b0", ""),
            ("start_at", "soon"),
            ("quiet_from", "21:00"),
            ("per_minute", "x"),
            ("reply", "keywords"),
            ("rules", "no way"),
        ];
        assert_eq!(plan(&fields(&wrong), &sale()).unwrap_err().len(), 6);
    }
}
