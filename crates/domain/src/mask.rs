//! What is replaced in texts before others see them: card numbers, e-mail addresses, national ids.
//! Each is recognised by its check digits where it has some, so that order numbers stay.

use crate::settings::Masking;

/// A text without what was to be hidden, and how much that was: the counts may be measured, the
/// text is personal data as before.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Masked {
    pub text: String,
    pub cards: u32,
    pub emails: u32,
    pub national_ids: u32,
}

impl Masked {
    /// What was hidden, by kind, for metrics.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u32)> + use<> {
        let all = [("card", self.cards), ("email", self.emails), ("national-id", self.national_ids)];
        all.into_iter().filter(|(_, count)| *count > 0)
    }
}

impl std::fmt::Debug for Masked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { text: _, cards, emails, national_ids } = self;
        write!(f, "Masked({cards} cards, {emails} e-mails, {national_ids} national ids)")
    }
}

const CARD: &str = "[card number]";
const EMAIL: &str = "[e-mail address]";
const NATIONAL_ID: &str = "[national id]";

pub fn mask(text: &str, masking: &Masking) -> Masked {
    let mut masked = Masked { text: text.to_owned(), ..Masked::default() };
    if masking.emails {
        masked.text = replace(&masked.text, email, EMAIL, &mut masked.emails);
    }
    if masking.cards {
        masked.text = replace(&masked.text, card, CARD, &mut masked.cards);
    }
    if masking.national_ids {
        masked.text = replace(&masked.text, national_id, NATIONAL_ID, &mut masked.national_ids);
    }
    masked
}

/// `find`: how many characters of a thing to hide start here, seen from a place that follows nothing
/// that belongs to the same word.
fn replace(text: &str, find: fn(&[char]) -> Option<usize>, with: &str, count: &mut u32) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let starts_word = at == 0 || !(chars[at - 1].is_alphanumeric() || is_local(chars[at - 1]));
        if starts_word && let Some(length) = find(&chars[at..]) {
            out.push_str(with);
            *count += 1;
            at += length;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// What may stand in the local part of an address between letters and digits.
fn is_local(c: char) -> bool {
    matches!(c, '_' | '%' | '+')
}

fn email(chars: &[char]) -> Option<usize> {
    let local = chars.iter().take_while(|c| c.is_alphanumeric() || is_local(**c) || matches!(c, '.' | '-'));
    let at = local.take(65).count();
    if at == 0 || at > 64 || chars.get(at) != Some(&'@') {
        return None;
    }
    let domain = &chars[at + 1..];
    let mut end =
        domain.iter().take(254).take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '-')).count();
    while end > 0 && matches!(domain[end - 1], '.' | '-') {
        end -= 1;
    }
    let top = domain[..end].iter().rev().take_while(|c| c.is_alphabetic()).count();
    let dotted = end > top + 1 && domain[end - top - 1] == '.';
    (top >= 2 && dotted).then_some(at + 1 + end)
}

/// 13 to 19 digits, single blanks or hyphens between them, that add up by Luhn's rule. More may
/// follow behind a blank: a card's three digits, another card.
fn card(chars: &[char]) -> Option<usize> {
    let (digits, ends) = digits(chars, &[' ', '-', '\u{a0}'], 20);
    (13..=19.min(digits.len())).rev().find_map(|count| {
        let (card, end) = (&digits[..count], ends[count - 1]);
        let whole = !chars.get(end).is_some_and(char::is_ascii_digit);
        (whole && luhn(card) && card.iter().any(|d| *d != 0)).then_some(end)
    })
}

/// The digits from here on, at most `limit`, and where each ends.
fn digits(chars: &[char], separators: &[char], limit: usize) -> (Vec<u32>, Vec<usize>) {
    let (mut digits, mut ends) = (Vec::new(), Vec::new());
    for (i, c) in chars.iter().enumerate() {
        if let Some(digit) = c.to_digit(10) {
            digits.push(digit);
            ends.push(i + 1);
            if digits.len() == limit {
                break;
            }
        } else if i == 0 || !separators.contains(c) || separators.contains(&chars[i - 1]) {
            break;
        }
    }
    (digits, ends)
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| if i % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    sum.is_multiple_of(10)
}

fn national_id(chars: &[char]) -> Option<usize> {
    [social_security_number, cpf, dni].iter().find_map(|find| find(chars))
}

