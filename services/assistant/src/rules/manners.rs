//! How the rules speak about people where the level does not just hand over, and the words that tell
//! frustration. Precision first: whoever is merely disappointed keeps the assistant.

/// In the order of [`super::Language::ALL`].
pub(super) static ALL: [Manners; 8] = [
    Manners {
        declines: "I can't connect you with a person here, but I'll help as well as I can. What is it about?",
        what_about: "I'll connect you with a person. So that they can help at once: what is it about?",
        does_not_know: "I don't have an answer to that. Could you put it in other words?",
        frustrated: "ridiculous, unacceptable, this is useless, you are useless, youre useless, so useless, fed up, \
                     sick of this, sick of you, sick and tired, waste of time, wasting my time, this is a joke, furious, \
                     so angry, very angry, really angry, im angry, i am angry, so frustrated, im frustrated, i am frustrated, \
                     so frustrating, very frustrating, this is frustrating, pathetic, worst service, worst company, \
                     terrible service, awful service, horrible service, stupid bot, useless bot, stupid machine, \
                     how many times do i, how many times have i, for the third time, for the last time, wtf",
    },
    Manners {
        declines: "Desde aquí no puedo ponerte con una persona, pero te ayudo en lo que pueda. ¿De qué se trata?",
        what_about: "Te pongo con una persona. Para que pueda ayudarte enseguida: ¿de qué se trata?",
        does_not_know: "No tengo respuesta para eso. ¿Puedes decirlo con otras palabras?",
        frustrated: "ridiculo, inaceptable, estoy harto, estoy harta, harto de, harta de, perdida de tiempo, \
                     perder el tiempo, servicio tan malo, es pesimo, mal servicio, estoy furioso, estoy furiosa, estoy enojado, estoy enojada, muy enojado, muy enojada, \
                     estoy frustrado, estoy frustrada, pesimo servicio, el peor servicio, una verguenza, es una burla, \
                     bot inutil, no sirves para nada, no sirve para nada, cuantas veces tengo que",
    },
    Manners {
        declines: "Daqui não consigo chamar uma pessoa, mas ajudo no que puder. Do que se trata?",
        what_about: "Vou chamar uma pessoa. Para que ela possa ajudar logo: do que se trata?",
        does_not_know: "Não tenho resposta para isso. Pode dizer com outras palavras?",
        frustrated: "ridiculo, inaceitavel, um absurdo, estou farto, estou farta, farto de, farta de, perda de tempo, \
                     perder meu tempo, estou furioso, estou furiosa, estou irritado, estou irritada, muito irritado, \
                     muito irritada, estou frustrado, estou frustrada, pessimo atendimento, pior atendimento, uma vergonha, \
                     palhacada, robo inutil, nao serve para nada, nao serve pra nada, quantas vezes tenho que",
    },
    Manners {
        declines: "D'ici, je ne peux pas vous passer une personne, mais je vous aide de mon mieux. De quoi s'agit-il ?",
        what_about: "Je vous mets en relation avec une personne. Pour qu'elle puisse vous aider tout de suite : de quoi s'agit-il ?",
        does_not_know: "Je n'ai pas de réponse à cela. Pouvez-vous le dire autrement ?",
        frustrated: "inadmissible, inacceptable, c est ridicule, j en ai marre, marre de, ras le bol, perte de temps, \
                     perdre mon temps, c est nul, rien ne marche, je suis furieux, je suis furieuse, tres enerve, tres enervee, je suis en colere, \
                     je suis frustre, je suis frustree, une honte, scandaleux, service nul, pire service, bot inutile, \
                     vous vous moquez de moi, combien de fois dois je",
    },
    Manners {
        declines: "Von hier aus kann ich Sie nicht mit einem Menschen verbinden, aber ich helfe, so gut ich kann. Worum geht es?",
        what_about: "Ich verbinde Sie mit einem Menschen. Damit er gleich helfen kann: Worum geht es?",
        does_not_know: "Darauf habe ich keine Antwort. Können Sie es anders ausdrücken?",
        frustrated: "lacherlich, inakzeptabel, eine frechheit, unverschamt, unverschamtheit, ich habe es satt, hab es satt, \
                     die nase voll, die schnauze voll, zeitverschwendung, ich bin wutend, ich bin sauer, stinksauer, \
                     ich bin frustriert, schlechter service, schlechtester service, miserabler service, mieser service, eine zumutung, \
                     nutzloser bot, dummer bot, zum dritten mal, wie oft muss ich, wie oft soll ich",
    },
    Manners {
        declines: "لا أستطيع أن أوصلك بشخص من هنا، لكني سأساعدك قدر ما أستطيع. ما الموضوع؟",
        what_about: "سأوصلك بشخص. لكي يساعدك فورًا: ما الموضوع؟",
        does_not_know: "ليست لدي إجابة عن ذلك. هل يمكنك قول ذلك بكلمات أخرى؟",
        frustrated: "سخيف, غير مقبول, مهزله, مضيعه للوقت, مللت من, سيمت, انا غاضب, انا غاضبه, انا محبط, انا محبطه, \
                     اسوا خدمه, خدمه سييه جدا, عار عليكم, كم مره يجب",
    },
    Manners {
        declines: "यहाँ से मैं आपको किसी व्यक्ति से नहीं जोड़ सकता, पर जितना हो सके मदद करूँगा। बात किस बारे में है?",
        what_about: "मैं आपको किसी व्यक्ति से जोड़ता हूँ। वे तुरंत मदद कर सकें, इसलिए बताइए: बात किस बारे में है?",
        does_not_know: "इसका उत्तर मेरे पास नहीं है। क्या आप इसे दूसरे शब्दों में कह सकते हैं?",
        frustrated: "बकवास, बेकार सेवा, घटिया सेवा, समय की बर्बादी, समय बर्बाद, मैं परेशान हो गया, मैं परेशान हो गई, \
                     तंग आ गया, तंग आ गई, बहुत बुरा, बेकार सर्विस, बहुत गुस्सा, सबसे खराब सेवा, कितनी बार, bakwas, bekar service, bekaar service, bekar seva, ghatiya, tang aa gaya, \
                     tang aa gayi, bahut gussa, time waste",
    },
    Manners {
        declines: "Da qui non posso metterti in contatto con una persona, ma ti aiuto come posso. Di che cosa si tratta?",
        what_about: "Ti metto in contatto con una persona. Perché possa aiutarti subito: di che cosa si tratta?",
        does_not_know: "Non ho una risposta a questo. Puoi dirlo con altre parole?",
        frustrated: "ridicolo, inaccettabile, inammissibile, sono stufo, sono stufa, stufo di, stufa di, non ne posso piu, \
                     perdita di tempo, perdere tempo, sono furioso, sono furiosa, sono arrabbiato, sono arrabbiata, molto arrabbiato, molto arrabbiata, \
                     sono frustrato, sono frustrata, pessimo servizio, servizio pessimo, il peggior servizio, una vergogna, \
                     una presa in giro, bot inutile, non servi a niente, non serve a niente, quante volte devo",
    },
];

#[derive(Debug)]
pub(super) struct Manners {
    pub(super) declines: &'static str,
    pub(super) what_about: &'static str,
    pub(super) does_not_know: &'static str,
    /// Separated by commas; folded as `words` folds.
    pub(super) frustrated: &'static str,
}

impl Manners {
    pub(super) fn is_frustrated(&self, said: &[String]) -> bool {
        let phrases = self.frustrated.split(',').map(|phrase| phrase.split_whitespace().collect::<Vec<_>>());
        phrases.filter(|phrase| !phrase.is_empty()).any(|phrase| {
            said.windows(phrase.len()).enumerate().any(|(at, words)| {
                let negated =
                    at > 0 && matches!(said[at - 1].as_str(), "not" | "no" | "nao" | "nicht" | "pas" | "non");
                !negated && words.iter().zip(&phrase).all(|(word, wanted)| word == wanted)
            })
        })
    }
}
