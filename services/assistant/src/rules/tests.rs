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
        Answer::Reply { text } => text,
        Answer::Handoff { .. } => "handoff".into(),
        Answer::Silence => "silence".into(),
    }
}

#[track_caller]
fn wishes(language: &str, asking: &[&str], not_asking: &[&str]) {
    let rules = rules();
    let hands_off = |text: &&&str| matches!(rules.answer(&ask(text)), Answer::Handoff { .. });
    let missed: Vec<_> = asking.iter().filter(|text| !hands_off(text)).collect();
    let wrong: Vec<_> = not_asking.iter().filter(hands_off).collect();
    assert!(missed.is_empty() && wrong.is_empty(), "{language}: missed {missed:#?}, wrong {wrong:#?}");
}

#[test]
fn wishes_for_a_person_in_english() {
    wishes(
        "English",
        &[
            "human",
            "Human!!!",
            "HUMAN PLEASE",
            "agent",
            "a real person please",
            "Representative.",
            "customer service",
            "live agent",
            "speak to a human",
            "I want to speak to a human",
            "i wanna talk to someone",
            "Can I talk to a real person?",
            "Could you please connect me with an agent",
            "transfer me to a representative now",
            "I need a human",
            "I'd like to speak with somebody",
            "I would like an actual human being",
            "get me a human",
            "let me talk to your manager",
            "put me through to customer service",
            "Is there a human I can talk to?",
            "is there a real person there?",
            "can a human help me?",
            "No, I want a human",
            "no i want a human",
            "I don't want a bot, I want a person",
            "not a bot, a human",
            "no bots, human please",
            "I want to speak, please, to a human",
            "hi, I have a question about my bill. can I speak to someone?",
            "why can't I talk to a person",
            "Why don't you let me speak to a human?",
            "this is not working i need a human",
            "I need someone to talk to",
            "please escalate to a supervisor",
            "can someone call me",
            "i would rather speak to a human",
            "talk to agent",
            "human agent",
            "I want to chat with a live agent",
            "give me a real human not a robot",
            "operator!",
            "this bot is useless let me speak with somebody",
            "how do I speak to a person?",
            "can u get me a person pls",
            "I want to speak with an actual person about my refund",
            "hello? human?",
            "need human help",
            "please hand me over to a human",
            "I'd like to talk to one of your agents",
            "agent agent agent",
            "I need to speak to someone in billing",
        ],
        &[
            "I am a human",
            "I'm a human, not a robot",
            "are you human?",
            "Are you a human or a bot",
            "is this a real person?",
            "am I talking to a human?",
            "my agent at the travel agency already answered",
            "My travel agent said I can change it",
            "no human please",
            "no humans",
            "I don't want to speak to a human",
            "I do not really want to talk to a person",
            "I don't need an agent",
            "I don't think I need a human",
            "please don't connect me to an agent",
            "I spoke to an agent yesterday",
            "I already talked to a representative",
            "how much is it per person?",
            "I want to book a room for one person",
            "I need to talk to human resources",
            "I need the agent number",
            "the person at the door took my parcel",
            "I want to talk about my order",
            "someone stole my card",
            "where is my order?",
            "you talk like a human",
            "do you support human rights?",
            "I need help with my agent",
            "I want to become an agent",
            "",
            "do humans answer here?",
            "I want a refund",
            "Talk to you later",
            "can I get a receipt for the person who paid",
            "I need two agents licenses",
            "The agent told me to contact you",
            "my name is Human Patel",
            "Is it possible to reach you by phone",
            "I like people",
            "I was told to speak to your warehouse",
            "no thanks, I don't want to be transferred to an agent",
            "you are not a human",
        ],
    );
}

#[test]
fn wishes_for_a_person_in_spanish() {
    wishes(
        "Spanish",
        &[
            "humano",
            "Agente",
            "un agente por favor",
            "asesor",
            "persona real",
            "quiero hablar con una persona",
            "Quiero hablar con un humano",
            "¿Puedo hablar con alguien?",
            "necesito un agente",
            "Necesito hablar con un asesor urgente",
            "me puede comunicar con un representante",
            "comuníqueme con un operador",
            "pásame con un agente",
            "páseme con atención al cliente",
            "transfiéreme a un humano",
            "quisiera que me atienda una persona",
            "No, quiero hablar con una persona real",
            "no quiero hablar con un robot quiero un humano",
            "¿hay alguna persona disponible?",
            "prefiero hablar con un ser humano",
            "¿me puede atender una persona?",
            "quiero un humano",
            "deseo hablar con un ejecutivo por favor",
            "me gustaría hablar con alguien de soporte",
            "hablar con humano",
            "puedo hablar con un operador humano?",
            "que me atienda un humano",
            "necesito que me contacte un asesor",
            "agente humano",
        ],
        &[
            "soy humano",
            "¿eres humano?",
            "¿es usted una persona real?",
            "mi agente de viajes ya respondió",
            "no quiero hablar con un humano",
            "no necesito un agente",
            "sin agente por favor",
            "ningún humano por favor",
            "ya hablé con un agente",
            "necesito un agente inmobiliario",
            "quiero hablar con mi agente de seguros",
            "quiero una mesa para una persona",
            "quiero agregar una persona más",
            "¿cuánto cuesta por persona?",
            "quiero hablar de mi pedido",
            "alguien robó mi tarjeta",
            "la persona que me atendió fue amable",
            "no me pases con un agente",
            "necesito ayuda con mi factura",
            "el agente me dijo que sí",
            "quiero ser agente",
        ],
    );
}

