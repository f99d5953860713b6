//! How a recipient's values become a filled template, and whether Meta would take it
//! (`whatsapp-cloud-api.md` §7).

use domain::message::{Attachment, File, Header, MediaKind, Parameter, Template, TemplateButton};
use serde::{Deserialize, Serialize};

/// The longest body, filled (§7.1).
const MAX_BODY_CHARS: usize = 1_024;
/// The longest text header (§7.1).
const MAX_HEADER_CHARS: usize = 60;
/// Longer values fit nowhere.
pub(crate) const MAX_VALUE_CHARS: usize = 1_024;

/// A template, and where its parameters come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateUse {
    pub name: String,
    /// Meta's code: `en_US`.
    pub language: String,
    pub category: Category,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderUse>,
    /// In the order of the template; with names where it has named parameters.
    #[serde(default)]
    pub body: Vec<ParameterUse>,
    #[serde(default)]
    pub buttons: Vec<ButtonUse>,
    /// The body as Meta has it, `{{1}}` or `{{name}}` where parameters go: what reps and transcripts show.
    #[serde(default)]
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Category {
    Marketing,
    Utility,
    Authentication,
}

impl Category {
    /// As Meta writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "MARKETING",
            Self::Utility => "UTILITY",
            Self::Authentication => "AUTHENTICATION",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HeaderUse {
    Text {
        value: Value,
    },
    /// The same file for everybody, in Baton's object store (`bus::Log::media`), under a name that begins
    /// with [`HEADER_FILES`]; empty: it is not uploaded yet.
    Media {
        object: String,
        media: Media,
        name: String,
        mime: String,
    },
}

/// What files of headers are called: nothing else of the store can be sent in a template.
pub const HEADER_FILES: &str = "header-";

impl HeaderUse {
    /// Whether its file is still to be uploaded.
    pub const fn lacks_file(&self) -> bool {
        match self {
            Self::Text { .. } => false,
            Self::Media { object, .. } => object.is_empty(),
        }
    }

