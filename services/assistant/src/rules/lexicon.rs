//! The words people ask for a person with, a table a language. Written as `words` folds them:
//! lower case, no accents, Arabic and Devanagari without optional marks. Without accents some
//! imperatives look like the past tense ("hable", "hablé"): those are left out.

use super::human::{Lexicon, Order, Phrases};

pub(super) fn all() -> Vec<Lexicon> {
    vec![
        english(),
        spanish(),
        portuguese(),
        french(),
        german(),
        arabic(),
        hindi(),
        hindi_in_latin_letters(),
        italian(),
    ]
}

fn english() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "talk, speak, chat, connect, transfer, contact, reach, escalate, get in touch, put me, \
             patch me, switch me, forward me, redirect me, hand me, pass me, call me, phone me",
        ),
        want: Phrases::of(
            "want, wanna, need, prefer, id like, would like, give me, get, send me, bring me, request, require, demand, \
             find me, let me have, call a, call an, call the",
        ),
        exists: Phrases::of("is there, are there, isnt there, is it possible to have"),
        tails: Phrases::of(
            "i, we, who, that, there, out there, here, available, around, online, to, on, please, in charge, behind",
        ),
        serve: Phrases::of("help, assist, answer, call, take over, respond, reply"),
        person: Phrases::of(
            "human, humans, human being, person, people, agent, agents, representative, representatives, rep, \
             operator, advisor, adviser, supervisor, manager, real one, someone real, somebody real, \
             someone human, live chat, live support, human support, human assistance, \
             someone to talk to, someone to speak to, somebody to talk to, somebody to speak to",
        ),
        anyone: Phrases::of("someone, somebody, anyone, anybody"),
        team: Phrases::of(
            "customer service, customer support, customer care, customer services, support team, your team, \
             the team, sales team, support, help desk, helpdesk, staff, your staff, tech support",
        ),
        bare: Phrases::of(
            "human, human being, person, agent, representative, rep, operator, advisor, adviser, is anyone there, \
             is anybody there, is someone there, is somebody there, anyone there, anybody there, \
             customer service, customer support, customer care, live chat, live support, someone real, \
             real one, human support, human help, human agent, human assistance",
        ),
        links: Phrases::of(
            "to, with, a, an, the, some, any, one, of, me, us, your, another, different, other, actual, real, \
             live, living, human, true, please, pls, plz, just, now, directly, straight, right away, over, \
             through, on, in, into, touch, contact, for, from, have, be, customer, service, support, care, \
             help, someone, somebody, talk to, speaking, talking, chatting, connected, connecting, instead, \
             again, asap, can",
        ),
        after: Phrases::of("i, we, can, could, will, to, that, please, may, might, would"),
        negations: Phrases::of(
            "no, not, dont, doesnt, didnt, never, without, wont, cant, cannot, nor, neither, couldnt, \
             wouldnt, isnt, non",
        ),
        opinions: Phrases::of(
            "think i, think i really, believe i, sure i, sure if i, know if i, feel like i, really, actually, \
             even, currently, necessarily, going, trying, looking, asking, ask, asked, wish",
        ),
        bots: Phrases::of("bot, bots, robot, robots, machine, machines, ai, chatbot, computer, assistant"),
        not_before: Phrases::of(
            "resources, resource, rights, hair, error, body, readable, trafficking, limit, number, numbers, \
             name, names, phone, email, id, ids, address, details, code, license, licence, fee, fees, manual, \
             per, more, position, job, profile, portal",
        ),
        fillers: Phrases::of(
            "please, pls, plz, thanks, thank you, now, hi, hello, hey, ok, okay, yes, yeah, well, sorry, a, an, \
             the, to, with, just, real, live, actual, right now, asap, i said, me, again, then, only",
        ),
        order: Order::NounAfterLink,
        ..Lexicon::default()
    }
}

