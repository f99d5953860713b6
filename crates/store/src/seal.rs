//! Encryption at rest: AES-256-GCM-SIV, which forgives a repeated nonce. A sealed value names its
//! key and is bound to the place where it is kept.

use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};

/// `<key id>.<base64 of nonce and ciphertext>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "MASTER_KEY must be `id:base64 of 32 bytes`, several separated by commas; for example from `openssl rand -base64 32`"
)]
pub struct BadMasterKey;

/// The keys of MASTER_KEY. Cheap to clone.
#[derive(Clone)]
pub struct Seal(Arc<Vec<(String, LessSafeKey)>>);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// # Errors
    /// When it is not written as MASTER_KEY has to be.
    pub fn new(master_key: &SecretString) -> Result<Self, BadMasterKey> {
        let keys = master_key
            .expose_secret()
            .split(',')
            .map(|one| {
                let (id, key) = one.trim().split_once(':').ok_or(BadMasterKey)?;
                if id.is_empty() || id.contains('.') {
                    return Err(BadMasterKey);
                }
                let key = STANDARD.decode(key).map_err(|_| BadMasterKey)?;
                let key = UnboundKey::new(&AES_256_GCM_SIV, &key).map_err(|_| BadMasterKey)?;
                Ok((id.to_owned(), LessSafeKey::new(key)))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Arc::new(keys)))
    }

    /// `place`: where it will be kept; opened elsewhere it is refused. `None`: the system gives no
    /// random bytes.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Option<Sealed> {
        let (id, key) = self.0.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut bytes = plain.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place.as_bytes()),
            &mut bytes,
        )
        .ok()?;
        Some(Sealed(format!("{id}.{}", STANDARD.encode([&nonce[..], &bytes].concat()))))
    }

    /// `None`: it was sealed under a key that is not here, for another place, or is no such value.
    pub fn open(&self, place: &str, sealed: &Sealed) -> Option<Vec<u8>> {
        let (id, text) = sealed.0.split_once('.')?;
        let (_, key) = self.0.iter().find(|(known, _)| known == id)?;
        let bytes = STANDARD.decode(text).ok()?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = ciphertext.to_vec();
        let plain = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place.as_bytes()), &mut bytes)
            .ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(text: &str) -> Result<Seal, BadMasterKey> {
        Seal::new(&SecretString::from(text.to_owned()))
    }

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let seal = seal(&format!("a:{}", key(1))).unwrap();
        let sealed = seal.seal("here", b"secret").unwrap();
        assert_eq!(seal.open("here", &sealed).unwrap(), b"secret");
        assert_eq!(seal.open("there", &sealed), None);
        assert!(!sealed.0.contains("secret"));
    }

    #[test]
    fn keys_rotate() {
        let old = seal(&format!("a:{}", key(1))).unwrap();
        let both = seal(&format!("b:{},a:{}", key(2), key(1))).unwrap();
        let sealed = old.seal("here", b"x").unwrap();
        assert_eq!(both.open("here", &sealed).unwrap(), b"x");
        assert!(both.seal("here", b"x").unwrap().0.starts_with("b."));
    }

    #[test]
    fn malformed_keys_are_refused() {
        for bad in ["", "a", "a:xx", ":AAAA", "a:AAAA"] {
            assert!(seal(bad).is_err(), "{bad}");
        }
    }
}
