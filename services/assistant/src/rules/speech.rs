//! What the assistant says, and the words that tell a language.

use super::human::Phrases;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Spanish,
    Portuguese,
    French,
    German,
    Arabic,
    Hindi,
    Italian,
}

impl Language {
    pub(super) const ALL: [Self; 8] = [
        Self::English,
        Self::Spanish,
        Self::Portuguese,
        Self::French,
        Self::German,
        Self::Arabic,
        Self::Hindi,
        Self::Italian,
    ];

    /// Its place in [`all`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Tells it apart from English by default only where the text speaks for it.
    pub(super) fn told_by(text: &str, words: &[String], speech: &[Speech]) -> Option<Self> {
        let found = Self::of(text, words, speech);
        let speech = &speech[found.index()];
        let known = |phrases: &Phrases| (0..words.len()).any(|at| phrases.at_start(&words[at..]) > 0);
        let script = matches!(found, Self::Arabic | Self::Hindi);
        (script || known(&speech.common) || known(&speech.greetings) || known(&speech.gratitude))
            .then_some(found)
    }

    /// As Salesforce writes it.
    pub(super) const fn locale(self) -> &'static str {
        match self {
            Self::English => "en_US",
            Self::Spanish => "es",
            Self::Portuguese => "pt_BR",
            Self::French => "fr",
            Self::German => "de",
            Self::Arabic => "ar",
            Self::Hindi => "hi",
            Self::Italian => "it",
        }
    }

    /// By script, then by the commonest words; English when nothing speaks for another.
    pub(super) fn of(text: &str, words: &[String], speech: &[Speech]) -> Self {
        let letters =
            |range: std::ops::RangeInclusive<char>| text.chars().filter(|c| range.contains(c)).count();
        let arabic = letters('\u{600}'..='\u{6ff}');
        let devanagari = letters('\u{900}'..='\u{97f}');
        let latin = text.chars().filter(|c| c.is_alphabetic() && *c < '\u{250}').count();
        if devanagari > latin.max(arabic) {
            return Self::Hindi;
        }
        if arabic > latin {
            // Persian and Urdu share the script, not the language.
            let other =
                text.chars().any(|c| matches!(c, 'پ' | 'چ' | 'ژ' | 'گ' | 'ک' | 'ی' | 'ٹ' | 'ڈ' | 'ے' | 'ں'));
            return if other { Self::English } else { Self::Arabic };
        }
        let mut best = (0, Self::English);
        for language in Self::ALL {
            let common = &speech[language.index()].common;
            let count = words.iter().filter(|word| common.at_start(std::slice::from_ref(*word)) > 0).count();
            if count > best.0 {
                best = (count, language);
            }
        }
        best.1
    }
}

/// One language.
#[derive(Debug)]
pub(super) struct Speech {
    common: Phrases,
    greetings: Phrases,
    gratitude: Phrases,
    /// Said along with a greeting or thanks, and nothing by itself.
    chatter: Phrases,
    pub hello: &'static str,
    /// After people gave the conversation back.
    pub hello_again: &'static str,
    pub welcome: &'static str,
    pub text_only: &'static str,
    /// `{topics}` stands for what the operator's questions are about.
    knows: &'static str,
    knows_nothing: &'static str,
}

impl Speech {
    /// Nothing but a greeting.
    pub(super) fn greets(&self, words: &[String]) -> bool {
        is_only(words, &self.greetings, &self.chatter)
    }

    /// Nothing but thanks.
    pub(super) fn thanks(&self, words: &[String]) -> bool {
        is_only(words, &self.gratitude, &self.chatter)
    }

    pub(super) fn fallback(&self, topics: &str) -> String {
        if topics.is_empty() { self.knows_nothing.to_owned() } else { self.knows.replace("{topics}", topics) }
    }
}

/// At least one of `wanted`, and besides only `allowed`.
fn is_only(words: &[String], wanted: &Phrases, allowed: &Phrases) -> bool {
    let (mut at, mut found) = (0, false);
    while at < words.len() {
        let (want, allow) = (wanted.at_start(&words[at..]), allowed.at_start(&words[at..]));
        if want == 0 && allow == 0 {
            return false;
        }
        found |= want >= allow;
        at += want.max(allow);
    }
    found
}

