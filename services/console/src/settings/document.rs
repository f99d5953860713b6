//! The document as it is kept: found, changed in place, compared.

use domain::settings::Invalid;
use serde_json::{Map, Value, json};

use super::Refused;
use crate::error::RouteError;

/// What elements of a list are told apart by.
const IDS: [(&str, &str); 2] = [("channels", "phone_number_id"), ("integrations", "id")];
/// Deeper changes are told as one.
const MOST_TOUCHED: usize = 12;

/// An element of a list, by its id.
pub(super) fn find<'a>(document: &'a Value, list: &str, id: &str) -> Option<&'a Value> {
    let key = key(list)?;
    document.get(list)?.as_array()?.iter().find(|element| element[key] == id)
}

pub(super) fn all<'a>(document: &'a Value, list: &str) -> &'a [Value] {
    document.get(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The element to be changed; with `new`, one is added, and there may be none yet.
pub(super) fn element<'a>(
    document: &'a mut Value,
    list: &str,
    id: &str,
    new: bool,
) -> Result<&'a mut Map<String, Value>, Refused> {
    let (Some(key), Some(members)) = (key(list), document.as_object_mut()) else {
        return Err(RouteError::Internal.into());
    };
    let Some(elements) = members.entry(list).or_insert_with(|| json!([])).as_array_mut() else {
        return Err(RouteError::Internal.into());
    };
    let at = elements.iter().position(|element| element[key] == id);
    let at = match (at, new) {
        (Some(at), false) => at,
        (None, true) => {
            elements.push(json!({ key: id }));
            elements.len() - 1
        }
        (Some(_), true) => {
            let problem = "is there already: open it instead".into();
            return Err(Refused::Invalid(vec![Invalid { field: key.into(), problem }]));
        }
        (None, false) => return Err(missing(list).into()),
    };
    elements.get_mut(at).and_then(Value::as_object_mut).ok_or_else(|| RouteError::Internal.into())
}

pub(super) fn remove(document: &mut Value, list: &str, id: &str) -> Result<(), Refused> {
    let key = key(list).ok_or(RouteError::Internal)?;
    let elements = document.get_mut(list).and_then(Value::as_array_mut).ok_or(missing(list))?;
    let before = elements.len();
    elements.retain(|element| element[key] != id);
    if elements.len() == before { Err(missing(list).into()) } else { Ok(()) }
}

pub(super) fn missing(list: &str) -> RouteError {
    if list == "channels" { RouteError::UnknownChannel } else { RouteError::UnknownIntegration }
}

fn key(list: &str) -> Option<&'static str> {
    IDS.iter().find(|(name, _)| *name == list).map(|(_, key)| *key)
}

/// A text, or nothing where there is none or where it stands elsewhere.
pub(super) fn text<'a>(element: &'a Value, name: &str) -> &'a str {
    element.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Where a value stands when it does not stand in the document, in words.
pub(super) fn reference(value: Option<&Value>) -> Option<String> {
    let mut members = value?.as_object()?.iter();
    let (Some((name, Value::String(place))), None) = (members.next(), members.next()) else { return None };
    match name.as_str() {
        "env" => Some(format!("the environment variable {place}")),
        "file" => Some(format!("the file {place}")),
        _ => None,
    }
}

