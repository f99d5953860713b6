//! How well the rules understand people: labelled messages that the lexicon was not written from.
//! `cargo test -p assistant evaluation -- --nocapture` prints the figures.

use std::{collections::BTreeMap, fmt};

use super::Rules;

const MESSAGES: &str = include_str!("../../testdata/evaluation.tsv");
/// One plain-language line each, as an operator writes them.
const TOPICS: [&str; 2] = [
    "cancel contract, cancelar contrato, résilier contrat, Vertrag kündigen, disdire contratto, إلغاء العقد, अनुबंध रद्द",
    "refund, reembolso, remboursement, Erstattung, rimborso, استرداد, रिफंड",
];
const LABELS: [&str; 3] = ["human", "frustrated", "topic"];

#[derive(Default, Clone, Copy)]
struct Score {
    found: u32,
    missed: u32,
    wrong: u32,
}

impl Score {
    fn precision(self) -> f64 {
        share(self.found, self.found + self.wrong)
    }

    fn recall(self) -> f64 {
        share(self.found, self.found + self.missed)
    }
}

fn share(part: u32, of: u32) -> f64 {
    if of == 0 { 1.0 } else { f64::from(part) / f64::from(of) }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "precision {:.2}  recall {:.2}", self.precision(), self.recall())
    }
}

struct Message {
    language: &'static str,
    label: &'static str,
    text: &'static str,
}

fn messages() -> Vec<Message> {
    let lines = MESSAGES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.splitn(3, '\t');
            let [language, label, text] = [(); 3].map(|()| fields.next().unwrap());
            assert!(label == "none" || LABELS.contains(&label), "{label}");
            Message { language, label, text }
        })
        .collect()
}

#[test]
fn the_rules_understand_people_in_eight_languages() {
    let rules = Rules::new(&[]);
    let topics = TOPICS.map(str::to_owned);
    let messages = messages();
    assert!(messages.len() >= 150, "{}", messages.len());
    let mut scores: BTreeMap<(&str, &str), Score> = BTreeMap::new();
    for Message { language, label, text } in messages {
        let heard =
            [rules.asks_for_person(text), rules.is_frustrated(text), rules.topic(&topics, text).is_some()];
        for (name, heard) in LABELS.into_iter().zip(heard) {
            let score = scores.entry((name, language)).or_default();
            match (name == label, heard) {
                (true, true) => score.found += 1,
                (true, false) => score.missed += 1,
                (false, true) => score.wrong += 1,
                (false, false) => {}
            }
            if (name == label) != heard {
                let how = if heard { "wrong" } else { "missed" };
                println!("{how:<7} {name:<11} {language:<8} {text}");
            }
        }
    }
    for ((label, language), score) in &scores {
        println!("{label:<11} {language:<8} {score}");
    }
    for ((label, language), score) in scores {
        if label == "human" {
            assert!(score.precision() >= 0.95 && score.recall() >= 0.9, "{language}: {score}");
        }
    }
}
