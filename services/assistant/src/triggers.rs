//! Whether a message goes to people before anything is thought about an answer. Pure.

use domain::{
    session::{Ask, Brief},
    settings::{HandoffRules, Level},
};

use crate::{
    history::{History, Who, clip},
    rules::{HANDOFF_REASON, Rules},
};

/// Customer's messages in a session before the level AI first lets the rules hand over.
const STATEMENTS: usize = 3;
/// Of a summary by rules: so many messages, so many characters of each.
const SUMMARY_MESSAGES: usize = 3;
const SUMMARY_CHARACTERS: usize = 150;

pub(crate) const FRUSTRATED: &str = "the customer is frustrated";
pub(crate) const NO_PROGRESS: &str = "the assistant could not help";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing speaks against an answer.
    Answer,
    /// People take over, for this reason.
    HandOver(String),
    /// Only this is said.
    Say(&'static str),
}

/// Whether [`verdict`] needs to know what was said before.
pub(crate) fn needs_history(handoff: &HandoffRules) -> bool {
    match handoff.level {
        Level::Balanced | Level::AiFirst => true,
        Level::AiOnly | Level::Quick => handoff.no_progress == Some(true),
    }
}

/// `by_model`: a model answers, and can talk about the wish for a person itself.
pub(crate) fn verdict(
    rules: &Rules,
    handoff: &HandoffRules,
    ask: &Ask,
    history: &History,
    by_model: bool,
) -> Verdict {
    // Already on the way to a person.
    if ask.helping {
        return Verdict::Answer;
    }
    if let Some(topic) = rules.topic(&handoff.topics, &ask.text) {
        return Verdict::HandOver(topic_reason(topic));
    }
    if rules.asks_for_person(&ask.text) {
        let told =
            || history.present().any(|turn| turn.who == Who::Customer && !rules.is_courtesy(&turn.text));
        let asked = || history.last_said().is_some_and(|said| rules.is_what_about(said));
        return match handoff.level {
            Level::AiOnly if by_model => Verdict::Answer,
            Level::AiOnly => Verdict::Say(rules.declines(&ask.text)),
            Level::Quick | Level::Balanced | Level::AiFirst if !handoff.on_request() => {
                if by_model {
                    Verdict::Answer
                } else {
                    Verdict::Say(rules.declines(&ask.text))
                }
            }
            Level::Quick => Verdict::HandOver(HANDOFF_REASON.into()),
            Level::Balanced if told() || asked() => Verdict::HandOver(HANDOFF_REASON.into()),
            Level::Balanced => Verdict::Say(rules.what_about(&ask.text)),
            Level::AiFirst if told() && history.customer_turns() >= STATEMENTS => {
                Verdict::HandOver(HANDOFF_REASON.into())
            }
            Level::AiFirst if by_model => Verdict::Answer,
            Level::AiFirst => Verdict::Say(rules.declines(&ask.text)),
        };
    }
    // They asked for a person, were asked what it is about, and have answered.
    if handoff.level == Level::Balanced
        && handoff.on_request()
        && history.last_said().is_some_and(|said| rules.is_what_about(said))
    {
        return Verdict::HandOver(HANDOFF_REASON.into());
    }
    if handoff.on_frustration() && rules.is_frustrated(&ask.text) {
        return Verdict::HandOver(FRUSTRATED.into());
    }
    Verdict::Answer
}

/// The rules had no answer twice in a row, where the settings say that this is enough.
pub(crate) fn no_progress(rules: &Rules, handoff: &HandoffRules, history: &History, said: &str) -> bool {
    let wanted = handoff.on_no_progress() && handoff.no_progress == Some(true);
    wanted && rules.is_fallback(said) && history.last_said().is_some_and(|before| rules.is_fallback(before))
}

pub(crate) fn topic_reason(topic: &str) -> String {
    format!("mandatory topic: {topic}")
}