    /// Whether it names what is no header's file.
    pub fn is_foreign(&self) -> bool {
        match self {
            Self::Text { .. } => false,
            Self::Media { object, .. } => !object.is_empty() && !object.starts_with(HEADER_FILES),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Media {
    Image,
    Video,
    Document,
}

impl Media {
    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Document => "document",
        }
    }

    /// As Meta writes it in a template's header.
    pub const fn format(self) -> &'static str {
        match self {
            Self::Image => "IMAGE",
            Self::Video => "VIDEO",
            Self::Document => "DOCUMENT",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterUse {
    /// Templates with named parameters only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(flatten)]
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ButtonUse {
    /// Its place among the template's buttons, from 0.
    pub index: u32,
    #[serde(flatten)]
    pub button: ButtonKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ButtonKind {
    /// `payload` comes back when it is tapped on.
    QuickReply { payload: Value },
    /// The end of its address.
    Url { ending: Value },
}

/// Where a parameter's text comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// The same for everybody.
    Fixed(String),
    /// Of the recipient's row, by the column's heading.
    Column(String),
}

/// A value that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    Missing(String),
    TooLong(String),
    Characters(String),
}

/// What Meta has under the template's name and language, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// `APPROVED`, `PAUSED` …
    pub status: String,
    pub category: String,
    /// `NAMED`, else positional.
    pub named: bool,
    /// Of the header: `TEXT`, `IMAGE` …; empty: there is none.
    pub header_format: String,
    pub header_text: String,
    pub body: String,
    /// By their order: the kind (`URL`, `QUICK_REPLY` …) and the address.
    pub buttons: Vec<(String, String)>,
    /// Other components (carousel, limited-time offer), which Baton does not fill.
    pub others: Vec<String>,
}

impl TemplateUse {
    /// The columns it takes values from, each once, in order of their first use.
    pub fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for value in self.values() {
            if let Value::Column(column) = value
                && !columns.contains(column)
            {
                columns.push(column.clone());
            }
        }
        columns
    }

    fn values(&self) -> impl Iterator<Item = &Value> {
        let header = match &self.header {
            Some(HeaderUse::Text { value }) => Some(value),
            Some(HeaderUse::Media { .. }) | None => None,
        };
        let body = self.body.iter().map(|parameter| &parameter.value);
        let buttons = self.buttons.iter().map(|button| match &button.button {
            ButtonKind::QuickReply { payload } => payload,
            ButtonKind::Url { ending } => ending,
        });
        header.into_iter().chain(body).chain(buttons)
    }

    /// What is missing or wrong, for people; nothing: it can be sent.
    pub fn check(&self, known: Option<&Known>) -> Vec<String> {
        let Some(known) = known else {
            return vec![format!("there is no template {} in {}", self.name, self.language)];
        };
        let mut problems = Vec::new();
        if known.status != "APPROVED" {
            let status = known.status.to_lowercase();
            problems.push(format!("the template is {status}: only approved ones can be sent"));
        }
        if known.category != self.category.as_str() {
            problems.push(format!("the template's category is {}", known.category.to_lowercase()));
        }
        problems.extend(known.others.iter().map(|kind| {
            format!("the template has a part that campaigns cannot fill: {}", kind.to_lowercase())
        }));
        problems.extend(self.header_problem(known));
        let wanted = variables(&known.body);
        if known.named {
            let names: Vec<&str> =
                self.body.iter().filter_map(|parameter| parameter.name.as_deref()).collect();
            problems.extend(
                wanted
                    .iter()
                    .filter(|name| !names.contains(name))
                    .map(|name| format!("parameter {name} has no value")),
            );
            if names.iter().any(|name| !wanted.contains(name)) || names.len() != self.body.len() {
                problems.push("there are parameters that the template does not have".into());
            }
        } else if wanted.len() != self.body.len() {
            problems.push(format!("the text has {} parameters, {} are given", wanted.len(), self.body.len()));
        }
        problems.extend(self.button_problems(known));
        for value in self.values() {
            if let Value::Fixed(text) = value
                && let Err(unfit) = fit("a parameter", text)
            {
                problems.push(unfit.to_string());
            }
        }
        problems
    }

    fn header_problem(&self, known: &Known) -> Option<String> {
        let variables = variables(&known.header_text).len();
        match (&self.header, known.header_format.as_str()) {
            (None, "") => None,
            (None, "TEXT") => (variables > 0).then(|| "the header's parameter has no value".to_owned()),
            (Some(HeaderUse::Text { .. }), "TEXT") => {
                (variables == 0).then(|| "the template's header has no parameter".to_owned())
            }
            (Some(HeaderUse::Media { media, .. }), format) if media.format() == format => None,
            (None, format) => Some(format!("the header asks for this: {}", format.to_lowercase())),
            (Some(_), "") => Some("the template has no header".to_owned()),
            (Some(_), format) => Some(format!("the header must be this: {}", format.to_lowercase())),
        }
    }

    fn button_problems(&self, known: &Known) -> Vec<String> {
        let mut problems = Vec::new();
        for (index, (kind, url)) in known.buttons.iter().enumerate() {
            let given = self.buttons.iter().find(|button| usize::try_from(button.index) == Ok(index));
            let place = index + 1;
            match (kind.as_str(), given.map(|given| &given.button)) {
                ("URL", None) if !variables(url).is_empty() => {
                    problems.push(format!("button {place} has no ending for its address"));
                }
                ("URL", Some(ButtonKind::Url { .. })) if !variables(url).is_empty() => {}
                ("QUICK_REPLY", None | Some(ButtonKind::QuickReply { .. })) => {}
                // They carry a code of their own, which nothing here can fill in.
                ("COPY_CODE" | "OTP" | "FLOW" | "CATALOG" | "MPM" | "SPM", _) => {
                    problems.push(format!("button {place} is of a kind that campaigns cannot fill"));
                }
                (_, None) => {}
                (_, Some(_)) => problems.push(format!("button {place} takes no such value")),
            }
        }
        let beyond = self
            .buttons
            .iter()
            .any(|button| usize::try_from(button.index).map_or(true, |index| index >= known.buttons.len()));
        if beyond {
            problems.push("there are values for buttons that the template does not have".into());
        }
        problems
    }

    /// Whether a row's values (in the order of `columns`) can be filled in.
    pub(crate) fn fits(&self, columns: &[String], values: &[String]) -> Result<(), Unfit> {
        for (column, value) in columns.iter().zip(values) {
            if value.trim().is_empty() {
                return Err(Unfit::Missing(column.clone()));
            }
            fit(column, value)?;
        }
        let filled = self.preview(columns, values);
        if filled.chars().count() > MAX_BODY_CHARS {
            return Err(Unfit::TooLong("the text as a whole".into()));
        }
        if let Some(HeaderUse::Text { value }) = &self.header
            && text(value, columns, values).chars().count() > MAX_HEADER_CHARS
        {
            return Err(Unfit::TooLong("the header".into()));
        }
        Ok(())
    }

    /// Filled with a row's values, in the order of `columns`.
    pub fn filled(&self, columns: &[String], values: &[String]) -> Template {
        let text = |value: &Value| text(value, columns, values).to_owned();
        Template {
            name: self.name.clone(),
            language: self.language.clone(),
            header: self.header.as_ref().map(|header| match header {
                HeaderUse::Text { value } => Header::Text(text(value)),
                HeaderUse::Media { object, media, name, mime } => Header::Attachment(Attachment {
                    file: File::Stored { object: object.clone() },
                    kind: Some(match media {
                        Media::Image => MediaKind::Image,
                        Media::Video => MediaKind::Video,
                        Media::Document => MediaKind::Document,
                    }),
                    name: name.clone(),
                    mime: mime.clone(),
                    caption: None,
                }),
            }),
            body: (self.body.iter())
                .map(|parameter| Parameter { name: parameter.name.clone(), text: text(&parameter.value) })
                .collect(),
            buttons: (self.buttons.iter())
                .map(|ButtonUse { index, button }| match button {
                    ButtonKind::QuickReply { payload } => {
                        TemplateButton::QuickReply { index: *index, payload: text(payload) }
                    }
                    ButtonKind::Url { ending } => TemplateButton::Url { index: *index, text: text(ending) },
                })
                .collect(),
            preview: Some(self.preview(columns, values)).filter(|preview| !preview.is_empty()),
        }
    }

    /// The body as the recipient reads it; empty where Meta's text is not known yet.
    pub fn preview(&self, columns: &[String], values: &[String]) -> String {
        let order = variables(&self.text);
        let value_of = |variable: &str| {
            let named = self.body.iter().find(|parameter| parameter.name.as_deref() == Some(variable));
            let place = order.iter().position(|name| *name == variable);
            let parameter = named.or_else(|| place.and_then(|place| self.body.get(place)))?;
            Some(text(&parameter.value, columns, values))
        };
        let mut parts = self.text.split("{{");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.split_once("}}").and_then(|(name, rest)| Some((value_of(name.trim())?, rest))) {
                Some((value, rest)) => {
                    filled.push_str(value);
                    filled.push_str(rest);
                }
                None => {
                    filled.push_str("{{");
                    filled.push_str(part);
                }
            }
        }
        filled
    }
}

fn text<'a>(value: &'a Value, columns: &[String], values: &'a [String]) -> &'a str {
    match value {
        Value::Fixed(text) => text,
        Value::Column(name) => {
            let place = columns.iter().position(|column| column == name);
            place.and_then(|place| values.get(place)).map_or("", String::as_str)
        }
    }
}

/// What Meta takes as a parameter: no line breaks, tabs, or more than four spaces in a row (§7.3).
fn fit(column: &str, value: &str) -> Result<(), Unfit> {
    if value.contains(['\n', '\r', '\t']) || value.contains("     ") {
        return Err(Unfit::Characters(column.to_owned()));
    }
    if value.chars().count() > MAX_VALUE_CHARS {
        return Err(Unfit::TooLong(column.to_owned()));
    }
    Ok(())
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "{what} is empty"),
            Self::TooLong(what) => write!(f, "{what} is too long"),
            Self::Characters(what) => {
                write!(f, "{what} has a line break, a tab or more than four spaces in a row")
            }
        }
    }
}