#[test]
fn wishes_for_a_person_in_portuguese() {
    wishes(
        "Portuguese",
        &[
            "atendente",
            "Humano",
            "um atendente por favor",
            "quero falar com um atendente",
            "Quero falar com uma pessoa",
            "gostaria de falar com alguém",
            "posso falar com um humano?",
            "preciso de um atendente",
            "me passa para um atendente",
            "me transfere para um operador",
            "quero falar com uma pessoa de verdade",
            "falar com atendente",
            "atendimento humano",
            "não, quero falar com uma pessoa",
            "não quero falar com robô, quero um humano",
            "quero ser atendido por uma pessoa",
            "tem algum atendente disponível?",
            "chama um atendente",
            "quero atendimento humano",
            "queria falar com alguém do suporte",
            "me conecta com um humano",
            "falar com humano",
            "pode me transferir para um atendente?",
            "quero um atendente humano",
            "preciso falar com uma pessoa real",
        ],
        &[
            "sou humano",
            "você é humano?",
            "você é uma pessoa?",
            "meu agente de viagens já respondeu",
            "não quero falar com um humano",
            "não preciso de atendente",
            "sem humano por favor",
            "já falei com um atendente",
            "preciso de um agente imobiliário",
            "quero uma mesa para uma pessoa",
            "quanto custa por pessoa?",
            "quero falar sobre o meu pedido",
            "a pessoa que me atendeu foi gentil",
            "não me transfira para um atendente",
            "preciso de ajuda com a fatura",
            "o atendente disse que sim",
        ],
    );
}

#[test]
fn wishes_for_a_person_in_french() {
    wishes(
        "French",
        &[
            "humain",
            "conseiller",
            "un conseiller svp",
            "Agent",
            "je veux parler à un humain",
            "Je voudrais parler à une personne réelle",
            "j'aimerais parler à quelqu'un",
            "puis-je parler à un conseiller ?",
            "j'ai besoin d'un conseiller",
            "mettez-moi en relation avec un agent",
            "passez-moi un conseiller",
            "transférez-moi à un humain s'il vous plaît",
            "pouvez-vous me mettre en relation avec le service client",
            "je veux un humain",
            "non, je veux parler à une vraie personne",
            "pas un robot, un humain",
            "est-ce qu'il y a un conseiller disponible ?",
            "un conseiller peut m'aider ?",
            "je souhaite être mis en relation avec un conseiller",
            "parler à un humain",
            "je veux parler avec un agent",
            "un humain svp",
            "pouvez-vous me passer un conseiller",
            "je préfère parler à quelqu'un",
        ],
        &[
            "je suis un humain",
            "êtes-vous humain ?",
            "c'est une vraie personne ?",
            "mon agent de voyage a déjà répondu",
            "je ne veux pas parler à un humain",
            "je n'ai pas besoin d'un conseiller",
            "je ne veux parler à personne",
            "il n'y a personne",
            "personne ne répond",
            "sans humain s'il vous plaît",
            "j'ai déjà parlé à un conseiller",
            "j'ai besoin d'un agent immobilier",
            "une table pour une personne",
            "je veux parler de ma commande",
            "la personne qui m'a répondu était gentille",
            "ne me transférez pas à un conseiller",
            "le conseiller m'a dit oui",
            "je veux devenir agent",
        ],
    );
}

#[test]
fn wishes_for_a_person_in_german() {
    wishes(
        "German",
        &[
            "Mitarbeiter",
            "Mensch",
            "einen Mitarbeiter bitte",
            "Kundenservice",
            "Ich möchte mit einem Menschen sprechen",
            "ich will mit einem mitarbeiter reden",
            "Kann ich mit jemandem sprechen?",
            "Kann ich bitte einen Mitarbeiter sprechen?",
            "Verbinden Sie mich bitte mit einem Berater",
            "Ich brauche einen Menschen",
            "Ich hätte gern einen Ansprechpartner",
            "bitte an einen Mitarbeiter weiterleiten",
            "mit einem echten Menschen sprechen",
            "Nein, ich will einen Menschen",
            "kein Bot, ein Mensch bitte",
            "Gibt es einen Menschen, mit dem ich sprechen kann?",
            "Ich moechte mit einer Person reden",
            "Kann ein Mensch übernehmen?",
            "Geben Sie mir einen Mitarbeiter",
            "Mit Mitarbeiter sprechen",
            "ich will mit jemandem reden",
            "Ich möchte bitte mit einem echten Mitarbeiter chatten",
            "können Sie mich mit einem Menschen verbinden",
            "bitte einen Menschen",
            "ich brauche jemanden zum Reden",
            "Ich möchte einen Mitarbeiter sprechen",
            "Leiten Sie mich an einen Berater weiter",
        ],
        &[
            "Ich bin ein Mensch",
            "Bist du ein Mensch?",
            "Sind Sie ein echter Mensch?",
            "Mein Berater im Reisebüro hat schon geantwortet",
            "Mein Mitarbeiter möchte mit Ihnen sprechen",
            "Ich möchte nicht mit einem Menschen sprechen",
            "Ich will mit keinem Menschen sprechen",
            "Ich brauche keinen Mitarbeiter",
            "kein Mensch bitte",
            "bitte ohne Mitarbeiter",
            "Ich habe schon mit einem Mitarbeiter gesprochen",
            "Ich möchte für eine Person buchen",
            "Was kostet es pro Person?",
            "Ich möchte über meine Bestellung sprechen",
            "Der Mitarbeiter war sehr freundlich",
            "Der Berater hat mir gesagt, dass es geht",
            "verbinden Sie mich nicht mit einem Mitarbeiter",
            "Wie viele Mitarbeiter haben Sie?",
            "Ich bin Mitarbeiter bei Ihnen",
        ],
    );
}

