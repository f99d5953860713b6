//! What the built-in assistant answers. Pure: the same question under the same settings gets the
//! same answer, on every machine and every repeat.
//!
//! In this order: a wish for a person is granted, a known question answered, a greeting returned;
//! for anything else the customer is offered a person. While the customer waits for one
//! (`helping`), only known questions are answered.

mod human;
mod lexicon;
mod manners;
mod speech;
mod words;

use std::collections::HashSet;

use domain::{
    message::{Outgoing, split_text},
    session::{Answer, Ask, Brief},
    settings::FaqEntry,
};

use self::{
    human::Lexicon,
    speech::{Language, Speech},
    words::{clauses, words},
};

/// The longest answer, in characters. WhatsApp would take 4,096; nobody reads them.
pub const LONGEST_ANSWER: usize = 1024;

/// What a rep reads as the reason of the handoff.
pub const HANDOFF_REASON: &str = "the customer asked for a person";

/// Kinds of message without words that still say nothing to answer.
const NOT_SAID: [&str; 2] = ["sticker", "request_welcome"];
/// Kinds whose words are what the customer said.
const SAID: [&str; 1] = ["form"];

/// The rules under one version of the settings.
#[derive(Debug)]
pub struct Rules {
    lexicons: Vec<Lexicon>,
    speech: Vec<Speech>,
    faq: Vec<Known>,
    /// What the assistant says it can answer, in the operator's words.
    topics: String,
}

#[derive(Debug)]
struct Known {
    phrases: Vec<HashSet<String>>,
    answer: String,
}

impl Rules {
    pub fn new(faq: &[FaqEntry]) -> Self {
        Self {
            lexicons: lexicon::all(),
            speech: speech::all(),
            faq: faq
                .iter()
                .map(|entry| Known {
                    phrases: entry
                        .phrases
                        .iter()
                        .map(|phrase| words(phrase).into_iter().collect::<HashSet<_>>())
                        .filter(|words| !words.is_empty())
                        .collect(),
                    answer: bounded(&entry.answer),
                })
                .filter(|known| !known.answer.is_empty())
                .collect(),
            topics: topics(faq),
        }
    }

    /// The message asks for a person.
    pub(crate) fn asks_for_person(&self, text: &str) -> bool {
        let clauses = clauses(spoken(text).1);
        self.lexicons.iter().any(|lexicon| lexicon.asks_for_person(&clauses))
    }

    /// The message says nothing but hello, thanks, or that a person is wanted.
    pub(crate) fn is_courtesy(&self, text: &str) -> bool {
        let said = words(text);
        let polite = |speech: &Speech| speech.greets(&said) || speech.thanks(&said);
        said.is_empty() || self.speech.iter().any(polite) || self.asks_for_person(text)
    }

    pub(crate) fn is_frustrated(&self, text: &str) -> bool {
        let said = words(text);
        manners::ALL.iter().any(|manners| manners.is_frustrated(&said))
    }