/// Whether there is a reference anywhere in what was sent.
pub(super) fn refers(value: &Value) -> bool {
    reference(Some(value)).is_some()
        || match value {
            Value::Object(members) => members.values().any(refers),
            Value::Array(elements) => elements.iter().any(refers),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
}

/// Sets a text; an empty one is taken out, so that the default holds or its lack is told.
pub(super) fn set(element: &mut Map<String, Value>, name: &str, text: &str) {
    let text = text.trim();
    if text.is_empty() {
        element.remove(name);
    } else {
        element.insert(name.to_owned(), text.into());
    }
}

/// The paths that differ, never their values: `integrations[main].org_id`.
pub(super) fn touched(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    differ("", before, after, &mut found);
    if found.len() > MOST_TOUCHED {
        let more = found.len() - MOST_TOUCHED;
        found.truncate(MOST_TOUCHED);
        found.push(format!("and {more} more"));
    }
    found
}

fn differ(at: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    let list = |value: &Value| match value {
        Value::Array(elements) => Some(elements.clone()),
        Value::Null => Some(Vec::new()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    };
    // Keys of an integration are a list within.
    let known = if at.ends_with("].more_keys") { Some("auth_key_id") } else { key(at) };
    if let (Some(key), Some(before), Some(after)) = (known, list(before), list(after)) {
        let of = |elements: &[Value], id: &Value| elements.iter().find(|one| one[key] == *id).cloned();
        for old in &before {
            let path = format!("{at}[{}]", old[key].as_str().unwrap_or_default());
            match of(&after, &old[key]) {
                Some(new) => differ(&path, old, &new, found),
                None => found.push(format!("{path} removed")),
            }
        }
        let added = after.iter().filter(|new| of(&before, &new[key]).is_none());
        found.extend(added.map(|new| format!("{at}[{}] added", new[key].as_str().unwrap_or_default())));
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (before, after)
        && reference(Some(before)).is_none()
        && reference(Some(after)).is_none()
    {
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            differ(
                &path,
                old.get(name).unwrap_or(&Value::Null),
                new.get(name).unwrap_or(&Value::Null),
                found,
            );
        }
        return;
    }
    found.push(at.to_owned());
}

/// `integrations[0].org_id` is `org_id`, of whatever was changed; what is wrong elsewhere keeps its
/// path, with the element's id in it.
pub(super) fn named(found: Vec<Invalid>, document: &Value) -> Vec<Invalid> {
    let rename = |one: Invalid| {
        for (list, key) in IDS {
            let Some(rest) = one.field.strip_prefix(list).and_then(|rest| rest.strip_prefix('[')) else {
                continue;
            };
            let Some((index, rest)) = rest.split_once(']') else { continue };
            let index: usize = index.parse().unwrap_or(usize::MAX);
            let id = all(document, list).get(index).map_or("", |element| text(element, key));
            return Invalid { field: format!("{list}[{id}]{rest}"), problem: one.problem };
        }
        one
    };
    found.into_iter().map(rename).collect()
}

/// Of the element alone: its own fields without their path before them.
pub(super) fn within(found: Vec<Invalid>, list: &str, id: &str) -> Vec<Invalid> {
    let prefix = format!("{list}[{id}]");
    let rename = |one: Invalid| match one.field.strip_prefix(&prefix) {
        Some(rest) => Invalid { field: rest.trim_start_matches('.').to_owned(), problem: one.problem },
        None => one,
    };
    found.into_iter().map(rename).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_by_its_paths_and_never_by_values() {
        let before = json!({ "autopilot": true,
            "channels": [{ "phone_number_id": "1", "access_token": "old", "policy": { "quiet_seconds": 3 } },
                         { "phone_number_id": "2" }],
            "integrations": [{ "id": "main", "jwt_private_key": { "env": "A" } }] });
        let after = json!({ "autopilot": false,
            "channels": [{ "phone_number_id": "1", "access_token": "new", "policy": { "quiet_seconds": 4 } },
                         { "phone_number_id": "3" }],
            "integrations": [{ "id": "main", "jwt_private_key": "pem" }] });
        assert_eq!(
            touched(&before, &after),
            [
                "autopilot",
                "channels[1].access_token",
                "channels[1].policy.quiet_seconds",
                "channels[2] removed",
                "channels[3] added",
                "integrations[main].jwt_private_key"
            ]
        );
        assert!(touched(&after, &after).is_empty());
        let first = json!({ "integrations": [{ "id": "main" }] });
        assert_eq!(touched(&json!({}), &first), ["integrations[main] added"]);
        let keys = json!({ "integrations": [{ "id": "main", "more_keys": [{ "auth_key_id": "k2" }] }] });
        assert_eq!(touched(&first, &keys), ["integrations[main].more_keys[k2] added"]);
    }

    #[test]
    fn problems_are_named_after_the_element_and_then_within_it() {
        let document = json!({ "integrations": [{ "id": "main" }] });
        let invalid = |field: &str| Invalid { field: field.into(), problem: "p".into() };
        let found = named(vec![invalid("integrations[0].org_id"), invalid("channels[7]")], &document);
        let fields = |found: &[Invalid]| found.iter().map(|one| one.field.clone()).collect::<Vec<_>>();
        assert_eq!(fields(&found), ["integrations[main].org_id", "channels[]"]);
        assert_eq!(fields(&within(found, "integrations", "main")), ["org_id", "channels[]"]);
    }

    #[test]
    fn references_are_seen_wherever_they_stand() {
        assert!(refers(&json!({ "change": { "access_token": { "env": "A" } } })));
        assert!(refers(&json!({ "change": { "attributes": [{ "key": { "file": "/etc/passwd" } }] } })));
        assert!(!refers(&json!({ "change": { "name": "env", "texts": { "a": "b", "env": "c" } } })));
    }
}
