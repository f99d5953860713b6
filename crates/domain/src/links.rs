//! Links to files that Baton keeps: whoever has one may have the file until it expires. Handoff makes
//! them, ingress takes them; nobody else can make one that is taken.
//!
//! A link holds the object's name (a keyed digest), the ending that its file should have, and when it
//! expires; nothing personal. It is signed with a key derived from the deployment's secret.

use crate::{Millis, derive::Keying};

/// What a link opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLink {
    /// In the object store.
    pub object: String,
    /// Of the file's name, without the dot: `webp`. Empty: unknown.
    pub ending: String,
    pub expires_at: Millis,
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    #[error("the link is not one of ours, or was changed")]
    Forged,
    #[error("the link has expired")]
    Expired,
}

/// Longer ones are not ours.
const LONGEST: usize = 256;
const PURPOSE: &str = "file link";

impl FileLink {
    /// What stands in the address: `<object>.<ending>.<expiry, seconds>.<signature>`.
    pub fn token(&self, keying: &Keying) -> String {
        let Self { object, ending, expires_at } = self;
        let ending: String = ending.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let signed = format!("{object}.{ending}.{}", expires_at.div_euclid(1000));
        let signature = keying.sign(PURPOSE, signed.as_bytes());
        format!("{signed}.{}", hex::encode(signature))
    }

    /// # Errors
    /// Whoever changes a link learns nothing but that it is not ours.
    pub fn open(token: &str, keying: &Keying, now: Millis) -> Result<Self, Unopened> {
        if token.len() > LONGEST {
            return Err(Unopened::Forged);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Unopened::Forged)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes).map_err(|_| Unopened::Forged)?;
        if !keying.signed(PURPOSE, signed.as_bytes(), &bytes) {
            return Err(Unopened::Forged);
        }
        let mut parts = signed.rsplitn(3, '.');
        let (Some(seconds), Some(ending), Some(object)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Unopened::Forged);
        };
        let seconds: Millis = seconds.parse().map_err(|_| Unopened::Forged)?;
        let expires_at = seconds.saturating_mul(1000);
        if expires_at <= now {
            return Err(Unopened::Expired);
        }
        Ok(Self { object: object.to_owned(), ending: ending.to_owned(), expires_at })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    const NOW: Millis = 1_795_186_800_000;

    fn keying(secret: &str) -> Keying {
        Keying::new(&SecretString::from(secret.to_owned()))
    }

    fn link() -> FileLink {
        FileLink { object: "0123abcd".into(), ending: "webp".into(), expires_at: NOW + 60_000 }
    }

    #[test]
    fn a_link_opens_until_it_expires() {
        let keys = keying("one");
        let token = link().token(&keys);
        assert_eq!(FileLink::open(&token, &keys, NOW), Ok(link()));
        assert_eq!(FileLink::open(&token, &keys, NOW + 60_000), Err(Unopened::Expired));
        let odd = FileLink { ending: "../x".into(), ..link() }.token(&keys);
        assert_eq!(FileLink::open(&odd, &keys, NOW).unwrap().ending, "x");
    }

    #[test]
    fn nobody_makes_or_changes_a_link() {
        let keys = keying("one");
        let token = link().token(&keys);
        for forged in [
            token.replace("0123abcd", "0123abce"),
            token.replace(".webp.", ".html."),
            link().token(&keying("two")),
            token[..token.len() - 1].to_owned(),
            token.split_once('.').unwrap().0.to_owned(),
            "x".repeat(10_000),
            String::new(),
        ] {
            assert_eq!(FileLink::open(&forged, &keys, NOW), Err(Unopened::Forged), "{forged}");
        }
        let later = (NOW + 60_000) / 1000;
        let forged = token.replace(&later.to_string(), &(later + 1_000).to_string());
        assert_eq!(FileLink::open(&forged, &keys, NOW), Err(Unopened::Forged));
    }
}