fn spanish() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "hablar, conversar, platicar, charlar, chatear, comunicar, comunicarme, comuniqueme, \
             comunicame, comuniquenme, comunicarse, contactar, contactarme, contacteme, contacto, pasame, \
             paseme, pasenme, pasarme, transferir, transferirme, transfiereme, transfierame, transfieran, \
             transferencia, conectame, conecteme, conectar, conectarme, derivame, deriveme, derivar, \
             ponme, poneme, pongame, me pasas, me pasan, me pasa, me comunicas, me comunican, me comunica, me pones, me pone",
        ),
        want: Phrases::of(
            "quiero, quisiera, queria, quiera, necesito, necesitaria, prefiero, deseo, dame, deme, solicito, \
             pido, exijo, requiero, me gustaria, contacte, contactara, atienda, atender, atiendame, ayude, llame, busco, \
             que me atienda, que me ayude",
        ),
        exists: Phrases::of("hay, no hay, habra, existe"),
        tails: Phrases::of("real, que, ahi, disponible, con quien, con la que, con el que, para, aqui"),
        serve: Phrases::of(
            "atender, atienda, atiende, ayudar, ayude, ayuda, atenderme, ayudarme, responder, responda, llamar",
        ),
        person: Phrases::of(
            "humano, humana, ser humano, persona, personas, agente, agentes, asesor, asesora, operador, \
             operadora, representante, ejecutivo, ejecutiva, supervisor, supervisora, encargado, encargada, \
             alguien real, alguien humano, alguien de verdad, empleado, empleada, atencion humana, \
             teleoperador, teleoperadora",
        ),
        anyone: Phrases::of("alguien, alguno, alguna persona"),
        team: Phrases::of(
            "atencion al cliente, servicio al cliente, atencion a clientes, servicio de atencion al cliente, \
             soporte, soporte tecnico, el equipo, su equipo",
        ),
        bare: Phrases::of(
            "humano, humana, ser humano, persona, agente, asesor, asesora, operador, operadora, representante, \
             ejecutivo, ejecutiva, atencion al cliente, servicio al cliente, atencion humana, alguien real, \
             agente humano",
        ),
        links: Phrases::of(
            "con, a, al, un, una, el, la, los, las, algun, alguna, me, te, le, lo, les, por, favor, porfavor, \
             porfa, que, de, del, ustedes, su, sus, vuestro, vuestra, tu, real, verdadero, verdadera, verdad, \
             otro, otra, directamente, ya, ahora, mejor, ser atendido, ser atendida, por, humano, ayuda, en, contacto, \
             comunicacion, atienda, ayude, hablar",
        ),
        after: Phrases::of("me, nos, puede, pueda, podria, pueden, por, favor"),
        negations: Phrases::of("no, nunca, sin, tampoco, ni, jamas, ningun, ninguna"),
        bots: Phrases::of("bot, bots, robot, robots, maquina, maquinas, ia, chatbot, asistente, computadora"),
        not_before: Phrases::of(
            "mas, inmobiliario, inmobiliaria, de viajes, de viaje, de seguros, de transito, de bolsa, juridica, \
             comercial, responsable, adicional, extra, mayor",
        ),
        fillers: Phrases::of(
            "por favor, porfavor, porfa, gracias, hola, buenas, buenos dias, buenas tardes, buenas noches, ya, \
             ahora, si, ok, bueno, un, una, el, la, con, a, al, real, de verdad, otro, otra, mejor, solo",
        ),
        order: Order::NounAfterLink,
        ..Lexicon::default()
    }
}

