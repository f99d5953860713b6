//! Throw-away secrets: made for one run, worth nothing after it.

use anyhow::{Context as _, Result};
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use devstack::Users;

/// 32 random bytes in hex.
pub(super) fn secret() -> Result<String> {
    Ok(hex::encode(random()?))
}

/// As `MASTER_KEY` wants it.
pub(super) fn master_key() -> Result<String> {
    Ok(format!("dev:{}", STANDARD.encode(random()?)))
}

/// Everybody in deploy/nats/users.conf, with passwords of their own.
pub fn users() -> Result<Users> {
    Users::deployed(|_| secret())
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).context("ask the system for randomness")?;
    Ok(bytes)
}