/// In the order of [`Language::ALL`].
pub(super) fn all() -> Vec<Speech> {
    vec![
        Speech {
            common: Phrases::of(
                "the, is, are, you, what, how, my, i, do, and, of, for, can, have, it, this, that, when, where, \
                 your, not, with, please, im",
            ),
            greetings: Phrases::of(
                "hi, hello, hey, hiya, good morning, good afternoon, good evening, good day, greetings, howdy",
            ),
            gratitude: Phrases::of("thanks, thank you, thx, ty, cheers, many thanks, thanks a lot"),
            chatter: Phrases::of(
                "there, all, everyone, team, so, much, very, you, again, ok, okay, great, perfect, bye",
            ),
            hello: "Hello! I'm the assistant. How can I help?",
            hello_again: "Hello again! I'm the assistant. Is there anything else?",
            welcome: "You're welcome! Write any time.",
            text_only: "I can only read text for now. Please describe it in words, or say “human” and I'll connect you with a person.",
            knows: "I don't have an answer to that. I can answer questions about: {topics}. Or say “human” and I'll connect you with a person.",
            knows_nothing: "I don't have an answer to that. Say “human” and I'll connect you with a person.",
        },
        Speech {
            common: Phrases::of(
                "el, la, los, que, es, de, mi, como, cual, donde, cuando, para, por, tengo, una, un, quiero, en, \
                 con, esta, puedo, necesito, hola, se, no, mas, su",
            ),
            greetings: Phrases::of(
                "hola, buenas, buenos dias, buen dia, buenas tardes, buenas noches, saludos, que tal",
            ),
            gratitude: Phrases::of("gracias, muchas gracias, mil gracias, muy amable"),
            chatter: Phrases::of("a todos, todos, muy, buenas, que tal, ok, perfecto, listo, adios, hola"),
            hello: "¡Hola! Soy el asistente. ¿En qué puedo ayudarte?",
            hello_again: "¡Hola de nuevo! Soy el asistente. ¿Hay algo más?",
            welcome: "¡De nada! Escribe cuando quieras.",
            text_only: "Por ahora solo puedo leer texto. Descríbelo con palabras, o escribe “agente” y te comunico con una persona.",
            knows: "No tengo respuesta para eso. Puedo responder preguntas sobre: {topics}. O escribe “agente” y te comunico con una persona.",
            knows_nothing: "No tengo respuesta para eso. Escribe “agente” y te comunico con una persona.",
        },
        Speech {
            common: Phrases::of(
                "o, os, que, de, meu, minha, como, qual, onde, quando, para, por, tenho, uma, um, quero, em, com, \
                 esta, posso, preciso, voces, voce, nao, oi, ola, na, do, da, mais, eu, pra, ao",
            ),
            greetings: Phrases::of("oi, ola, bom dia, boa tarde, boa noite, e ai, opa, tudo bem, oie"),
            gratitude: Phrases::of(
                "obrigado, obrigada, muito obrigado, muito obrigada, valeu, brigado, brigada",
            ),
            chatter: Phrases::of("tudo bem, a todos, pessoal, muito, ok, perfeito, certo, tchau, oi, ola"),
            hello: "Olá! Sou o assistente. Como posso ajudar?",
            hello_again: "Olá de novo! Sou o assistente. Posso ajudar em algo mais?",
            welcome: "De nada! Escreva quando quiser.",
            text_only: "Por enquanto só consigo ler texto. Descreva em palavras, ou escreva “atendente” e eu chamo uma pessoa.",
            knows: "Não tenho resposta para isso. Posso responder perguntas sobre: {topics}. Ou escreva “atendente” e eu chamo uma pessoa.",
            knows_nothing: "Não tenho resposta para isso. Escreva “atendente” e eu chamo uma pessoa.",
        },
        Speech {
            common: Phrases::of(
                "le, la, les, est, que, de, je, vous, mon, ma, comment, quel, quelle, ou, quand, pour, une, un, \
                 avec, et, dans, j, c, ne, pas, mes, des, du, au, votre, bonjour",
            ),
            greetings: Phrases::of("bonjour, bonsoir, salut, coucou, bonne journee"),
            gratitude: Phrases::of("merci, merci beaucoup, merci bien, je vous remercie"),
            chatter: Phrases::of(
                "a tous, a vous, beaucoup, tout le monde, ok, parfait, d accord, au revoir, bonne journee",
            ),
            hello: "Bonjour ! Je suis l'assistant. Comment puis-je vous aider ?",
            hello_again: "Rebonjour ! Je suis l'assistant. Puis-je encore vous aider ?",
            welcome: "Je vous en prie ! Écrivez-nous quand vous voulez.",
            text_only: "Pour l'instant, je ne lis que le texte. Décrivez-le avec des mots, ou écrivez « conseiller » et je vous mets en relation avec une personne.",
            knows: "Je n'ai pas de réponse à cela. Je peux répondre sur : {topics}. Ou écrivez « conseiller » et je vous mets en relation avec une personne.",
            knows_nothing: "Je n'ai pas de réponse à cela. Écrivez « conseiller » et je vous mets en relation avec une personne.",
        },
        Speech {
            common: Phrases::of(
                "der, die, das, ist, sie, ich, wie, wo, wann, was, mein, meine, und, fur, ein, eine, mit, kann, \
                 habe, nicht, zu, auf, bitte, es, sind, ihre, haben, den, im, wir, hallo",
            ),
            greetings: Phrases::of(
                "hallo, guten tag, guten morgen, guten abend, moin, servus, gruss gott, grussgott, grusse, gruezi, hallochen",
            ),
            gratitude: Phrases::of("danke, danke schon, dankeschon, vielen dank, besten dank, danke sehr"),
            chatter: Phrases::of("zusammen, alle, ihr, ok, okay, super, prima, sehr, tschuss"),
            hello: "Hallo! Ich bin der Assistent. Wie kann ich helfen?",
            hello_again: "Hallo noch einmal! Ich bin der Assistent. Kann ich sonst noch helfen?",
            welcome: "Gern geschehen! Schreiben Sie jederzeit.",
            text_only: "Ich kann bisher nur Text lesen. Beschreiben Sie es bitte mit Worten, oder schreiben Sie „Mitarbeiter“, dann verbinde ich Sie mit einem Menschen.",
            knows: "Darauf habe ich keine Antwort. Ich kann Fragen beantworten zu: {topics}. Oder schreiben Sie „Mitarbeiter“, dann verbinde ich Sie mit einem Menschen.",
            knows_nothing: "Darauf habe ich keine Antwort. Schreiben Sie „Mitarbeiter“, dann verbinde ich Sie mit einem Menschen.",
        },
        Speech {
            common: Phrases::of(""),
            greetings: Phrases::of(
                "مرحبا, السلام عليكم, سلام عليكم, سلام, اهلا, اهلين, هلا, هاي, صباح الخير, مساء الخير, اهلا وسهلا, \
                 السلام عليكم ورحمه الله وبركاته",
            ),
            gratitude: Phrases::of("شكرا, شكرا جزيلا, شكرا لك, شكرا لكم, مشكور, مشكورين, تسلم, متشكر"),
            chatter: Phrases::of("بكم, بك, جزيلا, كثيرا, يا, ورحمه الله, ورحمه الله وبركاته, حسنا, تمام"),
            hello: "مرحبًا! أنا المساعد. كيف يمكنني مساعدتك؟",
            hello_again: "مرحبًا من جديد! أنا المساعد. هل من شيء آخر؟",
            welcome: "على الرحب والسعة! اكتب لنا في أي وقت.",
            text_only: "لا أستطيع حاليًا قراءة غير النصوص. صِف ذلك بالكلمات، أو اكتب «موظف» لأوصلك بشخص.",
            knows: "ليست لدي إجابة عن ذلك. أستطيع الإجابة عن: {topics}. أو اكتب «موظف» لأوصلك بشخص.",
            knows_nothing: "ليست لدي إجابة عن ذلك. اكتب «موظف» لأوصلك بشخص.",
        },
        Speech {
            common: Phrases::of(""),
            greetings: Phrases::of("नमस्ते, नमस्कार, हैलो, हेलो, हाय, प्रणाम, सुप्रभात, शुभ संध्या, राम राम"),
            gratitude: Phrases::of("धन्यवाद, शुक्रिया, थैंक्यू, थैंक यू, बहुत धन्यवाद, बहुत शुक्रिया"),
            chatter: Phrases::of("जी, सर, मैडम, आपका, बहुत, ठीक है, सबको"),
            hello: "नमस्ते! मैं सहायक हूँ। मैं आपकी क्या मदद कर सकता हूँ?",
            hello_again: "फिर से नमस्ते! मैं सहायक हूँ। क्या और कोई मदद चाहिए?",
            welcome: "आपका स्वागत है! कभी भी लिखें।",
            text_only: "अभी मैं केवल टेक्स्ट पढ़ सकता हूँ। कृपया शब्दों में बताएँ, या “एजेंट” लिखें, मैं आपको किसी व्यक्ति से जोड़ दूँगा।",
            knows: "इसका उत्तर मेरे पास नहीं है। मैं इन विषयों पर बता सकता हूँ: {topics}। या “एजेंट” लिखें, मैं आपको किसी व्यक्ति से जोड़ दूँगा।",
            knows_nothing: "इसका उत्तर मेरे पास नहीं है। “एजेंट” लिखें, मैं आपको किसी व्यक्ति से जोड़ दूँगा।",
        },
        Speech {
            common: Phrases::of(
                "il, lo, gli, di, e, mio, mia, come, quale, dove, quando, per, ho, una, un, voglio, vorrei, in, con, \
                 questo, posso, sono, non, piu, della, del, alla, al, che, mi, grazie, ciao, buongiorno, vostro, si",
            ),
            greetings: Phrases::of(
                "ciao, salve, buongiorno, buon giorno, buonasera, buona sera, buon pomeriggio, buondi",
            ),
            gratitude: Phrases::of(
                "grazie, grazie mille, molte grazie, tante grazie, ti ringrazio, vi ringrazio",
            ),
            chatter: Phrases::of(
                "a tutti, tutti, mille, tante, molto, ok, perfetto, va bene, arrivederci, ciao",
            ),
            hello: "Ciao! Sono l'assistente. Come posso aiutarti?",
            hello_again: "Ciao di nuovo! Sono l'assistente. C'è altro?",
            welcome: "Prego! Scrivi quando vuoi.",
            text_only: "Per ora so leggere solo testo. Descrivilo a parole, oppure scrivi “operatore” e ti metto in contatto con una persona.",
            knows: "Non ho una risposta a questo. Posso rispondere a domande su: {topics}. Oppure scrivi “operatore” e ti metto in contatto con una persona.",
            knows_nothing: "Non ho una risposta a questo. Scrivi “operatore” e ti metto in contatto con una persona.",
        },
    ]
}
