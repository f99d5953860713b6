use std::{convert::Infallible, net::SocketAddr, time::Duration};

use runtime::settings::{KeyingArgs, Live, Source};
use secrecy::{ExposeSecret as _, SecretString};

/// Receives WhatsApp webhooks and appends them to the log.
#[derive(Debug, Clone, clap::Parser)]
#[command(version)]
#[group(skip)]
pub struct Config {
    /// Where webhooks, `/livez` and `/readyz` are served. Plain HTTP: TLS ends in front of it.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8080")]
    pub listen_addr: SocketAddr,
    #[command(flatten)]
    pub bus: bus::Config,
    #[command(flatten)]
    pub opens: configuration::Args,
    #[command(flatten)]
    pub webhook: Webhook,
}

/// What is needed to receive, without where from and where to.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Webhook {
    /// App secrets from Meta's dashboard, comma-separated, newest first. Every webhook is signed
    /// with one; keep the old one listed for a day after a change. Those of the settings
    /// (`webhook.app_secrets`) count as well; there must be one, unless the settings may still change.
    #[arg(
        long,
        env = "WHATSAPP_APP_SECRETS",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = trimmed
    )]
    pub whatsapp_app_secrets: Vec<SecretString>,
    /// The verify token that was entered in Meta's dashboard beside the callback URL. Those of the
    /// settings (`webhook.verify_tokens`) count as well.
    #[arg(long, env = "WHATSAPP_VERIFY_TOKEN", hide_env_values = true, value_parser = trimmed)]
    pub whatsapp_verify_token: Option<SecretString>,
    #[command(flatten)]
    pub keying: KeyingArgs,
    /// The settings file, or `broker`: the settings that are kept in the broker, followed without a
    /// restart. With it, what comes for other business numbers than its channels' is answered 200,
    /// counted, and not stored; and the integrations' hooks and keys are served.
    #[arg(long = "settings", env = "BATON_SETTINGS", value_name = "PATH")]
    pub source: Option<Source>,
    /// How long the log may take to store a webhook before the answer is 503 and Meta repeats it.
    /// Meta wants answers within a second, and gives up on one after 5 to 20.
    #[arg(long, env = "PUBLISH_TIMEOUT", default_value = "3s", value_parser = humantime::parse_duration)]
    pub publish_timeout: Duration,
    /// How long the reading of one body may take.
    #[arg(long, env = "READ_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub read_timeout: Duration,
    /// Longer bodies, in bytes, are refused with 413. Meta sends up to 3 MB.
    #[arg(long, env = "MAX_BODY_BYTES", default_value_t = 3 * 1024 * 1024)]
    pub max_body_bytes: usize,
    /// How many bytes of bodies may be held at once; more have to wait, and get 503 when they
    /// waited for the publish timeout. What is made of a body takes up to three times its size.
    #[arg(long, env = "MAX_HELD_BYTES", default_value_t = 4 * 1024 * 1024)]
    pub max_held_bytes: usize,
    /// How many entries may be on their way to the log at once.
    #[arg(long, env = "MAX_APPENDS", default_value_t = 1024)]
    pub max_appends: usize,
    /// How long requests that are being answered may take to finish after SIGTERM.
    #[arg(long, env = "SHUTDOWN_GRACE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub shutdown_grace: Duration,
}

impl Webhook {
    /// # Errors
    /// When no webhook could ever be let in, or no handshake be answered.
    pub(crate) fn check(&self, settings: Option<&Live>) -> anyhow::Result<()> {
        let settings = settings.map(Live::now);
        let saved = settings.as_ref().map(|settings| &settings.webhook);
        // A line of .env that was left blank gives nothing.
        let given = |secret: &SecretString| !secret.expose_secret().is_empty();
        let secrets =
            self.whatsapp_app_secrets.iter().any(given) || saved.is_some_and(|s| !s.app_secrets.is_empty());
        let tokens = self.whatsapp_verify_token.as_ref().is_some_and(given)
            || saved.is_some_and(|s| !s.verify_tokens.is_empty());
        match self.source {
            _ if secrets && tokens => Ok(()),
            Some(Source::Broker) => {
                tracing::warn!("no webhooks are taken until an app secret and a verify token are saved");
                Ok(())
            }
            Some(Source::File(_)) | None => anyhow::bail!(
                "Meta's webhooks cannot be checked: set WHATSAPP_APP_SECRETS and WHATSAPP_VERIFY_TOKEN, \
                 or webhook.app_secrets and webhook.verify_tokens in the settings"
            ),
        }
    }
}

fn trimmed(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text.trim()))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn arguments_are_well_formed() {
        Config::command().debug_assert();
    }

    #[test]
    fn several_app_secrets_are_read_and_none_is_shown() {
        let args =
            ["ingress", "--whatsapp-app-secrets", "new-one,old-one", "--whatsapp-verify-token", "the-token"];
        let keying = ["--conversation-key-secret", "0123456789abcdef0123456789abcdef"];
        let config = Config::try_parse_from(args.into_iter().chain(keying)).unwrap();
        let secrets = &config.webhook.whatsapp_app_secrets;
        assert_eq!(secrets.iter().map(|s| s.expose_secret()).collect::<Vec<_>>(), ["new-one", "old-one"]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("-one") && !shown.contains("the-token") && !shown.contains("0123456789"));
        for (secrets, token, enough) in [("a,", "t", true), (" ,", "t", false), ("a", " ", false)] {
            let args = ["ingress", "--whatsapp-app-secrets", secrets, "--whatsapp-verify-token", token];
            let config = Config::try_parse_from(args.into_iter().chain(keying)).unwrap();
            assert_eq!(config.webhook.check(None).is_ok(), enough, "{secrets:?} {token:?}");
        }
    }
}
