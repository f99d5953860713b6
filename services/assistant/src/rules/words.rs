//! Texts as words that can be compared: lower case, without marks that people leave out when they
//! type on a phone.

use unicode_segmentation::UnicodeSegmentation as _;

/// More is not looked at: a question is short, and the work for a message stays bounded.
const MOST_CHARACTERS: usize = 4096;

/// The words of a text, clause by clause.
pub(super) fn clauses(text: &str) -> Vec<Vec<String>> {
    let mut clauses = vec![String::new()];
    let characters: Vec<char> = text.chars().take(MOST_CHARACTERS).collect();
    for (i, &c) in characters.iter().enumerate() {
        if ends_clause(c) && !inside_number(&characters, i) {
            clauses.push(String::new());
            continue;
        }
        let Some(clause) = clauses.last_mut() else { continue };
        if is_apostrophe(c) {
            // don't → dont, I'd → id; l'agent → l agent.
            let tail: String = characters[i + 1..].iter().take_while(|c| c.is_alphabetic()).collect();
            if !matches!(tail.to_lowercase().as_str(), "t" | "m" | "s" | "re" | "ll" | "ve" | "d") {
                clause.push(' ');
            }
        } else {
            fold(c, clause);
        }
    }
    clauses
        .iter()
        .map(|clause| clause.unicode_words().map(str::to_owned).collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
        .collect()
}

pub(super) fn words(text: &str) -> Vec<String> {
    clauses(text).concat()
}

fn ends_clause(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | '!' | '?' | ';' | ':' | '\n' | '\r' | '…' | '(' | ')' | '—' | '–' | '¿' | '¡'
            | '،' | '؛' | '؟' | '۔' // Arabic script
            | '।' | '॥' // Devanagari
            | '。' | '、' | '！' | '？' | '，'
    )
}

fn inside_number(characters: &[char], i: usize) -> bool {
    let digit = |at: Option<usize>| at.and_then(|at| characters.get(at)).is_some_and(|c| c.is_numeric());
    digit(i.checked_sub(1)) && digit(Some(i + 1))
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`' | '´')
}

fn fold(c: char, into: &mut String) {
    for c in c.to_lowercase() {
        match c {
            // Combining marks (a letter and its accent typed apart), Arabic vowel signs and
            // tatweel, the Devanagari nukta, joiners and direction marks.
            '\u{300}'..='\u{36f}'
            | '\u{64b}'..='\u{65f}'
            | '\u{670}'
            | '\u{640}'
            | '\u{93c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => {}
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' => into.push('a'),
            'ç' | 'ć' | 'č' => into.push('c'),
            'ď' | 'đ' => into.push('d'),
            'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => into.push('e'),
            'ğ' => into.push('g'),
            'ì' | 'í' | 'î' | 'ï' | 'ī' | 'ı' => into.push('i'),
            'ł' => into.push('l'),
            'ñ' | 'ń' | 'ň' => into.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ő' | 'ō' => into.push('o'),
            'ř' => into.push('r'),
            'ś' | 'š' | 'ş' | 'ș' => into.push('s'),
            'ť' | 'ţ' | 'ț' => into.push('t'),
            'ù' | 'ú' | 'û' | 'ü' | 'ű' | 'ů' | 'ū' => into.push('u'),
            'ý' | 'ÿ' => into.push('y'),
            'ź' | 'ż' | 'ž' => into.push('z'),
            'ß' => into.push_str("ss"),
            'æ' => into.push_str("ae"),
            'œ' => into.push_str("oe"),
            'أ' | 'إ' | 'آ' | 'ٱ' => into.push('ا'),
            'ى' => into.push('ي'),
            'ة' => into.push('ه'),
            'ؤ' => into.push('و'),
            'ئ' => into.push('ي'),
            'ँ' => into.push('ं'),
            // Devanagari letters with a nukta, in one piece.
            '\u{958}' => into.push('क'),
            '\u{959}' => into.push('ख'),
            '\u{95a}' => into.push('ग'),
            '\u{95b}' => into.push('ज'),
            '\u{95c}' => into.push('ड'),
            '\u{95d}' => into.push('ढ'),
            '\u{95e}' => into.push('फ'),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_without_case_and_marks() {
        for (text, expected) in [
            ("¿Cuál es el HORARIO?", "cual es el horario"),
            ("I don't, I'd", "i dont id"),
            ("parler à quelqu’un d'humain", "parler a quelqu un d humain"),
            ("Straße über e\u{301}te", "strasse uber ete"),
            ("أُريد إنسانًا", "اريد انسانا"),
            ("मुझे एजेंट चाहिए।", "मुझे एजेंट चाहिए"),
            ("costs 3.50 or 4,20", "costs 3.50 or 4,20"),
        ] {
            assert_eq!(words(text).join(" "), expected);
        }
    }

    #[test]
    fn clauses_are_kept_apart() {
        assert_eq!(clauses("No, a human. Please!").len(), 3);
    }
}
