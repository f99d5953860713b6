//! Phone numbers as WhatsApp wants them, and the time zones they may be in. Numbering plans come from
//! libphonenumber, through `rlibphonenumber`.

use std::{collections::HashMap, sync::LazyLock};

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, enums::Region};

/// Where numbers without a country's code are dialled: `DE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(Region);

impl std::str::FromStr for Country {
    type Err = UnknownCountry;
    /// Two letters (ISO 3166-1).
    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        let code = text.trim().to_ascii_uppercase();
        if code.len() != 2 {
            return Err(UnknownCountry);
        }
        let region: Region = code.parse().map_err(|_| UnknownCountry)?;
        // Some of its names stand for no country.
        PHONE_NUMBER_UTIL.get_country_code_for_region(region).map(|_| Self(region)).ok_or(UnknownCountry)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a country is given by its two letters: DE, BR …")]
pub struct UnknownCountry;

/// The digits of a number in E.164, without the plus. `None`: nobody has that number.
pub fn digits(text: &str, country: Option<Country>) -> Option<String> {
    let text = text.trim();
    // Spreadsheets like to drop the plus; `00` is dialled in most countries.
    let parsed = match text.strip_prefix("00").filter(|_| country.is_none()) {
        Some(rest) => PHONE_NUMBER_UTIL.parse(format!("+{rest}"), None),
        None => match (text.starts_with('+'), country) {
            (true, _) => PHONE_NUMBER_UTIL.parse(text, None),
            (false, Some(Country(region))) => PHONE_NUMBER_UTIL.parse(text, Some(region)),
            (false, None) => PHONE_NUMBER_UTIL.parse(format!("+{text}"), None),
        },
    };
    let number = parsed.ok().filter(|number| PHONE_NUMBER_UTIL.is_valid_number(number))?;
    let written = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164);
    Some(written.trim_start_matches('+').to_owned())
}

/// `data/timezones.txt`, by the beginning of the number.
static ZONES: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let lines = include_str!("../data/timezones.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('|'))
        .map(|(prefix, zones)| (prefix, zones.split('&').collect()))
        .collect()
});
const LONGEST_PREFIX: usize = 9;

/// The zones that a number (digits) may be in, by its country and area; none for what is in no country.
pub fn zones(digits: &str) -> Option<&'static [&'static str]> {
    let longest = digits.len().min(LONGEST_PREFIX);
    let known = (1..=longest).rev().filter_map(|length| digits.get(..length));
    known.into_iter().find_map(|prefix| ZONES.get(prefix)).map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        let germany = Some("de".parse().unwrap());
        for (text, country, expected) in [
            ("+49 176 12345678", None, Some("4917612345678")),
            ("0176/12345678", germany, Some("4917612345678")),
            ("0049 176 12345678", germany, Some("4917612345678")),
            ("0049 176 12345678", None, Some("4917612345678")),
            ("4917612345678", None, Some("4917612345678")),
            ("+1 (415) 555-2671", germany, Some("14155552671")),
            ("(11) 98765-4321", Some("BR".parse().unwrap()), Some("5511987654321")),
            ("12", germany, None),
            ("", None, None),
            ("Ana", germany, None),
        ] {
            assert_eq!(digits(text, country).as_deref(), expected, "{text}");
        }
        assert!("XX".parse::<Country>().is_err() && "Germany".parse::<Country>().is_err());
    }

    #[test]
    fn the_area_narrows_the_zones() {
        assert_eq!(zones("12125550100").unwrap(), ["America/New_York"]);
        assert_eq!(zones("4917612345678").unwrap(), ["Europe/Berlin"]);
        assert!(zones("18005550100").unwrap().len() > 10);
        assert_eq!(zones("999"), None);
        let known = ZONES.values().flatten().all(|name| crate::schedule::zone(name).is_some());
        assert!(known, "a zone is not in the bundled database");
        assert!(ZONES.keys().all(|prefix| prefix.len() <= LONGEST_PREFIX));
    }
}
