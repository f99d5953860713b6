use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// What Meta's webhooks are checked with, beside what ingress has from its environment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// App secrets from Meta's dashboard, of every app and newest first. Every webhook is signed with
    /// one; keep the old one listed for a day after a change.
    pub app_secrets: Vec<SecretString>,
    /// The verify tokens that were entered beside the callback URL, one for each app.
    pub verify_tokens: Vec<SecretString>,
}

impl Webhook {
    /// A blank one would let anybody in.
    pub(super) fn check(&self, say: &mut impl FnMut(String, &str)) {
        for (name, list) in [("app_secrets", &self.app_secrets), ("verify_tokens", &self.verify_tokens)] {
            for (i, secret) in list.iter().enumerate() {
                if secret.expose_secret().trim().is_empty() {
                    say(format!("{name}[{i}]"), "is blank");
                }
            }
        }
    }
}
