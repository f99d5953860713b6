//! The identity token: proof, signed by us, of who the end user is (User Verification, §2.2).
//!
//! The claims are exactly those that Salesforce's own tool writes: `sub`, `iss`, `exp`, `iat`; and
//! `aud` where an org turns out to check one.

use std::sync::Arc;

use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use domain::{Millis, settings::Integration};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::{
    PrivateKeyDer,
    pem::{PemObject as _, SectionKind},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::keys::KeyRing;

/// Seconds that an identity token lives. It only has to last until it is exchanged (§2.2).
pub const LIFETIME_SECONDS: i64 = 300;
/// Salesforce's least (§2.2).
const LEAST_BITS: usize = 2048;
/// `sub` ends up in the end user's subject; siblings of the API cap ids at 240 (§2.2).
const LONGEST_SUB: usize = 128;

/// What is wrong with a key or a subject, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "jwt_private_key is not PEM: it must start with -----BEGIN PRIVATE KEY----- and keep its line breaks"
    )]
    NotPem,
    #[error("jwt_private_key is encrypted: store it without a passphrase")]
    Encrypted,
    #[error("jwt_private_key is a public key or a certificate: the private half is needed")]
    NotPrivate,
    #[error("jwt_private_key is not an RSA key: Salesforce wants RSA with RS256")]
    NotRsa,
    #[error("jwt_private_key is too short: Salesforce wants RSA keys of 2048 bits or more")]
    TooShort,
    #[error("jwt_private_key is too long: RSA keys have 8192 bits at most here")]
    TooLong,
    #[error("jwt_private_key is damaged: its parts do not make up an RSA key")]
    Damaged,
    #[error("jwt_private_key is cut off: its -----END line is missing")]
    CutOff,
    #[error("jwt_public_key is neither a PEM public key nor a PEM certificate")]
    PublicNotPem,
    #[error("jwt_public_key is not an RSA key")]
    PublicNotRsa,
    #[error("jwt_public_key does not belong to jwt_private_key")]
    Mismatch,
    #[error("auth_key_id is empty: it is the kid of the key registered in Salesforce")]
    NoKeyId,
    #[error("auth_key_id is there twice: every key has one of its own")]
    KeyIdTwice,
    #[error("issuer is empty: it is the issuer of the keyset in Salesforce")]
    NoIssuer,
    #[error("a subject must be 1 to 128 visible ASCII characters without a slash")]
    BadSubject,
    #[error("the key cannot sign")]
    CannotSign,
}

/// Signs identity tokens for one integration.
#[derive(Clone)]
pub struct Signer {
    /// Newest first, never none.
    keys: Arc<[SigningKey]>,
    issuer: Arc<str>,
    audience: Option<Arc<str>>,
}

struct SigningKey {
    id: String,
    key: EncodingKey,
    /// From when on it signs.
    since: Millis,
}

/// The private key never shows.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.keys.iter().map(|key| &key.id).collect::<Vec<_>>();
        f.debug_struct("Signer").field("key_ids", &ids).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iss: &'a str,
    exp: i64,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Signer {
    /// `private_pem`: PKCS#8 or PKCS#1. `public_pem`: the public key or its certificate; when
    /// given, it must belong to the private key, so that a mix-up shows at start-up rather than
    /// as customers whom Salesforce does not recognise. `key_id` becomes `kid`; `issuer` must
    /// equal the keyset's issuer byte for byte.
    pub fn new(
        private_pem: &SecretString,
        public_pem: Option<&str>,
        key_id: &str,
        issuer: &str,
    ) -> Result<Self, Error> {
        Self::of([(private_pem, public_pem, key_id, Millis::MIN)], issuer)
    }

    /// With several keys, newest first: private key, public key or certificate, id, and from when on
    /// it signs. The first one whose moment has come does; before any has, the last.
    ///
    /// # Errors
    /// [`Error::NoKeyId`] also when there are none.
    pub(crate) fn of<'a>(
        keys: impl IntoIterator<Item = (&'a SecretString, Option<&'a str>, &'a str, Millis)>,
        issuer: &str,
    ) -> Result<Self, Error> {
        let mut sound = Vec::new();
        for (private_pem, public_pem, id, since) in keys {
            let pem = private_pem.expose_secret();
            let private = private_key(pem)?;
            let key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| Error::Damaged)?;
            if let Some(pem) = public_pem {
                belongs(pem, private.public_key().as_ref())?;
            }
            if id.is_empty() {
                return Err(Error::NoKeyId);
            }
            sound.push(SigningKey { id: id.to_owned(), key, since });
        }
        if sound.is_empty() {
            return Err(Error::NoKeyId);
        }
        if issuer.is_empty() {
            return Err(Error::NoIssuer);
        }
        Ok(Self { keys: sound.into(), issuer: issuer.into(), audience: None })
    }

    /// With the integration's key, and those beside it once their moment has come.
    pub fn from_settings(integration: &Integration) -> Result<Self, Error> {
        let signer = KeyRing::from_settings(integration)?.signer(&integration.issuer)?;
        Ok(Self { audience: integration.audience.as_deref().map(Into::into), ..signer })
    }

    /// An identity token for `sub`, valid for [`LIFETIME_SECONDS`] from `now`.
    pub fn sign(&self, sub: &str, now: Millis) -> Result<SecretString, Error> {
        let visible = |b: u8| b.is_ascii_graphic() && b != b'/';
        if sub.is_empty() || sub.len() > LONGEST_SUB || !sub.bytes().all(visible) {
            return Err(Error::BadSubject);
        }
        let iat = now.div_euclid(1000);
        let aud = self.audience.as_deref();
        let claims = Claims { sub, iss: &self.issuer, exp: iat + LIFETIME_SECONDS, iat, aud };
        let due = self.keys.iter().find(|key| key.since <= now).or(self.keys.last());
        let SigningKey { id, key, since: _ } = due.ok_or(Error::CannotSign)?;
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::RS256) };
        let token = jsonwebtoken::encode(&header, &claims, key).map_err(|_| Error::CannotSign)?;
        Ok(token.into())
    }
}