fn portuguese() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "falar, conversar, contatar, contactar, transferir, transfere, transfira, transfiram, transferido, \
             transferida, conectar, conecta, conecte, encaminhar, encaminha, encaminhe, entrar em contato, \
             entrar em contacto, me passa, me passe, passa para, passar para, passe para, direcionar, fala",
        ),
        want: Phrases::of(
            "quero, queria, gostaria, preciso, precisava, desejo, prefiro, chama, chame, chamar, me da, \
             solicito, exijo, atenda, atendido por, atendida por, me liga, procuro",
        ),
        exists: Phrases::of("tem, ha, existe"),
        tails: Phrases::of("ai, aqui, real, disponivel, que, pra, para, com quem, de verdade"),
        serve: Phrases::of("atender, atenda, ajudar, ajude, responder, responda, ligar, atende, ajuda"),
        person: Phrases::of(
            "humano, humana, ser humano, pessoa, pessoas, atendente, atendentes, agente, agentes, operador, \
             operadora, representante, funcionario, funcionaria, consultor, consultora, supervisor, supervisora, \
             gerente, vendedor, vendedora, alguem real, alguem de verdade, atendimento humano, atendimento pessoal",
        ),
        anyone: Phrases::of("alguem, gente"),
        team: Phrases::of(
            "atendimento, atendimento ao cliente, servico ao cliente, apoio ao cliente, suporte, sac, central, \
             equipe, equipa, central de atendimento",
        ),
        bare: Phrases::of(
            "humano, humana, ser humano, pessoa, atendente, agente, operador, operadora, representante, \
             atendimento humano, atendimento ao cliente, alguem real, consultor, consultora, falar com atendente",
        ),
        links: Phrases::of(
            "com, um, uma, o, a, os, as, ao, algum, alguma, de, do, da, por, favor, me, mim, real, verdade, \
             verdadeiro, verdadeira, outro, outra, que, voces, sua, seu, pra, para, pro, ja, agora, direto, \
             logo, humano, humana, ser atendido, ser atendida, ajuda, em, contato, contacto, atenda, falar",
        ),
        after: Phrases::of("me, pode, possa, poderia, podem, por, favor"),
        negations: Phrases::of("nao, nunca, sem, nem, jamais, nenhum, nenhuma, n"),
        bots: Phrases::of("bot, bots, robo, robos, maquina, maquinas, ia, chatbot, assistente, computador"),
        not_before: Phrases::of(
            "imobiliario, imobiliaria, de viagens, de viagem, de seguros, de transito, juridica, fisica, \
             responsavel, a mais, adicional, extra",
        ),
        fillers: Phrases::of(
            "por favor, porfavor, pfv, pf, obrigado, obrigada, oi, ola, bom dia, boa tarde, boa noite, ja, agora, \
             sim, ok, um, uma, o, a, com, real, de verdade, outro, outra, so",
        ),
        order: Order::NounAfterLink,
        ..Lexicon::default()
    }
}

fn french() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "parler, discuter, echanger, dialoguer, communiquer, contacter, joindre, appeler, transferez, \
             transferer, connectez, connecter, mettre en relation, \
             mis en relation, mise en relation, mettez, mets moi, passez, passe moi, passer, redirigez, \
             rediriger, orientez",
        ),
        want: Phrases::of(
            "veux, voudrais, voudrai, veut, souhaite, souhaiterais, besoin, aimerais, aimerai, prefere, \
             prefererais, donnez moi, donne moi, exige, demande, je cherche",
        ),
        exists: Phrases::of("y a t il, il y a, est ce qu il y a, ya t il, y aurait il"),
        tails: Phrases::of(
            "qui, que, a qui, avec qui, ici, disponible, pour, derriere, reel, reelle, au bout",
        ),
        serve: Phrases::of("aider, m aider, repondre, me repondre, m appeler, prendre le relais"),
        person: Phrases::of(
            "humain, humaine, humains, etre humain, personne, personnes, agent, agents, conseiller, conseillere, \
             conseillers, operateur, operatrice, representant, representante, interlocuteur, interlocutrice, \
             collaborateur, collaboratrice, teleconseiller, responsable, superviseur, quelqu un de reel, \
             quelqu un de vrai, vrai conseiller, technicien, technicienne",
        ),
        anyone: Phrases::of("quelqu un, qqn, quelquun"),
        team: Phrases::of(
            "service client, service clients, service clientele, support, assistance, sav, votre equipe, equipe",
        ),
        bare: Phrases::of(
            "humain, humaine, etre humain, une personne, vraie personne, agent, conseiller, conseillere, \
             operateur, operatrice, service client, service clients, representant, quelqu un de reel, \
             agent humain, conseiller humain",
        ),
        needs_article: Phrases::of("personne"),
        articles: Phrases::of("une, la, vraie, autre, cette, veritable"),
        links: Phrases::of(
            "a, au, aux, un, une, l, le, la, les, d, de, du, des, avec, vers, vrai, vraie, veritable, autre, reel, \
             reelle, moi, me, m, nous, s, il, vous, te, plait, svp, stp, directement, maintenant, en, relation, \
             contact, votre, vos, qu, que, etre, mis, mise, parler, humain, aide, plutot, tout, suite",
        ),
        after: Phrases::of("peut, peux, pourrait, peut il, peut elle, pourrait il, s, il, vous, plait"),
        negations: Phrases::of("pas, sans, ni, jamais, aucun, aucune, non"),
        bots: Phrases::of("bot, bots, robot, robots, machine, machines, ia, chatbot, assistant, ordinateur"),
        not_before: Phrases::of(
            "immobilier, immobiliere, de voyage, de voyages, d entretien, de securite, en plus, supplementaire, \
             pas, administratif",
        ),
        fillers: Phrases::of(
            "s il vous plait, s il te plait, svp, stp, merci, bonjour, bonsoir, salut, oui, ok, un, une, le, la, \
             l, a, avec, au, vrai, vraie, autre, reel, maintenant, d accord",
        ),
        order: Order::NounAfterLink,
        ..Lexicon::default()
    }
}

