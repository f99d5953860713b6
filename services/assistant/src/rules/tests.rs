use domain::{
    session::{Answer, Ask},
    settings::FaqEntry,
};
use proptest::prelude::*;

use super::*;

fn faq(phrases: &[&str], answer: &str) -> FaqEntry {
    FaqEntry { phrases: phrases.iter().map(|p| (*p).to_owned()).collect(), answer: answer.into() }
}

fn rules() -> Rules {
    Rules::new(&[
        faq(&["opening hours", "when open"], "We are open from 9 to 18."),
        faq(&["Öffnungszeiten"], "Wir haben von 9 bis 18 Uhr geöffnet."),
        faq(&["opening hours sunday"], "On Sundays we are closed."),
        faq(&["horario"], "Abrimos de 9 a 18."),
        faq(&["الدفع"], "يمكنك الدفع بالبطاقة."),
        faq(&["डिलीवरी"], "दो दिन में।"),
        faq(&["営業時間"], "9時から18時まで。"),
        faq(&["", " !"], "never"),
    ])
}

fn ask(text: &str) -> Ask {
    Ask { epoch: 0, text: text.into(), helping: false, human_until: None }
}

/// The answer in one word and its text.
fn say(rules: &Rules, ask: &Ask) -> String {
    match rules.answer(ask) {
        Answer::Reply { body } => body.as_text(),
        Answer::Handoff(_) => "handoff".into(),
        Answer::Close { .. } => "close".into(),
        Answer::Silence => "silence".into(),
    }
}

#[test]
fn known_questions_are_answered_whatever_their_case_accents_and_order() {
    let rules = rules();
    for (text, expected) in [
        ("What are your OPENING hours?", "We are open from 9 to 18."),
        ("hours of opening please", "We are open from 9 to 18."),
        ("When do you open?", "We are open from 9 to 18."),
        ("offnungszeiten?", "Wir haben von 9 bis 18 Uhr geöffnet."),
        ("O\u{308}FFNUNGSZEITEN", "Wir haben von 9 bis 18 Uhr geöffnet."),
        ("¿Cuál es el horario?", "Abrimos de 9 a 18."),
        ("كيف الدَّفع؟", "يمكنك الدفع بالبطاقة."),
        ("डिलीवरी कब होगी?", "दो दिन में।"),
        ("営業時間は？", "9時から18時まで。"),
        // The phrase with the most words wins.
        ("opening hours on Sunday?", "On Sundays we are closed."),
        ("[image] opening hours", "We are open from 9 to 18."),
    ] {
        assert_eq!(say(&rules, &ask(text)), expected, "{text}");
    }
    // A wish for a person comes first.
    assert_eq!(say(&rules, &ask("opening hours? or let me talk to a human")), "handoff");
    // Words, not letters.
    assert!(say(&rules, &ask("the reopening of the hours")).starts_with("I don't have an answer"));
}

#[test]
fn greetings_and_thanks_are_returned_in_their_language() {
    let rules = rules();
    for (text, begins) in [
        ("Hi", "Hello!"),
        ("hello there!", "Hello!"),
        ("hola, buenas tardes", "¡Hola!"),
        ("Bom dia", "Olá!"),
        ("olá", "Olá!"),
        ("Bonjour à tous", "Bonjour !"),
        ("Guten Tag", "Hallo!"),
        ("السلام عليكم", "مرحبًا!"),
        ("नमस्ते जी", "नमस्ते!"),
        ("thank you so much", "You're welcome!"),
        ("muchas gracias", "¡De nada!"),
        ("merci", "Je vous en prie"),
        ("धन्यवाद", "आपका स्वागत"),
    ] {
        assert!(say(&rules, &ask(text)).starts_with(begins), "{text}: {}", say(&rules, &ask(text)));
    }
    let back = Ask { human_until: Some(1), ..ask("hello") };
    assert!(say(&rules, &back).starts_with("Hello again!"));
    // A greeting with a question is a question.
    assert_eq!(say(&rules, &ask("hi, opening hours?")), "We are open from 9 to 18.");
}

