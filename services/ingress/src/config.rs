use std::{net::SocketAddr, path::PathBuf, time::Duration};

use domain::settings::Settings;
use runtime::settings::KeyingArgs;
use secrecy::SecretString;

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
    pub webhook: Webhook,
}

/// What is needed to receive, without where from and where to.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Webhook {
    /// App secrets from Meta's dashboard, comma-separated, newest first. Every webhook is signed
    /// with one; keep the old one listed for a day after a change.
    #[arg(
        long,
        env = "WHATSAPP_APP_SECRETS",
        hide_env_values = true,
        value_delimiter = ',',
        required = true,
        value_parser = not_blank
    )]
    pub whatsapp_app_secrets: Vec<SecretString>,
    /// The verify token that was entered in Meta's dashboard beside the callback URL.
    #[arg(long, env = "WHATSAPP_VERIFY_TOKEN", hide_env_values = true, value_parser = not_blank)]
    pub whatsapp_verify_token: SecretString,
    #[command(flatten)]
    pub keying: KeyingArgs,
    /// The settings file. With it, what comes for other business numbers than its channels' is
    /// answered 200, counted, and not stored; and the integrations' hooks and keys are served.
    #[arg(long = "settings", env = "BATON_SETTINGS", value_name = "PATH")]
    pub settings_path: Option<PathBuf>,
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
    /// `None`: whatever comes is ours, and there is no integration.
    pub fn settings(&self) -> Result<Option<Settings>, runtime::settings::Error> {
        self.settings_path.as_deref().map(runtime::settings::load).transpose()
    }
}

fn not_blank(text: &str) -> Result<SecretString, String> {
    // Never quotes the value.
    match text.trim() {
        "" => Err("must not be blank".into()),
        text => Ok(SecretString::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use secrecy::ExposeSecret as _;

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
        let blank = ["ingress", "--whatsapp-app-secrets", "a,", "--whatsapp-verify-token", "t"];
        assert!(Config::try_parse_from(blank.into_iter().chain(keying)).is_err());
    }
}