fn german() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "sprechen, spreche, reden, rede, verbinden, verbinde, verbindet, verbunden, weiterleiten, leite, \
             leiten sie mich, weiterverbinden, weitergeleitet, chatten, kontaktieren, durchstellen, stellen sie \
             mich, telefonieren, schreiben, kommunizieren, ubergeben, kontakt",
        ),
        want: Phrases::of(
            "will, wuerde, wurde gern, wurde gerne, mochte, moechte, brauche, brauch, benotige, benoetige, \
             hatte gern, hatte gerne, haette gern, haette gerne, geben sie mir, gib mir, wunsche, wuensche, \
             verlange, bevorzuge, suche, holen sie, hol mir, ruf",
        ),
        exists: Phrases::of("gibt es, gibts, ist da, ist hier, ist dort"),
        tails: Phrases::of(
            "da, hier, mit dem, mit der, der, die, den, erreichbar, verfugbar, zu sprechen, fur",
        ),
        serve: Phrases::of(
            "helfen, hilft, antworten, ubernehmen, uebernehmen, anrufen, antwortet, weiterhelfen, kummern",
        ),
        person: Phrases::of(
            "mensch, menschen, mitarbeiter, mitarbeiterin, mitarbeitern, person, personen, agent, agenten, \
             agentin, berater, beraterin, kundenberater, kundenberaterin, ansprechpartner, ansprechpartnerin, \
             operator, sachbearbeiter, sachbearbeiterin, servicemitarbeiter, servicemitarbeiterin, \
             kundenbetreuer, kundenbetreuerin, jemand echtes, jemand echten, jemanden zum reden, jemanden zum sprechen, jemand zum reden, jemanden echten, jemandem echten, \
             vorgesetzten, live chat, menschliche hilfe",
        ),
        anyone: Phrases::of("jemand, jemandem, jemanden, wem"),
        team: Phrases::of(
            "kundenservice, kundendienst, kundenbetreuung, kundensupport, support, team, service, hotline",
        ),
        bare: Phrases::of(
            "mensch, menschen, mitarbeiter, mitarbeiterin, person, agent, agentin, berater, beraterin, \
             kundenberater, ansprechpartner, operator, kundenservice, kundendienst, live chat, kundenbetreuer, \
             sachbearbeiter",
        ),
        links: Phrases::of(
            "mit, einem, einen, einer, eine, ein, an, zu, zum, zur, dem, der, den, die, das, echten, echter, \
             echte, echtem, richtigen, richtiger, richtige, richtigem, menschlichen, menschlicher, menschliche, \
             lebenden, realen, wirklichen, bitte, mich, mir, uns, ich, wir, sie, du, jetzt, gern, gerne, sofort, \
             direkt, lieber, anderen, anderem, ihrem, ihren, ihrer, ihr, eurem, euren, eurer, von, vom, doch, \
             mal, endlich, nur, kontakt, hilfe",
        ),
        after: Phrases::of(
            "bitte, kurz, gern, gerne, direkt, jetzt, personlich, mal, ich, mir, mich, aus, ihrem, dem, team, \
             zu, kann, konnte, das, werden",
        ),
        negations: Phrases::of("nicht, kein, keine, keinen, keinem, keiner, ohne, nie, niemals, weder"),
        bots: Phrases::of("bot, bots, roboter, maschine, maschinen, ki, chatbot, computer, assistent"),
        not_before: Phrases::of(
            "sein, bleiben, werden, mehr, hinzufugen, hinzufuegen, anmelden, mitbringen, einladen, extra, wurde, \
             hat, haben, hatte, wollte",
        ),
        told: Phrases::of("konnen, durfen, wollen, konnte, wollte"),
        fillers: Phrases::of(
            "bitte, danke, hallo, hi, guten tag, guten morgen, guten abend, ja, ok, okay, ein, eine, einen, einem, \
             einer, mit, an, den, der, die, dem, echter, echten, echte, richtigen, jetzt, sofort, nur, zum, zur",
        ),
        order: Order::NounAfterLink,
        ..Lexicon::default()
    }
}