#[test]
fn wishes_for_a_person_in_arabic() {
    wishes(
        "Arabic",
        &[
            "موظف",
            "إنسان",
            "خدمة العملاء",
            "موظف لو سمحت",
            "أريد التحدث مع إنسان",
            "أريد التحدث إلى موظف",
            "ممكن أتكلم مع موظف خدمة العملاء؟",
            "أريد موظف",
            "عايز أكلم حد",
            "حولني لموظف من فضلك",
            "أحتاج إلى شخص حقيقي",
            "هل يمكنني التحدث مع شخص حقيقي؟",
            "ابغى اتكلم مع موظف",
            "لا، أريد التحدث مع موظف",
            "بدي احكي مع انسان",
            "هل يوجد موظف متاح؟",
            "أبي أكلم موظف",
            "ممكن تحولني لموظف",
            "اريد ان اتحدث مع ممثل خدمة العملاء",
            "أفضل التحدث إلى شخص",
            "وصلني بموظف",
            "بشري",
        ],
        &[
            "أنا إنسان",
            "هل أنت إنسان؟",
            "لا أريد التحدث مع إنسان",
            "لا أحتاج إلى موظف",
            "بدون موظف من فضلك",
            "موظف البنك رد علي أمس",
            "وكيل السفر الخاص بي أجاب",
            "كم السعر للشخص الواحد؟",
            "أريد حجز غرفة لشخص",
            "أين طلبي؟",
            "الموظف قال لي نعم",
            "لا تحولني إلى موظف",
            "أنا موظف في الشركة",
            "متى يصل الطلب",
        ],
    );
}

#[test]
fn wishes_for_a_person_in_hindi() {
    wishes(
        "Hindi",
        &[
            "एजेंट",
            "इंसान",
            "कस्टमर केयर",
            "मुझे किसी इंसान से बात करनी है",
            "मैं एजेंट से बात करना चाहता हूँ",
            "किसी से बात कराओ",
            "एजेंट चाहिए",
            "मुझे एजेंट से जोड़ें",
            "कृपया मुझे किसी प्रतिनिधि से कनेक्ट करें",
            "कस्टमर केयर से बात कराइए",
            "इंसान से मेरी बात कराओ",
            "नहीं, मुझे इंसान चाहिए",
            "क्या मैं किसी इंसान से बात कर सकता हूँ?",
            "कोई इंसान है?",
            "mujhe insaan se baat karni hai",
            "agent se baat karao",
            "kisi se baat karni hai",
            "customer care se baat karni hai",
            "mujhe agent chahiye",
            "मुझे एजेंट से बात करनी है",
            "किसी असली इंसान से बात करवाइए",
            "क्या मैं एजेंट से बात कर सकती हूँ",
            "कृपया एजेंट",
            "किसी व्यक्ति से संपर्क कराएं",
            "mujhe kisi real person se baat karni hai",
            "human se baat karni hai",
            "agent chahiye",
        ],
        &[
            "मैं इंसान हूँ",
            "क्या आप इंसान हैं?",
            "मेरे एजेंट से बात हो गई",
            "मुझे इंसान से बात नहीं करनी",
            "मुझे एजेंट नहीं चाहिए",
            "बिना एजेंट के",
            "एजेंट से बात हो गई है",
            "एक व्यक्ति के लिए टिकट चाहिए",
            "मेरा ऑर्डर कहाँ है?",
            "main insaan hoon",
            "mujhe agent nahi chahiye",
            "agent se baat ho gayi",
            "mere agent se baat karni thi",
            "एजेंट ने मुझे बताया",
            "मुझे इंसान से बात नहीं करनी है",
            "मैं एजेंट हूँ",
            "kya aap insaan ho",
        ],
    );
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
        ("[reaction] 👍", "silence"),
        ("[sticker]", "silence"),
        ("[button] human", "handoff"),
        ("[interactive] where is my parcel", "I don't have an answer"),
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
