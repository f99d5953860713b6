//! The keys that identity tokens are signed with: made, published, rotated (§2.2).
//!
//! Salesforce takes one JWK at a time, or fetches a JWKS. Either way a key needs `x5c`: without it
//! the key is stored, but verification fails quietly.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rsa::KeySize,
    signature::{KeyPair as _, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{Millis, settings::Integration};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, date_time_ymd};
use rustls::pki_types::{
    PrivatePkcs8KeyDer,
    pem::{PemObject as _, SectionKind},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::identity::{Error, Signer, belongs, private_key};

/// Of a certificate, in years from the year after which it was made. Salesforce wants ten more days.
const CERTIFICATE_YEARS: i32 = 10;

/// A new key, both halves as PEM.
#[derive(Debug)]
pub struct KeyPair {
    /// PKCS#8.
    pub private_pem: SecretString,
    /// `SubjectPublicKeyInfo`.
    pub public_pem: String,
}

/// Makes an RSA key of at least `bits` (2048, 3072, 4096 or 8192 in fact). It takes up to seconds
/// of CPU: not on a thread that serves others.
///
/// # Errors
/// [`Error::TooShort`] below 2048 bits, [`Error::TooLong`] above 8192.
pub fn generate_key_pair(bits: usize) -> Result<KeyPair, Error> {
    let size = match bits {
        0..2048 => return Err(Error::TooShort),
        2048 => KeySize::Rsa2048,
        2049..=3072 => KeySize::Rsa3072,
        3073..=4096 => KeySize::Rsa4096,
        4097..=8192 => KeySize::Rsa8192,
        _ => return Err(Error::TooLong),
    };
    let key = RsaKeyPair::generate(size).map_err(|_| Error::CannotSign)?;
    let private: Pkcs8V1Der<'_> = key.as_der().map_err(|_| Error::CannotSign)?;
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| Error::CannotSign)?;
    Ok(KeyPair {
        private_pem: pem("PRIVATE KEY", private.as_ref()).into(),
        public_pem: pem("PUBLIC KEY", public.as_ref()),
    })
}

/// A self-signed certificate for the key, as PEM: what `x5c` holds. The same for the same key, name
/// and calendar year, so that every process publishes the same. Valid from the beginning of last
/// year, for ten years after this one.
pub fn certificate(private_pem: &SecretString, common_name: &str, now: Millis) -> Result<String, Error> {
    let key = private_key(private_pem.expose_secret())?;
    let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| Error::Damaged)?;
    let key =
        rcgen::KeyPair::try_from(&PrivatePkcs8KeyDer::from(der.as_ref())).map_err(|_| Error::Damaged)?;
    let mut params = CertificateParams::default();
    let year = year_of(now);
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + CERTIFICATE_YEARS, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let certificate = params.self_signed(&key).map_err(|_| Error::CannotSign)?;
    Ok(pem("CERTIFICATE", certificate.der()))
}

/// A public key, or a certificate, as the JWK that an admin pastes into Salesforce. Only from a
/// certificate ([`certificate`]) does it get the `x5c` that Salesforce wants.
pub fn jwk(public_pem: &str, kid: &str) -> Result<Value, Error> {
    if kid.is_empty() {
        return Err(Error::NoKeyId);
    }
    let (kind, der) =
        <(SectionKind, Vec<u8>)>::from_pem_slice(public_pem.as_bytes()).map_err(|_| Error::PublicNotPem)?;
    if !matches!(kind, SectionKind::PublicKey | SectionKind::Certificate) {
        return Err(Error::PublicNotPem);
    }
    let key = DecodingKey::from_rsa_pem(public_pem.as_bytes()).map_err(|_| Error::PublicNotRsa)?;
    let key = Jwk::from_decoding_key(&key, Some(Algorithm::RS256)).map_err(|_| Error::PublicNotRsa)?;
    let AlgorithmParameters::RSA(key) = key.algorithm else { return Err(Error::PublicNotRsa) };
    let mut jwk = json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": key.n, "e": key.e });
    if kind == SectionKind::Certificate {
        jwk["x5c"] = json!([STANDARD.encode(der)]);
    }
    Ok(jwk)
}

