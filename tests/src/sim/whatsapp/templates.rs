//! Templates (`whatsapp-cloud-api.md` §7): what there is, how it is listed, and whether a message
//! fits the template that it names.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    check::{Draft, Known, attach},
    content::Choice,
    errors::Refusal,
    form::Form,
    media::Family,
};

/// A template of a business account. Name and language are its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub waba_id: String,
    /// Digits. Empty: given when it is set.
    #[serde(default)]
    pub id: String,
    pub name: String,
    pub language: String,
    /// `APPROVED`, `PENDING`, `REJECTED`, `PAUSED`, `DISABLED` …
    #[serde(default = "approved")]
    pub status: String,
    /// `MARKETING`, `UTILITY`, `AUTHENTICATION`.
    #[serde(default = "utility")]
    pub category: String,
    /// `POSITIONAL` or `NAMED`.
    #[serde(default = "positional")]
    pub parameter_format: String,
    /// As the list shows them.
    pub components: Vec<Value>,
    /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
    #[serde(default = "green")]
    pub quality: String,
    /// Messages are held for a quality assessment (§7.4), and what then becomes of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

fn approved() -> String {
    "APPROVED".to_owned()
}

fn utility() -> String {
    "UTILITY".to_owned()
}

fn positional() -> String {
    "POSITIONAL".to_owned()
}

fn green() -> String {
    "GREEN".to_owned()
}

/// What becomes of messages that were held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    Released,
    /// Failed with 132015.
    Dropped,
}

impl Template {
    /// One with a body only.
    pub fn text(waba_id: &str, name: &str, language: &str, body: &str) -> Self {
        Self {
            waba_id: waba_id.to_owned(),
            id: String::new(),
            name: name.to_owned(),
            language: language.to_owned(),
            status: approved(),
            category: utility(),
            parameter_format: positional(),
            components: vec![json!({ "type": "BODY", "text": body })],
            quality: green(),
            held: None,
        }
    }

    fn component(&self, kind: &str) -> Option<&Value> {
        self.components.iter().find(|component| component["type"] == kind)
    }

    fn named(&self) -> bool {
        self.parameter_format == "NAMED"
    }

    /// The node, with the given fields or those that come unasked.
    pub(super) fn node(&self, fields: Option<&str>) -> Value {
        let all = json!({
            "name": self.name, "language": self.language, "status": self.status, "category": self.category,
            "sub_category": "CUSTOM", "parameter_format": self.parameter_format,
            "components": self.components, "quality_score": { "score": self.quality, "date": 1_795_400_000 },
            "rejected_reason": if self.status == "REJECTED" { "INVALID_FORMAT" } else { "NONE" },
        });
        let unasked = "name,parameter_format,components,language,status,category,sub_category";
        let mut node: Map<String, Value> = fields
            .unwrap_or(unasked)
            .split(',')
            .filter_map(|field| Some((field.trim().to_owned(), all.get(field.trim())?.clone())))
            .collect();
        node.insert("id".to_owned(), self.id.clone().into());
        Value::Object(node)
    }
}

/// The names of a text's variables in order of appearance, each once.
fn variables(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in text.split("{{").skip(1) {
        if let Some((name, _)) = part.split_once("}}")
            && !found.contains(&name.trim())
        {
            found.push(name.trim());
        }
    }
    found
}

