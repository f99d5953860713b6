//! Checks an action's arguments against its JSON schema, as far as tools use it: `type`,
//! `properties`, `required`, `enum`, `items`, lengths and bounds. What the schema does not name is
//! refused unless `additionalProperties` is true: the model must not add anything.

use serde_json::{Map, Value};

/// No sensible tool nests deeper.
const DEEPEST: usize = 8;
/// All arguments together, as JSON.
const LARGEST: usize = 8_192;

/// # Errors
/// The place and what is wrong with it, for the model.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    if value.to_string().len() > LARGEST {
        return Err(format!("the arguments are larger than {LARGEST} bytes"));
    }
    at(schema, value, "arguments", DEEPEST)
}

fn at(schema: &Value, value: &Value, place: &str, depth: usize) -> Result<(), String> {
    if depth == 0 {
        return Err(format!("{place} is nested too deep"));
    }
    if let Some(wanted) = schema.get("type").and_then(Value::as_str)
        && !is(value, wanted)
    {
        return Err(format!("{place} is not of type {wanted}"));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        return Err(format!("{place} is none of {}", Value::from(allowed.clone())));
    }
    match value {
        Value::Object(members) => object(schema, members, place, depth),
        Value::Array(elements) => {
            bounded(schema, "minItems", "maxItems", elements.len(), place)?;
            if let Some(items) = schema.get("items") {
                for (i, element) in elements.iter().enumerate() {
                    at(items, element, &format!("{place}[{i}]"), depth - 1)?;
                }
            }
            Ok(())
        }
        Value::String(text) => bounded(schema, "minLength", "maxLength", text.chars().count(), place),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
            let low = limit("minimum").is_some_and(|least| number < least);
            let high = limit("maximum").is_some_and(|most| number > most);
            if low || high { Err(format!("{place} is out of bounds")) } else { Ok(()) }
        }
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn object(schema: &Value, members: &Map<String, Value>, place: &str, depth: usize) -> Result<(), String> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !members.contains_key(name) {
            return Err(format!("{place}.{name} is missing"));
        }
    }
    let open = schema.get("additionalProperties").and_then(Value::as_bool) == Some(true);
    for (name, member) in members {
        match schema.get("properties").and_then(|properties| properties.get(name)) {
            Some(schema) => at(schema, member, &format!("{place}.{name}"), depth - 1)?,
            None if open => {}
            None => return Err(format!("{place}.{name} is not known")),
        }
    }
    Ok(())
}

fn is(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

fn bounded(schema: &Value, least: &str, most: &str, length: usize, place: &str) -> Result<(), String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_u64);
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    if limit(least).is_some_and(|least| length < least) || limit(most).is_some_and(|most| length > most) {
        return Err(format!("{place} is too short or too long"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_fit_their_schema_or_are_refused() {
        let schema = json!({
            "type": "object",
            "properties": {
                "order": { "type": "string", "minLength": 1, "maxLength": 10 },
                "count": { "type": "integer", "minimum": 1, "maximum": 5 },
                "kind": { "enum": ["a", "b"] },
                "tags": { "type": "array", "maxItems": 2, "items": { "type": "string" } }
            },
            "required": ["order"]
        });
        for good in
            [json!({ "order": "7" }), json!({ "order": "7", "count": 5, "kind": "b", "tags": ["x", "y"] })]
        {
            check(&schema, &good).unwrap();
        }
        for bad in [
            json!({}),
            json!([]),
            json!({ "order": 7 }),
            json!({ "order": "" }),
            json!({ "order": "12345678901" }),
            json!({ "order": "7", "count": 6 }),
            json!({ "order": "7", "count": 1.5 }),
            json!({ "order": "7", "kind": "c" }),
            json!({ "order": "7", "tags": ["x", "y", "z"] }),
            json!({ "order": "7", "tags": [1] }),
            json!({ "order": "7", "admin": true }),
        ] {
            check(&schema, &bad).unwrap_err();
        }
        check(&json!({ "type": "object", "additionalProperties": true }), &json!({ "any": 1 })).unwrap();
        check(
            &json!({ "type": "object", "additionalProperties": true }),
            &json!({ "any": "x".repeat(9_000) }),
        )
        .unwrap_err();
    }
}
