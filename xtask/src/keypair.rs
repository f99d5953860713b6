//! `cargo xtask keys`: a key pair for an integration, and what goes where.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use salesforce::keys::{certificate, generate_key_pair, jwk};
use secrecy::ExposeSecret as _;

/// A new key pair, as files. Nothing that is there is replaced.
#[derive(Debug, clap::Args)]
pub struct Keys {
    /// The key's id: `auth_key_id` in the settings, `kid` in Salesforce. One that was never used.
    #[arg(long)]
    id: String,
    /// Where `<id>.pem` (private), `<id>.cert.pem` and `<id>.jwk.json` go.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Of the RSA key: 2048, 3072, 4096 or 8192.
    #[arg(long, default_value_t = 2048)]
    bits: usize,
    /// What the certificate is made out to.
    #[arg(long, default_value = "baton")]
    name: String,
}

impl Keys {
    pub fn run(&self) -> Result<()> {
        let made = self.make()?;
        crate::say(format!(
            "Made {}, {} and {}.

In Salesforce: Setup > Messaging for In-App and Web User Verification: add the key by pasting the
JWK below, or let the keyset fetch https://<your host>/integrations/<integration>/jwks.json.
In the settings, a first key: \"auth_key_id\": {id:?}, \"jwt_private_key\": {{ \"file\": {pem:?} }},
\"jwt_public_key\": {{ \"file\": {cert:?} }}. A further one: the same members in \"more_keys\", at first
without \"signs_from\", which is given once Salesforce knows the key; the old key goes a day later.

{jwk}",
            made.pem.display(),
            made.certificate.display(),
            made.jwk_file.display(),
            id = self.id,
            pem = made.pem.display().to_string(),
            cert = made.certificate.display().to_string(),
            jwk = made.jwk,
        ));
        Ok(())
    }

    fn make(&self) -> Result<Made> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        ensure!(
            !self.id.is_empty() && !self.id.starts_with('.') && self.id.chars().all(plain),
            "an id has letters, digits, dots, dashes and underscores"
        );
        let file = |ending: &str| self.dir.join(format!("{}.{ending}", self.id));
        let [pem, cert, jwk_file] = [file("pem"), file("cert.pem"), file("jwk.json")];
        for path in [&pem, &cert, &jwk_file] {
            ensure!(!path.exists(), "{} is there already: take another id", path.display());
        }
        let pair = generate_key_pair(self.bits).context("make a key")?;
        let certificate =
            certificate(&pair.private_pem, &self.name, runtime::now()).context("make a certificate")?;
        let jwk = serde_json::to_string_pretty(&jwk(&certificate, &self.id).context("make the JWK")?)?;
        write(&pem, pair.private_pem.expose_secret(), 0o600)?;
        write(&cert, &certificate, 0o644)?;
        write(&jwk_file, &format!("{jwk}\n"), 0o644)?;
        Ok(Made { pem, certificate: cert, jwk_file, jwk })
    }
}

struct Made {
    pem: PathBuf,
    certificate: PathBuf,
    jwk_file: PathBuf,
    jwk: String,
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_made_key_is_complete_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys { id: "key-1".into(), dir: dir.path().into(), bits: 2048, name: "baton".into() };
        let made = keys.make().unwrap();
        let private = std::fs::read_to_string(&made.pem).unwrap();
        let public = std::fs::read_to_string(&made.certificate).unwrap();
        assert_eq!(std::fs::metadata(&made.pem).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!made.jwk.contains("PRIVATE") && made.jwk.contains("x5c"));
        let signer = salesforce::identity::Signer::new(&private.into(), Some(&public), "key-1", "baton");
        assert!(signer.is_ok());
        assert!(keys.make().is_err(), "it is there already");
        assert!(Keys { id: "../x".into(), ..keys }.make().is_err());
    }
}