/// What a rep should know, by simple rules.
pub(crate) fn brief(rules: &Rules, reason: &str, ask: &Ask, history: &History) -> Brief {
    let mut words: Vec<String> = history
        .present()
        .rev()
        // What came before was for the rep who answered it.
        .take_while(|turn| turn.who != Who::Person)
        .filter(|turn| turn.who == Who::Customer && !rules.is_courtesy(&turn.text))
        .take(SUMMARY_MESSAGES)
        .map(|turn| clip(&turn.text, SUMMARY_CHARACTERS))
        .collect();
    words.reverse();
    Brief {
        reason: reason.to_owned(),
        summary: (!words.is_empty()).then(|| format!("The customer wrote: {}", words.join(" · "))),
        language: rules.language(&ask.text).map(str::to_owned),
        priority: None,
        sentiment: rules.is_frustrated(&ask.text).then(|| "frustrated".to_owned()),
        campaign: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::history::Turn;

    fn history(turns: &[(Who, &str)]) -> History {
        let turn =
            |(who, text): &(Who, &str)| Turn { who: *who, text: (*text).into(), present: true, voice: None };
        History { turns: turns.iter().map(turn).collect() }
    }

    fn judge(handoff: Value, text: &str, before: &[(Who, &str)]) -> Verdict {
        let mut turns = before.to_vec();
        turns.push((Who::Customer, text));
        let ask = Ask { epoch: 0, text: text.into(), helping: false, human_until: None };
        let handoff = serde_json::from_value(handoff).unwrap();
        verdict(&Rules::new(&[]), &handoff, &ask, &history(&turns), false)
    }

    const WISH: &str = "I want to talk to a human";

    #[test]
    fn each_level_treats_a_request_its_own_way() {
        let rules = Rules::new(&[]);
        let over = Verdict::HandOver(HANDOFF_REASON.into());
        let told = [(Who::Customer, "my parcel is lost")];
        assert_eq!(judge(json!({}), WISH, &[]), over);
        assert_eq!(judge(json!({ "level": "ai-only" }), WISH, &told), Verdict::Say(rules.declines(WISH)));
        assert_eq!(judge(json!({ "request": false }), WISH, &told), Verdict::Say(rules.declines(WISH)));

        let balanced = || json!({ "level": "balanced" });
        assert_eq!(judge(balanced(), WISH, &[]), Verdict::Say(rules.what_about(WISH)));
        assert_eq!(judge(balanced(), WISH, &told), over);
        let asked = [(Who::Customer, WISH), (Who::Assistant, rules.what_about(WISH))];
        assert_eq!(judge(balanced(), "a refund", &asked), over);
        assert_eq!(judge(balanced(), WISH, &asked), over);

        let first = || json!({ "level": "ai-first" });
        assert_eq!(judge(first(), WISH, &told), Verdict::Say(rules.declines(WISH)));
        let more = [(Who::Customer, "my parcel is lost"), (Who::Customer, "number 7")];
        assert_eq!(judge(first(), WISH, &more), over);
    }

    #[test]
    fn frustration_hands_over_unless_switched_off() {
        for text in [
            "This is ridiculous, nothing works",
            "I'm so frustrated right now",
            "estoy harta de esperar",
            "Isso é um absurdo!",
            "J'en ai marre",
            "Das ist eine Frechheit",
            "هذا غير مقبول",
            "यह समय की बर्बादी है",
        ] {
            assert_eq!(judge(json!({}), text, &[]), Verdict::HandOver(FRUSTRATED.into()), "{text}");
            assert_eq!(judge(json!({ "frustration": false }), text, &[]), Verdict::Answer, "{text}");
            assert_eq!(judge(json!({ "level": "ai-first" }), text, &[]), Verdict::Answer, "{text}");
        }
        for text in
            ["this is not ridiculous", "what are your opening hours?", "my order is late", "¿dónde está?"]
        {
            assert_eq!(judge(json!({}), text, &[]), Verdict::Answer, "{text}");
        }
    }

    #[test]
    fn mandatory_topics_come_first_at_every_level_that_hands_over() {
        let topics = json!(["Legal threats, lawyers or courts", "cancel contract"]);
        for level in ["quick", "balanced", "ai-first"] {
            let rules = || json!({ "level": level, "topics": topics });
            for text in
                ["you will hear from my lawyer", "see you in court", "I threaten legal steps: a legal threat"]
            {
                let reason = "mandatory topic: Legal threats, lawyers or courts";
                assert_eq!(judge(rules(), text, &[]), Verdict::HandOver(reason.into()), "{text}");
            }
            let reason = "mandatory topic: cancel contract";
            assert_eq!(judge(rules(), "How do I cancel my contract?", &[]), Verdict::HandOver(reason.into()));
            assert_eq!(judge(rules(), "cancel my order", &[]), Verdict::Answer);
        }
    }

    #[test]
    fn whoever_waits_for_a_person_already_is_only_helped() {
        let ask = Ask { epoch: 0, text: WISH.into(), helping: true, human_until: None };
        let handoff = HandoffRules { topics: vec!["human".into()], ..HandoffRules::default() };
        let found = verdict(&Rules::new(&[]), &handoff, &ask, &History::default(), false);
        assert_eq!(found, Verdict::Answer);
    }

    #[test]
    fn two_fallbacks_in_a_row_are_no_progress_where_that_counts() {
        let rules = Rules::new(&[]);
        let ask = Ask { epoch: 0, text: "does it blend".into(), helping: false, human_until: None };
        let domain::session::Answer::Reply { body } = rules.answer(&ask) else { panic!() };
        let said = body.as_text();
        let before = history(&[(Who::Customer, "x"), (Who::Assistant, &said), (Who::Customer, "y")]);
        let wanted = HandoffRules { no_progress: Some(true), ..HandoffRules::default() };
        assert!(no_progress(&rules, &wanted, &before, &said));
        assert!(!no_progress(&rules, &HandoffRules::default(), &before, &said));
        assert!(!no_progress(&rules, &wanted, &History::default(), &said));
        assert!(!no_progress(&rules, &wanted, &before, "an answer"));
    }

    #[test]
    fn a_brief_tells_what_was_said_and_how() {
        let rules = Rules::new(&[]);
        let ask = Ask {
            epoch: 0,
            text: "estoy harto, quiero una persona".into(),
            helping: false,
            human_until: None,
        };
        let before = history(&[
            (Who::Customer, "where is my invoice"),
            (Who::Person, "[Marta] here it is"),
            (Who::Customer, "hola"),
            (Who::Assistant, "¡Hola!"),
            (Who::Customer, "mi pedido no llega"),
        ]);
        let brief = brief(&rules, FRUSTRATED, &ask, &before);
        assert_eq!(brief.summary.as_deref(), Some("The customer wrote: mi pedido no llega"));
        assert_eq!((brief.language.as_deref(), brief.sentiment.as_deref()), (Some("es"), Some("frustrated")));
    }
}