fn arabic() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "اتكلم, التكلم, تكلم, نتكلم, اتحدث, التحدث, تحدث, الحديث, احكي, احاكي, اكلم, كلم, كلموني, اتواصل, \
             التواصل, تواصل, نتواصل, الاتصال, تحويلي, حولني, تحولني, تحولوني, حولوني, تحويل, توصلني, وصلني, وصلوني, توصيلي, \
             الكلام, مخاطبه, محادثه, ربطي, دردشه, الدردشه, اتصال",
        ),
        want: Phrases::of(
            "اريد, ارغب, ابغي, ابغا, ابي, عايز, عاوز, عايزه, عاوزه, بدي, احتاج, محتاج, محتاجه, اود, افضل, اطلب, \
             اعطني, نبي, بغيت, ودي, نريد, نحتاج, هاتلي",
        ),
        exists: Phrases::of("هل يوجد, يوجد, هل هناك, هناك, هل في, فيه"),
        tails: Phrases::of("حقيقي, هنا, متاح, يرد, يساعدني, يمكنني, استطيع, اتكلم, اقدر, ممكن, موجود"),
        serve: Phrases::of("يساعدني, يرد, يكلمني, يتواصل, يخدمني, يتصل"),
        person: Phrases::of(
            "انسان, انسانا, انسان حقيقي, بشري, بشريا, بشر, شخص, شخصا, شخص حقيقي, موظف, موظفا, موظفه, موظفين, \
             موظف بشري, ممثل, ممثلا, مندوب, مندوبا, وكيل, وكيلا, مشغل, مسوول, موظف خدمه العملاء, \
             ممثل خدمه العملاء, حد حقيقي, احد حقيقي",
        ),
        anyone: Phrases::of("احد, حد, احدا, احدهم"),
        team: Phrases::of(
            "خدمه العملاء, خدمه عملاء, دعم, دعم الفني, دعم فني, فريق الدعم, خدمه الزباين, فريق, فريقكم",
        ),
        bare: Phrases::of(
            "انسان, انسانا, بشري, شخص, شخص حقيقي, موظف, موظفه, ممثل, مندوب, وكيل, مشغل, خدمه العملاء, خدمه عملاء, \
             موظف خدمه العملاء, ممثل خدمه العملاء, مسوول",
        ),
        links: Phrases::of(
            "مع, الي, لي, ان, من, احد, اي, فضلك, لو, سمحت, رجاء, ارجو, الان, فورا, مباشره, حقيقي, حقيقيه, في, عن, \
             ممكن, بان, ايه, خدمه, واحد, يا, مساعده, علي, اتكلم, التحدث",
        ),
        after: Phrases::of("ان, ممكن, يقدر, يمكن, حقيقي, يمكنه"),
        negations: Phrases::of("لا, ليس, لست, ما, مش, بدون, لن, لم, مو, غير, ولا, مب, موب, لسنا"),
        bots: Phrases::of("بوت, روبوت, اله, الروبوت, البوت, ذكاء, الي"),
        not_before: Phrases::of("عقاري, العقاري, سفر, سفريات, السفر, تامين, التامين, اضافي, عقارات"),
        fillers: Phrases::of(
            "من فضلك, لو سمحت, رجاء, شكرا, مرحبا, السلام عليكم, اهلا, نعم, الان, مع, الي, حقيقي, هلا, ايوه, اي",
        ),
        prefixes: &["وال", "بال", "لل", "ال", "ب", "ل", "و"],
        order: Order::NounAfterLink,
        ..Lexicon::default()
    }
}

