//! What Baton itself says, by language: `texts.json` holds the translations that come along.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Value};

use super::{Policy, Texts};

/// Shared: a policy is cloned for every decision.
pub(super) type Translations = Arc<BTreeMap<String, Texts>>;

static BUILT_IN: LazyLock<BTreeMap<String, Map<String, Value>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("texts.json")).expect("texts.json is checked by a test")
});

impl Policy {
    /// In the customer's language (`de`, `pt_BR`) where there is a translation, else as the channel
    /// usually speaks.
    pub fn texts_in(&self, language: Option<&str>) -> &Texts {
        let Some(language) = language.map(primary) else { return &self.texts };
        if language == primary(&self.language) {
            return &self.texts;
        }
        self.translations.get(&language).unwrap_or(&self.texts)
    }
}

/// `pt_BR` is `pt`.
pub(crate) fn primary(language: &str) -> String {
    language.split(['_', '-']).next().unwrap_or_default().to_ascii_lowercase()
}

pub(super) fn built_in() -> Translations {
    merged(BTreeMap::new()).expect("texts.json is checked by a test")
}

/// The operator's translations, over those that come along, member by member.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Translations, D::Error> {
    let own = BTreeMap::<String, Map<String, Value>>::deserialize(d)?;
    merged(own).map_err(serde::de::Error::custom)
}

fn merged(own: BTreeMap<String, Map<String, Value>>) -> Result<Translations, serde_json::Error> {
    let mut all = BUILT_IN.clone();
    for (language, texts) in own {
        all.entry(primary(&language)).or_default().extend(texts);
    }
    let parse = |(language, texts): (String, Map<String, Value>)| {
        Ok((language, serde_json::from_value(texts.into())?))
    };
    all.into_iter().map(parse).collect::<Result<BTreeMap<_, _>, _>>().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_translation_says_everything() {
        let english = Texts::default();
        for (language, texts) in built_in().iter() {
            assert_eq!(BUILT_IN[language].len(), 11, "{language}");
            assert!(texts.queue_position.contains("{position}"), "{language}");
            for away in [&texts.after_hours_waiting, &texts.after_hours, &texts.after_hours_note] {
                assert_eq!(away.matches("{back}").count(), 1, "{language}");
            }
            assert_ne!(texts.nobody_goodbye, english.nobody_goodbye, "{language}");
        }
    }

    #[test]
    fn texts_are_the_operators_then_a_translation_then_the_channels() {
        let policy: Policy = serde_json::from_value(json!({
            "language": "en_GB",
            "texts": { "connecting": "One moment." },
            "translations": { "de_DE": { "connecting": "Moment." }, "it": { "connecting": "Un attimo." } },
        }))
        .unwrap();
        assert_eq!(policy.texts_in(None).connecting, "One moment.");
        assert_eq!(policy.texts_in(Some("en_US")).connecting, "One moment.");
        assert_eq!(policy.texts_in(Some("de")).connecting, "Moment.");
        assert_eq!(policy.texts_in(Some("it_IT")).connecting, "Un attimo.");
        assert!(policy.texts_in(Some("pt_BR")).connecting.starts_with("Estou"));
        assert!(policy.texts_in(Some("de")).chat_ended.starts_with("Der Chat"));
        assert_eq!(policy.texts_in(Some("ja")).connecting, "One moment.");
        assert!(serde_json::from_value::<Policy>(json!({ "translations": { "de": { "x": "y" } } })).is_err());
    }
}