fn fill(text: &str, values: &[(String, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// A template message against its template.
pub(super) fn draft(form: &Form<'_>, known: &Known<'_>) -> Result<Draft, Refusal> {
    let name = form.text("name", 512)?;
    let language = form.text("language.code", 20)?;
    let found =
        known.templates.iter().find(|template| template.name == name && template.language == language);
    let unknown =
        || Refusal::because(132_001, &format!("template name ({name}) does not exist in {language}"));
    let template = found.ok_or_else(unknown)?;
    match template.status.as_str() {
        "APPROVED" => {}
        "PAUSED" => return Err(Refusal::of(132_015)),
        "DISABLED" => return Err(Refusal::of(132_016)),
        _ => return Err(unknown()),
    }
    let given = if form.has("components") { form.list("components", 0..=20)? } else { Vec::new() };
    let mut draft = Draft::new("template", form.value(), None);
    draft.category = Some(template.category.clone());
    draft.standing = Some("accepted");
    match template.held {
        None => {}
        Some(Held::Released) => draft.standing = Some("held_for_quality_assessment"),
        Some(Held::Dropped) => {
            draft.standing = Some("held_for_quality_assessment");
            draft.fails =
                Some((132_015, "The message was held for a quality assessment and dropped.".to_owned()));
        }
    }
    let part = |kind: &str| given.iter().find(|part| part.get("type").is_some_and(|found| is(found, kind)));
    header(&mut draft, template, part("header"), known)?;
    let body = template.component("BODY").and_then(|body| body["text"].as_str()).unwrap_or_default();
    draft.text = filled("body", template, body, part("body"))?;
    if draft.text.chars().count() > 1_024 {
        return Err(Refusal::of(132_005));
    }
    let footer = template.component("FOOTER").and_then(|footer| footer["text"].as_str());
    draft.content.footer = footer.map(str::to_owned);
    let taps: Vec<&Form<'_>> =
        given.iter().filter(|part| part.get("type").is_some_and(|found| is(found, "button"))).collect();
    buttons(&mut draft, template, &taps)?;
    Ok(draft)
}

/// Clients write types in either case.
fn is(found: &Value, kind: &str) -> bool {
    found.as_str().is_some_and(|found| found.eq_ignore_ascii_case(kind))
}

fn header(
    draft: &mut Draft,
    template: &Template,
    given: Option<&Form<'_>>,
    known: &Known<'_>,
) -> Result<(), Refusal> {
    let Some(header) = template.component("HEADER") else {
        return match given.map(parameters).transpose()?.filter(|given| !given.is_empty()) {
            Some(given) => Err(count("header", given.len(), 0)),
            None => Ok(()),
        };
    };
    let format = header["format"].as_str().unwrap_or("TEXT");
    if format == "TEXT" {
        let text = header["text"].as_str().unwrap_or_default();
        draft.content.header = Some(filled("header", template, text, given)?);
        return Ok(());
    }
    let given = given.map(parameters).transpose()?.unwrap_or_default();
    let received = given.first().and_then(|parameter| parameter.get("type")).and_then(Value::as_str);
    let received = received.unwrap_or("UNKNOWN").to_uppercase();
    if received != format {
        let details = format!("header: Format mismatch, expected {format}, received {received}");
        return Err(Refusal::because(132_012, &details));
    }
    let kind = format.to_lowercase();
    let object = given.first().map(|parameter| parameter.object(&kind)).transpose()?;
    match object {
        Some(object) if kind != "location" => attach(draft, &object, Family::of_type(&kind), known),
        _ => Ok(()),
    }
}

fn parameters<'a>(part: &Form<'a>) -> Result<Vec<Form<'a>>, Refusal> {
    if part.has("parameters") { part.list("parameters", 0..=100) } else { Ok(Vec::new()) }
}

fn count(part: &str, given: usize, expected: usize) -> Refusal {
    let details = format!(
        "{part}: number of localizable_params ({given}) does not match the expected number of params ({expected})"
    );
    Refusal::because(132_000, &details)
}

/// A text with the given values in place of its variables.
fn filled(part: &str, template: &Template, text: &str, given: Option<&Form<'_>>) -> Result<String, Refusal> {
    let given = given.map(parameters).transpose()?.unwrap_or_default();
    let expected = variables(text);
    if given.len() != expected.len() {
        return Err(count(part, given.len(), expected.len()));
    }
    let mut values = Vec::new();
    for (position, parameter) in given.iter().enumerate() {
        let name = parameter.maybe("parameter_name", 100)?;
        let variable = match (template.named(), name) {
            (true, Some(name)) if expected.contains(&name) => name.to_owned(),
            (false, None) => (position + 1).to_string(),
            _ => {
                let details = format!("{part}: parameter names do not match the template's parameter_format");
                return Err(Refusal::because(132_012, &details));
            }
        };
        values.push((variable, value(part, parameter)?));
    }
    let distinct: BTreeSet<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
    if distinct.len() < values.len() {
        return Err(Refusal::because(132_012, &format!("{part}: a parameter comes twice")));
    }
    Ok(fill(text, &values))
}

/// The words of one parameter.
fn value(part: &str, parameter: &Form<'_>) -> Result<String, Refusal> {
    let kind = parameter.text("type", 100)?;
    let text = match kind {
        "text" => parameter.text("text", 1_024)?,
        "currency" => parameter.text("currency.fallback_value", 1_024)?,
        "date_time" => parameter.text("date_time.fallback_value", 1_024)?,
        _ => {
            let details = format!("{part}: Format mismatch, expected TEXT, received {}", kind.to_uppercase());
            return Err(Refusal::because(132_012, &details));
        }
    };
    if text.contains(['\n', '\t']) || text.contains("     ") {
        let details = "Param text cannot have new-line/tab characters or more than 4 consecutive spaces";
        return Err(Refusal::because(132_018, details));
    }
    Ok(text.to_owned())
}

fn buttons(draft: &mut Draft, template: &Template, given: &[&Form<'_>]) -> Result<(), Refusal> {
    let buttons = template.component("BUTTONS").and_then(|component| component["buttons"].as_array());
    let buttons = buttons.map(Vec::as_slice).unwrap_or_default();
    let mut taken = BTreeSet::new();
    for part in given {
        // A string in the samples, a number in traffic.
        let index = part.number("index", 0.0..=9.0)? as usize;
        let expected = buttons.get(index).ok_or_else(|| part.invalid("index"))?;
        let sub_type = part.text("sub_type", 100)?;
        if !expected["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(sub_type))
            || !taken.insert(index)
        {
            let details = format!("buttons: Button at index {index} is not of type {sub_type}");
            return Err(Refusal::because(132_012, &details));
        }
    }
    for (index, button) in buttons.iter().enumerate() {
        let part =
            given.iter().find(|part| part.number("index", 0.0..=9.0).is_ok_and(|at| at as usize == index));
        let first = part.map(|part| parameters(part)).transpose()?.unwrap_or_default().into_iter().next();
        let title = button["text"].as_str().unwrap_or_default().to_owned();
        let id = match button["type"].as_str().unwrap_or_default() {
            "QUICK_REPLY" => match &first {
                Some(parameter) => parameter.text("payload", 256)?.to_owned(),
                None => title.clone(),
            },
            "URL" => {
                let url = button["url"].as_str().unwrap_or_default();
                match (variables(url).is_empty(), &first) {
                    (true, None) => url.to_owned(),
                    (true, Some(_)) => return Err(count("buttons", 1, 0)),
                    (false, Some(parameter)) => fill(url, &[("1".to_owned(), value("buttons", parameter)?)]),
                    (false, None) => return Err(needs(index, "Url")),
                }
            }
            "COPY_CODE" => match &first {
                Some(parameter) => parameter.text("coupon_code", 20)?.to_owned(),
                None => return Err(needs(index, "Copy code")),
            },
            _ => button["phone_number"].as_str().unwrap_or_default().to_owned(),
        };
        draft.content.buttons.push(Choice { id, title, description: None });
    }
    Ok(())
}

fn needs(index: usize, kind: &str) -> Refusal {
    let details = format!("buttons: Button at index {index} of type {kind} requires a parameter");
    Refusal::because(131_008, &details)
}

#[cfg(test)]
mod tests {
    use super::{fill, variables};

    #[test]
    fn variables_are_found_and_filled() {
        assert_eq!(variables("Hi {{1}}, order {{2}} for {{1}}"), ["1", "2"]);
        let values = [("first_name".to_owned(), "Ana".to_owned())];
        assert_eq!(fill("Hi {{first_name}}{{x}}", &values), "Hi Ana{{x}}");
    }
}