fn hindi() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "बात, बात करनी, बात करना, बात कराओ, बात कराइए, बात कराएं, बात कराये, बात करवाओ, बात करवाइए, बात करवा, \
             बात करवाएं, बात करा, बातचीत, जोडो, जोडें, जोडिए, जोड दो, कनेक्ट, ट्रांसफर, संपर्क, सम्पर्क, चैट, \
             मिलाओ, मिलाइए, मिलवाओ, बुलाओ, बुलाइए, बोलना",
        ),
        want: Phrases::of("चाहिए, चाहिये, चाहता, चाहती, दे दो, दीजिए, भेजो, भेजिए"),
        exists: Phrases::of("कोई, क्या कोई, यहां कोई"),
        tails: Phrases::of("है, हैं, मिलेगा, मौजूद, उपलब्ध"),
        person: Phrases::of(
            "इंसान, इन्सान, मनुष्य, मानव, व्यक्ति, आदमी, एजेंट, एजेन्ट, प्रतिनिधि, ऑपरेटर, कर्मचारी, ह्यूमन, \
             अधिकारी, एग्जीक्यूटिव, एक्जीक्यूटिव, असली इंसान, मैनेजर",
        ),
        anyone: Phrases::of("किसी"),
        team: Phrases::of("कस्टमर केयर, कस्टमर सपोर्ट, कस्टमर सर्विस, ग्राहक सेवा, सपोर्ट, टीम"),
        bare: Phrases::of(
            "इंसान, इन्सान, मनुष्य, मानव, व्यक्ति, एजेंट, एजेन्ट, प्रतिनिधि, ऑपरेटर, ह्यूमन, कस्टमर केयर, \
             ग्राहक सेवा, कस्टमर सपोर्ट",
        ),
        links: Phrases::of(
            "किसी, एक, असली, रियल, लाइव, कोई, मुझे, मुझको, हमें, कृपया, प्लीज, अब, अभी, आपके, आपकी, कस्टमर, केयर, \
             सपोर्ट, ग्राहक, सेवा, मैं, क्या, है, दूसरे, सीधे, बस, सिर्फ",
        ),
        after: Phrases::of(
            "से, के, साथ, को, मेरी, मुझे, मुझको, हमारी, की, जी, ही, भी, अभी, कृपया, प्लीज, तुरंत, में, का, सीधे, \
             सीधी",
        ),
        negations: Phrases::of("नहीं, नही, मत, ना, न, बिना"),
        bots: Phrases::of("बॉट, रोबोट, मशीन, कंप्यूटर"),
        told: Phrases::of("हो, हुई, हुआ, की, कर रहा, कर रही, कर रहे, कर चुका, कर चुकी, कर ली, कर लिया"),
        fillers: Phrases::of("कृपया, प्लीज, धन्यवाद, नमस्ते, नमस्कार, हां, अभी, अब, एक, असली, कोई, जी, से, लाइव"),
        order: Order::NounAnywhere,
        ..Lexicon::default()
    }
}

fn hindi_in_latin_letters() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "baat, baat karni, baat karna, baat karao, baat karaiye, baat karwao, baat karwaiye, baat karwa, baat \
             kara, connect, transfer, jodo, jod do, milao, contact, bulao",
        ),
        want: Phrases::of("chahiye, chaiye, chahie, chahta, chahti, de do, bhejo"),
        exists: Phrases::of("koi, kya koi, yaha koi"),
        tails: Phrases::of("hai, hain, milega"),
        person: Phrases::of(
            "insaan, insan, agent, banda, bande, aadmi, admi, human, person, executive, representative, manager",
        ),
        anyone: Phrases::of("kisi"),
        team: Phrases::of("customer care, customer support, customer service, support, team"),
        bare: Phrases::of("insaan, insan"),
        links: Phrases::of(
            "kisi, ek, asli, real, live, koi, mujhe, mujhko, muje, hume, humko, please, plz, ab, abhi, aapke, \
             main, mai, mein, kya, customer, care, support, dusre, hai",
        ),
        after: Phrases::of(
            "se, ke, sath, saath, ko, meri, mujhe, mujhko, ki, hi, bhi, abhi, please, plz, direct, hamari",
        ),
        negations: Phrases::of("nahi, nahin, nai, mat, na, bina, no, not"),
        bots: Phrases::of("bot, robot, machine, computer"),
        told: Phrases::of(
            "ho, hui, hua, ki, kari, kar raha, kar rahi, kar rahe, kar chuka, kar chuki, kar li, kar liya",
        ),
        fillers: Phrases::of("please, plz, namaste, haan, ha, ji, abhi, ek, asli, koi, real, se"),
        order: Order::NounAnywhere,
        ..Lexicon::default()
    }
}

