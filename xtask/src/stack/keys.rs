//! Throw-away keys and secrets: made for one run, worth nothing after it.

use anyhow::{Context as _, Result};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// An RSA key pair for identity tokens, as PEM.
pub(super) struct RsaPair {
    pub(super) private: String,
    pub(super) public: String,
}

pub(super) fn rsa() -> Result<RsaPair> {
    let pair = KeyPair::generate(KeySize::Rsa2048).context("make an RSA key")?;
    let private: Pkcs8V1Der<'_> = pair.as_der().context("write the private key")?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().context("write the public key")?;
    Ok(RsaPair { private: pem("PRIVATE KEY", private.as_ref()), public: pem("PUBLIC KEY", public.as_ref()) })
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
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// 32 random bytes in hex.
pub(super) fn secret() -> Result<String> {
    Ok(hex::encode(random()?))
}

/// As `MASTER_KEY` wants it.
pub(super) fn master_key() -> Result<String> {
    Ok(format!("dev:{}", STANDARD.encode(random()?)))
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).context("ask the system for randomness")?;
    Ok(bytes)
}
