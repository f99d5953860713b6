//! What webhooks and handshakes are checked with: what the environment gives and what the settings
//! hold, as they are at the moment.

use std::sync::Arc;

use runtime::settings::{Derived, Live};
use secrecy::SecretString;
use whatsapp::Signatures;

use crate::Webhook;

pub(crate) struct WebhookKeys {
    app_secrets: Vec<SecretString>,
    verify_token: Option<SecretString>,
    settings: Option<Live>,
    /// Without settings.
    alone: Arc<Keys>,
    made: Derived<Keys>,
}

pub(crate) struct Keys {
    pub(crate) signatures: Signatures,
    verify_tokens: Vec<SecretString>,
}

impl Keys {
    /// Whether a handshake's verify token is one of ours.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.verify_tokens.iter().any(|known| whatsapp::signature::same_token(known, token))
    }
}

impl WebhookKeys {
    pub(crate) fn new(config: &Webhook, settings: Option<Live>) -> Self {
        let app_secrets = config.whatsapp_app_secrets.clone();
        let verify_token = config.whatsapp_verify_token.clone();
        let alone = Arc::new(Keys {
            signatures: Signatures::new(&app_secrets),
            verify_tokens: verify_token.iter().cloned().collect(),
        });
        Self { app_secrets, verify_token, settings, alone, made: Derived::default() }
    }

    pub(crate) fn now(&self) -> Arc<Keys> {
        let Some(settings) = self.settings.as_ref().map(Live::now) else { return Arc::clone(&self.alone) };
        self.made.of(&settings, |_| {
            let saved = &settings.webhook;
            Keys {
                signatures: Signatures::new(self.app_secrets.iter().chain(&saved.app_secrets)),
                verify_tokens: self.verify_token.iter().chain(&saved.verify_tokens).cloned().collect(),
            }
        })
    }
}
