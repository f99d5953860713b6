//! Forms: what was sent, and what is shown again with what is wrong beside it.

use std::borrow::Cow;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use domain::settings::Invalid;
use url::form_urlencoded;

use super::Refused;
use crate::{access::Caller, error::RouteError, pages::failed};

/// A form as it was sent: names may be there several times.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = axum::response::Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_else(Caller::nobody);
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|_| failed(&caller, RouteError::SettingsTooLarge))?;
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }
}

impl Form {
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// What was typed; a secret that was left empty was not.
    pub(super) fn typed(&self, name: &str) -> Option<String> {
        Some(self.get(name).trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        Some(self.get(name).to_owned())
    }

    pub(super) fn is_ticked(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str, wrong: &mut Vec<Invalid>) -> Option<T> {
        let text = self.get(name).trim();
        let number = text.parse().ok();
        if number.is_none() {
            wrong.push(Invalid { field: name.to_owned(), problem: "is a whole number".into() });
        }
        number
    }

    /// What the form was made from.
    pub(super) fn revision(&self) -> Result<u64, Refused> {
        self.get("revision").parse().map_err(|_| RouteError::MalformedBody.into())
    }
}

/// How a field is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Line,
    /// Several lines.
    Area,
    /// Never shown; left empty, it stays.
    Secret,
    /// A secret of several lines.
    SecretArea,
    Number,
    Tick,
    /// Value and words.
    Choice(Vec<(String, String)>),
}

/// A field of a form.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) name: Cow<'static, str>,
    pub(super) label: &'static str,
    pub(super) help: String,
    pub(super) value: String,
    pub(super) kind: Kind,
    /// What is wrong with it.
    pub(super) problem: String,
    /// What holds when it is left empty.
    pub(super) placeholder: String,
    /// As wide as the form.
    pub(super) wide: bool,
}

impl Input {
    pub(super) fn new(
        name: impl Into<Cow<'static, str>>,
        label: &'static str,
        kind: Kind,
        value: impl Into<String>,
    ) -> Self {
        let (help, problem, placeholder) = Default::default();
        Self { name: name.into(), label, help, value: value.into(), kind, problem, placeholder, wide: false }
    }

    pub(super) fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Lines that a field of several has, so that what it holds can be seen.
    pub(super) fn rows(&self) -> usize {
        let shown = if self.value.is_empty() { &self.placeholder } else { &self.value };
        let width = if self.wide { 110 } else { 52 };
        let lines = shown.lines().map(|line| 1 + line.chars().count() / width).sum::<usize>();
        let least = if self.name.starts_with("jwt") { 4 } else { 2 };
        lines.clamp(least, 14)
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(super) fn placeholder(mut self, text: impl Into<String>) -> Self {
        self.placeholder = text.into();
        self
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        let own = match self.kind {
            Kind::Line => "line",
            Kind::Area => "area",
            Kind::Secret => "secret",
            Kind::SecretArea => "secret-area",
            Kind::Number => "number",
            Kind::Tick => "tick",
            Kind::Choice(_) => "choice",
        };
        own == kind
    }

    pub(super) fn choices(&self) -> &[(String, String)] {
        if let Kind::Choice(choices) = &self.kind { choices } else { &[] }
    }
}

/// Puts what was sent, and each problem, beside its field; what belongs to none is returned.
pub(super) fn refill(
    inputs: &mut [&mut Vec<Input>],
    form: Option<&Form>,
    problems: Vec<Invalid>,
) -> Vec<String> {
    for input in inputs.iter_mut().flat_map(|inputs| inputs.iter_mut()) {
        if let Some(form) = form {
            match input.kind {
                // Whoever was wrong elsewhere need not be sent their secret back: they paste it again.
                Kind::Secret | Kind::SecretArea => {}
                Kind::Tick => input.value = form.get(&input.name).to_owned(),
                Kind::Line | Kind::Area | Kind::Number | Kind::Choice(_) => {
                    input.value = form.get(&input.name).to_owned();
                }
            }
        }
    }
    let mut others = Vec::new();
    for Invalid { field, problem } in problems {
        let mut all = inputs.iter_mut().flat_map(|inputs| inputs.iter_mut());
        let found = all.find_map(|input| Some((part(&input.name, &field)?, input)));
        let said = |part: Option<String>| match part {
            Some(part) => format!("({part}) {problem}"),
            None => problem.clone(),
        };
        match found {
            Some((part, input)) if input.problem.is_empty() => input.problem = said(part),
            Some((part, input)) => input.problem = format!("{}; {}", input.problem, said(part)),
            None if field.is_empty() => others.push(problem),
            None => others.push(format!("{field} {problem}")),
        }
    }
    others
}

/// What of an input a problem is about: all of it, a line of its list, a member; `None` where it is
/// about something else.
fn part(input: &str, field: &str) -> Option<Option<String>> {
    let rest = field.strip_prefix(input)?;
    if rest.is_empty() {
        return Some(None);
    }
    if let Some(member) = rest.strip_prefix('.') {
        return Some(Some(member.to_owned()));
    }
    let index: usize = rest.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    Some(Some(format!("line {}", index + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_beside_the_field_it_is_about() {
        let input = |name: &'static str| Input::new(name, "Label", Kind::Line, "");
        let mut inputs =
            vec![input("name"), input("hosts"), input("actions[0].headers"), input("actions[0].url")];
        let invalid = |field: &str| Invalid { field: field.into(), problem: "is wrong".into() };
        let fields = ["name", "hosts[1]", "hosts[2]", "actions[0].headers.a b", "names", "", "actions[0]"];
        let others = refill(&mut [&mut inputs], None, fields.map(invalid).into());
        let told: Vec<_> = inputs.iter().map(|input| input.problem.as_str()).collect();
        assert_eq!(told, ["is wrong", "(line 2) is wrong; (line 3) is wrong", "(a b) is wrong", ""]);
        assert_eq!(others, ["names is wrong", "is wrong", "actions[0] is wrong"]);
    }
}
