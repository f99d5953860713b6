//! The identity token: proof, signed by us, of who the end user is (User Verification, §2.2).
//!
//! The claims are exactly those that Salesforce's own tool writes: `sub`, `iss`, `exp`, `iat`.

use std::sync::Arc;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Millis, settings::Integration};
use rustls::pki_types::{
    PrivateKeyDer,
    pem::{PemObject as _, SectionKind},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

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
    #[error("jwt_private_key is damaged: its parts do not make up an RSA key")]
    Damaged,
    #[error("jwt_public_key is neither a PEM public key nor a PEM certificate")]
    PublicNotPem,
    #[error("jwt_public_key does not belong to jwt_private_key")]
    Mismatch,
    #[error("auth_key_id is empty: it is the kid of the key registered in Salesforce")]
    NoKeyId,
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
    key: Arc<RsaKeyPair>,
    key_id: String,
    issuer: String,
}

/// The private key never shows.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iss: &'a str,
    exp: i64,
    iat: i64,
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
        let key = private_key(private_pem.expose_secret())?;
        if let Some(pem) = public_pem {
            belongs(pem, key.public_key().as_ref())?;
        }
        if key_id.is_empty() {
            return Err(Error::NoKeyId);
        }
        if issuer.is_empty() {
            return Err(Error::NoIssuer);
        }
        Ok(Self { key: Arc::new(key), key_id: key_id.to_owned(), issuer: issuer.to_owned() })
    }

    pub fn from_settings(integration: &Integration) -> Result<Self, Error> {
        let public = Some(integration.jwt_public_key.as_str()).filter(|pem| !pem.trim().is_empty());
        Self::new(&integration.jwt_private_key, public, &integration.auth_key_id, &integration.issuer)
    }

    /// An identity token for `sub`, valid for [`LIFETIME_SECONDS`] from `now`.
    pub fn sign(&self, sub: &str, now: Millis) -> Result<SecretString, Error> {
        let visible = |b: u8| b.is_ascii_graphic() && b != b'/';
        if sub.is_empty() || sub.len() > LONGEST_SUB || !sub.bytes().all(visible) {
            return Err(Error::BadSubject);
        }
        let iat = now.div_euclid(1000);
        let claims = Claims { sub, iss: &self.issuer, exp: iat + LIFETIME_SECONDS, iat };
        let header = Header { alg: "RS256", typ: "JWT", kid: &self.key_id };
        let mut token = format!("{}.{}", part(&header)?, part(&claims)?);
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| Error::CannotSign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token.into())
    }
}

fn part(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_vec(value).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| Error::CannotSign)
}

fn private_key(pem: &str) -> Result<RsaKeyPair, Error> {
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Error::Encrypted);
    }
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        let other = <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()).is_ok();
        if other { Error::NotPrivate } else { Error::NotPem }
    })?;
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
fn belongs(pem: &str, rsa_public_key: &[u8]) -> Result<(), Error> {
    let (kind, der) =
        <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()).map_err(|_| Error::PublicNotPem)?;
    if !matches!(kind, SectionKind::PublicKey | SectionKind::Certificate) {
        return Err(Error::PublicNotPem);
    }
    if contains(&der, rsa_public_key) { Ok(()) } else { Err(Error::Mismatch) }
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}