#[test]
fn what_is_not_known_gets_the_offer_of_a_person_in_its_language() {
    let rules = rules();
    for (text, begins) in [
        ("asdf", "I don't have an answer"),
        ("👍", "I don't have an answer"),
        ("where is my parcel?", "I don't have an answer"),
        ("¿Dónde está mi paquete?", "No tengo respuesta"),
        ("Onde está o meu pacote?", "Não tenho resposta"),
        ("Où est mon colis ?", "Je n'ai pas"),
        ("Wo ist mein Paket?", "Darauf habe ich"),
        ("أين طردي؟", "ليست لدي"),
        ("मेरा पार्सल कहाँ है?", "इसका उत्तर"),
        // Urdu and Persian are not Arabic.
        ("میرا پارسل کہاں ہے؟", "I don't have an answer"),
    ] {
        let said = say(&rules, &ask(text));
        assert!(said.starts_with(begins), "{text}: {said}");
        assert!(said.contains("opening hours"), "{text}: {said}");
    }
    assert!(say(&Rules::new(&[]), &ask("asdf")).ends_with("Say “human” and I'll connect you with a person."));
}

/// The word that the assistant tells people to say must work.
#[test]
fn the_offered_word_is_understood() {
    for rules in [rules(), Rules::new(&[])] {
        for speech in &rules.speech {
            for text in [speech.fallback(&rules.topics), speech.text_only.to_owned()] {
                let word = text.split(['“', '”', '„', '«', '»']).nth(1).unwrap().trim();
                assert_eq!(say(&rules, &ask(word)), "handoff", "{word}");
            }
        }
    }
}

#[test]
fn while_the_customer_waits_only_known_questions_are_answered() {
    let rules = rules();
    for (text, expected) in [
        ("opening hours?", "We are open from 9 to 18."),
        ("hello?", "silence"),
        ("I want a human", "silence"),
        ("where is my parcel", "silence"),
        ("[image]", "silence"),
    ] {
        assert_eq!(say(&rules, &Ask { helping: true, ..ask(text) }), expected, "{text}");
    }
}

#[test]
fn what_is_no_text_is_told_so() {
    let rules = rules();
    for (text, begins) in [
        ("[image]", "I can only read text"),
        ("[audio]", "I can only read text"),
        ("[document] mi factura de la luz", "Por ahora solo puedo"),
        ("[image] I want to talk to a human", "handoff"),
        ("[sticker]", "silence"),
        ("[voice note]", "I can only read text"),
        ("[form] where is my parcel", "I don't have an answer"),
        ("  ", "silence"),
        ("[See attached] where is it", "I don't have an answer"),
    ] {
        let said = say(&rules, &ask(text));
        assert!(said.starts_with(begins), "{text}: {said}");
    }
}

proptest! {
    #[test]
    fn any_text_gets_a_bounded_answer_and_always_the_same(
        text in "(\\PC|[ \n'’.,]){0,200}",
        helping: bool,
        long in 0usize..3000,
    ) {
        let rules = Rules::new(&[faq(&["a"], &"x ".repeat(long)), faq(&["human b", "ü"], "y")]);
        let ask = Ask { epoch: 1, text, helping, human_until: None };
        let said = say(&rules, &ask);
        prop_assert!((1..=LONGEST_ANSWER).contains(&said.chars().count()));
        prop_assert_eq!(said, say(&rules, &ask));
    }
}

/// A phrase that is not folded as messages are is never found.
#[test]
fn every_phrase_is_written_as_messages_are_folded() {
    let frustrated = super::manners::ALL.iter().flat_map(|manners| manners.frustrated.split(','));
    let odd: Vec<&str> = frustrated
        .filter(|phrase| {
            super::words::words(phrase).join(" ") != phrase.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
    let odd: Vec<String> = super::lexicon::all()
        .iter()
        .flat_map(super::human::Lexicon::phrases)
        .filter(|phrase| super::words::words(phrase).join(" ") != **phrase)
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}