/// What an endpoint answers that Salesforce fetches keys from.
pub fn jwks(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

/// A key that an integration signs with, or did: Salesforce may know one or the other while keys
/// are being changed.
#[derive(Debug, Clone)]
pub struct Key {
    /// `kid`, as registered in Salesforce.
    pub id: String,
    pub private_pem: SecretString,
    /// The public key or its certificate; made from the private key when empty.
    pub public_pem: String,
    /// From when on it signs: of those whose moment has come the newest does. [`Millis::MAX`]:
    /// published only.
    pub since: Millis,
}

/// The live keys of an integration, never none. A new key is added, then registered in Salesforce,
/// and the old one removed later.
#[derive(Debug, Clone)]
pub struct KeyRing {
    /// Newest first.
    keys: Vec<Key>,
    /// In the same order, made when first asked for.
    published: OnceLock<Value>,
}

impl KeyRing {
    /// # Errors
    /// As for [`Signer::new`], for any of them. [`Error::NoKeyId`] also without keys, and
    /// [`Error::KeyIdTwice`].
    pub fn new(mut keys: Vec<Key>) -> Result<Self, Error> {
        keys.sort_by_key(|key| std::cmp::Reverse(key.since));
        for (i, key) in keys.iter().enumerate() {
            if key.id.is_empty() {
                return Err(Error::NoKeyId);
            }
            if keys[..i].iter().any(|other| other.id == key.id) {
                return Err(Error::KeyIdTwice);
            }
            let private = private_key(key.private_pem.expose_secret())?;
            if !key.public_pem.trim().is_empty() {
                belongs(&key.public_pem, private.public_key().as_ref())?;
            }
        }
        if keys.is_empty() {
            return Err(Error::NoKeyId);
        }
        Ok(Self { keys, published: OnceLock::new() })
    }

    /// The integration's key, and those beside it.
    pub fn from_settings(integration: &Integration) -> Result<Self, Error> {
        let first = Key {
            id: integration.auth_key_id.clone(),
            private_pem: integration.jwt_private_key.clone(),
            public_pem: integration.jwt_public_key.clone(),
            since: Millis::MIN,
        };
        let more = integration.more_keys.iter().map(|key| Key {
            id: key.auth_key_id.clone(),
            private_pem: key.jwt_private_key.clone(),
            public_pem: key.jwt_public_key.clone(),
            since: key.signs_from.unwrap_or(Millis::MAX),
        });
        Self::new(std::iter::once(first).chain(more).collect())
    }

    /// Signs with the newest key whose moment has come.
    pub fn signer(&self, issuer: &str) -> Result<Signer, Error> {
        let keys = self.keys.iter().map(|Key { id, private_pem, public_pem, since }| {
            let public = Some(public_pem.as_str()).filter(|pem| !pem.trim().is_empty());
            (private_pem, public, id.as_str(), *since)
        });
        Signer::of(keys, issuer)
    }

    /// All of them, newest first, each with `x5c`. `name` and `now` are for the certificates of those
    /// that have none, and are heeded the first time only.
    pub fn jwks(&self, name: &str, now: Millis) -> Result<Value, Error> {
        if let Some(known) = self.published.get() {
            return Ok(known.clone());
        }
        let published = |key: &Key| {
            if key.public_pem.contains("-----BEGIN CERTIFICATE-----") {
                return jwk(&key.public_pem, &key.id);
            }
            jwk(&certificate(&key.private_pem, name, now)?, &key.id)
        };
        let keys = self.keys.iter().map(published).collect::<Result<Vec<_>, _>>()?;
        Ok(self.published.get_or_init(|| jwks(&keys)).clone())
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + &format!("-----END {label}-----\n")
}

/// The calendar year, give or take a day, which is of no matter here.
fn year_of(now: Millis) -> i32 {
    let days = now.div_euclid(86_400_000);
    1970 + i32::try_from(days * 400 / 146_097).unwrap_or(60).clamp(0, 8_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_795_186_800_000;

    #[test]
    fn a_made_key_signs_is_published_and_verifies() {
        let pair = generate_key_pair(2048).unwrap();
        let signer = Signer::new(&pair.private_pem, Some(&pair.public_pem), "key-1", "baton").unwrap();
        let token = signer.sign("contact-1", NOW).unwrap();

        let certificate = certificate(&pair.private_pem, "baton.example.com", NOW).unwrap();
        let made = jwk(&certificate, "key-1").unwrap();
        let members: Vec<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use", "x5c"]);
        // As Salesforce would: from the JWK alone.
        let key: Jwk = serde_json::from_value(made.clone()).unwrap();
        let mut rules = jsonwebtoken::Validation::new(Algorithm::RS256);
        rules.validate_exp = false;
        let key = DecodingKey::from_jwk(&key).unwrap();
        assert!(jsonwebtoken::decode::<Value>(token.expose_secret(), &key, &rules).is_ok());
        // The certificate is the private key's, and the public half says the same without it.
        assert!(Signer::new(&pair.private_pem, Some(&certificate), "key-1", "baton").is_ok());
        let bare = jwk(&pair.public_pem, "key-1").unwrap();
        assert_eq!((&bare["n"], &bare["e"], bare.get("x5c")), (&made["n"], &made["e"], None));
    }

    #[test]
    fn every_process_makes_the_same_certificate() {
        let pair = generate_key_pair(2048).unwrap();
        let made = |now| certificate(&pair.private_pem, "baton", now).unwrap();
        assert_eq!(made(NOW), made(NOW + 20 * 86_400_000));
    }

    #[test]
    fn the_recorded_key_is_published_as_recorded() {
        let recorded: Value =
            serde_json::from_str(include_str!("../testdata/jwk-for-salesforce-upload.json")).unwrap();
        let der = STANDARD.decode(recorded["x5c"][0].as_str().unwrap()).unwrap();
        let made = jwk(&pem("CERTIFICATE", &der), "bridge-key-2026-11").unwrap();
        assert_eq!(made, recorded);
        let file: Value =
            serde_json::from_str(include_str!("../testdata/jwks-endpoint-response.json")).unwrap();
        assert_eq!(jwks(&[made]), file);
    }

    #[test]
    fn the_newest_key_signs_and_all_are_published() {
        let key = |id: &str, since| {
            let KeyPair { private_pem, public_pem } = generate_key_pair(2048).unwrap();
            Key { id: id.into(), private_pem, public_pem, since }
        };
        let (old, new) = (key("old", 1), key("new", 2));
        let ring = KeyRing::new(vec![old.clone(), new.clone()]).unwrap();
        let signs = |ring: &KeyRing, now| {
            let token = ring.signer("baton").unwrap().sign("contact-1", now).unwrap();
            jsonwebtoken::decode_header(token.expose_secret()).unwrap().kid.unwrap()
        };
        assert_eq!(signs(&ring, NOW), "new");
        let published = ring.jwks("baton", NOW).unwrap();
        let ids: Vec<&str> =
            published["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(ids, ["new", "old"]);
        assert!(published["keys"].as_array().unwrap().iter().all(|key| key["x5c"][0].is_string()));

        // Published first, signing from a moment on, or not at all.
        let later = KeyRing::new(vec![old.clone(), Key { since: NOW + 1, ..new.clone() }]).unwrap();
        assert_eq!([signs(&later, NOW), signs(&later, NOW + 1)], ["old", "new"]);
        let never = KeyRing::new(vec![old.clone(), Key { since: Millis::MAX, ..new.clone() }]).unwrap();
        assert_eq!(signs(&never, NOW), "old");
        assert_eq!(never.jwks("baton", NOW).unwrap()["keys"].as_array().unwrap().len(), 2);

        assert_eq!(KeyRing::new(vec![]).unwrap_err(), Error::NoKeyId);
        let twice = Key { id: "old".into(), ..new.clone() };
        assert_eq!(KeyRing::new(vec![old.clone(), twice]).unwrap_err(), Error::KeyIdTwice);
        let mixed = Key { public_pem: old.public_pem, ..new };
        assert_eq!(KeyRing::new(vec![mixed]).unwrap_err(), Error::Mismatch);
    }

    #[test]
    fn short_keys_are_not_made_and_others_not_published() {
        assert_eq!(generate_key_pair(1024).unwrap_err(), Error::TooShort);
        assert_eq!(generate_key_pair(16_384).unwrap_err(), Error::TooLong);
        let pair = generate_key_pair(2048).unwrap();
        assert_eq!(jwk(pair.private_pem.expose_secret(), "k").unwrap_err(), Error::PublicNotPem);
        assert_eq!(jwk(&pair.public_pem, "").unwrap_err(), Error::NoKeyId);
        assert_eq!(jwk("nothing", "k").unwrap_err(), Error::PublicNotPem);
        assert!(!format!("{pair:?}").contains("PRIVATE"));
    }

    #[test]
    fn years_are_near_enough() {
        assert_eq!(year_of(NOW), 2026);
        assert_eq!(year_of(0), 1970);
        assert_eq!(year_of(Millis::MAX), 9_970);
    }
}
