//! A JSON value that has not been looked into yet. Every question may be answered with "no".

use std::borrow::Cow;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer as _,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// A value as it stands in the body; absent and `null` are the same.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Node<'a>(#[serde(borrow)] Option<&'a RawValue>);

/// The elements of an array; none if it is no array.
#[derive(Debug, Default)]
pub(super) struct Items<'a>(Vec<Node<'a>>);

impl<'a> std::ops::Deref for Items<'a> {
    type Target = [Node<'a>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Elements)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Items<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            items.push(item);
        }
        Ok(Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Items<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Items::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Items<'de>, E> {
        Ok(Items::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Items<'de>, E> {
        Ok(Items::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Items<'de>, E> {
        Ok(Items::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Items<'de>, E> {
        Ok(Items::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Items<'de>, E> {
        Ok(Items::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Items<'de>, E> {
        Ok(Items::default())
    }
}

impl<'a> Node<'a> {
    pub(super) fn is_null(self) -> bool {
        self.0.is_none()
    }

    /// The JSON text.
    pub(super) fn source(self) -> &'a str {
        self.0.map_or("null", RawValue::get)
    }

    /// The JSON text as a part of `body`, which it must have been read from, without a copy.
    pub(super) fn bytes_in(self, body: &Bytes) -> Option<Bytes> {
        self.0.map(|raw| body.slice_ref(raw.get().as_bytes()))
    }

    /// As an object of this shape.
    pub(super) fn object<T: Deserialize<'a>>(self) -> Option<T> {
        // A struct may also be read from an array, by position: not what anybody means here.
        let raw = self.0.filter(|raw| raw.get().starts_with('{'))?;
        serde_json::from_str(raw.get()).ok()
    }

    /// The elements of an array; none if it is no array.
    pub(super) fn items(self) -> Vec<Node<'a>> {
        self.0.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// The elements of an array, or the value itself, so that it is not lost.
    pub(super) fn items_or_self(self) -> Vec<Node<'a>> {
        let raw = self.0.map_or("[]", RawValue::get);
        serde_json::from_str(raw).unwrap_or_else(|_| vec![self])
    }

    /// A string, or a number as it is written. Half a surrogate pair, which some phones send,
    /// becomes U+FFFD.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let raw = self.0?.get();
        match raw.as_bytes().first()? {
            b'"' => {
                let inside = &raw[1..raw.len() - 1];
                if !inside.contains('\\') {
                    return Some(Cow::Borrowed(inside));
                }
                serde_json::Deserializer::from_str(raw).deserialize_bytes(Lossy).ok().map(Cow::Owned)
            }
            b'0'..=b'9' | b'-' => Some(Cow::Borrowed(raw)),
            _ => None,
        }
    }

    /// A text that is not empty.
    pub(super) fn filled(self) -> Option<Cow<'a, str>> {
        self.text().filter(|text| !text.is_empty())
    }

    /// A whole number, written as a number or as a string.
    pub(super) fn integer(self) -> Option<i64> {
        let text = self.text()?;
        let text = text.trim();
        // `1795400000.0` is a whole number too.
        let whole = text.split_once('.').map_or(text, |(whole, zeros)| match zeros.trim_matches('0') {
            "" => whole,
            _ => text,
        });
        whole.parse().ok()
    }
}

/// `text` as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// serde_json gives a string's bytes without insisting on whole surrogate pairs.
struct Lossy;

impl Visitor<'_> for Lossy {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn texts_are_read_from_strings_and_numbers() {
        for (json, text) in [
            (r#""plain""#, Some("plain")),
            (r#""a\/\u00e4\n""#, Some("a/ä\n")),
            (r#""\ud83d\ude00""#, Some("😀")),
            ("1795400000", Some("1795400000")),
            ("null", None),
            ("true", None),
            ("[1]", None),
        ] {
            assert_eq!(node(json).text().as_deref(), text, "{json}");
        }
        let half = node(r#""cut \ud83d!""#).text().unwrap().into_owned();
        assert!(half.starts_with("cut \u{fffd}") && half.ends_with('!'), "{half:?}");
    }

    #[test]
    fn integers_are_read_from_strings_and_numbers() {
        for json in ["17", "\"17\"", "17.0", "\" 17 \""] {
            assert_eq!(node(json).integer(), Some(17), "{json}");
        }
        for json in ["\"\"", "1.5", "1e9", "{}", "99999999999999999999"] {
            assert_eq!(node(json).integer(), None, "{json}");
        }
    }
}