pub(crate) fn private_key(pem: &str) -> Result<RsaKeyPair, Error> {
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Error::Encrypted);
    }
    if pem.contains("-----BEGIN ") && !pem.contains("-----END ") {
        return Err(Error::CutOff);
    }
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        let other = <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()).is_ok();
        if other { Error::NotPrivate } else { Error::NotPem }
    })?;
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, open to additions")]
    let key = match &der {
        PrivateKeyDer::Pkcs8(der) => {
            // The algorithm's object identifier, rsaEncryption (1.2.840.113549.1.1.1).
            const RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
            let head = der.secret_pkcs8_der();
            if !contains(&head[..head.len().min(64)], &RSA) {
                return Err(Error::NotRsa);
            }
            RsaKeyPair::from_pkcs8(head)
        }
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(Error::NotRsa),
    };
    // aws-lc-rs tells its reasons apart by name only.
    let key =
        key.map_err(|why| if why.to_string() == "TooSmall" { Error::TooShort } else { Error::Damaged })?;
    if key.public_modulus_len() * 8 < LEAST_BITS { Err(Error::TooShort) } else { Ok(key) }
}

/// A public key, in any of its encodings, and a certificate all contain the `RSAPublicKey`
/// structure (modulus and exponent) byte for byte; nothing else of its length can.
pub(crate) fn belongs(pem: &str, rsa_public_key: &[u8]) -> Result<(), Error> {
    let (kind, der) =
        <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()).map_err(|_| Error::PublicNotPem)?;
    if !matches!(kind, SectionKind::PublicKey | SectionKind::Certificate) {
        return Err(Error::PublicNotPem);
    }
    if contains(&der, rsa_public_key) { Ok(()) } else { Err(Error::Mismatch) }
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || hay.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
        rsa::KeySize,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
    };
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::Value;

    use super::*;

    static KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    const NOW: Millis = 1_795_186_800_999;

    fn pem(label: &str, der: &[u8]) -> String {
        let lines: Vec<_> = STANDARD
            .encode(der)
            .as_bytes()
            .chunks(64)
            .map(|l| String::from_utf8_lossy(l).into_owned())
            .collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    fn private() -> String {
        let der: Pkcs8V1Der<'_> = KEY.as_der().unwrap();
        pem("PRIVATE KEY", der.as_ref())
    }

    fn public(key: &RsaKeyPair) -> String {
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        pem("PUBLIC KEY", der.as_ref())
    }

    fn signer(private: &str, public: Option<&str>) -> Result<Signer, Error> {
        Signer::new(&private.to_owned().into(), public, "key-1", "https://bridge.example.com")
    }

    #[test]
    fn salesforce_would_verify_what_is_signed() {
        let token = signer(&private(), Some(&public(&KEY))).unwrap().sign("contact-1", NOW).unwrap();
        let token = token.expose_secret();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::RS256, Some("key-1")));

        let mut rules = Validation::new(Algorithm::RS256);
        rules.validate_exp = false;
        rules.set_issuer(&["https://bridge.example.com"]);
        let key = DecodingKey::from_rsa_pem(public(&KEY).as_bytes()).unwrap();
        let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims;
        assert_eq!(
            claims,
            serde_json::json!({ "sub": "contact-1", "iss": "https://bridge.example.com",
                                "iat": 1_795_186_800, "exp": 1_795_187_100 })
        );
    }

    #[test]
    fn pkcs1_is_read_like_pkcs8() {
        // The PKCS#8 wrapping of an RSA 2048 key is 26 bytes long.
        let der: Pkcs8V1Der<'_> = KEY.as_der().unwrap();
        let pkcs1 = pem("RSA PRIVATE KEY", &der.as_ref()[26..]);
        assert!(signer(&pkcs1, Some(&public(&KEY))).is_ok());
    }

    #[test]
    fn a_certificate_serves_as_public_key() {
        // The recorded key's certificate does not belong to ours, and is seen not to.
        let jwk = include_str!("../testdata/jwk-for-salesforce-upload.json");
        let jwk: Value = serde_json::from_str(jwk).unwrap();
        let der = STANDARD.decode(jwk["x5c"][0].as_str().unwrap()).unwrap();
        let certificate = pem("CERTIFICATE", &der);
        assert_eq!(signer(&private(), Some(&certificate)).unwrap_err(), Error::Mismatch);

        let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        // RSAPublicKey { modulus, publicExponent } in DER, for a 2048-bit modulus.
        let key = [&hex("3082010a0282010100")[..], &member("n"), &hex("0203"), &member("e")].concat();
        assert_eq!(belongs(&certificate, &key), Ok(()));
    }

    fn hex(digits: &str) -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    /// A throw-away RSA key of 1,024 bits (PKCS#1).
    const SHORT: &str = concat!(
        "MIICXAIBAAKBgQCuyMOviJlDW/GpY/TlpxMepKZcUR1ArdeMH4bvuDFpT7HFUTOClavt8TYlCr46/r9XxgI1y49Cs/3h775r",
        "4fczG/0CBc+W2bHYI4oyODVYle/hRA0cENxUJot10rqvaUlUQRZaTVlhG8tA2ryUql9+w9OQK6Y1I/wFLDYfcrDBQQIDAQAB",
        "AoGAfcFDUlt08ksH//lELavdDNIoRAm0g2HQ0Sep3XZoTr4hSLfY2N65WjSP4WzuW+IIZ622z1/LjpGUXGgzWMm3IiR8zk0N",
        "2rtSQuP6VIN3bn++4EAlhg5/kq8D/c8R02HLz0EaFQHtvcnIU0SUc1umfmeYI6Vj+MIkfjOTvF5wBzECQQDkUZQiMWFqpSY3",
        "dFdSVRtqAXCDsyUnv8CHRxH5vo3vPBMNeRXCEVoikYRnHimzbkmfLy8kOM0s9IP3KR/ZI1RFAkEAw/mdiTYRdv4RWUvxYCxE",
        "zG+ygklqVt0U+TgEmpyNx3nC2Ctpqx6BupbHxv7d41Pay+I3Lw0gAa9ynQN8pIiOzQJAUtzMn1A+o77GTO/7VRUwOtvE4vdc",
        "b72m+TGw82vWBVJPM9+TJvi3Nr6LSAVpawaGz7AHMuUuibdAQa56MYsh5QJBALrGH3ox6Zs6sVYlpro99qPQoJTDW3HF6sNK",
        "vDiOlCFUznovhdnsjT9DjMr/BIIv3QsLYgSZwbNZfyZduGEnNNECQGaHmNhllsCqSkA6393sl6GcG5a7k8HV5582gBxpUvnk",
        "w3l5GTYBDZAMGFmkScglDDX32cgJszVWYDY0axqOpV0=",
    );

    #[test]
    fn every_unusable_key_says_what_is_wrong() {
        let other = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ec = ec.to_pkcs8v1().unwrap();
        let mut damaged = AsDer::<Pkcs8V1Der<'_>>::as_der(&*KEY).unwrap().as_ref().to_vec();
        damaged[400] ^= 1;
        for (private, wanted) in [
            (String::new(), Error::NotPem),
            ("c2VjcmV0".into(), Error::NotPem),
            (private().replace('\n', "\\n"), Error::NotPem),
            (private()[..900].to_owned(), Error::CutOff),
            (pem("ENCRYPTED PRIVATE KEY", b"\x30\x00"), Error::Encrypted),
            (public(&KEY), Error::NotPrivate),
            (pem("PRIVATE KEY", ec.as_ref()), Error::NotRsa),
            (pem("EC PRIVATE KEY", b"\x30\x00"), Error::NotRsa),
            (pem("RSA PRIVATE KEY", &STANDARD.decode(SHORT).unwrap()), Error::TooShort),
            (pem("PRIVATE KEY", &damaged), Error::Damaged),
        ] {
            assert_eq!(signer(&private, None).unwrap_err(), wanted, "{private}");
        }
        assert_eq!(signer(&private(), Some(&public(&other))).unwrap_err(), Error::Mismatch);
        assert_eq!(signer(&private(), Some("key")).unwrap_err(), Error::PublicNotPem);
        assert_eq!(signer(&private(), Some(&private())).unwrap_err(), Error::PublicNotPem);
        let key = private().into();
        assert_eq!(Signer::new(&key, None, "", "i").unwrap_err(), Error::NoKeyId);
        assert_eq!(Signer::new(&key, None, "k", "").unwrap_err(), Error::NoIssuer);
        assert!(!format!("{:?}", signer(&private(), None).unwrap()).contains("bridge"));
    }

    #[test]
    fn subjects_that_would_break_the_end_users_subject_are_refused() {
        let signer = signer(&private(), None).unwrap();
        for sub in ["", "a/b", "a b", "é", &"x".repeat(129)] {
            assert_eq!(signer.sign(sub, NOW).unwrap_err(), Error::BadSubject, "{sub}");
        }
    }
}