fn italian() -> Lexicon {
    Lexicon {
        talk: Phrases::of(
            "parlare, chattare, comunicare, contattare, passami, passatemi, passarmi, mi passi, mi passa, \
             mi passate, collegami, collegatemi, collegarmi, mettermi in contatto, mettetemi in contatto, \
             mettimi in contatto, trasferire, trasferiscimi, trasferitemi, trasferirmi, trasferisci, connettimi, \
             connettetemi, connettermi, inoltrare, essere contattato, essere contattata, essere richiamato, \
             essere richiamata",
        ),
        want: Phrases::of(
            "voglio, vorrei, vorremmo, vogliamo, bisogno, preferisco, preferirei, desidero, esigo, pretendo, \
             chiedo, richiedo, mi serve, cerco, chiamate, chiamami, chiamatemi, mi puo chiamare, mi chiami, mi richiami, \
             datemi, dammi, mi dia",
        ),
        exists: Phrases::of("c e, ci sono, ce"),
        tails: Phrases::of("che, reale, disponibile, li, qui, con cui, a cui, per, in linea, vera"),
        serve: Phrases::of(
            "aiutare, aiutarmi, aiuti, aiuta, aiutarci, rispondere, rispondermi, risponda, assistere, assistermi, \
             chiamarmi, richiamarmi",
        ),
        person: Phrases::of(
            "umano, umana, essere umano, persona, persone, operatore, operatrice, operatori, agente, agenti, \
             addetto, addetta, consulente, consulenti, rappresentante, responsabile, impiegato, impiegata, \
             supervisore, qualcuno di reale, qualcuno in carne e ossa, assistenza umana, supporto umano",
        ),
        anyone: Phrases::of("qualcuno"),
        team: Phrases::of(
            "servizio clienti, assistenza clienti, assistenza, supporto clienti, supporto, il vostro team, il team, \
             lo staff, call center",
        ),
        bare: Phrases::of(
            "umano, essere umano, persona, operatore, operatrice, agente, consulente, servizio clienti, \
             assistenza clienti, operatore umano, persona vera, persona reale, assistenza umana",
        ),
        links: Phrases::of(
            "con, a, al, all, ad, un, una, uno, il, lo, la, l, i, gli, le, qualche, di, del, dell, della, mi, ti, \
             vi, ci, me, per, favore, cortesia, piacere, vero, vera, reale, altro, altra, subito, ora, adesso, \
             direttamente, invece, vostro, vostra, tuo, tua, umano, umana, in, carne, ossa, e, essere, contatto, \
             parlare, assistenza, clienti, servizio, che, da, qualcuno",
        ),
        after: Phrases::of("mi, ci, puo, potrebbe, possa, possono, per, favore"),
        negations: Phrases::of("non, no, mai, senza, ne, nessun, nessuno, nessuna"),
        bots: Phrases::of("bot, robot, macchina, macchine, ia, chatbot, assistente, computer"),
        not_before: Phrases::of(
            "immobiliare, immobiliari, di viaggio, di viaggi, di sicurezza, di borsa, assicurativo, giuridica, \
             fisica, del trattamento, in piu, aggiuntiva, extra, di commercio, finanziario",
        ),
        fillers: Phrases::of(
            "per favore, per cortesia, per piacere, grazie, ciao, salve, buongiorno, buonasera, buon giorno, si, ok, \
             va bene, ora, adesso, subito, un, una, il, la, con, vero, vera, reale, altro, altra, solo",
        ),
        order: Order::NounAfterLink,
        ..Lexicon::default()
    }
}