/// What stands behind it belongs to no longer word.
fn ends_at(chars: &[char], length: usize) -> Option<usize> {
    let behind = chars.get(length).is_some_and(|c| c.is_alphanumeric());
    let goes_on = matches!(chars.get(length), Some('-' | '.'))
        && chars.get(length + 1).is_some_and(char::is_ascii_digit);
    (!behind && !goes_on).then_some(length)
}

/// `ddd-dd-dddd`, without the areas and groups that are never given out.
fn social_security_number(chars: &[char]) -> Option<usize> {
    let shape = |i: usize, c: char| if matches!(i, 3 | 6) { c == '-' } else { c.is_ascii_digit() };
    if chars.len() < 11 || !chars[..11].iter().enumerate().all(|(i, c)| shape(i, *c)) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| chars[range].iter().collect::<String>();
    let area = number(0..3);
    let given = area != "000" && area != "666" && !area.starts_with('9');
    (given && number(4..6) != "00" && number(7..11) != "0000").then_some(11).and_then(|n| ends_at(chars, n))
}

/// Eleven digits, as `ddd.ddd.ddd-dd` or bare, the last two of which check the others.
fn cpf(chars: &[char]) -> Option<usize> {
    let (digits, ends) = digits(chars, &['.', '-'], 12);
    if digits.len() != 11 || digits.iter().all(|d| *d == digits[0]) {
        return None;
    }
    let check = |count: usize| {
        let weights = (2..=count + 1).rev();
        let sum: usize = digits[..count].iter().zip(weights).map(|(d, weight)| *d as usize * weight).sum();
        let rest = sum * 10 % 11;
        digits[count] as usize == rest % 10
    };
    (check(9) && check(10)).then(|| ends[10]).and_then(|n| ends_at(chars, n))
}

/// Eight digits (seven behind X, Y or Z) and the letter that checks them.
fn dni(chars: &[char]) -> Option<usize> {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let first = match chars.first()?.to_ascii_uppercase() {
        'X' => Some('0'),
        'Y' => Some('1'),
        'Z' => Some('2'),
        _ => None,
    };
    let digits: String =
        first.into_iter().chain(chars.iter().skip(usize::from(first.is_some())).copied()).take(8).collect();
    let number: usize = digits.parse().ok().filter(|_| digits.len() == 8)?;
    let hyphen = usize::from(chars.get(8) == Some(&'-'));
    let letter = chars.get(8 + hyphen)?.to_ascii_uppercase();
    (letter == char::from(LETTERS[number % 23])).then_some(9 + hyphen).and_then(|n| ends_at(chars, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Masking = Masking { cards: true, emails: true, national_ids: true };

    #[test]
    fn cards_addresses_and_ids_are_replaced_and_counted() {
        for (text, expected) in [
            ("card 4111 1111 1111 1111, thanks", "card [card number], thanks"),
            ("4111111111111111 123", "[card number] 123"),
            ("4111-1111-1111-1111", "[card number]"),
            ("378282246310005.", "[card number]."),
            ("write to ana.lopez+x@mail.example.com!", "write to [e-mail address]!"),
            ("<ana@example.org>", "<[e-mail address]>"),
            ("ana@example.org.", "[e-mail address]."),
            ("SSN 219-09-9999", "SSN [national id]"),
            ("CPF 529.982.247-25 ok", "CPF [national id] ok"),
            ("52998224725", "[national id]"),
            ("mi DNI es 12345678Z", "mi DNI es [national id]"),
            ("NIE x1234567-l", "NIE [national id]"),
        ] {
            assert_eq!(mask(text, &ALL).text, expected);
        }
        let masked = mask("a@b.io 4111111111111111 5500005555555559 12345678Z", &ALL);
        assert_eq!((masked.cards, masked.emails, masked.national_ids), (2, 1, 1));
        assert_eq!(format!("{masked:?}"), "Masked(2 cards, 1 e-mails, 1 national ids)");
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        for text in [
            "order 4111 1111 1111 1112",
            "tracking 00340434161094042557",
            "call +1 555 010 0200",
            "2026-11-23 10:30",
            "a@b",
            "@ana",
            "000-12-3456",
            "12345678A",
            "111.111.111-11",
            "0000 0000 0000 0000",
            "",
        ] {
            assert_eq!(mask(text, &ALL).text, text);
        }
        let off = Masking::default();
        assert_eq!(mask("a@b.io 4111111111111111", &off).text, "a@b.io 4111111111111111");
    }
}