/// Names or positions of the variables in a text, in order, each once.
pub fn variables(text: &str) -> Vec<&str> {
    let mut variables = Vec::new();
    for part in text.split("{{").skip(1) {
        if let Some((name, _)) = part.split_once("}}")
            && !name.trim().is_empty()
            && !variables.contains(&name.trim())
        {
            variables.push(name.trim());
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Value {
        Value::Column(name.into())
    }

    fn sale() -> TemplateUse {
        TemplateUse {
            name: "sale".into(),
            language: "en_US".into(),
            category: Category::Marketing,
            header: Some(HeaderUse::Text { value: column("first") }),
            body: vec![
                ParameterUse { name: None, value: column("first") },
                ParameterUse { name: None, value: Value::Fixed("20%".into()) },
            ],
            buttons: vec![ButtonUse { index: 1, button: ButtonKind::Url { ending: column("code") } }],
            text: "Hi {{1}}, take {{2}} off, {{1}}!".into(),
        }
    }

    fn known() -> Known {
        Known {
            status: "APPROVED".into(),
            category: "MARKETING".into(),
            named: false,
            header_format: "TEXT".into(),
            header_text: "For {{1}}".into(),
            body: sale().text,
            buttons: vec![
                ("QUICK_REPLY".into(), String::new()),
                ("URL".into(), "https://shop.example/{{1}}".into()),
            ],
            others: vec![],
        }
    }

    #[test]
    fn rows_fill_positions_and_names() {
        let template = sale();
        let columns = template.columns();
        assert_eq!(columns, ["first", "code"]);
        let row = ["Ana".to_owned(), "x7".to_owned()];
        let filled = template.filled(&columns, &row);
        assert_eq!(filled.preview.as_deref(), Some("Hi Ana, take 20% off, Ana!"));
        assert_eq!(filled.body.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["Ana", "20%"]);
        assert!(filled.buttons == [TemplateButton::Url { index: 1, text: "x7".into() }]);
        let named = TemplateUse {
            body: vec![
                ParameterUse { name: Some("off".into()), value: Value::Fixed("20%".into()) },
                ParameterUse { name: Some("who".into()), value: column("first") },
            ],
            text: "{{who}}: {{off}} {{else}}".into(),
            ..sale()
        };
        assert_eq!(named.preview(&columns, &row), "Ana: 20% {{else}}");
    }

    #[test]
    fn what_meta_would_refuse_is_told_before() {
        let fine = sale();
        assert_eq!(fine.check(Some(&known())), Vec::<String>::new());
        assert_eq!(fine.check(None).len(), 1);
        for (broken, count) in [
            (Known { status: "PAUSED".into(), ..known() }, 1),
            (Known { category: "UTILITY".into(), ..known() }, 1),
            (Known { body: "{{1}} {{2}} {{3}}".into(), ..known() }, 1),
            (Known { header_format: "IMAGE".into(), ..known() }, 1),
            (Known { header_format: String::new(), header_text: String::new(), ..known() }, 1),
            (Known { buttons: vec![], ..known() }, 1),
            (Known { others: vec!["CAROUSEL".into()], ..known() }, 1),
            (Known { named: true, body: "{{who}}".into(), ..known() }, 2),
        ] {
            assert_eq!(fine.check(Some(&broken)).len(), count, "{:?}", fine.check(Some(&broken)));
        }
        let bare = TemplateUse { buttons: vec![], header: None, ..sale() };
        assert_eq!(bare.check(Some(&known())).len(), 2);
    }

    #[test]
    fn unfit_values_are_found_in_the_row() {
        let template = sale();
        let columns = template.columns();
        let fits = |first: &str| template.fits(&columns, &[first.to_owned(), "x".to_owned()]);
        assert_eq!(fits("Ana"), Ok(()));
        assert_eq!(fits(" "), Err(Unfit::Missing("first".into())));
        assert_eq!(fits("A\nB"), Err(Unfit::Characters("first".into())));
        assert_eq!(fits("A     B"), Err(Unfit::Characters("first".into())));
        assert_eq!(fits(&"x".repeat(1_025)), Err(Unfit::TooLong("first".into())));
        assert_eq!(fits(&"x".repeat(600)), Err(Unfit::TooLong("the text as a whole".into())));
        assert_eq!(fits(&"x".repeat(61)), Err(Unfit::TooLong("the header".into())));
    }
}