    /// The customer's language as Salesforce writes it, where the text tells.
    pub(crate) fn language(&self, text: &str) -> Option<&'static str> {
        let text = spoken(text).1;
        Language::told_by(text, &words(text), &self.speech).map(Language::locale)
    }

    /// The first of these plain-language topics that the text has all the words of, or all of one of
    /// its alternatives ("legal threats, lawyers or courts").
    pub(crate) fn topic<'a>(&self, topics: &'a [String], text: &str) -> Option<&'a str> {
        let said: HashSet<String> = words(text).iter().map(|word| stem(word)).collect();
        let matches = |alternative: &str| {
            let wanted: Vec<String> =
                words(alternative).iter().filter(|word| !is_small(word)).map(|word| stem(word)).collect();
            !wanted.is_empty() && wanted.iter().all(|word| said.contains(word))
        };
        topics
            .iter()
            .find(|topic| topic.replace(" or ", ",").split([',', ';', '/']).any(matches))
            .map(String::as_str)
    }

    /// Refuses a person, kindly.
    pub(crate) fn declines(&self, text: &str) -> &'static str {
        self.manners(text).declines
    }

    /// Asks what it is about, before a person is called.
    pub(crate) fn what_about(&self, text: &str) -> &'static str {
        self.manners(text).what_about
    }

    /// That question, in whatever language.
    pub(crate) fn is_what_about(&self, said: &str) -> bool {
        manners::ALL.iter().any(|manners| manners.what_about == said)
    }

    /// This assistant's answer when it has none.
    pub(crate) fn is_fallback(&self, said: &str) -> bool {
        self.speech.iter().any(|speech| bounded(&speech.fallback(&self.topics)) == said)
    }

    fn manners(&self, text: &str) -> &'static manners::Manners {
        &manners::ALL[Language::of(text, &words(text), &self.speech).index()]
    }

    /// Where there is nobody to hand over to: no person is offered.
    pub(crate) fn answer_alone(&self, ask: &Ask) -> Answer {
        match self.answer(ask) {
            Answer::Handoff(_) => reply(self.declines(&ask.text)),
            Answer::Reply { body } if self.offers_person(&body.as_text()) => {
                reply(self.manners(&ask.text).does_not_know)
            }
            answer @ (Answer::Reply { .. } | Answer::Close { .. } | Answer::Silence) => answer,
        }
    }

    fn offers_person(&self, said: &str) -> bool {
        self.is_fallback(said) || self.speech.iter().any(|speech| speech.text_only == said)
    }

    pub fn answer(&self, ask: &Ask) -> Answer {
        let (kind, text) = spoken(&ask.text);
        let clauses = clauses(text);
        let said: Vec<String> = clauses.concat();
        if kind.is_some_and(|kind| NOT_SAID.contains(&kind)) || (kind.is_none() && text.trim().is_empty()) {
            return Answer::Silence;
        }
        // Already on the way to a person: asking again changes nothing.
        if !ask.helping && self.lexicons.iter().any(|lexicon| lexicon.asks_for_person(&clauses)) {
            return Answer::Handoff(Brief::because(HANDOFF_REASON));
        }
        if let Some(answer) = self.known(&said) {
            return reply(answer);
        }
        if ask.helping {
            return Answer::Silence;
        }
        let language = Language::of(text, &said, &self.speech);
        let speech = &self.speech[language.index()];
        if kind.is_some_and(|kind| !SAID.contains(&kind)) {
            return reply(speech.text_only);
        }
        // A greeting tells its language best: "hola" alone has no other word to go by.
        let all = || std::iter::once(speech).chain(&self.speech);
        if let Some(speech) = all().find(|speech| speech.greets(&said)) {
            let text = if ask.human_until.is_some() { speech.hello_again } else { speech.hello };
            return reply(text);
        }
        if let Some(speech) = all().find(|speech| speech.thanks(&said)) {
            return reply(speech.welcome);
        }
        reply(bounded(&speech.fallback(&self.topics)))
    }

    /// The entry whose matching phrase has the most words; among equals the first.
    fn known(&self, said: &[String]) -> Option<&str> {
        let said: HashSet<&String> = said.iter().collect();
        let mut best: Option<(usize, &str)> = None;
        for known in &self.faq {
            let matching =
                known.phrases.iter().filter(|phrase| phrase.iter().all(|word| said.contains(word)));
            if let Some(words) = matching.map(HashSet::len).max()
                && best.is_none_or(|(most, _)| words > most)
            {
                best = Some((words, &known.answer));
            }
        }
        best.map(|(_, answer)| answer)
    }
}

fn reply(text: impl Into<String>) -> Answer {
    Answer::Reply { body: Outgoing::Text(text.into()) }
}

/// Of several messages, those from the first on that have words.
fn spoken(text: &str) -> (Option<&str>, &str) {
    let mut rest = text;
    loop {
        let (kind, said) = placeholder(rest);
        match rest.split_once('\n') {
            // A sticker, and then words.
            Some((line, behind)) if kind.is_some() && placeholder(line).1.trim().is_empty() => rest = behind,
            Some(_) | None => return (kind, said),
        }
    }
}

/// Words that say nothing about a topic.
fn is_small(word: &str) -> bool {
    const SMALL: [&str; 24] = [
        "a",
        "an",
        "and",
        "the",
        "of",
        "to",
        "in",
        "on",
        "for",
        "with",
        "about",
        "any",
        "all",
        "is",
        "are",
        "be",
        "wants",
        "want",
        "customer",
        "asks",
        "says",
        "their",
        "questions",
        "mentions",
    ];
    SMALL.contains(&word)
}

/// Without an English ending: enough to meet in the plural.
fn stem(word: &str) -> String {
    let endings = ["ing", "ies", "es", "ed", "s", "y"];
    let cut =
        endings.iter().find_map(|ending| word.strip_suffix(ending).filter(|stem| stem.chars().count() >= 3));
    cut.unwrap_or(word).to_owned()
}

/// `[image] some words` taken apart: what is not text arrives like that (`Content::as_text`).
fn placeholder(text: &str) -> (Option<&str>, &str) {
    let apart = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).filter(|(kind, _)| {
        (1..=80).contains(&kind.len())
            && kind.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b' '))
    });
    match apart {
        Some((kind, words)) => (Some(kind), words.trim_start()),
        None => (None, text),
    }
}

/// The first phrase of the first few entries: enough to know what to ask.
fn topics(faq: &[FaqEntry]) -> String {
    let first: Vec<String> = faq
        .iter()
        .filter_map(|entry| {
            entry.phrases.iter().map(|phrase| phrase.trim()).find(|phrase| !phrase.is_empty())
        })
        .take(4)
        .map(|phrase| phrase.chars().take(40).collect())
        .collect();
    first.join(", ")
}

fn bounded(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= LONGEST_ANSWER {
        return text.to_owned();
    }
    let head = split_text(text, LONGEST_ANSWER - 1).into_iter().next().unwrap_or_default();
    format!("{head}…")
}

#[cfg(test)]
mod evaluation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wishes;
