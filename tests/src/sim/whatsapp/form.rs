//! Reading a request strictly: what is missing gives 131008, what does not fit 131009, both with
//! the path of the parameter.

use serde_json::Value;

use super::errors::Refusal;

/// A part of a request and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Form<'a> {
    value: &'a Value,
    at: String,
}

impl<'a> Form<'a> {
    pub(super) fn new(value: &'a Value) -> Self {
        Self { value, at: String::new() }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// The parameter's path from the root.
    pub(super) fn path(&self, name: &str) -> String {
        match (self.at.as_str(), name) {
            ("", name) => name.to_owned(),
            (at, "") => at.to_owned(),
            (at, name) => format!("{at}.{name}"),
        }
    }

    /// What stands at a dotted path; null is absent.
    pub(super) fn get(&self, path: &str) -> Option<&'a Value> {
        let found = path.split('.').try_fold(self.value, |value, key| value.get(key));
        found.filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    pub(super) fn missing(&self, name: &str) -> Refusal {
        Refusal::missing(&self.path(name))
    }

    pub(super) fn invalid(&self, name: &str) -> Refusal {
        Refusal::invalid(&self.path(name))
    }

    /// An object that must be there.
    pub(super) fn object(&self, path: &str) -> Result<Self, Refusal> {
        match self.get(path) {
            Some(value) if value.is_object() => Ok(Self { value, at: self.path(path) }),
            Some(_) => Err(self.invalid(path)),
            None => Err(self.missing(path)),
        }
    }

    /// A list with so many members.
    pub(super) fn list(
        &self,
        path: &str,
        count: std::ops::RangeInclusive<usize>,
    ) -> Result<Vec<Self>, Refusal> {
        let list = match self.get(path) {
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.invalid(path)),
            None => return Err(self.missing(path)),
        };
        if !count.contains(&list.len()) {
            return Err(self.invalid(path));
        }
        let member = |(index, value)| Self { value, at: format!("{}[{index}]", self.path(path)) };
        Ok(list.iter().enumerate().map(member).collect())
    }

    /// A text of 1 to `max` characters.
    pub(super) fn text(&self, path: &str, max: usize) -> Result<&'a str, Refusal> {
        self.maybe(path, max)?.ok_or_else(|| self.missing(path))
    }

    /// The same, or nothing.
    pub(super) fn maybe(&self, path: &str, max: usize) -> Result<Option<&'a str>, Refusal> {
        match self.get(path) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && text.chars().count() <= max => Ok(Some(text)),
            Some(_) => Err(self.invalid(path)),
        }
    }

    /// One of the given words.
    pub(super) fn word(&self, path: &str, words: &[&str]) -> Result<&'a str, Refusal> {
        let word = self.text(path, 100)?;
        if words.contains(&word) { Ok(word) } else { Err(self.invalid(path)) }
    }

    /// A number, which may be written as a string.
    pub(super) fn number(&self, path: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, Refusal> {
        let number = match self.get(path) {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
            None => return Err(self.missing(path)),
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| self.invalid(path))
    }

    /// An http or https address.
    pub(super) fn link(&self, path: &str) -> Result<&'a str, Refusal> {
        let link = self.text(path, 2_000)?;
        let rest = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"));
        let good = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !link.contains(' '));
        if good { Ok(link) } else { Err(self.invalid(path)) }
    }
}
