//! `X-Hub-Signature-256`: HMAC-SHA256 over the exact bytes of the body, keyed with the app secret
//! (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads>).

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use secrecy::{ExposeSecret as _, SecretString};

/// The header that carries the signature.
pub const HEADER: &str = "x-hub-signature-256";

const PREFIX: &[u8] = b"sha256=";
const DIGEST_BYTES: usize = 32;

/// Checks signatures against every app secret that is valid at the moment: secrets can be rotated
/// in Meta's dashboard, and bodies signed with the old one are still on their way then.
#[derive(Clone)]
pub struct Signatures {
    keys: Vec<hmac::Key>,
}

impl Signatures {
    /// `secrets`: newest first, since the first one is tried first. Empty ones are left out: a
    /// blank setting must not let anybody in.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let keys = secrets
            .into_iter()
            .map(|secret| secret.expose_secret().trim())
            .filter(|secret| !secret.is_empty())
            .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
            .collect();
        Self { keys }
    }

    /// Whether there is no secret at all, so that nothing can be let in.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Compares in constant time. `header`: the header's bytes as they came, `body`: the bytes
    /// before any parsing or decoding.
    pub fn verify(&self, header: Option<&[u8]>, body: &[u8]) -> Result<(), BadSignature> {
        let text = header.ok_or(BadSignature::Missing)?;
        let digits = text.strip_prefix(PREFIX).ok_or(BadSignature::Malformed)?;
        let mut digest = [0; DIGEST_BYTES];
        // Upper-case digits pass too: Meta writes lower case, and accepting both is harmless.
        hex::decode_to_slice(digits, &mut digest).map_err(|_| BadSignature::Malformed)?;
        let known = self.keys.iter().any(|key| hmac::verify(key, body, &digest).is_ok());
        if known { Ok(()) } else { Err(BadSignature::Wrong) }
    }
}

impl std::fmt::Debug for Signatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signatures({} secrets)", self.keys.len())
    }
}

/// The header's value for `body`: what Meta sends, for simulators, tests and load generators.
pub fn sign(secret: &SecretString, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

/// Whether a handshake's `hub.verify_token` is ours, compared in constant time.
pub fn same_token(ours: &SecretString, given: &str) -> bool {
    let ours = ours.expose_secret();
    // An empty token would fit whoever leaves it out.
    !ours.is_empty() && verify_slices_are_equal(ours.as_bytes(), given.as_bytes()).is_ok()
}

/// Why a body is not let in. None of these can be mended by sending it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("the request carries no x-hub-signature-256 header")]
    Missing,
    #[error("the signature is not written as sha256=<64 hexadecimal digits>")]
    Malformed,
    #[error("the signature does not fit the body under any app secret")]
    Wrong,
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        app_secret: SecretString,
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        file: String,
        x_hub_signature_256: String,
        /// Absent where either answer is right.
        valid: Option<bool>,
        #[serde(default)]
        why: String,
    }

    fn testdata(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/testdata/signature/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn every_recorded_vector_gets_its_answer() {
        let recorded: Vectors = serde_json::from_slice(&testdata("vectors.json")).unwrap();
        let signatures = Signatures::new([&recorded.app_secret]);
        for vector in &recorded.vectors {
            let body = testdata(&vector.file);
            let answer = signatures.verify(Some(vector.x_hub_signature_256.as_bytes()), &body);
            assert_eq!(answer.is_ok(), vector.valid.unwrap_or(true), "{}: {}", vector.file, vector.why);
            if answer.is_ok() {
                assert_eq!(sign(&recorded.app_secret, &body), vector.x_hub_signature_256.to_lowercase());
            }
        }
    }

    #[test]
    fn any_of_several_secrets_lets_in_and_blank_ones_do_not() {
        let [old, new, blank] = ["old", "new", " "].map(SecretString::from);
        let signatures = Signatures::new([&new, &old, &blank]);
        for secret in [&old, &new] {
            assert_eq!(signatures.verify(Some(sign(secret, b"{}").as_bytes()), b"{}"), Ok(()));
        }
        for stranger in ["", "other"] {
            let forged = sign(&stranger.into(), b"{}");
            assert_eq!(signatures.verify(Some(forged.as_bytes()), b"{}"), Err(BadSignature::Wrong));
        }
        assert!(Signatures::new([&blank]).is_empty());
    }

    #[test]
    fn odd_headers_are_refused_without_a_panic() {
        let signatures = Signatures::new([&SecretString::from("secret")]);
        let long = [b"sha256=".as_slice(), &[b'a'; 4096]].concat();
        let odd: [&[u8]; 6] = [b"", b"sha256=", b"sha256", b"\xff\xfe", b"sha256=\xc3\xa4", &long];
        for header in odd {
            assert_eq!(signatures.verify(Some(header), b"{}"), Err(BadSignature::Malformed));
        }
        assert_eq!(signatures.verify(None, b"{}"), Err(BadSignature::Missing));
    }
}
