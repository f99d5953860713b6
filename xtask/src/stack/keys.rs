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
    let everybody = [
        "ingress",
        "handoff",
        "assistant",
        "egress",
        "campaigns",
        "console",
        "observer",
        "operator",
        "admin",
    ];
    let passwords =
        everybody.map(|user| Ok((format!("NATS_PASSWORD_{}", user.to_ascii_uppercase()), secret()?)));
    Ok(Users {
        file: devstack::workspace_root().join("deploy/nats/users.conf"),
        passwords: passwords.into_iter().collect::<Result<_>>()?,
    })
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).context("ask the system for randomness")?;
    Ok(bytes)
}
